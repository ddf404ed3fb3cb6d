//! Profiles of a cluster: from a file in the spool to a container that is confined, and what the node
//! itself decides about such a profile.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::containers::*;

pub(crate) const SPOOL: &str = "/var/lib/oci-apparmor/spool";
pub(crate) const SOURCES: &str = "/var/lib/oci-apparmor/cluster-profiles";

/// The user of the agent.
pub(crate) const AGENT: u32 = 1234;

pub(crate) fn put(file: &str, text: &str) {
    let path = Path::new(SPOOL).join(file);
    fs::write(&path, text).unwrap();
    chown(&path, Some(AGENT), None).unwrap();
}

pub(crate) fn sync() -> Value {
    serde_json::from_str(&run(CLI, ["sync", "--json"]).ok()).unwrap()
}

/// State and reason of a profile, as JSON.
pub(crate) fn state(status: &Value, name: &str) -> String {
    let all = status["profiles"].as_array().unwrap();
    let found = all.iter().find(|p| p["name"] == name).unwrap();
    format!("{} {}", found["state"], found["reason"])
}

pub(crate) fn node_of_a_cluster(keys: &str) {
    let _ = fs::remove_dir_all(SPOOL);
    let _ = fs::remove_dir_all(SOURCES);
    fs::create_dir_all(SPOOL).unwrap();
    chown(SPOOL, Some(AGENT), None).unwrap();
    let text = format!("parser_timeout = 6\n[cluster]\n{keys}\n");
    fs::write(CONFIG, text).unwrap();
}

pub(crate) fn end() {
    for directory in [SPOOL, SOURCES] {
        fs::remove_dir_all(directory).unwrap();
    }
}

#[test]
fn a_container_runs_under_a_profile_that_came_from_the_cluster() {
    let _world = world();
    node_of_a_cluster("");
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
fn what_a_node_decides_about_a_profile_of_the_cluster_stays() {
    let _world = world();
    node_of_a_cluster("");
    unload("cluster-job");
    let text = profile_text("cluster-job", "")
        .replace(" file,", " /** rmixkl,")
        .replace("deny /data/** w,\n", "");
    put("cluster-job.profile", &text);
    sync();
    // A mode of the node.
    run(CLI, ["mode", "cluster-job", "complain"]).ok();
    assert_eq!(loaded("cluster-job").unwrap(), "cluster-job (complain)");
    put("cluster-job.profile", &text.replace("rmixkl", "rmixk"));
    assert_eq!(
        state(&sync(), "cluster-job"),
        "\"Loaded\" \"this node has set it to complain mode\""
    );
    assert_eq!(loaded("cluster-job").unwrap(), "cluster-job (complain)");
    run(CLI, ["mode", "cluster-job", "enforce"]).ok();
    assert_eq!(state(&sync(), "cluster-job"), "\"Loaded\" null");

    // What is learnt goes into a source of the node.
    let words = ["/bin/sh", "-c", "echo x >/data/learnt"];
    let annotation = [("oci-apparmor/profile", "cluster-job")];
    let bundle = Bundle::annotated("cluster-job", &words, &annotation);
    let bundle = bundle.path.to_str().unwrap();
    let program = wrapper("runc");
    let program = program.to_str().unwrap();
    let job = [program, "run", "--bundle", bundle, "cluster-job"];
    assert_ne!(run(job[0], &job[1..]).code, 0);
    let learn = ["learn", "cluster-job", "--apply", "--"];
    let learnt = run(CLI, [&learn[..], &job].concat());
    assert_eq!(learnt.code, 0, "{learnt:?}");
    let copy = Path::new(PROFILES).join("cluster-job");
    let undo = format!("rm {} && oci-apparmor sync", copy.display());
    for said in [
        "a changed copy that comes before /var/lib/oci-apparmor/cluster-profiles/cluster-job",
        "changes in the cluster have no effect on this node while it is there",
        &undo,
    ] {
        assert!(learnt.err.contains(said), "{said}: {learnt:?}");
    }
    for _ in 0..2 {
        let state = state(&sync(), "cluster-job");
        assert!(
            state.starts_with("\"Refused\"") && state.contains(copy.to_str().unwrap()),
            "{state}"
        );
        assert_eq!(fs::read_dir(SOURCES).unwrap().count(), 0);
        assert_eq!(run(job[0], &job[1..]).code, 0);
    }
    // As it says.
    fs::remove_file(&copy).unwrap();
    assert_eq!(state(&sync(), "cluster-job"), "\"Loaded\" null");
    assert_ne!(run(job[0], &job[1..]).code, 0);
    unload("cluster-job");
    end();
}
