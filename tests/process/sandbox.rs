//! A pod's sandbox: its containers' profiles are loaded for it, and its annotations remembered.

use serde_json::{Value, json};

use crate::compiled_policy::blob;
use crate::node::{BUNDLE, Node, node};

/// The sandbox `s1` with these annotations.
fn sandbox(node: &Node, annotations: &Value) -> String {
    create(node, "s1", "sandbox", annotations)
}

/// Makes a bundle of the pod; returns the text of its configuration.
fn create(node: &Node, id: &str, kind: &str, annotations: &Value) -> String {
    let mut all = json!({
        "io.kubernetes.cri.container-type": kind,
        "io.kubernetes.cri.container-name": if kind == "sandbox" { "" } else { "app" },
        "io.kubernetes.cri.sandbox-id": "s1",
        "io.kubernetes.cri.sandbox-namespace": "team",
        "io.kubernetes.cri.sandbox-name": "web-0",
    });
    all.as_object_mut()
        .unwrap()
        .extend(annotations.as_object().unwrap().clone());
    let config = json!({"process": {"args": ["x"]}, "annotations": all}).to_string();
    node.bundle(&config);
    if id == "s1" {
        node.done(&["create", id]);
    }
    config
}

#[test]
fn a_sandbox_is_not_touched_and_its_containers_profiles_are_loaded() {
    let Some(node) = node() else { return };
    node.settings("deny = ['denied']\nfloor = 'p'\ndefault_profile = 'p'");
    for name in ["a", "b", "denied"] {
        node.source(name);
    }
    let config = sandbox(
        &node,
        &json!({
            "container.oci-apparmor/app": "a",
            "container.apparmor.security.beta.kubernetes.io/app": "localhost/b",
            "container.oci-apparmor/other": "denied",
            "container.oci-apparmor/third": "nowhere",
            "container.oci-apparmor/fourth": "&broken",
            "oci-apparmor/unknown": "x",
        }),
    );
    assert_eq!(node.last_call().words, ["create", "s1"]);
    assert_eq!(node.last_call().config_text(), config);
    assert_eq!(node.compilations().len(), 2);
    assert_eq!(node.loaded_blob(), blob("a"));
    // What cannot be loaded is only told.
    let syslog = node.syslog().join("\n");
    assert!(
        syslog.contains("loading denied") && syslog.contains("loading nowhere"),
        "{syslog}"
    );
    let record = node.record("s1");
    assert_eq!(record["label"], Value::Null);
    assert_eq!(record["annotations"].as_object().unwrap().len(), 6);
    assert_eq!(record["annotations"]["oci-apparmor/unknown"], "x");
    // No label: what is exec'ed and started is left alone.
    node.done(&["start", "s1"]);
    node.done(&["exec", "s1", "sh"]);
    assert_eq!(node.last_call().words, ["exec", "s1", "sh"]);
    node.done(&["delete", "s1"]);
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn no_more_than_sixteen_profiles_are_loaded_ahead() {
    let Some(node) = node() else { return };
    let names: Vec<_> = (0..20).map(|n| format!("q{n:02}")).collect();
    let mut annotations = json!({});
    for name in &names {
        node.source(name);
        annotations[format!("container.oci-apparmor/{name}")] = name.as_str().into();
    }
    sandbox(&node, &annotations);
    assert_eq!(node.compilations().len(), 16);
}

/// Pods can name what they like; files in `/run` take memory of the node.
#[test]
fn annotations_that_name_no_profile_leave_nothing_behind() {
    let Some(node) = node() else { return };
    let state = || {
        let mut all = vec![node.path("/run/oci-apparmor")];
        let mut files = Vec::new();
        while let Some(directory) = all.pop() {
            for entry in std::fs::read_dir(directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    // Counters have fixed names.
                    true if path.ends_with("counters") => {}
                    true => all.push(path),
                    false => files.push(path),
                }
            }
        }
        files
    };
    let mut annotations = json!({});
    for n in 0..16 {
        annotations[format!("container.oci-apparmor/c{n}")] = format!("unknown{n}").into();
    }
    sandbox(&node, &annotations);
    let syslog = node.syslog().join("\n");
    assert!(syslog.contains("loading unknown15"), "{syslog}");
    assert_eq!(state(), [node.record_file("s1")]);
    node.done(&["delete", "s1"]);
    // Nor does a container, or a command.
    let asked = json!({"container.oci-apparmor/app": "unknown0"});
    create(&node, "c1", "container", &asked);
    let why = node.refused(&["create", "c1"]);
    assert!(why.contains("is not loaded, and there is no file"), "{why}");
    for command in ["load", "unload"] {
        let done = node.call_program("/run/libexec/oci-apparmor", &[command, "unknown0"]);
        assert_eq!(done.outcome().code, Some(3), "{command}");
    }
    assert!(state().is_empty(), "{:?}", state());
}

