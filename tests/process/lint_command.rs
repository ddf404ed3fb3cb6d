//! `oci-apparmor lint` with a stand-in parser: what it asks of the node, its JSON, its exit codes.

use serde_json::{Value, json};

use crate::call::Outcome;
use crate::compiled_policy::{blob, blob_with};
use crate::node::{Node, node};

const GOOD: &str = "profile q {\n  abi <abi/3.0>,\n}\n";

fn lint(node: &Node, words: &[&str]) -> Outcome {
    let words = [&["lint"], words].concat();
    node.call_program("/run/libexec/oci-apparmor", &words)
        .directory("/etc/oci-apparmor/profiles")
        .outcome()
}

/// A source that has nothing to find in it, where the kernel's features are known. The stand-in
/// reads the first line: the profile's name stands there, and the abi is in what it flattens to.
fn good(node: &Node) {
    node.source("q");
    node.write("/etc/oci-apparmor/profiles/q", GOOD);
    let flattened = "abi <abi/3.0>,\nprofile q {\n  signal,\n}\n";
    node.write("/run/parser/q/text", flattened);
    node.write("/sys/kernel/security/apparmor/features/caps/mask", "");
}

/// Severity and rule of what is found, with its line; and the exit code.
fn found(node: &Node, words: &[&str]) -> (Option<i32>, Vec<(String, String, Value)>) {
    let outcome = lint(node, &[&["--json"], words].concat());
    let all: Vec<Value> = serde_json::from_str(&outcome.stdout)
        .unwrap_or_else(|e| panic!("{e}: {} {}", outcome.stdout, outcome.stderr));
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let one = |f: &Value| (text(&f["severity"]), text(&f["rule"]), f["line"].clone());
    (outcome.code, all.iter().map(one).collect())
}

#[track_caller]
fn one(node: &Node, code: i32, severity: &str, rule: &str, line: Value) {
    let expected = vec![(severity.to_owned(), rule.to_owned(), line)];
    assert_eq!(found(node, &["q"]), (Some(code), expected));
}

#[test]
fn a_good_file_has_no_finding_and_nothing_is_loaded() {
    let Some(node) = node() else { return };
    good(&node);
    let outcome = lint(&node, &["q", "/etc/oci-apparmor/profiles/q"]);
    assert_eq!(
        (outcome.code, &*outcome.stdout, &*outcome.stderr),
        (Some(0), "2 files, 0 errors, 0 warnings\n", "")
    );
    assert_eq!(found(&node, &["--strict", "q"]), (Some(0), Vec::new()));
    assert_eq!(node.loaded_blob(), b"");
    assert_eq!(
        node.parser_calls()[..3],
        [
            "-Q -K -S --warn=rule-not-enforced --warn=rule-downgraded -j0",
            "-p -Q -K -j0",
            "-p -Q -K -j0"
        ]
    );
}

#[test]
fn a_finding_has_its_line_and_a_remedy() {
    let Some(node) = node() else { return };
    good(&node);
    node.write("/run/parser/q/text", "abi <abi/3.0>,\nprofile q {\n}\n");
    let remedy = "add: signal (receive) peer={unconfined,runc,crun,podman},";
    let text = "the profile \"q\" does not allow SIGTERM and SIGKILL from unconfined, runc, crun, \
                podman: stop and kill fail";
    let outcome = lint(&node, &["q"]);
    assert_eq!(outcome.code, Some(0));
    assert_eq!(
        outcome.stdout,
        format!(
            "SEVERITY  WHERE  PROBLEM\nwarning   q:1    {text}\n    -> {remedy}\n\
             1 file, 0 errors, 1 warning\n"
        )
    );
    let outcome = lint(&node, &["--strict", "--json", "q"]);
    assert_eq!(outcome.code, Some(5));
    let all: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        all,
        json!([{"file": "q", "line": 1, "severity": "warning", "rule": "signal",
                "text": text, "remedy": remedy}])
    );
}

#[test]
fn what_the_node_would_refuse_is_an_error() {
    let Some(node) = node() else { return };
    good(&node);
    let source = "/etc/oci-apparmor/profiles/q";
    for (blob, rule) in [
        (Vec::new(), "empty"),
        ([blob("q"), blob("other")].concat(), "several"),
        (blob_with("q", 3, b""), "mode"),
    ] {
        node.write("/run/parser/q/blob", blob);
        let (code, all) = found(&node, &["q"]);
        assert_eq!((code, &*all[0].0, &*all[0].1), (Some(5), "error", rule));
    }
    node.write("/run/parser/q/blob", &blob("q")[..20]);
    one(&node, 4, "error", "compile", Value::Null);
    node.write("/run/parser/q/blob", blob("q"));

    node.chmod(source, 0o666);
    one(&node, 5, "error", "trust", Value::Null);
    // A draft may belong to any user.
    node.write("/run/draft/q", GOOD);
    node.chown("/run/draft/q", 1000);
    assert_eq!(found(&node, &["/run/draft/q"]), (Some(0), Vec::new()));
    node.chmod(source, 0o644);

    node.write("/etc/apparmor.d/disable/q", "");
    one(&node, 5, "error", "disabled", Value::Null);
    node.remove("/etc/apparmor.d/disable/q");
    node.write("/etc/apparmor.d/force-complain/q", "");
    one(&node, 0, "warning", "force-complain", Value::Null);
    node.remove("/etc/apparmor.d/force-complain/q");

    let head = "AppArmor parser error for /dev/stdin in profile /dev/stdin at line 2: ";
    node.write("/run/parser/q/fails", format!("{head}syntax error\n"));
    one(&node, 4, "error", "compile", json!(2));
    assert!(
        node.parser_calls()
            .last()
            .unwrap()
            .ends_with("/dev/stdin -j0")
    );
}

