//! A person at a terminal: what is run there has one for its standard streams.

use std::io::{BufReader, Read, Write};
use std::process::{Command, Stdio};

use crate::support::containers::{Done, done};

/// Runs a command in a terminal, and types a line into it once it has printed `cue`. All that the
/// terminal shows is its output.
pub(crate) fn talk(command: &str, cue: &str, line: &str) -> Done {
    let mut child = Command::new("timeout")
        .args(["--kill-after=5", "120", "script", "--quiet", "--return"])
        .args(["--command", command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = Vec::new();
    let mut bytes = BufReader::new(child.stdout.take().unwrap()).bytes();
    while !String::from_utf8_lossy(&shown).contains(cue) {
        match bytes.next() {
            Some(byte) => shown.push(byte.unwrap()),
            None => break,
        }
    }
    // Kept open to the end: without it, `script` would end the terminal.
    let mut input = child.stdin.take().unwrap();
    let _ = input.write_all(line.as_bytes());
    shown.extend(bytes.map(Result::unwrap));
    drop(input);
    let mut output = child.wait_with_output().unwrap();
    output.stdout = shown;
    done(&output)
}
