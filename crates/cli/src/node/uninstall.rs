//! Uninstalling, in the order that keeps every container manageable: the engine's default runtime
//! back, its configuration back, its restart, no container that needs the programs, the programs.
//!
//! Each call does what can be done now, and says what is left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine::journal::{DIRECTORY, Journal};
use crate::engine::kind::Engine;
use crate::engine::live_containers::{self, LiveContainer};
use crate::engine::root::NodeRoot;
use crate::node::files::{Layout, STARTED};
use crate::node::lock::NodeLock;
use crate::node::placed;
use crate::node::record::{InstallRecord, PATH};
use crate::node::restart::{self, Restart};
use crate::node::serve::{sweep_configuration, wired};
use crate::node::served::{self, Serving};
use crate::node::wiring::NodeEngine;
use crate::report::output::Output;
use oci_apparmor::error::{Error, Kind, Result};

/// What the caller asks for.
#[derive(Debug)]
pub(crate) struct UninstallRequest {
    /// Whether and how the engine may be restarted.
    pub(crate) restart: Restart,
    /// How long the engine may take until it works again.
    pub(crate) wait: Duration,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Uninstalled {
    /// Nothing of it is left.
    Done,
    /// Something has to be done first, by others: what, in one line.
    Left(String),
}

/// Uninstalls, or continues.
///
/// # Errors
/// If something cannot be read, or removed; if the engine does not work after its restart.
pub(crate) fn uninstall(
    root: &NodeRoot,
    request: &UninstallRequest,
    output: Output,
) -> Result<Uninstalled> {
    restart::possible(root, request.restart)?;
    let _lock = NodeLock::take(root)?;
    let Some(mut record) = InstallRecord::load(root)? else {
        output.line("nothing is installed by `oci-apparmor node install`")?;
        let own = Path::new(PATH).parent().unwrap_or(Path::new("/"));
        placed::sweep_all(root, own)?;
        placed::take_directory(root, own)?;
        return Ok(Uninstalled::Done);
    };
    if record.engine.is_some() {
        let engine = wired(root, &record)?;
        if let Some(left) = engine_back(root, &engine, &mut record, request, output)? {
            return Ok(Uninstalled::Left(left));
        }
    }
    if let Some(left) = still_needed(root, &record)? {
        return Ok(Uninstalled::Left(left));
    }
    remove(root, &record, output)?;
    Ok(Uninstalled::Done)
}

/// Takes the engine's configuration back; what is left to do before the programs can go.
fn engine_back(
    root: &NodeRoot,
    engine: &NodeEngine,
    record: &mut InstallRecord,
    request: &UninstallRequest,
    output: Output,
) -> Result<Option<String>> {
    let containers = containers(root, Some(engine.engine))?;
    sweep_configuration(root, &engine.target.main)?;
    let journal = engine.journal(root)?;
    // The journal goes last, so a change that was interrupted still has it.
    let pending = journal.is_some() || record.engine.as_ref().is_some_and(|w| !w.taken_back);
    let default = journal.is_some_and(|journal| journal.default);
    // Containers that exist need the runtime; new ones must not get it by default.
    let changes = if containers.is_empty() {
        pending
    } else {
        default
    };
    if changes {
        let process = restart::process(engine.engine, root, &engine.target);
        let before = process.as_ref().and_then(restart::identity);
        if let Some(wired) = &mut record.engine {
            wired.taken_back = containers.is_empty();
            wired.before = before;
        }
        record.store(root)?;
        let changed = match containers.is_empty() {
            true => engine.take_back(root, None)?,
            false => {
                let change = engine.change(root, &Layout::new(&record.prefix).libexec(), false)?;
                change.plan.apply(root)?;
                true
            }
        };
        if changed {
            output.line(format!(
                "changed the configuration of {} back",
                engine.title()
            ))?;
        }
    }
    if let Some(left) = reread(root, engine, record, request)? {
        return Ok(Some(left));
    }
    if !containers.is_empty() {
        return Ok(Some(format!(
            "{} has containers that were made through the wrapper: {}; delete their pods",
            engine.title(),
            containers.join(" ")
        )));
    }
    record.engine = None;
    record.store(root)?;
    Ok(None)
}

/// Has the engine read its configuration.
fn reread(
    root: &NodeRoot,
    engine: &NodeEngine,
    record: &InstallRecord,
    request: &UninstallRequest,
) -> Result<Option<String>> {
    let before = record
        .engine
        .as_ref()
        .and_then(|wired| wired.before.clone());
    if !root.is_node() || before.is_none() {
        return Ok(None);
    }
    let taken_back = record.engine.as_ref().is_some_and(|wired| wired.taken_back);
    let is_old = |serving: &Serving| match serving {
        Serving::Nothing => false,
        Serving::Handlers(_) => taken_back && serving.has_handler(),
        Serving::Former | Serving::Silent(_) => true,
    };
    let serving = Serving::look(root, engine, before.as_deref())?;
    if !is_old(&serving) {
        return Ok(None);
    }
    if let Some(command) = engine.command(root) {
        if request.restart == Restart::No {
            return Ok(Some(format!(
                "{} has not read its configuration yet; run: {command}",
                engine.title()
            )));
        }
        restart::restart(engine.engine, root, &engine.target, request.restart)?;
    }
    let serving = match taken_back {
        true => served::wait_without(root, engine, before.as_deref(), request.wait)?,
        false => served::wait(root, engine, before.as_deref(), request.wait)?,
    };
    match is_old(&serving) {
        false if serving != Serving::Nothing => Ok(None),
        _ => Err(Error::new(
            Kind::Internal,
            format!(
                "{} was restarted, and does not work as before: {}",
                engine.title(),
                serving.why_not(engine.title())
            ),
        )
        .with_remedy("look into its log; nothing was removed")),
    }
}

/// The ids of the containers that need the wrapper.
fn containers(root: &NodeRoot, engine: Option<Engine>) -> Result<Vec<String>> {
    if !root.is_node() {
        return Ok(Vec::new());
    }
    let all = live_containers::all(root)?.into_iter();
    let concerned = all.filter(|(of, _)| engine.is_none_or(|engine| of.contains(&engine)));
    Ok(concerned
        .map(|(_, container)| LiveContainer::shown(&container))
        .collect())
}

/// What needs the programs besides the engine: other engines, and their containers.
fn still_needed(root: &NodeRoot, record: &InstallRecord) -> Result<Option<String>> {
    let libexec = Layout::new(&record.prefix).libexec();
    for journal in Journal::all(root)? {
        if journal.program.starts_with(&libexec) {
            return Ok(Some(format!(
                "{} calls the wrapper; run: oci-apparmor unconfigure {0}",
                journal.engine
            )));
        }
    }
    let containers = containers(root, None)?;
    Ok((!containers.is_empty()).then(|| {
        format!(
            "these containers were made through the wrapper: {}; remove them",
            containers.join(" ")
        )
    }))
}

/// Removes what the record has and what is unchanged: what starts programs first, programs last.
fn remove(root: &NodeRoot, record: &InstallRecord, output: Output) -> Result<()> {
    if let Err(e) = restart::units(root, "stop", &STARTED) {
        output.line(format!("note: {e}"))?;
    }
    let layout = Layout::new(&record.prefix);
    let (program, libexec) = (layout.program(), layout.libexec());
    let bin = program.parent().unwrap_or(Path::new("/"));
    let rank = |path: &Path| match path {
        path if path.starts_with(bin) => 2,
        path if path.starts_with(&libexec) => 1,
        _ => 0,
    };
    let mut paths: Vec<&PathBuf> = record.entries.keys().collect();
    paths.sort_by_key(|path| rank(path));
    for path in paths {
        placed::sweep(root, path)?;
        match placed::found(root, path)? {
            None => {}
            Some(found) if record.has(path, &found) => {
                placed::take(root, path)?;
                output.line(format!("removed {}", root.on_host(path).display()))?;
            }
            Some(_) => output.line(format!(
                "kept {}, which was changed since it was installed",
                root.on_host(path).display()
            ))?,
        }
    }
    if let Err(e) = restart::units(root, "stop", &[]) {
        output.line(format!("note: {e}"))?;
    }
    placed::sweep_all(root, Path::new(DIRECTORY))?;
    placed::take_directory(root, Path::new(DIRECTORY))?;
    // The record's own directory comes last.
    let own = Path::new(PATH).parent().unwrap_or(Path::new("/"));
    for directory in record.directories.iter().rev().filter(|path| *path != own) {
        if !placed::take_directory(root, directory)? && directory.ends_with("spool") {
            output.line(format!(
                "kept {}, which has profiles of the cluster",
                root.on_host(directory).display()
            ))?;
        }
    }
    placed::sweep_all(root, own)?;
    placed::take(root, Path::new(PATH))?;
    if record.directories.iter().any(|path| path == own) && !placed::take_directory(root, own)? {
        output.line(format!(
            "kept {}, which has files of yours",
            root.on_host(own).display()
        ))?;
    }
    Ok(())
}
