//! The OCI hook: `oci-apparmor-hook STAGE`.
//!
//! `createRuntime`, and its old name `prestart`, run before the runtime writes the label: in time
//! to load the profile, too late to change its name. `precreate` is podman's own stage: it gets
//! the whole configuration and may change it. No hook sees `exec`; the wrapper does.
//!
//! The environment may be empty, or an attacker's; nothing of it is used.

use std::env;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::admission::{self, Admission};
use crate::apparmor::name::Label;
use crate::bundle::document::Document;
use crate::bundle::files::SpecFile;
use crate::bundle::state;
use crate::error::{Error, Kind, Result, quoted};
use crate::node::Node;
use crate::report::{self, EngineLog};
use crate::request::Caller;

const USAGE: &str = "\
Usage: oci-apparmor-hook STAGE

An OCI hook, called by podman, CRI-O or another engine; see oci-apparmor-hook(8).

Stages:
  createRuntime  loads the profile that the container names, and checks that it gets it
  prestart       the same, by its old name
  precreate      podman only: sets the profile in the configuration that it is given

Options:
  --help         shows this
  --version      shows the version
";

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    report::on_panic();
    let words: Vec<_> = env::args_os().skip(1).collect();
    let stage = match words.as_slice() {
        [one] => one.to_str().unwrap_or_default(),
        _ => "",
    };
    let (what, done) = match stage {
        "--help" | "-h" => ("the call".to_owned(), print(USAGE.as_bytes())),
        "--version" => {
            let version = concat!("oci-apparmor-hook ", env!("CARGO_PKG_VERSION"), "\n");
            ("the call".to_owned(), print(version.as_bytes()))
        }
        "createRuntime" | "prestart" => create_runtime(stage),
        "precreate" => ("start of a container (precreate)".to_owned(), precreate()),
        _ => {
            let error = Error::new(Kind::Usage, "the stage is missing or unknown")
                .with_remedy("the stages are createRuntime, prestart and precreate");
            ("the call".to_owned(), Err(error))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            report::refusal(&what, &e, &EngineLog::default());
            ExitCode::from(e.kind().exit_code())
        }
    }
}

/// Loads what the container names; the runtime is about to apply what the bundle says.
fn create_runtime(stage: &str) -> (String, Result<()>) {
    let state = match state::input().and_then(|bytes| state::parse(&bytes)) {
        Ok(state) => state,
        Err(e) => return (format!("start of a container ({stage})"), Err(e)),
    };
    let what = format!("start of container {} ({stage})", quoted(state.id()));
    (what, load(state.id(), state.bundle()))
}

fn load(id: &str, bundle: &Path) -> Result<()> {
    let node = Node::load()?;
    let file = SpecFile::config(&bundle.join("config.json"))?;
    let document = admission::document(&file)?;
    let admission = Admission::of(&node, &document, Caller { id, bundle })?;
    let decision = admission.decide()?;
    let Some(label) = &decision.label else {
        return Ok(());
    };
    let applied = admission.request.engine_label.clone();
    let applied = applied.unwrap_or(Label::unconfined());
    if !applied.same(label) {
        return Err(Error::new(
            Kind::Policy,
            format!("the container must run under {label}, but the runtime will apply {applied}; a hook cannot change that"),
        )
        .with_remedy("run it with the wrapper oci-apparmor-runtime, or name the profile to the engine"));
    }
    let ensured = admission.ensure(&decision)?;
    for text in admission::notices(&decision, &ensured) {
        report::notice(&format!("container {id}: {text}"));
    }
    Ok(())
}

/// Sets the profile in the configuration on standard input, and writes it to standard output.
fn precreate() -> Result<()> {
    let bytes = state::input()?;
    let document = Document::config(&bytes)
        .map_err(|e| e.about("the configuration on standard input is refused"))?;
    let node = Node::load()?;
    // podman starts a hook in the bundle, and tells it no id.
    let caller = Caller {
        id: "",
        bundle: Path::new(""),
    };
    let admission = Admission::of(&node, &document, caller)?;
    let decision = admission.decide()?;
    let ensured = admission.ensure(&decision)?;
    for text in admission::notices(&decision, &ensured) {
        report::notice(&text);
    }
    match decision.label.and_then(|label| document.with_label(&label)) {
        Some(text) => print(text.as_bytes()),
        None => print(&bytes),
    }
}

fn print(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|e| Error::io("write", Path::new("standard output"), &e))
}
