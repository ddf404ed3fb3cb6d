//! The installer's account: it may change the label of its own node, and nothing else.

use serde_json::{Value, json};

use crate::client::Client;
use crate::cluster::shared;

const LABEL: &str = "oci-apparmor/served";

fn path(node: &str) -> String {
    format!("/api/v1/nodes/{node}")
}

fn label(value: Value) -> Value {
    json!({"metadata": {"labels": {LABEL: value}}})
}

async fn refused(client: &Client, node: &str, patch: Value, why: &str) {
    match client.merge(&path(node), &patch).await {
        Ok(node) => panic!("{why}: {node:#}"),
        Err(refusal) => assert!(
            refusal.code == 403 && refusal.message.contains(why),
            "{why:?}: {refusal:?}"
        ),
    }
}

#[tokio::test]
async fn an_installer_changes_the_label_of_its_own_node_only() {
    let Some(cluster) = shared().await else {
        return;
    };
    for node in ["label-a", "label-b"] {
        cluster.node(node).await;
    }
    let installer = cluster.installer_client(Some("label-a")).await;
    for value in [json!("false"), json!("true"), Value::Null, json!("true")] {
        let patch = label(value.clone());
        let node = installer.merge(&path("label-a"), &patch).await.unwrap();
        assert_eq!(node["metadata"]["labels"][LABEL], value);
    }
    refused(
        &installer,
        "label-b",
        label(json!("false")),
        "may not change another node",
    )
    .await;
    let unbound = cluster.installer_client(None).await;
    refused(
        &unbound,
        "label-a",
        label(json!("false")),
        "not bound to a pod",
    )
    .await;

    let others = "may change no label but";
    let pool = json!({"metadata": {"labels": {"pool": "secret"}}});
    refused(&installer, "label-a", pool, others).await;
    let nothing_else = "may change nothing of a node but its label";
    for patch in [
        json!({"spec": {"unschedulable": true}}),
        json!({"spec": {"taints": [{"key": "a", "effect": "NoExecute"}]}}),
        json!({"metadata": {"annotations": {"a": "b"}}}),
        json!({"metadata": {"finalizers": ["example.com/a"]}}),
    ] {
        refused(&installer, "label-a", patch, nothing_else).await;
    }
}

#[tokio::test]
async fn an_installer_has_no_other_right() {
    let Some(cluster) = shared().await else {
        return;
    };
    cluster.node("label-c").await;
    let installer = cluster.installer_client(Some("label-c")).await;
    installer.get(&path("label-c")).await.unwrap();
    for path in [
        "/api/v1/nodes",
        "/api/v1/pods",
        "/api/v1/secrets",
        "/api/v1/namespaces/oci-apparmor/configmaps",
    ] {
        assert_eq!(installer.get(path).await.unwrap_err().code, 403, "{path}");
    }
    let status = format!("{}/status", path("label-c"));
    let ready = json!({"status": {"conditions": []}});
    assert_eq!(
        installer.merge(&status, &ready).await.unwrap_err().code,
        403
    );
    let node = path("label-c");
    assert_eq!(installer.delete(&node).await.unwrap_err().code, 403);
}
