//! `explain BUNDLE`: which rule decided what. Changes nothing, loads nothing.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::print;
use oci_apparmor::admission::{self, Admission};
use oci_apparmor::bundle::files::SpecFile;
use oci_apparmor::decision::Decision;
use oci_apparmor::error::{Error, Result};
use oci_apparmor::node::Node;
use oci_apparmor::request::{self, Caller, Engine, Request};

pub(crate) fn run(bundle: &Path, id: &str, config: &Path, as_json: bool) -> Result<u8> {
    let node = Node::load()?;
    let bundle = fs::canonicalize(bundle).map_err(|e| Error::io("find the bundle", bundle, &e))?;
    let file = SpecFile::config(&bundle.join(config))?;
    let document = admission::document(&file)?;
    let caller = Caller {
        id,
        bundle: &bundle,
    };
    let admission = Admission::of(&node, &document, caller)?;
    let decision = admission.decide();
    let request = &admission.request;
    let text = match as_json {
        true => format!("{:#}\n", to_json(request, &decision)),
        false => to_text(request, &decision),
    };
    print(&text)?;
    decision.map(|_| 0)
}

fn engine(engine: Engine) -> &'static str {
    match engine {
        Engine::CriO => "CRI-O",
        Engine::Containerd => "containerd (CRI)",
        Engine::Podman => "podman",
        Engine::Other => "unknown (docker, nerdctl, ctr, by hand)",
    }
}

fn to_text(request: &Request, decision: &Result<Decision>) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key:<11}{value}");
    };
    line("engine", engine(request.engine));
    line(
        "kind",
        if request.is_sandbox {
            "pod sandbox"
        } else {
            "container"
        },
    );
    for (key, value) in [
        ("namespace", &request.namespace),
        ("pod", &request.pod),
        ("container", &request.container),
    ] {
        if let Some(value) = value {
            line(key, value);
        }
    }
    for (key, value) in &request.keys {
        line("annotation", &format!("{key}={value}"));
    }
    if let Some(label) = &request.engine_label {
        line("in spec", &format!("{}={label}", request::SPEC_KEY));
    }
    if let Ok(decision) = decision {
        for step in &decision.trail {
            line("because", step);
        }
        for text in &decision.reports {
            line("note", text);
        }
        match &decision.label {
            Some(label) => line("label", &label.to_string()),
            None => line("label", "unchanged: the bundle is passed through as it is"),
        }
    } else {
        line("label", "refused");
    }
    text
}

fn to_json(request: &Request, decision: &Result<Decision>) -> serde_json::Value {
    let mut value = json!({
        "engine": match request.engine {
            Engine::CriO => "cri-o",
            Engine::Containerd => "containerd",
            Engine::Podman => "podman",
            Engine::Other => "other",
        },
        "sandbox": request.is_sandbox,
        "namespace": request.namespace,
        "pod": request.pod,
        "container": request.container,
        "annotations": request.keys,
        "spec": request.engine_label.as_ref().map(ToString::to_string),
        "asked_by": request.asked.as_ref().map(|(key, _)| key.as_str()),
    });
    let outcome = match decision {
        Ok(decision) => json!({
            "label": decision.label.as_ref().map(ToString::to_string),
            "trail": decision.trail,
            "reports": decision.reports,
            "refused": null,
        }),
        Err(e) => json!({ "label": null, "trail": [], "reports": [], "refused": e.to_string() }),
    };
    if let (Some(value), Some(outcome)) = (value.as_object_mut(), outcome.as_object()) {
        value.extend(outcome.clone());
    }
    value
}
