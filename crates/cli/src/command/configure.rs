//! `configure`: an engine calls us.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::engine::acceptance;
use crate::engine::current_runtime::CurrentRuntime;
use crate::engine::kind::Engine;
use crate::engine::plan::{self, Plan};
use crate::engine::requested::{DEFAULT_NAME, Requested, check_name};
use crate::engine::root::NodeRoot;
use crate::engine::target::Target;
use crate::print;
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
    /// The file to change, or the drop-in to make; by default the one that matters on this node
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Work on the tree of a node's image instead of this node; no engine has to run or be there
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    /// Show what would change, as diff(1) does, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Configure {
    /// The engine
    engine: Name,
    #[command(flatten)]
    place: Where,
    /// The runtime's name in the engine
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    runtime_name: String,
    /// The low-level runtime to stand for; by default that of the runtime whose place it takes
    #[arg(long, value_name = "RUNTIME")]
    low_level: Option<Kinds>,
    /// For every container, not only for those that name this runtime
    #[arg(long)]
    set_default: bool,
    /// The directory of the wrapper's links, as the engine will see it; by default the one that
    /// belongs to this program
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

pub(crate) fn configure(arguments: &Configure) -> Result<u8> {
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
            .with_remedy("name it as the engine will see it"));
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
        usual: usual(engine, &root),
        default: arguments.set_default,
    };
    acceptance::knows_our_template(&root, &target)?;
    let plan = plan::configure(engine, &root, &target.main, &requested)?;
    let removes = plan.removes;
    let mut notes = plan.notes.clone();
    if let Some(program) = &plan.program {
        let missing = callable(program, &root)?;
        notes.extend(missing);
        let current = CurrentRuntime {
            engine,
            target: &target,
            configured: plan.replaces.as_deref(),
        };
        notes.extend(current.same_program(&root, program)?);
    }
    acceptance::accepted(engine, &root, &target, &plan, requested.default)?;
    if !finish(engine, &root, plan, arguments.place.dry_run)? {
        return Ok(0);
    }
    for note in notes {
        print(&format!("note: {note}\n"))?;
    }
    if !arguments.place.dry_run {
        let restart = restart(engine, &root, &target, removes);
        print(&format!(
            "{restart}It is for {}.\n",
            next(engine, &requested)
        ))?;
    }
    Ok(0)
}

/// Does what is to be done, or shows it; whether there is anything.
pub(crate) fn finish(engine: Engine, root: &NodeRoot, plan: Plan, dry_run: bool) -> Result<bool> {
    let steps = plan.steps.clone();
    if dry_run {
        for step in &steps {
            print(&step.diff(root))?;
        }
    } else {
        plan.apply(root)?;
        for step in &steps {
            let what = match (&step.old, &step.new) {
                (None, _) => "made",
                (_, None) => "removed",
                _ => "changed",
            };
            print(&format!("{what} {}\n", root.on_host(&step.path).display()))?;
        }
    }
    if steps.is_empty() {
        print(&format!("{} needs no change\n", engine.title()))?;
    }
    Ok(!steps.is_empty())
}

/// What to do now.
fn next(engine: Engine, requested: &Requested) -> String {
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

/// What to run, so that the engine knows it.
pub(crate) fn restart(engine: Engine, root: &NodeRoot, target: &Target, less: bool) -> String {
    let who = match (engine, target.distribution) {
        (Engine::Containerd, distribution) => distribution.title(),
        _ => engine.title(),
    };
    match target.restart(engine, root, less) {
        _ if !root.is_node() => String::new(),
        Some(command) => format!("{who} does not know it yet; now run: {command}\n"),
        None if engine == Engine::Podman => String::new(),
        None => format!("{who} sees that by itself, and restarts its containerd\n"),
    }
}

/// The directory of the links that belong to this program: PREFIX/libexec/oci-apparmor, where
/// this is PREFIX/bin/oci-apparmor; in an image, as its node will see it. One that has none yet
/// is taken to get those that this machine has.
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
                "{} is not installed, so there are no links of the wrapper beside it",
                own.display()
            ),
        )
        .with_remedy("run install.sh first, or name their directory with --programs")),
    }
}

/// The low-level runtime that an engine takes where nothing is configured.
fn usual(engine: Engine, root: &NodeRoot) -> RuntimeKind {
    let has = |kind: RuntimeKind| {
        let directories = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
        directories
            .iter()
            .any(|d| root.has(&Path::new(d).join(kind.name())))
    };
    match engine {
        Engine::Podman if has(RuntimeKind::Crun) || !has(RuntimeKind::Runc) => RuntimeKind::Crun,
        Engine::Crio if has(RuntimeKind::Crun) && !has(RuntimeKind::Runc) => RuntimeKind::Crun,
        _ => RuntimeKind::Runc,
    }
}

/// Whether engines will be able to call this program; with what is to be said about that.
fn callable(program: &Path, root: &NodeRoot) -> Result<Vec<String>> {
    let here = root.on_host(program);
    match root.program(program) {
        Ok(_) => {}
        Err(TrustError::Missing) if !root.is_node() => {
            return Ok(vec![format!(
                "{} is not there yet; without it the engine starts no container",
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
                .with_remedy("run install.sh; nothing was changed"));
        }
    }
    Ok(Vec::new())
}
