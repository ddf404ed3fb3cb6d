//! `oci-apparmor denials` with logs of a file and of standard input: what it shows, counts and explains.

use serde_json::{Value, json};

use crate::call::Outcome;
use crate::node::{Node, node};

const LOG: &str = "/run/log";

fn denials(node: &Node, words: &[&str], input: &[u8]) -> Outcome {
    let words = [&["denials"], words].concat();
    node.call_program("/run/libexec/oci-apparmor", &words)
        .directory("/")
        .input(input)
        .outcome()
}

#[track_caller]
fn shown(node: &Node, log: &[u8]) -> String {
    node.write(LOG, log);
    let outcome = denials(node, &[LOG], b"");
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
    let piped = denials(node, &["-"], log);
    assert_eq!(piped.stdout.replace("standard input", LOG), outcome.stdout);
    outcome.stdout
}

/// The events of a log, and what is said at the end.
#[track_caller]
fn listed(node: &Node, log: &[u8]) -> (Vec<Value>, Value) {
    node.write(LOG, log);
    let outcome = denials(node, &["--json", LOG], b"");
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
    let lines = outcome.stdout.lines();
    let mut all: Vec<Value> = lines.map(|l| serde_json::from_str(l).unwrap()).collect();
    let end = all.pop().unwrap();
    assert_eq!(end["kind"], "end");
    assert_eq!(end["events"], all.len());
    (all, end)
}

fn event(profile: &str, name: &str, more: &str) -> String {
    format!(
        "type=AVC msg=audit(1795342738.894:7): apparmor=\"DENIED\" operation=\"open\" class=\"file\" \
         {more}profile=\"{profile}\" name={name} pid=103 comm=\"cat\" requested_mask=\"r\" \
         denied_mask=\"r\" fsuid=0 ouid=0\n"
    )
}

