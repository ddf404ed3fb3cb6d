//! containerd as Kubernetes uses it: through its container runtime interface.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::cri_client::*;
use crate::cri_messages::*;
use crate::support::containers::*;

pub(crate) const BASE: &str = "/var/lib/oci-apparmor-tests";
pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";
/// The image of the examples, and the one of sandboxes; both are made here.
pub(crate) const IMAGE: &str = "docker.io/library/busybox:1.36";
pub(crate) const PAUSE: &str = "localhost/pause:1";

/// The runtime of the examples' `RuntimeClass`, and what to compare it with.
pub(crate) const OURS: &str = "oci-apparmor";
/// The wrapper, in a configuration that does not pass the pods' annotations on.
pub(crate) const LATE: &str = "late";

/// Where the wrapper is installed for these tests: a file of its own, which can be replaced.
pub(crate) fn installed(name: &str) -> PathBuf {
    Path::new(BASE).join("installed").join(name)
}

/// Puts the programs there, by a rename over what may be in use, as package managers do.
pub(crate) fn install() {
    fs::create_dir_all(installed("")).unwrap();
    for (name, program) in [("oci-apparmor-runtime", RUNTIME), ("oci-apparmor", CLI)] {
        let new = installed("new");
        fs::copy(program, &new).unwrap();
        fs::rename(&new, installed(name)).unwrap();
    }
    for name in RUNTIMES {
        let _ = std::os::unix::fs::symlink("oci-apparmor-runtime", installed(name));
    }
}

/// The name of the runtime that is the wrapper around this low-level runtime.
pub(crate) fn handler(runtime: &str) -> String {
    match runtime {
        "runc" => OURS.to_owned(),
        other => format!("{OURS}-{other}"),
    }
}

/// What the node's configuration says besides the runtimes of [`RUNTIMES`].
#[derive(Clone, Copy)]
pub(crate) struct Wiring {
    /// The runtime of pods without a `RuntimeClass`.
    pub(crate) default: &'static str,
    /// Whether [`LATE`] is told the pods' annotations.
    pub(crate) late_is_told: bool,
}

pub(crate) const WIRING: Wiring = Wiring {
    default: "runc",
    late_is_told: false,
};

/// Writes the configuration of containerd 1.x (version 2) as a node has it, and has `configure` add
/// the wrapper.
fn configure(file: &Path, wiring: Wiring) {
    let section = "plugins.\"io.containerd.grpc.v1.cri\"";
    let mut text = format!(
        "version = 2\n[{section}]\n  sandbox_image = \"{PAUSE}\"\n\
         [{section}.containerd]\n  default_runtime_name = \"runc\"\n"
    );
    let late = installed("runc").display().to_string();
    for (name, program) in [("runc", "runc"), ("crun", "crun"), (LATE, &late)] {
        let told = match name == LATE && wiring.late_is_told {
            true => "  pod_annotations = [\"oci-apparmor/*\"]\n",
            false => "",
        };
        text += &format!(
            "[{section}.containerd.runtimes.{name}]\n  runtime_type = \"io.containerd.runc.v2\"\n\
             {told}[{section}.containerd.runtimes.{name}.options]\n  BinaryName = \"{program}\"\n"
        );
    }
    fs::write(file, text).unwrap();
    // What was configured before, and is forgotten with the file.
    let _ = fs::remove_dir_all("/etc/oci-apparmor/engines");
    let programs = installed("");
    let mut words = vec!["configure", "containerd"];
    words.extend(["--config", file.to_str().unwrap()]);
    words.extend(["--programs", programs.to_str().unwrap()]);
    if wiring.default == OURS {
        words.push("--set-default");
    }
    run(installed("oci-apparmor"), words).ok();
    // It adds one runtime; the one for crun has the same section.
    let text = fs::read_to_string(file).unwrap();
    let ours = format!("[{section}.containerd.runtimes.{OURS}");
    let of_runc = &text[text.find(&format!("{ours}]")).unwrap()..];
    let of_crun = of_runc.replace(&ours, &format!("{ours}-crun"));
    let of_crun = of_crun.replace("/runc\"", "/crun\"");
    assert_eq!(of_crun.matches("crun").count(), 3, "{text}");
    fs::write(file, text.clone() + "\n" + &of_crun).unwrap();
}

