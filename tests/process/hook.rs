//! The hook: `createRuntime`, its old name, and podman's `precreate`.

use serde_json::json;

use crate::call::{Outcome, one_line};
use crate::compiled_policy::{blob, blob_with};
use crate::create::ASKS;
use crate::node::{BUNDLE, Node, node};

const LABELLED: &str =
    r#"{"annotations":{"oci-apparmor/profile":"p"},"process":{"apparmorProfile":"p"}}"#;

/// Calls the hook as an engine does: with no environment, in the bundle or not.
fn hook(node: &Node, stage: &str, input: impl Into<Vec<u8>>) -> Outcome {
    node.call_program("/run/libexec/oci-apparmor-hook", &[stage])
        .directory("/")
        .input(input)
        .outcome()
}

/// The state of `c1`, as runtimes write it.
fn state() -> String {
    let state = json!({
        "ociVersion": "1.0.2", "id": "c1", "status": "creating", "pid": 1, "bundle": BUNDLE,
    });
    state.to_string()
}

#[track_caller]
fn refused(outcome: &Outcome, code: i32) -> String {
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (Some(code), ""),
        "{outcome:?}"
    );
    let line = one_line(&outcome.stderr);
    assert!(
        line.starts_with("oci-apparmor: ") && line.contains("; "),
        "{line}"
    );
    line.to_owned()
}

#[test]
fn the_profile_of_the_bundle_is_loaded() {
    let Some(node) = node() else { return };
    node.source("q");
    for stage in ["createRuntime", "prestart"] {
        node.bundle(LABELLED);
        hook(&node, stage, state()).silent_success();
        node.bundle(LABELLED.replace("\"p\"", "\"q\""));
        hook(&node, stage, state()).silent_success();
        node.bundle(r#"{"process":{}}"#);
        hook(&node, stage, state()).silent_success();
    }
    assert_eq!(node.loaded_blob(), blob("q"));
    assert_eq!(node.compilations().len(), 1);
    assert_eq!(node.text("/run/bundle/config.json"), r#"{"process":{}}"#);
    assert!(node.records().is_empty() && node.calls().is_empty());
}

#[test]
fn each_family_of_refusals_has_its_exit_code() {
    let Some(node) = node() else { return };
    let run = || hook(&node, "createRuntime", state());
    // 5: the runtime will apply something else, and a hook cannot change that.
    for (config, applied) in [
        (ASKS.to_owned(), "will apply unconfined"),
        (
            LABELLED.replace(
                r#""apparmorProfile":"p""#,
                r#""apparmorProfile":"docker-default""#,
            ),
            "will apply docker-default",
        ),
    ] {
        node.bundle(config);
        let line = refused(&run(), 5);
        assert!(
            line.contains("start of container \"c1\" (createRuntime) refused"),
            "{line}"
        );
        assert!(
            line.contains("must run under p") && line.contains(applied),
            "{line}"
        );
    }
    assert!(
        node.syslog()
            .iter()
            .any(|m| m.contains("will apply docker-default"))
    );
    // 5: the node's policy.
    node.bundle(LABELLED);
    node.settings("deny = ['p']");
    refused(&run(), 5);
    // 7: the configuration.
    node.settings("unknown = 1");
    assert!(refused(&run(), 7).contains("config.toml line 1"));
    node.settings("");
    // 3: the profile is nowhere.
    node.bundle(LABELLED.replace("\"p\"", "\"none\""));
    refused(&run(), 3);
    // 4: its source does not compile.
    node.source("q");
    node.write("/run/parser/q/fails", "syntax error");
    node.bundle(LABELLED.replace("\"p\"", "\"q\""));
    assert!(refused(&run(), 4).contains("syntax error"));
    node.remove("/run/parser/q/fails");
    node.prepare_parser("q", "-Q", &blob_with("q", 3, b""));
    refused(&run(), 5);
    // 6: AppArmor is off.
    node.bundle(LABELLED);
    node.write("/sys/module/apparmor/parameters/mode", "complain\n");
    refused(&run(), 6);
    node.write("/sys/module/apparmor/parameters/mode", "enforce\n");
    run().silent_success();
    // 8: the bundle and the state.
    node.bundle("{");
    refused(&run(), 8);
    node.remove("/run/bundle/config.json");
    refused(&run(), 8);
    for input in ["", "{", "[]", r#"{"id":"c1"}"#] {
        refused(&hook(&node, "createRuntime", input), 8);
    }
    // 2: the call.
    for words in [
        &[][..],
        &["poststart"],
        &["createRuntime", "x"],
        &["--unknown"],
    ] {
        let call = node.call_program("/run/libexec/oci-apparmor-hook", words);
        refused(&call.outcome(), 2);
    }
}

#[test]
fn precreate_sets_the_profile_and_no_other_byte() {
    let Some(node) = node() else { return };
    node.source("q");
    let asks = "\"annotations\" : {\"oci-apparmor/profile\":\"q\"}";
    for (before, after) in [
        (
            "{ASKS,\"process\":{}}",
            "{ASKS,\"process\":{\"apparmorProfile\":\"q\"}}",
        ),
        (
            "{ASKS,\n \"process\":{ \"apparmorProfile\":\"containers-default\", \"x\":1.0 } }\n",
            "{ASKS,\n \"process\":{ \"apparmorProfile\":\"q\", \"x\":1.0 } }\n",
        ),
        (
            "{ASKS,\"process\":{\"apparmorProfile\":\"q\"}}\n",
            "{ASKS,\"process\":{\"apparmorProfile\":\"q\"}}\n",
        ),
        ("{ \"process\" : {} }", "{ \"process\" : {} }"),
    ] {
        let outcome = hook(&node, "precreate", before.replace("ASKS", asks));
        assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
        assert_eq!(outcome.stdout, after.replace("ASKS", asks));
    }
    assert_eq!(node.loaded_blob(), blob("q"));
    for (input, code) in [
        (ASKS.replace("\"p\"", "\"none\""), 3),
        (ASKS.replace("\"p\"", "\"&p\""), 5),
        (String::new(), 8),
        ("{}".to_owned(), 8),
    ] {
        let line = refused(&hook(&node, "precreate", input), code);
        assert!(line.contains("(precreate) refused"), "{line}");
    }
    // podman tells no id, so nothing that a pod says makes it CRI-O's or a sandbox.
    let forged = json!({"process": {}, "annotations": {
        "io.container.manager": "cri-o",
        "io.kubernetes.cri-o.ContainerID": "",
        "io.kubernetes.cri-o.ContainerType": "sandbox",
        "io.kubernetes.pod.namespace": "kube-system",
    }});
    node.settings("floor = 'p'");
    let outcome = hook(&node, "precreate", forged.to_string());
    assert!(
        outcome.stdout.contains(r#""apparmorProfile":"p""#),
        "{outcome:?}"
    );
}

#[test]
fn the_hook_tells_what_it_is() {
    let Some(node) = node() else { return };
    let outcome = hook(&node, "--help", "");
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
    for stage in ["createRuntime", "prestart", "precreate"] {
        assert!(outcome.stdout.contains(stage));
    }
    let outcome = hook(&node, "--version", "");
    assert_eq!(outcome.code, Some(0));
    assert_eq!(
        outcome.stdout,
        concat!("oci-apparmor-hook ", env!("CARGO_PKG_VERSION"), "\n")
    );
}
