//! Objects of the API become files of the spool, by the program with the rights of `deploy/base`.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::agent::Agent;
use crate::cluster::{Cluster, NAMESPACE, NODES, alone, shared, until};

const GROUP: &str = "security-profiles-operator.x-k8s.io";
const LABEL: &str = "oci-apparmor/profile";

pub(crate) fn profile(version: &str, name: &str, path: &str) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{version}"), "kind": "AppArmorProfile",
        "metadata": {"name": name},
        "spec": {"abstract": {"filesystem": {"readOnlyPaths": [path]}}},
    })
}

fn config_map(namespace: &str, name: &str, label: &str, data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {LABEL: label}},
        "data": data,
    })
}

async fn delete_profile(cluster: &Cluster, name: &str) {
    let path = format!("/apis/{GROUP}/v1/apparmorprofiles/{name}");
    cluster.admin.delete(&path).await.unwrap();
}

#[tokio::test]
async fn objects_become_files_and_go_with_them() {
    let Some(cluster) = shared().await else {
        return;
    };
    let admin = &cluster.admin;
    admin
        .apply(&profile("v1", "files-a", "/etc/a"))
        .await
        .unwrap();
    let agent = Agent::start(&cluster, NODES[0]).await;
    agent.has("files-", &["files-a.yaml"]).await;

    let created = Instant::now();
    admin
        .apply(&profile("v1alpha1", "files-b", "/etc/b"))
        .await
        .unwrap();
    agent.has("files-", &["files-a.yaml", "files-b.yaml"]).await;
    println!("a new object is a file after {:?}", created.elapsed());

    let raw = "profile files-c { }\n";
    let data = json!({"files-c": raw, "files-d": raw});
    let map = config_map(NAMESPACE, "files", "true", data);
    admin.apply(&map).await.unwrap();
    // Neither of another namespace nor without the label.
    let data = json!({"files-no": raw});
    for (namespace, label) in [("default", "true"), (NAMESPACE, "false")] {
        let map = config_map(namespace, "files-no", label, data.clone());
        admin.apply(&map).await.unwrap();
    }
    let all = [
        "files-a.yaml",
        "files-b.yaml",
        "files-c.profile",
        "files-d.profile",
    ];
    agent.has("files-", &all).await;
    let files = agent.files("files-");
    assert_eq!(files["files-c.profile"], raw);
    for (name, path) in [("files-a.yaml", "/etc/a r,"), ("files-b.yaml", "/etc/b r,")] {
        let read = oci_apparmor_manifest::read(files[name].as_bytes()).unwrap();
        let text = &read[0].rendered.as_ref().unwrap().text;
        assert!(text.contains(path), "{text}");
        assert!(!files[name].contains("managedFields"), "{}", files[name]);
    }

    admin
        .apply(&profile("v1", "files-a", "/etc/changed"))
        .await
        .unwrap();
    until(|| async {
        let text = &agent.files("files-")["files-a.yaml"];
        text.contains("/etc/changed")
            .then_some(())
            .ok_or(text.clone())
    })
    .await;
    // An entry goes, the label goes, an object goes.
    let map = config_map(NAMESPACE, "files", "true", json!({"files-c": raw}));
    admin.apply(&map).await.unwrap();
    agent.has("files-", &all[..3]).await;
    let map = config_map(NAMESPACE, "files", "no", json!({"files-c": raw}));
    admin.apply(&map).await.unwrap();
    agent.has("files-", &all[..2]).await;
    delete_profile(&cluster, "files-a").await;
    agent.has("files-", &["files-b.yaml"]).await;
    delete_profile(&cluster, "files-b").await;
    agent.has("files-", &[]).await;

    assert!(!agent.log().contains("cannot follow"), "{}", agent.log());
}

#[tokio::test]
async fn a_thousand_profiles_need_few_requests_and_little_memory() {
    let Some(cluster) = alone().await else {
        return;
    };
    let paths: Vec<String> = (0..130)
        .map(|n| format!("/srv/directory-{n:03}/data/**"))
        .collect();
    let name = |n: usize| format!("many-{n:04}");
    let creations = (0..1_000).map(|n| {
        let mut object = profile("v1", &name(n), "/x");
        object["spec"]["abstract"]["filesystem"]["readOnlyPaths"] = json!(paths);
        object["metadata"]["labels"] = json!({"many": "true"});
        object
    });
    let admin = cluster.admin.connected().await;
    for object in creations {
        admin.post(&object, "").await.unwrap();
    }
    let agent = Agent::start(&cluster, NODES[0]).await;
    let names: Vec<String> = (0..1_000).map(|n| name(n) + ".yaml").collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    agent.has("many-", &names).await;
    let bytes = agent.files("many-0000")["many-0000.yaml"].len();
    assert!(bytes > 4_000, "{bytes}");
    // The rest is the program's file, which is several times larger here than in a release.
    let anonymous = agent.memory("RssAnon:");
    println!("{anonymous} KiB with 1,000 profiles");
    assert!(anonymous < 16 * 1024, "{anonymous} KiB");
    // Which version there is, two watches that go on, and the object of the node.
    sleep(Duration::from_secs(10)).await;
    let asked = cluster.server.asked_by(&agent.node);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut asked: Vec<_> = asked
        .iter()
        .map(|r| text(&r["verb"]) + &text(&r["stage"]))
        .collect();
    asked.sort_unstable();
    let watch = "watchResponseStarted";
    let patch = "patchResponseComplete";
    assert_eq!(asked, ["getResponseComplete", patch, watch, watch]);
    let all = format!("/apis/{GROUP}/v1/apparmorprofiles?labelSelector=many");
    admin.call(Method::DELETE, &all, None).await.unwrap();
}

