//! What people do with profiles: load them, look at them, set their mode, and watch their sources.

use sha2::{Digest, Sha256};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use oci_apparmor::apparmor::blob::walk;
use serde_json::Value;

use crate::call::{Outcome, one_line, to_the_end, until};
use crate::compiled_policy::{blob, blob_with};
use crate::create::ASKS;
use crate::node::{Node, node};

const TREE: &str = "/sys/kernel/security/apparmor/policy/profiles";
const LINKS: &str = "/etc/apparmor.d/force-complain";

fn cli(node: &Node, words: &[&str]) -> Outcome {
    node.call_program("/run/libexec/oci-apparmor", words)
        .directory("/")
        .outcome()
}

/// Calls it for something that succeeds; returns what it printed.
#[track_caller]
fn done(node: &Node, words: &[&str]) -> String {
    let outcome = cli(node, words);
    assert_eq!(
        (outcome.code, &*outcome.stderr),
        (Some(0), ""),
        "{outcome:?}"
    );
    outcome.stdout
}

/// Calls it for something that it refuses, with one line.
#[track_caller]
fn refused(node: &Node, words: &[&str], code: i32) -> String {
    let outcome = cli(node, words);
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (Some(code), ""),
        "{outcome:?}"
    );
    one_line(&outcome.stderr).to_owned()
}

#[track_caller]
fn json(node: &Node, words: &[&str], code: i32) -> Vec<Value> {
    let outcome = cli(node, words);
    assert_eq!(
        (outcome.code, &*outcome.stderr),
        (Some(code), ""),
        "{outcome:?}"
    );
    serde_json::from_str(&outcome.stdout).unwrap()
}

/// A source in another directory than ours.
fn elsewhere(node: &Node, path: &str, name: &str) {
    node.write(path, format!("profile {name} {{}}\n"));
    node.prepare_parser(name, "-Q", &blob(name));
}

#[test]
fn one_bad_source_does_not_stop_the_others() {
    let Some(node) = node() else { return };
    node.source("k8s.io/a");
    node.source("b");
    node.write("/run/parser/b/fails", "syntax error");
    node.source("c");
    node.write("/etc/oci-apparmor/profiles/c.dpkg-old", "profile d {}\n");
    node.write("/etc/oci-apparmor/profiles/no name", "");
    // apparmor.service loads what is in there.
    elsewhere(&node, "/etc/apparmor.d/host", "host");
    elsewhere(&node, "/etc/apparmor.d/containers/late", "late");
    elsewhere(&node, "/etc/apparmor.d/containers/theirs", "theirs");
    node.load("theirs", "complain");
    let outcome = cli(&node, &["load", "--all"]);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let [bad, b, c, a, late, theirs, sum] = lines[..] else {
        panic!("{outcome:?}")
    };
    assert!(
        bad.starts_with("/etc/oci-apparmor/profiles/no name: failed: "),
        "{bad}"
    );
    assert_eq!(a, "k8s.io/a: loaded");
    assert!(
        b.starts_with("b: failed: /etc/oci-apparmor/profiles/b cannot be loaded: ")
            && b.contains("syntax error"),
        "{b}"
    );
    assert_eq!([c, late], ["c: loaded", "late: loaded"]);
    assert_eq!(theirs, "theirs: already right (complain mode)");
    assert_eq!(sum, "3 loaded, 1 already right, 2 failed");
    assert_eq!((outcome.code, &*outcome.stderr), (Some(5), ""));
    assert!(!node.exists(&format!("{TREE}/host.1000")));
    assert_eq!(node.compilations().len(), 4);

    node.remove("/etc/oci-apparmor/profiles/no name");
    let rows = json(&node, &["load", "--all", "--json"], 4);
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["b", "c", "k8s.io/a", "late", "theirs"]);
    assert_eq!(rows[0]["outcome"], "failed");
    assert_eq!(rows[0]["mode"], Value::Null);
    assert!(rows[0]["why"].as_str().unwrap().contains("syntax error"));
    assert_eq!(rows[4]["outcome"], "right");
    assert_eq!(rows[4]["source"], "/etc/apparmor.d/containers/theirs");
}

