//! The wrapper killed around a `start` and a `restore`, and a runtime that fails when it has made
//! processes: what lacks its label is killed all the same, what has it runs on.
//!
//! The process tests do so at more system calls, with a stand-in; these at a sample: some before
//! the low-level runtime is started, each of the [`EACH`] that follow, and some of the rest.

use std::fs;
use std::path::Path;

use crate::faulty_runtimes::sabotage;
use crate::killed_wrapper::{killed_at, traced};
use crate::restore::{piped, piped_through};
use crate::support::containers::*;

const EACH: usize = 4;
const ID: &str = "orphaned";

/// Those of the system calls of a call of the wrapper at which it is killed.
fn sample(words: &[&str]) -> Vec<(String, usize)> {
    traced(&["-qq", "-b", "execve", "-o", "/run/trace"], words).ok();
    let text = fs::read_to_string("/run/trace").unwrap();
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| Some(line.split_once('(')?.0))
        .filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        .skip(1)
        .collect();
    let starts = |name: &&str| matches!(*name, "clone3" | "clone" | "vfork");
    let runtime = names.iter().rposition(starts).unwrap();
    let rest = names.len() - runtime;
    let mut at = vec![runtime / 2, runtime];
    at.extend((1..=EACH).map(|n| runtime + n));
    at.extend([runtime + rest / 2, names.len() - 2]);
    at.retain(|at| *at < names.len());
    at.into_iter()
        .map(|at| {
            let number = names[..=at]
                .iter()
                .filter(|name| **name == names[at])
                .count();
            (names[at].to_owned(), number)
        })
        .collect()
}

/// Waits until no program works on the container; one that waits for `start` may go on waiting,
/// and its watcher with it.
fn settle() {
    // A watcher has the command line of the wrapper.
    let is_watcher = |pid: &&str| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name == "oci-aa-watcher\n")
    };
    let pattern = format!("^(strace|[^ ]*/runc|/bin/sh [^ ]*/sabotage)( .*)? {ID}( |$)");
    // Within execve(2), a process has no command line for a moment.
    let mut looks = 0;
    wait_for(|| {
        let waits = Path::new("/run/runc").join(ID).join("exec.fifo").exists();
        let at_work = run("pgrep", ["-f", &pattern]).out;
        let (watchers, called): (Vec<_>, Vec<_>) = at_work.lines().partition(is_watcher);
        let is_settled = called.is_empty() && (waits || watchers.is_empty());
        looks = if is_settled { looks + 1 } else { 0 };
        looks == 5
    });
}

fn bundle() -> Bundle {
    profile(ID);
    let args = ["/bin/sh", "-c", "while :; do sleep 24680; done"];
    let mut bundle = Bundle::annotated(ID, &args, &[("oci-apparmor/profile", ID)]);
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "network");
    bundle.write();
    bundle
}

/// Nothing of the container runs.
fn nothing_runs(what: &dyn std::fmt::Debug) {
    assert_ne!(run("pgrep", ["-f", "[s]leep 24680"]).code, 0, "{what:?}");
}

#[test]
fn a_start_whose_wrapper_is_killed_is_verified() {
    let _world = world();
    let start = ["start", ID];
    for holds in [true, false] {
        let deed = "case $call in create) edit \"$bundle/config.json\" \
                    'del(.process.apparmorProfile)' ;; esac";
        sabotage(if holds { "" } else { deed }, "");
        let bundle = bundle();
        let create = || {
            bundle.write();
            let (container, created) = Container::create("runc", &bundle, ID);
            created.ok();
            container
        };
        // The calls of one that is right: those of another go on until it is found out.
        sabotage("", "");
        let container = create();
        let calls = sample(&start);
        drop(container);
        sabotage(if holds { "" } else { deed }, "");
        for call in &calls {
            let container = create();
            let done = killed_at(call, &start);
            settle();
            println!("{holds} {call:?}: {}", done.code);
            if !holds {
                nothing_runs(&(call, done));
            } else if container.state()["status"] == "running" {
                assert_eq!(container.label(), format!("{ID} (enforce)"), "{call:?}");
            }
        }
    }
}

