//! The files of `deploy/`, compared with each other and with the code. Whether an API server accepts
//! the expressions of the policies is not tested here; that needs an API server.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci_apparmor::request::{BETA_KEY, CONTAINER_KEY, PLAIN_KEY};
use serde_json::{Map, Value, json};

use crate::kubernetes::{documents, example};
use crate::{files_below, root, text};

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
fn objects(kind: &str) -> Vec<Value> {
    let all = yaml_files();
    let objects = all.iter().flat_map(|path| read(path));
    objects.filter(|o| o["kind"] == kind).collect()
}

fn only(kind: &str, name: &str) -> Value {
    let mut named = objects(kind);
    named.retain(|o| o["metadata"]["name"] == name);
    assert_eq!(named.len(), 1, "{kind} {name}");
    named.remove(0)
}

fn strings(value: &Value) -> Vec<&str> {
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
            if kind == "Kustomization" {
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

#[test]
fn the_pods_run_without_privileges_on_nodes_that_are_ready() {
    let class = &objects("RuntimeClass")[0];
    assert_eq!(class["handler"], example("runtimeclass.yaml")[0]["handler"]);
    let label = class["scheduling"]["nodeSelector"].as_object().unwrap();
    assert!(text("examples/kubernetes/runtimeclass.yaml").contains(label.keys().next().unwrap()));
    let daemons = objects("DaemonSet");
    assert_eq!(daemons.len(), 2);
    for daemon in &daemons {
        let spec = &daemon["spec"]["template"]["spec"];
        let labels = &daemon["spec"]["template"]["metadata"]["labels"];
        assert_eq!(&daemon["spec"]["selector"]["matchLabels"], labels);
        for (key, value) in label {
            assert_eq!(&spec["nodeSelector"][key], value);
        }
        for host in ["hostPID", "hostNetwork", "hostIPC"] {
            assert!(spec[host].is_null(), "{host}");
        }
        let pod = &spec["securityContext"];
        assert_eq!(pod["runAsNonRoot"], "true");
        assert_eq!(
            pod["runAsUser"],
            daemons[0]["spec"]["template"]["spec"]["securityContext"]["runAsUser"]
        );
        assert_eq!(pod["seccompProfile"]["type"], "RuntimeDefault");
        let volumes = spec["volumes"].as_array().unwrap();
        let paths: Vec<_> = volumes
            .iter()
            .filter_map(|v| v["hostPath"]["path"].as_str())
            .collect();
        assert_eq!(paths, ["/var/lib/oci-apparmor/spool"]);
        for container in spec["containers"].as_array().unwrap() {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], "false");
            assert_eq!(security["readOnlyRootFilesystem"], "true");
            assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
            assert!(security["privileged"].is_null());
            assert!(container["resources"]["limits"]["memory"].is_string());
        }
    }
}

