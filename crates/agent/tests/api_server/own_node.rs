//! The object of a node: its definition, who may write it, and how.

use http::Method;
use serde_json::{Value, json};

use crate::client::{Client, path_of};
use crate::cluster::{Cluster, NAMESPACE, shared};

const MANAGER: &str = "oci-apparmor-agent";

/// An agent on a new node, and the object that it writes.
async fn node(cluster: &Cluster, name: &str) -> (Client, Value) {
    let uid = cluster.node(name).await;
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid});
    let object = json!({
        "apiVersion": "oci-apparmor.io/v1alpha1", "kind": "NodeAppArmor",
        "metadata": {"name": name, "ownerReferences": [owner]},
        "status": {"kernel": {"release": "6.1.0", "enforcing": true}},
    });
    (cluster.agent_client(name).await, object)
}

async fn applied(agent: &Client, object: &Value) -> Value {
    let answer = agent.apply_as(object, MANAGER).await;
    answer.unwrap_or_else(|e| panic!("{e:?}: {object:#}"))
}

async fn refused(agent: &Client, object: &Value, why: &str) {
    let answer = agent.apply_as(object, MANAGER).await;
    match answer {
        Ok(object) => panic!("{why}: {object:#}"),
        Err(refusal) => assert!(
            refusal.code == 403 && refusal.message.contains(why),
            "{why:?}: {refusal:?}"
        ),
    }
}

#[tokio::test]
async fn an_agent_writes_the_object_of_its_own_node_only() {
    let Some(cluster) = shared().await else {
        return;
    };
    let (a, of_a) = node(&cluster, "own-a").await;
    let (b, of_b) = node(&cluster, "own-b").await;
    let unbound = Client::new(&cluster.server, cluster.token(None).await);
    refused(&unbound, &of_a, "not bound to a pod").await;
    for (agent, other, node) in [(&a, &of_b, "own-a"), (&b, &of_a, "own-b")] {
        let why = format!("the agent of node {node} may not write");
        refused(agent, other, &why).await;
    }
    applied(&a, &of_a).await;
    applied(&b, &of_b).await;
    // Also not afterwards, when the object is there, and not in another way.
    for (agent, other) in [(&a, &of_b), (&b, &of_a)] {
        refused(agent, other, "may not write").await;
        let patch = json!({"status": {"kernel": {"enforcing": false}}});
        let refusal = agent.merge(&path_of(other), &patch).await.unwrap_err();
        assert!(refusal.message.contains("may not write"), "{refusal:?}");
    }
    let mut third = of_a.clone();
    third["metadata"]["name"] = json!("not-a-node");
    let refusal = a.post(&third, "").await.unwrap_err();
    assert!(refusal.message.contains("may not write"), "{refusal:?}");
    // It may not delete even its own.
    let path = path_of(&of_a);
    let refusal = a.call(Method::DELETE, &path, None).await.unwrap_err();
    assert_eq!(refusal.code, 403);
}

/// No controller runs here that removes what a Node owns. That it would is decided by these fields.
#[tokio::test]
async fn the_object_is_owned_by_its_node_alone() {
    let Some(cluster) = shared().await else {
        return;
    };
    let (agent, good) = node(&cluster, "owned").await;
    let other = cluster.node("owned-other").await;
    let owner = good["metadata"]["ownerReferences"][0].clone();
    let with = |key: &str, value: Value| {
        let mut owner = owner.clone();
        owner[key] = value;
        owner
    };
    let must = "the only owner of the object must be its Node";
    for owners in [
        json!([]),
        json!([with("uid", other)]),
        json!([with("name", json!("owned-other"))]),
        json!([with("kind", json!("Namespace"))]),
        json!([
            owner,
            with("uid", json!("7f0d1f8e-59a7-4d0a-b5a4-000000000000"))
        ]),
    ] {
        let mut object = good.clone();
        object["metadata"]["ownerReferences"] = owners;
        refused(&agent, &object, must).await;
    }
    let mut object = good.clone();
    object["metadata"]["finalizers"] = json!(["example.org/stay"]);
    refused(&agent, &object, "must have no finalizers").await;
    let created = applied(&agent, &good).await;
    assert_eq!(created["metadata"]["ownerReferences"], json!([owner]));
    let without = json!({"metadata": {"ownerReferences": null}});
    let refusal = agent.merge(&path_of(&good), &without).await.unwrap_err();
    assert!(refusal.message.contains(must), "{refusal:?}");
}

