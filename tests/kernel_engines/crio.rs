//! A real CRI-O, where there is one: no release of Debian has a package of it, so its programs come
//! from the directory that `OCI_APPARMOR_PEERS` names (`tests/vm/README.md`).

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Map, Value};

use crate::containerd::{self, IMAGE, OURS, PAUSE, installed};
use crate::cri_client::*;
use crate::cri_messages::*;
use crate::cri_pod::Pod;
use crate::crio_annotations::{OfContainer, OfPod};
use crate::crio_calls::PATH;
use crate::support::containers::*;

const SOCKET: &str = "/run/crio/crio.sock";
const CONFIGURATION: &str = "/etc/crio/crio.conf.d";
pub(crate) const LOG: &str = "/run/crio.log";

/// One of the programs of CRI-O; `None` where no directory is named. One that is named must have
/// both of them: otherwise a mistake in its name would look like a success.
fn peer(name: &str) -> Option<PathBuf> {
    let Some(directory) = std::env::var_os("OCI_APPARMOR_PEERS").filter(|d| !d.is_empty()) else {
        println!(
            "NOT RUN: OCI_APPARMOR_PEERS names no directory with crio and pinns, so there is no \
             CRI-O here; its calls are only replayed (crio_recorded)"
        );
        return None;
    };
    let program = Path::new(&directory).join(name);
    let version = run(&program, ["--version"]);
    let runs = name != "crio" || version.out.starts_with("crio version ");
    assert!(
        runs && ![126, 127].contains(&version.code) && program.is_file(),
        "OCI_APPARMOR_PEERS has no {name} that can be run: {version:?}"
    );
    Some(program)
}

/// How the node's administrator has set up CRI-O.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    /// The default, which `configure` takes the place of.
    pub(crate) runtime: &'static str,
    /// Whether pods without a `RuntimeClass` go to the wrapper.
    pub(crate) set_default: bool,
    /// CRI-O's default is to do without a container for most sandboxes.
    pub(crate) drop_infra: bool,
}

pub(crate) const SETUP: Setup = Setup {
    runtime: "runc",
    set_default: false,
    drop_infra: false,
};

/// CRI-O itself. It is stopped when this is dropped; containers live on.
pub(crate) struct CriO {
    child: Child,
    pub(crate) cri: Cri,
}

impl CriO {
    /// A node with CRI-O and its images, or none where there is no CRI-O.
    pub(crate) fn start(setup: Setup) -> Option<Self> {
        let (crio, pinns) = (peer("crio")?, peer("pinns")?);
        containerd::install();
        containerd::label_runtimes();
        configure(&pinns, setup);
        let log = File::options().create(true).append(true).open(LOG).unwrap();
        // podman and CRI-O have one storage.
        let has = |name: &str| run("podman", ["image", "exists", name]).code == 0;
        if !has(IMAGE) {
            let archive = containerd::archive();
            for name in [IMAGE, PAUSE] {
                run("podman", ["load", "-q", "-i", &archive(name)]).ok();
            }
        }
        let child = Command::new(crio)
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut crio = Self {
            child,
            cri: Cri::new(SOCKET),
        };
        wait_for(|| {
            let ended = crio.child.try_wait().unwrap();
            assert!(ended.is_none(), "{}", fs::read_to_string(LOG).unwrap());
            crio.version().is_ok()
        });
        Some(crio)
    }

    pub(crate) fn version(&self) -> Result<Version, Refusal> {
        self.cri.call("Version", &Empty {})
    }

    /// What the kubelet says of a pod.
    pub(crate) fn pod_config(&self, pod: &OfPod) -> SandboxConfig {
        let annotations: crate::cri_messages::Map = pod.annotations.iter().cloned().collect();
        let mut config = Pod::configuration(&pod.name, &annotations);
        let metadata = config.metadata.as_mut().unwrap();
        (metadata.namespace, metadata.uid) = (pod.namespace.clone(), pod.uid.clone());
        config.labels = pod
            .labels
            .iter()
            .chain(&pod.of_kubelet())
            .cloned()
            .collect();
        config
    }

