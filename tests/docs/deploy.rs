//! The files of `deploy/`, compared with each other and with the code. Whether an API server accepts
//! the expressions of the policies is not tested here; that needs an API server.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use oci_apparmor::request::{BETA_KEY, CONTAINER_KEY, PLAIN_KEY};
use serde_json::{Map, Value, json};

use crate::kubernetes::documents;
use crate::{files_below, root};

/// The prefix of `PLAIN_KEY`. A key with this prefix that is not `PLAIN_KEY` is refused.
const PREFIX: &str = "oci-apparmor/";

fn yaml_files() -> Vec<PathBuf> {
    let files = files_below(&root().join("deploy"));
    let yaml = |path: &PathBuf| path.extension().is_some_and(|e| e == "yaml");
    let found: Vec<PathBuf> = files.into_iter().filter(yaml).collect();
    assert!(found.len() > 20, "{found:?}");
    found
}

fn read(path: &Path) -> Vec<Value> {
    documents(&fs::read_to_string(path).unwrap())
}

/// Every object of a kind.
pub(crate) fn objects(kind: &str) -> Vec<Value> {
    let all = yaml_files();
    let objects = all.iter().flat_map(|path| read(path));
    objects.filter(|o| o["kind"] == kind).collect()
}

pub(crate) fn only(kind: &str, name: &str) -> Value {
    let mut named = objects(kind);
    named.retain(|o| o["metadata"]["name"] == name);
    assert_eq!(named.len(), 1, "{kind} {name}");
    named.remove(0)
}

pub(crate) fn strings(value: &Value) -> Vec<&str> {
    let items = value.as_array().into_iter().flatten();
    items.map(|item| item.as_str().unwrap()).collect()
}

