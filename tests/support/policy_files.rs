//! The kernel's policy as bytes and files, without any code of ours in between.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::containers::run;

pub(crate) const APPARMOR: &str = "/sys/kernel/security/apparmor";

/// Compiles with the host's parser, for the kernel that we run on.
#[track_caller]
pub(crate) fn compile(text: &str, flags: &[&str]) -> Vec<u8> {
    try_compile(text, flags).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// The same, or what the parser says.
pub(crate) fn try_compile(text: &str, flags: &[&str]) -> Result<Vec<u8>, String> {
    let directory = tempfile::tempdir().unwrap();
    let (source, blob) = (
        directory.path().join("source"),
        directory.path().join("blob"),
    );
    fs::write(&source, text).unwrap();
    let files = ["-o", blob.to_str().unwrap(), source.to_str().unwrap()];
    let done = run("apparmor_parser", [&["-QK"], flags, &files].concat());
    if done.code == 0 {
        Ok(fs::read(blob).unwrap())
    } else {
        Err(done.err)
    }
}

/// One write to `.replace`, `.load` or `.remove`, of which the kernel takes all or nothing.
pub(crate) fn write(file: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .open(Path::new(APPARMOR).join(file))?;
    let written = file.write(bytes)?;
    assert_eq!(written, bytes.len());
    Ok(())
}

fn numbered(number: usize) -> String {
    format!("many-{number:05}")
}

/// Loads `many-NUMBER` for each number: one tiny profile under names of the same length, in one
/// write. The parser would take minutes; this takes 2.5 s for 5,000 on one emulated CPU.
pub(crate) fn load_many(numbers: Range<usize>) {
    let first = numbered(0);
    let blob = compile(&format!("profile {first} {{ }}"), &[]);
    let length = first.len();
    let found: Vec<usize> = (0..blob.len())
        .filter(|at| blob[*at..].starts_with(first.as_bytes()))
        .collect();
    let [at] = found[..] else {
        panic!("the name stands in the blob at {found:?}")
    };
    let all: Vec<u8> = numbers
        .flat_map(|number| {
            let mut blob = blob.clone();
            blob[at..at + length].copy_from_slice(numbered(number).as_bytes());
            blob
        })
        .collect();
    write(".replace", &all).unwrap();
}

/// Removes them. The newest go first: the kernel looks for a name from the newest on.
pub(crate) fn unload_many(numbers: Range<usize>) {
    for number in numbers.rev() {
        write(".remove", numbered(number).as_bytes()).unwrap();
    }
}

/// The directories of the profiles of a name, which has no characters that the kernel replaces.
pub(crate) fn directories(name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(APPARMOR).join("policy/profiles")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| {
            let file = path.file_name().unwrap().to_str().unwrap();
            file.rsplit_once('.').unwrap().0 == name
        })
        .collect()
}

#[track_caller]
pub(crate) fn directory(name: &str) -> PathBuf {
    let mut found = directories(name);
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    found.remove(0)
}

pub(crate) fn text(path: PathBuf) -> String {
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    text.trim_end_matches('\n').to_owned()
}

/// The kernel's count of changes of the policy. Where nothing has changed since the file was
/// opened or last read, a read waits for the next change, for ever.
pub(crate) struct Revision(File);

impl Revision {
    pub(crate) fn open() -> Self {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        Self(options.open(Path::new(APPARMOR).join("revision")).unwrap())
    }

    /// `None`: what this file was last read to say still stands.
    pub(crate) fn read(&mut self) -> Option<u64> {
        let mut buffer = [0; 64];
        match self.0.read(&mut buffer) {
            Ok(n) => {
                let text = std::str::from_utf8(&buffer[..n]).unwrap();
                Some(text.trim_end().parse().unwrap())
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
            Err(e) => panic!("{e}"),
        }
    }

    /// What a new reader sees. Nothing was ever loaded: it would have to wait.
    pub(crate) fn now() -> u64 {
        Self::open().read().unwrap_or(0)
    }
}

/// The name of the kernel's hash, which became another with Linux 6.8.
pub(crate) fn hash_name() -> &'static str {
    if release() < (6, 8) { "sha1" } else { "sha256" }
}

/// The first two numbers of the kernel's version.
pub(crate) fn release() -> (u32, u32) {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = text.split(['.', '-']).map_while(|word| word.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Hashes as the kernel does, by a program that is not ours.
pub(crate) fn hash(bytes: &[u8]) -> String {
    let mut child = Command::new(format!("{}sum", hash_name()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    let text = String::from_utf8(output).unwrap();
    text.split(' ').next().unwrap().to_owned()
}

/// The bytes that the kernel hashes for each profile of a blob: the version word, and what
/// stands from the name `profile` to the end of its structure. Independent of the library's own
/// walk (security/apparmor/policy_unpack.c: `aa_unpack()`; enum aa_code has the numbers).
pub(crate) fn hashed(blob: &[u8]) -> Vec<Vec<u8>> {
    let number = |at: usize, length: usize| {
        let bytes = &blob[at..at + length];
        bytes.iter().rev().fold(0, |n, b| n << 8 | usize::from(*b))
    };
    let mut found = Vec::new();
    let (mut at, mut depth, mut start, mut version) = (0, 0, 0, &blob[..0]);
    while at < blob.len() {
        let payload = at + 1;
        let end = match blob[at] {
            0 => payload + 1,
            1 => payload + 2,
            2 => payload + 4,
            3 => payload + 8,
            4 | 5 => payload + 2 + number(payload, 2),
            6 => payload + 4 + number(payload, 4),
            11 => payload + 2,
            7..=12 => payload,
            code => panic!("the code {code} at {at}"),
        };
        match blob[at] {
            4 if depth == 0 && blob[payload + 2..].starts_with(b"version\0") => {
                version = &blob[end + 1..end + 5];
            }
            4 if depth == 0 && blob[payload + 2..].starts_with(b"profile\0") => start = at,
            7 | 9 | 11 => depth += 1,
            8 | 10 | 12 => depth -= 1,
            _ => {}
        }
        at = end;
        if depth == 0 && blob[payload - 1] == 8 {
            found.push([version, &blob[start..end]].concat());
        }
    }
    found
}
