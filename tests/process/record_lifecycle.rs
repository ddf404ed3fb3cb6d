//! From `create` to `delete`: when a record comes and goes, and the last look before `start`.

use std::fs;
use std::process::Child;
use std::time::Duration;

use crate::call::{to_the_end, until};
use crate::create::ASKS;
use crate::node::{Node, node};

#[test]
fn a_record_goes_when_its_container_is_gone() {
    let Some(node) = node() else { return };
    node.bundle(ASKS);
    node.done(&["create", "c1"]);
    node.done(&["create", "c2"]);
    // The runtime refuses: its exit code and its words are passed on.
    node.write("/run/stand-in/exit", "7");
    let outcome = node.run(&["delete", "c1"]);
    let said = (outcome.code, &*outcome.stdout, &*outcome.stderr);
    assert_eq!(said, (Some(7), "", "runc: told to fail\n"));
    assert_eq!(node.records(), ["c1", "c2"]);
    node.remove("/run/stand-in/exit");
    // It says that all is well, and the container is there all the same.
    node.write("/run/stand-in/keep", "");
    node.done(&["delete", "c1"]);
    assert_eq!(node.records(), ["c1", "c2"]);
    node.remove("/run/stand-in/keep");
    // It is called with the words that came.
    node.done(&["delete", "c1", "-force"]);
    assert_eq!(node.last_call().words, ["delete", "c1", "-force"]);
    assert_eq!(node.records(), ["c2"]);
    // It fails, and the container is gone.
    node.remove("/run/runc/c2");
    assert_eq!(node.run(&["delete", "c2"]).code, Some(1));
    assert_eq!(node.records(), [""; 0]);
    // Nor is anything left of the root that they were in.
    let left = fs::read_dir(node.path("/run/oci-apparmor/containers")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn a_root_goes_with_its_last_container_and_not_while_a_record_is_written() {
    let Some(node) = node() else { return };
    node.bundle(ASKS);
    let directory = node.path("/run/oci-apparmor/containers");
    let roots = || fs::read_dir(&directory).unwrap().count();
    for root in ["/run/one", "/run/two"] {
        node.done(&["--root", root, "create", "c1"]);
    }
    assert_eq!(roots(), 2);
    node.done(&["--root", "/run/one", "delete", "c1"]);
    assert_eq!(roots(), 1);
    // As `write` holds it between making the directory and the rename into it.
    let writing = fs::File::open(&directory).unwrap();
    writing.lock_shared().unwrap();
    node.done(&["--root", "/run/two", "delete", "c1"]);
    assert_eq!((node.records(), roots()), (Vec::new(), 1));
    drop(writing);
    // Another one has its place, and takes it along.
    node.done(&["--root", "/run/two", "create", "c1"]);
    node.done(&["--root", "/run/two", "delete", "c1"]);
    assert_eq!(roots(), 0);
}

#[test]
fn an_id_can_be_used_again() {
    let Some(node) = node() else { return };
    node.load("q", "enforce");
    for (config, option) in [
        (ASKS.to_owned(), Some("--apparmor=p")),
        (ASKS.replace("\"p\"", "\"q\""), Some("--apparmor=q")),
        (r#"{"process":{}}"#.to_owned(), None),
        (ASKS.to_owned(), Some("--apparmor=p")),
    ] {
        node.bundle(config);
        node.done(&["create", "c1"]);
        node.done(&["exec", "c1", "sh"]);
        let words = [&["exec"][..], &Vec::from_iter(option), &["c1", "sh"]].concat();
        assert_eq!(node.last_call().words, words);
        node.done(&["delete", "c1"]);
    }
}

#[test]
fn a_create_that_the_runtime_refuses_leaves_no_record() {
    let Some(node) = node() else { return };
    node.bundle(ASKS);
    node.write("/run/stand-in/exit", "1");
    assert_eq!(node.run(&["create", "c1"]).code, Some(1));
    node.remove("/run/stand-in/exit");
    // The engine deletes what failed; the record of what never was goes, too.
    node.run(&["delete", "--force", "c1"]);
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn a_container_whose_profile_changed_does_not_start() {
    let Some(node) = node() else { return };
    let q = node.load("q", "enforce");
    node.settings("floor = 'p'");
    node.bundle(ASKS.replace("\"p\"", "\"q\""));
    node.done(&["create", "c1"]);
    node.done(&["start", "c1"]);
    assert_eq!(node.last_call().words, ["start", "c1"]);
    let refused = || {
        let line = node.refused(&["start", "c1"]);
        assert!(
            line.contains("start of container c1 refused: the profile q was removed"),
            "{line}"
        );
    };
    let mode = format!("/sys/kernel/security/apparmor/policy/profiles/{q}/mode");
    for changed in ["complain\n", "unconfined\n"] {
        node.write(&mode, changed);
        refused();
    }
    // One that confines more, or as much, may take its place.
    for changed in ["kill\n", "enforce\n"] {
        node.write(&mode, changed);
        node.done(&["start", "c1"]);
    }
    // The node itself may let it complain.
    node.write("/etc/oci-apparmor/profiles/q", "");
    node.write("/etc/apparmor.d/force-complain/q", "");
    node.write(&mode, "complain\n");
    node.done(&["start", "c1"]);
    node.write(&mode, "unconfined\n");
    refused();
    node.remove("/etc/oci-apparmor/profiles/q");
    node.write(&mode, "enforce\n");
    node.unload(&q);
    refused();
    // To load it again does not bring it back to a label that waits.
    node.load("q", "enforce");
    refused();
    node.write("/sys/module/apparmor/parameters/mode", "complain\n");
    assert!(node.refused(&["start", "c1"]).contains("global mode"));
    // It can still be deleted.
    node.done(&["delete", "c1"]);
}

#[test]
fn a_container_whose_record_is_lost_does_not_start() {
    let Some(node) = node() else { return };
    for name in ["runc", "crun", "youki"] {
        node.called(name);
        node.bundle(ASKS);
        node.done(&["create", "c1"]);
        node.remove("/run/oci-apparmor");
        let line = node.refused(&["start", "c1"]);
        assert!(
            line.contains("record of this container is missing"),
            "{line}"
        );
        // What it says to do works.
        node.done(&["delete", "c1"]);
        node.done(&["create", "c1"]);
        node.done(&["start", "c1"]);
        // A state that cannot be looked at is not the state of no container.
        node.remove("/run/oci-apparmor");
        node.remove(&format!("/run/{name}"));
        node.link(name, &format!("/run/{name}"));
        let line = node.refused(&["start", "c1"]);
        assert!(line.contains("cannot read the runtime's state"), "{line}");
        let line = node.refused(&["exec", "c1", "sh"]);
        assert!(line.contains("cannot read the runtime's state"), "{line}");
        node.remove(&format!("/run/{name}"));
    }
}

#[test]
fn a_configuration_that_is_changed_after_create_changes_nothing() {
    let Some(node) = node() else { return };
    for name in ["runc", "crun", "youki"] {
        node.called(name);
        node.bundle(ASKS);
        node.done(&["create", "c1"]);
        for changed in [
            r#"{"process":{"apparmorProfile":"unconfined"}}"#,
            "{}",
            "",
            "{",
        ] {
            node.bundle(changed);
            node.done(&["start", "c1"]);
            node.done(&["exec", "c1", "sh"]);
            assert_eq!(
                node.last_call().words,
                ["exec", "--apparmor=p", "c1", "sh"],
                "{changed}"
            );
        }
        node.done(&["delete", "c1"]);
    }
}

/// Whether a process of this machine is a watcher. Its command line is that of the wrapper.
pub(crate) fn is_watcher(pid: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    name.is_ok_and(|name| name == "oci-aa-watcher\n")
}

/// The watchers of a `run` of a container, which are processes of this machine.
fn watchers(id: &str) -> Vec<u32> {
    let words = format!("run\0{id}\0");
    let processes = fs::read_dir("/proc").unwrap();
    let pids = processes.filter_map(|p| p.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.ends_with(words.as_bytes()) && is_watcher(*pid)
    })
    .collect()
}

/// A `run` in the foreground, whose runtime waits; and its id, which no other test has.
fn foreground(node: &Node) -> (String, Child) {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let id = format!("watched-{}-{next}", std::process::id());
    let fifo = node.path("/run/stand-in/wait");
    if !fifo.exists() {
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    node.bundle(ASKS);
    let call = node.call(&["run", &id]).prelude("exec 5>&1");
    let child = call.environment(&["NOTIFY_SOCKET=/run/notify"]).spawn();
    until("the runtime waits", || {
        node.exists(&format!("/run/runc/{id}"))
    });
    until("there is a watcher", || watchers(&id).len() == 1);
    (id, child)
}

/// Lets the runtime of [`foreground`] go on.
fn let_go(node: &Node, mut child: Child) {
    fs::write(node.path("/run/stand-in/wait"), "go\n").unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_record_of_a_run_goes_with_it() {
    let Some(node) = node() else { return };
    let (id, child) = foreground(&node);
    assert_eq!(node.record(&id)["label"], "p");
    assert_eq!(node.record(&id)["writer"], child.id());
    let_go(&node, child);
    until("the record is gone", || node.records().is_empty());
    until("the watcher is gone", || watchers(&id).is_empty());
}

#[test]
fn the_watcher_keeps_no_descriptor_of_the_engine() {
    let Some(node) = node() else { return };
    let (id, mut child) = foreground(&node);
    // The runtime has closed its output, and it and we are all that had it.
    assert_eq!(to_the_end(child.stdout.take().unwrap()), b"");
    assert_eq!(to_the_end(child.stderr.take().unwrap()), b"");
    let [watcher] = watchers(&id)[..] else {
        panic!()
    };
    // Seen from a root that is changed, /dev has a longer name.
    let null = |path: &str| path.ends_with("/dev/null");
    // While it looks at the runtime's state it has that open, too.
    until("it has nothing else open", || {
        let open = fs::read_dir(format!("/proc/{watcher}/fd")).unwrap();
        let open = open.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
        let open: Vec<_> = open.map(|path| path.display().to_string()).collect();
        let of = |what: &str| open.iter().filter(|path| path.contains(what)).count();
        let nulls = open.iter().filter(|path| null(path)).count();
        (nulls, of("pidfd"), of("inotify"), open.len()) == (3, 1, 1, 5)
    });
    let cwd = fs::read_link(format!("/proc/{watcher}/cwd")).unwrap();
    assert_eq!(cwd.to_str(), Some("/"));
    // Its session is its own: no signal to the engine's group reaches it.
    let session = |pid: u32| {
        nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(pid.try_into().unwrap()))).unwrap()
    };
    assert_ne!(session(watcher), session(child.id()));
    let_go(&node, child);
    until("the watcher is gone", || watchers(&id).is_empty());
}

#[test]
fn the_watcher_leaves_a_record_whose_container_is_still_there() {
    let Some(node) = node() else { return };
    let (id, child) = foreground(&node);
    node.write("/run/stand-in/keep", "");
    let_go(&node, child);
    until("the watcher is gone", || watchers(&id).is_empty());
    assert_eq!(node.records(), [&*id]);

    // So it does where the runtime is killed.
    let (id, mut child) = foreground(&node);
    child.kill().unwrap();
    child.wait().unwrap();
    until("the watcher is gone", || watchers(&id).is_empty());
    assert!(node.records().contains(&id));
}

#[test]
fn the_watcher_leaves_the_record_of_the_next_container_of_that_id() {
    let Some(node) = node() else { return };
    let (id, child) = foreground(&node);
    node.write("/run/stand-in/keep", "");
    let state = format!("/run/runc/{id}");
    node.remove(&state);
    node.done(&["create", &id]);
    let record = node.record(&id);
    node.remove(&state);
    let_go(&node, child);
    until("the watcher is gone", || watchers(&id).is_empty());
    assert_eq!(node.record(&id), record);
}

#[test]
fn a_detached_run_keeps_its_record() {
    let Some(node) = node() else { return };
    node.bundle(ASKS);
    let id = format!("detached-{}", std::process::id());
    node.done(&["run", "--detach", &id]);
    until("the watcher is gone", || watchers(&id).is_empty());
    assert_eq!(node.records(), [id]);
}

#[test]
fn a_state_that_cannot_be_read_is_that_of_a_deleted_container_or_refused() {
    let Some(node) = node() else { return };
    node.write("/run/stand-in/keep", "");
    for is_deleted in [true, false] {
        let (id, child) = foreground(&node);
        let state = format!("/run/runc/{id}");
        let file = format!("{state}/state.json");
        until("the state is written", || {
            node.exists(&file) && !node.read(&file).is_empty()
        });
        // `delete` removes the files of a state first, and then their directory.
        node.remove(&file);
        let before = node.calls().len();
        node.syslog();
        let_go(&node, child);
        if is_deleted {
            std::thread::sleep(Duration::from_millis(20));
            node.remove(&state);
        }
        until("the watcher is gone", || watchers(&id).is_empty());
        let calls: Vec<_> = node.calls().split_off(before);
        let words: Vec<_> = calls.into_iter().map(|call| call.words).collect();
        let log = node.syslog();
        if is_deleted {
            assert_eq!((words.len(), log.len()), (0, 0), "{words:?} {log:?}");
            assert_eq!(node.records(), [""; 0]);
        } else {
            assert_eq!(words, [["delete", "--force", &id]]);
            let [line] = &log[..] else { panic!("{log:?}") };
            let why = format!("run of container {id} refused: cannot read the runtime's state");
            assert!(line.contains(&why), "{line}");
            let remedy =
                "it could not be killed and deleted; run: /run/bin/runc --root=/run/runc delete";
            assert!(line.contains(remedy), "{line}");
        }
    }
}

#[test]
fn a_second_run_of_an_id_leaves_the_first_one_and_its_watcher() {
    let Some(node) = node() else { return };
    let (id, child) = foreground(&node);
    let (first, record) = (watchers(&id), node.record(&id));
    let second = node.call(&["run", &id]).outcome();
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(
        second.stderr.contains("already exists"),
        "{}",
        second.stderr
    );
    assert_eq!((watchers(&id), node.record(&id)), (first, record));
    let_go(&node, child);
    until("the record is gone", || node.records().is_empty());
    until("the watcher is gone", || watchers(&id).is_empty());
}
