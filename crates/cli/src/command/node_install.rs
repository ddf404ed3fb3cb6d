//! `node install` and `node uninstall`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};
use nix::sys::stat::{Mode, umask};

use crate::engine::distribution::Distribution;
use crate::engine::kind::Engine;
use crate::engine::root::NodeRoot;
use crate::node::{
    Handover, InstallRequest, Installed, Programs, Restart, UninstallRequest, Uninstalled, install,
    install_and_stay, uninstall, uninstall_and_stay,
};
use crate::report::output::Output;
use oci_apparmor::error::Result;

/// Something is left to do, and not by this program: EX_TEMPFAIL of sysexits(3).
const LEFT: u8 = 75;

/// An engine that Kubernetes can use.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum KubernetesEngine {
    /// containerd's CRI plugin, also that of a distribution
    Containerd,
    /// CRI-O
    Crio,
}

/// A Kubernetes distribution that brings a containerd.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum NamedDistribution {
    K3s,
    Rke2,
    K0s,
    Microk8s,
}

/// How an engine is restarted.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RestartWay {
    /// systemctl restart
    Systemd,
    /// SIGTERM to containerd, which its supervisor starts again; SIGHUP to CRI-O
    Signal,
}

/// What both commands take.
#[derive(Debug, Args)]
struct OnNode {
    /// The root directory of the node, or of a node's image
    #[arg(long, value_name = "DIR", default_value = "/", value_hint = ValueHint::DirPath)]
    root: PathBuf,
    /// --root is the root directory of the running node, mounted into this container: enter it
    ///
    /// Then the node's own programs check its configuration, its processes are seen, and its engine
    /// can be restarted. It needs the capability SYS_CHROOT, and neither the process namespace of the
    /// node nor a privileged container.
    #[arg(long, requires = "root")]
    chroot: bool,
    /// Restart the engine, if it must read its configuration [default way: systemd]
    ///
    /// Without this option no engine is restarted, and the command to run is printed. Containers go
    /// on while an engine restarts, but none starts.
    #[arg(
        long,
        value_name = "WAY",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "systemd"
    )]
    restart: Option<RestartWay>,
    /// How long the engine may take until it works as it should
    #[arg(long, value_name = "SECONDS", default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: u64,
    /// Exchange files with oci-apparmor-agent confirm in this directory, and stay until SIGTERM
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    handover: Option<PathBuf>,
}

impl OnNode {
    fn root(&self) -> Result<NodeRoot> {
        match self.chroot {
            true => NodeRoot::enter(&self.root),
            false => NodeRoot::new(&self.root),
        }
    }

    fn handover(&self) -> Result<Option<Handover>> {
        self.handover.as_deref().map(Handover::open).transpose()
    }

    fn restart(&self) -> Restart {
        match self.restart {
            None => Restart::No,
            Some(RestartWay::Systemd) => Restart::Systemd,
            Some(RestartWay::Signal) => Restart::Signal,
        }
    }

    fn wait(&self) -> Duration {
        Duration::from_secs(self.wait)
    }
}

/// Install on a node of a cluster, and let its engine call the wrapper
///
/// Copies the programs that lie beside this one, and writes hooks, units, the agent's profile and the
/// spool. config.toml is written if it is missing, with a section [cluster]; it is never changed. Then
/// the engine is configured, as oci-apparmor configure does it, for pods whose RuntimeClass has the
/// handler oci-apparmor. k3s, RKE2, k0s and MicroK8s are found by themselves.
///
/// Everything that can be refused is refused before anything is written: what others have put there,
/// an engine that rejects its new configuration, a runtime that is not the one that the engine calls
/// now. Files are replaced by renaming, so what runs is not disturbed, and
/// /etc/oci-apparmor/install.json has all of them, for uninstalling. The command can be killed at any
/// time, and run again; what is right already is not touched.
///
/// Without --restart, no engine is restarted. With it, the engine is asked over its socket until it
/// serves the handler. If it does not, its configuration is taken back, it is restarted again, and the
/// command fails.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 installed, also if the engine has to be restarted by others; otherwise that of the \
failure.

