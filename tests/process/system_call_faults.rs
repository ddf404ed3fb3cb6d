//! The wrapper killed, and refused by the kernel, at each of its system calls: the runtime is
//! either not run, or sees the wanted label; and the next call finds nothing half done.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::call::until;
use crate::create::ASKS;
use crate::node::{BUNDLE, Node, node};

const CONFIG: &str = "/run/bundle/config.json";
const PROCESS: &str = "/run/process.json";
const CREATE: [&str; 4] = ["create", "--bundle", BUNDLE, "c1"];
const EXEC: [&str; 4] = ["exec", "--process", PROCESS, "c1"];
/// What an engine hands over: longer than what becomes of it, so that a part would show.
const HANDED: &str = r#"{"apparmorProfile":"a-default-of-the-engine","args":["sh"]}"#;

/// A runtime that keeps what it was given, in the time of a few system calls.
const RUNTIME: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
# A watcher whose container is taken away by the test.
case " $* " in *' delete '*) exit ;; esac
case " $* " in *' create '* | *' run '*)
    mkdir -p /run/runc && mkdir /run/runc/c1 || exit 1
    echo '{"config":{"labels":["bundle=/run/bundle"]}}' >/run/runc/c1/state.json
    ;;
esac
mkdir /run/saw && cp /run/bundle/config.json /run/process.json /run/saw && echo "$*" >/run/saw/words
"#;

/// A node whose namespace stays, so that a call costs no more than the program itself.
pub(crate) struct Held {
    pub(crate) node: Node,
    holder: Child,
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// What happens at one system call, in strace's words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault<'a> {
    pub(crate) call: &'a str,
    /// At the how-manyth of this name; with `+`, at all that follow, too.
    pub(crate) when: &'a str,
    pub(crate) what: &'a str,
}

pub(crate) const KILL: &str = "signal=KILL";

/// What can happen at a system call of this name: each can fail, some fail in ways of their own.
pub(crate) fn faults(call: &str) -> Vec<(&'static str, &'static str)> {
    let mut faults = vec![(KILL, "")];
    // It closes whatever it answers; strace would have it not close.
    if call == "close" {
        return faults;
    }
    faults.push(("error=EIO", ""));
    // A disk, or a limit on descriptors, that does not come back.
    if matches!(call, "openat" | "statx" | "newfstatat" | "readlink") {
        faults.push(("error=EIO", "+"));
    }
    if matches!(
        call,
        "openat" | "write" | "pwrite64" | "mkdir" | "rename" | "ftruncate" | "fchmod" | "fchown"
    ) {
        faults.push(("error=ENOSPC", ""));
    }
    if matches!(
        call,
        "openat"
            | "read"
            | "write"
            | "pwrite64"
            | "ftruncate"
            | "fcntl"
            | "flock"
            | "poll"
            | "wait4"
            | "waitid"
            | "clone3"
            | "vfork"
            | "execve"
    ) {
        faults.push(("error=EINTR", ""));
    }
    faults
}

