//! The examples for Kubernetes (`examples/kubernetes`), and what Kubernetes makes of them before an
//! engine sees them. Used by the suites `docs` and `kernel_engines`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use granit_parser::{Event, Parser};
use oci_apparmor::request::BETA_KEY;
use serde_json::{Value, json};

/// The documents of one example.
pub(crate) fn example(name: &str) -> Vec<Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kubernetes");
    documents(&fs::read_to_string(directory.join(name)).unwrap())
}

/// The names of all examples, sorted.
pub(crate) fn examples() -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kubernetes");
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// YAML as values; every scalar is text here.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let mut documents = Vec::new();
    // Each list or object whose end was not seen yet, and in an object the key whose value follows.
    let mut open: Vec<(Value, Option<String>)> = vec![(json!([]), None)];
    for event in Parser::new_from_str(text) {
        let done = match event.unwrap().0 {
            Event::SequenceStart(..) => {
                open.push((json!([]), None));
                continue;
            }
            Event::MappingStart(..) => {
                open.push((json!({}), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().unwrap().0,
            Event::Scalar(text, ..) => json!(text),
            Event::DocumentEnd => {
                let (Value::Array(roots), _) = &mut open[0] else {
                    unreachable!()
                };
                documents.append(roots);
                continue;
            }
            Event::Alias(_) => panic!("an alias"),
            _ => continue,
        };
        match open.last_mut().unwrap() {
            (Value::Array(items), _) => items.push(done),
            (object, key) => match key.take() {
                None => *key = Some(done.as_str().unwrap().to_owned()),
                Some(key) => assert!(object.as_object_mut().unwrap().insert(key, done).is_none()),
            },
        }
    }
    documents
}

/// A pod as the kubelet of one version of Kubernetes gets it.
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) handler: String,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) containers: Vec<Container>,
}

pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) command: Vec<String>,
    /// `appArmorProfile` as the kubelet decides it: the container's, else the pod's.
    pub(crate) profile: Option<Value>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What becomes of a pod on its way through the API server (`1.minor`) and the kubelet:
/// up to 1.35 the beta annotation is copied to the field (before 1.30, where there is no field, the
/// kubelet reads it, with the same result), and from 1.30 to 1.33 the field to the annotation
/// (KEP-24; `applyAppArmorVersionSkew`, `pkg/registry/core/pod/strategy.go`).
pub(crate) fn admitted(pod: &Value, minor: u32) -> Pod {
    let metadata = &pod["metadata"];
    let spec = &pod["spec"];
    let mut annotations: BTreeMap<String, String> = metadata["annotations"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), text(value)))
        .collect();
    let mut containers = Vec::new();
    for container in spec["containers"].as_array().unwrap() {
        let key = format!("{BETA_KEY}{}", text(&container["name"]));
        let field = |owner: &Value| {
            let profile = owner["securityContext"]["appArmorProfile"].clone();
            (minor >= 30 && profile.is_object()).then_some(profile)
        };
        let mut own = field(container);
        match annotations.get(&key) {
            Some(value) if own.is_none() && minor <= 35 => own = of_annotation(value),
            None if minor <= 33 => {
                if let Some(profile) = own.clone().or_else(|| field(spec)) {
                    annotations.insert(key, of_field(&profile));
                }
            }
            _ => {}
        }
        containers.push(Container {
            name: text(&container["name"]),
            image: text(&container["image"]),
            command: container["command"]
                .as_array()
                .unwrap()
                .iter()
                .map(text)
                .collect(),
            profile: own.or_else(|| field(spec)),
        });
    }
    Pod {
        name: text(&metadata["name"]),
        handler: text(&spec["runtimeClassName"]),
        annotations,
        containers,
    }
}

fn of_annotation(value: &str) -> Option<Value> {
    match value.strip_prefix("localhost/") {
        Some(name) => Some(json!({"type": "Localhost", "localhostProfile": name})),
        None if value == "unconfined" => Some(json!({"type": "Unconfined"})),
        None => (value == "runtime/default").then(|| json!({"type": "RuntimeDefault"})),
    }
}

fn of_field(field: &Value) -> String {
    match field["type"].as_str().unwrap() {
        "Localhost" => format!("localhost/{}", text(&field["localhostProfile"])),
        "Unconfined" => "unconfined".to_owned(),
        _ => "runtime/default".to_owned(),
    }
}