/// containerd itself. It is stopped when this is dropped; containers live on.
pub(crate) struct Containerd {
    child: Child,
    pub(crate) cri: Cri,
}

impl Containerd {
    /// A node with the programs, the images, and what the distribution gives the runtimes.
    pub(crate) fn start() -> Self {
        install();
        label_runtimes();
        let containerd = Self::start_with(WIRING);
        if !containerd.cri.has_image(IMAGE) {
            let archive = archive();
            for name in [IMAGE, PAUSE] {
                let archive = archive(name);
                let words = ["-n", "k8s.io", "images", "import", &archive];
                run("ctr", words).ok();
                wait_for(|| containerd.cri.has_image(name));
            }
        }
        containerd
    }

    pub(crate) fn start_with(wiring: Wiring) -> Self {
        let file = Path::new(BASE).join("containerd.toml");
        configure(&file, wiring);
        let log = File::options()
            .create(true)
            .append(true)
            .open("/run/containerd.log")
            .unwrap();
        let child = Command::new("containerd")
            .arg("--config")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let cri = Cri::new(SOCKET);
        let containerd = Self { child, cri };
        wait_for(|| containerd.version().is_ok());
        containerd
    }

    pub(crate) fn version(&self) -> Result<Version, Refusal> {
        self.cri.call("Version", &Empty {})
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // As systemd does: a signal, and time to end.
        run("kill", [self.child.id().to_string()]);
        let _ = self.child.wait();
    }
}

/// Loads the profiles that the distribution gives runc and crun (AppArmor 4), as `apparmor.service`
/// does at boot: from then on, what sends a container its signals has a label. Says whether it has
/// any.
pub(crate) fn label_runtimes() -> bool {
    let files = RUNTIMES.map(|name| format!("/etc/apparmor.d/{name}"));
    let there = files.iter().all(|file| Path::new(file).exists());
    if there && loaded("runc").is_none() {
        run("apparmor_parser", [&["-r".to_owned()][..], &files].concat()).ok();
    }
    there
}

/// What a process with `no_new_privs` has for a label: where crun has a profile of its own, it
/// stacks the container's on that (`src/libcrun/utils.c`, since 1.14).
pub(crate) fn without_new_privileges(runtime: &str, profile: &str) -> String {
    if runtime == "runc" || loaded("crun").is_none() {
        return format!("{profile} (enforce)");
    }
    let mut stack = [runtime, profile];
    stack.sort_unstable();
    format!("{} (mixed)", stack.join("//&"))
}

/// Makes an image of the busybox file system, as `docker save` would; returns a writer of it under
/// a name.
pub(crate) fn archive() -> impl Fn(&str) -> String {
    let directory = Path::new(BASE).join("image");
    fs::create_dir_all(&directory).unwrap();
    let at = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let layer = at("layer.tar");
    run(
        "tar",
        ["-C", rootfs().to_str().unwrap(), "-cf", &layer, "."],
    )
    .ok();
    let digest: String = Sha256::digest(fs::read(&layer).unwrap())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let config = json!({
        "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" },
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Entrypoint": ["/bin/sleep", "infinity"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    fs::write(at("config.json"), config.to_string()).unwrap();
    let to = at("image.tar");
    let from = directory.to_str().unwrap().to_owned();
    let manifest = at("manifest.json");
    move |name: &str| {
        let text = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
        fs::write(&manifest, text.to_string()).unwrap();
        let words = [
            "-C",
            &from,
            "-cf",
            &to,
            "manifest.json",
            "config.json",
            "layer.tar",
        ];
        run("tar", words).ok();
        to.clone()
    }
}
