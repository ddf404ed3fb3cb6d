//! Pods, a machine that went down, checkpoints, and podman behind its socket.

use std::fs;

use super::*;

const POD: &str = "/var/lib/oci-apparmor-tests/pod.yaml";

fn pod(annotation: &str) {
    let container = |name: &str| {
        let program = SERVER.map(|word| serde_json::json!(word).to_string());
        format!(
            "  - name: {name}\n    image: {IMAGE}\n    command: [{}]\n",
            program.join(", ")
        )
    };
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  annotations:\n    {annotation}\n\
         spec:\n  restartPolicy: Never\n  containers:\n{}{}",
        container("one"),
        container("two")
    );
    fs::write(POD, text).unwrap();
}

#[test]
fn the_containers_of_a_pod_are_confined_and_its_infra_container_is_not() {
    let _node = node();
    // podman 4.3 without systemd forbids all devices to a pod of root's, /dev/null too.
    let call = match Release::current() {
        Release::Bookworm => without_root::podman,
        Release::Trixie => podman,
    };
    let runtime = wrapper(one_runtime());
    let play = |words: &[&str]| {
        let before = ["--runtime", text(&runtime), "kube"];
        call(&[&before[..], words, &[POD]].concat())
    };
    profile("kube");
    if Release::current() == Release::Bookworm {
        run(cli(), ["load", "kube"]).ok();
    }
    pod("oci-apparmor/profile: kube");
    play(&["play", "--network=none"]).ok();
    let infra = call(&["ps", "--all", "--quiet", "--filter=name=-infra"]).ok();
    let inspect = ["inspect", "--format={{.State.Pid}}"];
    let pids = call(&[&inspect[..], &["web-one", "web-two", infra.trim()]].concat()).ok();
    let labels: Vec<String> = pids.lines().map(label_of_pid).collect();
    assert_eq!(labels[..2], ["kube (enforce)", "kube (enforce)"]);
    assert!(!labels[2].contains("kube"), "{labels:?}");
    let exec = call(&[&["exec", "web-two"], &CURRENT[..]].concat());
    assert_eq!(exec.ok(), "kube (enforce)\n");
    play(&["down"]).ok();
    assert_eq!(records(), Vec::<std::path::PathBuf>::new());
    // podman does not tell which container of the pod is which.
    pod("container.oci-apparmor/one: kube");
    let done = play(&["play", "--network=none"]);
    assert_ne!(done.code, 0);
    for word in [
        "oci-apparmor: create of container",
        "gives no container names",
    ] {
        assert!(
            format!("{}{}", done.out, done.err).contains(word),
            "{done:?}"
        );
    }
    play(&["down"]).ok();
}

/// Its health checks must go on, although nothing tells which container its key means.
#[test]
fn a_pod_from_before_the_wrapper_takes_exec() {
    let _node = node();
    let call = match Release::current() {
        Release::Bookworm => without_root::podman,
        Release::Trixie => podman,
    };
    // podman remembers the path of a container's runtime.
    let name = one_runtime();
    let runtime = wrapper("swapped").join(name);
    let _ = fs::remove_dir_all(wrapper("swapped"));
    fs::create_dir(wrapper("swapped")).unwrap();
    std::os::unix::fs::symlink(format!("/usr/bin/{name}"), &runtime)
        .or_else(|_| std::os::unix::fs::symlink(format!("/usr/sbin/{name}"), &runtime))
        .unwrap();
    let play = |words: &[&str]| {
        let before = ["--runtime", text(&runtime), "kube"];
        call(&[&before[..], words, &[POD]].concat())
    };
    pod("container.apparmor.security.beta.kubernetes.io/one: unconfined");
    play(&["play", "--network=none"]).ok();
    let exec = |container: &str| call(&[&["exec", container], &CURRENT[..]].concat()).ok();
    let before = ["web-one", "web-two"].map(exec);
    fs::remove_file(&runtime).unwrap();
    std::os::unix::fs::symlink(wrapper(name), &runtime).unwrap();
    assert_eq!(["web-one", "web-two"].map(exec), before);
    play(&["down"]).ok();
    fs::remove_dir_all(wrapper("swapped")).unwrap();
}

