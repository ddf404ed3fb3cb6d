//! Bundles of CRI-O: what a pod and a checkpoint image may write into them, in the order of CRI-O
//! 1.37 (`src/request/crio.rs`), and what that changes.

use serde_json::{Map, Value, json};

use crate::call::one_line;
use crate::node::{Node, node};

/// Where CRI-O has the bundles of its containers.
const STORAGE: &str = "/run/containers/storage/overlay-containers";

const RESTORE: [&str; 4] = ["restore", "--detach", "--pid-file", "/run/again.pid"];

fn bundle_of(id: &str) -> String {
    format!("{STORAGE}/{id}/userdata")
}

/// Writes annotations, later ones over earlier ones.
fn write(node: &Node, id: &str, parts: &[&Value]) {
    let mut all = Map::new();
    for part in parts {
        all.extend(part.as_object().unwrap().clone());
    }
    let config = json!({"process": {"args": ["x"]}, "annotations": all});
    node.write(
        &format!("{}/config.json", bundle_of(id)),
        config.to_string(),
    );
}

/// A sandbox `s1` of the pod `web-0`: CRI-O's words, the pod's annotations, the labels.
fn sandbox(node: &Node, of_pod: &Value) {
    let own = json!({
        "io.kubernetes.cri-o.Metadata": r#"{"name":"web-0","uid":"uid-1","namespace":"team"}"#,
        "io.kubernetes.cri-o.Name": "k8s_web-0_team_uid-1_0",
        "io.kubernetes.cri-o.SandboxName": "k8s_web-0_team_uid-1_0",
        "io.kubernetes.cri-o.Namespace": "team",
        "io.kubernetes.cri-o.ContainerType": "sandbox",
        "io.kubernetes.cri-o.SandboxID": "s1",
        "io.kubernetes.cri-o.ContainerID": "s1",
        "io.kubernetes.cri-o.KubeName": "web-0",
        "io.container.manager": "cri-o",
    });
    let labels = json!({
        "io.kubernetes.pod.name": "web-0",
        "io.kubernetes.pod.namespace": "team",
        "io.kubernetes.pod.uid": "uid-1",
        "io.kubernetes.container.name": "POD",
    });
    write(node, "s1", &[&own, of_pod, &labels]);
}

fn own(id: &str) -> Value {
    json!({
        "io.kubernetes.cri-o.Name": "k8s_app_web-0_team_uid-1_0",
        "io.kubernetes.cri-o.ContainerID": id,
        "io.kubernetes.cri-o.SandboxID": "s1",
        "io.kubernetes.cri-o.SandboxName": "k8s_web-0_team_uid-1_0",
        "io.kubernetes.cri-o.ContainerType": "container",
        "io.container.manager": "cri-o",
        "io.kubernetes.cri-o.Metadata": r#"{"name":"app"}"#,
    })
}

fn labels() -> Value {
    json!({
        "io.kubernetes.pod.name": "web-0",
        "io.kubernetes.pod.namespace": "team",
        "io.kubernetes.pod.uid": "uid-1",
        "io.kubernetes.container.name": "app",
    })
}

/// A container of that pod: the pod's annotations, CRI-O's words, the kubelet's labels.
fn container(node: &Node, id: &str, of_pod: &Value) {
    write(node, id, &[of_pod, &own(id), &labels()]);
}

/// A restored one: as before, with the image's annotations in front of the labels, and what
/// CRI-O then writes once more.
fn restored(node: &Node, id: &str, of_pod: &Value, of_image: &Value) {
    let again = json!({
        "io.kubernetes.cri-o.SandboxID": "s1",
        "io.kubernetes.cri-o.SandboxName": "k8s_web-0_team_uid-1_0",
        "io.kubernetes.cri-o.Name": "k8s_k8s_app_web-0_team_uid-1_0_web-0_team_uid-10",
    });
    write(node, id, &[of_pod, &own(id), of_image, &labels(), &again]);
    // A process that has ended.
    node.write("/run/again.pid", "4194303");
}

#[track_caller]
fn done(node: &Node, words: &[&str], id: &str) {
    node.done(&[words, &["--bundle", &bundle_of(id), id]].concat());
}

#[track_caller]
fn refused(node: &Node, words: &[&str], id: &str, why: &str) {
    let line = node.refused(&[words, &["--bundle", &bundle_of(id), id]].concat());
    assert!(line.contains(why), "{line}");
}

