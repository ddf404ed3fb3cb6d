//! The wrapper killed, and refused by the kernel, at its system calls around a low-level runtime
//! that makes real processes: whatever happens, in the end no process of a container runs without
//! having been looked at.
//!
//! No process has a label here, so each one that runs must be found out, killed and deleted. That
//! those with their label live on is for `kernel_containers` (`killed_during_start.rs` there).

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::create::ASKS;
use crate::node::BUNDLE;
use crate::record_lifecycle::is_watcher;
use crate::system_call_faults::{Fault, Held, KILL, faults};

/// A call is killed at every [`STEP`]th of its [`FIRST`] system calls; at each of the [`EACH`] that
/// follow the start of the low-level runtime; and at every [`SPARSE`]th of the rest, which looks at
/// the container's process again and again, or at all processes of this machine. Other faults
/// happen at every third of these, and those that last, at every eighth of those.
const STEP: usize = 6;
const FIRST: usize = 250;
const EACH: usize = 40;
const SPARSE: usize = 80;

/// A runtime whose containers are processes: forked, waiting at a gate, and then another program.
/// `/run/ran` tells that one was let go; with `/run/fails` it fails when it has done that.
const RUNTIME: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
for id; do :; done
case $id in sh) id=$CONTAINER ;; esac
own=/run/runc/$id
note() { # process
    printf '{"config":{"labels":["bundle=/run/bundle"]},"init_process_pid":%s}' "$1" >$own.state
    mv $own.state "$own/state.json"
}
case " $* " in
*' create '* | *' run '*)
    mkdir -p /run/runc && mkdir "$own" && mkfifo "$own/exec.fifo" || exit 1
    (read -r _ <"$own/exec.fifo" && exec sleep SECONDS) </dev/null >/dev/null 2>&1 &
    note $!
    case " $* " in *' create '*) exit ;; esac
    ;;
*' restore '*)
    mkdir -p /run/runc && mkdir "$own" || exit 1
    >/run/ran
    (exec sleep SECONDS) </dev/null >/dev/null 2>&1 &
    note $!
    echo $! >/run/pid
    ;;
*' delete '*)
    kill -9 "$(sed 's/.*pid":\([0-9]*\).*/\1/' "$own/state.json")"
    rm -r "$own"
    exit
    ;;
esac
case " $* " in
*' start '* | *' run '*)
    >/run/ran
    echo go >"$own/exec.fifo"
    [ -e /run/keeps-fifo ] || rm "$own/exec.fifo"
    ;;
esac
[ ! -e /run/fails ] || exit 1
"#;

/// A node, and a container that no other test has.
struct Scene {
    held: Held,
    id: String,
    /// For how long the container's program sleeps: a number that is in no other command line.
    seconds: String,
}