#[test]
fn the_first_failure_decides_the_exit_code() {
    let Some(node) = node() else { return };
    node.source("q");
    node.source("broken");
    node.write("/run/parser/broken/fails", "syntax error");
    let code = |words: &[&str]| cli(&node, words).code;
    assert_eq!(code(&["load", "q", "none", "broken"]), Some(3));
    assert_eq!(code(&["load", "broken", "none"]), Some(4));
    assert_eq!(code(&["load", "a b", "none"]), Some(5));
    assert_eq!(code(&["load", "q"]), Some(0));
    for words in [
        &["load"][..],
        &["load", "q", "--all"],
        &["load", "q", "--watch"],
        &["load", "--all", "--watch", "--json"],
        &["status", "q", "--all"],
        &["mode", "q"],
        &["mode", "q", "kill"],
    ] {
        assert_eq!(code(words), Some(2), "{words:?}");
    }
    node.write("/sys/module/apparmor/parameters/enabled", "N\n");
    node.remove("/sys/kernel/security/apparmor");
    refused(&node, &["load", "q"], 6);
    refused(&node, &["load", "--all"], 6);
    refused(&node, &["load", "--all", "--watch"], 6);
}

#[test]
fn load_all_loads_the_profiles_that_the_settings_name() {
    let Some(node) = node() else { return };
    node.settings("floor = 'low'\nsandbox_profile = 'p'\ndefault_profile = 'none'");
    elsewhere(&node, "/etc/apparmor.d/low", "low");
    node.source("off");
    node.write("/etc/apparmor.d/disable/off", "");
    let outcome = cli(&node, &["load", "--all"]);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], "low: loaded");
    assert!(lines[1].starts_with("off: disabled: "), "{lines:?}");
    assert!(
        lines[2].starts_with("none: failed: the profile none, requested"),
        "{lines:?}"
    );
    assert_eq!(lines[3], "p: already right");
    assert_eq!(lines[4], "1 loaded, 1 already right, 1 failed, 1 disabled");
    // Named, it is no longer passed over.
    assert_eq!(cli(&node, &["load", "off"]).code, Some(5));
}

