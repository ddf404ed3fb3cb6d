//! What the account of the agent may do: the rules of `deploy/`, and nothing else.

use http::Method;
use serde_json::{Value, json};

use crate::cluster::{ACCOUNT, NAMESPACE, NODES, shared};

/// The rules that an account has in a namespace, without what every account has.
fn own_rules(review: &Value) -> Vec<String> {
    let strings = |value: &Value| {
        let items = value.as_array().into_iter().flatten();
        items
            .map(|item| item.as_str().unwrap())
            .collect::<Vec<_>>()
            .join(",")
    };
    let rules = review["status"]["resourceRules"].as_array().unwrap();
    let mut rules: Vec<String> = rules
        .iter()
        .map(|rule| {
            let [verbs, resources] = ["verbs", "resources"].map(|key| strings(&rule[key]));
            format!("{verbs} {resources}.{}", strings(&rule["apiGroups"]))
        })
        // system:basic-user and system:cluster-trust-bundle-discovery.
        .filter(|rule| !rule.starts_with("create self"))
        .filter(|rule| !rule.ends_with(" clustertrustbundles.certificates.k8s.io"))
        .collect();
    rules.sort();
    rules
}

#[tokio::test]
async fn the_account_has_exactly_the_rules_of_its_files() {
    let Some(cluster) = shared().await else {
        return;
    };
    let agent = cluster.agent_client(NODES[0]).await;
    let everywhere = [
        "create,patch nodeapparmors.oci-apparmor.io",
        "list,watch apparmorprofiles.security-profiles-operator.x-k8s.io",
    ];
    for namespace in [NAMESPACE, "default", "kube-system"] {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
            "metadata": {}, "spec": {"namespace": namespace},
        });
        let review = agent.post(&review, "").await.unwrap();
        let mut expected = everywhere.map(str::to_owned).to_vec();
        match namespace {
            NAMESPACE => expected.push("list,watch configmaps.".to_owned()),
            "default" => expected.push("create events.events.k8s.io".to_owned()),
            _ => {}
        }
        expected.sort();
        assert_eq!(own_rules(&review), expected, "{namespace}: {review:#}");
    }
}

#[tokio::test]
async fn everything_else_is_refused() {
    let Some(cluster) = shared().await else {
        return;
    };
    let agent = cluster.agent_client(NODES[0]).await;
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let ours = format!("/api/v1/namespaces/{NAMESPACE}");
    let profiles = "/apis/security-profiles-operator.x-k8s.io/v1/apparmorprofiles";
    let nodes = "/apis/oci-apparmor.io/v1alpha1/nodeapparmors";
    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    for (method, path) in [
        (&get, "/api/v1/secrets".to_owned()),
        (&get, format!("{ours}/secrets")),
        (&get, "/api/v1/configmaps".to_owned()),
        (&get, "/api/v1/namespaces/kube-system/configmaps".to_owned()),
        // By name: the list has all of them.
        (&get, format!("{ours}/configmaps/kube-root-ca.crt")),
        (&post, format!("{ours}/configmaps")),
        (&delete, format!("{ours}/configmaps")),
        (&get, format!("{profiles}/web")),
        (&post, profiles.to_owned()),
        (&delete, profiles.to_owned()),
        (&get, nodes.to_owned()),
        (&get, format!("{nodes}/{}", NODES[0])),
        (&delete, format!("{nodes}/{}", NODES[0])),
        (&delete, nodes.to_owned()),
        (&get, "/api/v1/nodes".to_owned()),
        (&get, format!("/api/v1/nodes/{}", NODES[0])),
        (&get, "/api/v1/pods".to_owned()),
        (&get, format!("{ours}/pods")),
        (&post, format!("{ours}/pods")),
        (&post, format!("{ours}/serviceaccounts/{ACCOUNT}/token")),
        (&post, format!("{ours}/events")),
        (
            &get,
            "/apis/events.k8s.io/v1/namespaces/default/events".to_owned(),
        ),
        (&get, policies.to_owned()),
        (&delete, format!("{policies}/own-node.oci-apparmor.io")),
        (&get, "/metrics".to_owned()),
    ] {
        let body = json!({});
        let body = (method != Method::GET).then_some(&body);
        let answer = agent.call(method.clone(), &path, body).await;
        let refusal = answer.err().unwrap_or_else(|| panic!("{method} {path}"));
        assert_eq!(refusal.code, 403, "{method} {path}: {}", refusal.message);
    }
    // What it may, on the other hand.
    for path in [profiles, &format!("{ours}/configmaps")] {
        agent.get(path).await.unwrap();
    }
}

#[tokio::test]
async fn a_token_without_a_pod_is_that_account_too() {
    let Some(cluster) = shared().await else {
        return;
    };
    let token = cluster.token(None).await;
    let agent = crate::client::Client::new(&cluster.server, token);
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {},
    });
    let who = agent.post(&review, "").await.unwrap();
    let user = &who["status"]["userInfo"];
    let name = format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}");
    assert_eq!(user["username"], name);
    assert!(user["extra"]["authentication.kubernetes.io/node-name"].is_null());
    let agent = cluster.agent_client(NODES[1]).await;
    let who = agent.post(&review, "").await.unwrap();
    let extra = &who["status"]["userInfo"]["extra"];
    assert_eq!(
        extra["authentication.kubernetes.io/node-name"],
        json!([NODES[1]])
    );
    let node = cluster
        .admin
        .get(&format!("/api/v1/nodes/{}", NODES[1]))
        .await
        .unwrap();
    let uid = json!([node["metadata"]["uid"]]);
    assert_eq!(extra["authentication.kubernetes.io/node-uid"], uid);
}
