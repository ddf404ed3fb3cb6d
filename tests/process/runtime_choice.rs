//! The wrapper calls the very program that it replaces, and a container keeps its own.

use crate::call::{Call, one_line};
use crate::create::ASKS;
use crate::node::{Node, node};

/// A bundle that asks for nothing.
const PLAIN: &str = r#"{"process":{"args":["sh"]}}"#;

const CONFIG: &str = "/etc/oci-apparmor/config.toml";

fn settings(node: &Node, directories: &[&str], more: &str) {
    let text = format!(
        "allow = ['*']\nparser = '/run/bin/apparmor_parser'\ncache_directory = '/run/cache'\n[runtimes]\n\
         directories = {directories:?}\n{more}\n"
    );
    node.write(CONFIG, text);
}

fn runtime(node: &Node, program: &str) {
    node.program(program, include_str!("stand_in_runtime.sh"));
}

#[track_caller]
fn calls(node: &Node, words: &[&str], program: &str) {
    node.done(words);
    assert_eq!(node.last_call().program, program, "{words:?}");
}

#[test]
fn another_program_of_its_kind_does_not_take_over_a_living_container() {
    let Some(node) = node() else { return };
    settings(&node, &["/run/first", "/run/second"], "");
    runtime(&node, "/run/second/runc");
    node.bundle(ASKS);
    calls(
        &node,
        &["--root", "/run/r", "create", "c1"],
        "/run/second/runc",
    );
    node.write(
        "/run/r/c1/state.json",
        r#"{"config":{"labels":["bundle=/run/bundle"]}}"#,
    );
    assert_eq!(node.record("c1")["program"], "/run/second/runc");

    runtime(&node, "/run/first/runc");
    for words in [
        &["--root", "/run/r", "exec", "c1", "sh"][..],
        &["--root", "/run/r", "kill", "c1", "15"],
        &["--root", "/run/r", "state", "c1"],
        &["--root", "/run/r", "delete", "--force", "c1"],
    ] {
        calls(&node, words, "/run/second/runc");
    }
    // New ones, and what is about none, come to the first.
    calls(
        &node,
        &["--root", "/run/r", "create", "c2"],
        "/run/first/runc",
    );
    calls(&node, &["--root", "/run/r", "list"], "/run/first/runc");
    // Where the one that made it is gone, the other is better than none.
    node.remove("/run/second");
    calls(
        &node,
        &["--root", "/run/r", "kill", "c1", "9"],
        "/run/first/runc",
    );
    // What an administrator names holds for all.
    runtime(&node, "/run/second/runc");
    runtime(&node, "/run/third/runc");
    settings(
        &node,
        &["/run/first", "/run/second"],
        "runc = '/run/third/runc'",
    );
    calls(
        &node,
        &["--root", "/run/r", "kill", "c1", "9"],
        "/run/third/runc",
    );
}

/// Called by its own name the wrapper stands for the first kind that is there.
#[test]
fn another_kind_of_runtime_does_not_take_over_a_living_container() {
    let Some(node) = node() else { return };
    settings(&node, &["/run/first", "/run/second"], "");
    runtime(&node, "/run/second/crun");
    node.called("oci-apparmor-runtime");
    node.bundle(ASKS);
    calls(&node, &["create", "c1"], "/run/second/crun");
    node.write("/run/crun/c1/status", r#"{"pid":1,"bundle":"/run/bundle"}"#);
    // One that asked for nothing has no record.
    node.bundle(PLAIN);
    calls(
        &node,
        &["--root=/run/own", "create", "c2"],
        "/run/second/crun",
    );
    node.write("/run/own/c2/status", r#"{"pid":1,"bundle":"/run/bundle"}"#);

    runtime(&node, "/run/first/runc");
    for words in [
        &["kill", "c1", "15"][..],
        &["delete", "--force", "c1"],
        &["--root=/run/own", "kill", "c2", "9"],
        &["--root=/run/own", "state", "c2"],
    ] {
        calls(&node, words, "/run/second/crun");
    }
    calls(
        &node,
        &["--root=/run/own", "create", "c3"],
        "/run/first/runc",
    );
    node.write(
        "/run/own/c3/state.json",
        r#"{"config":{"labels":["bundle=/run/bundle"]}}"#,
    );
    calls(
        &node,
        &["--root=/run/own", "kill", "c3", "9"],
        "/run/first/runc",
    );
    calls(&node, &["list"], "/run/first/runc");
}

#[test]
fn the_program_that_an_engine_calls_is_the_one_that_the_wrapper_calls() {
    let Some(node) = node() else { return };
    settings(&node, &["/run/first", "/run/second"], "");
    runtime(&node, "/run/first/crun");
    runtime(&node, "/run/second/crun");
    let cli = |words: &[&str]| -> Call<'_> {
        let words = [words, &["--programs", "/run/libexec"]].concat();
        node.call_program("/run/libexec/oci-apparmor", &words)
            .directory("/")
    };
    for (engine, file, text) in [
        (
            "crio",
            "/etc/crio/crio.conf",
            "[crio.runtime]\ndefault_runtime = \"crun\"\n[crio.runtime.runtimes.crun]\nruntime_path = \"/run/second/crun\"\n",
        ),
        (
            "docker",
            "/etc/docker/daemon.json",
            "{\"default-runtime\": \"c\", \"runtimes\": {\"c\": {\"path\": \"/run/second/crun\"}}}\n",
        ),
        (
            "podman",
            "/etc/containers/containers.conf",
            "[engine]\nruntime = \"crun\"\n[engine.runtimes]\ncrun = [\"/run/second/crun\"]\n",
        ),
        (
            "containerd",
            "/etc/containerd/config.toml",
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\noptions = { BinaryName = \"/run/second/crun\" }\n",
        ),
    ] {
        node.write(file, text);
        settings(&node, &["/run/first", "/run/second"], "");
        let outcome = cli(&["configure", engine]).outcome();
        assert_eq!(
            (outcome.code, &*outcome.stdout),
            (Some(5), ""),
            "{outcome:?}"
        );
        let line = one_line(&outcome.stderr);
        for part in [
            "calls /run/second/crun",
            "/run/first/crun",
            "crun = \"/run/second/crun\" into the section [runtimes]",
        ] {
            assert!(line.contains(part), "{engine}: {line}");
        }
        assert_eq!(node.text(file), text);
        assert!(!node.exists("/etc/oci-apparmor/engines"));
        // As it says, or where they are the same.
        settings(
            &node,
            &["/run/first", "/run/second"],
            "crun = '/run/second/crun'",
        );
        let outcome = cli(&["configure", engine]).outcome();
        assert!(
            outcome.code == Some(0) && !outcome.stdout.contains("low_level"),
            "{outcome:?}"
        );
        settings(&node, &["/run/second", "/run/first"], "");
        assert_eq!(cli(&["configure", engine]).outcome().code, Some(0));
        // Another choice of the administrator's is told.
        settings(&node, &["/run/second"], "crun = '/run/first/crun'");
        let outcome = cli(&["configure", engine, "--set-default"]).outcome();
        assert!(
            outcome.stdout.contains("the wrapper calls /run/first/crun"),
            "{outcome:?}"
        );
        let back = node.call_program("/run/libexec/oci-apparmor", &["unconfigure", engine]);
        assert_eq!(back.directory("/").outcome().code, Some(0));
        assert_eq!(node.text(file), text);
        node.remove(file);
    }
}