#[tokio::test]
async fn nothing_is_removed_while_the_api_is_away() {
    let Some(cluster) = alone().await else { return };
    let admin = &cluster.admin;
    for name in ["away-a", "away-b"] {
        admin.apply(&profile("v1", name, "/etc/x")).await.unwrap();
    }
    let agent = Agent::start(&cluster, NODES[0]).await;
    agent.has("away-", &["away-a.yaml", "away-b.yaml"]).await;

    // The server restarts: what follows arrives.
    cluster.server.stop();
    agent.says("cannot follow").await;
    agent.has("away-", &["away-a.yaml", "away-b.yaml"]).await;
    cluster.server.start_again();
    cluster.ready().await;
    admin
        .apply(&profile("v1", "away-c", "/etc/x"))
        .await
        .unwrap();
    agent
        .has("away-", &["away-a.yaml", "away-b.yaml", "away-c.yaml"])
        .await;

    // What happens meanwhile is forgotten by the server: a list that a watch cannot be continued
    // from (410 Gone).
    agent.network.cut();
    delete_profile(&cluster, "away-a").await;
    admin
        .apply(&profile("v1", "away-d", "/etc/x"))
        .await
        .unwrap();
    cluster.server.compact();
    cluster.server.stop();
    cluster.server.start_again();
    cluster.ready().await;
    agent
        .has("away-", &["away-a.yaml", "away-b.yaml", "away-c.yaml"])
        .await;
    agent.network.restore();
    agent
        .has("away-", &["away-b.yaml", "away-c.yaml", "away-d.yaml"])
        .await;
    println!("{}", agent.log());
}

#[tokio::test]
async fn a_token_is_replaced_and_nothing_is_removed_before() {
    let Some(cluster) = alone().await else { return };
    let admin = &cluster.admin;
    admin
        .apply(&profile("v1", "token-a", "/etc/x"))
        .await
        .unwrap();
    let agent = Agent::start(&cluster, NODES[0]).await;
    agent.has("token-", &["token-a.yaml"]).await;
    // The token ends with its pod. A watch that is open goes on; the next one is refused.
    let path = crate::client::path_of(&agent.pod);
    admin.delete(&path).await.unwrap();
    delete_profile(&cluster, "token-a").await;
    agent.has("token-", &[]).await;
    admin
        .apply(&profile("v1", "token-b", "/etc/x"))
        .await
        .unwrap();
    agent.has("token-", &["token-b.yaml"]).await;
    agent.network.cut();
    delete_profile(&cluster, "token-b").await;
    // Until the server has forgotten that it knew the token.
    cluster.server.stop();
    cluster.server.start_again();
    cluster.ready().await;
    agent.network.restore();
    agent.says("401").await;
    agent.has("token-", &["token-b.yaml"]).await;
    let began = Instant::now();
    let pod = cluster.agent_pod(NODES[0]).await;
    agent.replace_token(&cluster.token(Some(&pod)).await);
    agent.has("token-", &[]).await;
    println!("a new token is used after {:?}", began.elapsed());
}

#[tokio::test]
async fn an_older_version_is_followed_where_it_is_the_only_one() {
    let Some(cluster) = alone().await else { return };
    let admin = &cluster.admin;
    let path =
        format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/apparmorprofiles.{GROUP}");
    let definition = admin.get(&path).await.unwrap();
    let versions = definition["spec"]["versions"].clone();
    let mut only_alpha = versions.clone();
    only_alpha[0]["served"] = json!(false);
    let patch = json!({"spec": {"versions": only_alpha}});
    admin.merge(&path, &patch).await.unwrap();
    let group = format!("/apis/{GROUP}/v1");
    until(|| async {
        let answer = admin.get(&group).await;
        answer
            .err()
            .map(drop)
            .ok_or("v1 is still served".to_owned())
    })
    .await;
    let object = profile("v1alpha1", "alpha-a", "/etc/a");
    until(|| async {
        let applied = admin.apply(&object).await;
        applied.map(drop).map_err(|e| format!("{e:?}"))
    })
    .await;
    let agent = Agent::start(&cluster, NODES[0]).await;
    agent.has("alpha-", &["alpha-a.yaml"]).await;
    let text = &agent.files("alpha-")["alpha-a.yaml"];
    assert!(text.contains(&format!("{GROUP}/v1alpha1")), "{text}");
    // The definition changes while it is followed.
    let patch = json!({"spec": {"versions": versions}});
    admin.merge(&path, &patch).await.unwrap();
    until(|| async {
        admin
            .get(&group)
            .await
            .map(drop)
            .map_err(|e| format!("{e:?}"))
    })
    .await;
    until(|| async {
        let object = profile("v1", "alpha-b", "/etc/b");
        admin
            .apply(&object)
            .await
            .map(drop)
            .map_err(|e| format!("{e:?}"))
    })
    .await;
    agent.has("alpha-", &["alpha-a.yaml", "alpha-b.yaml"]).await;
}
