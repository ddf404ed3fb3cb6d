//! `oci-apparmor suggest` and `learn` on a node whose kernel cannot be asked: what they print, change
//! and keep.

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::call::{Outcome, one_line};
use crate::compiled_policy::blob;
use crate::node::{Node, node};

const LOG: &str = "/run/log";
const SOURCE: &str = "/etc/oci-apparmor/profiles/web";
const KEPT: &str = "/run/var/oci-apparmor/replaced";

const TEXT: &str = "abi <abi/3.0>,\nprofile web {\n    /etc/hosts r,\n}\n";

fn cli(node: &Node, words: &[&str]) -> Outcome {
    node.call_program("/run/libexec/oci-apparmor", words)
        .directory("/")
        // Where replaced sources are kept.
        .prelude("mkdir -p /run/var; mount --bind /run/var /var/lib")
        .outcome()
}

#[track_caller]
fn done(node: &Node, words: &[&str]) -> Outcome {
    let outcome = cli(node, words);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    outcome
}

fn event(profile: &str, name: &str, denied: &str) -> String {
    format!(
        "type=AVC msg=audit(1795342738.894:7): apparmor=\"DENIED\" operation=\"open\" class=\"file\" \
         profile=\"{profile}\" name={name} pid=103 comm=\"nginx\" requested_mask=\"{denied}\" \
         denied_mask=\"{denied}\" fsuid=0 ouid=0\n"
    )
}

/// A profile that is loaded, and a log with what it was denied.
fn web(node: &Node) {
    node.write(SOURCE, TEXT);
    node.prepare_parser("web", "-Q", &blob("web"));
    let log = [
        event("web", "\"/srv/page\"", "r"),
        event("web", "\"/srv/page\"", "w"),
        event("other", "\"/srv/other\"", "r"),
        // A name with a quote and blanks is in hexadecimal digits: `/x" profile="other`.
        event("web", "2F78222070726F66696C653D226F74686572", "r"),
        event("web//null-/bin/sh", "\"/etc/hosts\"", "r"),
        event("web", "\"/proc/sys/kernel/core_pattern\"", "w"),
    ];
    node.write(LOG, log.concat());
}

#[test]
fn the_suggestion_is_a_diff_and_the_reasons_are_notes() {
    let Some(node) = node() else { return };
    web(&node);
    let outcome = done(&node, &["suggest", "web", "--from", LOG]);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(
        lines[..2],
        [format!("--- {SOURCE}"), format!("+++ {SOURCE}")]
    );
    let added: Vec<&str> = lines
        .iter()
        .filter_map(|l| l.strip_prefix("+    "))
        .collect();
    let [marker, program, page, quoted, why, commented] = &added[..] else {
        panic!("{outcome:?}")
    };
    assert!(
        marker.starts_with("# Learnt on 20") && marker.contains(LOG),
        "{marker}"
    );
    assert_eq!(*program, "/bin/sh ix,");
    assert_eq!(*page, "/srv/page rw,");
    assert!(
        quoted.starts_with("\"/x\\042") && quoted.ends_with("\" r,"),
        "{quoted}"
    );
    assert!(why.starts_with("# not granted: "), "{why}");
    assert!(
        commented.starts_with("# ") && commented.contains("core_pattern"),
        "{commented}"
    );
    for part in [
        "5 events of web read from ",
        "not granted, only a comment: ",
        "not proven by the kernel: ",
        "1 program, which no rule allowed to execute",
        "to put it into force, run: oci-apparmor suggest web --apply\n",
    ] {
        assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
    }
    // Nothing has changed.
    assert_eq!(node.text(SOURCE), TEXT);
    let whole = done(
        &node,
        &["suggest", "web", "--from", LOG, "--output", "profile"],
    );
    assert!(
        whole.stdout.starts_with(TEXT.trim_end_matches("}\n")),
        "{whole:?}"
    );
    let manifest = done(
        &node,
        &["suggest", "web", "--from", LOG, "--output", "manifest"],
    );
    assert!(
        manifest
            .stdout
            .contains("\n  policy: |\n    abi <abi/3.0>,\n"),
        "{manifest:?}"
    );
}

#[test]
fn json_has_all_of_it() {
    let Some(node) = node() else { return };
    web(&node);
    let outcome = done(&node, &["suggest", "web", "--from", LOG, "--json"]);
    assert_eq!(outcome.stderr, "");
    let all: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        (&all["profile"], &all["source"]),
        (&json!("web"), &json!(SOURCE))
    );
    assert_eq!((&all["events"], &all["changed"]), (&json!(5), &json!(true)));
    assert_eq!(
        (&all["proof"], &all["applied"]),
        (&Value::Null, &Value::Null)
    );
    let rules = all["rules"].as_array().unwrap();
    let page = rules.iter().find(|r| r["rule"] == "/srv/page rw,").unwrap();
    assert_eq!(
        (&page["events"], &page["danger"]),
        (&json!(2), &Value::Null)
    );
    let shell = rules.iter().find(|r| r["rule"] == "/bin/sh ix,").unwrap();
    assert_eq!(shell["alternatives"][0], "/bin/sh Px,");
    assert!(rules.iter().any(|r| r["danger"].is_string()));
    assert!(
        all["text"]
            .as_str()
            .unwrap()
            .contains("    /srv/page rw,\n")
    );
}

