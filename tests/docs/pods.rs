//! `docs/kubernetes.md` and `examples/kubernetes`, compared with the code and with each other.

use std::collections::BTreeSet;
use std::path::Path;

use oci_apparmor::request::{
    self, BETA_KEY, CONTAINER_KEY, Caller, PLAIN_KEY, RequestedLabel, named_by_sandbox,
};
use serde_json::Value;

use crate::kubernetes::{Pod, admitted, example, examples};
use crate::{help, root, run, text};

const PAGE: &str = "docs/kubernetes.md";

/// The examples that are pods, without their extension.
fn pods() -> Vec<String> {
    let is_pod = |name: &String| example(name)[0]["kind"] == "Pod";
    let names = examples().into_iter().filter(is_pod);
    names
        .map(|name| name.strip_suffix(".yaml").unwrap().to_owned())
        .collect()
}

fn pod(name: &str) -> Value {
    example(&format!("{name}.yaml")).remove(0)
}

/// The name of the profile that an example is about.
fn profile(name: &str) -> &'static str {
    match name {
        "web-read-only-pod" => "web-read-only",
        _ => "oci-apparmor-demo",
    }
}

#[test]
fn each_annotation_of_an_example_is_one_that_the_code_reads() {
    let mut families = BTreeSet::new();
    for name in pods() {
        let pod = pod(&name);
        let containers = pod["spec"]["containers"].as_array().unwrap();
        for key in pod["metadata"]["annotations"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key)
        {
            let of_container = |family: &str| {
                let container = key.strip_prefix(family)?;
                let known = containers.iter().any(|c| c["name"] == container);
                known.then(|| family.to_owned())
            };
            let family = (key == PLAIN_KEY)
                .then(|| key.clone())
                .or_else(|| of_container(CONTAINER_KEY))
                .or_else(|| of_container(BETA_KEY));
            families.insert(family.unwrap_or_else(|| panic!("{name}: {key}")));
        }
    }
    let all = [PLAIN_KEY, CONTAINER_KEY, BETA_KEY].map(str::to_owned);
    assert_eq!(families, all.into());
}

#[test]
fn the_runtime_class_is_the_runtime_that_is_configured() {
    let class = &example("runtimeclass.yaml")[0];
    assert_eq!(class["kind"], "RuntimeClass");
    for name in pods() {
        assert_eq!(
            pod(&name)["spec"]["runtimeClassName"],
            class["metadata"]["name"]
        );
    }
    let handler = class["handler"].as_str().unwrap();
    let options = help(&["configure"]);
    let (_, name) = options.split_once("--runtime-name ").unwrap();
    let default = format!("[default: {handler}]");
    assert!(
        name.split("\n  -").next().unwrap().contains(&default),
        "{options}"
    );
}

#[test]
fn each_example_names_a_profile_that_is_there() {
    let demo = text("examples/oci-apparmor-demo");
    assert!(demo.contains("\nprofile oci-apparmor-demo "));
    let manifest = root().join("examples/kubernetes/web-read-only.yaml");
    let rendered = run(&["render", manifest.to_str().unwrap()]);
    let rendered = String::from_utf8(rendered.stdout).unwrap();
    assert!(
        rendered.contains("\nprofile \"web-read-only\" ")
            || rendered.contains("\nprofile web-read-only "),
        "{rendered}"
    );
    for name in pods() {
        let pod = text(&format!("examples/kubernetes/{name}.yaml"));
        assert!(pod.contains(profile(&name)), "{name}");
    }
}

/// What happens to the pod's container, whose profile is not loaded beforehand.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    /// It runs under the profile.
    Confined,
    /// containerd refuses it.
    NotFound,
    /// It runs under something else.
    Ignored,
}

/// By the code's own rules, and by those of the engines: containerd looks for a profile that the
/// kubelet names, after it has made the sandbox; CRI-O does not look.
fn outcome(name: &str, pod: &Pod, containerd: bool) -> Outcome {
    let wanted = profile(name);
    let field = pod.containers[0].profile.as_ref();
    let field = field.and_then(|field| field["localhostProfile"].as_str());
    let id = "c1";
    let own = match containerd {
        true => [
            ("io.kubernetes.cri.container-type", "container"),
            ("io.kubernetes.cri.sandbox-id", "s1"),
            ("io.kubernetes.cri.container-name", "web"),
        ],
        false => [
            ("io.container.manager", "cri-o"),
            ("io.kubernetes.cri-o.ContainerID", id),
            ("io.kubernetes.cri-o.Metadata", r#"{"name":"web"}"#),
        ],
    };
    let mut annotations = pod.annotations.clone();
    annotations.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let caller = Caller {
        id,
        bundle: Path::new("/run/containerd/io.containerd.runtime.v2.task/k8s.io/c1"),
    };
    let of_engine = field.unwrap_or("default-of-the-engine");
    let request = request::read(&annotations, Some(of_engine), caller).unwrap();
    let loaded = named_by_sandbox(&request, 16);
    if containerd && field.is_some_and(|f| loaded.iter().all(|(_, name)| name.as_str() != f)) {
        return Outcome::NotFound;
    }
    match request.asked {
        Some((_, RequestedLabel::Label(label))) if label.to_string() == wanted => Outcome::Confined,
        _ => Outcome::Ignored,
    }
}

#[test]
fn the_table_of_ways_says_what_the_rules_come_to() {
    let page = text(PAGE);
    for name in pods() {
        let row = page
            .lines()
            .find(|line| {
                line.starts_with(&format!("| [{name}](../examples/kubernetes/{name}.yaml) |"))
            })
            .unwrap_or_else(|| panic!("no row of {name}"));
        let cells: Vec<_> = row.split('|').skip(3).map(str::trim).collect();
        for (minor, cell) in [
            (29, cells[0]),
            (30, cells[1]),
            (33, cells[1]),
            (34, cells[2]),
            (35, cells[2]),
            (36, cells[3]),
        ] {
            let pod = admitted(&pod(&name), minor);
            let outcomes = [true, false].map(|engine| outcome(&name, &pod, engine));
            let expected = match outcomes {
                [Outcome::Confined, Outcome::Confined] => "yes",
                [Outcome::NotFound, Outcome::Confined] => "CRI-O; containerd if loaded",
                [Outcome::Ignored, Outcome::Ignored] => "no",
                other => panic!("{name} of 1.{minor}: {other:?}"),
            };
            assert_eq!(cell, expected, "{name} of 1.{minor}");
        }
    }
}

#[test]
fn the_page_names_each_example() {
    let page = text(PAGE);
    for name in examples() {
        let path = format!("examples/kubernetes/{name}");
        assert!(page.contains(&path), "{name}");
    }
}