#[test]
fn each_document_is_an_object_with_a_name_of_its_own() {
    let mut seen = BTreeSet::new();
    for path in yaml_files() {
        let documents = read(&path);
        assert!(!documents.is_empty(), "{}", path.display());
        for object in documents {
            let of = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
            let (version, kind) = (of("apiVersion"), of("kind"));
            assert!(
                !version.is_empty() && !kind.is_empty(),
                "{}",
                path.display()
            );
            if kind == "Kustomization" || kind == "Component" {
                continue;
            }
            let metadata = &object["metadata"];
            let name = metadata["name"].as_str().unwrap().to_owned();
            let namespace = metadata["namespace"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            assert!(
                seen.insert((kind.clone(), namespace, name.clone())),
                "{kind} {name} twice"
            );
        }
    }
}

#[test]
fn kustomizations_name_what_is_there_and_leave_nothing_out() {
    let mut used = BTreeSet::new();
    for path in yaml_files()
        .iter()
        .filter(|p| p.ends_with("kustomization.yaml"))
    {
        let directory = path.parent().unwrap();
        let kustomization = read(path).remove(0);
        let generators = kustomization["configMapGenerator"].as_array();
        let generated = generators
            .into_iter()
            .flatten()
            .flat_map(|g| strings(&g["files"]));
        for name in strings(&kustomization["resources"])
            .into_iter()
            .chain(generated)
        {
            let target = directory.join(name);
            assert!(target.exists(), "{}: {name}", path.display());
            match target.is_dir() {
                true => assert!(target.join("kustomization.yaml").exists(), "{name}"),
                false => drop(used.insert(target)),
            }
        }
    }
    for path in files_below(&root().join("deploy")) {
        let named = used.contains(&path) || path.ends_with("kustomization.yaml");
        let on_the_node = path.starts_with(root().join("deploy/node"));
        assert!(
            named || on_the_node,
            "no kustomization has {}",
            path.display()
        );
    }
}

/// The text literals of an expression. The policies write all of theirs in double quotes.
fn literals(expression: &str) -> Vec<&str> {
    expression.split('"').skip(1).step_by(2).collect()
}

/// Every text of a value whose field is an expression.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name.to_lowercase().ends_with("expression") => {
                        found.push(text.to_owned());
                    }
                    _ => expressions(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[test]
fn policies_know_the_annotations_that_the_code_reads() {
    let mut keys = BTreeSet::new();
    for kind in ["MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"] {
        for policy in objects(kind) {
            let mut found = Vec::new();
            expressions(&policy, &mut found);
            assert!(!found.is_empty());
            for expression in found {
                let balance = |open, close| {
                    expression.matches(open).count() == expression.matches(close).count()
                };
                let whole = balance('(', ')') && balance('[', ']') && balance('{', '}');
                assert!(
                    whole && expression.matches('"').count() % 2 == 0,
                    "{expression}"
                );
                let annotations = literals(&expression).into_iter().filter(|l| {
                    l.ends_with('/') || l.starts_with(PREFIX) || l.contains("apparmor/")
                });
                // A JSON pointer.
                keys.extend(
                    annotations
                        .filter(|l| !l.starts_with('/'))
                        .map(str::to_owned),
                );
            }
        }
    }
    keys.remove("localhost/");
    // A label of nodes.
    keys.remove("oci-apparmor/served");
    let known = [BETA_KEY, CONTAINER_KEY, PLAIN_KEY, PREFIX].map(str::to_owned);
    assert_eq!(keys, known.into());
}

#[test]
fn each_policy_has_a_binding() {
    for kind in ["MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"] {
        let bound: BTreeSet<String> = objects(&format!("{kind}Binding"))
            .iter()
            .map(|b| b["spec"]["policyName"].as_str().unwrap().to_owned())
            .collect();
        let policies = objects(kind);
        let names = policies
            .iter()
            .map(|p| p["metadata"]["name"].as_str().unwrap().to_owned());
        assert_eq!(names.collect::<BTreeSet<_>>(), bound);
        assert!(
            policies
                .iter()
                .all(|p| p["spec"]["failurePolicy"] == "Fail")
        );
    }
}

/// An object with every field that a schema has.
fn filled(schema: &Value) -> Value {
    if let Some(known) = schema["enum"].as_array() {
        return known[known.len() - 1].clone();
    }
    match schema["type"].as_str().unwrap() {
        "object" => {
            let fields = schema["properties"].as_object().unwrap();
            let fields = fields
                .iter()
                .map(|(name, schema)| (name.clone(), filled(schema)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        "array" => json!([filled(&schema["items"])]),
        "boolean" => json!(true),
        _ if schema["pattern"].is_string() => json!("net_admin"),
        _ => json!("/x"),
    }
}

#[test]
fn a_manifest_with_every_field_of_the_definition_is_one_that_is_read() {
    let definition = only(
        "CustomResourceDefinition",
        "apparmorprofiles.security-profiles-operator.x-k8s.io",
    );
    let group = definition["spec"]["group"].as_str().unwrap();
    let versions = definition["spec"]["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 2);
    for version in versions {
        let mut schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
        // Fields that the definition itself refuses.
        for rule in schema["x-kubernetes-validations"]
            .as_array()
            .cloned()
            .unwrap_or_default()
        {
            let rule = rule["rule"].as_str().unwrap();
            let field = rule
                .strip_prefix("!has(self.")
                .unwrap()
                .split(')')
                .next()
                .unwrap();
            schema["properties"]
                .as_object_mut()
                .unwrap()
                .remove(field)
                .unwrap();
        }
        let name = version["name"].as_str().unwrap();
        let manifest = json!({
            "apiVersion": format!("{group}/{name}"),
            "kind": definition["spec"]["names"]["kind"],
            "metadata": {"name": "web"},
            "spec": filled(&schema),
        });
        let mut read = oci_apparmor_manifest::read(manifest.to_string().as_bytes()).unwrap();
        let rendered = read.remove(0).rendered;
        let rendered = rendered.unwrap_or_else(|e| panic!("{name}: {e:?}: {manifest}"));
        assert!(rendered.complain == manifest["spec"]["mode"].eq("Complain") && rendered.disabled);
    }
}