#[test]
fn every_file_is_looked_at_and_the_first_error_counts() {
    let Some(node) = node() else { return };
    good(&node);
    node.compiles("broken", "-Q", b"");
    node.write("/run/parser/broken/fails", "no\n");
    node.write("/etc/oci-apparmor/profiles/big", vec![b'#'; (4 << 20) + 1]);
    node.write(
        "/etc/oci-apparmor/profiles/p.yaml",
        "kind: AppArmorProfile\n",
    );
    let files = ["p.yaml", "none", "q", "broken", "big", "/run"];
    let outcome = lint(&node, &files);
    assert_eq!(outcome.code, Some(3));
    let lines: Vec<_> = outcome.stdout.lines().collect();
    for (line, start) in lines.iter().zip([
        "SEVERITY  WHERE   PROBLEM",
        "note      p.yaml  it was not checked",
        "    -> name files with profiles",
        "error     none    it cannot be read: it does not exist",
        "    -> ",
        "error     broken  it does not compile: no",
        "    -> ",
        "error     big     it is larger than 4 MiB",
        "    -> ",
        "error     /run    it is not a regular file",
        "    -> ",
        "6 files, 4 errors, 0 warnings",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
    assert_eq!(lines.len(), 12);
    assert_eq!(lint(&node, &["q", "broken", "none"]).code, Some(4));
}

#[test]
fn includes_that_others_can_change_are_told() {
    let Some(node) = node() else { return };
    good(&node);
    node.write(
        "/etc/oci-apparmor/profiles/q",
        "profile q {\n  include <mine>\n  include <dir>\n  include if exists <none>\n}\n",
    );
    let flattened = "abi <abi/3.0>,\nprofile q {\n  signal,\n##included <mine>\n\
                     ##included <dir>\n##included <none>\n##included \"/etc/apparmor.d/ok\"\n}\n";
    node.write("/run/parser/q/text", flattened);
    for file in ["mine", "dir/one", "ok"] {
        node.write(&format!("/etc/apparmor.d/{file}"), "");
    }
    assert_eq!(found(&node, &["q"]), (Some(0), Vec::new()));
    node.chmod("/etc/apparmor.d/mine", 0o666);
    one(&node, 0, "warning", "include", json!(2));
    node.chmod("/etc/apparmor.d/mine", 0o644);
    node.chown("/etc/apparmor.d/dir/one", 1000);
    one(&node, 0, "warning", "include", json!(3));
    node.chown("/etc/apparmor.d/dir/one", 0);
    node.chmod("/etc/apparmor.d/dir", 0o777);
    one(&node, 0, "warning", "include", json!(3));
}

#[test]
fn what_a_kernel_without_apparmor_enforces_is_not_claimed() {
    let Some(node) = node() else { return };
    good(&node);
    node.remove("/sys/kernel/security/apparmor/features");
    one(&node, 0, "note", "kernel", Value::Null);
    for abi in ["3.0", "4.0", "10.1", "kernel-5.4-vanilla"] {
        node.write(&format!("/etc/apparmor.d/abi/{abi}"), "");
    }
    let outcome = lint(&node, &["--strict", "q"]);
    assert_eq!(outcome.code, Some(0));
    assert!(
        outcome.stdout.contains("\nnote      - ")
            && outcome.stdout.contains("all of /etc/apparmor.d/abi/10.1\n"),
        "{}",
        outcome.stdout
    );
    let calls = node.parser_calls();
    let features = "--kernel-features=/etc/apparmor.d/abi/10.1";
    assert!(calls.iter().any(|c| c.contains(features)), "{calls:?}");
}

#[test]
fn older_and_compressing_parsers_are_supported() {
    let Some(node) = node() else { return };
    good(&node);
    let text = include_str!("stand_in_parser.sh");
    let old = "case \" $* \" in *' --warn='*) echo 'unknown option' >&2; exit 1 ;; esac\nread -r _";
    node.program(
        "/run/bin/apparmor_parser",
        &text.replacen("read -r _", old, 1),
    );
    assert_eq!(found(&node, &["q"]), (Some(0), Vec::new()));
    node.program("/run/bin/apparmor_parser", text);
    node.write("/run/parser/q/blob", b"\x28\xb5\x2f\xfdzstd");
    one(&node, 0, "note", "compressed", Value::Null);
}