Examples:
  oci-apparmor node install
  # And restart the engine, if it has to read its configuration.
  oci-apparmor node install --restart
  # The image of a node with a read-only /usr.
  oci-apparmor node install --root /mnt/image --prefix /opt/oci-apparmor")]
pub(crate) struct NodeInstallArguments {
    #[command(flatten)]
    node: OnNode,
    /// The engine; by default the only one that the node has
    #[arg(long, value_name = "ENGINE")]
    engine: Option<KubernetesEngine>,
    /// What the node is; if it is not, the command is refused
    #[arg(long, value_name = "NAME")]
    distribution: Option<NamedDistribution>,
    /// Install below DIR [default: /usr/local, or /opt/oci-apparmor if that is read-only]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    prefix: Option<PathBuf>,
    /// Create every pod through the wrapper, if its RuntimeClass names no other runtime
    #[arg(long)]
    set_default: bool,
}

pub(crate) fn run_install(arguments: &NodeInstallArguments, output: Output) -> Result<u8> {
    // Others must be able to run what is installed.
    umask(Mode::from_bits_truncate(0o022));
    let programs = Programs::beside_this()?;
    let handover = arguments.node.handover()?;
    let root = arguments.node.root()?;
    let request = InstallRequest {
        engine: arguments.engine.map(|engine| match engine {
            KubernetesEngine::Containerd => Engine::Containerd,
            KubernetesEngine::Crio => Engine::Crio,
        }),
        distribution: arguments.distribution.map(|named| match named {
            NamedDistribution::K3s => Distribution::K3s,
            NamedDistribution::Rke2 => Distribution::Rke2,
            NamedDistribution::K0s => Distribution::K0s,
            NamedDistribution::Microk8s => Distribution::Microk8s,
        }),
        prefix: arguments.prefix.clone(),
        default: arguments.set_default,
        restart: arguments.node.restart(),
        wait: arguments.node.wait(),
    };
    if let Some(handover) = handover {
        return install_and_stay(&root, programs, &request, &handover, output).map(|()| 0);
    }
    match install(&root, programs, &request, output)? {
        Installed::Served => output.line("The engine serves the handler oci-apparmor.")?,
        Installed::Waits(command) => {
            output.line(format!(
                "The engine has not read it yet; now run: {command}"
            ))?;
        }
        Installed::Stopped => output.line("The engine reads it when it starts.")?,
        Installed::TakenBack(e) => return Err(e),
    }
    Ok(0)
}

/// Uninstall what node install has installed
///
/// In this order: the engine's default runtime is what it was; its configuration is what it was, if no
/// container of it needs the wrapper; the engine has read that; no container needs the programs; the
/// programs and all other files are removed. What is left for others to do is printed, with the exit
/// code 75: delete pods, restart the engine (or give --restart), and run the command again.
///
/// Only what /etc/oci-apparmor/install.json has is removed, and only if it is unchanged. Your
/// profiles, and profiles in the kernel, stay.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 uninstalled, 75 something is left to do first; otherwise that of the failure.

Examples:
  oci-apparmor node uninstall
  oci-apparmor node uninstall --restart")]
pub(crate) struct NodeUninstallArguments {
    #[command(flatten)]
    node: OnNode,
}

pub(crate) fn run_uninstall(arguments: &NodeUninstallArguments, output: Output) -> Result<u8> {
    let handover = arguments.node.handover()?;
    let root = arguments.node.root()?;
    let request = UninstallRequest {
        restart: arguments.node.restart(),
        wait: arguments.node.wait(),
    };
    if let Some(handover) = handover {
        return uninstall_and_stay(&root, &request, &handover, output).map(|()| 0);
    }
    match uninstall(&root, &request, output)? {
        Uninstalled::Done => Ok(0),
        Uninstalled::Left(what) => {
            output.note(format!(
                "not uninstalled yet: {what}; then run: {}",
                again(&arguments.node)
            ));
            Ok(LEFT)
        }
    }
}

fn again(node: &OnNode) -> String {
    let root = match node.root == Path::new("/") {
        true => String::new(),
        false => format!(" --root {}", node.root.display()),
    };
    format!("oci-apparmor node uninstall{root}")
}
