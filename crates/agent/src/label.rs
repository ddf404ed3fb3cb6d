//! From what the installer wants, and what the API says of its node, to what is done. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The label of nodes whose engine serves the handler: the RuntimeClass selects it.
pub const LABEL: &str = "oci-apparmor/served";

/// How often the API must have shown a node without the handler before that counts: the kubelet asks
/// its engine, and tells the API, every few seconds.
const LOOKS: u32 = 18;

/// What the installer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WantedLabel {
    /// The label, once the API shows the handler.
    Served,
    /// No label.
    Unserved,
    /// Nothing yet.
    Nothing,
}

/// The installer's file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LabelQuestion {
    /// Its number.
    pub id: String,
    /// What is wanted.
    pub want: WantedLabel,
    /// The name of the handler.
    pub handler: String,
    /// Why the installer gave up.
    #[serde(default)]
    pub failed: Option<String>,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelAnswer {
    /// The number of the question.
    pub id: String,
    /// Whether it is as wanted.
    pub done: bool,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What counts of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelFacts {
    /// The value of the label.
    pub label: Option<String>,
    /// `status.runtimeHandlers`; none where the engine does not report them (containerd before 2.0).
    pub handlers: Vec<String>,
}

impl LabelFacts {
    /// Those of a node's object.
    #[must_use]
    pub fn of(node: &Value) -> Self {
        let label = node
            .get("metadata")
            .and_then(|metadata| metadata.get("labels")?.get(LABEL))
            .and_then(Value::as_str);
        let handlers = node.pointer("/status/runtimeHandlers");
        let names = handlers.and_then(Value::as_array).into_iter().flatten();
        // The default handler has an empty name.
        let names = names.filter_map(|one| one.get("name").and_then(Value::as_str));
        Self {
            label: label.map(str::to_owned),
            handlers: names.map(str::to_owned).collect(),
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelStep {
    /// Nothing is wanted.
    Rest,
    /// Look at the node again, in a while.
    LookAgain,
    /// Set the label, or remove it; then look again.
    SetLabel(bool),
    /// Tell the installer.
    Tell(LabelAnswer),
}

/// What to do, where the API has shown the node `looks` times since the question.
#[must_use]
pub fn step(question: &LabelQuestion, node: &LabelFacts, looks: u32) -> LabelStep {
    let tell = |done, reason: String| {
        LabelStep::Tell(LabelAnswer {
            id: question.id.clone(),
            done,
            reason,
        })
    };
    // An engine that reports no handlers was asked by the installer itself, over its socket.
    let shown = node.handlers.is_empty() || node.handlers.contains(&question.handler);
    match question.want {
        WantedLabel::Nothing => LabelStep::Rest,
        WantedLabel::Unserved if node.label.is_some() => LabelStep::SetLabel(false),
        WantedLabel::Unserved => tell(true, String::new()),
        WantedLabel::Served if shown && node.label.as_deref() == Some("true") => {
            tell(true, String::new())
        }
        WantedLabel::Served if shown => LabelStep::SetLabel(true),
        WantedLabel::Served if looks < LOOKS => LabelStep::LookAgain,
        WantedLabel::Served if node.label.is_some() => LabelStep::SetLabel(false),
        WantedLabel::Served => {
            let names: Vec<&str> = node.handlers.iter().map(String::as_str).collect();
            let names = names.into_iter().filter(|name| !name.is_empty());
            let names = names.collect::<Vec<_>>().join(", ");
            let reason = format!(
                "status.runtimeHandlers of the node has {names}, and not {}",
                question.handler
            );
            tell(false, reason)
        }
    }
}

/// The merge patch for the label.
#[must_use]
pub fn patch(set: bool) -> Value {
    let value = if set { json!("true") } else { Value::Null };
    json!({ "metadata": { "labels": { LABEL: value } } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(want: WantedLabel) -> LabelQuestion {
        LabelQuestion {
            id: "1".to_owned(),
            want,
            handler: "oci-apparmor".to_owned(),
            failed: None,
        }
    }

    fn node(label: Option<&str>, handlers: &[&str]) -> LabelFacts {
        LabelFacts {
            label: label.map(str::to_owned),
            handlers: handlers.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn done(step: &LabelStep) -> Option<bool> {
        match step {
            LabelStep::Tell(answer) => Some(answer.done),
            _ => None,
        }
    }

    #[test]
    fn the_label_comes_after_the_handler_and_goes_without_it() {
        let served = question(WantedLabel::Served);
        let ours = ["", "runc", "oci-apparmor"];
        let others = ["", "runc"];
        assert_eq!(
            step(&served, &node(None, &ours), 1),
            LabelStep::SetLabel(true)
        );
        assert_eq!(
            step(&served, &node(Some("false"), &ours), 1),
            LabelStep::SetLabel(true)
        );
        assert_eq!(
            done(&step(&served, &node(Some("true"), &ours), 1)),
            Some(true)
        );
        assert_eq!(step(&served, &node(None, &others), 1), LabelStep::LookAgain);
        assert_eq!(
            step(&served, &node(Some("true"), &others), LOOKS),
            LabelStep::SetLabel(false)
        );
        let LabelStep::Tell(answer) = step(&served, &node(None, &others), LOOKS) else {
            panic!()
        };
        assert!(!answer.done && answer.reason.contains(" has runc, and not oci-apparmor"));
        // The engine reports none.
        assert_eq!(
            step(&served, &node(None, &[]), 1),
            LabelStep::SetLabel(true)
        );
        let unserved = question(WantedLabel::Unserved);
        assert_eq!(
            step(&unserved, &node(Some("true"), &ours), 1),
            LabelStep::SetLabel(false)
        );
        assert_eq!(done(&step(&unserved, &node(None, &ours), 1)), Some(true));
        let nothing = question(WantedLabel::Nothing);
        assert_eq!(step(&nothing, &node(None, &ours), 1), LabelStep::Rest);
    }

    #[test]
    fn facts_are_read_from_any_object() {
        let facts = LabelFacts::of(&json!({
            "metadata": { "labels": { LABEL: "true", "a": "b" } },
            "status": { "runtimeHandlers": [{ "name": "" }, { "name": "x" }, { "features": {} }, 7] },
        }));
        assert_eq!(facts, node(Some("true"), &["", "x"]));
        for empty in [json!({}), json!({ "metadata": [] }), json!(null)] {
            assert_eq!(LabelFacts::of(&empty), node(None, &[]));
        }
    }
}
