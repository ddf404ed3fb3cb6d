//! Profiles of a cluster on a node as it is installed: the agent's user writes the spool, systemd
//! starts `oci-apparmor sync` in the sandbox of its unit, and containerd starts pods.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use crate::containerd::*;
use crate::cri_messages::*;
use crate::cri_pod::*;
use crate::support::containers::*;
use crate::systemd_boot::{beside_systemd, units};

const SPOOL: &str = "/var/lib/oci-apparmor/spool";
const SOURCES: &str = "/var/lib/oci-apparmor/cluster-profiles";
const NODE_STATUS: &str = "/var/lib/oci-apparmor/status/node.json";
const STATUS: &str = "/var/lib/oci-apparmor/status/status.json";
const METRICS: &str = "/var/lib/prometheus/node-exporter";
const PROFILE: &str = "cluster-web";

/// The user of the agent.
const AGENT: u32 = 65532;

/// Writes a file as the agent does.
fn put(file: &str, text: &str) {
    let new = Path::new(SPOOL).join(format!(".{file}.new"));
    fs::write(&new, text).unwrap();
    chown(&new, Some(AGENT), Some(AGENT)).unwrap();
    fs::rename(new, Path::new(SPOOL).join(file)).unwrap();
}

/// A node that takes profiles from a cluster, with the units of `config/systemd`.
fn node_of_a_cluster() {
    install();
    for directory in [SPOOL, SOURCES] {
        let _ = fs::remove_dir_all(directory);
    }
    for directory in [SPOOL, METRICS] {
        fs::create_dir_all(directory).unwrap();
    }
    fs::set_permissions(SPOOL, fs::Permissions::from_mode(0o750)).unwrap();
    chown(SPOOL, Some(AGENT), Some(AGENT)).unwrap();
    fs::write(CONFIG, "[cluster]\n").unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/systemd");
    let programs = installed("");
    let programs = programs.to_str().unwrap().trim_end_matches('/');
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        let text = text.replace("@BINDIR@", programs);
        fs::write(units().join(entry.file_name()), text).unwrap();
    }
    systemctl(&["daemon-reload"]);
}

#[track_caller]
fn systemctl(words: &[&str]) -> String {
    beside_systemd(&[&["systemctl"][..], words].concat()).ok()
}

/// The last result of a service, and its exit code.
fn result(service: &str) -> String {
    systemctl(&[
        "show",
        "--property=Result,ExecMainStatus",
        "--value",
        service,
    ])
}

