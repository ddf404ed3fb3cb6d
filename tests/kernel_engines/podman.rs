//! podman, with the wrapper as its runtime: ways to name a profile, and what a refusal looks like.
//! Other files: the life of a container, what stays as it is, the node, users, signals.

use std::path::Path;
use std::sync::Once;
use std::time::{Duration, Instant};

use crate::debian_release::{Release, node};
use crate::support::containers::*;

mod lifecycle;
mod pods_and_reboots;
mod requests;
mod shared_processes;
mod stop_signals;
mod systemd;
mod unchanged;
mod without_root;

const IMAGE: &str = "localhost/busybox";
const CURRENT: [&str; 2] = ["/bin/cat", "/proc/self/attr/current"];
/// It answers to signals, and says so in its log.
const SERVER: [&str; 3] = [
    "/bin/sh",
    "-c",
    "trap 'echo usr1; exit 3' USR1; trap 'echo term; exit 4' TERM; echo up; \
     while :; do sleep 1000 & wait; done",
];

/// What is in the image beyond the file system of the other tests.
const APPLETS: [&str; 3] = ["stty", "kill", "ls"];

fn podman(words: &[&str]) -> Done {
    static IMPORT: Once = Once::new();
    IMPORT.call_once(|| {
        let links: String = APPLETS
            .iter()
            .map(|name| format!("ln -sf busybox bin/{name}; "))
            .collect();
        let script = format!(
            "cd {}; {links} tar -c . | podman import - {IMAGE}",
            rootfs().display()
        );
        run("sh", ["-c", &script]).ok();
    });
    run("podman", words)
}

/// With the wrapper for this low-level runtime.
fn with(runtime: &str, words: &[&str]) -> Done {
    podman(&[&["--runtime", text(&wrapper(runtime))], words].concat())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `podman run --rm`, to the end.
fn run_rm(runtime: &str, options: &[&str], program: &[&str]) -> Done {
    let before = ["run", "--rm", "--network=none"];
    with(runtime, &[&before, options, &[IMAGE], program].concat())
}

/// A container that waits for signals; it is created or started, as `how` says.
fn serve(runtime: &Path, how: &[&str], name: &str, options: &[&str]) -> Done {
    let pid = format!("--pidfile={}", pid_file(name));
    let before = ["--network=none", "--name", name, &pid];
    let words = [&["--runtime", text(runtime)], how, &before, options];
    podman(&[&words.concat()[..], &[IMAGE], &SERVER].concat())
}

/// The one that a test of what does not depend on it takes: each has its release.
fn one_runtime() -> &'static str {
    match Release::current() {
        Release::Bookworm => "crun",
        Release::Trixie => "runc",
    }
}

/// Both low-level runtimes, each with a container of its own: podman remembers whose is whose.
fn named(prefix: &str) -> [String; 2] {
    RUNTIMES.map(|runtime| format!("{prefix}-{runtime}"))
}

/// One call about several containers.
fn all(words: &[&str], names: &[String; 2]) -> Done {
    podman(&[words, &[&names[0], &names[1]]].concat())
}

/// What podman says about containers, a line each.
fn inspect(format: &str, names: &[&str]) -> Vec<String> {
    let words = [&["inspect", "--format", format], names].concat();
    let out = podman(&words).ok();
    out.lines().map(str::to_owned).collect()
}

/// What podman keeps of a container that `serve` made: each call of it takes its time.
fn pid_file(name: &str) -> String {
    format!("/run/{name}.pid")
}

fn pid_of(name: &str) -> String {
    std::fs::read_to_string(pid_file(name)).unwrap()
}

/// The label of such a container's first process, as the kernel tells it.
fn label_of(name: &str) -> String {
    label_of_pid(&pid_of(name))
}

fn label_of_pid(pid: &str) -> String {
    let path = format!("/proc/{pid}/attr/apparmor/current");
    std::fs::read_to_string(&path)
        .unwrap_or_else(|why| panic!("{path}: {why}"))
        .trim()
        .to_owned()
}

/// The label of a process that is exec'ed into a container.
fn exec_label(name: &str) -> String {
    let words = [&["exec", name], &CURRENT[..]].concat();
    podman(&words).ok().trim().to_owned()
}

/// Waits for what podman itself does in its own time.
#[track_caller]
fn eventually(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "it did not happen within a minute");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn cli() -> &'static str {
    CLI
}

/// Removes containers, whatever they do, when the test ends.
struct Cleanup(Vec<String>);

impl Cleanup {
    fn of(names: &[String]) -> Self {
        Self(names.to_vec())
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        let words = ["rm", "--force", "--ignore", "--time", "0"];
        podman(&[&words, &names[..]].concat());
    }
}
