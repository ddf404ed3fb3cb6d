//! `node status`: a container under its profile, and what AppArmor denied it.

use std::fs;

use serde_json::Value;

use crate::support::containers::*;

#[test]
fn the_status_of_the_node_counts_containers_and_denials() {
    let _world = world();
    source(
        "told",
        &profile_text("told", "").replace("\n}", "\n  audit deny /etc/hostname r,\n}"),
    );
    let bundle = Bundle::annotated(
        "told",
        &["/bin/sleep", "1000"],
        &[("oci-apparmor/profile", "told")],
    );
    fs::create_dir_all(rootfs().join("etc")).unwrap();
    fs::write(rootfs().join("etc/hostname"), "h\n").unwrap();
    let container = Container::started("runc", &bundle, "told");
    assert_ne!(container.exec(&["/bin/cat", "/etc/hostname"]).code, 0);
    let status: Value = serde_json::from_str(&run(CLI, ["node", "status", "--json"]).ok()).unwrap();
    assert_eq!(status["kernel"]["enforcing"], true, "{status}");
    assert!(
        status["kernel"]["parser"]
            .as_str()
            .unwrap()
            .starts_with(|c: char| c.is_ascii_digit())
    );
    assert_eq!(status["containers"]["confined"], 1, "{status}");
    assert_eq!(status["containers"]["wrong"], 0, "{status}");
    let profiles = status["profiles"].as_array().unwrap();
    let told = profiles.iter().find(|p| p["name"] == "told").unwrap();
    assert_eq!(
        (&told["state"], &told["reason"]),
        (&"Loaded".into(), &Value::Null)
    );
    let by_profile = status["denials"]["byProfile"].as_array().unwrap();
    let denied = by_profile.iter().find(|d| d["profile"] == "told");
    assert!(
        denied.is_some_and(|d| d["count"].as_u64() >= Some(1)),
        "{status}"
    );
    drop(container);
    unload("told");
}
