//! `check` names what keeps containers from us: each mistake that people make, by itself.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::compiled_policy::blob;
use crate::node::{Node, node, programs};

const CONTAINERD: &str = "/etc/containerd/config.toml";
const CRIO: &str = "/etc/crio/crio.conf";
const PODMAN: &str = "/etc/containers/containers.conf";
const DOCKER: &str = "/etc/docker/daemon.json";

/// As `configure` makes it.
const RIGHT: &str = r#"version = 2
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "oci-apparmor"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
options = { SystemdCgroup = true }
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.oci-apparmor]
runtime_type = "io.containerd.runc.v2"
pod_annotations = ["oci-apparmor/*", "container.oci-apparmor/*", "container.apparmor.security.beta.kubernetes.io/*"]
options = { BinaryName = "/run/libexec/runc", SystemdCgroup = true }
"#;

fn sound() -> Option<Node> {
    let node = node()?;
    node.prepare_parser("oci-apparmor-check", "never", &blob("oci-apparmor-check"));
    Some(node)
}

/// The findings about one engine: verdict, text and remedy, without those of other engines that
/// this machine has.
fn about(node: &Node, engine: &str) -> Vec<(String, String)> {
    let outcome = node
        .call_program("/run/libexec/oci-apparmor", &["check", "--json"])
        .directory("/")
        .outcome();
    let found: Vec<Value> = serde_json::from_str(&outcome.stdout).unwrap();
    let failures = found.iter().filter(|f| f["verdict"] == "failure").count();
    assert_eq!(outcome.code == Some(0), failures == 0, "{}", outcome.stdout);
    let wiring = found.iter().filter(|f| f["part"] == "wiring");
    let text = |f: &Value| {
        let remedy = f["remedy"].as_str().unwrap_or_default();
        format!("{} -> {remedy}", f["text"].as_str().unwrap())
    };
    wiring
        .map(|f| (f["verdict"].as_str().unwrap().to_owned(), text(f)))
        .filter(|(_, text)| text.contains(engine))
        .collect()
}

/// The only finding that is not good.
#[track_caller]
fn only(node: &Node, engine: &str) -> (String, String) {
    let mut bad = about(node, engine);
    bad.retain(|(verdict, _)| verdict != "ok");
    assert_eq!(bad.len(), 1, "{bad:#?}");
    bad.remove(0)
}

