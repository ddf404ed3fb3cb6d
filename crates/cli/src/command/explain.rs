//! `explain BUNDLE`: which profile a bundle would get, and why. Changes nothing, loads nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use clap::{Args, ValueHint};
use serde::Serialize;

use crate::report::output::Output;
use crate::report::table::{Cell, Fit, Row, Table, Tone};
use oci_apparmor::admission::{self, Admission};
use oci_apparmor::bundle::files::BundleFile;
use oci_apparmor::decision::Decision;
use oci_apparmor::error::{Error, Result};
use oci_apparmor::node::Node;
use oci_apparmor::request::{self, Caller, EngineFamily, Request};

/// Show which profile a bundle would get, and which rules decide
///
/// The answer holds for this moment: for the configuration, the loaded profiles and the files as
/// they are now. Nothing is changed or loaded, so a profile may still turn out not to compile.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 the container would start; otherwise the code of the refusal.

Examples:
  oci-apparmor explain --id web /run/bundles/web
  # A container of containerd (Kubernetes).
  id=$(crictl ps -q --name web)
  oci-apparmor explain --id $id /run/containerd/io.containerd.runtime.v2.task/k8s.io/$id")]
pub(crate) struct ExplainArguments {
    /// The bundle: a directory with a config.json
    #[arg(value_hint = ValueHint::DirPath)]
    bundle: PathBuf,
    /// The container's id, as engines give it to the runtime
    ///
    /// It tells a pod's sandbox from its containers, and CRI-O's annotations from forged ones.
    #[arg(long, default_value = "", hide_default_value = true)]
    id: String,
    /// The name of the configuration in the bundle
    #[arg(long, default_value = "config.json", value_name = "FILE")]
    config_json: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct ExplainedJson<'r> {
    engine: &'static str,
    sandbox: bool,
    namespace: Option<&'r str>,
    pod: Option<&'r str>,
    container: Option<&'r str>,
    annotations: &'r BTreeMap<String, String>,
    bundle_profile: Option<String>,
    key: Option<&'r str>,
    label: Option<String>,
    reasons: &'r [String],
    notices: &'r [String],
    refused: Option<String>,
}

pub(crate) fn run(arguments: &ExplainArguments, output: Output) -> Result<u8> {
    let node = Node::load()?;
    let bundle = &arguments.bundle;
    let bundle = fs::canonicalize(bundle).map_err(|e| Error::io("find the bundle", bundle, &e))?;
    let file = BundleFile::config(&bundle.join(&arguments.config_json))?;
    let document = admission::document(&file)?;
    let caller = Caller {
        id: &arguments.id,
        bundle: &bundle,
    };
    let admission = Admission::of(&node, &document, caller)?;
    let decision = admission.decide();
    let request = &admission.request;
    match arguments.json {
        true => output.json(&ExplainedJson::of(request, &decision))?,
        false => output.table(&table(request, &decision))?,
    }
    decision.map(|_| 0)
}

impl<'r> ExplainedJson<'r> {
    fn of(request: &'r Request, decision: &'r Result<Decision>) -> Self {
        let decided = decision.as_ref().ok();
        Self {
            engine: match request.engine {
                EngineFamily::CriO => "cri-o",
                EngineFamily::Containerd => "containerd",
                EngineFamily::Podman => "podman",
                EngineFamily::Other => "other",
            },
            sandbox: request.is_sandbox,
            namespace: request.namespace.as_deref(),
            pod: request.pod.as_deref(),
            container: request.container.as_deref(),
            annotations: &request.keys,
            bundle_profile: request.engine_label.as_ref().map(ToString::to_string),
            key: request.asked.as_ref().map(|(key, _)| key.as_str()),
            label: decided
                .and_then(|d| d.label.as_ref())
                .map(ToString::to_string),
            reasons: decided.map_or(&[], |d| &d.trail),
            notices: decided.map_or(&[], |d| &d.reports),
            refused: decision.as_ref().err().map(Error::to_string),
        }
    }
}

fn table(request: &Request, decision: &Result<Decision>) -> Table {
    let mut table = Table::new(&[("", Fit::Whole), ("", Fit::Wrap)]);
    let mut add = |key: &str, value: Cell| table.push(Row::new([Cell::from(key), value]));
    let engine = match request.engine {
        EngineFamily::CriO => "CRI-O",
        EngineFamily::Containerd => "containerd (CRI)",
        EngineFamily::Podman => "podman",
        EngineFamily::Other => "other (docker, nerdctl, ctr, none)",
    };
    add("engine", Cell::from(engine));
    let kind = match request.is_sandbox {
        true => "pod sandbox",
        false => "container",
    };
    add("kind", Cell::from(kind));
    for (key, value) in [
        ("namespace", &request.namespace),
        ("pod", &request.pod),
        ("container", &request.container),
    ] {
        if let Some(value) = value {
            add(key, Cell::from(value));
        }
    }
    for (key, value) in &request.keys {
        add("annotation", Cell::from(format!("{key}={value}")));
    }
    if let Some(label) = &request.engine_label {
        let value = format!("{}={label}", request::PROFILE_FIELD);
        add("bundle", Cell::from(value));
    }
    match decision {
        Ok(decision) => {
            for reason in &decision.trail {
                add("reason", Cell::from(reason));
            }
            for notice in &decision.reports {
                add("notice", Cell::new(notice, Tone::Warning));
            }
            let label = decision.label.as_ref().map(ToString::to_string);
            let label =
                label.unwrap_or_else(|| "unchanged: the bundle is used as it is".to_owned());
            add("label", Cell::new(label, Tone::Good));
        }
        Err(_) => add("label", Cell::new("refused", Tone::Bad)),
    }
    table
}
