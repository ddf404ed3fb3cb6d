//! `exec`: another process in a container gets the label of its first one.
//!
//! Engines hand over a process of their own making, which knows nothing of the label that was
//! decided; left alone it would run under the engine's default or under nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::admission::{self, Admission};
use crate::apparmor::loaded::Mode;
use crate::apparmor::name::Label;
use crate::bundle::Annotations;
use crate::bundle::document::Document;
use crate::bundle::files::SpecFile;
use crate::bundle::preflight;
use crate::bundle::process::ProcessFile;
use crate::containers::record::{self, Place, Record, Recorded};
use crate::containers::{labels, runtime_state};
use crate::error::{Error, Kind, Result};
use crate::node::Node;
use crate::profiles::{Check, Source, Store};
use crate::report;
use crate::request::{self, Caller, Key, Wish};
use crate::runtime::argv::Line;
use crate::runtime::create::record as new_record;
use crate::runtime::locate::Located;
use crate::runtime::verify::{self, Subject};
use crate::runtime::{Next, command, exit_code};
use crate::settings::Verify;
use crate::wanted::{Component, Wanted};

pub(super) fn prepare(runtime: &Located, mut line: Line, node: &Node) -> Result<Next> {
    let root = runtime_state::root(runtime.kind, line.global("root"));
    let id = line.id.clone();
    let place = Place {
        root: &root,
        id: &id,
    };
    let (known, mut record) = match record::read(place) {
        Some(record) => (true, record),
        None => match from_bundle(runtime, place, &line, node)? {
            Some(record) => (false, record),
            None => return Ok(Next::HandOn),
        },
    };
    let Some(label) = record.label.clone() else {
        return Ok(Next::HandOn);
    };

    let store = Store::new(node);
    let before = record.clone();
    ensure(&store, node, &mut record, known)?;
    // While a container waits for `start`, its record says what the kernel held when the waiting
    // label was set: a profile that came back since must not make `start` believe in it.
    // What cannot be told may wait.
    let waits = || {
        let origin = runtime_state::origin(runtime.kind, &root, &id);
        origin.map_or(true, |origin| origin.is_some_and(|origin| origin.waits))
    };
    if (record != before || !known) && !waits() {
        // The next exec finds it; this one does not depend on it.
        if let Err(e) = record::write(&record) {
            report::notice(&format!("container {id}: {e}"));
        }
    }
    if let Some(given) = line.option("apparmor")
        && !Label::parse(&given.to_string_lossy()).is_ok_and(|given| given.same(&label))
    {
        return Err(Error::new(
            Kind::Policy,
            format!(
                "--apparmor={} contradicts the container's label {label}",
                given.to_string_lossy()
            ),
        )
        .with_remedy("leave --apparmor out"));
    }
    match line.option("process").map(OsString::from) {
        Some(path) => {
            let file = ProcessFile::open(Path::new(&path))?;
            let refused = |e: Error| e.about(&format!("{} is refused", file.path().display()));
            let document = Document::process(file.bytes()).map_err(refused)?;
            preflight::process(file.bytes()).map_err(refused)?;
            let text = document.with_label(&label);
            if let Some(copy) = file.hand_on(text.as_deref(), beyond_preserved(&line))? {
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
    match line.option("pid-file").map(PathBuf::from) {
        Some(pid_file) if node.settings.verify == Verify::All && line.has("detach") => {
            verified(runtime, &line, &record, &pid_file, node)
        }
        _ => Ok(Next::HandOnAs(line)),
    }
}

/// The first descriptor that a runtime hands on to no process: after the standard ones it keeps as
/// many as `--preserve-fds` says, and runc those of socket activation before these
/// (`exec.go` in runc, `utils_linux.go`).
fn beyond_preserved(line: &Line) -> i32 {
    let count = |text: Option<String>| text.and_then(|t| t.trim().parse::<i32>().ok());
    let preserved = line.option("preserve-fds");
    let preserved = count(preserved.map(|v| v.to_string_lossy().into_owned()));
    let sockets = count(std::env::var("LISTEN_FDS").ok());
    [preserved, sockets]
        .into_iter()
        .flatten()
        .fold(3, |sum: i32, n| sum.saturating_add(n.max(0)))
}

/// Has the runtime execute a process, and kills that if it runs without the label.
fn verified(
    runtime: &Located,
    line: &Line,
    record: &Record,
    pid_file: &Path,
    node: &Node,
) -> Result<Next> {
    let code = exit_code(
        command(runtime, &line.words()).status(),
        &runtime.program,
        || !pid_file.exists(),
    )?;
    if code == 0
        && let Some(subject) = Subject::of(verify::first_process(pid_file)?)?
        && let Err(why) = subject.verify(record, node)
    {
        subject.kill();
        return Err(why.with_remedy("it was killed; update the low-level runtime"));
    }
    Ok(Next::Done(code))
}

/// Makes sure of every component; what the container lost meanwhile is reported, since its
/// running processes do not get it back.
fn ensure(store: &Store<'_>, node: &Node, record: &mut Record, known: bool) -> Result<()> {
    labels::enforced(record, &node.kernel)?;
    for recorded in &mut record.components {
        let mut component = recorded.component();
        // The node may have let it complain since the container was made. That is not recorded:
        // the node may take it back.
        let relaxed = match store.loaded(&recorded.name)? {
            Some(loaded) => loaded.mode == Mode::Complain,
            None => true,
        };
        if relaxed && Source::complains(&recorded.name, &node.settings) {
            component.wanted = Wanted::Any;
        }
        let ensured = store.ensure(&component, Check::Mode)?;
        if known && ensured.loaded.directory != recorded.directory {
            report::notice(&format!(
                "container {}: the profile {} was removed while it ran; its processes lost it, \
                 restart the container",
                record.id, recorded.name
            ));
        }
        *recorded = Recorded {
            wanted: recorded.wanted,
            ..Recorded::of(&ensured)
        };
    }
    Ok(())
}

/// The record of a container whose record is lost, from the bundle that its runtime remembers;
/// `None` where it asked for nothing, or does not exist.
///
/// What a container of ours runs under stands in the configuration that its runtime read:
/// `create` writes the label there before the runtime is called, whoever asked for it. So the
/// label in there is believed if it is all that an annotation asks for, or if none can be read.
/// If an annotation asks for something else:
///
/// - The first process runs under that: only the configuration was changed since. It holds.
/// - It may be named: the container is older than this program, and gets what it asked for.
/// - It may not be named, or the annotations break a rule: `create` refuses these, so the
///   container is not one of ours (or of one that had other rules, which then wrote the label).
///   Nothing was promised for it, and its health checks must go on: what is exec'ed goes under
///   the label of the configuration, or, without one, is handed on. To follow the annotation
///   would let a pod pick a profile past the rules, by having been there before them.
pub(super) fn from_bundle(
    runtime: &Located,
    place: Place<'_>,
    line: &Line,
    node: &Node,
) -> Result<Option<Record>> {
    let Some(origin) = runtime_state::origin(runtime.kind, place.root, place.id)? else {
        return Ok(None);
    };
    let bundle = origin.bundle;
    let file = SpecFile::config(&origin.configuration)?;
    let document = admission::document(&file)?;
    let caller = Caller {
        id: place.id,
        bundle: &bundle,
    };
    let profile = document.profile();
    let request = match request::read(document.annotations(), profile, caller) {
        Ok(request) => request,
        Err(_) => match request::read(&Annotations::new(), profile, caller) {
            Ok(request) => request,
            // Not even the label: none that we write is refused.
            Err(_) => return Ok(None),
        },
    };
    let admission = Admission::with(node, request);
    let request = &admission.request;
    let engine = request.engine_label.clone();
    let (label, asked) = match &request.asked {
        None => return Ok(None),
        Some((Key::Spec, Wish::Label(label))) => (label.clone(), Label::unconfined()),
        Some((_, Wish::RuntimeDefault)) => match engine {
            None => return Ok(None),
            Some(label) => (label, Label::unconfined()),
        },
        // It was left as the engine made it, and so is this.
        Some((_, Wish::Label(asked))) if asked.components().is_empty() && engine.is_none() => {
            return Ok(None);
        }
        Some((key, Wish::Label(asked))) => {
            let holds = |label: &Label| {
                let mut asked = asked.components().iter();
                asked.all(|name| label.components().contains(name))
            };
            let runs_under =
                |label: &Label| origin.pid.is_some_and(|pid| labels::runs_under(pid, label));
            match engine {
                Some(label) if holds(&label) => (label, asked.clone()),
                _ if runs_under(asked) || admission.may_name(key, asked)? => {
                    (asked.clone(), asked.clone())
                }
                Some(label) => (label, Label::unconfined()),
                None => return Ok(None),
            }
        }
    };
    let mut record = new_record(runtime, place, &bundle, request, line);
    record.pid_file = None;
    for name in label.components() {
        let complains = Source::complains(name, &node.settings);
        let wanted = match asked.components().contains(name) && !complains {
            true => Wanted::Enforcing,
            false => Wanted::Any,
        };
        let component = Component {
            name: name.clone(),
            wanted,
        };
        record.components.push(Recorded::wanted(component));
    }
    record.label = Some(label);
    Ok(Some(record))
}