impl Held {
    /// A node with this low-level runtime.
    pub(crate) fn prepare(runtime: &str) -> Option<Self> {
        let node = node()?;
        if let Err(e) = Command::new("strace").arg("-V").output() {
            let must = std::env::var_os("OCI_APPARMOR_MUST_RUN").is_some_and(|v| v == "1");
            assert!(!must, "OCI_APPARMOR_MUST_RUN=1, but strace(1): {e}");
            eprintln!("not run: strace(1): {e}");
            return None;
        }
        // In the usual place too: where the configuration cannot be read, it is looked for there.
        for directory in ["/run/bin", "/usr/libexec/crio"] {
            node.program(&format!("{directory}/runc"), runtime);
        }
        node.write(PROCESS, HANDED);
        let words = ["sh", "-c", "echo ready; exec sleep 600"].map(str::to_owned);
        let mut command = node.enter(BUNDLE, "", &words);
        let mut holder = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(holder.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Some(Self { node, holder })
    }

    /// Calls the wrapper, by way of another program.
    pub(crate) fn call(&self, program: &[&str], words: &[&str]) -> Output {
        self.enter(&[program, &["/run/libexec/runc"], words].concat())
    }

    /// Calls any program.
    pub(crate) fn enter(&self, words: &[&str]) -> Output {
        let pid = self.holder.id().to_string();
        Command::new("nsenter")
            .args(["--target", &pid, "--mount", "--wd"])
            .args(words)
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The system calls of an undisturbed call, up to that which becomes the runtime; each with
    /// its number among those of its name.
    fn system_calls(&self, words: &[&str]) -> Vec<(String, usize)> {
        let trace = ["strace", "-qq", "-b", "execve", "-o", "/run/trace"];
        let done = self.call(&trace, words);
        assert!(done.status.success(), "{done:?}");
        let mut names = self.traced();
        // That of the runtime, from which on nothing is traced.
        assert_eq!(names.pop().unwrap().0, "execve");
        assert!(names.len() > 50, "{names:?}");
        names
    }

    /// What strace saw, but for its own call.
    pub(crate) fn traced(&self) -> Vec<(String, usize)> {
        let mut names: Vec<(String, usize)> = Vec::new();
        for line in self.node.text("/run/trace").lines() {
            let Some((name, _)) = line.split_once('(') else {
                continue;
            };
            if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                let before = names.iter().filter(|(n, _)| n == name).count();
                names.push((name.to_owned(), before + 1));
            }
        }
        assert_eq!(names.remove(0).0, "execve");
        names
    }

    pub(crate) fn disturbed(&self, fault: Fault<'_>, words: &[&str]) -> Output {
        let Fault { call, when, what } = fault;
        let inject = format!("inject={call}:{what}:when={when}");
        let strace = ["strace", "-qq", "-b", "execve", "-o", "/run/trace", "-e"];
        self.call(&[&strace[..], &[&inject]].concat(), words)
    }

    /// All that a call can change, but for what the runtime does.
    fn state(&self) -> Vec<(String, Vec<u8>)> {
        let mut state = Vec::new();
        let mut pending = ["/run/oci-apparmor", BUNDLE]
            .map(|d| self.node.path(d))
            .to_vec();
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                state.push((
                    path.display().to_string(),
                    fs::read(&path).unwrap_or_default(),
                ));
                if path.is_dir() {
                    pending.push(path);
                }
            }
        }
        state.push((PROCESS.to_owned(), self.node.read(PROCESS)));
        state.sort();
        state
    }

    /// Waits for what a killed call has left running: a compiler, a watcher.
    #[track_caller]
    fn settle(&self) {
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        let holder = self.holder.id().to_string();
        let own = namespace(&holder);
        until("nothing else runs on the node", || {
            fs::read_dir("/proc").unwrap().flatten().all(|entry| {
                let pid = entry.file_name().into_string().unwrap();
                pid == holder || namespace(&pid) != own
            })
        });
    }

    /// The label that the runtime saw in what it was given; `None` if it was not run.
    fn seen(&self, words: &[&str]) -> Option<Option<String>> {
        let line = self
            .node
            .exists("/run/saw")
            .then(|| self.node.text("/run/saw/words"))?;
        let label = |file: &str, at: &str| {
            let json: Value = serde_json::from_slice(&self.node.read(file)).unwrap();
            json.pointer(at)
                .and_then(|label| label.as_str().map(str::to_owned))
        };
        Some(if words != EXEC && words[0] != "exec" {
            label("/run/saw/config.json", "/process/apparmorProfile")
        } else if words == EXEC {
            label("/run/saw/process.json", "/apparmorProfile")
        } else {
            let mut given = line
                .split_whitespace()
                .filter_map(|w| w.strip_prefix("--apparmor="));
            given.next().map(str::to_owned)
        })
    }

    pub(crate) fn forget(&self, inside: &str) {
        // The watcher of a call that was killed may be at work in there.
        until("it is gone", || {
            let path = self.node.path(inside);
            let _ = fs::remove_file(&path);
            let _ = fs::remove_dir_all(&path);
            !self.node.exists(inside)
        });
    }
}

