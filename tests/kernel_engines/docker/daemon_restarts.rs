//! The node's life: the daemon starts anew, our programs are replaced, the machine boots again,
//! while containers run.

use super::*;

/// Ends everything of docker at once, as a power failure does; `/run` and the kernel's profiles
/// are empty then, and the disk is as it was.
fn power_off() {
    let mut daemon = DAEMON.lock().unwrap_or_else(PoisonError::into_inner);
    let script = "kill -KILL $1; \
        for cgroup in $(find /sys/fs/cgroup/docker -name cgroup.kill); do echo 1 >$cgroup; done; \
        for comm in /proc/[0-9]*/comm; do \
            case $(cat $comm) in containerd*) kill -KILL $(echo $comm | tr -dc 0-9);; esac; \
        done; sleep 1; \
        find /sys/fs/cgroup/docker -depth -type d -exec rmdir {} +; \
        awk '$2 ~ \"^/(var/lib|run)/docker/\" { print $2 }' /proc/mounts | sort -r | xargs -r umount -l; \
        rm -rf /run/docker* /run/containerd /run/oci-apparmor";
    let pid = daemon.as_ref().unwrap().id().to_string();
    run("sh", ["-c", script, "sh", &pid]).ok();
    daemon.take().unwrap().wait().unwrap();
}

#[test]
fn containers_are_confined_after_restarts_upgrades_and_reboots() {
    let _node = docker_node();
    profile("long");
    let options = [
        "-d",
        "--name=long",
        "--restart=always",
        "--security-opt=apparmor=long",
    ];
    docker_run(&options, &FOREVER).ok();
    let pid = inspect("long")["State"]["Pid"].clone();

    // The daemon is replaced, and then our programs are.
    signal_daemon("TERM");
    RUNTIMES.iter().for_each(|name| install(name));
    start_daemon();
    let container = inspect("long");
    assert_eq!(container["State"]["Pid"], pid, "it ran on");
    assert_eq!(label_of(&container), "long (enforce)");
    assert_eq!(exec("long", &CURRENT).ok(), "long (enforce)\n");
    docker(&["restart", "-t", "30", "long"]).ok();
    let container = inspect("long");
    assert_ne!(container["State"]["Pid"], pid);
    assert_eq!(label_of(&container), "long (enforce)");
    RUNTIMES.iter().for_each(|name| install(name));
    assert_eq!(exec("long", &CURRENT).ok(), "long (enforce)\n");
    assert_eq!(records().len(), 1);

    // The machine boots: nothing in /run, and the profile is not loaded.
    power_off();
    unload("long");
    assert_eq!(loaded("long"), None);
    start_daemon();
    let mut container = Value::Null;
    wait_long(|| {
        container = inspect("long");
        container["State"]["Running"] == true
    });
    assert_eq!(label_of(&container), "long (enforce)");
    assert_eq!(exec("long", &CURRENT).ok(), "long (enforce)\n");
    // Its record is lost while it runs.
    fs::remove_dir_all("/run/oci-apparmor").unwrap();
    assert_eq!(exec("long", &CURRENT).ok(), "long (enforce)\n");
    docker(&["kill", "long"]).ok();
    remove("long");
}

#[test]
fn a_container_that_fails_is_started_as_often_as_it_is_told() {
    let _node = docker_node();
    profile("again");
    let options = [
        "-d",
        "--name=again",
        "--restart=on-failure:2",
        "--security-opt=apparmor=again",
    ];
    let script = "cat /proc/self/attr/current; exit 4";
    docker_run(&options, &["sh", "-c", script]).ok();
    wait_long(|| inspect("again")["State"]["Status"] == "exited");
    let container = inspect("again");
    assert_eq!(container["RestartCount"], 2);
    assert_eq!(container["State"]["ExitCode"], 4);
    assert_eq!(
        docker(&["logs", "again"]).ok(),
        "again (enforce)\n".repeat(3)
    );
    remove("again");
}