#[tokio::test]
async fn an_apply_without_a_change_changes_nothing() {
    let Some(cluster) = shared().await else {
        return;
    };
    let (agent, mut object) = node(&cluster, "unchanged").await;
    object["status"]["denials"] = json!({"total": 0});
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let first = applied(&agent, &object).await;
    let second = applied(&agent, &object).await;
    assert_eq!(version(&first), version(&second));
    object["status"]["denials"]["total"] = json!(1);
    let third = applied(&agent, &object).await;
    assert_ne!(version(&second), version(&third));
    // What an administrator added stays, and what the agent no longer says goes.
    let label = json!({"metadata": {"labels": {"rack": "7"}}});
    cluster
        .admin
        .merge(&path_of(&object), &label)
        .await
        .unwrap();
    object["status"].as_object_mut().unwrap().remove("denials");
    let last = applied(&agent, &object).await;
    assert_eq!(last["metadata"]["labels"]["rack"], "7");
    assert!(last["status"]["denials"].is_null(), "{last:#}");
}

#[tokio::test]
async fn an_agent_makes_events_about_its_own_node_only() {
    let Some(cluster) = shared().await else {
        return;
    };
    let (agent, _) = node(&cluster, "events-a").await;
    cluster.node("events-b").await;
    let event = |number: u32, version: &str, about: Value, controller: &str| {
        json!({
            "apiVersion": version, "kind": "Event",
            "metadata": {"name": format!("events-a.{number}"), "namespace": "default"},
            "eventTime": "2026-08-01T10:00:00.000000Z",
            "reportingController": controller, "reportingInstance": "events-a",
            "action": "TakeProfile", "reason": "ProfileRefused", "type": "Warning",
            "regarding": about, "note": "the profile x is refused",
        })
    };
    let of = |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "name": name});
    let (new, own) = ("events.k8s.io/v1", "oci-apparmor.io/agent");
    let good = event(0, new, of("Node", "events-a"), own);
    agent.post(&good, "").await.unwrap();
    for (event, code, why) in [
        (
            event(1, new, of("Node", "events-b"), own),
            403,
            "about the node of the agent",
        ),
        (
            event(2, new, of("Namespace", "events-a"), own),
            403,
            "about the node of the agent",
        ),
        (
            event(3, new, of("Node", "events-a"), "kubelet"),
            403,
            "that the agent made it",
        ),
        (
            event(4, "v1", of("Node", "events-a"), own),
            403,
            "cannot create resource",
        ),
        (good.clone(), 409, "already exists"),
    ] {
        let refusal = agent.post(&event, "").await.unwrap_err();
        assert!(
            refusal.code == code && refusal.message.contains(why),
            "{why}: {refusal:?}"
        );
    }
    let path = path_of(&good);
    let refusal = agent.merge(&path, &json!({"note": "x"})).await.unwrap_err();
    assert!(refusal.message.contains("cannot patch"), "{refusal:?}");
    let mut elsewhere = good.clone();
    elsewhere["metadata"]["namespace"] = json!(NAMESPACE);
    let refusal = agent.post(&elsewhere, "").await.unwrap_err();
    assert!(refusal.message.contains("cannot create"), "{refusal:?}");
    let unbound = Client::new(&cluster.server, cluster.token(None).await);
    let refusal = unbound
        .post(&event(5, new, of("Node", "events-a"), own), "")
        .await;
    let why = refusal.unwrap_err().message;
    assert!(why.contains("not bound to a pod"), "{why}");
}
