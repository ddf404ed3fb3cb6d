//! The command line for people: what its JSON holds, and its exit codes.

use serde_json::{Value, json};

use crate::call::{Outcome, one_line};
use crate::compiled_policy::blob;
use crate::create::ASKS;
use crate::node::{BUNDLE, Node, node};

fn cli(node: &Node, words: &[&str]) -> Outcome {
    node.call_program("/run/libexec/oci-apparmor", words)
        .directory("/")
        .outcome()
}

#[test]
fn explain_tells_what_would_happen_and_changes_nothing() {
    let Some(node) = node() else { return };
    node.settings("floor = 'floor'");
    node.source("floor");
    node.bundle(ASKS);
    let outcome = cli(&node, &["explain", "--json", BUNDLE]);
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
    let mut explained: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let reasons = explained["reasons"].take();
    assert!(reasons.as_array().unwrap().iter().all(Value::is_string) && reasons[0] != "");
    assert_eq!(
        explained,
        json!({
            "engine": "other", "sandbox": false,
            "namespace": null, "pod": null, "container": null,
            "annotations": {"oci-apparmor/profile": "p"},
            "bundle_profile": null, "key": "oci-apparmor/profile",
            "label": "p//&floor", "reasons": null, "notices": [], "refused": null,
        })
    );
    assert_eq!(node.text("/run/bundle/config.json"), ASKS);
    assert!(node.parser_calls().is_empty() && node.records().is_empty());

    let text = cli(&node, &["explain", BUNDLE]).stdout;
    assert!(
        text.contains("p//&floor") && text.contains("floor is stacked"),
        "{text}"
    );
}

#[test]
fn explain_of_a_refusal_says_why_and_exits_with_its_family() {
    let Some(node) = node() else { return };
    node.bundle(ASKS.replace("\"p\"", "\"none\""));
    let outcome = cli(&node, &["explain", "--json", BUNDLE]);
    assert_eq!(outcome.code, Some(3));
    let explained: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(explained["label"], Value::Null);
    let why = explained["refused"].as_str().unwrap();
    assert!(
        one_line(&outcome.stderr).ends_with(why),
        "{}",
        outcome.stderr
    );
    assert_eq!(cli(&node, &["explain", "/run/none"]).code, Some(8));
    assert_eq!(cli(&node, &["explain"]).code, Some(2));
}

#[test]
fn explain_knows_a_sandbox_by_its_id() {
    let Some(node) = node() else { return };
    let config = json!({"process": {}, "annotations": {
        "io.kubernetes.cri.container-type": "sandbox",
        "io.kubernetes.cri.sandbox-id": "s1",
        "io.kubernetes.cri.sandbox-namespace": "team",
        "io.kubernetes.cri.sandbox-name": "web-0",
        "oci-apparmor/profile": "p",
    }});
    let bundle = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/c1";
    node.write(&format!("{bundle}/other.json"), config.to_string());
    for (id, sandbox, label) in [("s1", true, Value::Null), ("c1", false, "p".into())] {
        let words = [
            "explain",
            "--json",
            "--id",
            id,
            "--config-json",
            "other.json",
            bundle,
        ];
        // As crun would find it, from here.
        let outcome = node
            .call_program("/run/libexec/oci-apparmor", &words)
            .directory(bundle)
            .outcome();
        let explained: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(explained["sandbox"], sandbox);
        assert_eq!(explained["label"], label);
        assert_eq!(explained["engine"], "containerd");
        assert_eq!(
            (&explained["namespace"], &explained["pod"]),
            (&"team".into(), &"web-0".into())
        );
    }
}

/// The findings of `check`, after looking at their form.
#[track_caller]
fn findings(node: &Node, words: &[&str], code: i32) -> Vec<Value> {
    let outcome = cli(node, &[&["check", "--json"], words].concat());
    assert_eq!(
        (outcome.code, &*outcome.stderr),
        (Some(code), ""),
        "{}",
        outcome.stdout
    );
    let findings: Vec<Value> = serde_json::from_str(&outcome.stdout).unwrap();
    for finding in &findings {
        let keys: Vec<_> = finding
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(keys, ["part", "remedy", "status", "text"]);
        assert!(finding["part"].is_string() && finding["text"].is_string());
        let bad = match finding["status"].as_str().unwrap() {
            "ok" => false,
            "warning" | "failure" => true,
            other => panic!("{other}"),
        };
        assert_eq!(finding["remedy"].is_string(), bad, "{finding}");
    }
    findings
}

#[track_caller]
fn failure<'f>(findings: &'f [Value], part: &str) -> &'f str {
    let failed = |f: &&Value| f["part"] == part && f["status"] == "failure";
    findings.iter().find(failed).expect("no such failure")["text"]
        .as_str()
        .unwrap()
}

/// A node on which nothing is missing.
fn sound() -> Option<Node> {
    let node = node()?;
    node.prepare_parser("oci-apparmor-check", "never", &blob("oci-apparmor-check"));
    Some(node)
}

