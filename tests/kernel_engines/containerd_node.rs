//! A node that `node install` has installed: a pod is confined, stays so through an upgrade of the
//! programs, and keeps them from being uninstalled.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::containerd::*;
use crate::containerd_pods::{PROFILE, pod, sources};
use crate::cri_client::Cri;
use crate::cri_messages::*;
use crate::cri_pod::*;
use crate::support::containers::*;

const FILE: &str = "/etc/containerd/config.toml";
const INSTALLED: &str = "/usr/local/bin/oci-apparmor-runtime";

/// containerd with the node's file, and something that starts it again, as systemd does.
struct Supervised {
    shell: Child,
    stop: PathBuf,
}

impl Supervised {
    fn start() -> Self {
        let stop = Path::new(BASE).join("stop");
        let _ = fs::remove_file(&stop);
        let script =
            "until [ -e \"$0\" ]; do containerd >>/run/containerd.log 2>&1; sleep 0.2; done";
        let shell = Command::new("sh")
            .args(["-c", script])
            .arg(&stop)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { shell, stop }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = File::create(&self.stop);
        run("pkill", ["-P".to_owned(), self.shell.id().to_string()]);
        let _ = self.shell.wait();
    }
}

/// A release beside the installed programs; returns its command.
fn release() -> PathBuf {
    let directory = Path::new(BASE).join("release");
    fs::create_dir_all(&directory).unwrap();
    for program in [CLI, RUNTIME, HOOK] {
        let name = Path::new(program).file_name().unwrap();
        fs::copy(program, directory.join(name)).unwrap();
    }
    directory.join("oci-apparmor")
}

#[test]
fn a_node_is_installed_upgraded_and_uninstalled_around_a_pod() {
    let _world = world();
    sources();
    // It makes the images.
    drop(Containerd::start());
    let before = fs::read(FILE).ok();
    fs::create_dir_all("/etc/containerd").unwrap();
    let section = "plugins.\"io.containerd.grpc.v1.cri\"";
    let text = format!("version = 2\n[{section}]\n  sandbox_image = \"{PAUSE}\"\n");
    fs::write(FILE, &text).unwrap();
    let supervised = Supervised::start();
    let cri = Cri::new(SOCKET);
    let answers = || cri.call::<Version>("Version", &Empty {}).is_ok();
    wait_for(answers);

    let node = release();
    let said = run(&node, ["node", "install", "--restart=signal"]).ok();
    assert!(said.contains("serves the handler oci-apparmor"), "{said}");
    let example = pod("pod-annotation", 36);
    let pod = Pod::run(&cri, "installed", OURS, &example.annotations).unwrap();
    let id = pod.started(&Pod::container("app", &["sleep", "infinity"]));
    pod.assert_confined(&id, PROFILE);

    // Another build of the wrapper.
    let runtime = node.with_file_name("oci-apparmor-runtime");
    File::options()
        .append(true)
        .open(runtime)
        .unwrap()
        .write_all(b"\n")
        .unwrap();
    let said = run(&node, ["node", "install", "--restart=signal"]).ok();
    assert!(said.contains(&format!("installed {INSTALLED}")), "{said}");
    let label = pod.said(&id, &["cat", "/proc/self/attr/current"]);
    assert_eq!(label.trim(), format!("{PROFILE} (enforce)"));

    let refused = run(&node, ["node", "uninstall", "--restart=signal"]);
    assert_eq!(refused.code, 75, "{refused:?}");
    assert!(
        refused.err.contains(&id) && refused.err.contains("delete their pods"),
        "{refused:?}"
    );
    pod.assert_confined(&id, PROFILE);
    pod.end(&id);
    pod.remove();
    run(&node, ["node", "uninstall", "--restart=signal"]).ok();
    wait_for(answers);
    assert!(!Path::new(INSTALLED).exists());
    assert_eq!(fs::read_to_string(FILE).unwrap(), text);
    assert!(Pod::run(&cri, "late", OURS, &example.annotations).is_err());

    drop(supervised);
    match before {
        Some(before) => fs::write(FILE, before).unwrap(),
        None => fs::remove_file(FILE).unwrap(),
    }
}
