//! `metrics`: the text that Prometheus reads, and denials that are counted once.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::call::{Call, Outcome};
use crate::create::ASKS;
use crate::node::{Node, node};

const PROGRAM: &str = "/run/libexec/oci-apparmor";

/// The kernel's log has this one record; there is no other log.
const LOG: &str =
    "[ ! -d /var/log/journal ] || mount -t tmpfs none /var/log; cp /run/kmsg /dev/kmsg";

/// An event as the kernel prints it now. Names of other bytes than printable ASCII are hexadecimal.
pub(crate) fn record(serial: u32, profile: &str, operation: &str, name: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let hexadecimal = |text: &str| text.bytes().map(|b| format!("{b:02X}")).collect::<String>();
    format!(
        "5,{serial},1000,-;audit: type=1400 audit({}.{:03}:{serial}): apparmor=\"DENIED\" \
         operation=\"{operation}\" profile={} name={} pid=7 comm=\"cat\" requested_mask=\"r\" \
         denied_mask=\"r\" fsuid=0 ouid=0\n",
        now.as_secs(),
        now.subsec_millis(),
        hexadecimal(profile),
        hexadecimal(name),
    )
}

/// A call of the command line on a node whose log can be read.
pub(crate) fn with_log<'n>(node: &'n Node, words: &[&str]) -> Call<'n> {
    node.call_program(PROGRAM, words)
        .directory("/")
        .prelude(LOG)
}

#[track_caller]
fn metrics(node: &Node) -> String {
    let Outcome {
        code,
        stdout,
        stderr,
        ..
    } = with_log(node, &["metrics"]).outcome();
    assert_eq!((code, &*stderr), (Some(0), ""));
    check(&stdout);
    stdout
}

/// The value of a series.
#[track_caller]
fn value(text: &str, series: &str) -> u64 {
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(series)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("no {series} in {text}"));
    line.parse().unwrap()
}

/// Checks the text as strictly as Prometheus does: each family once, HELP and TYPE first, names and
/// labels as they may be, no series twice, no time.
#[track_caller]
fn check(text: &str) {
    assert!(text.ends_with('\n'));
    let (mut families, mut series): (BTreeSet<&str>, BTreeSet<&str>) = Default::default();
    let mut family = ("", "");
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.ends_with('.') && families.insert(name), "{line}");
            let rest = lines.next().unwrap().strip_prefix("# TYPE ").unwrap();
            let (of, kind) = rest.split_once(' ').unwrap();
            assert_eq!(of, name);
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert!(
                name.starts_with("oci_apparmor_")
                    && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                "{name}"
            );
            family = (name, kind);
            continue;
        }
        let (left, value) = line.rsplit_once(' ').unwrap();
        value
            .parse::<u64>()
            .unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(series.insert(left), "twice: {left}");
        let labels = left
            .strip_prefix(family.0)
            .unwrap_or_else(|| panic!("{line}"));
        labels_are_well_formed(labels);
    }
    assert!(families.len() > 15, "{families:?}");
}

#[track_caller]
fn labels_are_well_formed(labels: &str) {
    let Some(mut rest) = labels.strip_prefix('{') else {
        assert_eq!(labels, "");
        return;
    };
    loop {
        let (key, value) = rest.split_once("=\"").unwrap();
        assert!(
            key.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{labels}"
        );
        let mut chars = value.char_indices();
        let end = loop {
            match chars.next().unwrap() {
                (_, '\\') => assert!(
                    matches!(chars.next().unwrap().1, '\\' | '"' | 'n'),
                    "{labels}"
                ),
                (at, '"') => break at,
                (_, c) => assert!(!c.is_control(), "{labels}"),
            }
        };
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => break,
        }
    }
    assert_eq!(rest, "}", "{labels}");
}

