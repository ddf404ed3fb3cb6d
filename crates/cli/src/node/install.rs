//! Installing on a node. Everything that can be refused is refused before anything is written.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::{FsFlags, statvfs};

use crate::engine::distribution::Distribution;
use crate::engine::journal::{DIRECTORY, Journal};
use crate::engine::kind::Engine;
use crate::engine::live_containers;
use crate::engine::root::NodeRoot;
use crate::node::files::{self, CONFIG, Edited, Entry, Layout, Programs, STARTED};
use crate::node::lock::NodeLock;
use crate::node::placed;
use crate::node::record::{InstallRecord, WiredEngine};
use crate::node::restart::{self, Restart};
use crate::node::served::{self, Serving};
use crate::node::wiring::{HANDLER, NodeEngine};
use crate::report::output::Output;
use oci_apparmor::child::{self, Limits};
use oci_apparmor::error::{Error, Kind, Result, foreign};
use oci_apparmor::settings::Settings;

/// What is installed below, unless the caller or the record says otherwise.
const PREFIX: &str = "/usr/local";

/// The same where `/usr` cannot be written.
const OTHER_PREFIX: &str = "/opt/oci-apparmor";

/// The state of a node, below `/var`: the directory, its mode, and whether it is the agent's.
const STATE: [(&str, u32, bool); 3] = [
    ("/var/lib/oci-apparmor", 0o755, false),
    ("/var/lib/oci-apparmor/spool", 0o750, true),
    ("/var/lib/oci-apparmor/status", 0o755, false),
];

/// The user of the agent.
const AGENT: u32 = 65532;

const LIMITS: Limits = Limits {
    time: Duration::from_secs(30),
    memory: 64 << 30,
};

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

/// Installs, or continues what was begun.
///
/// # Errors
/// If it is refused, with nothing changed; if something cannot be written, or taken back.
pub(crate) fn install(
    root: &NodeRoot,
    programs: Programs,
    request: &InstallRequest,
    output: Output,
) -> Result<Installed> {
    restart::possible(root, request.restart)?;
    let _lock = NodeLock::take(root)?;
    let found = InstallRecord::load(root)?;
    let prefix = prefix(root, request, found.as_ref(), output)?;
    let layout = Layout::new(&prefix);
    let engine = NodeEngine::find(root, request.engine, request.distribution)?;
    same_engine(found.as_ref(), &engine)?;
    let record = found.unwrap_or_else(|| InstallRecord::new(&prefix));
    let mut entries = layout.entries(programs);
    // An administrator's file, even if it was never edited.
    if placed::found(root, Path::new(CONFIG))?.is_none() {
        entries.push(files::config());
    }
    let mut known: BTreeSet<PathBuf> = entries.iter().map(|entry| entry.path.clone()).collect();
    known.insert(PathBuf::from(CONFIG));
    let todo = compared(root, &record, entries, output)?;
    // Only to refuse: it is planned again when the programs are there.
    engine.change(root, &layout.libexec(), request.default)?;
    let record = write(root, &known, record, todo, output)?;
    verify(root, &layout)?;
    wire(root, &layout, record, &engine, request, output)
}

fn prefix(
    root: &NodeRoot,
    request: &InstallRequest,
    record: Option<&InstallRecord>,
    output: Output,
) -> Result<PathBuf> {
    let given = request.prefix.as_deref();
    if let Some(given) = given {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
        if !given.is_absolute() || !given.to_string_lossy().chars().all(plain) {
            return Err(Error::new(
                Kind::Usage,
                format!(
                    "--prefix must be an absolute path of plain characters, not {}",
                    given.display()
                ),
            )
            .with_remedy("give --prefix /opt/oci-apparmor, for example; nothing was changed"));
        }
    }
    match (record, given) {
        (Some(record), Some(given)) if record.prefix != given => Err(Error::new(
            Kind::Policy,
            format!("it is installed below {}", record.prefix.display()),
        )
        .with_remedy(format!(
            "give --prefix {}, or run: oci-apparmor node uninstall; nothing was changed",
            record.prefix.display()
        ))),
        (Some(record), _) => Ok(record.prefix.clone()),
        (None, Some(given)) => Ok(given.to_owned()),
        (None, None) => {
            let there = placed::existing(root, Path::new(PREFIX));
            let read_only = statvfs(&there).is_ok_and(|at| at.flags().contains(FsFlags::ST_RDONLY));
            if read_only {
                output.line(format!(
                    "{PREFIX} cannot be written here, so {OTHER_PREFIX} is used"
                ))?;
            }
            Ok(PathBuf::from(if read_only { OTHER_PREFIX } else { PREFIX }))
        }
    }
}

