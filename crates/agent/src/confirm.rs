//! `oci-apparmor-agent confirm`: the part of installing on a node that needs the API.
//!
//! The container that writes on the node has no token; this one has the token, and nothing of the
//! node. They exchange one file each (`docs/formats.md`).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use log::{info, warn};
use oci_apparmor::fs::replace::{self, Options};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::label::{self, LabelAnswer, LabelFacts, LabelQuestion, LabelStep};
use crate::logging::chain;

/// How often the installer's file is looked at.
const FILE_EVERY: Duration = Duration::from_secs(2);

/// How often the node is asked for.
const NODE_EVERY: Duration = Duration::from_secs(10);

/// The longest time until a failed request is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The largest file that is read, in bytes.
const MAX: u64 = 64 << 10;

/// Who has changed the label.
const MANAGER: &str = "oci-apparmor-installer";

/// The directory of both containers, and the node.
#[derive(Debug, Clone)]
pub struct Confirmation {
    /// The directory.
    pub handover: PathBuf,
    /// The name of the node.
    pub node: String,
}

/// A file of the handover; nothing where it is not there, or is no such file.
fn read<T: DeserializeOwned>(directory: &Path, name: &str) -> Option<T> {
    let file = File::open(directory.join(name)).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Whether what the installer wants is so.
#[must_use]
pub fn is_ready(handover: &Path) -> bool {
    let question: Option<LabelQuestion> = read(handover, "node.json");
    let answer: Option<LabelAnswer> = read(handover, "api.json");
    match (question, answer) {
        (Some(question), Some(answer)) => {
            answer.done && answer.id == question.id && question.failed.is_none()
        }
        _ => false,
    }
}

fn tell(handover: &Path, answer: &LabelAnswer) -> std::io::Result<()> {
    let text = serde_json::to_string(answer)? + "\n";
    let options = Options::with_mode(0o644);
    let (file, temporary) = (handover.join("api.json"), handover.join(".api.json.new"));
    replace::replace(&file, &temporary, text.as_bytes(), options)
}

/// Answers the installer's questions, for ever. To end it, drop the future.
pub async fn confirm(client: Client, task: Confirmation) {
    let nodes = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Node"));
    let nodes: Api<DynamicObject> = Api::all_with(client, &nodes);
    let mut answered = String::new();
    loop {
        let question: Option<LabelQuestion> = read(&task.handover, "node.json");
        match question.filter(|question| question.id != answered) {
            Some(question) => {
                if answer(&nodes, &task, &question).await {
                    answered = question.id;
                }
            }
            None => sleep(FILE_EVERY).await,
        }
    }
}

/// Works on one question until it is answered, or replaced by another one; whether it is answered.
async fn answer(nodes: &Api<DynamicObject>, task: &Confirmation, question: &LabelQuestion) -> bool {
    let mut looks = 0u32;
    let mut wait = Backoff::at_most(LONGEST_WAIT);
    let mut failure = String::new();
    loop {
        let now: Option<LabelQuestion> = read(&task.handover, "node.json");
        if now.as_ref() != Some(question) {
            return false;
        }
        match next(nodes, task, question, looks.saturating_add(1)).await {
            Ok(true) => return true,
            Ok(false) => {
                looks = looks.saturating_add(1);
                wait.reset();
                sleep(NODE_EVERY).await;
            }
            Err(why) => {
                if why != failure {
                    warn!("{why}; it is tried again");
                    failure = why;
                }
                sleep(wait.wait()).await;
            }
        }
    }
}

/// Looks at the node, and does one step; whether nothing more is to be done.
async fn next(
    nodes: &Api<DynamicObject>,
    task: &Confirmation,
    question: &LabelQuestion,
    looks: u32,
) -> Result<bool, String> {
    let name = &task.node;
    let set = |set: bool| async move {
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(label::patch(set));
        let done = nodes.patch(name, &parameters, &patch).await;
        let node =
            done.map_err(|e| format!("cannot change the label of node {name}: {}", chain(&e)))?;
        let verb = if set { "has" } else { "has no longer" };
        info!("node {name} {verb} the label {}", label::LABEL);
        Ok::<_, String>(facts(&node))
    };
    let node = nodes.get(name).await;
    let node = node.map_err(|e| format!("cannot read node {name}: {}", chain(&e)))?;
    let mut step = label::step(question, &facts(&node), looks);
    if let LabelStep::SetLabel(wanted) = step {
        // The answer has the node as it is then.
        step = label::step(question, &set(wanted).await?, looks);
    }
    match step {
        LabelStep::Rest => Ok(true),
        LabelStep::LookAgain | LabelStep::SetLabel(_) => Ok(false),
        LabelStep::Tell(answer) => {
            let directory = task.handover.display();
            tell(&task.handover, &answer)
                .map_err(|e| format!("cannot write into {directory}: {e}"))?;
            if !answer.done {
                warn!("{}", answer.reason);
            }
            Ok(true)
        }
    }
}

fn facts(node: &DynamicObject) -> LabelFacts {
    LabelFacts::of(&serde_json::to_value(node).unwrap_or(Value::Null))
}