/// Every fault at every system call of a call that `prepare` makes ready for.
fn at_every_call(held: &Held, words: &[&str], step: usize, prepare: &dyn Fn(&Held)) {
    let node = &held.node;
    let fresh = || {
        held.forget("/run/saw");
        prepare(held);
    };
    fresh();
    let calls = held.system_calls(words);
    assert_eq!(held.seen(words), Some(Some("p".to_owned())));
    let after = node.text(CONFIG);
    fresh();
    let (before, untouched) = (node.text(CONFIG), held.state());
    let (mut kills, mut happened, mut run) = (0, 0, 0);
    for (call, number) in calls.iter().step_by(step) {
        for (what, on) in faults(call) {
            let when = format!("{number}{on}");
            let (call, when) = (call.as_str(), when.as_str());
            let fault = Fault { call, when, what };
            fresh();
            let done = held.disturbed(fault, words);
            held.settle();
            check(held, words, fault, &done);
            run += usize::from(held.seen(words).is_some());
            let text = node.text(CONFIG);
            assert!(text == before || text == after, "{fault:?}: {text}");
            if what == KILL {
                kills += 1;
                happened += usize::from(done.status.signal() == Some(9));
                if held.state() != untouched {
                    the_next_call_works(held, words, fault);
                }
            }
        }
    }
    // A kernel that has less memory to give makes a call more or less; and how often a compiler is
    // waited for depends on what else the machine does.
    let missed = kills - happened;
    assert!(missed < 10 + kills / 4, "{missed} of {kills}: {calls:?}");
    // Most of what can go wrong is no reason not to run.
    assert!(run > kills / 5, "{run} of {kills}");
}

/// The runtime was not run, or saw the label.
#[track_caller]
fn check(held: &Held, words: &[&str], fault: Fault<'_>, done: &Output) {
    match held.seen(words) {
        Some(label) => assert_eq!(label.as_deref(), Some("p"), "{fault:?}: {done:?}"),
        None => {
            assert!(!done.status.success(), "{fault:?}: {done:?}");
            let told = String::from_utf8_lossy(&done.stderr);
            // Unless it was killed, could not tell, or never came to be: the C library ends it.
            let may_be_silent = done.status.code() != Some(1) || fault.call == "write";
            assert!(
                may_be_silent || told.contains("oci-apparmor: "),
                "{fault:?}: {done:?}"
            );
        }
    }
}