impl Scene {
    fn prepare() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let seconds = format!("{next}{}", 1_000_000_000 + std::process::id());
        let held = Held::prepare(&RUNTIME.replace("SECONDS", &seconds))?;
        held.node.bundle(ASKS);
        let id = format!("interrupted-{seconds}");
        Some(Self { held, id, seconds })
    }

    /// What a command line of the words of `call` is for this container.
    fn words<'w>(&'w self, call: &[&'w str]) -> Vec<&'w str> {
        [call, &[&self.id]].concat()
    }

    fn own(&self, file: &str) -> String {
        format!("/run/runc/{}{file}", self.id)
    }

    /// The processes whose command lines hold this.
    fn processes(&self, word: &str) -> Vec<u32> {
        let entries = fs::read_dir("/proc").unwrap();
        let pids = entries.filter_map(|p| p.unwrap().file_name().to_str()?.parse().ok());
        pids.filter(|pid: &u32| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(word))
        })
        .collect()
    }

    /// Those of the container's own program.
    fn running(&self) -> Vec<u32> {
        self.processes(&format!("sleep\0{}", self.seconds))
    }

    /// The container's process, if it still waits at its gate.
    fn waiting(&self) -> Option<u32> {
        let state = fs::read(self.held.node.path(&self.own("/state.json"))).ok()?;
        let state: serde_json::Value = serde_json::from_slice(&state).ok()?;
        let pid = state["init_process_pid"].as_u64()?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        (line.contains("/run/bin/runc") && line.contains(&self.id)).then_some(pid as u32)
    }

    /// Waits until no program works on the container any more, watchers included. A container
    /// that waits at a closed gate is ended: so might any `start`, and its watcher waits for that.
    #[track_caller]
    fn settle(&self, what: &dyn std::fmt::Debug) {
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            let mut at_work = self.processes(&self.id);
            let waiting = self.waiting();
            at_work.retain(|pid| Some(*pid) != waiting);
            let mut runtimes = at_work.clone();
            runtimes.retain(|pid| !is_watcher(*pid));
            if let (Some(pid), true) = (waiting, runtimes.is_empty()) {
                kill(pid);
            } else if at_work.is_empty() {
                return;
            }
            let names: Vec<_> = at_work
                .iter()
                .map(|pid| fs::read_to_string(format!("/proc/{pid}/cmdline")))
                .collect();
            assert!(Instant::now() < deadline, "{what:?}: {names:?}");
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Nothing of the container runs, and nothing will start it.
    #[track_caller]
    fn nothing_runs(&self, what: &dyn std::fmt::Debug) {
        self.settle(what);
        // The low-level runtime does not wait for what it kills; what is not killed runs for years.
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.running().is_empty() {
            if Instant::now() > deadline {
                self.running().iter().for_each(|pid| kill(*pid));
                panic!("{what:?}: {} runs on", self.id);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Takes away what a call has left.
    fn clear(&self) {
        if let Some(pid) = self.waiting() {
            kill(pid);
        }
        for pid in self.running() {
            kill(pid);
        }
        for left in [&*self.own(""), "/run/ran", "/run/pid"] {
            self.held.forget(left);
        }
    }

    /// Every fault at some system calls of a call that `prepare` makes ready for, and a few that
    /// last from one of them on.
    fn disturb(&self, words: &[&str], prepare: &dyn Fn()) {
        let held = &self.held;
        let fresh = || {
            self.clear();
            prepare();
        };
        fresh();
        let trace = ["strace", "-qq", "-b", "execve", "-o", "/run/trace"];
        let undisturbed = held.call(&trace, words);
        self.nothing_runs(&undisturbed);
        assert!(held.node.exists("/run/ran"));
        let calls = held.traced();
        // The watcher is started first, and then the runtime; or we become it.
        let starts = |(name, _): &&(String, usize)| matches!(&**name, "clone3" | "clone" | "vfork");
        let mut started = (0..calls.len()).filter(|at| starts(&&calls[*at]));
        let of_watcher = started.next().unwrap();
        // A `run` becomes the runtime.
        let of_runtime = started.next().unwrap_or(of_watcher);
        let (mut tried, mut ran, mut killed, mut lasting) = (0, 0, 0, 0);
        for (at, (call, number)) in calls.iter().enumerate() {
            let step = match at.checked_sub(of_runtime) {
                None if at < FIRST => STEP,
                Some(after) if after < EACH => 1,
                _ => SPARSE,
            };
            if at % step != 0 {
                continue;
            }
            tried += 1;
            for (what, on) in faults(call) {
                if what != KILL && tried % 3 != 0 {
                    continue;
                }
                // What does not pass makes each look take its whole time.
                lasting += usize::from(!on.is_empty());
                if !on.is_empty() && lasting % 8 != 0 {
                    continue;
                }
                let when = format!("{number}{on}");
                let (call, when) = (call.as_str(), when.as_str());
                let fault = Fault { call, when, what };
                fresh();
                let done = held.disturbed(fault, words);
                self.nothing_runs(&(fault, &done));
                killed += usize::from(what == KILL);
                ran += usize::from(what == KILL && held.node.exists("/run/ran"));
            }
        }
        eprintln!(
            "{words:?}: {} calls, {killed} kills, {ran} with a runtime",
            calls.len()
        );
        assert!(words[0] == "run" || ran > 5, "{ran} of {killed}: {calls:?}");
        self.clear();
    }

    /// A container that waits for `start`, of which something is remembered.
    fn created(&self) -> impl Fn() {
        let create = self.words(&["create", "--bundle", BUNDLE]);
        let done = self.held.call(&[], &create);
        assert!(done.status.success(), "{done:?}");
        let file = self.held.node.record_file(&self.id);
        let record = fs::read(&file).unwrap();
        move || {
            let stand_in = [&["/run/bin/runc"][..], &create].concat();
            let done = self.held.enter(&stand_in);
            assert!(done.status.success(), "{done:?}");
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &record).unwrap();
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.clear();
    }
}

fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL);
}

const RESTORE: [&str; 6] = [
    "restore",
    "--detach",
    "--pid-file=/run/pid",
    "--image-path=/run/image",
    "--bundle",
    BUNDLE,
];

#[test]
fn a_start_with_a_fault_leaves_nothing_unverified() {
    let Some(scene) = Scene::prepare() else {
        return;
    };
    let created = scene.created();
    scene.disturb(&scene.words(&["start"]), &created);
    // The runtime was killed before it noted that the gate is open, or says that it failed.
    for left in ["/run/keeps-fifo", "/run/fails"] {
        scene.held.node.write(left, "");
        created();
        let done = scene.held.call(&[], &scene.words(&["start"]));
        scene.nothing_runs(&(left, done));
        scene.held.node.remove(left);
        scene.clear();
    }
}

#[test]
fn a_restore_with_a_fault_leaves_nothing_unverified() {
    let Some(scene) = Scene::prepare() else {
        return;
    };
    scene.disturb(&scene.words(&RESTORE), &|| {});
}

/// Each look at a thread that may have ended fails, once or from then on: that is not its end.
#[test]
fn a_restored_thread_that_cannot_be_looked_at_has_not_ended() {
    let Some(scene) = Scene::prepare() else {
        return;
    };
    let words = scene.words(&RESTORE);
    let trace = ["strace", "-qq", "-b", "execve", "-o", "/run/trace"];
    scene.held.call(&trace, &words);
    let calls = scene.held.traced();
    let waits = |(name, _): &(String, usize)| matches!(&**name, "wait4" | "waitid");
    let runtime = calls.iter().skip_while(|call| !waits(call));
    // The first wait is for the runtime, and the last for the deletion.
    let looks: Vec<_> = runtime.filter(|(name, _)| name == "statx").collect();
    assert!(!looks.is_empty(), "{calls:?}");
    for (call, number) in looks {
        for on in ["", "+"] {
            scene.clear();
            let when = format!("{number}{on}");
            let (what, when) = ("error=EIO", &*when);
            let done = scene.held.disturbed(Fault { call, when, what }, &words);
            assert_eq!(done.status.code(), Some(1), "{when}: {done:?}");
            scene.nothing_runs(&(when, &done));
        }
    }
    scene.clear();
}

#[test]
fn a_run_with_a_fault_leaves_nothing_unverified() {
    let Some(scene) = Scene::prepare() else {
        return;
    };
    scene.disturb(
        &scene.words(&["run", "--detach", "--bundle", BUNDLE]),
        &|| {},
    );
}

/// The words that call the wrapper, and what makes ready for them.
type Prepared<'s> = (Vec<&'s str>, Box<dyn Fn() + 's>);

/// The calls that have a watcher.
fn watched_calls(scene: &Scene) -> [Prepared<'_>; 3] {
    let run = ["run", "--detach", "--bundle", BUNDLE];
    [
        (scene.words(&run), Box::new(|| {})),
        (scene.words(&RESTORE), Box::new(|| {})),
        (scene.words(&["start"]), Box::new(scene.created())),
    ]
}

/// A fault at a system call that only a watcher makes. Where the runtime is executed, it is not
/// traced any more.
fn in_the_watcher(scene: &Scene, fault: &str, words: &[&str]) -> std::process::Output {
    let inject = format!("inject={fault}");
    let strace = ["strace", "-f", "-qq", "-b", "execve", "-o", "/run/trace"];
    let done = scene
        .held
        .call(&[&strace[..], &["-e", &inject]].concat(), words);
    let trace = scene.held.node.text("/run/trace");
    assert!(
        trace.contains("(INJECTED)") || trace.contains("+++ killed by SIGKILL"),
        "{fault}: {trace}"
    );
    done
}

#[test]
fn nothing_runs_if_the_watcher_ends_before_it_is_ready() {
    let Some(scene) = Scene::prepare() else {
        return;
    };
    for (words, prepare) in watched_calls(&scene) {
        for fault in [
            "close_range:signal=KILL",
            "setsid:signal=KILL",
            "setsid:error=EPERM",
            "chdir:error=EACCES",
            "prctl:error=EPERM",
        ] {
            scene.clear();
            prepare();
            let done = in_the_watcher(&scene, fault, &words);
            let told = String::from_utf8_lossy(&done.stderr).into_owned();
            assert_eq!(done.status.code(), Some(1), "{fault}: {done:?}");
            let why = "cannot start the watcher: it did not report that it is ready";
            assert!(told.contains(why), "{fault}: {done:?}");
            assert!(!scene.held.node.exists("/run/ran"), "{fault}: {words:?}");
            scene.nothing_runs(&(fault, &done));
            // Of a container that was never made.
            let left = scene.held.node.records();
            assert_eq!(left.is_empty(), words[0] != "start", "{words:?}: {left:?}");
        }
    }
    scene.clear();
}

/// As where the user has no more inotify instances or watches, and where the kernel has no
/// close_range(2).
#[test]
fn a_run_is_verified_without_events() {
    let Some(scene) = Scene::prepare() else {
        return;
    };
    for detach in ["--detach", "--keep"] {
        let words = scene.words(&["run", detach, "--bundle", BUNDLE]);
        for fault in [
            "inotify_init1:error=EMFILE",
            "inotify_add_watch:error=ENOSPC",
            "close_range:error=ENOSYS",
        ] {
            scene.clear();
            let done = in_the_watcher(&scene, fault, &words);
            assert!(scene.held.node.exists("/run/ran"), "{fault}: {done:?}");
            scene.nothing_runs(&(fault, &done));
            assert!(!scene.held.node.exists(&scene.own("")), "{fault}");
        }
    }
}

/// Each pidfd is refused, as where there are no more descriptors.
#[test]
fn a_process_without_a_pidfd_is_not_taken_for_ended() {
    let Some(scene) = Scene::prepare() else {
        return;
    };
    let created = scene.created();
    let words = scene.words(&["start"]);
    for when in ["1", "2", "3", "1+", "2+", "3+"] {
        scene.clear();
        created();
        let (call, what) = ("pidfd_open", "error=EMFILE");
        let fault = Fault { call, when, what };
        let done = scene.held.disturbed(fault, &words);
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "{fault:?}: {done:?}");
        assert!(told.contains(" refused: "), "{fault:?}: {done:?}");
        // What waits is found out before anything runs.
        let ran = scene.held.node.exists("/run/ran");
        assert!(!ran || !when.starts_with('1'), "{fault:?}: {done:?}");
        scene.nothing_runs(&(fault, &done));
    }
}

#[test]
fn a_restore_that_fails_late_leaves_no_process_and_no_record() {
    let Some(scene) = Scene::prepare() else {
        return;
    };
    scene.held.node.write("/run/fails", "");
    let done = scene.held.call(&[], &scene.words(&RESTORE));
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert!(scene.held.node.exists("/run/ran"));
    scene.nothing_runs(&done);
    assert!(!scene.held.node.exists(&scene.own("")));
    assert_eq!(scene.held.node.records(), [""; 0]);
}
