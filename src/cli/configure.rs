//! `configure` and `unconfigure`: an engine calls us, or does not any more.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::cli::print;
use crate::engine::memory::Memory;
use crate::engine::place::Place;
use crate::engine::{self, Engine, Outcome, Wish};
use crate::error::{Error, Kind, Result};
use crate::runtime::carriers::State;
use crate::runtime::locate;
use crate::runtime::record::{self, Record};
use crate::settings::{LowLevel, Settings};
use crate::trusted::Refusal;

/// An engine, as it is named on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Name {
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
    fn engine(self) -> Engine {
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
pub(super) enum Kinds {
    /// opencontainers/runc
    Runc,
    /// containers/crun
    Crun,
    /// youki-dev/youki
    Youki,
}

/// What both commands take.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// The file to change, or the drop-in to make; by default the engine's usual one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Work on the tree of a node's image instead of this node; no engine has to run or be there
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Show what would change, as diff(1) does, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct Configure {
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

#[derive(Debug, Args)]
pub(super) struct Unconfigure {
    /// The engine
    #[arg(required_unless_present = "all")]
    engine: Option<Name>,
    /// Every engine that was configured
    #[arg(long, conflicts_with_all = ["engine", "config"])]
    all: bool,
    #[command(flatten)]
    place: Where,
    /// The runtime's name in the engine, where it was not `configure` that made it
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    runtime_name: String,
    /// Do it although containers live that were made through the wrapper
    #[arg(long)]
    force: bool,
}

const DEFAULT_NAME: &str = "oci-apparmor";

/// The configuration of an engine: the file that somebody names, or the usual one.
fn main_file(engine: Engine, config: Option<&Path>) -> Result<PathBuf> {
    let main = config.unwrap_or(engine.configuration());
    if !main.is_absolute() || main.file_name().is_none() {
        return Err(Error::new(
            Kind::Usage,
            format!(
                "--config must be an absolute path of a file, not {}",
                main.display()
            ),
        )
        .hint("name it as the engine sees it, without the directory of --root"));
    }
    Ok(main.to_owned())
}

pub(super) fn configure(arguments: &Configure) -> Result<u8> {
    let engine = arguments.engine.engine();
    let main = main_file(engine, arguments.place.config.as_deref())?;
    let place = Place::new(&arguments.place.root)?;
    engine::check_name(&arguments.runtime_name)?;
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
            .hint("name it as the engine will see it"));
        }
        None => installed(&place)?,
    };
    let wish = Wish {
        name: arguments.runtime_name.clone(),
        programs,
        low_level: arguments.low_level.map(|kind| match kind {
            Kinds::Runc => LowLevel::Runc,
            Kinds::Crun => LowLevel::Crun,
            Kinds::Youki => LowLevel::Youki,
        }),
        usual: usual(engine, &place),
        default: arguments.set_default,
    };
    let outcome = engine::configure(engine, &place, &main, &wish)?;
    let less = outcome.less;
    let mut notes = outcome.notes.clone();
    if let Some(program) = &outcome.program {
        notes.extend(callable(program, &place)?);
    }
    if !finish(engine, &place, outcome, arguments.place.dry_run)? {
        return Ok(0);
    }
    for note in notes {
        print(&format!("note: {note}\n"))?;
    }
    if !arguments.place.dry_run {
        print(&next(engine, &place, &wish, less))?;
    }
    Ok(0)
}

pub(super) fn unconfigure(arguments: &Unconfigure) -> Result<u8> {
    engine::check_name(&arguments.runtime_name)?;
    let place = Place::new(&arguments.place.root)?;
    let named = arguments.engine.map(Name::engine);
    let todo: Vec<(Engine, PathBuf)> = match named {
        Some(engine) => vec![(
            engine,
            main_file(engine, arguments.place.config.as_deref())?,
        )],
        None => {
            let all = Memory::all(&place)?.into_iter();
            all.filter_map(|m| Some((Engine::named(&m.engine)?, m.configuration)))
                .collect()
        }
    };
    if todo.is_empty() {
        print("no engine is configured\n")?;
    }
    let dry_run = arguments.place.dry_run;
    for (engine, main) in todo {
        let memory = Memory::load(&place, engine, &main)?;
        let name = memory.map_or_else(|| arguments.runtime_name.clone(), |memory| memory.runtime);
        let outcome = engine::unconfigure(engine, &place, &main, &name)?;
        if place.is_node() && !arguments.force && !dry_run && !outcome.steps.is_empty() {
            nobody_lives(engine)?;
        }
        if finish(engine, &place, outcome, dry_run)? && !dry_run {
            print(&restart(engine, &place, true))?;
        }
    }
    Ok(0)
}

/// Refuses while an engine has containers that would lose the wrapper.
fn nobody_lives(engine: Engine) -> Result<()> {
    let living = living(engine)?;
    match living.is_empty() {
        true => Ok(()),
        false => Err(Error::new(
            Kind::Policy,
            format!(
                "containers live that were made through the wrapper, and {} would lose it: {}",
                engine.title(),
                living.join(" ")
            ),
        )
        .hint("remove them first, or give --force; nothing was changed")),
    }
}

