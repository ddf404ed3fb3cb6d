//! The pod of `deploy/install`: its container on the node has no token, the one with the token has
//! nothing of the node.

use serde_json::{Value, json};

use crate::deploy::{only, strings};
use crate::{help, root, text};

fn names(values: &Value) -> Vec<&str> {
    let items = values.as_array().into_iter().flatten();
    items.map(|item| item["name"].as_str().unwrap()).collect()
}

#[test]
fn the_token_and_the_node_are_in_different_containers() {
    let daemon = only("DaemonSet", "oci-apparmor-install");
    let spec = &daemon["spec"]["template"]["spec"];
    for host in ["hostPID", "hostNetwork", "hostIPC", "runtimeClassName"] {
        assert!(spec[host].is_null(), "{host}");
    }
    assert_eq!(spec["automountServiceAccountToken"], "false");
    let volumes = spec["volumes"].as_array().unwrap();
    let of_kind = |kind: &str| -> Vec<&str> {
        let these = volumes.iter().filter(|volume| !volume[kind].is_null());
        these
            .map(|volume| volume["name"].as_str().unwrap())
            .collect()
    };
    assert_eq!(of_kind("projected"), ["token"]);
    let containers = spec["containers"].as_array().unwrap();
    let [node, api] = &containers[..] else {
        panic!("{containers:?}")
    };
    let mounts = names(&node["volumeMounts"]);
    assert!(
        mounts.contains(&"root") && !mounts.contains(&"token"),
        "{mounts:?}"
    );
    assert_eq!(names(&api["volumeMounts"]), ["handover", "token"]);
    // The node's root directory is read-only, except for what is written.
    let root = &node["volumeMounts"][mounts.iter().position(|m| *m == "root").unwrap()];
    assert_eq!(
        (&root["mountPath"], &root["readOnly"]),
        (&json!("/host"), &json!("true"))
    );
    for container in containers {
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], "false");
        assert_eq!(security["readOnlyRootFilesystem"], "true");
        assert!(security["privileged"].is_null());
        assert_eq!(strings(&security["capabilities"]["drop"]), ["ALL"]);
    }
    assert_eq!(
        strings(&node["securityContext"]["capabilities"]["add"]),
        [
            "CHOWN",
            "DAC_OVERRIDE",
            "FOWNER",
            "SYS_CHROOT",
            "SYS_PTRACE"
        ]
    );
    assert!(api["securityContext"]["capabilities"]["add"].is_null());
    // The spool's user is the agent's.
    assert_eq!(api["securityContext"]["runAsUser"], "65532");
    let options = help(&["node", "install"]);
    for argument in strings(&node["args"]) {
        let option = argument.split('=').next().unwrap();
        assert!(options.contains(option), "{option}");
    }
    assert!(
        !strings(&node["args"])
            .iter()
            .any(|word| word.starts_with("--restart"))
    );
}

#[test]
fn the_account_may_read_nodes_and_change_the_label_of_its_own() {
    let role = only("ClusterRole", "oci-apparmor-installer");
    let rule = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "patch"]}]);
    assert_eq!(role["rules"], rule);
    let policy = text("deploy/install/base/policy.yaml");
    let user = "\"system:serviceaccount:oci-apparmor:oci-apparmor-installer\"";
    assert!(policy.contains(user));
    let class = text("deploy/runtimeclass/runtimeclass.yaml");
    let label = include_str!("../../crates/agent/src/label.rs");
    for text in [&*policy, &*class, label] {
        assert!(text.contains("oci-apparmor/served"));
    }
}

#[test]
fn each_engine_has_a_directory_whose_options_exist() {
    let options = help(&["node", "install"]);
    let mut engines = 0;
    for engine in ["containerd", "cri-o", "k3s", "rke2"] {
        let file = root()
            .join("deploy/install")
            .join(engine)
            .join("kustomization.yaml");
        let text = std::fs::read_to_string(file).unwrap();
        let value = |key: &str| text.lines().find_map(|l| l.trim().strip_prefix(key));
        let (option, name) = value("value: ").unwrap().split_once('=').unwrap();
        assert!(
            options.contains(option) && options.contains(name),
            "{option}={name}"
        );
        // Where the engine's files are, at the same place below the root directory.
        let paths: Vec<&str> = text
            .lines()
            .filter_map(|l| l.trim().strip_prefix("path: "))
            .collect();
        let host = paths
            .iter()
            .find(|path| !path.starts_with("/spec/"))
            .unwrap();
        assert!(
            text.contains(&format!("mountPath: /host{host}\n")),
            "{text}"
        );
        engines += 1;
    }
    assert_eq!(engines, 4);
}