/// Each of CRI-O's own words but the id.
fn forgeries() -> Vec<Value> {
    [
        json!({"io.kubernetes.cri-o.ContainerType": "container"}),
        json!({"io.kubernetes.cri-o.Namespace": "kube-system"}),
        json!({"io.kubernetes.cri-o.Name": "k8s_app_web-0_kube-system_uid-1_0"}),
        json!({"io.kubernetes.cri-o.SandboxName": "k8s_web-0_kube-system_uid-1_0"}),
        json!({"io.kubernetes.cri-o.KubeName": "forged"}),
        json!({"io.kubernetes.cri-o.Metadata": r#"{"name":"forged"}"#}),
        json!({"io.kubernetes.cri-o.Labels": r#"{"io.kubernetes.container.name":"app"}"#}),
        json!({"io.kubernetes.pod.namespace": "kube-system"}),
        json!({"io.kubernetes.pod.name": "forged"}),
        json!({"io.kubernetes.pod.uid": "forged"}),
        json!({"io.kubernetes.container.name": "app"}),
        json!({"io.container.manager": "libpod"}),
        json!({"io.kubernetes.cri.container-type": "container"}),
    ]
    .into()
}

/// A sandbox that passes for something else would shed its profile and the comparison of its
/// containers' annotations with its own.
#[test]
fn a_pod_cannot_make_its_sandbox_something_else() {
    let Some(node) = node() else { return };
    node.load("pause", "enforce");
    node.settings("sandbox_profile = 'pause'\ndefault_profile = 'p'");
    let all = forgeries().iter().fold(json!({}), |mut all, forged| {
        let more = forged.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(more);
        all
    });
    for mut of_pod in forgeries().into_iter().chain([all]) {
        of_pod["oci-apparmor/profile"] = "p".into();
        sandbox(&node, &of_pod);
        done(&node, &["create"], "s1");
        assert_eq!(node.record("s1")["label"], "pause", "{of_pod}");
        assert_eq!(node.record("s1")["namespace"], "team", "{of_pod}");
        of_pod["oci-apparmor/profile"] = "pause".into();
        container(&node, "c1", &of_pod);
        refused(
            &node,
            &["create"],
            "c1",
            "has changed since the pod was created",
        );
        node.done(&["delete", "s1"]);
    }
    for forged in [
        json!({"io.kubernetes.cri-o.SandboxID": "s2"}),
        json!({"io.kubernetes.cri-o.SandboxID": ""}),
    ] {
        sandbox(&node, &forged);
        refused(&node, &["create"], "s1", "SandboxID names another one");
    }
}

/// The namespace exempts from what the node demands, and picks its rules.
#[test]
fn a_pod_of_crio_cannot_choose_its_namespace() {
    let Some(node) = node() else { return };
    node.load("q", "enforce");
    node.settings("default_profile = 'p'");
    let rule = "[[rule]]\nnamespaces = ['lax']\ndefault_profile = 'q'\n";
    let path = "/etc/oci-apparmor/config.toml";
    node.write(path, node.text(path) + rule);
    for (number, mut forged) in forgeries().into_iter().enumerate() {
        let id = format!("c{number}");
        container(&node, &id, &forged);
        done(&node, &["create"], &id);
        assert_eq!(node.record(&id)["label"], "p", "{forged}");
        assert_eq!(node.record(&id)["namespace"], "team", "{forged}");
        // Nor where the client gives no labels, as crictl.
        let id = format!("n{number}");
        forged["io.kubernetes.pod.namespace"] = "lax".into();
        write(&node, &id, &[&forged, &own(&id)]);
        refused(&node, &["create"], &id, "contradict each other");
    }
}

#[test]
fn a_client_that_gives_no_labels_can_name_a_container() {
    let Some(node) = node() else { return };
    let asks = json!({"container.oci-apparmor/app": "p", "container.oci-apparmor/other": "q"});
    write(&node, "c1", &[&asks, &own("c1")]);
    done(&node, &["create"], "c1");
    let record = node.record("c1");
    assert_eq!(record["label"], "p");
    assert_eq!(record["container"], "app");
    assert_eq!(record["namespace"], "team");
}

/// A checkpoint image that overwrites the id would have its container taken for podman's, which
/// belongs to no pod.
#[test]
fn a_bundle_with_the_id_of_another_container_is_refused() {
    let Some(node) = node() else { return };
    node.settings("sandbox_profile = 'p'\nfloor = 'p'");
    for id in ["guessed", "", "s1"] {
        let forged = json!({
            "io.kubernetes.cri-o.ContainerID": id,
            "io.container.manager": "libpod",
        });
        let told = format!("names another container, {id:?}");
        for words in [&["create"][..], &["run"], &RESTORE] {
            restored(&node, "c1", &json!({}), &forged);
            refused(&node, words, "c1", &told);
        }
        if id != "s1" {
            sandbox(&node, &forged);
            refused(&node, &["create"], "s1", &told);
        }
        // Where podman or containerd passes it on, too.
        let config = json!({"process": {}, "annotations": forged}).to_string();
        node.bundle(&config);
        let line = node.create_refused(&["create", "c1"]);
        assert!(line.contains(&told), "{line}");
        let hooked = node
            .call_program("/run/libexec/oci-apparmor-hook", &["createRuntime"])
            .input(
                json!({"ociVersion": "1.0.2", "id": "c1", "status": "creating", "pid": 1,
                          "bundle": "/run/bundle"})
                .to_string(),
            )
            .outcome();
        assert_eq!(hooked.code, Some(5));
        assert!(one_line(&hooked.stderr).contains(&told), "{hooked:?}");
    }
    assert_eq!(node.records(), [""; 0]);
}

/// An image's annotations stand among those of the pod.
#[test]
fn what_a_checkpoint_asks_for_counts_only_if_its_pod_does() {
    let Some(node) = node() else { return };
    node.load("q", "enforce");
    let (p, q) = (
        json!({"oci-apparmor/profile": "p"}),
        json!({"oci-apparmor/profile": "q"}),
    );
    // Nothing tells what the pod asks for.
    restored(&node, "c1", &json!({}), &q);
    refused(
        &node,
        &RESTORE,
        "c1",
        "is from the pod or from the checkpoint",
    );
    restored(&node, "c1", &p, &json!({}));
    refused(
        &node,
        &RESTORE,
        "c1",
        "is from the pod or from the checkpoint",
    );

    // Nothing runs in the sandbox, which is CRI-O's default: its configuration tells.
    sandbox(&node, &p);
    restored(&node, "c1", &p, &q);
    refused(
        &node,
        &RESTORE,
        "c1",
        "has changed since the pod was created",
    );
    restored(&node, "c1", &p, &json!({"container.oci-apparmor/app": "q"}));
    refused(
        &node,
        &RESTORE,
        "c1",
        "has changed since the pod was created",
    );
    restored(&node, "c1", &p, &json!({}));
    done(&node, &RESTORE, "c1");
    assert_eq!(node.record("c1")["label"], "p");
    node.done(&["delete", "c1"]);

    // Or it has a record.
    sandbox(&node, &p);
    done(&node, &["create"], "s1");
    node.remove(&bundle_of("s1"));
    restored(&node, "c1", &p, &q);
    refused(
        &node,
        &RESTORE,
        "c1",
        "has changed since the pod was created",
    );
    restored(&node, "c1", &p, &json!({}));
    done(&node, &RESTORE, "c1");
    assert_eq!(node.record("c1")["label"], "p");
    // A container that asks for nothing needs no record of its pod.
    sandbox(&node, &json!({}));
    node.remove(&bundle_of("s1"));
    node.remove("/run/oci-apparmor");
    restored(&node, "c2", &json!({}), &json!({}));
    done(&node, &["restore"], "c2");
}

/// CRI-O gives containers what it remembers of their pod; a restart fills that memory from a word
/// that the pod may have forged.
#[test]
fn a_pod_whose_sandbox_has_no_process_is_held_to_its_annotations_too() {
    let Some(node) = node() else { return };
    node.load("q", "enforce");
    let p = json!({
        "oci-apparmor/profile": "p",
        "io.kubernetes.cri-o.Annotations": r#"{"oci-apparmor/profile":"q"}"#,
    });
    sandbox(&node, &p);
    container(&node, "c1", &p);
    done(&node, &["create"], "c1");
    for remembered in [json!({"oci-apparmor/profile": "q"}), json!({})] {
        container(&node, "c2", &remembered);
        refused(
            &node,
            &["create"],
            "c2",
            "has changed since the pod was created",
        );
    }
    // A sandbox that says it is another's, or cannot be read, tells nothing.
    sandbox(&node, &json!({"io.kubernetes.cri-o.ContainerID": "s2"}));
    container(&node, "c2", &p);
    refused(
        &node,
        &["create"],
        "c2",
        "the sandbox of its pod: the annotation",
    );
    for text in ["{", "{}", r#"{"process":{}}"#] {
        node.write(&format!("{}/config.json", bundle_of("s1")), text);
        refused(&node, &["create"], "c2", "config.json");
    }
    node.remove(&bundle_of("s1"));
    done(&node, &["create"], "c2");
}

/// The UID is a label in a sandbox and a part of a name in a container: they are one pod.
#[test]
fn a_pod_of_crio_keeps_its_annotations_in_its_next_sandbox() {
    let Some(node) = node() else { return };
    node.load("q", "enforce");
    let (p, q) = (
        json!({"oci-apparmor/profile": "p"}),
        json!({"oci-apparmor/profile": "q"}),
    );
    sandbox(&node, &p);
    done(&node, &["create"], "s1");
    node.done(&["delete", "s1"]);
    let edited = "has changed since the pod was created";
    sandbox(&node, &q);
    refused(&node, &["create"], "s1", edited);
    node.remove(&bundle_of("s1"));
    container(&node, "c1", &q);
    refused(&node, &["create"], "c1", edited);
    write(&node, "c1", &[&q, &own("c1")]);
    refused(&node, &["create"], "c1", edited);
    write(&node, "c1", &[&p, &own("c1")]);
    done(&node, &["create"], "c1");
}