#[test]
fn the_agent_has_its_own_account_and_profile() {
    let daemon = only("DaemonSet", "oci-apparmor-agent");
    let template = &daemon["spec"]["template"];
    let container = &template["spec"]["containers"][0];
    let profile = container["securityContext"]["appArmorProfile"]["localhostProfile"]
        .as_str()
        .unwrap();
    let key = format!("{CONTAINER_KEY}{}", container["name"].as_str().unwrap());
    assert_eq!(
        template["metadata"]["annotations"][&key],
        format!("localhost/{profile}")
    );
    let source = text(&format!("deploy/node/{profile}"));
    assert!(source.contains(&format!("\nprofile {profile} ")));
    assert_eq!(
        template["spec"]["runtimeClassName"],
        objects("RuntimeClass")[0]["metadata"]["name"]
    );

    let account = template["spec"]["serviceAccountName"].as_str().unwrap();
    let namespace = daemon["metadata"]["namespace"].as_str().unwrap();
    only("ServiceAccount", account);
    only("Namespace", namespace);
    for kind in ["ClusterRoleBinding", "RoleBinding"] {
        for binding in objects(kind) {
            let role = &binding["roleRef"];
            only(
                role["kind"].as_str().unwrap(),
                role["name"].as_str().unwrap(),
            );
            let subject =
                json!({"kind": "ServiceAccount", "name": account, "namespace": namespace});
            assert_eq!(binding["subjects"], json!([subject]));
        }
    }
    let user = format!("\"system:serviceaccount:{namespace}:{account}\"");
    assert!(text("deploy/policies/own-node/policy.yaml").contains(&user));
    // What it may do, and nothing else.
    let mut rules = BTreeMap::new();
    for kind in ["ClusterRole", "Role"] {
        for role in objects(kind) {
            for rule in role["rules"].as_array().unwrap() {
                let fields = rule.as_object().unwrap().keys().map(String::as_str);
                assert!(fields.eq(["apiGroups", "resources", "verbs"]));
                rules.insert(
                    strings(&rule["resources"]).join(","),
                    strings(&rule["verbs"]).join(","),
                );
            }
        }
    }
    let expected = [
        ("apparmorprofiles", "list,watch"),
        ("configmaps", "list,watch"),
        ("nodeapparmors", "create,patch"),
    ];
    assert_eq!(
        rules,
        expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into()
    );
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

/// The profiles in `deploy/overlays`: a file NAME.profile or NAME.yaml is the profile NAME.
#[test]
fn the_example_profiles_are_what_their_names_say() {
    let mut profiles = 0;
    for path in files_below(&root().join("deploy/overlays/agentless")) {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let content = fs::read_to_string(&path).unwrap();
        match path.extension().and_then(|e| e.to_str()) {
            Some("profile") => assert!(content.contains(&format!("\nprofile {stem} "))),
            Some("yaml") if content.contains("kind: AppArmorProfile") => {
                let read = oci_apparmor_manifest::read(content.as_bytes()).unwrap();
                assert_eq!(read.len(), 1);
                assert_eq!(read[0].rendered.as_ref().unwrap().name, stem);
            }
            _ => continue,
        }
        profiles += 1;
    }
    assert_eq!(profiles, 2);
}

#[test]
fn the_copy_of_a_config_map_is_whole_or_not_marked() {
    let node = tempfile::tempdir().unwrap();
    let (mounted, spool) = (node.path().join("profiles"), node.path().join("spool"));
    let data = mounted.join("..1");
    fs::create_dir_all(&data).unwrap();
    fs::create_dir(&spool).unwrap();
    let copy = || {
        let script = root().join("deploy/overlays/agentless/copy.sh");
        let mut sh = Command::new("sh");
        sh.arg(script)
            .args([&mounted, &spool])
            .output()
            .unwrap()
            .status
            .success()
    };
    let names = || {
        let entries = fs::read_dir(&spool).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        names.collect::<BTreeSet<_>>()
    };
    // Nothing is mounted: nothing is removed.
    fs::write(spool.join("old.profile"), "old").unwrap();
    assert!(!copy());
    assert_eq!(names(), ["old.profile".to_owned()].into());
    // As the kubelet mounts a ConfigMap.
    symlink("..1", mounted.join("..data")).unwrap();
    for (name, content) in [("web.profile", "1"), ("db.yaml", "2"), ("README", "3")] {
        fs::write(data.join(name), content).unwrap();
        symlink(format!("..data/{name}"), mounted.join(name)).unwrap();
    }
    assert!(copy());
    let expected = [".complete", "db.yaml", "web.profile"].map(str::to_owned);
    assert_eq!(names(), expected.into());
    assert!(
        fs::symlink_metadata(spool.join("db.yaml"))
            .unwrap()
            .is_file()
    );
    // A change arrives; a file that is the same is not written again.
    let before = fs::metadata(spool.join("db.yaml"))
        .unwrap()
        .modified()
        .unwrap();
    fs::write(data.join("web.profile"), "4").unwrap();
    assert!(copy());
    assert_eq!(fs::read_to_string(spool.join("web.profile")).unwrap(), "4");
    assert_eq!(
        fs::metadata(spool.join("db.yaml"))
            .unwrap()
            .modified()
            .unwrap(),
        before
    );
}