#[test]
fn a_sandbox_has_the_profile_that_the_node_gives_it() {
    let Some(node) = node() else { return };
    node.load("pause", "enforce");
    node.settings("sandbox_profile = 'pause'\nfloor = 'p'");
    sandbox(&node, &json!({"oci-apparmor/profile": "p"}));
    assert!(
        node.last_call()
            .config_text()
            .contains(r#""apparmorProfile":"pause""#)
    );
    let record = node.record("s1");
    assert_eq!(record["label"], "pause");
    assert_eq!(record["annotations"], json!({"oci-apparmor/profile": "p"}));
    node.done(&["exec", "s1", "sh"]);
    assert_eq!(
        node.last_call().words,
        ["exec", "--apparmor=pause", "s1", "sh"]
    );
}

#[test]
fn a_container_must_carry_the_annotations_of_its_sandbox() {
    let Some(node) = node() else { return };
    node.load("q", "enforce");
    let of_pod = json!({
        "oci-apparmor/profile": "p",
        "container.apparmor.security.beta.kubernetes.io/app": "localhost/q",
        "other.example/key": "1",
    });
    sandbox(&node, &of_pod);
    let changed = |key: &str, value: Option<&str>| {
        let mut changed = of_pod.clone();
        match value {
            Some(value) => changed[key] = value.into(),
            None => {
                changed.as_object_mut().unwrap().remove(key);
            }
        }
        changed
    };
    for (key, value) in [
        ("oci-apparmor/profile", None),
        ("oci-apparmor/profile", Some("q")),
        ("oci-apparmor/profile", Some("")),
        ("container.oci-apparmor/app", Some("q")),
        ("container.oci-apparmor/other", Some("q")),
        ("container.apparmor.security.beta.kubernetes.io/app", None),
        (
            "container.apparmor.security.beta.kubernetes.io/app",
            Some("localhost/p"),
        ),
        (
            "container.apparmor.security.beta.kubernetes.io/new",
            Some("localhost/p"),
        ),
    ] {
        create(&node, "c1", "container", &changed(key, value));
        let line = node.refused(&["create", "--bundle", BUNDLE, "c1"]);
        if value != Some("") {
            assert!(
                line.contains(&format!("\"{key}\" has changed since the pod was created")),
                "{line}"
            );
        }
        assert_eq!(node.records(), ["s1"]);
    }
    // Other people's annotations may change.
    create(
        &node,
        "c1",
        "container",
        &changed("other.example/key", Some("2")),
    );
    node.done(&["create", "c1"]);
    assert_eq!(node.record("c1")["label"], "p");
    assert_eq!(node.record("c1")["sandbox"], "s1");
}

#[test]
fn a_damaged_record_of_the_sandbox_refuses_its_containers() {
    let Some(node) = node() else { return };
    node.load("q", "enforce");
    sandbox(&node, &json!({"oci-apparmor/profile": "p"}));
    let path = node.record_file("s1");
    let ours = std::fs::read_to_string(&path).unwrap();
    let edited = json!({"oci-apparmor/profile": "q"});
    let refused = || {
        create(&node, "c1", "container", &edited);
        let line = node.refused(&["create", "c1"]);
        assert!(
            line.contains("the record of the pod cannot be used"),
            "{line}"
        );
    };
    for text in ["", &ours[..ours.len() / 2], &ours.replace("s1", "s2")] {
        std::fs::write(&path, text).unwrap();
        refused();
    }
    std::fs::write(&path, &ours).unwrap();
    std::os::unix::fs::chown(&path, Some(1000), None).unwrap();
    refused();
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    refused();
}

#[test]
fn a_sandbox_without_keys_is_remembered_too() {
    let Some(node) = node() else { return };
    sandbox(&node, &json!({}));
    assert_eq!(node.records(), ["s1"]);
    create(
        &node,
        "c1",
        "container",
        &json!({"oci-apparmor/profile": "p"}),
    );
    let line = node.refused(&["create", "c1"]);
    assert!(
        line.contains("has changed since the pod was created"),
        "{line}"
    );
    // One that was made before us is not: its containers may ask.
    node.done(&["delete", "s1"]);
    node.done(&["create", "c1"]);
    assert_eq!(node.records(), ["c1"]);
}

#[test]
fn a_container_that_says_it_is_the_sandbox_is_a_container() {
    let Some(node) = node() else { return };
    node.settings("floor = 'p'");
    // The kind of another id: a pod's author may write it, the engine would not.
    create(&node, "c1", "sandbox", &json!({}));
    node.done(&["create", "c1"]);
    assert_eq!(node.record("c1")["label"], "p");
}