#[test]
fn check_of_a_sound_node() {
    let Some(node) = sound() else { return };
    let findings = findings(&node, &[], 0);
    for part in [
        "kernel",
        "privilege",
        "configuration",
        "parser",
        "profiles",
        "runtimes",
        "records",
    ] {
        assert!(
            findings
                .iter()
                .any(|f| f["part"] == part && f["status"] == "ok"),
            "{part}"
        );
    }
    let text = cli(&node, &["check"]);
    assert_eq!(text.code, Some(0));
    assert!(text.stdout.contains("\nNo check failed"), "{}", text.stdout);
}

#[test]
fn check_says_what_is_missing() {
    let Some(node) = sound() else { return };
    node.write("/sys/module/apparmor/parameters/mode", "complain\n");
    assert!(failure(&findings(&node, &[], 6), "kernel").contains("global mode"));
    node.write("/sys/module/apparmor/parameters/mode", "enforce\n");

    node.settings("floor = 'none'");
    assert!(failure(&findings(&node, &[], 3), "profiles").contains("floor is none"));

    node.settings("unknown = 1");
    assert!(failure(&findings(&node, &[], 7), "configuration").contains("line 1"));
    node.settings("");

    node.write("/run/parser/oci-apparmor-check/fails", "broken");
    assert!(failure(&findings(&node, &[], 4), "parser").contains("broken"));
    node.remove("/run/parser/oci-apparmor-check/fails");

    node.chmod("/etc/oci-apparmor/profiles", 0o777);
    assert!(failure(&findings(&node, &[], 5), "profiles").contains("writable"));
    node.chmod("/etc/oci-apparmor/profiles", 0o755);

    node.remove("/run/bin/runc");
    assert!(failure(&findings(&node, &[], 3), "runtimes").contains("/run/bin/runc"));
    let text = cli(&node, &["check"]);
    assert!(
        text.stdout.contains("\n1 check failed: "),
        "{}",
        text.stdout
    );
}

#[test]
fn check_finds_what_killed_commands_left() {
    let Some(node) = sound() else { return };
    let manifest = "apiVersion: security-profiles-operator.x-k8s.io/v1\nkind: AppArmorProfile\n\
                    metadata:\n  name: learnt\nspec:\n  abstract:\n    filesystem:\n      \
                    readOnlyPaths: [/etc/hosts]\n";
    node.write("/etc/oci-apparmor/profiles/learnt.yaml", manifest);
    let remedies = || -> Vec<String> {
        let all = findings(&node, &[], 0).into_iter();
        let warnings = all.filter(|f| f["part"] == "profiles" && f["status"] == "warning");
        warnings
            .map(|f| f["remedy"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(remedies(), [""; 0]);
    node.write("/etc/apparmor.d/force-complain/learnt", "");
    // No process has such a number (`PID_MAX_LIMIT`, include/linux/threads.h); process 1 exists.
    node.load("oci-apparmor.trial.4194304.ab", "enforce");
    node.load("oci-apparmor.trial.1.ab", "enforce");
    assert_eq!(
        remedies(),
        [
            "to end that, run: oci-apparmor mode learnt enforce",
            "run: oci-apparmor unload oci-apparmor.trial.4194304.ab",
        ]
    );
}

#[test]
fn check_judges_a_configuration_before_it_is_in_force() {
    let Some(node) = sound() else { return };
    node.write("/run/new.toml", "allow = ['[']\n");
    let found = findings(&node, &["--config", "/run/new.toml"], 7);
    assert!(failure(&found, "configuration").contains("/run/new.toml line 1"));
    let found = findings(&node, &["--config", "/run/none.toml"], 7);
    assert!(failure(&found, "configuration").contains("does not exist"));
}

#[test]
fn check_tells_whether_sources_are_loaded_at_boot() {
    let Some(node) = sound() else { return };
    let preload = || {
        let found = findings(&node, &[], 0);
        let part = found.into_iter().find(|f| f["part"] == "preload");
        part.map(|f| f["status"].as_str().unwrap().to_owned())
    };
    node.source("q");
    assert_eq!(preload(), None, "there is no systemd");
    node.write("/run/systemd/system/x.service", "");
    assert_eq!(preload().as_deref(), Some("warning"));
    let wants = "/etc/systemd/system/multi-user.target.wants";
    node.write(&format!("{wants}/oci-apparmor-preload.service"), "");
    assert_eq!(preload().as_deref(), Some("ok"));
    node.remove("/etc/oci-apparmor/profiles/q");
    assert_eq!(preload(), None, "there is nothing to load");
}

#[test]
fn wrong_usage_exits_with_2_and_help_with_0() {
    let Some(node) = node() else { return };
    for words in [&[][..], &["unknown"], &["check", "--unknown"]] {
        assert_eq!(cli(&node, words).code, Some(2), "{words:?}");
    }
    for words in [&["--help"][..], &["--version"], &["explain", "--help"]] {
        let outcome = cli(&node, words);
        assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""), "{words:?}");
    }
}