#[track_caller]
fn fails(node: &Node, engine: &str, words: &[&str]) {
    let (verdict, text) = only(node, engine);
    assert_eq!(verdict, "failure", "{text}");
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[track_caller]
fn warns(node: &Node, engine: &str, words: &[&str]) {
    let (verdict, text) = only(node, engine);
    assert_eq!(verdict, "warning", "{text}");
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[track_caller]
fn is_fine(node: &Node, engine: &str) {
    let found = about(node, engine);
    assert!(
        found.iter().all(|(verdict, _)| verdict == "ok") && found.len() == 1,
        "{found:#?}"
    );
}

#[test]
fn containerd_as_it_should_be_and_each_mistake() {
    let Some(node) = sound() else { return };
    node.write(CONTAINERD, RIGHT);
    is_fine(&node, "containerd");

    for pattern in [
        "\"oci-apparmor/*\", ",
        "\"container.oci-apparmor/*\", ",
        ", \"container.apparmor.security.beta.kubernetes.io/*\"",
    ] {
        node.write(CONTAINERD, RIGHT.replace(pattern, ""));
        let pattern = pattern.trim_matches([',', ' ']);
        fails(
            &node,
            "containerd",
            &["does not pass on all", &format!("add {pattern} to")],
        );
    }
    node.write(
        CONTAINERD,
        RIGHT.replace("pod_annotations", "container_annotations"),
    );
    fails(
        &node,
        "containerd",
        &["does not pass on all", "\"container.oci-apparmor/*\""],
    );
    node.write(
        CONTAINERD,
        RIGHT.replace("\"oci-apparmor/*\"", "\"oci-apparmor*\""),
    );
    fails(
        &node,
        "containerd",
        &["oci-apparmor* matches none", "\"oci-apparmor/*\""],
    );

    node.write(CONTAINERD, RIGHT.replace("version = 2", "version = 3"));
    fails(
        &node,
        "containerd",
        &[
            "section plugins.\"io.containerd.grpc.v1.cri\"",
            "io.containerd.cri.v1.runtime",
        ],
    );
    node.write(CONTAINERD, RIGHT.replace("version = 2\n", ""));
    fails(
        &node,
        "containerd",
        &[
            "section plugins.\"io.containerd.grpc.v1.cri\"",
            "move it to plugins.\"cri\"",
        ],
    );

    let options = "options = { BinaryName = \"/run/libexec/runc\", SystemdCgroup = true }";
    node.write(
        CONTAINERD,
        RIGHT.replace(options, "BinaryName = \"/run/libexec/runc\""),
    );
    let found = about(&node, "containerd");
    assert!(
        found
            .iter()
            .any(|(v, t)| v == "failure" && t.contains("beside runtime_type")),
        "{found:#?}"
    );

    node.write(
        CONTAINERD,
        RIGHT.replace("runc\", SystemdCgroup = true", "runc\""),
    );
    fails(&node, "containerd", &["lacks SystemdCgroup"]);

    node.write(
        CONTAINERD,
        RIGHT.replace("default_runtime_name = \"oci-apparmor\"\n", ""),
    );
    warns(
        &node,
        "containerd",
        &[
            "default runtime is not ours",
            "RuntimeClass",
            "--set-default",
        ],
    );

    // As it was recommended here once: containerd 1.x then has no runtime but ours.
    let alone: String = RIGHT
        .lines()
        .filter(|l| {
            !l.contains("default_runtime_name")
                && !l.contains("runtimes.runc")
                && *l != "options = { SystemdCgroup = true }"
        })
        .map(|l| format!("{l}\n"))
        .collect();
    let alone = alone.replacen("runtime_type = \"io.containerd.runc.v2\"\n", "", 1);
    node.write(CONTAINERD, alone);
    let found = about(&node, "containerd");
    assert!(
        found
            .iter()
            .any(|(v, t)| v == "failure" && t.contains("\"runc\" is not defined")),
        "{found:#?}"
    );

    node.write(
        CONTAINERD,
        format!("disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n{RIGHT}"),
    );
    warns(&node, "containerd", &["disables containerd's CRI plugin"]);

    node.write(CONTAINERD, "version = 2\n[");
    fails(&node, "containerd", &["line 2"]);
}

#[test]
fn containerd_and_its_drop_ins() {
    let Some(node) = sound() else { return };
    let dropin = "/etc/containerd/conf.d/50-ours.toml";
    node.write(
        CONTAINERD,
        "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n",
    );
    node.write(dropin, RIGHT);
    is_fine(&node, "containerd");
    node.write(CONTAINERD, "version = 2\n");
    let found = about(&node, "containerd");
    assert!(
        found.iter().any(|(v, t)| v == "failure"
            && t.contains("containerd does not import /etc/containerd/conf.d/50-ours.toml")),
        "{found:#?}"
    );

    node.write(CONTAINERD, "version = 2\nimports = [\"conf.d/*.toml\"]\n");
    node.write("/etc/containerd/conf.d/60-other.toml", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\n");
    warns(&node, "containerd", &["containerd before 2.1 ignores it"]);
}

#[test]
fn the_program_must_be_there_be_ours_and_be_trusted() {
    let Some(node) = sound() else { return };
    let docker = |path: &str| {
        let text = format!(
            r#"{{"default-runtime": "mine", "runtimes": {{"mine": {{"path": "{path}"}}}}}}"#
        );
        node.write(DOCKER, text);
    };
    docker("/run/libexec/runc");
    is_fine(&node, "docker");
    docker("/usr/local/libexec/oci-apparmor/gone");
    fails(
        &node,
        "docker",
        &[
            "/usr/local/libexec/oci-apparmor/gone, which does not exist",
            "install.sh",
        ],
    );
    // A copy of the wrapper is the wrapper; anything else is not, whatever its name.
    node.program("/run/oci-apparmor-copy/runc", "");
    let wrapper = programs().join("oci-apparmor-runtime");
    fs::copy(wrapper, node.path("/run/oci-apparmor-copy/runc")).unwrap();
    docker("/run/oci-apparmor-copy/runc");
    is_fine(&node, "docker");
    let other = programs().join("oci-apparmor");
    fs::copy(other, node.path("/run/oci-apparmor-copy/runc")).unwrap();
    fails(&node, "docker", &["is not the wrapper"]);
    node.program("/run/oci-apparmor-copy/runc", "#!/bin/sh\n");
    docker("/run/oci-apparmor-copy/runc");
    fails(&node, "docker", &["is not the wrapper"]);
    node.chmod("/run/libexec", 0o777);
    docker("/run/libexec/runc");
    fails(&node, "docker", &["is not trusted"]);
    node.chmod("/run/libexec", 0o755);
    node.write(
        DOCKER,
        r#"{"runtimes": {"mine": {"path": "/run/libexec/runc"}}}"#,
    );
    warns(
        &node,
        "docker",
        &["default runtime is not ours but \"runc\"", "--runtime mine"],
    );
    node.write(
        DOCKER,
        r#"{"runtimes": {"mine": {"runtimeType": "/usr/local/libexec/oci-apparmor/runc"}}}"#,
    );
    fails(&node, "docker", &["not as its path"]);
}

/// k3s and others have containerd's configuration elsewhere; what was configured there is known.
#[test]
fn a_file_in_another_place_that_was_configured_is_checked_too() {
    let Some(node) = sound() else { return };
    node.write(CONTAINERD, RIGHT);
    let elsewhere = "/etc/k3s/config.toml";
    node.write(elsewhere, "version = 2\n");
    let words = [
        "configure",
        "containerd",
        "--config",
        elsewhere,
        "--programs",
        "/run/libexec",
    ];
    let words = [&words[..], &["--set-default"]].concat();
    let outcome = node
        .call_program("/run/libexec/oci-apparmor", &words)
        .outcome();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(about(&node, "containerd").len(), 2);
    let text = node.text(elsewhere).replace("\"oci-apparmor/*\", ", "");
    node.write(elsewhere, text);
    fails(&node, "k3s", &["does not pass on all"]);
    node.write("/etc/oci-apparmor/engines/containerd-x.json", "{}");
    fails(&node, "containerd-x", &["cannot be used"]);
}

#[test]
fn crio_and_its_mistakes() {
    let Some(node) = sound() else { return };
    let right = "[crio.runtime]\ndefault_runtime = \"mine\"\n[crio.runtime.runtimes.mine]\nruntime_path = \"/run/libexec/crun\"\n";
    node.write(CRIO, right);
    is_fine(&node, "CRI-O");
    node.write(
        "/etc/crio/crio.conf.d/99-later.conf",
        "[crio.runtime]\ndefault_runtime = \"crun\"\n",
    );
    warns(
        &node,
        "CRI-O",
        &["default runtime is not ours but \"crun\""],
    );
    node.remove("/etc/crio/crio.conf.d");
    node.write(
        CRIO,
        right.replace("crio.runtime.runtimes", "crio.runtimes"),
    );
    let found = about(&node, "CRI-O");
    assert!(
        found
            .iter()
            .any(|(v, t)| v == "failure" && t.contains("crio.runtimes, which CRI-O ignores")),
        "{found:#?}"
    );
    node.write(CRIO, format!("{right}runtime_type = \"vm\"\n"));
    fails(&node, "/etc/crio", &["runtime_type \"vm\""]);
}

/// A file of `hooks/`, as `install.sh` fills it in.
fn hook(text: &str) -> String {
    text.replace("@LIBEXECDIR@", "/run/libexec")
}

#[test]
fn a_precreate_hook_in_the_shared_directory_is_a_failure() {
    let Some(node) = sound() else { return };
    let precreate = hook(include_str!(
        "../../hooks/podman/oci-apparmor-precreate.json"
    ));
    let created = hook(include_str!("../../hooks/oci-apparmor.json"));
    let file = "/etc/containers/oci/hooks.d/ours.json";
    node.write(file, &precreate);
    let words = ["precreate", "CRI-O and podman build refuse", "--hooks-dir"];
    fails(&node, file, &words);
    node.write(file, &created);
    assert!(about(&node, file).is_empty());
    // Engines do not read it.
    node.write("/etc/containers/oci/hooks.d/ours.json.off", &precreate);
    assert!(about(&node, file).is_empty());

    // In a directory of podman's own it is as it should be; in one of CRI-O's it is not.
    let file = "/etc/hooks/ours.json";
    node.write(file, &precreate);
    node.write(PODMAN, "[engine]\nhooks_dir = [\"/etc/hooks\"]\n");
    assert!(about(&node, file).is_empty());
    node.write(CRIO, "[crio.runtime]\nhooks_dir = [\"/etc/hooks\"]\n");
    fails(&node, file, &["precreate", "CRI-O"]);
}

#[test]
fn hooks_without_their_program() {
    let Some(node) = sound() else { return };
    let file = "/etc/containers/oci/hooks.d/ours.json";
    let text = include_str!("../../hooks/oci-apparmor.json");
    node.write(file, text.replace("@LIBEXECDIR@", "/run/gone"));
    let silent = "podman then ignores the file, says nothing";
    let words = ["\"/run/gone/oci-apparmor-hook\"", "does not exist", silent];
    fails(&node, file, &words);
    node.write(file, &hook(text)[1..]);
    fails(&node, file, &["is not JSON"]);
    node.write(file, hook(text));
    node.chmod("/run/libexec", 0o777);
    fails(&node, file, &["is not trusted"]);
    node.chmod("/run/libexec", 0o755);
    // The hook alone: podman is told to, but it is not the whole job.
    node.write(
        PODMAN,
        "[engine]\nhooks_dir = [\"/etc/containers/oci/hooks.d\"]\n",
    );
    let all = about(&node, "podman calls");
    let text = "podman calls our hook, and not the wrapper: exec, floor and default_profile";
    if Path::new("/usr/bin/podman").exists() {
        assert_eq!(all[0].0, "warning");
        assert!(all[0].1.starts_with(text), "{all:?}");
    }
    node.write(PODMAN, "[engine]\nhooks_dir = []\n");
    assert!(about(&node, "podman calls").is_empty());
}

#[test]
fn podman_and_its_mistakes() {
    let Some(node) = sound() else { return };
    let right = "[engine]\nruntime = \"mine\"\nruntime_supports_json = [\"crun\", \"mine\"]\nruntime_supports_nocgroups = [\"mine\"]\n[engine.runtimes]\nmine = [\"/run/libexec/crun\"]\n";
    node.write(PODMAN, right);
    is_fine(&node, "podman");
    node.write(PODMAN, right.replace("runtime_supports_json", "#"));
    warns(
        &node,
        "/etc/containers",
        &["is not in runtime_supports_json"],
    );
    node.write(PODMAN, right.replace("runtime_supports_nocgroups", "#"));
    warns(
        &node,
        "/etc/containers",
        &["is not in runtime_supports_nocgroups"],
    );
    node.write(PODMAN, right.replace("[engine.runtimes]", "[runtimes]"));
    let found = about(&node, "/etc/containers");
    assert!(
        found
            .iter()
            .any(|(v, t)| v == "failure"
                && t.contains("in the section runtimes, which podman ignores")),
        "{found:#?}"
    );
    node.remove(PODMAN);
    node.write(
        "/etc/containers/containers.conf.d/mine",
        right.replace("/run/libexec", "/usr/local/libexec/oci-apparmor"),
    );
    fails(&node, "/etc/containers", &["does not end in .conf"]);
    // By its path podman knows it as crun.
    node.remove("/etc/containers/containers.conf.d");
    node.write(PODMAN, "[engine]\nruntime = \"/run/libexec/crun\"\n");
    is_fine(&node, "podman");
}