#[test]
fn a_restore_whose_wrapper_is_killed_is_verified() {
    let _world = world();
    let image = "/var/lib/oci-apparmor-tests/orphaned-image";
    let bundle = bundle();
    for holds in [false, true] {
        // What is dumped without a label is restored without, whatever CRIU is told.
        let _ = fs::remove_dir_all(image);
        fs::create_dir_all(image).unwrap();
        let mut dumped = bundle_without_a_request();
        if holds {
            dumped.config["annotations"] = bundle.config["annotations"].clone();
            dumped.write();
        }
        let dumped = dumped.path.to_str().unwrap();
        piped(&["create", "--bundle", dumped, ID]).ok();
        let container = Container {
            runtime: wrapper("runc"),
            id: ID.to_owned(),
        };
        container.call("start").ok();
        container.label();
        let dump = [
            "checkpoint",
            "--image-path",
            image,
            "--work-path",
            "/run",
            ID,
        ];
        run("runc", dump).ok();
        run(&container.runtime, ["delete", "--force", ID]).ok();
        bundle.write();
        let path = bundle.path.to_str().unwrap();
        let pid_file = "--pid-file=/run/orphaned.pid";
        let mut words = vec!["restore", "--detach", pid_file, "--image-path", image];
        words.extend(["--work-path", "/run", "--bundle", path, ID]);
        // As soon as it waits for the runtime, which goes on without it.
        let strace = "strace -qq -b execve -o /run/trace -e inject=wait4:signal=KILL:when=1";
        let done = piped_through(strace, &words);
        assert_ne!(done.code, 0, "{done:?}");
        settle();
        assert_eq!(Path::new("/run/runc").join(ID).exists(), holds, "{done:?}");
        if holds {
            assert_eq!(container.label(), format!("{ID} (enforce)"));
            assert!(record_of(ID).is_some());
        } else {
            nothing_runs(&done);
            assert_eq!(record_of(ID), None);
        }
    }
}

fn bundle_without_a_request() -> Bundle {
    let mut bundle = bundle();
    bundle.config["annotations"] = serde_json::json!({});
    bundle.write();
    bundle
}

/// Restores the container with a runtime that does this.
fn restored_by(deed: &str, bundle: &Bundle) -> Done {
    sabotage(deed, "");
    let path = bundle.path.to_str().unwrap();
    let words = ["restore", "--detach", "--pid-file=/run/orphaned.pid"];
    run_detached(
        &wrapper("runc"),
        [&words[..], &["--bundle", path, ID]].concat(),
    )
}

/// As crun does when it cannot write its state: the processes run by then (`container.c`,
/// `libcrun_container_restore()`).
#[test]
fn a_restore_that_fails_after_there_are_processes_leaves_none() {
    let _world = world();
    let bundle = bundle();
    for state in [":", "mkdir -p /run/runc/orphaned"] {
        let deed = format!(
            "if [ \"$call\" = delete ]; then rm -rf /run/runc/orphaned; exit; fi; {state}; \
             mkdir -p /sys/fs/cgroup/orphaned; \
             setsid sh -c 'echo $$ >/sys/fs/cgroup/orphaned/cgroup.procs; exec sleep 24680' \
             </dev/null >/dev/null 2>&1 & \
             until grep -q . /sys/fs/cgroup/orphaned/cgroup.procs; do :; done; exit 3"
        );
        let done = restored_by(&deed, &bundle);
        assert_eq!(done.code, 3, "{done:?}");
        nothing_runs(&done);
        assert!(!Path::new("/run/runc").join(ID).exists(), "{done:?}");
        assert_eq!(record_of(ID), None, "{done:?}");
        fs::remove_dir("/sys/fs/cgroup/orphaned").unwrap();
    }
}

/// Where a restored container has no process namespace of its own, its first process may end and
/// others go on.
#[test]
fn a_restored_container_is_checked_without_its_first_process() {
    let _world = world();
    let bundle = bundle();
    for holds in [true, false] {
        let label = if holds { ID } else { "unconfined" };
        let deed = format!(
            "group=/sys/fs/cgroup/orphaned; state=/run/runc/orphaned
            if [ \"$call\" = delete ]; then rm -rf $state; exit; fi
            mkdir -p $group $state
            setsid sh -c 'echo $$ >/sys/fs/cgroup/orphaned/cgroup.procs
                echo exec {label} >/proc/self/attr/exec; exec sleep 24680' \
                </dev/null >/dev/null 2>&1 &
            until [ \"$(cat /proc/$!/comm)\" = sleep ]; do :; done
            sh -c exit & wait $!; echo $! >/run/orphaned.pid; exit 0"
        );
        let done = restored_by(&deed, &bundle);
        if holds {
            assert_eq!((done.code, &*done.err), (0, ""), "{done:?}");
            assert_eq!(run("pkill", ["-e", "-f", "[s]leep 24680"]).code, 0);
            run(wrapper("runc"), ["delete", "--force", ID]).ok();
        } else {
            done.refused(&["instead of under orphaned", "killed and deleted"]);
            nothing_runs(&());
        }
        assert_eq!(record_of(ID), None);
        fs::remove_dir("/sys/fs/cgroup/orphaned").unwrap();
    }
}