/// What a killed call leaves behind does not disturb later calls.
#[track_caller]
fn the_next_call_works(held: &Held, words: &[&str], fault: Fault<'_>) {
    let node = &held.node;
    let left = |directory: &str| -> Vec<String> {
        let entries = fs::read_dir(node.path(directory)).into_iter().flatten();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    // A name of a process that is no more, in a directory that goes with the container.
    let bundle = left(BUNDLE);
    let temporary = |name: &String| name.starts_with(".config.json.");
    assert!(
        bundle.len() <= 2 && bundle.iter().all(|n| n == "config.json" || temporary(n)),
        "{fault:?}: {bundle:?}"
    );
    bundle
        .iter()
        .filter(|n| temporary(n))
        .for_each(|n| node.remove(&format!("{BUNDLE}/{n}")));
    assert!(left("/run/oci-apparmor/tmp").len() <= 1, "{fault:?}");
    if held.seen(words).is_some() {
        return;
    }
    let again = held.call(&[], words);
    let seen = held.seen(words);
    match seen {
        Some(label) => assert_eq!(label.as_deref(), Some("p"), "{fault:?}: {again:?}"),
        // An engine's file that was being written is refused, and written anew by the engine.
        None => {
            assert_eq!(words, EXEC, "{fault:?}: {again:?}");
            let told = String::from_utf8_lossy(&again.stderr);
            assert!(told.contains("unexpected JSON"), "{fault:?}: {again:?}");
            node.write(PROCESS, HANDED);
            assert!(held.call(&[], words).status.success());
            assert_eq!(held.seen(words), Some(Some("p".to_owned())));
        }
    }
    assert_eq!(node.records(), ["c1"], "{fault:?}");
}

/// Before the container exists.
fn without_a_container(held: &Held) {
    held.forget("/run/runc/c1");
    held.forget("/run/oci-apparmor");
    held.node.bundle(ASKS);
}

#[test]
fn at_every_system_call_of_create() {
    let Some(held) = Held::prepare(RUNTIME) else {
        return;
    };
    at_every_call(&held, &CREATE, 1, &without_a_container);
}

#[test]
fn at_every_second_system_call_of_run() {
    let Some(held) = Held::prepare(RUNTIME) else {
        return;
    };
    let run = ["run", "--detach", "--bundle", BUNDLE, "c1"];
    at_every_call(&held, &run, 2, &without_a_container);
}

#[test]
fn at_every_third_system_call_of_a_create_that_compiles() {
    let Some(held) = Held::prepare(RUNTIME) else {
        return;
    };
    held.node.source("p");
    // Its fingerprint is not remembered at first: each call makes the same system calls.
    at_every_call(&held, &CREATE, 3, &|held| {
        without_a_container(held);
        held.forget("/run/cache");
        held.forget("/sys/kernel/security/apparmor/policy/profiles");
        held.node
            .write("/sys/kernel/security/apparmor/policy/profiles/.keep", "");
        held.node
            .write("/sys/kernel/security/apparmor/.replace", "");
    });
}

#[test]
fn no_failure_lets_a_second_container_take_the_firsts_record() {
    let Some(held) = Held::prepare(RUNTIME) else {
        return;
    };
    let record = with_a_container(&held);
    let file = held.node.record_file("c1");
    held.forget("/run/saw");
    // The calls of one that is refused at once.
    let trace = ["strace", "-qq", "-o", "/run/trace"];
    assert_eq!(held.call(&trace, &CREATE).status.code(), Some(1));
    let calls = held.traced();
    for (call, number) in &calls {
        for (what, on) in faults(call) {
            let when = &format!("{number}{on}");
            let fault = Fault { call, when, what };
            let done = held.disturbed(fault, &CREATE);
            assert_eq!(held.seen(&CREATE), None, "{fault:?}: {done:?}");
            assert_eq!(fs::read(&file).unwrap(), record, "{fault:?}: {done:?}");
        }
    }
}

/// A container `c1` that runs under `p`, and what is remembered of it.
fn with_a_container(held: &Held) -> Vec<u8> {
    held.node.bundle(ASKS);
    assert!(held.call(&[], &CREATE).status.success());
    fs::read(held.node.record_file("c1")).unwrap()
}

#[test]
fn at_every_system_call_of_exec() {
    let Some(held) = Held::prepare(RUNTIME) else {
        return;
    };
    let record = with_a_container(&held);
    let file = held.node.record_file("c1");
    at_every_call(&held, &EXEC, 1, &|held| {
        fs::write(&file, &record).unwrap();
        held.node.write(PROCESS, HANDED);
    });
}

#[test]
fn at_every_system_call_of_an_exec_whose_record_is_lost() {
    let Some(held) = Held::prepare(RUNTIME) else {
        return;
    };
    with_a_container(&held);
    at_every_call(&held, &["exec", "c1", "sh"], 1, &|held| {
        held.forget("/run/oci-apparmor")
    });
}

/// Where the kernel fails at one of the calls by which a container `c1` is made that asks for `q`
/// in a pod that asked for `p`, it is not made. `bundle` writes what asks for a profile.
fn no_failure_lets_it_be_made(held: &Held, words: &[&str], bundle: &dyn Fn(&str)) {
    let fresh = |profile: &str| {
        held.forget("/run/saw");
        held.forget("/run/runc/c1");
        bundle(profile);
    };
    fresh("p");
    let calls = held.system_calls(words);
    assert_eq!(held.seen(words), Some(Some("p".to_owned())));
    let reads = |call: &&(String, usize)| {
        matches!(
            &*call.0,
            "openat" | "statx" | "read" | "readlink" | "fcntl" | "lseek"
        )
    };
    for (call, number) in calls.iter().filter(reads) {
        fresh("q");
        let when = &number.to_string();
        let what = "error=EIO";
        let fault = Fault { call, when, what };
        let done = held.disturbed(fault, words);
        assert_eq!(held.seen(words), None, "{fault:?}: {done:?}");
    }
}

#[test]
fn no_failure_lets_a_pods_annotations_be_edited() {
    let Some(held) = Held::prepare(RUNTIME) else {
        return;
    };
    let node = &held.node;
    node.load("q", "enforce");
    let bundle = |kind: &str, profile: &str| {
        let config = serde_json::json!({"process": {}, "annotations": {
            "io.kubernetes.cri.container-type": kind,
            "io.kubernetes.cri.sandbox-id": "s1",
            "io.kubernetes.cri.container-name": "app",
            "oci-apparmor/profile": profile,
        }});
        node.bundle(config.to_string());
    };
    bundle("sandbox", "p");
    let sandbox = held.call(&[], &["create", "s1"]);
    assert!(sandbox.status.success(), "{sandbox:?}");
    no_failure_lets_it_be_made(&held, &CREATE, &|profile| bundle("container", profile));
}

/// What is remembered by the pod's UID, where its sandbox is gone.
#[test]
fn no_failure_lets_a_pod_shed_its_uid() {
    let Some(held) = Held::prepare(RUNTIME) else {
        return;
    };
    let node = &held.node;
    node.load("q", "enforce");
    let path = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/c1";
    let bundle = |sandbox: &str, kind: &str, profile: &str| {
        let config = serde_json::json!({"process": {}, "annotations": {
            "io.kubernetes.cri.container-type": kind,
            "io.kubernetes.cri.sandbox-id": sandbox,
            "io.kubernetes.cri.sandbox-namespace": "team",
            "io.kubernetes.cri.sandbox-name": "web-0",
            "io.kubernetes.cri.sandbox-uid": "uid-1",
            "oci-apparmor/profile": profile,
        }});
        node.write(&format!("{path}/config.json"), config.to_string());
    };
    // The runtime looks there.
    node.bundle("");
    node.remove(CONFIG);
    node.link(&format!("{path}/config.json"), CONFIG);
    bundle("s1", "sandbox", "p");
    let sandbox = held.call(&[], &["create", "--bundle", path, "s1"]);
    assert!(sandbox.status.success(), "{sandbox:?}");
    let record = node.record_file("s1");
    fs::remove_file(record).unwrap();
    no_failure_lets_it_be_made(&held, &["create", "--bundle", path, "c1"], &|profile| {
        bundle("s1", "container", profile);
    });
}

/// What a sandbox of CRI-O's has in its configuration, where it has no process.
#[test]
fn no_failure_hides_a_sandbox_of_crio() {
    let Some(held) = Held::prepare(RUNTIME) else {
        return;
    };
    let node = &held.node;
    node.load("q", "enforce");
    let bundle = |id: &str, profile: &str| {
        let config = serde_json::json!({"process": {}, "annotations": {
            "oci-apparmor/profile": profile,
            "io.kubernetes.cri-o.ContainerID": id,
            "io.kubernetes.cri-o.SandboxID": "s1",
            "io.kubernetes.cri-o.Name": "k8s_app_web-0_team_uid-1_0",
        }});
        node.write(
            &format!("/run/c/{id}/userdata/config.json"),
            config.to_string(),
        );
    };
    bundle("s1", "p");
    node.bundle("");
    node.remove(CONFIG);
    node.link("/run/c/c1/userdata/config.json", CONFIG);
    let words = ["create", "--bundle", "/run/c/c1/userdata", "c1"];
    no_failure_lets_it_be_made(&held, &words, &|profile| bundle("c1", profile));
}
