//! Containers that share a process namespace, as with `shareProcessNamespace`, `kubectl debug
//! --target` and `--pid=container:`: each is looked at, and put down, for itself.

use std::path::Path;

use serde_json::{Value, json};

use crate::faulty_runtimes::sabotage;
use crate::support::containers::*;

/// A bundle whose processes are in the process namespace of the container `owner`.
fn joined(name: &str, args: &[&str], profile: Option<&str>, owner: &Container) -> Bundle {
    let asks = profile.map(|profile| [("oci-apparmor/profile", profile)]);
    let mut bundle = Bundle::annotated(name, args, asks.as_ref().map_or(&[], |asks| asks));
    let pid = owner.state()["pid"].as_i64().unwrap();
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "pid");
    namespaces.push(json!({"type": "pid", "path": format!("/proc/{pid}/ns/pid")}));
    bundle.write();
    bundle
}

/// The container whose process 1 is that of the namespace, with two processes.
fn owner(runtime: &str) -> Container {
    profile("owner");
    let asks = [("oci-apparmor/profile", "owner")];
    let bundle = Bundle::annotated("owner", &["/bin/sleep", "45678"], &asks);
    let owner = Container::started(runtime, &bundle, "owner");
    owner.label();
    let exec = ["exec", "--detach", "owner", "/bin/sleep", "56789"];
    run_detached(&owner.runtime, exec).ok();
    owner
}

fn lives(program: &str) -> bool {
    run("pgrep", ["-f", program]).code == 0
}

#[test]
fn killing_a_container_spares_others_in_its_pid_namespace() {
    let _world = world();
    sabotage("", "");
    let owner = owner("runc");
    profile("neighbour");
    let args = ["/bin/sh", "-c", "sleep 67890 & exec sleep 78901"];
    // A good neighbour, and one whose runtime drops the label.
    let good = joined("good", &["/bin/sleep", "89012"], Some("neighbour"), &owner);
    let good = Container::started("runc", &good, "good");
    let bundle = joined("bad", &args, Some("neighbour"), &owner);
    sabotage(
        "case $call in create) edit \"$bundle/config.json\" 'del(.process.apparmorProfile)' ;; esac",
        "",
    );
    let (bad, created) = Container::create("runc", &bundle, "bad");
    created.ok();
    bad.call("start")
        .refused(&["start of container bad", "unconfined", "killed and deleted"]);
    wait_for(|| !lives("[s]leep 67890") && !lives("[s]leep 78901"));
    assert!(!Path::new("/run/runc/bad").exists() && record_of("bad").is_none());
    for neighbour in ["[s]leep 45678", "[s]leep 56789", "[s]leep 89012"] {
        assert!(lives(neighbour), "{neighbour}");
    }
    assert_eq!(owner.state()["status"], "running");
    assert_eq!(good.label(), "neighbour (enforce)");
}

#[test]
fn ps_does_not_report_another_containers_process_as_escaped() {
    let _world = world();
    for runtime in RUNTIMES {
        let owner = owner(runtime);
        profile("neighbour");
        let sleep = ["/bin/sleep", "1000"];
        let one = joined("one", &sleep, Some("neighbour"), &owner);
        let one = Container::started(runtime, &one, "one");
        one.label();
        // It asks for nothing, so there is no record of it.
        let other = joined("other", &sleep, None, &owner);
        let other = Container::started(runtime, &other, "other");
        other.label();
        let done = run(CLI, ["ps", "--json"]);
        assert_eq!(done.code, 0, "{runtime}: {done:?}");
        let rows: Value = serde_json::from_str(&done.out).unwrap();
        let counts = rows.as_array().unwrap().iter().map(|row| {
            (
                row["id"].as_str().unwrap(),
                row["processes"].as_array().unwrap().len(),
            )
        });
        let counts: Vec<_> = counts.collect();
        assert_eq!(counts, [("one", 1), ("owner", 2)], "{runtime}: {rows}");
        // What has really lost its label is still found.
        unload("neighbour");
        let done = run(CLI, ["ps"]);
        assert_eq!(done.code, 5, "{runtime}: {done:?}");
        assert!(done.err.contains("1 process(es) run without"), "{done:?}");
    }
}
