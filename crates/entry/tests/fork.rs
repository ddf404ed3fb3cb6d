//! [`fork`], in a process with one thread. The harness of Rust's tests has more, so this has none.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::print_stdout
)]

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc;
use std::thread;

use oci_apparmor_entry::{fork, process_id};

type Test = (&'static str, fn());

const TESTS: [Test; 4] = [
    ("a_child_has_what_this_process_has", inherits),
    ("a_child_that_panics_returns_to_nothing", panics),
    ("only_what_is_kept_stays_open", closes),
    ("a_process_with_a_thread_is_not_forked", refuses),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--list") {
        TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    let names: Vec<&String> = words.iter().filter(|w| !w.starts_with('-')).collect();
    let is_chosen = |test: &&Test| names.is_empty() || names.iter().any(|n| test.0.contains(*n));
    let mut passed = 0;
    for (name, test) in TESTS.iter().filter(is_chosen) {
        test();
        println!("test {name} ... ok");
        passed += 1;
    }
    println!("test result: ok. {passed} passed; 0 failed; 0 ignored;");
}

/// The status of a child as of waitpid(2).
fn status(child: i32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is an integer of this function.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    status
}

fn inherits() {
    let text = String::from("what is in memory");
    let (mut read, mut write) = io::pipe().unwrap();
    assert_eq!(process_id::own(), std::process::id());
    let child = fork::child(|| {
        let told = format!("{text}, {}, {}", std::process::id(), process_id::own());
        u8::from(write.write_all(told.as_bytes()).is_err()) + 7
    })
    .unwrap();
    drop(write);
    let mut told = String::new();
    read.read_to_string(&mut told).unwrap();
    assert_eq!(told, format!("{text}, {child}, {child}"));
    assert_ne!(child.unsigned_abs(), std::process::id());
    let status = status(child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7);
}

fn panics() {
    let child = fork::child(|| {
        fork::close_except(&[]).unwrap();
        std::panic::set_hook(Box::new(|_| {}));
        panic!("on purpose");
    })
    .unwrap();
    let status = status(child);
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT);
}

fn closes() {
    let (read, write) = io::pipe().unwrap();
    let (other, inherited) = io::pipe().unwrap();
    // SAFETY: it only changes a flag, as engines do with what a runtime inherits.
    let done = unsafe { libc::fcntl(other.as_raw_fd(), libc::F_SETFD, 0) };
    assert_eq!(done, 0);
    // Each order, with gaps and without.
    for kept in [
        &[][..],
        &[read.as_fd()],
        &[inherited.as_fd(), read.as_fd()],
        &[write.as_fd(), other.as_fd(), io::stdin().as_fd()],
        &[
            read.as_fd(),
            write.as_fd(),
            other.as_fd(),
            inherited.as_fd(),
        ],
    ] {
        let child = fork::child(|| {
            fork::close_except(kept).unwrap();
            let mut expected: Vec<i32> = kept.iter().map(AsRawFd::as_raw_fd).collect();
            expected.extend([0, 1, 2]);
            expected.sort_unstable();
            expected.dedup();
            u8::from(open() != expected)
        })
        .unwrap();
        assert_eq!(status(child), 0, "{kept:?}");
    }
}

/// The open descriptors, but for that of the list.
fn open() -> Vec<i32> {
    let list = fs::read_dir("/proc/self/fd").unwrap();
    let all: Vec<_> = list.map(|entry| entry.unwrap().path()).collect();
    let mut open: Vec<i32> = all
        .iter()
        .filter(|path| path.symlink_metadata().is_ok())
        .map(|path| path.file_name().unwrap().to_str().unwrap().parse().unwrap())
        .collect();
    open.sort_unstable();
    open
}

fn refuses() {
    let (go, waits) = mpsc::channel::<()>();
    let other = thread::spawn(move || waits.recv().unwrap());
    let refused = fork::child(|| 0).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
    // One that has just ended is waited for.
    go.send(()).unwrap();
    other.join().unwrap();
    for _ in 0..100 {
        thread::spawn(|| ()).join().unwrap();
        assert_eq!(status(fork::child(|| 0).unwrap()), 0);
    }
}
