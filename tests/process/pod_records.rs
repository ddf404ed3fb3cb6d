//! What is remembered of a pod beyond its sandbox, by its UID.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::node::{Node, node};

const TASKS: &str = "/run/containerd/io.containerd.runtime.v2.task";
const EDITED: &str = "\"oci-apparmor/profile\" has changed since the pod was created";

/// A container of containerd's: `s…` is a sandbox, and others belong to the sandbox `s1`.
struct Made<'a> {
    id: &'a str,
    uid: &'a str,
    profile: Option<&'a str>,
    /// containerd's own namespace.
    of: &'a str,
}

const FIRST: Made<'_> = Made {
    id: "s1",
    uid: "uid-1",
    profile: Some("p"),
    of: "k8s.io",
};

impl Made<'_> {
    /// Writes the bundle; returns the words that create the container.
    fn words(&self, node: &Node) -> Vec<String> {
        let sandbox = self.id.starts_with('s');
        let mut annotations = json!({
            "io.kubernetes.cri.container-type": if sandbox { "sandbox" } else { "container" },
            "io.kubernetes.cri.container-name": "app",
            "io.kubernetes.cri.sandbox-id": if sandbox { self.id } else { "s1" },
            "io.kubernetes.cri.sandbox-namespace": "team",
            "io.kubernetes.cri.sandbox-name": "web-0",
            "io.kubernetes.cri.sandbox-uid": self.uid,
        });
        if let Some(profile) = self.profile {
            annotations["oci-apparmor/profile"] = profile.into();
        }
        let config = json!({"process": {"args": ["x"]}, "annotations": annotations});
        let bundle = format!("{TASKS}/{}/{}", self.of, self.id);
        node.write(&format!("{bundle}/config.json"), config.to_string());
        ["create", "--bundle", &bundle, self.id]
            .map(str::to_owned)
            .into()
    }

    #[track_caller]
    fn done(&self, node: &Node) {
        let words = self.words(node);
        node.done(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[track_caller]
    fn refused(&self, node: &Node) -> String {
        let words = self.words(node);
        node.refused(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// The files of the pods that are remembered.
fn pods(node: &Node) -> Vec<PathBuf> {
    let files = fs::read_dir(node.path("/run/oci-apparmor/pods"));
    files.map_or(Vec::new(), |files| {
        files.map(|f| f.unwrap().path()).collect()
    })
}

fn heard_of(file: &PathBuf, hours_ago: u64) {
    let then = SystemTime::now() - Duration::from_secs(hours_ago * 3600);
    File::options()
        .write(true)
        .open(file)
        .unwrap()
        .set_modified(then)
        .unwrap();
}

/// Runs `gc`; how many pods it forgot.
fn forgotten(node: &Node) -> u64 {
    let gc = node.call_program("/run/libexec/oci-apparmor", &["gc", "--json"]);
    let outcome = gc.outcome();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let tidied: Value = serde_json::from_str(&outcome.stdout).unwrap();
    tidied["pods"].as_u64().unwrap()
}

/// Where containers share a process namespace, one can end the sandbox's process.
#[test]
fn a_pod_that_gets_another_sandbox_keeps_its_annotations() {
    let Some(node) = node() else { return };
    node.load("q", "enforce");
    FIRST.done(&node);
    node.done(&["delete", "s1"]);
    assert_eq!(node.records(), [""; 0]);
    for profile in [Some("q"), Some(""), None] {
        let second = Made {
            id: "s2",
            profile,
            ..FIRST
        };
        let line = second.refused(&node);
        assert!(line.contains(EDITED), "{line}");
        assert!(line.contains("with another UID"), "{line}");
    }
    // Nor does a container of the sandbox that was, should one be made.
    let line = Made {
        id: "c1",
        profile: Some("q"),
        ..FIRST
    }
    .refused(&node);
    assert!(line.contains(EDITED), "{line}");

    // As it was, and another pod of that name.
    Made { id: "s2", ..FIRST }.done(&node);
    Made {
        id: "s3",
        uid: "uid-2",
        profile: Some("q"),
        ..FIRST
    }
    .done(&node);
    assert_eq!(pods(&node).len(), 2);
    let remembered: Value = serde_json::from_slice(&fs::read(&pods(&node)[0]).unwrap()).unwrap();
    let formats = include_str!("../../docs/formats.md");
    for key in remembered.as_object().unwrap().keys() {
        assert!(
            formats.contains(&format!("`{key}`")),
            "{key} is not described"
        );
    }
}

/// The annotations of docker's containers are their users' to write.
#[test]
fn a_uid_counts_only_where_kubernetes_engines_put_it() {
    let Some(node) = node() else { return };
    node.load("q", "enforce");
    let forged = Made {
        of: "moby",
        ..FIRST
    };
    forged.done(&node);
    assert_eq!(pods(&node), [""; 0].map(PathBuf::from));
    Made {
        id: "s2",
        profile: Some("q"),
        ..FIRST
    }
    .done(&node);
    Made {
        id: "s3",
        of: "moby",
        profile: None,
        ..FIRST
    }
    .done(&node);
    let line = Made { id: "s4", ..FIRST }.refused(&node);
    assert!(line.contains(EDITED), "{line}");
}

#[test]
fn a_damaged_record_of_a_pod_refuses_its_containers() {
    let Some(node) = node() else { return };
    node.load("q", "enforce");
    FIRST.done(&node);
    node.done(&["delete", "s1"]);
    let path = pods(&node).remove(0);
    let ours = fs::read_to_string(&path).unwrap();
    let refused = || {
        let line = Made {
            id: "s2",
            profile: Some("q"),
            ..FIRST
        }
        .refused(&node);
        assert!(
            line.contains("the record of the pod cannot be used"),
            "{line}"
        );
    };
    for text in ["", &ours[..ours.len() / 2], &ours.replace(":1,", ":2,")] {
        fs::write(&path, text).unwrap();
        refused();
    }
    fs::write(&path, &ours).unwrap();
    std::os::unix::fs::chown(&path, Some(1000), None).unwrap();
    refused();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    refused();
}

/// `gc` between two sandboxes of a pod is no way out either.
#[test]
fn a_pod_is_forgotten_long_after_its_last_container() {
    let Some(node) = node() else { return };
    node.load("q", "enforce");
    FIRST.done(&node);
    Made { id: "c1", ..FIRST }.done(&node);
    let file = pods(&node).remove(0);
    // Of what lives, nothing is forgotten; nor of what has just ended.
    heard_of(&file, 1000);
    assert_eq!(forgotten(&node), 0);
    node.done(&["delete", "s1"]);
    heard_of(&file, 1000);
    assert_eq!(forgotten(&node), 0);
    node.done(&["delete", "c1"]);
    assert_eq!(forgotten(&node), 0);
    // A container that ended without us.
    Made { id: "s1", ..FIRST }.done(&node);
    node.remove("/run/runc/s1");
    heard_of(&file, 1000);
    assert_eq!(forgotten(&node), 0);
    assert_eq!(node.records(), [""; 0]);
    assert_eq!(forgotten(&node), 0);
    // A sandbox that is tried again and again.
    heard_of(&file, 1000);
    let edited = Made {
        id: "s2",
        profile: Some("q"),
        ..FIRST
    };
    edited.refused(&node);
    assert_eq!(forgotten(&node), 0);
    heard_of(&file, 23);
    assert_eq!(forgotten(&node), 0);
    heard_of(&file, 25);
    assert_eq!(forgotten(&node), 1);
    edited.done(&node);
}

/// A node is updated while its pods live on.
#[test]
fn records_of_version_1_are_read_and_those_of_a_newer_one_say_so() {
    let Some(node) = node() else { return };
    node.load("q", "enforce");
    FIRST.done(&node);
    let path = node.record_file("s1");
    node.remove("/run/oci-apparmor/pods");
    let first = r#"{"version":1,"runtime":"runc","root":"/run/runc","id":"s1","bundle":"/run/containerd/io.containerd.runtime.v2.task/k8s.io/s1","label":null,"components":[],"key":null,"namespace":"team","pod":"web-0","container":null,"sandbox":"s1","pid_file":null,"annotations":{"oci-apparmor/profile":"p"},"writer":1,"time":"2026-11-25T10:00:00Z"}"#;
    fs::write(&path, first).unwrap();
    let again = |id| Made { id, ..FIRST };
    again("c1").done(&node);
    assert_eq!(node.record("c1")["label"], "p");
    let line = Made {
        id: "c2",
        profile: Some("q"),
        ..FIRST
    }
    .refused(&node);
    assert!(line.contains(EDITED), "{line}");
    // A container's: what is exec'ed has its label, and `delete` removes it.
    let path = node.record_file("c1");
    let text = fs::read_to_string(&path).unwrap();
    let mut older: Value = serde_json::from_str(&text).unwrap();
    older["version"] = 1.into();
    older.as_object_mut().unwrap().remove("uid").unwrap();
    older["unknown"] = json!({"to": "this version"});
    fs::write(&path, older.to_string()).unwrap();
    node.done(&["exec", "c1", "sh"]);
    assert_eq!(node.last_call().words, ["exec", "--apparmor=p", "c1", "sh"]);

    // One that a newer program wrote: what it means is unknown.
    let newer = |path: &PathBuf, version: u32, was: &str| {
        let text = fs::read_to_string(path).unwrap();
        let newer = text.replace(was, &format!("\"version\":{version}"));
        assert_ne!(text, newer);
        fs::write(path, newer).unwrap();
    };
    newer(&node.record_file("s1"), 3, "\"version\":1");
    let line = again("c2").refused(&node);
    assert!(
        line.contains("it has version 3") && line.contains("update oci-apparmor"),
        "{line}"
    );
    // exec finds the label in the bundle.
    newer(&path, 3, "\"version\":1");
    node.done(&["exec", "c1", "sh"]);
    assert_eq!(node.last_call().words, ["exec", "--apparmor=p", "c1", "sh"]);
    // `delete` takes the record with the container, whatever it says.
    node.done(&["delete", "s1"]);
    node.done(&["delete", "c1"]);
    assert_eq!(node.records(), [""; 0]);
}
