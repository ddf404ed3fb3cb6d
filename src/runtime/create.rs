//! `create`, `run` and `restore`: what must be done before a container exists, and then the runtime.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::admission::{self, Admission};
use crate::apparmor::name::Label;
use crate::bundle::files::BundleFile;
use crate::bundle::preflight;
use crate::containers::record::{ContainerKey, RecordedProfile};
use crate::containers::records::{self, RecordPath};
use crate::containers::{pods, runtime_state};
use crate::error::{Error, Kind, Result};
use crate::fs::real_path::RealDirectory;
use crate::fs::run;
use crate::node::Node;
use crate::report;
use crate::request::Caller;
use crate::runtime::argv::RuntimeCommand;
use crate::runtime::argv::subcommand::Subcommand;
use crate::runtime::handoff;
use crate::runtime::locate::RuntimeProgram;
use crate::runtime::new_record::new_record;
use crate::runtime::watcher::watch::WatchedCall;
use crate::runtime::{advisories, restore};
use crate::settings::RuntimeKind;

/// The name of a bundle's configuration (runtime-spec, "Filesystem Bundle").
const CONFIG: &str = "config.json";

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
    if runtime_state::exists(key)? {
        return Err(already_exists(runtime, &line));
    }
    let record_file = RecordPath::of(key);
    if let Ok(earlier) = &record_file {
        earlier.remove()?;
    }

    let bundle = bundle(&line)?;
    let file = BundleFile::config_of(&bundle, &configuration(&line, bundle.path()))?;
    let document = admission::document(&file)?;
    let caller = Caller {
        id: &id,
        bundle: bundle.path(),
    };
    let admission = Admission::of(node, &document, caller)?;
    let request = &admission.request;
    let is_restored = line.subcommand == Subcommand::Restore;
    pods::check(request, &root, caller, is_restored)?;

    let decision = admission.decide()?;
    let mut record = new_record(runtime, key, bundle.path(), request, &line);
    if request.is_sandbox {
        admission.preload();
    }
    let Some(label) = decision.label.clone() else {
        // A sandbox without annotations does not need a record, so it may start without a run-time
        // directory.
        if request.is_sandbox && !(record.annotations.is_empty() && run::path().is_err()) {
            pods::store(request)?;
            record_file?.write(&record)?;
        }
        return Err(handoff::exec(runtime, words));
    };
    if !label.components().is_empty() {
        if node.settings.runtimes.refuse_vulnerable {
            advisories::refuse(runtime)?;
        }
        preflight::bundle(&document, &bundle)
            .map_err(|e| e.about(&format!("{} is refused", file.path().display())))?;
        if is_restored {
            restore::can_be_verified(&line)?;
        }
    }
    let ensured = admission.ensure(&decision)?;
    for text in admission::notices(&decision, &ensured) {
        report::notice(&format!("container {id}: {text}"));
    }
    if is_restored {
        set_lsm_profile(&label, &mut line)?;
    }
    if let Some(text) = document.with_label(&label) {
        file.replace(&bundle, &text)?;
    }
    record.components = ensured.iter().map(RecordedProfile::of).collect();
    record.label = Some(label);
    if request.is_sandbox {
        pods::store(request)?;
    }
    record_file?.write(&record)?;
    // `unload` now finds the record, so the locks of the profiles are no longer needed. execve(2)
    // releases them for `create`.
    match line.subcommand {
        Subcommand::Restore => {
            drop(ensured);
            return restore::carry_out(runtime, &line, &record, node);
        }
        Subcommand::Run => {
            drop(ensured);
            let call = WatchedCall {
                runtime,
                line: &line,
                record: &record,
                settings: &node.settings,
            };
            call.watch_runtime().or_else(|e| {
                records::forget(&record)?;
                Err(e)
            })?;
        }
        _ => {}
    }
    Err(handoff::exec(runtime, &line.words()))
}

/// The refusal of a second container with the same id, in the runtime's words (runc
/// `libcontainer/error.go`, crun `libcrun_status_check_directories()`, youki
/// `LibcontainerError::Exist`).
///
/// This is not left to the runtime: if the first container vanished before the runtime looks, it would
/// create one from a configuration for which nothing was decided.
fn already_exists(runtime: &RuntimeProgram, line: &RuntimeCommand) -> Error {
    let id = &line.id;
    let why = match runtime.kind {
        RuntimeKind::Runc => "container with given ID already exists".to_owned(),
        RuntimeKind::Crun => format!("container `{id}` already exists"),
        RuntimeKind::Youki => "container already exists".to_owned(),
    };
    Error::new(Kind::Usage, why).with_remedy(format!("delete {id} first, or use another id"))
}

/// The bundle.
fn bundle(line: &RuntimeCommand) -> Result<RealDirectory> {
    let given = Path::new(line.option("bundle").unwrap_or(OsStr::new(".")));
    RealDirectory::open(given).map_err(|e| Error::io("find the bundle", given, &e))
}

/// The configuration of the bundle. crun's `--config` names another one: in the bundle if it has the
/// usual name, otherwise relative to the current directory (`src/create.c`, `src/run.c`).
fn configuration(line: &RuntimeCommand, bundle: &Path) -> PathBuf {
    match line.option("config") {
        Some(named) if named != CONFIG => env::current_dir().unwrap_or_default().join(named),
        _ => bundle.join(CONFIG),
    }
}

/// Adds `--lsm-profile`. Without it CRIU restores the label of the checkpoint.
fn set_lsm_profile(label: &Label, line: &mut RuntimeCommand) -> Result<()> {
    let wanted = OsString::from(format!("apparmor:{label}"));
    if let Some(other) = line.option("lsm-profile")
        && other != wanted
    {
        return Err(Error::new(
            Kind::Policy,
            format!(
                "--lsm-profile={} conflicts with the label {label}",
                other.to_string_lossy()
            ),
        )
        .with_remedy("omit --lsm-profile"));
    }
    line.set_option("lsm-profile", wanted);
    Ok(())
}
