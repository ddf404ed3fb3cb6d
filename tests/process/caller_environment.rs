//! Nothing that a caller leaves around us changes what becomes of a container: its directory, its
//! environment, its masks, limits and descriptors.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::call::Recorded;
use crate::create::ASKS;
use crate::node::{BUNDLE, Node, node};

/// What each word of a caller's environment that a program may listen to points at.
const EVIL: [&str; 12] = [
    "PATH=/run/evil",
    "HOME=/run/evil",
    "TMPDIR=/run/evil",
    "XDG_RUNTIME_DIR=/run/evil",
    "XDG_CONFIG_HOME=/run/evil",
    "LD_PRELOAD=/run/evil/lib.so",
    "LD_LIBRARY_PATH=/run/evil",
    "LC_ALL=tr_TR.UTF-8",
    "TZ=/run/evil/tz",
    "RUST_LOG=trace",
    "RUST_BACKTRACE=full",
    "RUST_MIN_STACK=1",
];

/// A compiler that tells what it was started with.
fn curious_parser(node: &Node) {
    node.source("fresh");
    let parser = include_str!("stand_in_parser.sh");
    let curious = "#!/bin/sh\numask >/run/parser/umask\npwd >/run/parser/pwd\n\
                   tr '\\0' '\\n' </proc/$$/environ >/run/parser/environ\n\
                   for fd in /proc/$$/fd/*; do echo \"${fd##*/} $(readlink \"$fd\")\"; done >/run/parser/fds\n";
    node.program(
        "/run/bin/apparmor_parser",
        format!("{curious}{parser}").as_str(),
    );
}

