//! Profiles of a cluster: from a file in the spool to a container that is confined, and texts that
//! try to be more than the profile of a container.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::containers::*;

const SPOOL: &str = "/var/lib/oci-apparmor/spool";
const SOURCES: &str = "/var/lib/oci-apparmor/cluster-profiles";

/// The user of the agent.
const AGENT: u32 = 1234;

fn put(file: &str, text: &str) {
    let path = Path::new(SPOOL).join(file);
    fs::write(&path, text).unwrap();
    chown(&path, Some(AGENT), None).unwrap();
}

fn sync() -> Value {
    serde_json::from_str(&run(CLI, ["sync", "--json"]).ok()).unwrap()
}

/// State and reason of a profile.
fn state(status: &Value, name: &str) -> String {
    let all = status["profiles"].as_array().unwrap();
    let found = all.iter().find(|p| p["name"] == name).unwrap();
    format!("{} {}", found["state"], found["reason"])
}

fn node_of_a_cluster() {
    let _ = fs::remove_dir_all(SPOOL);
    let _ = fs::remove_dir_all(SOURCES);
    fs::create_dir_all(SPOOL).unwrap();
    chown(SPOOL, Some(AGENT), None).unwrap();
    fs::write(CONFIG, "parser_timeout = 6\n[cluster]\n").unwrap();
}

fn end() {
    for directory in [SPOOL, SOURCES] {
        fs::remove_dir_all(directory).unwrap();
    }
}

#[test]
fn a_container_runs_under_a_profile_that_came_from_the_cluster() {
    let _world = world();
    node_of_a_cluster();
    unload("cluster-web");
    put("cluster-web.profile", &profile_text("cluster-web", ""));
    let started = Instant::now();
    let status = sync();
    assert_eq!(state(&status, "cluster-web"), "\"Loaded\" null");
    let words = ["/bin/sh", "-c", "cat /proc/self/attr/current"];
    let bundle = Bundle::annotated(
        "cluster",
        &words,
        &[("oci-apparmor/profile", "cluster-web")],
    );
    let ran = |runtime| {
        let words = ["run", "--bundle", bundle.path.to_str().unwrap(), "cluster"];
        run(wrapper(runtime), words)
    };
    assert_eq!(ran("runc").ok(), "cluster-web (enforce)\n");
    // The limit of a node without emulation is 2 s.
    let took = started.elapsed();
    println!("from the spool to the end of a container: {took:?}");
    assert!(took < Duration::from_secs(15), "{took:?}");
    // A new version is loaded in place, also if only a container start finds it.
    let changed =
        profile_text("cluster-web", "").replace("deny /data", "deny /proc/** r,\ndeny /data");
    put("cluster-web.profile", &changed);
    sync();
    assert_eq!(ran("runc").out, "");
    unload("cluster-web");
    load(&profile_text("cluster-web", ""));
    assert_eq!(ran("runc").out, "");
    // Unless the administrator wants to look at it before.
    fs::write(CONFIG, "on_drift = \"refuse\"\n[cluster]\n").unwrap();
    put("cluster-web.profile", &profile_text("cluster-web", ""));
    let state = state(&sync(), "cluster-web");
    assert!(
        state.starts_with("\"Drift\"") && state.contains("run: oci-apparmor load cluster-web"),
        "{state}"
    );
    assert_eq!(ran("runc").out, "");
    run(CLI, ["load", "cluster-web"]).ok();
    assert_eq!(ran("runc").ok(), "cluster-web (enforce)\n");
    // It stays in the kernel when its object is gone, and cannot be named any more.
    fs::remove_file(Path::new(SPOOL).join("cluster-web.profile")).unwrap();
    put(".complete", "");
    assert_eq!(sync()["removed"][0], "cluster-web");
    assert!(loaded("cluster-web").is_some());
    // Without the label of the last run, which would count as the engine's choice.
    bundle.write();
    ran("runc").refused(&["may not name the profile cluster-web"]);
    unload("cluster-web");
    end();
}

#[test]
fn texts_of_a_cluster_confine_nothing_but_containers() {
    let _world = world();
    node_of_a_cluster();
    let rules = "{\n file,\n}\n";
    load(&profile_text("cluster-victim", ""));
    let before = loaded_profiles();
    let shadow = "include \"/etc/shadow\"";
    let slow = format!("/**a{}b r,", "?".repeat(40));
    let texts = [
        (
            "attached",
            format!("profile cluster-attached /usr/bin/sleep {rules}"),
            "attaches",
        ),
        (
            "path",
            format!("/usr/bin/sleep {rules}"),
            "it declares the profile",
        ),
        (
            "victim2",
            format!("profile cluster-victim {rules}"),
            "it declares the profile",
        ),
        (
            "second",
            format!("profile cluster-second {rules}profile cluster-victim {rules}"),
            "it declares the profile \\\"cluster-victim\\\"",
        ),
        (
            "variable",
            format!("@{{n}}=cluster-victim\nprofile @{{n}} {rules}"),
            "it declares",
        ),
        (
            "several",
            format!("profile {{cluster-several,cluster-victim}} {rules}"),
            "declare",
        ),
        (
            "namespace",
            format!("profile :other:cluster-namespace {rules}"),
            "namespace",
        ),
        (
            "complain",
            format!("profile cluster-complain flags=(complain) {rules}"),
            "must enforce",
        ),
        (
            "reads",
            format!("{shadow}\nprofile cluster-reads {rules}"),
            "may not include",
        ),
        (
            "inside",
            format!("profile cluster-inside {{ file, #{shadow}\n}}\n"),
            "may not include",
        ),
        (
            "folded",
            "profile cluster-folded {\n file,\n include\\\n \"/etc/shadow\"\n}\n".to_owned(),
            "",
        ),
        (
            "host",
            format!("include <usr.sbin.sshd>\nprofile cluster-host {rules}"),
            "may not include",
        ),
        (
            "broken",
            "profile cluster-broken {".to_owned(),
            "apparmor_parser",
        ),
        ("slow", format!("profile cluster-slow {{\n{slow}\n}}\n"), ""),
    ];
    for (name, text, _) in &texts {
        put(&format!("cluster-{name}.profile"), text);
    }
    let good = profile_text("cluster-zebra", "");
    put("cluster-zebra.profile", &good);
    let status = sync();
    assert_eq!(state(&status, "cluster-zebra"), "\"Loaded\" null");
    for (name, _, why) in &texts {
        let state = state(&status, &format!("cluster-{name}"));
        println!("{name}: {state}");
        assert!(
            state.starts_with("\"Refused\"") && state.contains(why),
            "{name}: {state}"
        );
        assert!(!state.contains("root:"), "{state}");
    }
    unload("cluster-zebra");
    assert_eq!(loaded_profiles(), before);
    let sources: Vec<_> = fs::read_dir(SOURCES).unwrap().collect();
    assert_eq!(sources.len(), 1);
    unload("cluster-victim");
    end();
}

/// The kernel's list, sorted.
fn loaded_profiles() -> Vec<String> {
    let list = fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap();
    let mut names: Vec<String> = list.lines().map(str::to_owned).collect();
    names.sort();
    names
}
