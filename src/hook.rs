//! The OCI hook: `oci-apparmor-hook STAGE`.
//!
//! `createRuntime`, and its old name `prestart`, run before the runtime sets the label: the hook can
//! still load the profile, but not choose another one. `precreate` is podman's own stage: the hook gets
//! the whole configuration and may change it. No hook is called for `exec`; only the wrapper is.
//!
//! The environment may be empty or hostile. It is not used.

use std::env;
use std::io::Write;
use std::path::Path;

use crate::admission::{self, Admission};
use crate::apparmor::name::Label;
use crate::bundle::document::Document;
use crate::bundle::files::BundleFile;
use crate::bundle::state;
use crate::error::{Error, Kind, Result, quoted};
use crate::node::Node;
use crate::report::{self, EngineLog};
use crate::request::Caller;

const USAGE: &str = "\
Usage: oci-apparmor-hook STAGE

An OCI hook. podman, CRI-O and other engines call it; see oci-apparmor-hook(8).

Stages:
  createRuntime  load the profile that the container names, and check that the runtime applies it
  prestart       the old name of createRuntime
  precreate      podman only: set the profile in the configuration on standard input

Options:
  --help         show this help
  --version      show the version
";

/// Runs the program. Returns its exit code.
#[must_use]
pub fn main() -> u8 {
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
        Ok(()) => 0,
        Err(e) => {
            report::refusal(&what, &e, &EngineLog::default());
            e.kind().exit_code()
        }
    }
}

/// Loads the profile, and checks that the bundle names it: the runtime applies what the bundle says.
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
    let file = BundleFile::config(&bundle.join("config.json"))?;
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
        .with_remedy(format!(
            "use the runtime oci-apparmor-runtime, or name the profile to the engine (podman: \
             --security-opt apparmor={label})"
        )));
    }
    let ensured = admission.ensure(&decision)?;
    for text in admission::notices(&decision, &ensured) {
        report::notice(&format!("container {id}: {text}"));
    }
    Ok(())
}

/// Copies the configuration from standard input to standard output, with the profile set.
fn precreate() -> Result<()> {
    let bytes = state::input()?;
    let document = Document::config(&bytes)
        .map_err(|e| e.about("the configuration on standard input is refused"))?;
    let node = Node::load()?;
    // podman starts the hook in the bundle and passes no id.
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