#[test]
fn names_stay_bytes_and_what_is_not_read_is_a_number() {
    let Some(node) = node() else { return };
    let whole = event("web", "2FE9", "");
    let log = [
        &whole,
        &event("web", "2FC3A9", ""),
        &event("web", r#""/\xe9""#, ""),
        &whole,
        whole.split_once(" pid").unwrap().0,
        "\n",
        &whole.replace("DENIED", "PROMPT"),
        "Nov 1 00:00:00 node sshd[1]: nothing of AppArmor\n",
    ];
    let (events, end) = listed(&node, log.concat().as_bytes());
    let names: Vec<&str> = events
        .iter()
        .map(|e| e["object"].as_str().unwrap())
        .collect();
    assert_eq!(names, [r"/\xe9", "/\u{e9}", r"/\\xe9", r"/\xe9"]);
    let gaps = &end["gaps"];
    assert_eq!(
        (&gaps["malformed"], &gaps["unknown_verdict"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (&end["sources"], &end["complete"]),
        (&json!([LOG]), &json!(false))
    );
    assert_eq!(
        events[2],
        json!({
            "kind": "event", "time": "2026-11-22T10:18:58.894Z", "serial": 7, "profile": "web",
            "verdict": "denied", "operation": "open", "object": r"/\\xe9", "denied": "r",
            "info": null, "error": null, "pid": 103, "comm": "cat", "container": null,
            "known_by": null, "candidates": [],
            "fields": {
                "operation": "open", "class": "file", "profile": "web", "name": r"/\\xe9",
                "pid": "103", "comm": "cat", "requested_mask": "r", "denied_mask": "r",
                "fsuid": "0", "ouid": "0",
            },
        })
    );
    let text = shown(&node, log.concat().as_bytes());
    for line in [
        "Not seen: 1 lines that mention AppArmor but could not be read (they are cut, or not as the \
         kernel writes them).\n",
        "Not seen: 1 records of AppArmor with an unknown verdict, or without one.\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let nothing = shown(&node, b"usb 1-1: new device\n");
    assert!(
        nothing.starts_with("No denials found in /run/log.\nWhat an explicit deny rule"),
        "{nothing}"
    );
    assert_eq!(nothing.lines().count(), 2);
}

#[test]
fn what_no_rule_allows_is_explained() {
    let Some(node) = node() else { return };
    let disconnected = "info=\"Failed name lookup - disconnected path\" error=-13 ";
    let privileges = "info=\"no new privs\" error=-1 ";
    let log = event("a", "\"run/x\"", disconnected) + &event("b", "\"/bin/x\"", privileges);
    let (events, _) = listed(&node, log.as_bytes());
    assert_eq!(events[0]["info"], "Failed name lookup - disconnected path");
    assert_eq!(events[1]["error"], -1);
    let text = shown(&node, log.as_bytes());
    for part in [
        "the kernel says: Failed name lookup - disconnected path (error -13)",
        "flag attach_disconnected",
        "the kernel says: no new privs (error -1)",
        "(no_new_privs)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_noisy_profile_hides_no_quiet_one() {
    let Some(node) = node() else { return };
    let long = "x".repeat(4000);
    let noisy = (0..400).map(|n| event("noisy", &format!("\"/{n}/{long}\""), ""));
    let log = noisy.collect::<String>() + &event("quiet", "\"/etc/shadow\"", "");
    let (events, _) = listed(&node, log.as_bytes());
    assert_eq!(events.len(), 401, "as JSON, none is left out");
    let text = shown(&node, log.as_bytes());
    let kept = text.lines().filter(|l| l.starts_with("noisy ")).count();
    assert!(text.contains("quiet "));
    let left_out = 400 - kept;
    assert!(left_out > 0 && kept > 100);
    let line = format!("More events of noisy, of too many kinds to be shown: {left_out}.\n");
    assert!(text.ends_with(&line), "{}", text.lines().last().unwrap());
}

#[test]
fn the_rest_of_a_long_line_is_not_a_line() {
    let Some(node) = node() else { return };
    // Where the reader cuts a line, the rest of it looks like an event.
    for length in [16 << 10, 32 << 10] {
        let log = "x".repeat(length) + &event("forged", "\"/x\"", "") + &event("web", "\"/y\"", "");
        let (events, _) = listed(&node, log.as_bytes());
        let profiles: Vec<&Value> = events.iter().map(|event| &event["profile"]).collect();
        assert_eq!(profiles, ["web"]);
    }
}

#[test]
fn only_what_is_wanted() {
    let Some(node) = node() else { return };
    let of =
        |time: &str, profile: &str| event(profile, "\"/x\"", "").replace("1795342738.894", time);
    let log = of("1795342738.894", "web")
        + &of("1795342740.000", "web//child")
        + &of("1795342741.000", "web2")
        + "Nov 22 10:00:00 node audit[1]: AVC apparmor=\"DENIED\" operation=\"open\" profile=\"web\" name=\"/x\" pid=1 \
           comm=\"c\"\n";
    node.write(LOG, log.as_bytes());
    let shown = |words: &[&str]| {
        let outcome = denials(&node, &[words, &["--json", LOG]].concat(), b"");
        let lines = outcome.stdout.lines();
        let all = lines.map(|l| serde_json::from_str::<Value>(l).unwrap());
        let (end, events): (Vec<Value>, Vec<Value>) = all.partition(|one| one["kind"] == "end");
        let serials = events
            .iter()
            .map(|event| event["profile"].as_str().unwrap().to_owned());
        (
            serials.collect::<Vec<_>>().join(" "),
            end[0]["gaps"]["undated"].clone(),
        )
    };
    for (words, profiles, undated) in [
        (&[][..], "web web//child web2 web", 0),
        (&["--profile", "web"], "web web//child web", 0),
        (&["--since", "@1795342740"], "web//child web2", 1),
        (&["--since", "2026-11-22T10:19:01Z"], "web2", 1),
    ] {
        let expected = (profiles.to_owned(), json!(undated));
        assert_eq!(shown(words), expected, "{words:?}");
    }
    for (words, code, says) in [
        (
            &["--container", "none", LOG][..],
            3,
            "there is no container none; run: oci-apparmor ps",
        ),
        (&["--pod", "none", LOG], 2, "NAMESPACE/NAME"),
        (&["--since", "yesterday", LOG], 2, "RFC 3339"),
        (
            &["--source", "netlink"],
            2,
            "netlink has only what is logged from now on; add --follow",
        ),
        (
            &["--source", "./none"],
            3,
            "cannot read ./none: it does not exist; name a file, or one of: auto, netlink,",
        ),
        (
            &["/run"],
            3,
            "cannot read /run: is a directory; name a file",
        ),
    ] {
        let outcome = denials(&node, words, b"");
        assert_eq!(outcome.code, Some(code), "{words:?}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains(says),
            "{words:?}: {}",
            outcome.stderr
        );
    }
}