#[test]
fn each_denial_is_counted_once() {
    let Some(node) = node() else { return };
    node.source("web");
    let log = |serial, profile: &str, operation: &str| {
        node.write(
            "/run/kmsg",
            record(serial, profile, operation, "/etc/shadow"),
        );
    };
    let web = "oci_apparmor_denials_total{profile=\"web\",operation=\"open\",verdict=\"denied\"}";
    log(10, "web", "open");
    assert_eq!(value(&metrics(&node), web), 1);
    assert_eq!(value(&metrics(&node), web), 1);
    // A child counts as its parent.
    log(11, "web//helper", "open");
    let text = metrics(&node);
    assert_eq!(value(&text, web), 2);
    assert_eq!(
        value(&text, "oci_apparmor_log_gaps{cause=\"malformed\"}"),
        0
    );
    // Whatever a profile is called, it is one label.
    log(12, "a\"} 9\n\\b", "open");
    let text = metrics(&node);
    assert_eq!(value(&text, web), 2);
    let hostile = r#"oci_apparmor_denials_total{profile="a\"} 9\\x0a\\\\b",operation="open",verdict="denied"}"#;
    assert_eq!(value(&text, hostile), 1);
    // An older event is not new, also if the log shows it only now.
    log(9, "web", "open");
    assert_eq!(value(&metrics(&node), web), 2);
    // Counts of another version are not used.
    node.write(
        "/run/oci-apparmor/denials",
        "{\"version\":2,\"read\":0,\"denials\":[]}",
    );
    assert_eq!(value(&metrics(&node), web), 1);
}

#[test]
fn what_was_counted_and_configured_is_in_the_metrics() {
    let Some(node) = node() else { return };
    node.write("/run/kmsg", record(10, "p", "open", "/x"));
    node.source("q");
    node.bundle(ASKS.replace("\"p\"", "\"q\""));
    node.done(&["create", "c1"]);
    node.bundle(ASKS.replace("\"p\"", "\"none\""));
    node.refused(&["create", "c2"]);
    let text = metrics(&node);
    for (series, expected) in [
        ("oci_apparmor_enforcing", 1),
        ("oci_apparmor_profile_loads_total", 1),
        ("oci_apparmor_compilations_total", 1),
        ("oci_apparmor_cache_hits_total", 0),
        ("oci_apparmor_refusals_total{kind=\"not_found\"}", 1),
        ("oci_apparmor_refusals_total{kind=\"policy\"}", 0),
        ("oci_apparmor_label_violations_total", 0),
        ("oci_apparmor_unconfined_processes", 0),
        ("oci_apparmor_profiles{mode=\"enforce\"}", 1),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
    node.write("/sys/module/apparmor/parameters/mode", "complain\n");
    assert_eq!(value(&metrics(&node), "oci_apparmor_enforcing"), 0);

    // The dashboard and the page have what there is, and nothing else.
    let names = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        let words = words.filter(|w| w.starts_with("oci_apparmor_"));
        words.map(str::to_owned).collect()
    };
    let all = names(&text);
    let dashboard = include_str!("../../config/grafana/oci-apparmor.json");
    serde_json::from_str::<serde_json::Value>(dashboard).unwrap();
    assert_eq!(names(dashboard), all);
    let page = include_str!("../../docs/monitoring.md");
    assert_eq!(names(page), all);
}

#[test]
fn the_file_is_replaced_in_one_step_and_only_where_root_alone_writes() {
    let Some(node) = node() else { return };
    node.write("/run/kmsg", record(10, "p", "open", "/x"));
    node.write("/run/textfile/a.prom", "old");
    let before = node.inode("/run/textfile/a.prom");
    let call = |file: &str| with_log(&node, &["metrics", "--output", file]).outcome();
    call("/run/textfile/a.prom").silent_success();
    check(&node.text("/run/textfile/a.prom"));
    assert_ne!(node.inode("/run/textfile/a.prom"), before);
    let meta = std::fs::metadata(node.path("/run/textfile/a.prom")).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o644);
    assert_eq!(
        std::fs::read_dir(node.path("/run/textfile"))
            .unwrap()
            .count(),
        1
    );

    node.link("/run/textfile", "/run/link");
    for (file, code, why) in [
        ("/run/textfile/a.txt", 2, "ends in .prom"),
        ("/run/link/a.prom", 7, "symbolic link"),
        ("/run/none/a.prom", 8, "does not exist"),
    ] {
        let outcome = call(file);
        assert_eq!(outcome.code, Some(code), "{outcome:?}");
        assert!(outcome.stderr.contains(why), "{outcome:?}");
    }
    node.chmod("/run/textfile", 0o777);
    let outcome = call("/run/textfile/a.prom");
    assert_eq!(outcome.code, Some(7), "{outcome:?}");
    let user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
    let outcome = with_log(&node, &["metrics"]).through(&user).outcome();
    assert_eq!(outcome.code, Some(5), "{outcome:?}");
    assert!(outcome.stderr.contains("run as root"), "{outcome:?}");
}