/// What is left after the power was lost: the disk.
fn reboot(names: &[String; 2]) {
    let names = names.each_ref().map(String::as_str);
    for processes in inspect("{{.State.ConmonPid}} {{.State.Pid}}", &names) {
        let words = ["-c", &format!("kill -KILL {processes}")];
        run("sh", words).ok();
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    for mount in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        if mount.starts_with("/var/lib/containers/storage/") || mount.starts_with("/run/netns") {
            let _ = run("umount", ["--lazy", mount]);
        }
    }
    for directory in ["containers", "crun", "libpod", "oci-apparmor", "runc"] {
        let _ = fs::remove_dir_all(Path::new("/run").join(directory));
    }
    let _ = fs::remove_file("/dev/shm/libpod_lock");
}

#[test]
fn after_a_reboot_containers_start_confined() {
    let _node = node();
    let names = named("again");
    let _cleanup = Cleanup::of(&names);
    profile("again");
    let options = [
        "--restart=always",
        "--annotation=oci-apparmor/profile=again",
    ];
    for (runtime, name) in RUNTIMES.iter().zip(&names) {
        serve(&wrapper(runtime), &["run", "--detach"], name, &options).ok();
    }
    reboot(&names);
    unload("again");
    // What podman-restart.service runs.
    podman(&["start", "--all", "--filter", "restart-policy=always"]).ok();
    for name in &names {
        assert_eq!(label_of(name), "again (enforce)");
        assert_eq!(exec_label(name), "again (enforce)");
    }
    // The policy itself: podman starts it again when it ends.
    let before = pid_of(&names[0]);
    unload("again");
    run("kill", ["-KILL", &before]).ok();
    let running = || {
        let pid = pid_of(&names[0]);
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        pid != before && comm.is_ok_and(|comm| comm == "sh\n")
    };
    eventually(running);
    assert_eq!(label_of(&names[0]), "again (enforce)");
}

#[test]
fn a_checkpoint_is_restored_under_its_profile() {
    let _node = node();
    let able = |runtime: &&str| {
        let said = run(runtime, ["--version"]).ok();
        // runc calls the program criu, whatever it is built with.
        let able = *runtime == "runc" || said.contains("+CRIU");
        if !able {
            println!("not with {runtime}, which is built without CRIU: {said}");
        }
        able
    };
    let able: Vec<&str> = RUNTIMES.into_iter().filter(able).collect();
    let expected = match Release::current() {
        Release::Bookworm => &RUNTIMES[..1],
        Release::Trixie => &RUNTIMES,
    };
    assert_eq!(able, expected);
    let names = named("frozen");
    let _cleanup = Cleanup::of(&names);
    for runtime in able {
        let name = &format!("frozen-{runtime}");
        profile("frozen");
        let annotation = ["--annotation", "oci-apparmor/profile=frozen"];
        serve(&wrapper(runtime), &["run", "--detach"], name, &annotation).ok();
        podman(&["container", "checkpoint", name]).ok();
        assert_eq!(inspect("{{.State.Running}}", &[name]), ["false"]);
        unload("frozen");
        podman(&["container", "restore", name]).ok();
        assert_eq!(label_of(name), "frozen (enforce)");
        assert_eq!(exec_label(name), "frozen (enforce)");
        podman(&["kill", "--signal", "USR1", name]).ok();
        assert_eq!(podman(&["wait", name]).ok(), "3\n");
    }
}

#[test]
fn podman_behind_its_socket_confines_and_refuses() {
    let _node = node();
    profile("remote");
    podman(&["version"]).ok();
    let socket = "unix:///run/oci-apparmor-test.sock";
    let mut service = std::process::Command::new("podman")
        .args(["--runtime", text(&wrapper("crun"))])
        .args(["system", "service", "--time=0", socket])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually(|| Path::new("/run/oci-apparmor-test.sock").exists());
    let remote = |profile: &str| {
        let annotation = format!("oci-apparmor/profile={profile}");
        let before = ["--remote", "--url", socket, "run", "--rm", "--network=none"];
        podman(&[&before[..], &["--annotation", &annotation, IMAGE], &CURRENT].concat())
    };
    let (done, refused) = (remote("remote"), remote("nosuch"));
    service.kill().unwrap();
    service.wait().unwrap();
    assert_eq!(done.ok(), "remote (enforce)\n");
    refused.refused(&["nosuch", "create of container"]);
    assert_eq!(refused.code, 126);
}
