//! A broken configuration starts nothing and stops nothing; a runtime that is missing, or is this
//! program, is said to be.

use std::fs;

use crate::call::one_line;
use crate::create::ASKS;
use crate::node::{BUNDLE, Node, PROGRAM, node, programs};

/// The line that makes a container.
const CREATE: &[&str] = &["create", "--bundle", BUNDLE, "c1"];

/// Runs each way of starting a container, and everything that must go on all the same.
fn only_containers_are_refused(node: &Node, why: &str) {
    for subcommand in ["create", "run", "restore"] {
        let line = node.refused(&[subcommand, "--bundle", BUNDLE, "c1"]);
        assert!(
            line.contains("of container c1 refused: /etc/oci-apparmor/config.toml"),
            "{line}"
        );
        assert!(line.contains(why), "{line}");
    }
    node.done(&["exec", "running", "sh"]);
    assert!(node.last_call().words.contains(&"--apparmor=p".to_owned()));
    node.done(&["start", "running"]);
    for words in [&["state", "running"][..], &["kill", "running", "9"]] {
        node.done(words);
        assert_eq!(node.last_call().words, words);
    }
}

#[test]
fn a_configuration_that_cannot_be_read_starts_nothing_and_stops_nothing() {
    let Some(node) = node() else { return };
    const CONFIG: &str = "/etc/oci-apparmor/config.toml";
    node.bundle(ASKS);
    node.done(&["create", "running"]);
    // A container that asks for nothing is refused, too: what the node demands is unknown.
    node.bundle(r#"{"process":{}}"#);
    for (settings, why) in [
        ("\nunknown = 1", "config.toml line 2: unknown field"),
        ("floor = 1", "config.toml line 1: "),
        ("\n\nfloor = 'unconf'", "config.toml line 3: "),
    ] {
        node.settings(settings);
        only_containers_are_refused(&node, why);
    }
    // Of these nothing is believed; the runtimes are then looked for in the usual places.
    for (text, why) in [
        ("floor = ", "config.toml line 1: "),
        ("a = 1\n\0", "config.toml line "),
        ("[runtimes]\nrunc = 1", "config.toml line 2: "),
        ("[runtimes]\ndefault = 'kata'", "config.toml line 2: "),
    ] {
        node.write(CONFIG, text);
        only_containers_are_refused(&node, why);
    }
    node.write(CONFIG, b"a = 1\n\xff");
    only_containers_are_refused(&node, "config.toml line 2: it is not UTF-8");
    for (change, why) in [
        (
            (|n| n.chmod(CONFIG, 0o646)) as fn(&Node),
            "is writable by group or others",
        ),
        (|n| n.chown(CONFIG, 1000), "belongs to uid 1000"),
        (
            |n| n.chmod("/etc/oci-apparmor", 0o777),
            "is writable by group or others",
        ),
    ] {
        node.write(CONFIG, "");
        change(&node);
        only_containers_are_refused(&node, why);
        node.remove(CONFIG);
        node.chmod("/etc/oci-apparmor", 0o755);
    }
    node.write("/run/theirs/config", "");
    node.chown("/run/theirs", 1000);
    node.link("/run/theirs/config", CONFIG);
    only_containers_are_refused(&node, "/run/theirs belongs to uid 1000");
    node.remove(CONFIG);
    fs::create_dir(node.path(CONFIG)).unwrap();
    only_containers_are_refused(&node, "it is not a regular file");
    node.remove(CONFIG);
    node.done(&["delete", "running"]);
    node.done(&["create", "c1"]);
}

#[test]
fn the_runtimes_are_found_however_broken_the_rest_of_the_configuration_is() {
    let Some(node) = node() else { return };
    node.program("/run/odd/runc", include_str!("stand_in_runtime.sh"));
    for broken in [
        "floor = ",
        "unknown = 1",
        "allow = ['a'",
        "a = 1\na = 1",
        "[x",
    ] {
        let text = format!("{broken}\n[runtimes]\nrunc = '/run/odd/runc'\n");
        node.write("/etc/oci-apparmor/config.toml", &text);
        node.done(&["kill", "c1", "9"]);
        assert_eq!(node.last_call().program, "/run/odd/runc", "{text}");
        node.create_refused(CREATE);
    }
}

/// A refusal of which only the line matters.
fn refused_somehow(node: &Node, words: &[&str]) -> String {
    let outcome = node.run(words);
    assert_eq!(outcome.code, Some(1));
    one_line(&outcome.stderr).to_owned()
}

#[test]
fn a_runtime_that_is_missing_or_not_to_be_trusted() {
    let Some(node) = node() else { return };
    node.bundle(ASKS);
    let settings = |low_level: &str| {
        node.write(
            "/etc/oci-apparmor/config.toml",
            format!("[runtimes]\n{low_level}\n"),
        );
    };
    node.write("/run/other/runc", "not executable");
    for (low_level, why) in [
        (
            "directories = ['/run/none']",
            "no root-owned runc in /run/none",
        ),
        ("directories = ['/run/other']", "no root-owned runc"),
        ("runc = '/run/none/runc'", "/run/none/runc does not exist"),
        ("runc = '/run/other/runc'", "it is not an executable file"),
    ] {
        settings(low_level);
        let line = node.create_refused(CREATE);
        assert!(line.contains(why), "{line}");
    }
    node.program("/run/other/runc", "#!/bin/sh\n");
    node.chmod("/run/other", 0o777);
    settings("runc = '/run/other/runc'");
    assert!(node.create_refused(CREATE).contains("not trusted"));
}

#[test]
fn a_runtime_that_is_this_program() {
    let Some(node) = node() else { return };
    let this = programs().join("oci-apparmor-runtime");
    fs::create_dir(node.path("/run/hard")).unwrap();
    fs::hard_link(&this, node.path("/run/hard/runc")).unwrap();
    fs::create_dir(node.path("/run/soft")).unwrap();
    node.link(PROGRAM, "/run/soft/runc");
    fs::create_dir(node.path("/run/copy")).unwrap();
    fs::copy(&this, node.path("/run/copy/runc")).unwrap();
    node.bundle(r#"{"process":{}}"#);
    for kind in ["hard", "soft", "copy"] {
        node.write(
            "/etc/oci-apparmor/config.toml",
            format!("[runtimes]\nrunc = '/run/{kind}/runc'\n"),
        );
        let line = node.refused(CREATE);
        assert!(line.contains("oci-apparmor itself"), "{kind}: {line}");
        let line = refused_somehow(&node, &["state", "c1"]);
        assert!(line.contains("oci-apparmor itself"), "{kind}: {line}");
    }
    // Where it is looked for, it is passed over.
    let directories = "'/run/hard', '/run/soft', '/run/copy', '/run/bin'";
    node.write(
        "/etc/oci-apparmor/config.toml",
        format!("[runtimes]\ndirectories = [{directories}]\n"),
    );
    node.done(CREATE);
    assert_eq!(node.last_call().words, CREATE);
}

#[test]
fn two_copies_of_this_program_do_not_call_each_other_for_ever() {
    let Some(node) = node() else { return };
    let this = programs().join("oci-apparmor-runtime");
    for copy in ["a", "b"] {
        fs::create_dir(node.path(&format!("/run/{copy}"))).unwrap();
        fs::copy(&this, node.path(&format!("/run/{copy}/runc"))).unwrap();
    }
    node.write(
        "/etc/oci-apparmor/config.toml",
        "[runtimes]\ndirectories = ['/run/a', '/run/b']\n",
    );
    let outcome = node
        .call(&["state", "c1"])
        .through(&["timeout", "5"])
        .outcome();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    one_line(&outcome.stderr);
    // Nor do two builds of it: the bytes differ, as of another version.
    for copy in ["a", "b"] {
        let path = node.path(&format!("/run/{copy}/runc"));
        let mut bytes = fs::read(&this).unwrap();
        bytes.extend(copy.repeat(1000).bytes());
        fs::write(&path, bytes).unwrap();
    }
    let state = || {
        let call = node.call(&["state", "c1"]).through(&["timeout", "5"]);
        call.outcome()
    };
    let outcome = state();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(one_line(&outcome.stderr).contains("no root-owned runc"));
    node.write(
        "/etc/oci-apparmor/config.toml",
        "[runtimes]\ndirectories = ['/run/a', '/run/b', '/run/bin']\n",
    );
    state().silent_success();
    assert_eq!(node.last_call().program, "/run/bin/runc");
}

#[test]
fn a_runtime_that_is_passed_over_is_named_where_there_is_no_other() {
    let Some(node) = node() else { return };
    // As Debian has made /usr/local: root:staff, mode 2775.
    node.program("/run/local/bin/runc", include_str!("stand_in_runtime.sh"));
    node.chmod("/run/local", 0o2775);
    node.write(
        "/etc/oci-apparmor/config.toml",
        "[runtimes]\ndirectories = ['/run/none', '/run/local/bin']\n",
    );
    node.bundle(r#"{"process":{}}"#);
    let line = node.create_refused(CREATE);
    let why = "/run/local/bin/runc is not trusted: /run/local is writable by group or others \
               (mode 2775, group 0); run: chmod go-w /run/local";
    assert!(
        line.contains("no root-owned runc") && line.contains(why),
        "{line}"
    );
    node.chmod("/run/local", 0o2755);
    node.done(CREATE);
}

/// NixOS: a link of root's own leads through a store that its builders can add to.
#[test]
fn a_runtime_in_a_store_of_packages() {
    let Some(node) = node() else { return };
    node.program(
        "/run/store/1-runc/bin/runc",
        include_str!("stand_in_runtime.sh"),
    );
    fs::create_dir_all(node.path("/run/store/2-system/sw/bin")).unwrap();
    node.link(
        "/run/store/1-runc/bin/runc",
        "/run/store/2-system/sw/bin/runc",
    );
    node.link("/run/store/2-system", "/run/current-system");
    node.chmod("/run/store", 0o1775);
    std::os::unix::fs::chown(node.path("/run/store"), None, Some(30000)).unwrap();
    node.write(
        "/etc/oci-apparmor/config.toml",
        "[runtimes]\ndirectories = ['/run/current-system/sw/bin']\n",
    );
    node.bundle(r#"{"process":{}}"#);
    node.done(CREATE);
    assert_eq!(node.last_call().program, "/run/store/1-runc/bin/runc");
}