#[test]
fn status_tells_what_the_kernel_has_of_each_source() {
    let Some(node) = node() else { return };
    let hash = |text: &[u8]| {
        let digest = Sha256::digest(&walk(text).unwrap()[0].hashed);
        let digits = digest.iter().map(|byte| format!("{byte:02x}"));
        digits.collect::<String>()
    };
    for (name, mode) in [
        ("same", "enforce"),
        ("changed", "enforce"),
        ("mode", "complain"),
    ] {
        node.source(name);
        let directory = node.load(name, mode);
        let loaded = if name == "same" {
            blob(name)
        } else {
            blob("other")
        };
        node.write(&format!("{TREE}/{directory}/sha256"), hash(&loaded));
    }
    node.source("hashless");
    node.load("hashless", "enforce");
    node.source("missing");
    node.source("broken");
    node.write("/run/parser/broken/fails", "syntax error");
    node.load("broken", "enforce");
    node.source("off");
    node.write("/etc/apparmor.d/disable/off", "");
    node.write("/etc/oci-apparmor/profiles/no name", "");
    node.load("unrelated", "enforce");
    // Needed by a container, without a source.
    node.bundle(ASKS);
    node.done(&["create", "c1"]);
    let pid = std::process::id();
    let state =
        format!(r#"{{"config":{{"labels":["bundle=/run/bundle"]}},"init_process_pid":{pid}}}"#);
    node.write("/run/runc/c1/state.json", state);
    node.settings("floor = 'low'");
    let before = node.loaded_blob();

    let rows = json(&node, &["status", "--json"], 0);
    let row = |name: &str| {
        let found = rows.iter().find(|row| row["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}: {rows:?}"))
    };
    let told: Vec<_> = rows
        .iter()
        .map(|r| (r["name"].as_str(), r["loaded"] == true, r["drift"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Some("broken"), true, Some("unknown")),
            (Some("changed"), true, Some("content")),
            (Some("hashless"), true, Some("unknown")),
            (Some("low"), false, None),
            (Some("missing"), false, Some("not loaded")),
            (Some("mode"), true, Some("mode")),
            (Some("off"), false, None),
            (Some("p"), true, None),
            (Some("same"), true, None),
            (None, false, Some("unknown")),
        ]
    );
    assert!(
        row("broken")["why"]
            .as_str()
            .unwrap()
            .contains("syntax error")
    );
    assert!(row("hashless")["why"].as_str().unwrap().contains("no hash"));
    assert!(row("off")["disabled"].is_string() && row("p")["disabled"].is_null());
    assert_eq!(row("p")["containers"], serde_json::json!(["c1"]));
    assert_eq!(row("p")["source"], Value::Null);
    assert_eq!(row("mode")["mode"], "complain");
    // It is a view.
    assert_eq!(node.loaded_blob(), before);
    let formats = include_str!("../../docs/formats.md");
    let part = formats
        .split("`oci-apparmor status --json`")
        .nth(1)
        .unwrap();
    for key in rows[0].as_object().unwrap().keys() {
        assert!(part.contains(&format!("`{key}`")), "{key} is not described");
    }

    let all = json(&node, &["status", "--all", "--json"], 0);
    assert_eq!(all.len(), rows.len() + 1);
    assert!(all.iter().any(|row| row["name"] == "unrelated"));
    let one = json(&node, &["status", "nowhere", "--json"], 0);
    assert_eq!((&one[0]["loaded"], one.len()), (&Value::Bool(false), 1));
    let table = done(&node, &["status"]);
    assert!(table.starts_with("NAME "), "{table}");
    assert!(
        table.contains("!! broken: ") && table.contains(" (disabled)"),
        "{table}"
    );
    assert_eq!(cli(&node, &["status", "a b"]).code, Some(5));
}

/// A source that complains, or enforces, from now on.
fn turn(node: &Node, name: &str, mode: u32) {
    node.compiles(name, "-Q", &blob_with(name, mode, b""));
    if node.exists("/run/cache") {
        node.remove("/run/cache");
    }
}

#[test]
fn a_mode_is_remembered_by_a_link_and_loaded() {
    let Some(node) = node() else { return };
    turn(&node, "a/b", 1);
    node.write(
        "/run/parser/a.b/text",
        "profile a/b {\n deny /x w,\n # deny /y w,\n}\n",
    );
    let said = done(&node, &["mode", "a/b", "complain"]);
    assert_eq!(
        said,
        format!(
            "made {LINKS}/a.b\na/b is loaded, in complain mode\n\
             warning: 1 deny rule(s) of it refuse in complain mode as well, and nothing is logged\n"
        )
    );
    let link = std::fs::read_link(node.path(LINKS).join("a.b")).unwrap();
    assert_eq!(link.to_str().unwrap(), "/etc/oci-apparmor/profiles/a.b");
    assert_eq!(node.compilations(), ["-Q -K -S -C -j0"]);
    let said = done(&node, &["mode", "a/b", "complain"]);
    assert!(
        said.starts_with("a/b is remembered to complain already\n"),
        "{said}"
    );

    turn(&node, "a/b", 0);
    let said = done(&node, &["mode", "a/b", "enforce"]);
    assert!(
        said.starts_with(&format!("removed {LINKS}/a.b\n")),
        "{said}"
    );
    assert!(
        said.ends_with("in enforce mode\n") || said.ends_with("in enforce mode now\n"),
        "{said}"
    );
    assert!(!node.exists(&format!("{LINKS}/a.b")));
    done(&node, &["mode", "a/b", "enforce"]);
}

#[test]
fn a_mode_that_cannot_be_set_changes_nothing() {
    let Some(node) = node() else { return };
    // The source itself complains.
    turn(&node, "q", 1);
    node.write(&format!("{LINKS}/other"), "");
    node.link("../q", &format!("{LINKS}/q"));
    let line = refused(&node, &["mode", "q", "enforce"], 5);
    assert!(
        line.contains("/etc/oci-apparmor/profiles/q itself sets flags=(complain)"),
        "{line}"
    );
    assert!(node.exists(&format!("{LINKS}/q")));
    node.remove(&format!("{LINKS}/q"));
    // A file that an administrator put in the link's place is kept.
    turn(&node, "q", 0);
    node.write(&format!("{LINKS}/q"), "mine");
    let line = refused(&node, &["mode", "q", "enforce"], 5);
    assert!(line.contains("is not a symbolic link"), "{line}");
    assert_eq!(node.text(&format!("{LINKS}/q")), "mine");
    node.remove(&format!("{LINKS}/q"));
    // It does not compile, or the kernel does not take it.
    node.write("/run/parser/q/fails", "syntax error");
    refused(&node, &["mode", "q", "complain"], 4);
    node.remove("/run/parser/q/fails");
    turn(&node, "q", 1);
    node.write("/run/parser/q/appears", "never");
    let line = refused(&node, &["mode", "q", "complain"], 8);
    assert!(line.contains("has not loaded it"), "{line}");
    assert!(!node.exists(&format!("{LINKS}/q")));

    node.chmod(LINKS, 0o777);
    let line = refused(&node, &["mode", "q", "complain"], 5);
    assert!(line.contains("not trusted"), "{line}");
    node.chmod(LINKS, 0o755);
    let read_only = node
        .call_program("/run/libexec/oci-apparmor", &["mode", "q", "complain"])
        .directory("/")
        .prelude("mount -o remount,bind,ro /etc")
        .outcome();
    assert_eq!(read_only.code, Some(8), "{read_only:?}");
    let line = one_line(&read_only.stderr);
    assert!(
        line.contains("cannot create the link") && line.contains("; "),
        "{line}"
    );

    refused(&node, &["mode", "none", "complain"], 3);
    refused(&node, &["mode", "q//child", "complain"], 5);
    node.write("/etc/apparmor.d/disable/q", "");
    let line = refused(&node, &["mode", "q", "complain"], 5);
    assert!(line.contains("disabled on this node"), "{line}");
}

#[test]
fn a_mode_is_remembered_where_apparmor_is_off() {
    let Some(node) = node() else { return };
    node.source("q");
    node.write("/sys/module/apparmor/parameters/enabled", "N\n");
    node.remove("/sys/kernel/security/apparmor");
    let said = done(&node, &["mode", "q", "complain"]);
    assert!(
        said.contains("made ") && said.contains("q is not loaded now: AppArmor is off"),
        "{said}"
    );
    assert!(node.exists(&format!("{LINKS}/q")));
    let said = done(&node, &["mode", "q", "enforce"]);
    assert!(said.contains("removed "), "{said}");
    assert!(node.parser_calls().is_empty());
}

#[test]
fn sources_are_watched_until_the_command_is_ended() {
    let Some(node) = node() else { return };
    node.source("a");
    node.source("bad");
    node.write("/run/parser/bad/fails", "syntax error");
    let run = File::open(node.path("/run")).unwrap();
    let address = format!("/proc/self/fd/{}/notify", run.as_raw_fd());
    let manager = UnixDatagram::bind(address).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let told = || {
        let mut buffer = [0; 1024];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut child = node
        .call_program("/run/libexec/oci-apparmor", &["load", "--all", "--watch"])
        .directory("/")
        .environment(&["NOTIFY_SOCKET=/run/notify", "JOURNAL_STREAM=1:1"])
        .spawn();
    // Only when all were tried.
    assert_eq!(
        told(),
        "READY=1\nSTATUS=1 loaded, 0 already right, 1 failed"
    );
    let appeared = |name: &str| {
        let entries = std::fs::read_dir(node.path(TREE)).unwrap();
        let prefix = format!("{name}.");
        entries
            .flatten()
            .any(|e| e.file_name().to_string_lossy().starts_with(&prefix))
    };
    assert!(appeared("a"));
    node.source("b");
    until("b is loaded", || appeared("b"));
    told();
    // A directory that was not there.
    node.prepare_parser("late", "-Q", &blob("late"));
    node.write("/etc/apparmor.d/containers/late", "profile late {}\n");
    until("late is loaded", || appeared("late"));
    told();
    // A broken configuration is told, and so is its mending.
    node.write("/etc/oci-apparmor/config.toml", "x = 1\n");
    let broken = told();
    assert!(broken.contains("config.toml line 1"), "{broken}");
    node.settings("");
    while !told().contains("1 failed") {}
    // The broken file is said again when it changes, and only then.
    node.write("/run/parser/bad/fails", "another error");
    node.write("/etc/oci-apparmor/profiles/bad", "profile bad { }\n");
    while !told().contains("1 failed") {}

    Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    let said = String::from_utf8(to_the_end(child.stdout.take().unwrap())).unwrap();
    let failed = String::from_utf8(to_the_end(child.stderr.take().unwrap())).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    while told() != "STOPPING=1" {}
    for name in ["a", "b", "late"] {
        assert!(said.contains(&format!("{name}: loaded\n")), "{said}");
    }
    assert_eq!(failed.matches("bad: failed").count(), 2, "{failed}");
    assert!(
        failed.contains("syntax error") && failed.contains("another error"),
        "{failed}"
    );
    assert!(
        failed.lines().all(|l| l.starts_with("<3>oci-apparmor: ")),
        "{failed}"
    );
}
