//! `report`: what it has, its exit codes, and its page.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::create::ASKS;
use crate::node::{Node, node};
use crate::node_metrics::{record, with_log};

const HOSTILE: &str = "<script>alert(1)</script>\"'\u{202e}\n";

/// A node with a container, a denial and a refusal.
fn prepared() -> Option<Node> {
    let node = node()?;
    node.write("/run/kmsg", record(10, "q", "open", HOSTILE));
    node.source("q");
    node.bundle(ASKS.replace("\"p\"", "\"q\""));
    node.done(&["create", "c1"]);
    node.bundle(ASKS.replace("\"p\"", "\"none\""));
    node.refused(&["create", "c2"]);
    Some(node)
}

#[test]
fn the_report_has_what_is_known_of_the_node() {
    let Some(node) = prepared() else { return };
    let outcome = with_log(&node, &["report", "--json"]).outcome();
    assert_eq!(outcome.stderr, "");
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let formats = include_str!("../../docs/formats.md");
    let page = formats
        .split_once("## JSON of `oci-apparmor report --json`")
        .unwrap()
        .1;
    let page = page.split("\n## ").next().unwrap();
    let mut objects = vec![&report];
    for key in ["assessment", "node", "denials"] {
        objects.push(&report[key]);
    }
    objects.push(&report["assessment"]["concerns"][0]);
    objects.push(&report["denials"]["kinds"][0]);
    for key in objects.iter().flat_map(|o| o.as_object().unwrap().keys()) {
        assert!(page.contains(&format!("`{key}`")), "{key} is not described");
    }
    assert_eq!(report["containers"][0]["id"], "c1");
    assert_eq!(report["counters"]["refusal-not-found"], 1);
    assert_eq!(report["denials"]["kinds"][0]["profile"], "q");
    assert_eq!(report["denials"]["kinds"][0]["count"], 1);
    let profiles = report["profiles"].as_array().unwrap();
    assert!(profiles.iter().any(|profile| profile["name"] == "q"));
    assert_eq!(report["node"]["enforcing"], true);

    let text = with_log(&node, &["report"]).outcome().stdout;
    for expected in ["c1", "refusal-not-found", "Denials since boot"] {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn the_exit_code_is_that_of_the_worst() {
    let Some(node) = prepared() else { return };
    let check = with_log(&node, &["check"]).outcome().code;
    let report = with_log(&node, &["report"]).outcome();
    assert_eq!(report.code, check);
    node.write("/sys/module/apparmor/parameters/mode", "complain\n");
    let report = with_log(&node, &["report"]).outcome();
    assert_eq!(report.code, Some(6));
    assert!(
        report
            .stdout
            .starts_with("failure  AppArmor does not enforce profiles on this node.\n"),
        "{}",
        report.stdout
    );
}

#[test]
fn the_page_is_private_and_a_hostile_name_in_it_is_text() {
    let Some(node) = prepared() else { return };
    let outcome = with_log(&node, &["report", "--html", "/run/report.html"]).outcome();
    assert_eq!(outcome.stderr, "");
    assert!(
        outcome.stdout.ends_with(" (/run/report.html)\n"),
        "{outcome:?}"
    );
    let meta = std::fs::metadata(node.path("/run/report.html")).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o600);
    let page = node.text("/run/report.html");
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
    assert!(
        !page.contains("<script") && page.contains("&lt;script&gt;alert(1)"),
        "{page}"
    );
    assert!(page.contains("default-src 'none'"));
    for reference in ["http:", "https:", "src=", "href=", "url(", "\u{202e}"] {
        assert!(!page.contains(reference), "{reference}");
    }
    let none = with_log(&node, &["report", "--html", "/run/none/report.html"]).outcome();
    assert_eq!((none.code, none.stdout.as_str()), (Some(8), ""));
}

/// Without a log, the report says so, and has everything else.
#[test]
fn a_log_that_cannot_be_read_is_said() {
    let Some(node) = prepared() else { return };
    let call = node.call_program("/run/libexec/oci-apparmor", &["report", "--json"]);
    let outcome = call
        .directory("/")
        .prelude("[ ! -d /var/log/journal ] || mount -t tmpfs none /var/log")
        .outcome();
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(report["denials"]["sources"], serde_json::json!([]));
    let gap = report["denials"]["gaps"][0].as_str().unwrap();
    assert!(gap.starts_with("the log cannot be read: "), "{gap}");
    assert_eq!(report["containers"][0]["id"], "c1");
}
