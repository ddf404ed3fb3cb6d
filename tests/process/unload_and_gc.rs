//! `unload` and `gc`: what is removed, and what stays because it is in use.

use crate::create::ASKS;
use crate::node::{Node, node};

const PROGRAM: &str = "/run/libexec/oci-apparmor";

fn gc(node: &Node) -> serde_json::Value {
    let outcome = node.call_program(PROGRAM, &["gc", "--json"]).outcome();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    serde_json::from_str(&outcome.stdout).unwrap()
}

#[test]
fn gc_removes_what_is_unused_and_nothing_else() {
    let Some(node) = node() else { return };
    assert_eq!(gc(&node)["records"], 0);
    node.source("q");
    node.bundle(ASKS.replace("\"p\"", "\"q\""));
    // Of the first the runtime makes a container; of the others nothing is left.
    node.done(&["create", "kept"]);
    node.write("/run/runc/kept/state.json", "{}");
    let half = "/run/oci-apparmor/tmp/0";
    node.write(half, "half");
    assert_eq!(gc(&node)["temporary"], 0, "it may be being written");
    let written = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
    let half = std::fs::File::options().write(true).open(node.path(half));
    half.unwrap().set_modified(written).unwrap();
    node.done(&["create", "gone"]);
    node.done(&["--root", "/run/other", "create", "gone"]);
    node.remove("/run/runc/gone");
    node.remove("/run/other/gone");
    let file = node.record_file("kept");
    let newer = file.with_file_name("newer");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&newer, text.replace("\"version\":2", "\"version\":3")).unwrap();
    let replaced = node.loaded_blob();

    let tidied = gc(&node);
    assert_eq!(tidied["records"], 2, "{tidied}");
    assert_eq!(tidied["temporary"], 1, "{tidied}");
    assert_eq!(tidied["locks"], 2, "{tidied}");
    assert_eq!(tidied["cached"], 0, "{tidied}");
    assert_eq!(tidied["remembered"], 0, "{tidied}");
    assert_eq!(node.records(), ["kept", "newer"]);
    let roots = std::fs::read_dir(node.path("/run/oci-apparmor/containers")).unwrap();
    assert_eq!(roots.count(), 1);
    assert_eq!(node.loaded_blob(), replaced);
    assert!(!node.exists("/sys/kernel/security/apparmor/.remove"));

    // A profile that another program removed is forgotten, and the cache is kept small.
    let directory = node.record("kept")["components"][0]["directory"].clone();
    node.unload(directory.as_str().unwrap());
    node.settings("cache_limit = 0");
    let tidied = gc(&node);
    assert_eq!(
        (&tidied["remembered"], &tidied["cached"]),
        (&1.into(), &1.into()),
        "{tidied}"
    );
    assert_eq!(node.records(), ["kept", "newer"]);
    let formats = include_str!("../../docs/formats.md");
    for key in tidied.as_object().unwrap().keys() {
        assert!(
            formats.contains(&format!("`{key}`")),
            "{key} is not described"
        );
    }
    let said = node.call_program(PROGRAM, &["gc"]).outcome().stdout;
    assert!(
        said.starts_with("REMOVED  WHAT\n0        records of"),
        "{said}"
    );
}

/// As where an engine in a container shares the node's directories: its processes have the same
/// ids as others.
#[test]
fn files_of_another_process_namespace_are_not_taken_for_ones_own() {
    let Some(node) = node() else { return };
    node.settings("");
    node.source("q");
    node.bundle(ASKS.replace("\"p\"", "\"q\""));
    let theirs = [
        "/run/oci-apparmor/tmp/1".to_owned(),
        "/run/cache/tmp-1".to_owned(),
        format!("{}/.config.json.1", crate::node::BUNDLE),
    ];
    for file in &theirs {
        node.write(file, "half");
    }
    for directory in ["/run/cache", "/run/oci-apparmor", "/run/oci-apparmor/tmp"] {
        node.chmod(directory, 0o700);
    }
    let call = node.call(&["create", "c1"]);
    // Its process id is 1.
    let outcome = call.through(&["unshare", "--pid", "--fork"]).outcome();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(node.record("c1")["writer"], 1);
    assert_eq!(node.loaded_blob(), crate::compiled_policy::blob("q"));
    for file in &theirs {
        assert_eq!(node.text(file), "half", "{file}");
    }
    // Its own ones are gone.
    for directory in ["/run/oci-apparmor/tmp", "/run/cache"] {
        let names = std::fs::read_dir(node.path(directory)).unwrap();
        let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
        assert!(
            !names
                .into_iter()
                .any(|n| n.contains('-') && n.ends_with("-1") && n != "tmp-1")
        );
    }
}

#[test]
fn a_profile_in_use_is_not_unloaded() {
    let Some(node) = node() else { return };
    let remove = "/sys/kernel/security/apparmor/.remove";
    node.write(remove, "");
    let unload = |name: &str| node.call_program(PROGRAM, &["unload", name]).outcome();
    let refused = |name: &str, code: i32, why: &str| {
        let outcome = unload(name);
        assert_eq!(outcome.code, Some(code), "{outcome:?}");
        assert!(outcome.stderr.contains(why), "{outcome:?}");
        assert_eq!(node.text(remove), "");
    };
    refused("nosuch", 3, "the profile nosuch is not loaded");
    refused("unconf", 5, "is refused");
    refused("p//child", 5, "is unloaded together with its parent");

    // A container waits for its start; then its runtime's state cannot be read.
    node.settings("floor = 'f'");
    node.load("f", "enforce");
    node.bundle(ASKS);
    node.done(&["create", "c1"]);
    node.write("/run/runc/c1/state.json", "{}");
    for name in ["p", "f"] {
        refused(name, 5, "container c1 (unknown)");
    }
    let own = std::process::id();
    let state =
        format!(r#"{{"config":{{"labels":["bundle=/run/bundle"]}},"init_process_pid":{own}}}"#);
    node.write("/run/runc/c1/state.json", &state);
    refused("p", 5, "container c1 (running)");
    node.write("/run/runc/c1/exec.fifo", "");
    refused("p", 5, "container c1 (created)");
    // It is still being made.
    node.remove("/run/runc/c1");
    let file = node.record_file("c1");
    let text = std::fs::read_to_string(&file).unwrap();
    let writer = node.record("c1")["writer"].to_string();
    let mine = text.replace(
        &format!("\"writer\":{writer}"),
        &format!("\"writer\":{own}"),
    );
    std::fs::write(&file, &mine).unwrap();
    refused("p", 5, "container c1 (being made)");
    // It has a state already, and no process yet.
    node.write(
        "/run/runc/c1/state.json",
        r#"{"config":{"labels":["bundle=/run/bundle"]}}"#,
    );
    refused("p", 5, "container c1 (being made)");
    node.remove("/run/runc/c1");
    std::fs::write(&file, &text).unwrap();

    // Gone: it may go. The kernel of this test does not obey, which is noticed.
    let outcome = unload("p");
    assert_eq!(node.text(remove), "p");
    assert_eq!(outcome.code, Some(8), "{outcome:?}");
    assert!(
        outcome.stderr.contains("another program loaded it again"),
        "{outcome:?}"
    );
}
