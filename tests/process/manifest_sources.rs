//! Profiles that stand in `AppArmorProfile` manifests, under whatever file name.

use crate::compiled_policy::{blob, blob_with};
use crate::create::ASKS;
use crate::node::{Node, node};

fn asks(profile: &str) -> String {
    ASKS.replace("\"p\"", &format!("\"{profile}\""))
}

fn manifest(name: &str, rest: &str) -> String {
    format!(
        "apiVersion: security-profiles-operator.x-k8s.io/v1\nkind: AppArmorProfile\n\
         metadata:\n  name: {name}\nspec:\n  {rest}\n  abstract:\n    filesystem:\n      \
         readOnlyPaths:\n      - /etc/{name}\n---\n"
    )
}

const FILE: &str = "/etc/oci-apparmor/profiles/team.yaml";

/// The profile appears when the text of its manifest is compiled.
fn compiles(node: &Node, name: &str, mode: u32) {
    node.prepare_parser(name, "-Q", &blob_with(name, mode, b""));
}

#[test]
fn profiles_of_a_manifest_are_loaded() {
    let Some(node) = node() else { return };
    node.write(
        FILE,
        manifest("one", "mode: Enforce") + &manifest("two", "state: Enabled"),
    );
    for name in ["one", "two"] {
        compiles(&node, name, 0);
        node.bundle(asks(name));
        node.done(&["create", name]);
        assert_eq!(node.loaded_blob(), blob(name));
        assert_eq!(node.record(name)["components"][0]["wanted"], "enforcing");
    }
    let compiled = node.text("/run/parser/input");
    assert!(compiled.contains("/etc/two r,"), "{compiled}");
    // The file is read anew when it changes, and only then.
    node.write(
        FILE,
        manifest("one", "mode: Enforce") + &manifest("three", "mode: Enforce"),
    );
    compiles(&node, "three", 0);
    node.bundle(asks("three"));
    node.done(&["create", "three"]);
    node.bundle(asks("four"));
    let line = node.refused(&["create", "four"]);
    assert!(
        line.contains("is not loaded, and there is no file"),
        "{line}"
    );
    // What runs is not concerned by what becomes of its manifest, and exec looks at none.
    node.write(FILE, "{");
    node.syslog();
    node.done(&["exec", "one", "sh"]);
    assert_eq!(node.syslog(), [""; 0]);
}

#[test]
fn mode_and_state_of_a_manifest_count() {
    let Some(node) = node() else { return };
    node.write(
        FILE,
        manifest("soft", "mode: Complain") + &manifest("closed", "state: Disabled"),
    );
    compiles(&node, "soft", 1);
    node.bundle(asks("soft"));
    node.done(&["create", "c2"]);
    assert_eq!(node.record("c2")["components"][0]["wanted"], "any");
    compiles(&node, "closed", 0);
    node.bundle(asks("closed"));
    let line = node.refused(&["create", "c1"]);
    assert!(
        line.contains("is disabled on this node") && line.contains("state: Disabled"),
        "{line}"
    );
}

#[test]
fn a_change_of_one_manifest_leaves_what_is_remembered_of_others() {
    let Some(node) = node() else { return };
    let other = "/etc/oci-apparmor/profiles/other.yaml";
    node.write(FILE, manifest("one", "mode: Enforce"));
    node.write(other, manifest("two", "mode: Enforce"));
    let create = |name: &str, id: &str| {
        compiles(&node, name, 0);
        node.bundle(asks(name));
        node.run(&["create", id])
    };
    // Until the files have rested, everything is read anew.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    create("one", "c1").silent_success();
    // Now one of them is known, and the other changes.
    node.write(
        other,
        manifest("two", "mode: Enforce") + &manifest("three", "mode: Enforce"),
    );
    for (name, id) in [("one", "c2"), ("two", "c3"), ("three", "c4")] {
        create(name, id).silent_success();
    }
    std::thread::sleep(std::time::Duration::from_millis(2100));
    create("three", "c5").silent_success();
    // What is kept of each is lost, and then what reads them, too.
    for entry in std::fs::read_dir(node.path("/run/oci-apparmor/profiles")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("manifest-")
        {
            std::fs::remove_file(path).unwrap();
        }
    }
    create("three", "c7").silent_success();
    // A clash is over when one of the files gives way, whichever it is.
    for (gives_way, stays) in [(FILE, other), (other, FILE)] {
        for file in [FILE, other] {
            node.write(file, manifest("both", "mode: Enforce"));
        }
        std::thread::sleep(std::time::Duration::from_millis(2100));
        let line = create("both", "c6").stderr;
        assert!(line.contains("define the same profile"), "{line}");
        node.write(gives_way, manifest("two", "mode: Enforce"));
        compiles(&node, "both", 0);
        let id = format!("c-{}", stays.len());
        create("both", &id).silent_success();
    }
    // What is loaded is not good any more when its manifest cannot be read.
    let broken = "/etc/oci-apparmor/profiles/team.yaml cannot be loaded";
    for text in ["{", "{", "["] {
        node.write(FILE, text);
        for _ in 0..2 {
            let line = create("both", "c9").stderr;
            assert!(line.contains(broken), "{line}");
            std::thread::sleep(std::time::Duration::from_millis(2100));
        }
    }
}

#[test]
fn manifests_that_cannot_be_rendered_are_refused() {
    let Some(node) = node() else { return };
    let refused = |profile: &str, why: &str| {
        node.bundle(asks(profile));
        let line = node.create_refused(&["create", "c1"]);
        assert!(line.contains(why), "{line}");
        assert_eq!(node.loaded_blob(), b"");
    };
    // A manifest that smuggles, with its field.
    node.write(
        FILE,
        manifest("bad", "mode: Enforce").replace("/etc/bad", "/etc/bad r, /** w"),
    );
    refused("bad", "readOnlyPaths");
    // Two of one name.
    let other = "/etc/oci-apparmor/profiles/other.yml";
    node.write(FILE, manifest("same", "mode: Enforce"));
    node.write(other, manifest("same", "mode: Complain"));
    refused(
        "same",
        "other.yml and /etc/oci-apparmor/profiles/team.yaml define the same profile",
    );
    node.remove(other);
    node.source("same");
    refused(
        "same",
        "/etc/oci-apparmor/profiles/same defines the same profile",
    );
    node.remove("/etc/oci-apparmor/profiles/same");
    // A file that cannot be read any more does not fall back to what it said.
    node.write(FILE, "{");
    refused("same", "oci-apparmor: ");
    refused(
        "elsewhere",
        "cannot read /etc/oci-apparmor/profiles/team.yaml",
    );
    node.write(FILE, manifest("same", "mode: Enforce"));
    node.chmod(FILE, 0o666);
    refused("same", "not trusted");
    node.chmod(FILE, 0o644);
    compiles(&node, "same", 0);
    node.done(&["create", "c1"]);
}
