//! `create`, `run` and `restore`: everything that has to be right before a container exists.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::apparmor::name::Label;
use crate::bundle::document::Document;
use crate::bundle::files::SpecFile;
use crate::bundle::preflight;
use crate::containers::record::{self, Place, Record, Recorded};
use crate::containers::{pods, runtime_state};
use crate::decision::{self, Asking, Component, Decision, Wanted};
use crate::error::{Error, Kind, Result};
use crate::fs::run;
use crate::profiles::{Against, Ensured, Store};
use crate::report;
use crate::request::{self, Annotations, Caller, Request};
use crate::runtime::advisories;
use crate::runtime::argv::Line;
use crate::runtime::locate::Located;
use crate::runtime::options::Subcommand;
use crate::runtime::{Next, restore, watch};
use crate::settings::{LowLevel, Settings};

/// The name of a bundle's configuration (runtime-spec, "Filesystem Bundle").
const CONFIG: &str = "config.json";

/// How many profiles a sandbox may have loaded for its containers, and in which time.
const PRELOAD_MAX: usize = 16;
const PRELOAD_LIMIT: Duration = Duration::from_secs(5);

pub(super) fn prepare(runtime: &Located, mut line: Line) -> Result<Next> {
    let settings = Settings::load()?;
    let root = runtime_state::root(runtime.kind, line.global("root"));
    let id = line.id.clone();
    let place = Place {
        root: &root,
        id: &id,
    };
    if runtime_state::exists(&root.join(&id))? {
        return Err(exists_already(runtime, &id));
    }
    record::remove(place)?;

    let bundle = bundle(&line)?;
    let file = SpecFile::config(&configuration(&line, &bundle))?;
    let document = Document::config(file.bytes())
        .map_err(|e| e.within(&format!("{} is refused", file.path().display())))?;
    let caller = Caller {
        id: &id,
        bundle: &bundle,
    };
    let request = request::read(document.annotations(), document.profile(), caller)?;
    let restored = line.subcommand == Subcommand::Restore;
    pods::check(&request, &root, caller, restored)?;

    let store = Store::new(&settings);
    let decision = store.decide(&request)?;
    let mut record = record(runtime, place, &bundle, &request, &line);
    if request.is_sandbox {
        preload(&request, &settings);
    }
    let Some(label) = decision.label.clone() else {
        // What asks for nothing needs no place for a record.
        if request.is_sandbox && !(record.annotations.is_empty() && run::path().is_err()) {
            pods::remember(&request)?;
            record::write(&record)?;
        }
        return Ok(Next::HandOn);
    };
    if !label.components().is_empty() {
        if settings.low_level.refuse_known_holes {
            advisories::refuse(runtime)?;
        }
        preflight::bundle(file.bytes(), &bundle)
            .map_err(|e| e.within(&format!("{} is refused", file.path().display())))?;
        if line.subcommand == Subcommand::Restore {
            restore::can_be_verified(&line)?;
        }
    }
    let ensured = ensure(&store, &decision)?;
    for text in decision.reports.iter().chain(&reloads(&ensured)) {
        report::notice(&format!("container {id}: {text}"));
    }
    if line.subcommand == Subcommand::Restore {
        restore_under(&label, &mut line)?;
    }
    if let Some(text) = document.with_label(&label) {
        file.replace(&text)?;
    }
    record.components = ensured.iter().map(Recorded::of).collect();
    record.label = Some(label);
    if request.is_sandbox {
        pods::remember(&request)?;
    }
    record::write(&record)?;
    // From here on the record keeps the profiles from being unloaded.
    drop(ensured);
    match line.subcommand {
        Subcommand::Restore => return restore::carry_out(runtime, &line, &record),
        Subcommand::Run => watch::after_us(runtime, &line, &record).or_else(|e| {
            record::forget(&record)?;
            Err(e)
        })?,
        _ => {}
    }
    Ok(Next::HandOnAs(line))
}

