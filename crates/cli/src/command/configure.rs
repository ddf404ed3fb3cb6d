//! `configure`: lets an engine call the wrapper.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, ValueHint};

use crate::engine::change::{self, EngineChange};
use crate::engine::kind::Engine;
use crate::engine::plan::Plan;
use crate::engine::requested::{DEFAULT_NAME, Requested, check_name};
use crate::engine::root::NodeRoot;
use crate::engine::target::Target;
use crate::report::output::Output;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::fs::trusted::TrustError;
use oci_apparmor::settings::RuntimeKind;

/// An engine, as it is named on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Name {
    /// containerd's CRI plugin, for Kubernetes
    Containerd,
    /// CRI-O
    Crio,
    /// podman
    Podman,
    /// docker
    Docker,
}

impl Name {
    pub(crate) fn engine(self) -> Engine {
        match self {
            Self::Containerd => Engine::Containerd,
            Self::Crio => Engine::Crio,
            Self::Podman => Engine::Podman,
            Self::Docker => Engine::Docker,
        }
    }
}

/// A low-level runtime, as it is named on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Kinds {
    /// opencontainers/runc
    Runc,
    /// containers/crun
    Crun,
    /// youki-dev/youki
    Youki,
}

/// What both commands take.
#[derive(Debug, Args)]
pub(crate) struct Where {
    /// The file to change, or the drop-in to make; by default the one that is in force here
    ///
    /// It is the file to change (containerd, docker), the drop-in to make (CRI-O, podman) or the
    /// template of a distribution, with the path that the engine sees.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Work on the tree of a node's image in this directory, instead of this node
    ///
    /// All files are read and written there, links lead nowhere else, and the paths that are written
    /// are those of the node. Neither an engine nor the wrapper needs to be there yet.
    #[arg(long, value_name = "DIR", default_value = "/", value_hint = ValueHint::DirPath)]
    pub(crate) root: PathBuf,
    /// Show what would change, as diff(1) does, without changing it
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Let an engine call the wrapper
///
/// Adds a runtime to the engine's configuration, and prints the command that makes the engine read
/// it. Nothing is restarted, and the engine need not run or be installed.
///
/// containerd gets a runtime in /etc/containerd/config.toml, or in the file that it runs with, or in
/// the last imported file that has a section of the CRI plugin, because that one is in force. The
/// containerd of k3s, RKE2, k0s and MicroK8s gets it by the template or drop-in that these document,
/// because they write the file that containerd reads anew at each start. Versions 1, 2 and 3 of the
/// configuration are supported. The new runtime takes over what the replaced one (the default, else
/// runc) says of the shim, of annotations and of cgroups (SystemdCgroup), and pod_annotations lets the
/// annotations of oci-apparmor-runtime(8) pass. Where no runtime is configured, runc is added as
/// well: containerd 1.x has no runtimes of its own beside a configured one.
///
/// CRI-O and podman get a drop-in: /etc/crio/crio.conf.d/99-oci-apparmor.conf or
/// /etc/containers/containers.conf.d/99-oci-apparmor.conf. The lists runtime_supports_json and
/// runtime_supports_nocgroups in the latter keep their entries, and get the new runtime.
///
/// docker gets a runtime in /etc/docker/daemon.json.
///
/// Comments, order and white space of the file stay, and so do owner, mode and links. The changes
/// are remembered in /etc/oci-apparmor/engines/. The engine's own program checks the new text first
/// (containerd config dump, dockerd --validate). It is refused if the wrapper would call another
/// program than the engine called before; the message has the line to add to oci-apparmor.toml(5).
///
/// Called again with other options, it first takes back what it did before; called again with the
/// same options, it changes nothing. A file that is malformed, or that users other than root can
/// write, is refused, and nothing is changed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # For pods whose RuntimeClass has the handler oci-apparmor.
  oci-apparmor configure containerd
  # For every pod.
  oci-apparmor configure containerd --set-default
  # See the changes first.
  oci-apparmor configure podman --dry-run")]
pub(crate) struct ConfigureArguments {
    /// The engine
    engine: Name,
    #[command(flatten)]
    place: Where,
    /// The runtime's name in the engine; a RuntimeClass has it as its handler
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    runtime_name: String,
    /// The low-level runtime to call; by default the one that the engine calls now
    #[arg(long, value_name = "RUNTIME")]
    low_level: Option<Kinds>,
    /// Make it the engine's default, for every container that names no other runtime
    ///
    /// Refused where the default runtime is another program (nvidia-container-runtime, say) or of
    /// another kind, because containers would then be made without it.
    #[arg(long)]
    set_default: bool,
    /// The directory of the wrapper's links, as the engine will see it
    ///
    /// By default it is PREFIX/libexec/oci-apparmor, where this program is PREFIX/bin/oci-apparmor.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    programs: Option<PathBuf>,
}

pub(crate) fn run(arguments: &ConfigureArguments, output: Output) -> Result<u8> {
    let engine = arguments.engine.engine();
    let root = NodeRoot::new(&arguments.place.root)?;
    let target = Target::of(engine, &root, arguments.place.config.as_deref())?;
    check_name(&arguments.runtime_name)?;
    let programs = match &arguments.programs {
        Some(programs) if programs.is_absolute() => programs.clone(),
        Some(programs) => {
            return Err(Error::new(
                Kind::Usage,
                format!(
                    "--programs must be an absolute path, not {}",
                    programs.display()
                ),
            )
            .with_remedy("give the path that the engine will see"));
        }
        None => installed(&root)?,
    };
    let requested = Requested {
        name: arguments.runtime_name.clone(),
        programs,
        low_level: arguments.low_level.map(|kind| match kind {
            Kinds::Runc => RuntimeKind::Runc,
            Kinds::Crun => RuntimeKind::Crun,
            Kinds::Youki => RuntimeKind::Youki,
        }),
        usual: change::usual(engine, &root),
        default: arguments.set_default,
    };
    let change = EngineChange::plan(engine, &root, &target, &requested)?;
    let mut notes = change.plan.notes.clone();
    if let Some(program) = &change.plan.program {
        notes.extend(callable(program, &root)?);
    }
    notes.extend(change.notes);
    let plan = change.plan;
    let removes = plan.removes;
    if !finish(engine, &root, plan, arguments.place.dry_run, output)? {
        return Ok(0);
    }
    for note in notes {
        output.line(format!("note: {note}"))?;
    }
    if !arguments.place.dry_run {
        output.text(&restart(engine, &root, &target, removes))?;
        output.line(format!(
            "The wrapper is called for {}.",
            called_for(engine, &requested)
        ))?;
    }
    Ok(0)
}

/// Makes the changes, or shows them, and tells whether there are any.
pub(crate) fn finish(
    engine: Engine,
    root: &NodeRoot,
    plan: Plan,
    dry_run: bool,
    output: Output,
) -> Result<bool> {
    let steps = plan.steps.clone();
    if dry_run {
        for step in &steps {
            output.text(&step.diff(root))?;
        }
    } else {
        plan.apply(root)?;
        for step in &steps {
            let what = match (&step.old, &step.new) {
                (None, _) => "made",
                (_, None) => "removed",
                _ => "changed",
            };
            output.line(format!("{what} {}", root.on_host(&step.path).display()))?;
        }
    }
    if steps.is_empty() {
        output.line(format!("{} needs no change", engine.title()))?;
    }
    Ok(!steps.is_empty())
}

/// Which containers the wrapper is called for.
fn called_for(engine: Engine, requested: &Requested) -> String {
    let name = &requested.name;
    match (engine, requested.default) {
        (Engine::Containerd | Engine::Crio, true) => {
            "all pods whose RuntimeClass names no other runtime".to_owned()
        }
        (Engine::Containerd | Engine::Crio, false) => {
            format!("pods that name a RuntimeClass whose handler is {name}")
        }
        (_, true) => "all containers for which no other runtime is named".to_owned(),
        (_, false) => format!("containers that are made with --runtime {name}"),
    }
}

/// The command that makes the engine read its configuration.
pub(crate) fn restart(engine: Engine, root: &NodeRoot, target: &Target, less: bool) -> String {
    let who = match (engine, target.distribution) {
        (Engine::Containerd, distribution) => distribution.title(),
        _ => engine.title(),
    };
    match target.restart(engine, root, less) {
        _ if !root.is_node() => String::new(),
        Some(command) => format!("{who} has not read it yet; now run: {command}\n"),
        None if engine == Engine::Podman => String::new(),
        None => format!("{who} reads it by itself, and restarts its containerd\n"),
    }
}

/// The directory of the wrapper's links: PREFIX/libexec/oci-apparmor, where this program is
/// PREFIX/bin/oci-apparmor; in an image, the path that its node will see. An image without links is
/// taken to get those of this machine.
fn installed(root: &NodeRoot) -> Result<PathBuf> {
    let own =
        std::env::current_exe().map_err(|e| Error::io("find", Path::new("oci-apparmor"), &e))?;
    let seen = match own.strip_prefix(root.directory()) {
        Ok(inside) => Path::new("/").join(inside),
        Err(_) => own.clone(),
    };
    let prefix = seen.parent().and_then(Path::parent);
    let programs = prefix.map(|prefix| prefix.join("libexec/oci-apparmor"));
    match programs {
        Some(programs) if root.has(&programs) => Ok(programs),
        Some(programs) if !root.is_node() && (own != seen || programs.is_dir()) => Ok(programs),
        _ => Err(Error::new(
            Kind::NotFound,
            format!(
                "{} is not installed, so it has no directory of the wrapper's links",
                own.display()
            ),
        )
        .with_remedy("run: ./install.sh; or name the directory with --programs")),
    }
}

/// Refuses a program that engines could not call; returns notes about it.
fn callable(program: &Path, root: &NodeRoot) -> Result<Vec<String>> {
    let here = root.on_host(program);
    match root.program(program) {
        Ok(_) => {}
        Err(TrustError::Missing) if !root.is_node() => {
            return Ok(vec![format!(
                "{} does not exist yet; the engine starts no container without it",
                here.display()
            )]);
        }
        Err(refusal) => {
            let kind = match refusal {
                TrustError::Missing => Kind::NotFound,
                _ => Kind::Configuration,
            };
            return Err(refusal
                .about(&here, kind)
                .or_remedy("run: ./install.sh; nothing was changed"));
        }
    }
    Ok(Vec::new())
}
