//! What the agent tells the cluster about its node: one object, written on change, and events.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::agent::Agent;
use crate::cluster::{Cluster, NAMESPACE, shared, until};

const OBJECTS: &str = "/apis/oci-apparmor.io/v1alpha1/nodeapparmors";

/// A file of root with so many loaded profiles.
pub(crate) fn status(loaded: u32) -> Value {
    let time = "2026-08-01T10:00:00Z";
    json!({
        "kernel": {"release": "6.1.0", "parser": "3.0.8", "enforcing": true},
        "versions": {"wrapper": "0.1.0"},
        "engines": [{"name": "containerd", "calls": "Named"}],
        "profileCounts": {"loaded": loaded},
        "profiles": [{"name": "web", "state": "Loaded"}],
        "containers": {"confined": 3, "wrong": 0, "unconfined": 1},
        "denials": {"total": 0, "lost": 0, "byProfile": []},
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Enforcing", "lastTransitionTime": time},
            {"type": "ProfilesAccepted", "status": "True", "reason": "Accepted", "lastTransitionTime": time},
        ],
    })
}

/// Waits until the object of a node is so.
async fn becomes(cluster: &Cluster, node: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let path = format!("{OBJECTS}/{node}");
    until(|| async {
        let object = cluster
            .admin
            .get(&path)
            .await
            .map_err(|e| format!("{e:?}"))?;
        is_so(&object).then_some(()).ok_or(format!("{object:#}"))
    })
    .await;
    cluster.admin.get(&path).await.unwrap()
}

fn writes(cluster: &Cluster, agent: &Agent) -> usize {
    let asked = cluster.server.asked_by(&agent.node);
    asked.iter().filter(|r| r["verb"] == "patch").count()
}

#[tokio::test]
async fn the_object_of_a_node_follows_its_file_and_refusals_make_events() {
    let Some(cluster) = shared().await else {
        return;
    };
    let node = "reported";
    let uid = cluster.node(node).await;
    let agent = Agent::start(&cluster, node).await;
    agent.set_status(&status(5));
    let loaded = |count: u32| move |o: &Value| o["status"]["profileCounts"]["loaded"] == count;
    let object = becomes(&cluster, node, loaded(5)).await;
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}]);
    assert_eq!(object["metadata"]["ownerReferences"], owner);
    let managed = &object["metadata"]["managedFields"];
    assert_eq!(managed[0]["manager"], "oci-apparmor-agent");
    assert_eq!(managed[0]["operation"], "Apply");
    assert_eq!(managed.as_array().unwrap().len(), 1, "{managed:#}");
    for (field, value) in status(5).as_object().unwrap() {
        if field != "versions" && field != "profileCounts" {
            assert_eq!(&object["status"][field], value, "{field}");
        }
    }
    assert_eq!(
        object["status"]["versions"]["agent"],
        env!("CARGO_PKG_VERSION")
    );

    // The same again, as root writes it each minute: nothing is sent.
    let before = writes(&cluster, &agent);
    agent.set_status(&status(5));
    sleep(Duration::from_secs(25)).await;
    assert_eq!(writes(&cluster, &agent), before);
    agent.set_status(&status(6));
    becomes(&cluster, node, loaded(6)).await;
    assert_eq!(writes(&cluster, &agent), before + 1);
    assert!(!agent.log().contains("warn:"), "{}", agent.log());

    // What the agent does not write into the spool is refused, too.
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "hidden", "namespace": NAMESPACE, "labels": {"oci-apparmor/profile": "true"}},
        "data": {".hidden": "profile hidden { }"},
    });
    cluster.admin.apply(&map).await.unwrap();
    let refused = |count: u32| move |o: &Value| o["status"]["profileCounts"]["refused"] == count;
    let object = becomes(&cluster, node, refused(1)).await;
    let profile = &object["status"]["profiles"][0];
    assert_eq!(
        (&profile["name"], &profile["state"]),
        (&json!(".hidden"), &json!("Refused"))
    );
    let path = format!(
        "/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name={node}"
    );
    until(|| async {
        let events = cluster.admin.get(&path).await.unwrap();
        let note = events["items"][0]["note"].as_str().unwrap_or_default();
        let found = note.contains(".hidden is refused: ConfigMap oci-apparmor/hidden:");
        found
            .then_some(())
            .ok_or(format!("{events:#} {}", agent.log()))
    })
    .await;
    let map = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/hidden");
    cluster.admin.delete(&map).await.unwrap();
    let object = becomes(&cluster, node, refused(0)).await;
    assert_eq!(object["status"]["conditions"][1]["status"], "True");
}
