//! The object of a node: its definition, who may write it, and how.

use http::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::client::path_of;
use crate::cluster::{Cluster, NODES, shared, until};

const MANAGER: &str = "oci-apparmor-agent";

async fn uid(cluster: &Cluster, node: &str) -> Value {
    let node = cluster.admin.get(&format!("/api/v1/nodes/{node}")).await;
    node.unwrap()["metadata"]["uid"].clone()
}

/// An object as an agent writes it.
async fn object(cluster: &Cluster, node: &str) -> Value {
    json!({
        "apiVersion": "oci-apparmor.io/v1alpha1", "kind": "NodeAppArmor",
        "metadata": {
            "name": node,
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Node", "name": node, "uid": uid(cluster, node).await,
            }],
        },
        "status": {"kernel": {"release": "6.1.0", "enforcing": true}},
    })
}

/// Applies, once the policy is in force: it takes the API server a moment to compile it.
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
    let [a, b] = [
        cluster.agent_client(NODES[0]).await,
        cluster.agent_client(NODES[1]).await,
    ];
    let [of_a, of_b] = [
        object(&cluster, NODES[0]).await,
        object(&cluster, NODES[1]).await,
    ];
    let unbound = Client::new(&cluster.server, cluster.token(None).await);
    until(|| async {
        let refusal = unbound.apply_as(&of_a, MANAGER).await.unwrap_err();
        let compiled = refusal.message.contains("not bound to a pod");
        compiled.then_some(()).ok_or(refusal.message)
    })
    .await;
    for (agent, other, node) in [(&a, &of_b, NODES[0]), (&b, &of_a, NODES[1])] {
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
    let agent = cluster.agent_client(NODES[0]).await;
    let good = object(&cluster, NODES[0]).await;
    let owner = good["metadata"]["ownerReferences"][0].clone();
    let with = |key: &str, value: Value| {
        let mut owner = owner.clone();
        owner[key] = value;
        owner
    };
    let must = "the only owner of the object must be its Node";
    for owners in [
        json!([]),
        json!([with("uid", uid(&cluster, NODES[1]).await)]),
        json!([with("name", json!(NODES[1]))]),
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
    let agent = cluster.agent_client(NODES[1]).await;
    let mut object = object(&cluster, NODES[1]).await;
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