    pub(crate) fn pod(&self, pod: &OfPod, handler: &str) -> Result<Pod<'_>, Refusal> {
        Pod::run_as_configured(&self.cri, self.pod_config(pod), handler)
    }
}

impl Drop for CriO {
    fn drop(&mut self) {
        run("kill", [self.child.id().to_string()]);
        let _ = self.child.wait();
    }
}

/// What is said of a container to CRI-O.
pub(crate) fn told(container: &OfContainer, mut config: ContainerConfig) -> ContainerConfig {
    config.labels = container.labels.iter().cloned().collect();
    config.annotations = container.annotations.iter().cloned().collect();
    config
}

/// Writes what an administrator has in CRI-O's configuration, and has `configure` add the wrapper.
fn configure(pinns: &Path, setup: Setup) {
    let _ = fs::remove_dir_all(CONFIGURATION);
    let _ = fs::remove_dir_all("/etc/oci-apparmor/engines");
    fs::create_dir_all(CONFIGURATION).unwrap();
    let at = |program: &str| run("sh", ["-c", &format!("command -v {program}")]).ok();
    let mut text = format!(
        "[crio]\nstorage_driver = \"overlay\"\n\
         [crio.runtime]\ncgroup_manager = \"cgroupfs\"\nconmon_cgroup = \"pod\"\n\
         drop_infra_ctr = {}\npinns_path = \"{}\"\ndefault_runtime = \"{}\"\n\
         [crio.image]\npause_image = \"{PAUSE}\"\npause_command = \"\"\n",
        setup.drop_infra,
        pinns.display(),
        setup.runtime
    );
    for runtime in RUNTIMES {
        text += &handler(runtime, at(runtime).trim());
    }
    text += &handler(TRACED, traced().to_str().unwrap());
    fs::write(format!("{CONFIGURATION}/10-crio.conf"), text).unwrap();
    let programs = installed("");
    let mut words = vec![
        "configure",
        "crio",
        "--programs",
        programs.to_str().unwrap(),
    ];
    if setup.set_default {
        words.push("--set-default");
    }
    run(installed("oci-apparmor"), words).ok();
    let ours = fs::read_to_string(format!("{CONFIGURATION}/99-oci-apparmor.conf")).unwrap();
    let expected = format!("runtime_path = \"{}\"", installed(setup.runtime).display());
    assert!(ours.contains(&expected), "{ours}");
    assert!(
        ours.contains(&format!("[crio.runtime.runtimes.{OURS}]")),
        "{ours}"
    );
}

fn handler(name: &str, program: &str) -> String {
    let root = format!("/run/{name}");
    format!(
        "[crio.runtime.runtimes.{name}]\nruntime_path = \"{program}\"\nruntime_root = \"{root}\"\n"
    )
}

/// A runtime that is runc, and writes down how it is called: its words, and the names of the
/// variables of its environment.
pub(crate) const TRACED: &str = "traced";
pub(crate) const TRACE: &str = "/run/traced.calls";

pub(crate) fn traced() -> PathBuf {
    let script = format!(
        "#!/bin/sh\nnames=$(env | sed -n 's/^\\([A-Za-z_0-9]*\\)=.*/\\1/p' | \
         grep -vxE 'PWD|OLDPWD|SHLVL|_' | sort | tr '\\n' ' ')\n\
         echo \"$* with $names\" >>{TRACE}\nexec runc \"$@\"\n"
    );
    let path = installed("").join(TRACED);
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The annotations that stand in the bundle of a container, or of a sandbox: in `RunDir`, as CRI-O
/// calls it.
pub(crate) fn annotations(id: &str) -> Map<String, Value> {
    let bundle = format!("/run/containers/storage/overlay-containers/{id}/userdata/config.json");
    let text = fs::read(&bundle).unwrap_or_else(|e| panic!("{bundle}: {e}"));
    let config: Value = serde_json::from_slice(&text).unwrap();
    config["annotations"].as_object().unwrap().clone()
}
