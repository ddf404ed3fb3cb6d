//! `node status`: what the cluster is told about a node, and the file in which the agent finds it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::call::Outcome;
use crate::create::ASKS;
use crate::node::{Node, node};
use crate::node_metrics::{record, with_log};
use crate::sync_command::{cluster_node, prepare, profile, put};

const FILE: &str = "/var/lib/oci-apparmor/status/node.json";

/// A node with a container under the profile `q`, and a denial of it.
fn prepared() -> Option<Node> {
    let node = node()?;
    fs::create_dir_all(node.path("/var/lib")).unwrap();
    node.write("/run/kmsg", record(10, "q//child", "open", "/etc/shadow"));
    node.source("q");
    node.bundle(ASKS.replace("\"p\"", "\"q\""));
    node.done(&["create", "c1"]);
    Some(node)
}

#[track_caller]
fn status(node: &Node, words: &[&str]) -> Value {
    let words = [&["node", "status", "--json"], words].concat();
    let Outcome {
        code,
        stdout,
        stderr,
        ..
    } = with_log(node, &words).outcome();
    assert_eq!((code, &*stderr), (Some(0), ""));
    serde_json::from_str(&stdout).unwrap()
}

fn written(node: &Node) -> Value {
    serde_json::from_str(&node.text(FILE)).unwrap()
}

#[track_caller]
fn condition<'s>(status: &'s Value, kind: &str) -> &'s Value {
    let all = status["conditions"].as_array().unwrap();
    all.iter().find(|c| c["type"] == kind).unwrap()
}

#[track_caller]
fn state(status: &Value, name: &str) -> Value {
    let all = status["profiles"].as_array().unwrap();
    let found = all.iter().find(|p| p["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}: {status}"))["state"].clone()
}

/// All keys of objects, however deep.
fn keys(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                found.push(key.clone());
                keys(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

#[test]
fn the_status_has_what_is_known_of_the_node() {
    let Some(node) = prepared() else { return };
    node.write("/etc/oci-apparmor/profiles/other", "profile other {}\n");
    let status = status(&node, &[]);
    assert_eq!(status["kernel"]["enforcing"], true);
    assert_eq!(
        status["versions"],
        json!({"wrapper": env!("CARGO_PKG_VERSION")})
    );
    assert_eq!(state(&status, "q"), "Loaded");
    assert_eq!(state(&status, "other"), "Ready");
    assert_eq!(status["profileCounts"]["loaded"], 1);
    assert_eq!(status["profileCounts"]["ready"], 1);
    assert_eq!(
        status["denials"],
        json!({"total": 1, "lost": 0, "byProfile": [{"profile": "q", "count": 1}]})
    );
    // It is created, and does not run yet.
    assert_eq!(
        status["containers"],
        json!({"confined": 0, "wrong": 0, "unconfined": 0})
    );
    assert_eq!(condition(&status, "ProfilesAccepted")["status"], "True");
    assert!(!node.exists(FILE), "it is only shown");
    let formats = include_str!("../../docs/formats.md");
    let page = formats
        .split_once("## /var/lib/oci-apparmor/status/node.json")
        .unwrap()
        .1;
    let page = page.split("\n## ").next().unwrap();
    let mut found = Vec::new();
    keys(&status, &mut found);
    for key in found {
        assert!(page.contains(&format!("`{key}`")), "{key} is not described");
    }
    let text = with_log(&node, &["node", "status"]).outcome().stdout;
    for expected in [
        "ProfilesAccepted",
        "enforces profiles",
        "1 in the last hour",
        "Ready",
    ] {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn the_file_is_replaced_only_when_something_changes() {
    let Some(node) = prepared() else { return };
    let first = status(&node, &["--write"]);
    assert_eq!(written(&node), first);
    let meta = fs::metadata(node.path(FILE)).unwrap();
    assert_eq!((meta.permissions().mode() & 0o7777, meta.uid()), (0o644, 0));
    // Nothing changes, but the agent sees that the node was looked at.
    let old = SystemTime::now() - Duration::from_secs(500);
    let file = fs::File::open(node.path(FILE)).unwrap();
    file.set_modified(old).unwrap();
    let inode = node.inode(FILE);
    let words = ["node", "status", "--write"];
    let done = with_log(&node, &words).outcome();
    assert_eq!((done.code, &*done.stdout, &*done.stderr), (Some(0), "", ""));
    assert_eq!(node.inode(FILE), inode);
    let touched = fs::metadata(node.path(FILE)).unwrap().modified().unwrap();
    assert!(touched > old + Duration::from_secs(400));

    // The times of conditions are those of the file.
    let mut before = written(&node);
    for condition in before["conditions"].as_array_mut().unwrap() {
        condition["lastTransitionTime"] = "2020-01-01T00:00:00Z".into();
    }
    node.write(FILE, before.to_string());
    node.write("/sys/module/apparmor/parameters/mode", "complain\n");
    let now = status(&node, &["--write"]);
    assert_ne!(node.inode(FILE), inode);
    assert_eq!(now["kernel"]["enforcing"], false);
    let ready = condition(&now, "Ready");
    assert_eq!(
        (&ready["status"], &ready["reason"]),
        (&json!("False"), &json!("NotEnforcing"))
    );
    let accepted = condition(&now, "ProfilesAccepted");
    assert_eq!(accepted["lastTransitionTime"], "2020-01-01T00:00:00Z");

    // A file that is not what it should be is written anew.
    for wrong in ["", "{", "[]", r#"{"conditions":[{"type":7}]}"#] {
        node.write(FILE, wrong);
        assert_eq!(status(&node, &["--write"]), written(&node), "{wrong}");
    }
    node.remove(FILE);
    node.write("/run/victim", "old");
    node.link("/run/victim", FILE);
    status(&node, &["--write"]);
    assert_eq!(node.text("/run/victim"), "old");
    assert!(!node.path(FILE).is_symlink());
}

#[test]
fn sync_brings_the_profiles_up_to_date() {
    let Some(node) = cluster_node("") else { return };
    node.write("/run/kmsg", "");
    let sync = || {
        let done = with_log(&node, &["sync"]).outcome();
        assert_eq!(done.stderr, "");
    };
    prepare(&node, "cluster-a");
    put(&node, "cluster-a.profile", profile("cluster-a"));
    put(&node, "other.profile", profile("other"));
    sync();
    assert!(
        !node.exists(FILE),
        "nothing keeps the rest of it up to date"
    );
    let first = status(&node, &["--write"]);
    assert_eq!(state(&first, "cluster-a"), "Loaded");
    assert_eq!(state(&first, "other"), "Refused");
    let accepted = condition(&first, "ProfilesAccepted");
    assert_eq!(accepted["status"], "False");
    assert_eq!(accepted["message"], "refused are 1 of 2 profiles: other");
    fs::remove_file(node.path("/var/lib/oci-apparmor/spool/other.profile")).unwrap();
    sync();
    let now = written(&node);
    assert_eq!(condition(&now, "ProfilesAccepted")["status"], "True");
    assert_eq!(now["profileCounts"]["refused"], 0);
    assert_eq!(now["kernel"], first["kernel"]);
}

#[test]
fn a_log_that_cannot_be_read_leaves_the_denials_out() {
    let Some(node) = prepared() else { return };
    let call = node.call_program("/run/libexec/oci-apparmor", &["node", "status", "--json"]);
    let outcome = call
        .directory("/")
        .prelude("[ ! -d /var/log/journal ] || mount -t tmpfs none /var/log")
        .outcome();
    let status: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(status["denials"], Value::Null);
    assert_eq!(state(&status, "q"), "Loaded");
}
