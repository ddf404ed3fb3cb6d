//! `exec`: a further process in a container gets the label of the first one.
//!
//! Engines build this process themselves and do not know the decided label. Unchanged, it would run
//! under the engine's default or unconfined.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::apparmor::loaded::Mode;
use crate::apparmor::name::Label;
use crate::bundle::document::Document;
use crate::bundle::preflight;
use crate::bundle::process::ProcessFile;
use crate::containers::record::{ContainerKey, Record, RecordedProfile};
use crate::containers::{labels, records, runtime_state};
use crate::error::{Error, Kind, Result};
use crate::node::Node;
use crate::profiles::{Check, Source, Store};
use crate::report;
use crate::runtime::argv::RuntimeCommand;
use crate::runtime::handoff;
use crate::runtime::locate::RuntimeProgram;
use crate::runtime::recover;
use crate::runtime::verify::{self, ContainerProcess};
use crate::settings::Verify;
use crate::wanted::Wanted;

pub(super) fn carry_out(
    runtime: &RuntimeProgram,
    mut line: RuntimeCommand,
    words: &[OsString],
    node: &Node,
) -> Result<u8> {
    let root = runtime_state::root(runtime.kind, line.global("root"));
    let id = line.id.clone();
    let key = ContainerKey {
        root: &root,
        id: &id,
    };
    let (has_record, mut record) = match records::read(key) {
        Some(record) => (true, record),
        None => match recover::from_bundle(runtime, key, &line, node)? {
            Some(record) => (false, record),
            None => return Err(handoff::exec(runtime, words)),
        },
    };
    let Some(label) = record.label.clone() else {
        return Err(handoff::exec(runtime, words));
    };

    let store = Store::new(node);
    let before = record.clone();
    ensure(&store, node, &mut record, has_record)?;
    // While a container waits for `start`, its record must keep the profile directories of the time
    // when the waiting label was set. `start` would otherwise accept a profile that was removed and
    // loaded again. If the state cannot be read, the container may wait.
    let may_await_start = || {
        let state = runtime_state::read(runtime.kind, key);
        state.map_or(true, |state| state.is_some_and(|state| state.awaits_start))
    };
    if (record != before || !has_record) && !may_await_start() {
        // This call does not need the record, so a failure is only reported.
        if let Err(e) = records::write(&record) {
            report::notice(&format!("container {id}: {e}"));
        }
    }
    set_label(&mut line, &label)?;
    match line.option("pid-file").map(PathBuf::from) {
        Some(pid_file) if node.settings.verify == Verify::All && line.has("detach") => {
            exec_and_verify(runtime, &line, &record, &pid_file, node)
        }
        _ => Err(handoff::exec(runtime, &line.words())),
    }
}

/// Makes sure that every profile of the record is loaded. If one was removed since, the running
/// processes stay unconfined, and that is reported.
fn ensure(store: &Store<'_>, node: &Node, record: &mut Record, has_record: bool) -> Result<()> {
    labels::check_enforcement(record, &node.kernel)?;
    for recorded in &mut record.components {
        let mut component = recorded.component();
        // The node may have been configured to let the profile complain since the container was
        // created. The record keeps the wanted mode, since the node may change back.
        let mode = store.mode_of(&recorded.name)?;
        let may_complain = mode.is_none_or(|mode| mode == Mode::Complain);
        if may_complain && Source::complains(&recorded.name, &node.settings) {
            component.wanted = Wanted::Any;
        }
        let ensured = store.ensure(&component, Check::Mode)?;
        if has_record && ensured.loaded.directory != recorded.directory {
            report::notice(&format!(
                "container {}: the profile {} was removed while the container ran, so its \
                 processes are unconfined; restart the container",
                record.id, recorded.name
            ));
        }
        *recorded = RecordedProfile {
            wanted: recorded.wanted,
            ..RecordedProfile::of(&ensured)
        };
    }
    Ok(())
}

/// Writes the label into the process file, or adds `--apparmor` if there is none.
fn set_label(line: &mut RuntimeCommand, label: &Label) -> Result<()> {
    if let Some(given) = line.option("apparmor")
        && !Label::parse(&given.to_string_lossy()).is_ok_and(|given| given.same(label))
    {
        return Err(Error::new(
            Kind::Policy,
            format!(
                "--apparmor={} conflicts with the container's label {label}",
                given.to_string_lossy()
            ),
        )
        .with_remedy("omit --apparmor"));
    }
    match line.option("process").map(OsString::from) {
        Some(path) => {
            let file = ProcessFile::open(Path::new(&path))?;
            let refused = |e: Error| e.about(&format!("{} is refused", file.path().display()));
            let document = Document::process(file.bytes()).map_err(refused)?;
            preflight::process(&document).map_err(refused)?;
            let text = document.with_label(label);
            if let Some(copy) = file.hand_on(text.as_deref(), first_free_descriptor(line))? {
                line.set_option("process", copy);
            }
        }
        None => {
            if let Some(cwd) = line.option("cwd") {
                preflight::starts_in(&cwd.to_string_lossy())?;
            }
            line.set_option("apparmor", label.to_string().into());
        }
    }
    Ok(())
}

/// The lowest descriptor that a runtime passes on to no process. After the standard ones it passes on
/// as many as `--preserve-fds` says; runc passes on those of socket activation before these
/// (`exec.go` in runc, `utils_linux.go`).
fn first_free_descriptor(line: &RuntimeCommand) -> i32 {
    let count = |text: Option<String>| text.and_then(|t| t.trim().parse::<i32>().ok());
    let preserved = line.option("preserve-fds");
    let preserved = count(preserved.map(|v| v.to_string_lossy().into_owned()));
    let sockets = count(std::env::var("LISTEN_FDS").ok());
    [preserved, sockets]
        .into_iter()
        .flatten()
        .fold(3, |sum: i32, n| sum.saturating_add(n.max(0)))
}

/// Runs the runtime's `exec`, and kills the new process if it runs without the label.
fn exec_and_verify(
    runtime: &RuntimeProgram,
    line: &RuntimeCommand,
    record: &Record,
    pid_file: &Path,
    node: &Node,
) -> Result<u8> {
    let status = handoff::command(runtime, &line.words()).status();
    let code = handoff::exit_code(status, &runtime.program, || !pid_file.exists())?;
    if code == 0
        && let Some(process) = ContainerProcess::open(verify::read_pid_file(pid_file)?)?
        && let Err(why) = process.verify(record, node)
    {
        process.kill();
        let remedy = format!("it was killed; update {}", runtime.kind.name());
        return Err(why.with_remedy(remedy));
    }
    Ok(code)
}
