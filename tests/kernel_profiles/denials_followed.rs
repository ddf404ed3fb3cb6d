//! `oci-apparmor denials --follow` and `--show-denies` on a real kernel: bursts, processes that end at
//! once, containers that share a profile, and the kernel's parameter after a kill.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::support::containers::*;

const AUDIT: &str = "/sys/module/apparmor/parameters/audit";

/// A `denials` that follows.
struct Follower {
    child: Child,
    errors: BufReader<std::process::ChildStderr>,
    path: String,
}

impl Follower {
    /// Starts it, and waits until it hears everything.
    fn start(words: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let path = format!("/run/denials.{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut child = Command::new(CLI)
            .args(["denials", "--follow", "--json"])
            .args(words)
            .stdout(fs::File::create(&path).unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("following netlink") {
            line.clear();
            assert_ne!(errors.read_line(&mut line).unwrap(), 0, "it ended");
        }
        // What else it says at the start is said by then; --show-denies is in force.
        if words.contains(&"--show-denies") {
            wait_for(|| parameter() == "noquiet");
        }
        Self {
            child,
            errors,
            path,
        }
    }

    /// The events so far.
    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.path).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect()
    }

    /// The most memory that it ever had, in KiB.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("VmHWM:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Ends it with a signal, and returns its events and what it says of the end.
    fn end(mut self) -> (Vec<Value>, Value) {
        run("kill", ["-TERM", &self.child.id().to_string()]).ok();
        let mut said = String::new();
        self.errors.read_to_string(&mut said).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{said}");
        let mut events = self.events();
        let end = events.pop().unwrap();
        assert_eq!(end["kind"], "end");
        (events, end)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parameter() -> String {
    fs::read_to_string(AUDIT).unwrap().trim().to_owned()
}

/// A profile that allows everything but to read /etc/hostname.
fn without_hostname(name: &str, last: &str) {
    let text = format!(
        "profile {name} flags=(attach_disconnected) {{\n  network,\n  capability,\n  mount,\n  umount,\n  \
         signal,\n  ptrace,\n  / r,\n  /[^e]** rwmlkix,\n  /etc/[^h]** r,\n  {last}\n}}\n"
    );
    source(name, &text);
    run("apparmor_parser", ["-rK", &format!("{PROFILES}/{name}")]).ok();
}

fn is_of(event: &Value, profile: &str) -> bool {
    event["profile"] == profile && event["object"] == "/etc/hostname"
}

#[test]
fn a_burst_arrives_or_is_counted_and_takes_little_memory() {
    const COUNT: u64 = 10_000;
    let _world = world();
    without_hostname("burst", "");
    let follower = Follower::start(&["--profile", "burst"]);
    let script = format!(
        "echo 'exec burst' >/proc/self/attr/exec && exec /bin/busybox sh -c 'i=0; \
         while [ $i -lt {COUNT} ]; do i=$((i+1)); true </etc/hostname; done' 2>/dev/null"
    );
    run("sh", ["-c", &script]);
    // To read what it prints takes longer than to print it.
    let length = || fs::metadata(&follower.path).unwrap().len();
    wait_for(|| {
        let before = length();
        std::thread::sleep(std::time::Duration::from_secs(2));
        length() == before
    });
    let peak = follower.peak();
    let (events, end) = follower.end();
    let seen = events.iter().filter(|event| is_of(event, "burst")).count() as u64;
    let gaps = &end["gaps"];
    let number = |key: &str| gaps[key].as_u64().unwrap();
    println!("burst: {seen} of {COUNT} seen, {gaps}, {peak} KiB");
    assert!(seen * 100 >= COUNT * 95, "{seen}: {gaps}");
    assert!(
        seen + number("lost_by_kernel") + number("missing_serials") >= COUNT,
        "{seen}: {gaps}"
    );
    assert_eq!(end["complete"], seen == COUNT);
    assert!(peak < 32 << 10, "{peak} KiB");
    // The kernel's log has only some of them, and this is said.
    let log = run(
        CLI,
        [
            "denials",
            "--json",
            "--source",
            "kmsg",
            "--profile",
            "burst",
        ],
    )
    .ok();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert!(last["events"].as_u64().unwrap() < COUNT);
    assert_eq!(last["complete"], false);
    let (suppressed, perhaps) = (
        &last["gaps"]["suppressed"],
        &last["gaps"]["perhaps_suppressed"],
    );
    assert!(
        suppressed.as_u64().unwrap() > 0 || perhaps == true,
        "{last}"
    );
    unload("burst");
}

#[test]
fn processes_that_end_at_once_are_of_their_container() {
    let _world = world();
    without_hostname("shared", "");
    fs::create_dir_all(rootfs().join("etc")).unwrap();
    fs::write(rootfs().join("etc/hostname"), "h\n").unwrap();
    let follower = Follower::start(&["--profile", "shared"]);
    // Each has a number of its own that it tries to read; the reader ends at once.
    let script = "n=0; while [ ! -e /tmp/go ]; do /bin/sleep 0.1; done; while [ $n -lt 10 ]; do \
                  n=$((n+1)); /bin/cat /etc/hostname; done; exec /bin/sleep 1000";
    let containers = ["first", "second"].map(|id| {
        let mut bundle = Bundle::annotated(
            id,
            &["/bin/sh", "-c", script],
            &[
                ("oci-apparmor/profile", "shared"),
                ("io.kubernetes.cri.image-name", "busybox:1"),
            ],
        );
        // Groups of their own, as engines make them.
        bundle.config["linux"]["cgroupsPath"] = format!("/{id}").into();
        bundle.write();
        Container::started("runc", &bundle, id)
    });
    fs::write(rootfs().join("tmp/go"), "").unwrap();
    let of = |id: &str| {
        let events = follower.events();
        let all = events.iter().filter(|event| is_of(event, "shared"));
        all.filter(|event| event["container"]["id"] == id).count()
    };
    wait_for(|| {
        follower
            .events()
            .iter()
            .filter(|e| is_of(e, "shared"))
            .count()
            >= 20
    });
    assert_eq!(
        ["first", "second"].map(of),
        [10, 10],
        "{:#?}",
        follower.events().last()
    );
    let events = follower.events();
    let event = events.iter().find(|event| is_of(event, "shared")).unwrap();
    assert_eq!(event["known_by"], "process");
    assert_eq!(event["container"]["image"], "busybox:1");
    assert_eq!(event["comm"], "cat");
    fs::remove_file(rootfs().join("tmp/go")).unwrap();
    follower.end();
    // Afterwards, from a log: which of both it was is not known, and both are named.
    let table = run(
        CLI,
        ["denials", "--profile", "shared", "--container", "first"],
    )
    .ok();
    assert!(
        table.contains("containers with this profile: first"),
        "{table}"
    );
    assert!(table.contains("second"), "{table}");
    drop(containers);
    unload("shared");
}

#[test]
fn explicit_denies_are_shown_and_the_parameter_is_put_back() {
    let _world = world();
    assert_eq!(parameter(), "normal");
    without_hostname("denying", "deny /etc/hostname r,");
    let attempt =
        "echo 'exec denying' >/proc/self/attr/exec && exec /bin/busybox cat /etc/hostname";
    let silent = Follower::start(&[]);
    run("sh", ["-c", attempt]);
    let shown = Follower::start(&["--show-denies", "--profile", "denying"]);
    run("sh", ["-c", attempt]);
    wait_for(|| shown.events().iter().any(|event| is_of(event, "denying")));
    shown.end();
    assert_eq!(parameter(), "normal");
    drop(silent);
    // A kill cannot be caught; and the last one of two puts it back.
    let first = Follower::start(&["--show-denies"]);
    let mut second = Follower::start(&["--show-denies"]);
    second.child.kill().unwrap();
    second.child.wait().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(parameter(), "noquiet");
    first.end();
    assert_eq!(parameter(), "normal");
    let mut killed = Follower::start(&["--show-denies"]);
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    wait_for(|| parameter() == "normal");
    // What hides denials is a warning, and "no denials" is not said.
    fs::write(AUDIT, "quiet").unwrap();
    let checked = run(CLI, ["check"]).out;
    let nothing = run(CLI, ["denials", "--profile", "no-such"]).ok();
    fs::write(AUDIT, "normal").unwrap();
    assert!(checked.contains("parameter audit is quiet"), "{checked}");
    assert!(nothing.starts_with("No denials found"), "{nothing}");
    unload("denying");
}
