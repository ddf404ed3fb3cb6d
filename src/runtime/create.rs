//! `create`, `run` and `restore`: everything that has to be right before a container exists.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use crate::admission::{self, Admission};
use crate::apparmor::name::Label;
use crate::bundle::Annotations;
use crate::bundle::files::SpecFile;
use crate::bundle::preflight;
use crate::containers::record::{self, Place, Record, Recorded};
use crate::containers::{pods, runtime_state};
use crate::error::{Error, Kind, Result};
use crate::fs::run;
use crate::node::Node;
use crate::report;
use crate::request::{Caller, Request};
use crate::runtime::advisories;
use crate::runtime::argv::Line;
use crate::runtime::locate::Located;
use crate::runtime::options::Subcommand;
use crate::runtime::{Next, restore, watch};
use crate::settings::RuntimeKind;

/// The name of a bundle's configuration (runtime-spec, "Filesystem Bundle").
const CONFIG: &str = "config.json";

pub(super) fn prepare(runtime: &Located, mut line: Line, node: &Node) -> Result<Next> {
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
    let document = admission::document(&file)?;
    let caller = Caller {
        id: &id,
        bundle: &bundle,
    };
    let admission = Admission::of(node, &document, caller)?;
    let request = &admission.request;
    let restored = line.subcommand == Subcommand::Restore;
    pods::check(request, &root, caller, restored)?;

    let decision = admission.decide()?;
    let mut record = record(runtime, place, &bundle, request, &line);
    if request.is_sandbox {
        admission.preload();
    }
    let Some(label) = decision.label.clone() else {
        // What asks for nothing needs no place for a record.
        if request.is_sandbox && !(record.annotations.is_empty() && run::path().is_err()) {
            pods::remember(request)?;
            record::write(&record)?;
        }
        return Ok(Next::HandOn);
    };
    if !label.components().is_empty() {
        if node.settings.runtimes.refuse_vulnerable {
            advisories::refuse(runtime)?;
        }
        preflight::bundle(file.bytes(), &bundle)
            .map_err(|e| e.about(&format!("{} is refused", file.path().display())))?;
        if line.subcommand == Subcommand::Restore {
            restore::can_be_verified(&line)?;
        }
    }
    let ensured = admission.ensure(&decision)?;
    for text in admission::notices(&decision, &ensured) {
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
        pods::remember(request)?;
    }
    record::write(&record)?;
    // From here on the record keeps the profiles from being unloaded.
    drop(ensured);
    match line.subcommand {
        Subcommand::Restore => return restore::carry_out(runtime, &line, &record, node),
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
        RuntimeKind::Runc => "container with given ID already exists".to_owned(),
        RuntimeKind::Crun => format!("container `{id}` already exists"),
        RuntimeKind::Youki => "container already exists".to_owned(),
    };
    Error::new(Kind::Usage, why).with_remedy("delete that one first, or choose another id")
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
        .with_remedy("leave --lsm-profile out"));
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
