//! Rebuilds the record of a container from the bundle that the runtime's state names.

use crate::admission::{self, Admission};
use crate::apparmor::name::Label;
use crate::bundle::Annotations;
use crate::bundle::document::Document;
use crate::bundle::files::BundleFile;
use crate::containers::attr;
use crate::containers::record::{ContainerKey, Record, RecordedProfile};
use crate::containers::runtime_state::{self, RuntimeState};
use crate::error::Result;
use crate::node::Node;
use crate::profiles::Source;
use crate::request::{self, Caller, Key, Request, RequestedLabel};
use crate::runtime::argv::RuntimeCommand;
use crate::runtime::locate::RuntimeProgram;
use crate::runtime::new_record::new_record;
use crate::wanted::{Component, Wanted};

/// The record of a container that has none; `None` if the container asked for no profile, or does not
/// exist.
///
/// # Errors
/// If the runtime's state or the configuration exists and cannot be read.
pub(super) fn from_bundle(
    runtime: &RuntimeProgram,
    key: ContainerKey<'_>,
    line: &RuntimeCommand,
    node: &Node,
) -> Result<Option<Record>> {
    let Some(state) = runtime_state::read(runtime.kind, key)? else {
        return Ok(None);
    };
    let bundle = &state.bundle;
    let file = BundleFile::config(&state.configuration)?;
    let document = admission::document(&file)?;
    let caller = Caller { id: key.id, bundle };
    let Some(request) = request(&document, caller) else {
        return Ok(None);
    };
    let admission = Admission::with(node, request);
    let Some((label, asked)) = label(&admission, &state)? else {
        return Ok(None);
    };
    let mut record = new_record(runtime, key, bundle, &admission.request, line);
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
        record
            .components
            .push(RecordedProfile::not_looked_up(component));
    }
    record.label = Some(label);
    Ok(Some(record))
}

/// The request in a configuration. If the annotations break a rule, the label alone is read; `None` if
/// that breaks a rule as well, which no label does that this program wrote.
fn request(document: &Document<'_>, caller: Caller<'_>) -> Option<Request> {
    let profile = document.profile();
    request::read(document.annotations(), profile, caller)
        .or_else(|_| request::read(&Annotations::new(), profile, caller))
        .ok()
}

/// The label of the container, and the part of it that must enforce; `None` if it has no label.
///
/// For a container that this program created, the label is in the configuration: `create` writes it
/// there before it calls the runtime. So that label is used if it contains the profile that an
/// annotation asks for, or if no annotation can be read. If an annotation asks for another profile:
///
/// - The first process runs under it: the configuration was changed later. The annotation is followed.
/// - The node allows it: the container is older than this program. The annotation is followed.
/// - The node does not allow it, or the annotations break a rule: `create` refuses both, so this
///   program did not create the container, or did so under other rules and then wrote the label. The
///   label of the configuration is used, or none if it has none: health checks must go on. If the
///   annotation were followed, a pod that is older than the rules could choose a forbidden profile.
fn label(admission: &Admission<'_>, state: &RuntimeState) -> Result<Option<(Label, Label)>> {
    let configured = admission.request.engine_label.clone();
    let (key, asked) = match &admission.request.asked {
        None => return Ok(None),
        Some((Key::Bundle, RequestedLabel::Label(label))) => {
            return Ok(Some((label.clone(), Label::unconfined())));
        }
        Some((_, RequestedLabel::RuntimeDefault)) => {
            return Ok(configured.map(|label| (label, Label::unconfined())));
        }
        // `unconfined`, and the engine set no label.
        Some((_, RequestedLabel::Label(asked)))
            if asked.components().is_empty() && configured.is_none() =>
        {
            return Ok(None);
        }
        Some((key, RequestedLabel::Label(asked))) => (key, asked),
    };
    let contains_asked = |label: &Label| {
        let mut asked = asked.components().iter();
        asked.all(|name| label.components().contains(name))
    };
    let runs_under_asked = || {
        let process = state.pid.map(|pid| format!("/proc/{pid}"));
        let label = process.and_then(|process| attr::current(process.as_ref()).ok());
        label.is_some_and(|label| label.includes(asked))
    };
    Ok(match configured {
        Some(label) if contains_asked(&label) => Some((label, asked.clone())),
        _ if runs_under_asked() || admission.may_name(key, asked)? => {
            Some((asked.clone(), asked.clone()))
        }
        Some(label) => Some((label, Label::unconfined())),
        None => None,
    })
}