fn status() -> Value {
    let text = fs::read(STATUS).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// What the policy of a cluster makes of a pod: the field, and a copy of it for each container.
fn annotations(containers: &[&str]) -> Map {
    let key = |name: &&str| format!("container.oci-apparmor/{name}");
    let value = format!("localhost/{PROFILE}");
    containers
        .iter()
        .map(|name| (key(name), value.clone()))
        .collect()
}

fn with_field(name: &str) -> ContainerConfig {
    let mut config = Pod::container(name, &["sleep", "infinity"]);
    let security = security(&mut config);
    security.apparmor_profile = format!("localhost/{PROFILE}");
    security.apparmor = Some(SecurityProfile {
        profile_type: LOCALHOST,
        localhost_ref: PROFILE.to_owned(),
    });
    config
}

#[test]
fn a_pod_is_confined_by_a_profile_that_came_a_moment_before() {
    let _world = world();
    let containerd = Containerd::start();
    node_of_a_cluster();
    unload(PROFILE);
    systemctl(&["enable", "--now", "oci-apparmor-sync.path"]);
    let handler = handler("runc");

    let text = profile_text(PROFILE, "");
    let started = Instant::now();
    put("cluster-web.profile", &text);
    put(".complete", "");
    let pod = Pod::run(
        &containerd.cri,
        "cluster",
        &handler,
        &annotations(&["web", "late"]),
    )
    .unwrap();
    // The kubelet tries again where the profile is not loaded yet.
    let mut tries = 0;
    let mut id = String::new();
    wait_for(|| {
        tries += 1;
        pod.create(&with_field("web")).is_ok_and(|created| {
            id = created;
            true
        })
    });
    pod.start(&id).unwrap();
    println!(
        "from the spool to a running container: {:?}, {tries} tries",
        started.elapsed()
    );
    pod.assert_confined(&id, PROFILE);
    let version = ["cat", "/proc/version"];
    assert_eq!(pod.exec(&id, &version).unwrap().exit_code, 0);

    // What runs gets a new version of its profile.
    put(
        "cluster-web.profile",
        &text.replace("deny /data", "deny /proc/version r,\ndeny /data"),
    );
    wait_for(|| pod.exec(&id, &version).unwrap().exit_code != 0);
    pod.assert_confined(&id, PROFILE);

    // A removed one stays where it is, and cannot be named by an annotation alone any more.
    fs::remove_file(Path::new(SPOOL).join("cluster-web.profile")).unwrap();
    wait_for(|| status()["removed"][0] == PROFILE);
    assert_eq!(fs::read_dir(SOURCES).unwrap().count(), 0);
    assert!(loaded(PROFILE).is_some());
    pod.assert_confined(&id, PROFILE);
    let late = pod
        .create(&Pod::container("late", &["sleep", "infinity"]))
        .unwrap();
    let refused = pod.start(&late).unwrap_err();
    for word in [
        "may not name the profile cluster-web",
        "none of the directories for containers",
    ] {
        assert!(refused.contains(word), "{refused}");
    }
    assert_eq!(result("oci-apparmor-sync.service"), "success\n0\n");
    assert_eq!(fs::metadata(SPOOL).unwrap().uid(), AGENT);
    pod.remove();
    systemctl(&["disable", "--now", "oci-apparmor-sync.path"]);
    unload(PROFILE);
}

/// Each unit that `install.sh` installs does its work under what it forbids itself.
#[test]
fn services_work_in_their_sandboxes() {
    let _world = world();
    node_of_a_cluster();
    unload(PROFILE);
    profile("of-the-node");
    put("cluster-web.profile", &profile_text(PROFILE, ""));
    let files = fs::read_dir(units()).unwrap();
    let mut files: Vec<String> = files
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .filter(|path| path.contains("/oci-apparmor-"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 9, "{files:?}");
    let words = ["--man=no", "verify"].map(str::to_owned);
    let verified = run("systemd-analyze", words.into_iter().chain(files));
    assert_eq!((verified.code, verified.err.as_str()), (0, ""));

    let start = |service: &str| {
        systemctl(&["start", service]);
        assert_eq!(result(service), "success\n0\n", "{service}");
    };
    start("oci-apparmor-sync.service");
    assert!(loaded(PROFILE).is_some());
    start("oci-apparmor-preload.service");
    assert!(loaded("of-the-node").is_some());
    start("oci-apparmor-gc.service");
    start("oci-apparmor-metrics.service");
    // What it may see is what is seen without a sandbox.
    let names = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
            .collect()
    };
    let written = fs::read_to_string(Path::new(METRICS).join("oci-apparmor.prom")).unwrap();
    let program = installed("oci-apparmor");
    let printed = beside_systemd(&[program.to_str().unwrap(), "metrics"]).ok();
    assert_eq!(names(&written), names(&printed));
    start("oci-apparmor-node-status.service");
    let read = |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap();
    let written = read(&fs::read(NODE_STATUS).unwrap());
    let words = [program.to_str().unwrap(), "node", "status", "--json"];
    let printed = read(beside_systemd(&words).ok().as_bytes());
    assert_eq!(written["kernel"]["enforcing"], true);
    for part in [
        "kernel",
        "versions",
        "engines",
        "profileCounts",
        "containers",
    ] {
        assert_eq!(written[part], printed[part], "{part}");
    }
    assert_eq!(written["denials"]["lost"], printed["denials"]["lost"]);

    systemctl(&["stop", "oci-apparmor-preload.service"]);
    for timer in [
        "oci-apparmor-gc.timer",
        "oci-apparmor-metrics.timer",
        "oci-apparmor-node-status.timer",
    ] {
        systemctl(&["start", timer]);
        assert_eq!(systemctl(&["is-active", timer]), "active\n");
        systemctl(&["stop", timer]);
    }
    for name in [PROFILE, "of-the-node"] {
        unload(name);
    }
    fs::remove_file(Path::new(PROFILES).join("of-the-node")).unwrap();
}
