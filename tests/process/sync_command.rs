//! `oci-apparmor sync`: a spool that another user writes, and what comes of it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use serde_json::Value;

use crate::call::Outcome;
use crate::compiled_policy::{blob, blob_with};
use crate::create::ASKS;
use crate::node::{Node, node};

const SPOOL: &str = "/var/lib/oci-apparmor/spool";
const SOURCES: &str = "/var/lib/oci-apparmor/cluster-profiles";
const STATUS: &str = "/var/lib/oci-apparmor/status/status.json";

/// The user of the agent.
const AGENT: u32 = 1234;

/// A node with an empty spool that takes profiles from a cluster.
pub(crate) fn cluster_node(keys: &str) -> Option<Node> {
    let node = node()?;
    configure(&node, keys);
    fs::create_dir_all(node.path(SPOOL)).unwrap();
    node.chmod(SPOOL, 0o750);
    node.chown(SPOOL, AGENT);
    Some(node)
}

fn configure(node: &Node, keys: &str) {
    node.settings("parser_timeout = 2");
    let file = "/etc/oci-apparmor/config.toml";
    let text = node.text(file) + "[cluster]\n" + keys + "\n";
    // An empty `allow` of the node: its default rule for annotations.
    node.write(file, text.replace("allow = ['*']\nparser", "parser"));
}

/// What the agent does.
pub(crate) fn put(node: &Node, file: &str, text: impl AsRef<[u8]>) {
    let path = format!("{SPOOL}/{file}");
    node.write(&path, text);
    node.chown(&path, AGENT);
}

pub(crate) fn profile(name: &str) -> String {
    format!("include <tunables/global>\nprofile {name} {{\n  include <abstractions/base>\n}}\n")
}

fn manifest(name: &str, rest: &str) -> String {
    format!(
        "apiVersion: security-profiles-operator.x-k8s.io/v1\nkind: AppArmorProfile\n\
         metadata:\n  name: {name}\nspec:\n  {rest}\n  abstract:\n    filesystem:\n      \
         readOnlyPaths:\n      - /etc/{name}\n"
    )
}

/// What the parser says that each text includes.
const INCLUDED: &str = "##included <tunables/global>\n##included <abstractions/base>\n";

pub(crate) fn prepare(node: &Node, name: &str) {
    node.prepare_parser(name, "-Q", &blob(name));
    node.write(&format!("/run/parser/{name}/text"), INCLUDED);
}

fn call(node: &Node) -> Outcome {
    node.call_program("/run/libexec/oci-apparmor", &["sync", "--json"])
        .directory("/")
        .outcome()
}

/// Runs it; it must end with this code, and the status file has what it prints.
#[track_caller]
fn sync(node: &Node, code: i32) -> Value {
    let done = call(node);
    assert_eq!(done.code, Some(code), "{done:?}");
    let mut printed: Value = serde_json::from_str(&done.stdout).unwrap();
    let written: Value = serde_json::from_str(&node.text(STATUS)).unwrap();
    assert_eq!(printed, written);
    humantime::parse_rfc3339(printed["time"].as_str().unwrap()).unwrap();
    printed["time"] = Value::Null;
    printed
}

/// State and reason of a profile.
#[track_caller]
fn state(status: &Value, name: &str) -> (String, String) {
    let all = status["profiles"].as_array().unwrap();
    let found = all.iter().find(|p| p["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name}: {status}"));
    let reason = found["reason"].as_str().unwrap_or_default().to_owned();
    (found["state"].as_str().unwrap().to_owned(), reason)
}

#[track_caller]
fn refused(status: &Value, name: &str, why: &str) {
    let (state, reason) = state(status, name);
    assert_eq!(state, "Refused", "{name}: {reason}");
    assert!(reason.contains(why), "{name}: {reason}");
}

#[track_caller]
fn loaded(status: &Value, name: &str) {
    assert_eq!(state(status, name), ("Loaded".to_owned(), String::new()));
}