#[test]
fn apply_replaces_the_source_and_keeps_the_old_one() {
    let Some(node) = node() else { return };
    web(&node);
    node.chmod(SOURCE, 0o640);
    std::os::unix::fs::chown(node.path(SOURCE), None, Some(7)).unwrap();
    let outcome = done(&node, &["suggest", "web", "--from", LOG, "--apply"]);
    let text = node.text(SOURCE);
    assert!(text.contains("\n    /srv/page rw,\n"), "{text}");
    let meta = std::fs::metadata(node.path(SOURCE)).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.gid()), (0o640, 7));
    // A file keeps the end of what was written to it before.
    assert!(node.loaded_blob().starts_with(&blob("web")));
    let kept: Vec<_> = std::fs::read_dir(node.path(KEPT)).unwrap().collect();
    let [kept] = &kept[..] else {
        panic!("{kept:?}")
    };
    let kept = kept.as_ref().unwrap().path();
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), TEXT);
    let name = kept.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("web.20"), "{name}");
    let undo = format!(
        "to undo it, run: cp -p /var/lib/oci-apparmor/replaced/{name} {SOURCE} && oci-apparmor load web\n"
    );
    assert!(outcome.stderr.ends_with(&undo), "{outcome:?}");
    // Again: nothing is added twice.
    let again = done(&node, &["suggest", "web", "--from", LOG, "--apply"]);
    assert_eq!(again.stdout, "");
    assert!(
        again
            .stderr
            .contains("nothing to add to web: its source has these rules\n"),
        "{again:?}"
    );
    assert_eq!(node.text(SOURCE), text);
}

#[test]
fn a_source_of_another_directory_is_copied() {
    let Some(node) = node() else { return };
    web(&node);
    node.remove(SOURCE);
    node.write("/etc/apparmor.d/web", TEXT);
    let outcome = done(&node, &["suggest", "web", "--from", LOG, "--apply"]);
    assert_eq!(node.text("/etc/apparmor.d/web"), TEXT);
    assert!(node.text(SOURCE).contains("/srv/page rw,"));
    assert!(
        outcome.stderr.contains(&format!(
            "wrote {SOURCE}, a changed copy that comes before /etc/apparmor.d/web\n"
        )) && outcome
            .stderr
            .ends_with(&format!("run: rm {SOURCE} && oci-apparmor load web\n")),
        "{outcome:?}"
    );
}

#[test]
fn a_suggestion_that_cannot_be_used_changes_nothing() {
    let Some(node) = node() else { return };
    web(&node);
    node.write("/run/parser/web/fails", "syntax error");
    let refused = cli(&node, &["suggest", "web", "--from", LOG, "--apply"]);
    assert_eq!((refused.code, &*refused.stdout), (Some(4), ""));
    let line = one_line(&refused.stderr);
    assert!(
        line.contains("the suggestion cannot be used: ") && line.contains("syntax error"),
        "{line}"
    );
    assert_eq!(node.text(SOURCE), TEXT);
    assert_eq!(
        cli(&node, &["suggest", "none", "--from", LOG]).code,
        Some(3)
    );
}

#[test]
fn a_manifest_stays_a_manifest() {
    let Some(node) = node() else { return };
    web(&node);
    node.remove(SOURCE);
    let manifest = "# kept\napiVersion: security-profiles-operator.x-k8s.io/v1\nkind: AppArmorProfile\n\
                    metadata:\n  name: web\nspec:\n  abstract:\n    filesystem:\n      readOnlyPaths:\n\
                    \x20     - /etc/hosts\n";
    node.write("/etc/oci-apparmor/profiles/web.yaml", manifest);
    let signal = "type=AVC msg=audit(1795342738.894:8): apparmor=\"DENIED\" operation=\"signal\" \
                  class=\"signal\" profile=\"web\" pid=103 comm=\"nginx\" requested_mask=\"send\" \
                  denied_mask=\"send\" signal=term peer=\"other\"\n";
    let log = event("web", "\"/srv/page\"", "w") + signal;
    node.write(LOG, log);
    let outcome = done(
        &node,
        &["suggest", "web", "--from", LOG, "--output", "manifest"],
    );
    assert_eq!(
        outcome.stdout,
        format!("{manifest}      readWritePaths:\n        - /srv/page\n")
    );
    for said in [
        "not added, because a manifest has no field for it: signal (send)",
        "broader, because the lists of a manifest cannot say it: /srv/page w, becomes /srv/page rwlk,\n",
    ] {
        assert!(outcome.stderr.contains(said), "{outcome:?}");
    }
}

#[test]
fn without_events_it_says_how_sure_that_is() {
    let Some(node) = node() else { return };
    web(&node);
    node.write(LOG, "nothing\n");
    let outcome = done(&node, &["suggest", "web", "--from", LOG]);
    assert_eq!(outcome.stdout, "");
    assert!(
        outcome
            .stderr
            .ends_with("nothing to add to web, as far as the log has its events\n"),
        "{outcome:?}"
    );
}

#[test]
fn learn_needs_a_profile_and_something_to_do() {
    let Some(node) = node() else { return };
    web(&node);
    for words in [
        &["learn"][..],
        &["learn", "web"],
        &["learn", "--for", "1s"],
        &["learn", "web", "--for", "1s", "--", "true"],
        &["learn", "--", "podman", "run", "image"],
        &[
            "learn",
            "--",
            "podman",
            "run",
            "--security-opt",
            "apparmor=unconfined",
            "image",
        ],
    ] {
        let outcome = cli(&node, words);
        assert_eq!(
            (outcome.code, &*outcome.stdout),
            (Some(2), ""),
            "{outcome:?}"
        );
    }
    assert_eq!(node.compilations(), [""; 0]);
}