/// One node has one engine for Kubernetes: the former one must be taken back first.
fn same_engine(record: Option<&InstallRecord>, engine: &NodeEngine) -> Result<()> {
    let wired = record.and_then(|record| record.engine.as_ref());
    match wired {
        Some(wired) if wired.name != engine.engine.name() => Err(Error::new(
            Kind::Policy,
            format!("{} is configured on this node", wired.name),
        )
        .with_remedy("run: oci-apparmor node uninstall; nothing was changed")),
        _ => Ok(()),
    }
}

/// The entries that are to be written. What is there and not ours is refused.
fn compared(
    root: &NodeRoot,
    record: &InstallRecord,
    entries: Vec<Entry>,
    output: Output,
) -> Result<Vec<(Entry, Option<String>)>> {
    let mut todo = Vec::new();
    for entry in entries {
        let found = placed::found(root, &entry.path)?;
        let wanted = placed::name(&entry.content);
        let same = found.as_ref() == Some(&wanted);
        if same && placed::has_mode(root, &entry.path, &entry.content)? {
            // Ours, or there before: then it is not recorded, and stays.
            let ours = record.entries.contains_key(&entry.path);
            todo.extend(ours.then_some((entry, found)));
            continue;
        }
        match found {
            None => todo.push((entry, None)),
            Some(found) if same || record.has(&entry.path, &found) => {
                todo.push((entry, Some(found)))
            }
            Some(found) if record.entries.contains_key(&entry.path) => match entry.edited {
                Edited::Replaced => todo.push((entry, Some(found))),
                Edited::Kept => output.line(format!(
                    "kept {}, which was changed since it was installed",
                    root.on_host(&entry.path).display()
                ))?,
            },
            Some(_) => {
                return Err(Error::new(
                    Kind::Policy,
                    format!(
                        "{} exists, and `oci-apparmor node install` did not write it",
                        root.on_host(&entry.path).display()
                    ),
                )
                .with_remedy(
                    "remove what installed it (./install.sh --uninstall, or the package), or give \
                     another --prefix; nothing was changed",
                ));
            }
        }
    }
    Ok(todo)
}

/// Writes the entries, and the record before them.
fn write(
    root: &NodeRoot,
    known: &BTreeSet<PathBuf>,
    mut record: InstallRecord,
    todo: Vec<(Entry, Option<String>)>,
    output: Output,
) -> Result<InstallRecord> {
    // Always, because a run that was killed may have made it. It goes only if it is empty.
    let own = PathBuf::from("/etc/oci-apparmor");
    if !record.directories.contains(&own) {
        record.directories.insert(0, own);
    }
    let paths = todo.iter().map(|(entry, _)| entry.path.as_path());
    let states = STATE.iter().map(|(path, ..)| Path::new(path));
    for path in paths.chain(states) {
        let above: Vec<&Path> = path.ancestors().skip(1).collect();
        for directory in above.into_iter().rev() {
            let known = record.directories.iter().any(|known| known == directory);
            if !known && !root.has(directory) {
                record.directories.push(directory.to_owned());
            }
        }
    }
    for (path, ..) in STATE {
        let path = PathBuf::from(path);
        if !record.directories.contains(&path) && !root.has(&path) {
            record.directories.push(path);
        }
    }
    let finished = record.is_finished(env!("CARGO_PKG_VERSION"));
    for (entry, found) in &todo {
        record.add(&entry.path, placed::name(&entry.content));
        // What is replaced is ours as well, so that it goes if this process is killed now.
        if let Some(found) = found {
            record.add(&entry.path, found.clone());
        }
    }
    record.store(root)?;
    placed::sweep_all(root, Path::new("/etc/oci-apparmor"))?;
    placed::sweep_all(root, Path::new(DIRECTORY))?;
    let mut written = 0usize;
    for (entry, found) in &todo {
        placed::sweep(root, &entry.path)?;
        let wanted = placed::name(&entry.content);
        let same = found.as_ref() == Some(&wanted);
        if !same || !placed::has_mode(root, &entry.path, &entry.content)? {
            placed::put(root, &entry.path, &entry.content)?;
            written = written.saturating_add(1);
            output.line(format!("installed {}", root.on_host(&entry.path).display()))?;
        }
    }
    for (entry, _) in &todo {
        let wanted = placed::name(&entry.content);
        record.entries.insert(entry.path.clone(), vec![wanted]);
    }
    drop(todo);
    written = written.saturating_add(obsolete(root, known, &mut record, output)?);
    for (path, mode, agents) in STATE {
        state(root, Path::new(path), mode, agents)?;
    }
    if written != 0 || !finished {
        // The engine does not need them, and the next boot starts them in any case.
        if let Err(e) = restart::units(root, "start", &STARTED) {
            output.line(format!("note: {e}"))?;
        }
    }
    env!("CARGO_PKG_VERSION").clone_into(&mut record.release);
    record.store(root)?;
    if written == 0 {
        output.line(format!("release {} is installed already", record.release))?;
    }
    Ok(record)
}

