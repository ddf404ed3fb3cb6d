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
    assert_eq!(piped.stdout, outcome.stdout);
    outcome.stdout
}

#[track_caller]
fn listed(node: &Node, log: &[u8]) -> Value {
    node.write(LOG, log);
    let outcome = denials(node, &["--json", LOG], b"");
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
    serde_json::from_str(&outcome.stdout).unwrap()
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
    let all = listed(&node, log.concat().as_bytes());
    let names: Vec<(&Value, &Value)> = all["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (&event["object"], &event["count"]))
        .collect();
    assert_eq!(
        names,
        [
            (&json!(r"/\\xe9"), &json!(1)),
            (&json!(r"/\xe9"), &json!(2)),
            (&json!("/\u{e9}"), &json!(1))
        ]
    );
    assert_eq!(
        all["unread"],
        json!({ "malformed": 1, "unknown_verdict": 1 })
    );
    assert_eq!(
        (&all["left_out"], &all["left_out_by_profile"]),
        (&json!(0), &json!({}))
    );
    assert_eq!(
        all["events"][0],
        json!({
            "profile": "web", "verdict": "denied", "operation": "open", "object": r"/\\xe9",
            "denied": "r", "info": null, "error": null, "count": 1,
            "last": "1795342738.894:7", "comm": "cat", "containers": [],
        })
    );
    let text = shown(&node, log.concat().as_bytes());
    for line in [
        "Lines that mention AppArmor but could not be read: 1 (they are cut, or not as the kernel \
         writes them).\n",
        "Records of AppArmor with an unknown verdict, or without one: 1.\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let nothing = shown(&node, b"usb 1-1: new device\n");
    assert!(
        nothing.starts_with("No events found. What an explicit deny"),
        "{nothing}"
    );
    assert_eq!(nothing.lines().count(), 1);
}

#[test]
fn what_no_rule_allows_is_explained() {
    let Some(node) = node() else { return };
    let disconnected = "info=\"Failed name lookup - disconnected path\" error=-13 ";
    let privileges = "info=\"no new privs\" error=-1 ";
    let log = event("a", "\"run/x\"", disconnected) + &event("b", "\"/bin/x\"", privileges);
    let all = listed(&node, log.as_bytes());
    assert_eq!(
        all["events"][0]["info"],
        "Failed name lookup - disconnected path"
    );
    assert_eq!(all["events"][1]["error"], -1);
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
    let all = listed(&node, log.as_bytes());
    let profiles = all["events"].as_array().unwrap().iter();
    assert!(profiles.clone().any(|event| event["profile"] == "quiet"));
    let kept = profiles.filter(|event| event["profile"] == "noisy").count();
    let left_out = 400 - kept;
    assert!(left_out > 0);
    assert_eq!(all["left_out_by_profile"], json!({ "noisy": left_out }));
    let text = shown(&node, log.as_bytes());
    let line = format!("More events of noisy, of too many kinds to be shown: {left_out}.\n");
    assert!(text.ends_with(&line), "{}", text.lines().last().unwrap());
}

#[test]
fn the_rest_of_a_long_line_is_not_a_line() {
    let Some(node) = node() else { return };
    // Where the reader cuts a line, the rest of it looks like an event.
    for length in [16 << 10, 32 << 10] {
        let log = "x".repeat(length) + &event("forged", "\"/x\"", "") + &event("web", "\"/y\"", "");
        let all = listed(&node, log.as_bytes());
        let profiles: Vec<&Value> = all["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| &event["profile"])
            .collect();
        assert_eq!(profiles, ["web"]);
    }
}
