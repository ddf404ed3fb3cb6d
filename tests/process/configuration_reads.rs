//! How often a call reads `config.toml`: settings are read once and passed down.

use std::process::Command;

use crate::create::ASKS;
use crate::node::{BUNDLE, Node, node};

/// How often the wrapper and its watchers open the configuration in one call with these words.
fn reads(node: &Node, words: &[&str]) -> usize {
    let strace = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=openat,openat2",
        "-o",
        "/run/trace",
    ];
    node.call(words).through(&strace).outcome();
    let trace = node.text("/run/trace");
    trace
        .lines()
        .filter(|line| line.contains("config.toml\""))
        .count()
}

#[test]
fn a_call_reads_the_configuration_once() {
    let Some(node) = node() else { return };
    if Command::new("strace").arg("-V").output().is_err() {
        let must = std::env::var_os("OCI_APPARMOR_MUST_RUN").is_some_and(|v| v == "1");
        assert!(!must, "OCI_APPARMOR_MUST_RUN=1, but strace(1) is missing");
        eprintln!("not run: strace(1) is missing");
        return;
    }
    node.bundle(ASKS);
    for words in [
        &["create", "--bundle", BUNDLE, "c1"][..],
        &["start", "c1"],
        &["exec", "c1", "sh"],
        &["delete", "c1"],
        &["state", "c1"],
        &["run", "--bundle", BUNDLE, "c1"],
    ] {
        assert_eq!(reads(&node, words), 1, "{words:?}");
    }
}

/// This `start` waits for the runtime and verifies the process, with a watcher beside it.
#[test]
fn a_start_that_verifies_the_container_reads_the_configuration_once() {
    let Some(node) = node() else { return };
    if Command::new("strace").arg("-V").output().is_err() {
        // The other test has said so.
        return;
    }
    node.bundle(ASKS);
    node.done(&["create", "--bundle", BUNDLE, "c1"]);
    // A process that runs without the label.
    let mut process = Command::new("sleep").arg("60").spawn().unwrap();
    let state = format!(
        r#"{{"config":{{"labels":["bundle={BUNDLE}"]}},"init_process_pid":{}}}"#,
        process.id()
    );
    node.write("/run/runc/c1/state.json", state);
    node.write("/run/runc/c1/exec.fifo", "");
    assert_eq!(reads(&node, &["start", "c1"]), 1);
    // It was found, killed and deleted.
    assert!(!process.wait().unwrap().success());
    assert!(!node.exists("/run/runc/c1"));
}