fn sources(node: &Node) -> Vec<String> {
    let entries = fs::read_dir(node.path(SOURCES)).unwrap();
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn in_kernel(node: &Node, name: &str) -> bool {
    let profiles = fs::read_dir(node.path("/sys/kernel/security/apparmor/policy/profiles"));
    profiles.unwrap().any(|entry| {
        let found = fs::read_to_string(entry.unwrap().path().join("name"));
        found.is_ok_and(|found| found.trim() == name)
    })
}

#[test]
fn accepted_files_become_sources_and_are_loaded_once() {
    let Some(node) = cluster_node("") else { return };
    for name in ["cluster-a", "cluster-b"] {
        prepare(&node, name);
    }
    put(&node, "cluster-a.profile", profile("cluster-a"));
    put(
        &node,
        "cluster-b.yaml",
        manifest("cluster-b", "mode: Enforce"),
    );
    let first = sync(&node, 0);
    for name in ["cluster-a", "cluster-b"] {
        loaded(&first, name);
        assert!(in_kernel(&node, name));
        let source = fs::metadata(node.path(&format!("{SOURCES}/{name}"))).unwrap();
        assert_eq!(source.permissions().mode() & 0o7777, 0o644);
    }
    assert!(
        node.text(&format!("{SOURCES}/cluster-b"))
            .contains("/etc/cluster-b r,")
    );
    assert_eq!(first["complete"], false);
    // The agent may read what is said of it.
    for (path, mode) in [(STATUS, 0o644), ("/var/lib/oci-apparmor/status", 0o755)] {
        let meta = fs::metadata(node.path(path)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, mode, "{path}");
    }
    // A container may name it.
    node.bundle(ASKS.replace("\"p\"", "\"cluster-a\""));
    node.done(&["create", "c1"]);
    assert_eq!(node.record("c1")["components"][0]["wanted"], "enforcing");
    let plain = node.call_program("/run/libexec/oci-apparmor", &["sync"]);
    let plain = plain.directory("/").outcome();
    assert_eq!((plain.code, &*plain.stderr), (Some(0), ""));
    let last = plain.stdout.lines().last().unwrap();
    assert!(
        last.starts_with("2 loaded, 0 refused, 0 removed; the spool"),
        "{plain:?}"
    );
    // Nothing has changed.
    let inode = node.inode(&format!("{SOURCES}/cluster-a"));
    node.remove("/run/parser/calls");
    assert_eq!(sync(&node, 0), first);
    assert_eq!(node.compilations(), [""; 0]);
    assert_eq!(node.inode(&format!("{SOURCES}/cluster-a")), inode);
}

#[test]
fn what_is_gone_from_a_complete_spool_loses_its_source_and_stays_loaded() {
    let Some(node) = cluster_node("") else { return };
    for name in ["cluster-a", "cluster-b"] {
        prepare(&node, name);
        put(&node, &format!("{name}.profile"), profile(name));
    }
    sync(&node, 0);
    node.remove(&format!("{SPOOL}/cluster-b.profile"));
    let partly = sync(&node, 0);
    loaded(&partly, "cluster-b");
    assert_eq!(sources(&node), ["cluster-a", "cluster-b"]);
    // A link is no `.complete`.
    node.link("/etc/passwd", &format!("{SPOOL}/.complete"));
    assert_eq!(sync(&node, 0)["complete"], false);
    node.remove(&format!("{SPOOL}/.complete"));
    put(&node, ".complete", "");
    let whole = sync(&node, 0);
    assert_eq!(whole["removed"], serde_json::json!(["cluster-b"]));
    assert_eq!(sources(&node), ["cluster-a"]);
    assert!(in_kernel(&node, "cluster-b"));
    // Without a source, annotations may not name it any more.
    node.bundle(ASKS.replace("\"p\"", "\"cluster-b\""));
    assert!(node.refused(&["create", "c1"]).contains("cluster-b"));
    // No spool at all: the agent is not there yet, and nothing is missed.
    node.remove(SPOOL);
    loaded(&sync(&node, 0), "cluster-a");
    assert_eq!(sources(&node), ["cluster-a"]);
}

#[test]
fn hostile_files_are_refused_and_do_not_stop_the_others() {
    let Some(node) = cluster_node("max_size = 1\nmax_profiles = 40") else {
        return;
    };
    let at = |file: &str| node.path(&format!("{SPOOL}/{file}"));
    let good = |name: &str| {
        prepare(&node, name);
        put(&node, &format!("{name}.profile"), profile(name));
    };
    good("cluster-good");
    // Files that are none.
    node.link("/etc/shadow", &format!("{SPOOL}/cluster-link.profile"));
    put(&node, "cluster-first.profile", profile("cluster-first"));
    fs::hard_link(at("cluster-first.profile"), at("cluster-second.profile")).unwrap();
    nix::unistd::mkfifo(&at("cluster-fifo.profile"), Mode::S_IRWXU).unwrap();
    fs::create_dir(at("cluster-directory.yaml")).unwrap();
    put(&node, "cluster-large.profile", " ".repeat(1025));
    put(&node, "cluster-foreign.profile", profile("cluster-foreign"));
    node.chown(&format!("{SPOOL}/cluster-foreign.profile"), 4321);
    // Names that are others'.
    for name in ["web", "docker-default"] {
        good(name);
    }
    good("cluster-own");
    node.source("cluster-own");
    good("cluster-distribution");
    node.write(
        "/etc/apparmor.d/cluster-distribution",
        profile("cluster-distribution"),
    );
    good("cluster-twice");
    put(
        &node,
        "cluster-twice.yaml",
        manifest("cluster-twice", "mode: Enforce"),
    );
    // Texts that are something else.
    put(&node, "cluster-other.profile", profile("cluster-good"));
    put(&node, "cluster-host.profile", profile("cluster-host"));
    node.prepare_parser("cluster-host", "-Q", &blob("docker-default"));
    put(&node, "cluster-soft.profile", profile("cluster-soft"));
    node.prepare_parser("cluster-soft", "-Q", &blob_with("cluster-soft", 1, b""));
    let reads = profile("cluster-reads").replace("<abstractions/base>", "\"/etc/shadow\"");
    put(&node, "cluster-reads.profile", reads);
    prepare(&node, "cluster-reads");
    // The parser finds an include where none is seen.
    good("cluster-hides");
    node.write(
        "/run/parser/cluster-hides/text",
        "##included \"/etc/shadow\"\n",
    );
    put(
        &node,
        "cluster-bytes.profile",
        b"profile cluster-bytes {\n\0}\n",
    );
    put(&node, "cluster-yaml.yaml", "{");
    put(
        &node,
        "cluster-name.yaml",
        manifest("cluster-good", "mode: Enforce"),
    );
    put(
        &node,
        "cluster-off.yaml",
        manifest("cluster-off", "state: Disabled"),
    );
    // Names that no file has.
    for name in [
        "a b.profile",
        "\u{1b}[2J.profile",
        "cluster-x.yml",
        "README",
        "&u.yaml",
    ] {
        put(&node, name, "");
    }
    put(&node, ".cluster-good.profile.1", "");

    let status = sync(&node, 0);
    loaded(&status, "cluster-good");
    assert_eq!(sources(&node), ["cluster-good"]);
    assert_eq!(status["rejected"], 5);
    assert_eq!(status["refused"], Value::Null);
    for (name, why) in [
        ("cluster-link", "not a regular file"),
        ("cluster-first", "more than one name"),
        ("cluster-second", "more than one name"),
        ("cluster-fifo", "not a regular file"),
        ("cluster-directory", "not a regular file"),
        ("cluster-large", "larger than 1 KiB"),
        ("cluster-foreign", "another user"),
        ("web", "no pattern for its name"),
        ("docker-default", "no pattern for its name"),
        ("cluster-own", "/etc/oci-apparmor/profiles/cluster-own"),
        (
            "cluster-distribution",
            "/etc/apparmor.d/cluster-distribution",
        ),
        (
            "cluster-twice",
            "both cluster-twice.yaml and cluster-twice.profile",
        ),
        ("cluster-other", "it declares the profile \"cluster-good\""),
        ("cluster-host", "it declares the profile \"docker-default\""),
        ("cluster-soft", "must enforce"),
        ("cluster-reads", "may not include"),
        ("cluster-hides", "does not show"),
        ("cluster-bytes", "control characters"),
        ("cluster-yaml", "line 1: not valid YAML"),
        ("cluster-name", "its manifest is that of \"cluster-good\""),
    ] {
        refused(&status, name, why);
    }
    assert_eq!(state(&status, "cluster-off").0, "Disabled");
    assert_eq!(status["profiles"].as_array().unwrap().len(), 22);
    // Only this one was written to the kernel.
    assert_eq!(node.loaded_blob(), blob("cluster-good"));
    // Nothing of a file of the host is said.
    let secret = fs::read_to_string("/etc/shadow").unwrap_or_default();
    let secret = secret.lines().next().unwrap_or("root:");
    assert!(!node.text(STATUS).contains(secret));
    // Refusals change nothing the next time either.
    assert_eq!(sync(&node, 0), status);
}

#[test]
fn a_refused_change_leaves_the_source_that_was_accepted() {
    let Some(node) = cluster_node("") else { return };
    prepare(&node, "cluster-a");
    put(&node, "cluster-a.profile", profile("cluster-a"));
    put(&node, ".complete", "");
    sync(&node, 0);
    let before = node.text(&format!("{SOURCES}/cluster-a"));
    node.prepare_parser("cluster-a", "-Q", &blob("cluster-b"));
    put(
        &node,
        "cluster-a.profile",
        profile("cluster-a") + "# worse\n",
    );
    refused(
        &sync(&node, 0),
        "cluster-a",
        "the source that was accepted before stays",
    );
    assert_eq!(node.text(&format!("{SOURCES}/cluster-a")), before);
    // The node's own source wins from the first moment, and then the cluster's goes.
    node.source("cluster-a");
    refused(
        &sync(&node, 0),
        "cluster-a",
        "this node has a source of the same name",
    );
    assert_eq!(sources(&node), [""; 0]);
    // So it does where the node does not allow the name any more.
    node.remove("/etc/oci-apparmor/profiles/cluster-a");
    sync(&node, 0);
    assert_eq!(sources(&node), ["cluster-a"]);
    configure(&node, "allow = ['team-*']");
    refused(&sync(&node, 0), "cluster-a", "no pattern for its name");
    assert_eq!(sources(&node), [""; 0]);
    assert!(in_kernel(&node, "cluster-a"));
}

#[test]
fn a_flood_changes_nothing_and_is_reported() {
    let Some(node) = cluster_node("") else { return };
    prepare(&node, "cluster-a");
    put(&node, "cluster-a.profile", profile("cluster-a"));
    sync(&node, 0);
    put(&node, ".complete", "");
    node.remove(&format!("{SPOOL}/cluster-a.profile"));
    let spool = node.path(SPOOL);
    for n in 0..100_000 {
        File::create(spool.join(format!("cluster-{n}.yaml"))).unwrap();
    }
    let started = Instant::now();
    let status = sync(&node, 5);
    assert!(started.elapsed() < Duration::from_secs(20));
    let why = status["refused"].as_str().unwrap();
    assert!(why.contains("has more than 2000 files"), "{why}");
    loaded(&status, "cluster-a");
    assert_eq!(sources(&node), ["cluster-a"]);
    assert!(node.text(STATUS).len() < 1000);
}

#[test]
fn more_profiles_than_a_node_takes_do_not_displace_others() {
    let Some(node) = cluster_node("max_profiles = 2") else {
        return;
    };
    for name in ["cluster-a", "cluster-b", "cluster-c", "cluster-z"] {
        prepare(&node, name);
    }
    put(&node, "cluster-z.profile", profile("cluster-z"));
    sync(&node, 0);
    for name in ["cluster-a", "cluster-b", "cluster-c"] {
        put(&node, &format!("{name}.profile"), profile(name));
    }
    let status = sync(&node, 0);
    loaded(&status, "cluster-a");
    loaded(&status, "cluster-z");
    for name in ["cluster-b", "cluster-c"] {
        refused(&status, name, "at most 2 profiles");
    }
}

#[test]
fn a_text_that_takes_too_long_is_not_compiled_again() {
    let Some(node) = cluster_node("") else { return };
    let text = include_str!("stand_in_parser.sh");
    let slow = "case \" $* \" in *' -S '*) [ ! -e \"$prepared/slow\" ] || sleep 60 ;; esac\n";
    let text = text.replace(
        "if [ -e \"$prepared/fails\" ]",
        &format!("{slow}if [ -e \"$prepared/fails\" ]"),
    );
    assert!(text.contains(slow));
    node.program("/run/bin/apparmor_parser", &text);
    for name in ["cluster-a", "cluster-slow", "cluster-z"] {
        prepare(&node, name);
        put(&node, &format!("{name}.profile"), profile(name));
    }
    node.write("/run/parser/cluster-slow/slow", "");
    let status = sync(&node, 0);
    loaded(&status, "cluster-a");
    loaded(&status, "cluster-z");
    refused(&status, "cluster-slow", "did not finish within 2 s");
    node.remove("/run/parser/calls");
    let started = Instant::now();
    refused(&sync(&node, 0), "cluster-slow", "did not finish within 2 s");
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(node.compilations(), [""; 0]);
    // Another text is, and so is this one after a boot.
    node.remove("/run/oci-apparmor/sync");
    node.remove("/run/parser/cluster-slow/slow");
    loaded(&sync(&node, 0), "cluster-slow");
}

#[test]
fn a_run_that_was_killed_is_made_up_for() {
    let Some(node) = cluster_node("") else { return };
    let names = ["cluster-a", "cluster-b", "cluster-c"];
    put(&node, ".complete", "");
    for (round, delay) in [0, 20, 40, 80, 120, 160, 240].into_iter().enumerate() {
        for name in names {
            prepare(&node, name);
            let text = profile(name) + &format!("# {round}\n");
            put(&node, &format!("{name}.profile"), text);
        }
        let mut child = node
            .call_program("/run/libexec/oci-apparmor", &["sync"])
            .directory("/")
            .spawn();
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let left = format!("{SOURCES}/.cluster-a.1-2");
    node.write(&left, "half of a text");
    let status = sync(&node, 0);
    for name in names {
        loaded(&status, name);
        let text = node.text(&format!("{SOURCES}/{name}"));
        assert!(
            text.starts_with(&(profile(name) + "# 6\n\n# oci-apparmor ")),
            "{text}"
        );
    }
    assert_eq!(sources(&node), names);
}

#[test]
fn two_runs_wait_for_each_other() {
    let Some(node) = cluster_node("") else { return };
    prepare(&node, "cluster-a");
    put(&node, "cluster-a.profile", profile("cluster-a"));
    let run = || {
        let call = node.call_program("/run/libexec/oci-apparmor", &["sync"]);
        call.directory("/").spawn()
    };
    let children = [run(), run(), run()];
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    // One has compiled it, to check it and to load it.
    assert_eq!(node.compilations().len(), 2);
}

#[test]
fn a_node_without_a_cluster_takes_nothing() {
    let Some(node) = node() else { return };
    node.write(&format!("{SPOOL}/cluster-a.profile"), profile("cluster-a"));
    node.write(&format!("{SOURCES}/cluster-a"), profile("cluster-a"));
    let done = call(&node);
    assert_eq!(done.code, Some(7), "{done:?}");
    assert!(
        done.stderr.contains("add the section [cluster]"),
        "{done:?}"
    );
    // Nor does a container.
    prepare(&node, "cluster-a");
    node.bundle(ASKS.replace("\"p\"", "\"cluster-a\""));
    assert!(node.refused(&["create", "c1"]).contains("there is no file"));
}