#[test]
fn the_callers_environment_and_directory_have_no_effect() {
    let Some(node) = node() else { return };
    curious_parser(&node);
    // Programs that a search of these directories would find.
    for name in ["runc", "crun", "apparmor_parser", "sh"] {
        node.program(&format!("/run/evil/{name}"), "#!/bin/sh\n>/run/evil/ran\n");
    }
    let before = fs::read_dir(node.path("/run/evil")).unwrap().count();
    node.bundle(ASKS.replace("\"p\"", "\"fresh\""));
    let call = node.call(&["create", "-b", BUNDLE, "c1"]);
    // A directory that is not there any more; only the shell of the test must get over it.
    let gone = "mkdir /run/gone; cd /run/gone; rmdir /run/gone; exec 7</run/evil/sh 8>/run/other";
    let outcome = call.environment(&EVIL).prelude(gone).outcome();
    // The stand-ins are scripts, and what runs these has something to say about it.
    let ours = outcome.stderr.contains("oci-apparmor");
    assert!(outcome.code == Some(0) && !ours, "{outcome:?}");

    let call = node.last_call();
    assert!(call.config_text().contains("\"apparmorProfile\":\"fresh\""));
    assert_eq!(node.record("c1")["label"], "fresh");
    assert_eq!(
        fs::read_dir(node.path("/run/evil")).unwrap().count(),
        before
    );
    // The runtime gets what the caller gave it, and nothing of ours.
    for word in EVIL {
        assert!(call.environment.split('\0').any(|w| w == word), "{word}");
    }
    let numbers = |call: &Recorded| {
        let numbers = call.descriptors.iter().map(|d| d.split(' ').next());
        numbers
            .map(|n| n.unwrap().to_owned())
            .collect::<BTreeSet<_>>()
    };
    let handed_on = node.call(&["state", "c1"]).prelude(gone).outcome();
    assert_eq!(handed_on.code, Some(0));
    assert_eq!(numbers(&call), numbers(&node.last_call()));
    assert!(numbers(&call).contains("7") && numbers(&call).contains("8"));
    // The compiler gets nothing of the caller's.
    let environment = node.text("/run/parser/environ");
    let mut environment: Vec<_> = environment.lines().collect();
    environment.sort_unstable();
    assert_eq!(
        environment,
        ["LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    );
    assert_eq!(node.text("/run/parser/pwd"), "/\n");
    let open = node.text("/run/parser/fds");
    assert!(open.contains("/memfd:source"), "{open}");
    assert!(
        !open.contains("/run/evil/sh") && !open.contains("/run/other"),
        "{open}"
    );
}

#[test]
fn the_callers_umask_changes_no_mode() {
    let Some(node) = node() else { return };
    for (mask, id) in [("0000", "open"), ("0777", "shut")] {
        curious_parser(&node);
        node.bundle(ASKS.replace("\"p\"", "\"fresh\""));
        let call = node.call(&["create", id]);
        call.prelude(&format!("umask {mask}"))
            .outcome()
            .silent_success();
        assert!(node.last_call().config_text().contains("\"fresh\""));
        let mode = |path: &str| node.path(path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("/run/bundle/config.json"), 0o644);
        for path in [
            "/run/oci-apparmor",
            "/run/oci-apparmor/containers",
            "/run/cache",
        ] {
            assert_eq!(mode(path) & 0o077, 0, "{mask} {path}");
        }
        // Each file of ours, in the whole tree.
        let mut pending = vec![node.path("/run/oci-apparmor"), node.path("/run/cache")];
        while let Some(path) = pending.pop() {
            let open = path.metadata().unwrap().permissions().mode() & 0o022;
            assert_eq!(open, 0, "{mask} {}", path.display());
            if path.is_dir() {
                pending.extend(fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
            }
        }
        node.remove("/run/oci-apparmor");
        node.remove("/run/cache");
        node.remove("/sys/kernel/security/apparmor/policy/profiles");
        node.write("/sys/kernel/security/apparmor/policy/profiles/.keep", "");
    }
}

/// Whether this descriptor, `NUMBER TARGET`, is one that these tests inherited.
fn inherited(line: &str) -> bool {
    let (number, target) = line.split_once(' ').unwrap();
    let own = fs::read_link(format!("/proc/self/fd/{number}"));
    number.parse::<u32>().unwrap() > 2 && own.is_ok_and(|own| own.as_os_str() == target)
}

#[test]
fn closed_descriptors_are_not_taken_for_files_of_ours() {
    let Some(node) = node() else { return };
    curious_parser(&node);
    for (closed, id) in [("exec 0<&-", "in"), ("exec 0<&- 1>&- 2>&-", "all")] {
        node.bundle(ASKS.replace("\"p\"", "\"fresh\""));
        let outcome = node.call(&["create", id]).prelude(closed).outcome();
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        let call = node.last_call();
        assert!(call.config_text().contains("\"fresh\""));
        // Of the three, and where the stand-in's shell keeps them; no file of ours.
        for line in &call.descriptors {
            if inherited(line) {
                continue;
            }
            let known = ["null", "pipe", "/run/calls/"];
            assert!(known.iter().any(|k| line.contains(k)), "{line}");
        }
    }
}

#[test]
fn resource_limits_that_are_too_low_fail_the_start_as_a_whole() {
    let Some(node) = node() else { return };
    // A limit of files' size kills the process that exceeds it (SIGXFSZ), or fails the write.
    for limit in ["ulimit -f 0", "ulimit -n 3", "trap '' XFSZ; ulimit -f 0"] {
        node.bundle(ASKS);
        let outcome = node.call(&["create", "limited"]).prelude(limit).outcome();
        assert_ne!(outcome.code, Some(0), "{limit}: {outcome:?}");
        assert!(node.calls().is_empty(), "{limit}");
        assert_eq!(node.text("/run/bundle/config.json"), ASKS, "{limit}");
    }
    node.done(&["create", "limited"]);
    assert!(
        node.last_call()
            .config_text()
            .contains("\"apparmorProfile\":\"p\"")
    );
}

#[test]
fn signals_that_a_caller_ignores_change_nothing() {
    let Some(node) = node() else { return };
    curious_parser(&node);
    node.bundle(ASKS.replace("\"p\"", "\"fresh\""));
    let call = node.call(&["create", "c1"]);
    call.prelude("trap '' CHLD PIPE HUP INT TERM")
        .outcome()
        .silent_success();
    assert!(node.last_call().config_text().contains("\"fresh\""));
    // A wait for the runtime must not fail because the kernel reaps it.
    for words in [&["start", "c1"][..], &["delete", "c1"]] {
        let call = node.call(words).prelude("trap '' CHLD PIPE");
        call.outcome().silent_success();
    }
    assert!(node.records().is_empty());
}