/// Removes what an earlier release had and this one has not; how much that is.
fn obsolete(
    root: &NodeRoot,
    known: &BTreeSet<PathBuf>,
    record: &mut InstallRecord,
    output: Output,
) -> Result<usize> {
    let old = record.entries.keys().filter(|path| !known.contains(*path));
    let old: Vec<PathBuf> = old.cloned().collect();
    for path in &old {
        if placed::found(root, path)?.is_some_and(|found| record.has(path, &found)) {
            placed::take(root, path)?;
            output.line(format!("removed {}", root.on_host(path).display()))?;
        }
        record.entries.remove(path);
    }
    Ok(old.len())
}

/// A directory of the node's state. It may be there with other contents, which stay.
fn state(root: &NodeRoot, path: &Path, mode: u32, agents: bool) -> Result<()> {
    let there = root.entry(path)?.is_some_and(|real| real.is_dir());
    let real = match there {
        true => root.on_host(path),
        false => root.directory_at(path)?,
    };
    let failed = |e: std::io::Error| Error::io("prepare", &real, &e);
    let meta = fs::symlink_metadata(&real).map_err(failed)?;
    let uid = if agents { AGENT } else { 0 };
    // In an image that is made without root, the first boot has to do it.
    if nix::unistd::geteuid().is_root() && (meta.uid(), meta.gid()) != (uid, uid) {
        chown(&real, Some(uid), Some(uid)).map_err(failed)?;
    }
    if meta.mode() & 0o7777 != mode {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&real, permissions).map_err(failed)?;
    }
    Ok(())
}

/// Runs the installed program, before any engine may call the wrapper beside it: its file system may
/// forbid that, and the program may be for another architecture.
fn verify(root: &NodeRoot, layout: &Layout) -> Result<()> {
    if !root.is_node() {
        return Ok(());
    }
    let program = layout.program();
    let failed = |why: &str| {
        Error::new(
            Kind::Internal,
            format!("{} does not run: {}", program.display(), foreign(why)),
        )
        .with_remedy(
            "give --prefix a file system without noexec, and programs of this architecture; no \
             engine was configured",
        )
    };
    match child::run(&program, &["--version"], b"", LIMITS) {
        Ok(said) => {
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            match said
                .split_whitespace()
                .any(|word| word == env!("CARGO_PKG_VERSION"))
            {
                true => Ok(()),
                false => Err(failed(&format!("it says {said}"))),
            }
        }
        Err(e) => Err(failed(&Error::from(e).to_string())),
    }
}

/// Configures the engine, and waits until it serves the handler.
fn wire(
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
        change.plan.apply(root)?;
        for note in change.notes {
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
        (Serving::Nothing, Restart::No, _) => return Ok(Installed::Stopped),
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
