//! containerd as Kubernetes uses it: through its container runtime interface.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::cri::*;
use crate::kubernetes;
use crate::streaming::{Streamed, stream};
use crate::support::*;

const BASE: &str = "/var/lib/oci-apparmor-tests";
pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";
/// The image of the examples, and the one of sandboxes; both are made here.
const IMAGE: &str = "docker.io/library/busybox:1.36";
const PAUSE: &str = "localhost/pause:1";

/// The runtime of the examples' `RuntimeClass`, and what to compare it with.
pub(crate) const OURS: &str = "oci-apparmor";
/// The wrapper, as it is before somebody thinks of passing the pods' annotations on.
pub(crate) const LATE: &str = "late";

/// Where the wrapper is installed for these tests: a file of its own, which can be replaced.
pub(crate) fn installed(name: &str) -> PathBuf {
    Path::new(BASE).join("installed").join(name)
}

/// Puts the programs there, by a rename over what may be in use, as package managers do.
pub(crate) fn install() {
    fs::create_dir_all(installed("")).unwrap();
    for (name, program) in [
        (
            "oci-apparmor-runtime",
            env!("CARGO_BIN_EXE_oci-apparmor-runtime"),
        ),
        ("oci-apparmor", env!("CARGO_BIN_EXE_oci-apparmor")),
    ] {
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
    for runtime in RUNTIMES {
        let handler = handler(runtime);
        let programs = installed("");
        let mut words = vec![
            "configure",
            "containerd",
            "--config",
            file.to_str().unwrap(),
        ];
        words.extend(["--programs", programs.to_str().unwrap()]);
        words.extend(["--runtime-name", &handler, "--low-level", runtime]);
        if wiring.default == handler {
            words.push("--set-default");
        }
        run(installed("oci-apparmor"), words).ok();
    }
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
/// does at boot: from then on, who sends a container its signals has a label. Says whether it has
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
fn archive() -> impl Fn(&str) -> String {
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

/// How the kubelet tells a container's profile.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Told {
    /// In both fields, as since 1.30.
    Both,
    /// In the deprecated one alone, as before.
    Deprecated,
}

/// A pod's sandbox, which is removed with its containers when this is dropped.
pub(crate) struct Pod<'c> {
    cri: &'c Cri,
    pub(crate) id: String,
    pub(crate) config: SandboxConfig,
}

impl<'c> Pod<'c> {
    /// What the kubelet says of a pod; on the host's network, which needs no CNI.
    pub(crate) fn configuration(name: &str, annotations: &Map) -> SandboxConfig {
        let logs = Path::new(BASE).join("logs").join(name);
        let _ = fs::remove_dir_all(&logs);
        fs::create_dir_all(&logs).unwrap();
        SandboxConfig {
            metadata: Some(SandboxMetadata {
                name: name.to_owned(),
                uid: format!("{name}-uid"),
                namespace: "team".to_owned(),
                attempt: 0,
            }),
            log_directory: logs.to_str().unwrap().to_owned(),
            annotations: annotations.clone(),
            linux: Some(LinuxSandbox {
                security_context: Some(SandboxSecurity {
                    namespace_options: Some(namespaces()),
                    privileged: false,
                }),
                ..LinuxSandbox::default()
            }),
            ..SandboxConfig::default()
        }
    }

    pub(crate) fn run(
        cri: &'c Cri,
        name: &str,
        handler: &str,
        annotations: &Map,
    ) -> Result<Self, Refusal> {
        Self::run_as_configured(cri, Self::configuration(name, annotations), handler)
    }

    pub(crate) fn run_as_configured(
        cri: &'c Cri,
        config: SandboxConfig,
        handler: &str,
    ) -> Result<Self, Refusal> {
        let request = RunSandbox {
            config: Some(config.clone()),
            runtime_handler: handler.to_owned(),
        };
        let Id { id } = cri.call("RunPodSandbox", &request)?;
        Ok(Self { cri, id, config })
    }

    /// A pod from before containerd was restarted: its configuration and id.
    pub(crate) fn known(cri: &'c Cri, (config, id): (SandboxConfig, String)) -> Self {
        Self { cri, id, config }
    }

    /// A container that runs these words, as it would be for a container that asks for nothing.
    pub(crate) fn container(name: &str, words: &[&str]) -> ContainerConfig {
        ContainerConfig {
            metadata: Some(ContainerMetadata {
                name: name.to_owned(),
                attempt: 0,
            }),
            image: Some(Image {
                image: IMAGE.to_owned(),
            }),
            command: words.iter().map(|&w| w.to_owned()).collect(),
            log_path: format!("{name}.log"),
            linux: Some(LinuxContainer {
                security_context: Some(ContainerSecurity {
                    namespace_options: Some(namespaces()),
                    ..ContainerSecurity::default()
                }),
                ..LinuxContainer::default()
            }),
            ..ContainerConfig::default()
        }
    }

    /// The container of an example.
    pub(crate) fn of_example(container: &kubernetes::Container, told: Told) -> ContainerConfig {
        let words: Vec<_> = container.command.iter().map(String::as_str).collect();
        let mut config = Self::container(&container.name, &words);
        config.image = Some(Image {
            image: container.image.clone(),
        });
        if let Some(profile) = &container.profile {
            let name = profile["localhostProfile"].as_str().unwrap_or_default();
            let (kind, text) = match profile["type"].as_str().unwrap() {
                "Localhost" => (LOCALHOST, format!("localhost/{name}")),
                "Unconfined" => (UNCONFINED, "unconfined".to_owned()),
                _ => (RUNTIME_DEFAULT, "runtime/default".to_owned()),
            };
            let security = security(&mut config);
            security.apparmor_profile = text;
            security.apparmor = (told == Told::Both).then(|| SecurityProfile {
                profile_type: kind,
                localhost_ref: name.to_owned(),
            });
        }
        config
    }

    /// Creates the container; it is not started.
    pub(crate) fn create(&self, config: &ContainerConfig) -> Result<String, Refusal> {
        let request = CreateContainer {
            pod_sandbox_id: self.id.clone(),
            config: Some(config.clone()),
            sandbox_config: Some(self.config.clone()),
        };
        let answer: Id = self.cri.call("CreateContainer", &request)?;
        Ok(answer.id)
    }

    pub(crate) fn start(&self, id: &str) -> Result<(), Refusal> {
        let request = Id { id: id.to_owned() };
        self.cri.call("StartContainer", &request).map(|Empty {}| ())
    }

    #[track_caller]
    pub(crate) fn started(&self, config: &ContainerConfig) -> String {
        let id = self.create(config).unwrap();
        self.start(&id).unwrap();
        id
    }

    pub(crate) fn exec(&self, id: &str, words: &[&str]) -> Result<ExecDone, Refusal> {
        let request = ExecSync {
            container_id: id.to_owned(),
            cmd: words.iter().map(|&w| w.to_owned()).collect(),
            timeout: 60,
        };
        self.cri.call("ExecSync", &request)
    }

    /// What a command in the container prints.
    #[track_caller]
    pub(crate) fn said(&self, id: &str, words: &[&str]) -> String {
        let done = self.exec(id, words).unwrap();
        assert_eq!(done.exit_code, 0, "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// That the first process and what is exec'ed have this profile, enforcing.
    #[track_caller]
    pub(crate) fn assert_confined(&self, id: &str, profile: &str) {
        let files = ["cat", "/proc/1/attr/current", "/proc/self/attr/current"];
        let line = format!("{profile} (enforce)\n");
        assert_eq!(self.said(id, &files), line.repeat(2));
    }

    /// What `kubectl exec` shows.
    #[track_caller]
    pub(crate) fn streamed(&self, id: &str, words: &[&str], tty: bool, input: &str) -> Streamed {
        let request = Exec {
            container_id: id.to_owned(),
            cmd: words.iter().map(|&w| w.to_owned()).collect(),
            tty,
            stdin: !input.is_empty(),
            stdout: true,
            stderr: !tty,
        };
        let url: Id = self.cri.call("Exec", &request).unwrap();
        stream(&url.id, input, |_| false)
    }

    pub(crate) fn status(&self, id: &str) -> Status {
        let request = Id { id: id.to_owned() };
        let answer: StatusOf = self.cri.call("ContainerStatus", &request).unwrap();
        answer.status.unwrap()
    }

    /// Stops a container, by SIGKILL after `timeout` seconds.
    pub(crate) fn stop(&self, id: &str, timeout: i64) -> Result<(), Refusal> {
        let stop = StopContainer {
            container_id: id.to_owned(),
            timeout,
        };
        self.cri.call("StopContainer", &stop).map(|Empty {}| ())
    }

    /// Kills a container and removes it.
    #[track_caller]
    pub(crate) fn end(&self, id: &str) {
        self.stop(id, 0).unwrap();
        assert_eq!(self.status(id).state, EXITED);
        self.remove_container(id);
    }

    #[track_caller]
    pub(crate) fn remove_container(&self, id: &str) {
        let remove = Id { id: id.to_owned() };
        let Empty {} = self.cri.call("RemoveContainer", &remove).unwrap();
        assert_eq!(record_of(id), None);
    }

    /// Stops and removes the pod, with its containers.
    #[track_caller]
    pub(crate) fn remove(self) {
        self.gone().unwrap();
        assert_eq!(record_of(&self.id), None);
    }

    /// Leaves it to whatever comes.
    pub(crate) fn forget(self) -> String {
        std::mem::ManuallyDrop::new(self).id.clone()
    }

    fn gone(&self) -> Result<Empty, Refusal> {
        let id = Id {
            id: self.id.clone(),
        };
        let Empty {} = self.cri.call("StopPodSandbox", &id)?;
        self.cri.call("RemovePodSandbox", &id)
    }

    /// The lines of a container's log, without times.
    pub(crate) fn log(&self, container: &str) -> String {
        let file = Path::new(&self.config.log_directory).join(format!("{container}.log"));
        let text = fs::read_to_string(file).unwrap_or_default();
        let lines = text.lines().map(|line| line.split_once(' ').unwrap().1);
        lines.flat_map(|line| [line, "\n"]).collect()
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        let _ = self.gone();
    }
}

/// The host's network, and process ids of each container's own, as the kubelet has it.
fn namespaces() -> NamespaceOption {
    NamespaceOption {
        network: NODE,
        pid: CONTAINER,
        ipc: 0,
    }
}

pub(crate) fn security(config: &mut ContainerConfig) -> &mut ContainerSecurity {
    let linux = config.linux.as_mut().unwrap();
    linux.security_context.as_mut().unwrap()
}
