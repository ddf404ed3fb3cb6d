//! What is counted in `/run/oci-apparmor/counters`, and that no container depends on it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use oci_apparmor::counters::Counter;

use crate::compiled_policy::blob;
use crate::create::ASKS;
use crate::node::{Node, node};

const DIRECTORY: &str = "/run/oci-apparmor/counters";

/// Everything that was counted.
pub(crate) fn counted(node: &Node) -> BTreeMap<String, u64> {
    let Ok(entries) = fs::read_dir(node.path(DIRECTORY)) else {
        return BTreeMap::new();
    };
    let file = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, entry.metadata().unwrap().len())
    };
    entries.map(|entry| file(entry.unwrap())).collect()
}

fn expected(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts
        .iter()
        .map(|(name, n)| ((*name).to_owned(), *n))
        .collect()
}

#[test]
fn loads_are_counted_and_a_start_without_one_is_not() {
    let Some(node) = node() else { return };
    node.source("q");
    // What was written in the last two seconds is not remembered.
    std::thread::sleep(Duration::from_millis(2100));
    node.bundle(ASKS.replace("\"p\"", "\"q\""));
    node.done(&["create", "c1"]);
    let once = expected(&[("compile", 1), ("load", 1)]);
    assert_eq!(counted(&node), once);
    node.done(&["create", "c2"]);
    node.done(&["exec", "c2", "sh"]);
    node.done(&["delete", "c2"]);
    assert_eq!(counted(&node), once);
    // What was remembered is lost: the policy comes from the cache, and is loaded again, because
    // this kernel has no hashes.
    node.remove("/run/oci-apparmor/profiles");
    node.done(&["create", "c3"]);
    let again = expected(&[("compile", 1), ("load", 2), ("cache-hit", 1)]);
    assert_eq!(counted(&node), again);
    for name in ["compile", "load"] {
        let meta = fs::metadata(node.path(&format!("{DIRECTORY}/{name}"))).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&meta.permissions());
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
}

#[test]
fn refusals_and_failed_loads_are_counted_by_kind() {
    let Some(node) = node() else { return };
    node.bundle(ASKS.replace("\"p\"", "\"none\""));
    node.refused(&["create", "c1"]);
    node.refused(&["create", "c1"]);
    node.compiles("q", "-Q", &blob("other"));
    node.bundle(ASKS.replace("\"p\"", "\"q\""));
    node.refused(&["create", "c1"]);
    node.bundle(ASKS);
    node.write("/sys/module/apparmor/parameters/mode", "complain\n");
    node.refused(&["create", "c1"]);
    node.write("/etc/oci-apparmor/config.toml", "unknown = 1\n");
    node.refused(&["create", "c1"]);
    let hook = node.call_program("/run/libexec/oci-apparmor-hook", &["no-stage"]);
    assert_eq!(hook.outcome().code, Some(2));
    assert_eq!(
        counted(&node),
        expected(&[
            ("load-failure", 1),
            ("refusal-configuration", 1),
            ("refusal-kernel-off", 1),
            ("refusal-not-found", 2),
            ("refusal-policy", 1),
            ("refusal-usage", 1),
        ])
    );
    let formats = include_str!("../../docs/formats.md");
    for event in Counter::ALL {
        let name = format!("`{}`", event.file_name());
        assert!(formats.contains(&name), "{name} is not in docs/formats.md");
    }
}

/// Whatever stands in the way of a counter: the container starts, and nothing is said.
#[test]
fn no_container_depends_on_a_counter() {
    for obstacle in [
        "mkdir -p DIR && mount -t tmpfs -o ro none DIR",
        "mkdir -p -m 700 /run/oci-apparmor && : >DIR",
        "mkdir -p -m 700 /run/oci-apparmor && ln -s /nowhere DIR",
        "mkdir -p DIR/load DIR/compile && chmod -R go= /run/oci-apparmor",
        "mkdir -p DIR && mkfifo DIR/load DIR/compile && chmod -R go= /run/oci-apparmor",
        "mkdir -p DIR && mount -t tmpfs -o size=4k none DIR && { yes | head -c 9999 >DIR/x; } 2>/dev/null || :",
    ] {
        let Some(node) = node() else { return };
        node.source("q");
        node.bundle(ASKS.replace("\"p\"", "\"q\""));
        let prelude = obstacle.replace("DIR", DIRECTORY);
        let call = node.call(&["create", "c1"]).prelude(&prelude);
        let outcome = call.outcome();
        assert_eq!(
            (outcome.code, &*outcome.stderr),
            (Some(0), ""),
            "{obstacle}"
        );
        assert_eq!(node.loaded_blob(), blob("q"), "{obstacle}");
    }
}

#[test]
fn gc_starts_a_large_count_again() {
    let Some(node) = node() else { return };
    node.bundle(ASKS.replace("\"p\"", "\"none\""));
    node.refused(&["create", "c1"]);
    let gc = || {
        let call = node.call_program("/run/libexec/oci-apparmor", &["gc", "--json"]);
        let value: serde_json::Value = serde_json::from_str(&call.outcome().stdout).unwrap();
        value["counters"].clone()
    };
    assert_eq!(gc(), 0);
    assert_eq!(counted(&node), expected(&[("refusal-not-found", 1)]));
    node.write(
        &format!("{DIRECTORY}/refusal-not-found"),
        vec![b'\n'; (1 << 20) + 1],
    );
    assert_eq!(gc(), 1);
    assert_eq!(counted(&node), expected(&[("refusal-not-found", 0)]));
    node.refused(&["create", "c1"]);
    assert_eq!(counted(&node), expected(&[("refusal-not-found", 1)]));
}

/// Others than root have no counters; `metrics`, which runs as root, would not see them.
#[test]
fn in_a_user_namespace_nothing_is_counted() {
    let Some(node) = node() else { return };
    node.bundle(ASKS.replace("\"p\"", "\"none\""));
    fs::create_dir(node.path("/run/user-run")).unwrap();
    let call = node
        .call(&["create", "c1"])
        .through(&["unshare", "--user", "--map-root-user"])
        .environment(&["XDG_RUNTIME_DIR=/run/user-run"]);
    assert_eq!(call.outcome().code, Some(1));
    assert_eq!(counted(&node), BTreeMap::new());
    assert!(!node.exists("/run/user-run/oci-apparmor/counters"));
}