/// A second container of an id, refused in the runtime's words (runc `libcontainer/error.go`, crun
/// `libcrun_status_check_directories()`, youki `LibcontainerError::Exist`).
///
/// The runtime is not left to do so: if the first one vanished before it looks, it would make a
/// container of a configuration that nothing was decided for.
fn exists_already(runtime: &Located, id: &str) -> Error {
    let why = match runtime.kind {
        LowLevel::Runc => "container with given ID already exists".to_owned(),
        LowLevel::Crun => format!("container `{id}` already exists"),
        LowLevel::Youki => "container already exists".to_owned(),
    };
    Error::new(Kind::Usage, why).hint("delete that one first, or choose another id")
}

/// The bundle's real path.
fn bundle(line: &Line) -> Result<PathBuf> {
    let given = Path::new(line.option("bundle").unwrap_or(OsStr::new(".")));
    fs::canonicalize(given).map_err(|e| Error::io("find the bundle", given, &e))
}

/// The bundle's configuration. crun can be told another: in the bundle if it has the usual name,
/// otherwise from where crun is called (`src/create.c`, `src/run.c`).
fn configuration(line: &Line, bundle: &Path) -> PathBuf {
    match line.option("config") {
        Some(named) if named != CONFIG => env::current_dir().unwrap_or_default().join(named),
        _ => bundle.join(CONFIG),
    }
}

fn ensure(store: &Store<'_>, decision: &Decision) -> Result<Vec<Ensured>> {
    decision
        .components
        .iter()
        .map(|component| store.ensure(component, Against::Source))
        .collect()
}

/// What an administrator should hear of profiles that were there, but were not what they must be.
fn reloads(ensured: &[Ensured]) -> Vec<String> {
    ensured.iter().filter_map(Ensured::reload).collect()
}

/// Loads what a sandbox's annotations name: containerd refuses a container whose profile is not
/// loaded before it calls any runtime, and the sandbox comes first. Failures are only reported;
/// the container itself will be refused.
fn preload(request: &Request, settings: &Settings) {
    let started = Instant::now();
    let rules = settings.in_namespace(request.namespace.as_deref());
    for name in request::named_by_sandbox(request, PRELOAD_MAX) {
        let left = PRELOAD_LIMIT.saturating_sub(started.elapsed());
        if left.is_zero() {
            report::notice(
                "preloading for a pod took too long; the rest is left to its containers",
            );
            return;
        }
        let store = Store::new(settings).with_limit(left);
        let component = Component {
            wanted: Wanted::Enforcing,
            name,
        };
        let asking = Asking {
            name: &component.name,
            key: "of the pod",
            // It is not told what it will choose for the containers.
            engine: None,
        };
        let done = store
            .facts_of(&component.name)
            .and_then(|facts| decision::may_ask(asking, &rules, &facts))
            .and_then(|_| store.ensure(&component, Against::Source));
        if let Err(e) = done {
            report::notice(&format!("preloading {} for a pod: {e}", component.name));
        }
    }
}

/// CRIU restores the label that was dumped; `--lsm-profile` makes it this one.
fn restore_under(label: &Label, line: &mut Line) -> Result<()> {
    let wanted = OsString::from(format!("apparmor:{label}"));
    if let Some(other) = line.option("lsm-profile")
        && other != wanted
    {
        return Err(Error::new(
            Kind::Policy,
            format!(
                "--lsm-profile={} contradicts the label {label}",
                other.to_string_lossy()
            ),
        )
        .hint("leave --lsm-profile out"));
    }
    line.set_option("lsm-profile", wanted);
    Ok(())
}

/// What is remembered of the container, before its label.
pub(super) fn record(
    runtime: &Located,
    place: Place<'_>,
    bundle: &Path,
    request: &Request,
    line: &Line,
) -> Record {
    let pid_file = line.option("pid-file").map(PathBuf::from);
    let cwd = env::current_dir().unwrap_or_default();
    Record {
        key: request
            .asked
            .as_ref()
            .map(|(key, _)| key.as_str().to_owned()),
        namespace: request.namespace.clone(),
        pod: request.pod.clone(),
        uid: request.uid.clone(),
        container: request.container.clone(),
        sandbox: request.sandbox.clone(),
        pid_file: pid_file.map(|path| cwd.join(path)),
        annotations: match request.is_sandbox {
            true => request.keys.clone(),
            false => Annotations::new(),
        },
        program: Some(runtime.program.clone()),
        ..record::empty(runtime.kind.name(), place, bundle)
    }
}
