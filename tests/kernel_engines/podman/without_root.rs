//! podman without root: what is loaded is used, and the rest is asked for.

use std::fs;
use std::io::Write;

use super::*;

const HOME: &str = "/home/oci-apparmor-user";

/// podman of that user.
pub(super) fn podman(words: &[&str]) -> Done {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        user();
        as_user(&["import", &format!("{HOME}/image"), IMAGE]).ok();
    });
    as_user(words)
}

/// A user with subordinate ids, as adduser makes one, and with a login session's directory.
fn user() {
    for (file, line) in [
        (
            "/etc/passwd",
            &*format!("oci-apparmor-user:x:4321:4321::{HOME}:/bin/sh\n"),
        ),
        ("/etc/group", "oci-apparmor-user:x:4321:\n"),
        ("/etc/subuid", "oci-apparmor-user:200000:65536\n"),
        ("/etc/subgid", "oci-apparmor-user:200000:65536\n"),
    ] {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(file)
            .unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
    let script = format!(
        "install -d -m 755 /run/user && install -d -o 4321 -g 4321 -m 700 /run/user/4321 {HOME} &&
         mount -t tmpfs -o mode=700,uid=4321,gid=4321 home {HOME} && mount --make-rshared / &&
         tar -C {} -c . >{HOME}/image && chmod 644 {HOME}/image",
        rootfs().display()
    );
    run("sh", ["-c", &script]).ok();
}

fn as_user(words: &[&str]) -> Done {
    let before = [
        "--reuid=4321",
        "--regid=4321",
        "--clear-groups",
        "env",
        "--chdir=/",
        "--ignore-environment",
        "PATH=/usr/bin:/bin:/usr/sbin:/sbin",
        &format!("HOME={HOME}"),
        "XDG_RUNTIME_DIR=/run/user/4321",
        "podman",
    ];
    run_detached("setpriv".as_ref(), [&before, words].concat())
}

#[test]
fn a_user_gets_a_loaded_profile_and_is_told_of_a_missing_one() {
    let _node = node();
    for runtime in RUNTIMES {
        profile("users");
        let with =
            |words: &[&str]| podman(&[&["--runtime", text(&wrapper(runtime))], words].concat());
        let annotation = ["--annotation", "oci-apparmor/profile=users"];
        let before = ["run", "--rm", "--network=none"];
        let ours = with(&[&before[..], &[IMAGE], &CURRENT].concat());
        let theirs = [&["--runtime", runtime], &before[..], &[IMAGE], &CURRENT].concat();
        assert_eq!(ours.ok(), podman(&theirs).ok());

        let refused = with(&[&before[..], &annotation, &[IMAGE], &CURRENT].concat());
        refused.refused(&["users is not loaded", "oci-apparmor load users"]);
        assert_eq!(refused.code, 126);
        // podman without root knows no profiles.
        let option = ["--security-opt", "apparmor=users"];
        let done = with(&[&before[..], &option, &[IMAGE], &CURRENT].concat());
        assert!(done.err.contains("is not enabled"), "{done:?}");

        run(cli(), ["load", "users"]).ok();
        let detached = ["run", "--detach", "--network=none", "--name=mine"];
        with(&[&detached[..], &annotation, &[IMAGE], &SERVER].concat()).ok();
        let pid = podman(&["inspect", "--format={{.State.Pid}}", "mine"]).ok();
        assert_eq!(label_of_pid(pid.trim()), "users (enforce)");
        let exec = [&["exec", "mine"], &CURRENT[..]].concat();
        assert_eq!(podman(&exec).ok(), "users (enforce)\n");
        podman(&["stop", "--time=5", "mine"]).ok();
        podman(&["start", "mine"]).ok();
        assert_eq!(podman(&exec).ok(), "users (enforce)\n");
        podman(&["rm", "--force", "--time=5", "mine"]).ok();
        let left = ["/run/user/4321/oci-apparmor/containers", "-type", "f"];
        assert_eq!(run("find", left).ok(), "");
    }
}
