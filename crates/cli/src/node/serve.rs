//! Has the engine serve the handler: configures it, restarts it where that is asked for, waits, and
//! takes the change back where it is not served.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine::distribution::Distribution;
use crate::engine::journal::Journal;
use crate::engine::kind::Engine;
use crate::engine::live_containers;
use crate::engine::root::NodeRoot;
use crate::node::files::{CONFIG, Layout};
use crate::node::lock::NodeLock;
use crate::node::placed;
use crate::node::record::{InstallRecord, WiredEngine};
use crate::node::restart::{self, Restart};
use crate::node::served::{self, Serving};
use crate::node::wiring::{HANDLER, NodeEngine};
use crate::report::output::Output;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::settings::Settings;

/// What the caller asks for.
#[derive(Debug)]
pub(crate) struct InstallRequest {
    /// The engine; by default the only one.
    pub(crate) engine: Option<Engine>,
    /// What the caller says that the node is.
    pub(crate) distribution: Option<Distribution>,
    /// Where programs go.
    pub(crate) prefix: Option<PathBuf>,
    /// Whether all pods are to be created through the wrapper.
    pub(crate) default: bool,
    /// Whether and how the engine may be restarted.
    pub(crate) restart: Restart,
    /// How long the engine may take until it serves the handler.
    pub(crate) wait: Duration,
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum Installed {
    /// The engine serves the handler.
    Served,
    /// The engine has to read its configuration, by this command.
    Waits(String),
    /// The engine does not run, or this is the tree of an image.
    Stopped,
    /// The engine did not serve the handler, for this reason, and its configuration was taken back.
    TakenBack(Error),
}

/// Configures the engine, and waits until it serves the handler.
pub(super) fn wire(
    root: &NodeRoot,
    layout: &Layout,
    mut record: InstallRecord,
    engine: &NodeEngine,
    request: &InstallRequest,
    output: Output,
) -> Result<Installed> {
    takes_profiles(root, output)?;
    let change = engine.change(root, &layout.libexec(), request.default)?;
    let former = engine.journal(root)?;
    let served = record.engine.as_ref().is_some_and(|wired| wired.served);
    let new = record.engine.as_ref().is_none_or(|wired| wired.taken_back);
    if !change.plan.steps.is_empty() || new {
        let process = restart::process(engine.engine, root, &engine.target);
        record.engine = Some(WiredEngine {
            name: engine.engine.name().to_owned(),
            configuration: engine.target.main.clone(),
            served: false,
            confirmed: false,
            taken_back: false,
            before: process.as_ref().and_then(restart::identity),
        });
        record.store(root)?;
        for step in &change.plan.steps {
            sweep_configuration(root, &step.path)?;
            output.line(format!("configured {}", root.on_host(&step.path).display()))?;
        }
        let notes = [change.plan.notes.clone(), change.notes].concat();
        change.plan.apply(root)?;
        for note in notes {
            output.line(format!("note: {note}"))?;
        }
    } else if served {
        return Ok(Installed::Served);
    }
    let former = former.filter(|_| served);
    settled(root, record, engine, former.as_ref(), request)
}

/// As [`settle`]; where that fails, the configuration is taken back.
fn settled(
    root: &NodeRoot,
    record: InstallRecord,
    engine: &NodeEngine,
    former: Option<&Journal>,
    request: &InstallRequest,
) -> Result<Installed> {
    let e = match settle(root, record, engine, request.restart, request.wait) {
        Ok(installed) => return Ok(installed),
        Err(e) => e,
    };
    match back(root, engine, former, request) {
        Ok(()) => Ok(Installed::TakenBack(e.with_remedy(format!(
            "the configuration of {} was taken back; look into its log, and run the command again",
            engine.title()
        )))),
        Err(back) => Err(e.with_remedy(format!(
            "its configuration could not be taken back: {}",
            back.without_remedy()
        ))),
    }
}

/// Removes what a killed installer left beside a file of an engine.
pub(super) fn sweep_configuration(root: &NodeRoot, path: &Path) -> Result<()> {
    placed::sweep(root, path)?;
    match (path.parent(), path.file_name()) {
        (Some(directory), Some(name)) if directory.ends_with("crio.conf.d") => {
            placed::sweep(root, &directory.with_file_name(name))
        }
        _ => Ok(()),
    }
}

/// Says what a configuration that was there before lacks.
fn takes_profiles(root: &NodeRoot, output: Output) -> Result<()> {
    let path = Path::new(CONFIG);
    let Some(file) = root.read(path)? else {
        return Ok(());
    };
    if Settings::parse(path, file.text.as_bytes())?
        .cluster
        .is_none()
    {
        output.line(format!(
            "note: {} has no section [cluster], so this node takes no profiles from the cluster",
            root.on_host(path).display()
        ))?;
    }
    Ok(())
}

/// Restarts the engine if that is asked for and necessary, and looks what it serves.
fn settle(
    root: &NodeRoot,
    mut record: InstallRecord,
    engine: &NodeEngine,
    how: Restart,
    time: Duration,
) -> Result<Installed> {
    if !root.is_node() {
        return Ok(Installed::Stopped);
    }
    let before = record
        .engine
        .as_ref()
        .and_then(|wired| wired.before.clone());
    let mut serving = Serving::look(root, engine, before.as_deref())?;
    // Some read their files by themselves, and need no restart.
    match (&serving, how, engine.command(root)) {
        // It did not run when it was configured, or is stopped by others.
        (Serving::Nothing, how, _) if before.is_none() || how == Restart::No => {
            return Ok(Installed::Stopped);
        }
        (Serving::Former, Restart::No, Some(command)) => return Ok(Installed::Waits(command)),
        (Serving::Former, how, Some(_)) => {
            restart::restart(engine.engine, root, &engine.target, how)?;
        }
        _ => {}
    }
    if !serving.has_handler() {
        serving = served::wait(root, engine, before.as_deref(), time)?;
    }
    match serving.has_handler() {
        true => {
            if let Some(wired) = &mut record.engine {
                wired.served = true;
            }
            record.store(root)?;
            Ok(Installed::Served)
        }
        false => Err(Error::new(
            Kind::Internal,
            format!(
                "the handler {HANDLER} is not served after {} s: {}",
                time.as_secs(),
                serving.why_not(engine.title())
            ),
        )),
    }
}

/// Takes the change back: the engine works as before.
fn back(
    root: &NodeRoot,
    engine: &NodeEngine,
    former: Option<&Journal>,
    request: &InstallRequest,
) -> Result<()> {
    no_containers(root, engine)?;
    let process = restart::process(engine.engine, root, &engine.target);
    let before = process.as_ref().and_then(restart::identity);
    engine.take_back(root, former)?;
    if let Some(mut record) = InstallRecord::load(root)? {
        match (&mut record.engine, former) {
            (Some(wired), Some(_)) => wired.served = true,
            (wired, _) => *wired = None,
        }
        record.store(root)?;
    }
    restart::restart(engine.engine, root, &engine.target, request.restart)?;
    served::wait_without(root, engine, before.as_deref(), request.wait).map(|_| ())
}

/// Refuses while an engine has containers that need the handler.
fn no_containers(root: &NodeRoot, engine: &NodeEngine) -> Result<()> {
    let all = live_containers::of(root, engine.engine)?;
    match all.is_empty() || !root.is_node() {
        true => Ok(()),
        false => Err(Error::new(
            Kind::Policy,
            format!(
                "{} has containers that were made through the wrapper",
                engine.title()
            ),
        )
        .with_remedy("remove them first")),
    }
}

/// Looks whether an engine that was to be restarted by others serves the handler now.
///
/// # Errors
/// As for [`install`].
pub(crate) fn look_again(root: &NodeRoot, request: &InstallRequest) -> Result<Installed> {
    let Some(record) = InstallRecord::load(root)? else {
        return Ok(Installed::Stopped);
    };
    let _lock = NodeLock::take(root)?;
    let engine = wired(root, &record)?;
    let request = InstallRequest {
        restart: Restart::No,
        prefix: None,
        ..*request
    };
    settled(root, record, &engine, None, &request)
}

/// Notes that the API shows the handler.
///
/// # Errors
/// If the record cannot be written.
pub(crate) fn confirmed(root: &NodeRoot) -> Result<()> {
    let _lock = NodeLock::take(root)?;
    if let Some(mut record) = InstallRecord::load(root)? {
        if let Some(wired) = &mut record.engine {
            wired.confirmed = true;
        }
        record.store(root)?;
    }
    Ok(())
}

/// Takes back what the engine serves, but the API does not show. What it has shown before stays: pods
/// may rely on it.
///
/// # Errors
/// If it cannot be taken back.
pub(crate) fn withdraw(root: &NodeRoot, request: &InstallRequest) -> Result<bool> {
    let _lock = NodeLock::take(root)?;
    match InstallRecord::load(root)? {
        Some(record) if record.engine.as_ref().is_some_and(|wired| !wired.confirmed) => {
            back(root, &wired(root, &record)?, None, request).map(|()| true)
        }
        _ => Ok(false),
    }
}

/// The engine of a record.
pub(super) fn wired(root: &NodeRoot, record: &InstallRecord) -> Result<NodeEngine> {
    let wired = record.engine.as_ref();
    let found = wired.and_then(|wired| Some((Engine::named(&wired.name)?, &wired.configuration)));
    match found {
        Some((engine, main)) => NodeEngine::again(root, engine, main),
        None => Err(
            Error::new(Kind::NotFound, "no engine is configured on this node")
                .with_remedy("run: oci-apparmor node install"),
        ),
    }
}
