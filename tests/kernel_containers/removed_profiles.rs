//! Other programs remove profiles of ours, while containers run under them.

use std::fs;
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::load_and_mode::Watch;
use crate::support::containers::*;

/// The number that every change of policy raises.
fn revision() -> String {
    let mut number = [0; 32];
    let path = "/sys/kernel/security/apparmor/revision";
    let length = fs::File::open(path).unwrap().read(&mut number).unwrap();
    String::from_utf8_lossy(&number[..length]).into_owned()
}

/// Waits until nothing changes the kernel's policy any more.
#[track_caller]
fn rests() {
    wait_for(|| {
        let before = revision();
        sleep(Duration::from_secs(4));
        revision() == before
    });
}

fn sources(names: &[&str]) {
    for entry in fs::read_dir(PROFILES).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for name in names {
        profile(name);
    }
}

#[test]
fn what_aa_remove_unknown_removes_is_loaded_again_and_its_containers_are_named() {
    let _world = world();
    sources(&["victim", "linked"]);
    let link = Path::new("/etc/apparmor.d/linked");
    symlink(Path::new(PROFILES).join("linked"), link).unwrap();
    let watch = Watch::start(&[]);
    watch.says_all(&["victim: loaded", "linked: loaded"]);
    let container = |profile: &str, id: &str| {
        let asks = [("oci-apparmor/profile", profile)];
        let bundle = Bundle::annotated(id, &["/bin/sleep", "1000"], &asks);
        Container::started("runc", &bundle, id)
    };
    let first = container("victim", "first");
    let kept = container("linked", "kept");
    rests();
    watch.said();

    let removed = run("aa-remove-unknown", [""; 0]).ok();
    assert!(removed.contains("Removing 'victim'"), "{removed}");
    watch.says_all(&[
        "victim: loaded",
        "container first runs without the profile victim, which was removed from the kernel",
    ]);
    assert_eq!(loaded("victim").unwrap(), "victim (enforce)");
    // Loading it again helps none of those that ran under it.
    assert_eq!(first.label(), "unconfined");
    let second = container("victim", "second");
    assert_eq!(second.label(), "victim (enforce)");
    // What a file in /etc/apparmor.d declares is known.
    assert_eq!(kept.label(), "linked (enforce)");

    let status = |words: &[&str]| run(CLI, [&["status"], words].concat()).ok();
    let rows: Value = serde_json::from_str(&status(&["--json", "victim", "linked"])).unwrap();
    assert_eq!(rows[0]["lost"], json!(["first"]));
    assert_eq!(rows[1]["lost"], json!([]));
    let text = status(&["victim"]);
    assert!(
        text.contains("! container first runs without it, because it was removed"),
        "{text}"
    );
    let ps = run(CLI, ["ps"]);
    assert!(
        ps.code == 5 && ps.out.contains("runs as unconfined"),
        "{ps:?}"
    );

    // It is said once, and what we load ourselves sets nothing in motion.
    rests();
    let said = watch.said();
    assert!(said.is_empty(), "{said:?}");
    drop(first);
    unload("victim");
    watch.says_all(&[
        "victim: loaded",
        "container second runs without the profile victim",
    ]);
    fs::remove_file(link).unwrap();
}

#[test]
fn a_child_that_is_removed_alone_is_loaded_again() {
    let _world = world();
    sources(&[]);
    unload("parent");
    let text = "profile parent { file, profile child { file, } }\n";
    source("parent", text);
    let watch = Watch::start(&[]);
    watch.says("parent: loaded");
    rests();
    unload("parent//child");
    watch.says("parent: reloaded: ");
    assert!(loaded("parent//child").is_some());
    rests();
    assert_eq!(watch.said(), [""; 0]);
}

/// The kernel's limit of watchers, until the test is done.
struct NoWatchers(String);

const INSTANCES: &str = "/proc/sys/fs/inotify/max_user_instances";

impl NoWatchers {
    fn left() -> Self {
        let before = fs::read_to_string(INSTANCES).unwrap();
        fs::write(INSTANCES, "0").unwrap();
        Self(before)
    }
}

impl Drop for NoWatchers {
    fn drop(&mut self) {
        fs::write(INSTANCES, self.0.trim()).unwrap();
    }
}

#[test]
fn a_node_that_cannot_watch_files_gets_its_profiles() {
    let _world = world();
    sources(&["early"]);
    unload("late");
    let name = format!("oci-apparmor-removed-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    let limit = NoWatchers::left();
    let watch = Watch::start(&["env", &format!("NOTIFY_SOCKET=@{name}")]);
    watch.says_all(&["early: loaded", "cannot watch the directories of profiles"]);
    let mut told = [0; 256];
    let length = manager.recv(&mut told).unwrap();
    assert!(told[..length].starts_with(b"READY=1\nSTATUS=1 loaded"));
    // The kernel still tells of itself.
    unload("early");
    watch.says("early: loaded");
    // And files are looked at now and then.
    let path = Path::new(PROFILES).join("late");
    fs::write(&path, profile_text("late", "")).unwrap();
    wait_for(|| loaded("late").is_some());
    watch.says("late: loaded");
    let said = watch.said();
    assert!(said.iter().all(|l| !l.contains("cannot watch")), "{said:?}");
    // As soon as there is room again, they are watched.
    drop(limit);
    sleep(Duration::from_secs(31));
    fs::remove_file(path).unwrap();
    source("soon", &profile_text("soon", ""));
    watch.says("soon: loaded");
    for name in ["late", "soon"] {
        unload(name);
    }
}