/// Does what is to be done, or shows it; whether there is anything.
fn finish(engine: Engine, place: &Place, outcome: Outcome, dry_run: bool) -> Result<bool> {
    let steps = outcome.steps.clone();
    if dry_run {
        for step in &steps {
            print(&step.diff(place))?;
        }
    } else {
        outcome.apply(place)?;
        for step in &steps {
            let what = match (&step.old, &step.new) {
                (None, _) => "made",
                (_, None) => "removed",
                _ => "changed",
            };
            print(&format!("{what} {}\n", place.here(&step.path).display()))?;
        }
    }
    if steps.is_empty() {
        print(&format!("{} needs no change\n", engine.title()))?;
    }
    Ok(!steps.is_empty())
}

/// What to do now.
fn next(engine: Engine, place: &Place, wish: &Wish, less: bool) -> String {
    let name = &wish.name;
    let use_it = match (engine, wish.default) {
        (Engine::Containerd | Engine::Crio, true) => {
            "all pods whose RuntimeClass names no other runtime".to_owned()
        }
        (Engine::Containerd | Engine::Crio, false) => {
            format!("pods that name a RuntimeClass whose handler is {name}")
        }
        (_, true) => "all containers for which no other runtime is named".to_owned(),
        (_, false) => format!("containers that are made with --runtime {name}"),
    };
    format!("{}It is for {use_it}.\n", restart(engine, place, less))
}

fn restart(engine: Engine, place: &Place, less: bool) -> String {
    match engine.restart(less).filter(|_| place.is_node()) {
        Some(command) => format!(
            "{} does not know it yet; now run: {command}\n",
            engine.title()
        ),
        None => String::new(),
    }
}

/// The directory of the links that belong to this program: PREFIX/libexec/oci-apparmor, where
/// this is PREFIX/bin/oci-apparmor; in an image, as its node will see it. One that has none yet
/// is taken to get those that this machine has.
fn installed(place: &Place) -> Result<PathBuf> {
    let own =
        std::env::current_exe().map_err(|e| Error::io("find", Path::new("oci-apparmor"), &e))?;
    let seen = match own.strip_prefix(place.root()) {
        Ok(inside) => Path::new("/").join(inside),
        Err(_) => own.clone(),
    };
    let prefix = seen.parent().and_then(Path::parent);
    let programs = prefix.map(|prefix| prefix.join("libexec/oci-apparmor"));
    match programs {
        Some(programs) if place.has(&programs) => Ok(programs),
        Some(programs) if !place.is_node() && (own != seen || programs.is_dir()) => Ok(programs),
        _ => Err(Error::new(
            Kind::NotFound,
            format!(
                "{} is not installed, so there are no links of the wrapper beside it",
                own.display()
            ),
        )
        .hint("run install.sh first, or name their directory with --programs")),
    }
}

/// The low-level runtime that an engine takes where nothing is configured.
fn usual(engine: Engine, place: &Place) -> LowLevel {
    let has = |kind: LowLevel| {
        let directories = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
        directories
            .iter()
            .any(|d| place.has(&Path::new(d).join(kind.name())))
    };
    match engine {
        Engine::Podman if has(LowLevel::Crun) || !has(LowLevel::Runc) => LowLevel::Crun,
        Engine::Crio if has(LowLevel::Crun) && !has(LowLevel::Runc) => LowLevel::Crun,
        _ => LowLevel::Runc,
    }
}

/// Whether engines will be able to call this program, and it what it stands for; with what is to
/// be said about that.
fn callable(program: &Path, place: &Place) -> Result<Vec<String>> {
    let here = place.here(program);
    match place.program(program) {
        Ok(_) => {}
        Err(Refusal::Missing) if !place.is_node() => {
            return Ok(vec![format!(
                "{} is not there yet; without it the engine starts no container",
                here.display()
            )]);
        }
        Err(refusal) => {
            let kind = match refusal {
                Refusal::Missing => Kind::NotFound,
                _ => Kind::Configuration,
            };
            return Err(refusal
                .about(&here, kind)
                .hint("run install.sh; nothing was changed"));
        }
    }
    if !place.is_node() {
        return Ok(Vec::new());
    }
    let name = program.file_name().unwrap_or_default();
    let located = locate::locate(name, &Settings::load()?.low_level)
        .map_err(|e| e.within("the wrapper would find nothing to become"))?;
    log::debug!(
        "{} becomes {}",
        program.display(),
        located.program.display()
    );
    Ok(Vec::new())
}

/// The containers that an engine has, were made through the wrapper, and are not gone.
fn living(engine: Engine) -> Result<Vec<String>> {
    let records = record::all()?.into_iter();
    let ids = records
        .filter(|record| concerns(engine, record) && State::of(record) != State::Gone)
        .map(|record| record.id);
    Ok(ids.collect())
}

/// Whether a container may be one of this engine: containerd and docker have roots of their own,
/// the others take those of the low-level runtimes.
fn concerns(engine: Engine, record: &Record) -> bool {
    let root = record.root.to_string_lossy();
    // containerd: ROOT/runc/NAMESPACE; docker: EXEC-ROOT/runtime-NAME/moby.
    let docker = root.contains("/runtime-");
    let containerd = !docker && root.contains("containerd");
    match engine {
        Engine::Docker => docker,
        Engine::Containerd => containerd,
        Engine::Crio | Engine::Podman => !docker && !containerd,
    }
}
