//! The files of `deploy/`, as `kubectl apply -k` takes them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> PathBuf {
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_directory.ancestors().nth(2).unwrap().to_owned()
}

/// The text of a file of the project.
pub(crate) fn text(name: &str) -> String {
    let path = root().join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The names of the YAML files of a directory, from the root of the project.
pub(crate) fn files(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(directory)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".yaml")).collect();
    names.sort();
    names
        .iter()
        .map(|name| format!("{directory}/{name}"))
        .collect()
}

/// The documents of a YAML file.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// All objects of a directory with a `kustomization.yaml`, those first that others need, as
/// kustomize sorts them.
pub(crate) fn kustomized(directory: &str) -> Vec<Value> {
    let mut objects = Vec::new();
    collect(&root().join(directory), &mut objects);
    objects.sort_by_key(|object| match object["kind"].as_str().unwrap() {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        _ => 2,
    });
    objects
}

fn collect(directory: &Path, objects: &mut Vec<Value>) {
    let read = |path: &Path| documents(&fs::read_to_string(path).unwrap());
    let kustomization = read(&directory.join("kustomization.yaml")).remove(0);
    for key in kustomization.as_object().unwrap().keys() {
        // The names of images do not matter to an API server. Other keys would change objects.
        let known = [
            "apiVersion",
            "kind",
            "resources",
            "images",
            "configMapGenerator",
        ];
        assert!(
            known.contains(&key.as_str()),
            "{}: {key}",
            directory.display()
        );
    }
    for resource in kustomization["resources"].as_array().unwrap() {
        let path = directory.join(resource.as_str().unwrap());
        match path.is_dir() {
            true => collect(&path, objects),
            false => objects.extend(read(&path)),
        }
    }
    for map in kustomization["configMapGenerator"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let files = map["files"].as_array().unwrap().iter().map(|name| {
            let name = name.as_str().unwrap();
            let text = fs::read_to_string(directory.join(name)).unwrap();
            (name.to_owned(), Value::String(text))
        });
        objects.push(serde_json::json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": map["name"], "namespace": map["namespace"]},
            "data": Value::Object(files.collect()),
        }));
    }
}
