//! A pod, as the kubelet makes one: its sandbox, its containers, and what is asked of them.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::containerd::{BASE, IMAGE};
use crate::cri_client::*;
use crate::cri_messages::*;
use crate::cri_streaming::{Streamed, stream};
use crate::support::containers::*;
use crate::support::kubernetes;

/// How many pods were configured: each has a UID of its own.
static PODS: AtomicU32 = AtomicU32::new(0);

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
                uid: format!("{name}-{}", PODS.fetch_add(1, Ordering::Relaxed)),
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

    /// The same pod, of which something else is said from now on.
    pub(crate) fn with(mut self, config: SandboxConfig) -> Self {
        self.config = config;
        self
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
