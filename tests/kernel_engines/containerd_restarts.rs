//! Pods that live through restarts of containerd, upgrades of our programs, and reboots.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::containerd::*;
use crate::containerd_pods::{PROFILE, pod, sources};
use crate::cri_messages::*;
use crate::cri_pod::*;
use crate::support::containers::*;

/// A container that ends with 7 when it is asked to.
const ENDS: [&str; 3] = ["sh", "-c", "trap 'exit 7' TERM; sleep 1000 & wait"];

#[test]
fn containers_survive_a_restart_of_containerd_and_an_upgrade_of_our_programs() {
    let _world = world();
    sources();
    let mut containerd = Containerd::start();
    let example = pod("pod-annotation", 36);
    let before = RUNTIMES.map(|runtime| {
        let pod = Pod::run(
            &containerd.cri,
            runtime,
            &handler(runtime),
            &example.annotations,
        );
        let pod = pod.unwrap();
        let asked = pod.started(&Pod::container("asked", &ENDS));
        let killed = pod.started(&Pod::container("killed", &["sleep", "infinity"]));
        let created = pod.create(&Pod::container("created", &ENDS)).unwrap();
        (pod.config.clone(), pod.forget(), [asked, killed, created])
    });

    drop(containerd);
    let inode = || {
        fs::metadata(installed("oci-apparmor-runtime"))
            .unwrap()
            .ino()
    };
    let old = inode();
    install();
    assert_ne!(inode(), old);
    containerd = Containerd::start_with(WIRING);

    for (config, id, [asked, killed, created]) in before {
        let pod = Pod::known(&containerd.cri, (config, id));
        assert_eq!(pod.status(&asked).state, RUNNING);
        pod.assert_confined(&asked, PROFILE);
        let exec = pod.streamed(&asked, &["cat", "/proc/self/attr/current"], false, "");
        assert_eq!(exec.stdout, format!("{PROFILE} (enforce)\n"), "{exec:?}");
        pod.stop(&asked, 20).unwrap();
        assert_eq!(pod.status(&asked).exit_code, 7);
        pod.remove_container(&asked);
        pod.start(&created).unwrap();
        pod.assert_confined(&created, PROFILE);
        let new = pod.started(&Pod::container("new", &["sleep", "infinity"]));
        pod.assert_confined(&new, PROFILE);
        pod.end(&killed);
        pod.remove();
    }
    assert_eq!(records(), Vec::<PathBuf>::new());
}

/// Ends a container as a reboot does: without any cleanup.
fn end_with_the_power(id: &str) {
    let file = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/init.pid");
    let pid = fs::read_to_string(file).unwrap();
    // It may be ending already.
    let end = |pid: &str| {
        run("kill", ["-9", pid]);
        wait_for(|| !Path::new(&format!("/proc/{pid}/exe")).exists());
    };
    // The shim first, which would otherwise report it; the pod's containers share one.
    if let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) {
        let parent = status.lines().find_map(|l| l.strip_prefix("PPid:\t"));
        if parent != Some("1") {
            end(parent.unwrap());
        }
    }
    end(&pid);
}

/// What a reboot takes from a node: mounts, what is below /run, and what was loaded.
fn forget_all() {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|p| p.starts_with("/run/containerd/")) {
        run("umount", ["-l", point]).ok();
    }
    for directory in ["containerd", "oci-apparmor", "runc", "crun"] {
        let _ = fs::remove_dir_all(Path::new("/run").join(directory));
    }
    let list = fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap();
    for line in list.lines().filter(|line| !line.contains("//")) {
        unload(line.rsplit_once(" (").unwrap().0);
    }
    let left = fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap();
    assert_eq!(left, "");
}

#[test]
fn after_a_reboot_pods_are_made_again_under_their_profiles() {
    let _world = world();
    sources();
    let mut containerd = Containerd::start();
    let example = pod("field-and-annotation", 36);
    let container = Pod::of_example(&example.containers[0], Told::Both);
    let run = |containerd: &Containerd, runtime: &str| {
        let pod = Pod::run(
            &containerd.cri,
            runtime,
            &handler(runtime),
            &example.annotations,
        );
        let pod = pod.unwrap();
        let id = pod.started(&container);
        pod.assert_confined(&id, PROFILE);
        (pod.config.clone(), pod.forget(), id)
    };
    let before = RUNTIMES.map(|runtime| run(&containerd, runtime));
    drop(containerd);
    for (_, pod, container) in &before {
        end_with_the_power(container);
        end_with_the_power(pod);
    }
    forget_all();

    label_runtimes();
    containerd = Containerd::start_with(WIRING);
    for (config, pod, container) in before {
        // The kubelet takes away what is left of the pod, and makes it again.
        let pod = Pod::known(&containerd.cri, (config, pod));
        assert_ne!(pod.status(&container).state, RUNNING);
        pod.remove();
    }
    assert_eq!(loaded(PROFILE), None);
    for runtime in RUNTIMES {
        let (config, pod, _) = run(&containerd, runtime);
        Pod::known(&containerd.cri, (config, pod)).remove();
    }
}
