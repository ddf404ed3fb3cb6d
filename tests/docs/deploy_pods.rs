//! The pods of `deploy/`: what they may do, and what they write into the spool of a node.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use oci_apparmor::request::CONTAINER_KEY;
use serde_json::json;

use crate::deploy::{objects, only, strings};
use crate::kubernetes::example;
use crate::{files_below, root, text};

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
        let mounts = &spec["containers"][0]["volumeMounts"];
        match daemon["metadata"]["name"].as_str().unwrap() {
            "oci-apparmor-agent" => {
                assert_eq!(paths, ["/var/lib/oci-apparmor"]);
                // It sees two directories of it, and writes one.
                let base = "/var/lib/oci-apparmor";
                let mount = |name| json!({"name": "node", "mountPath": format!("{base}/{name}"), "subPath": name});
                let mut status = mount("status");
                status["readOnly"] = json!("true");
                assert_eq!(*mounts, json!([mount("spool"), status]));
            }
            _ => assert_eq!(paths, ["/var/lib/oci-apparmor/spool"]),
        }
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
    for policy in ["policy.yaml", "events.yaml"] {
        assert!(text(&format!("deploy/policies/own-node/{policy}")).contains(&user));
    }
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
        ("events", "create"),
        ("nodeapparmors", "create,patch"),
    ];
    assert_eq!(
        rules,
        expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into()
    );
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
