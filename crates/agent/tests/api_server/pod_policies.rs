//! The policies of `deploy/policies` decide about pods.

use http::Method;
use serde_json::{Value, json};

use crate::client::path_of;
use crate::cluster::{BASELINE, Cluster, NODES, OLDER_POD, ORDINARY, REQUIRED, pod, shared};
use crate::deployed;

const BETA: &str = "container.apparmor.security.beta.kubernetes.io";

fn localhost(profile: &str) -> Value {
    json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": profile}})
}

fn of_type(kind: &str) -> Value {
    json!({"appArmorProfile": {"type": kind}})
}

fn container(name: &str, security: Option<Value>) -> Value {
    let mut container = json!({"name": name, "image": "image"});
    if let Some(security) = security {
        container["securityContext"] = security;
    }
    container
}

/// Our annotations of an object, without the common prefix.
fn ours(object: &Value) -> Value {
    let annotations = object["metadata"]["annotations"].as_object();
    let ours = annotations
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| {
            let key = key.strip_prefix("container.oci-apparmor/")?;
            Some((key.to_owned(), value.clone()))
        });
    Value::Object(ours.collect())
}

async fn admitted(cluster: &Cluster, pod: &Value) -> Value {
    let created = cluster.create(pod).await;
    created.unwrap_or_else(|e| panic!("{e:?}: {pod:#}"))
}

async fn refused(cluster: &Cluster, pod: &Value, why: &str) {
    match cluster.create(pod).await {
        Ok(pod) => panic!("not refused for {why:?}: {pod:#}"),
        Err(refusal) => assert!(refusal.message.contains(why), "{why:?}: {refusal:?}"),
    }
}

/// Adds an ephemeral container, as `kubectl debug` does it.
async fn debug(cluster: &Cluster, pod: &Value, container: &Value) -> Result<Value, String> {
    let path = format!("{}/ephemeralcontainers", path_of(pod));
    let patch = json!({"spec": {"ephemeralContainers": [container]}});
    let answer = cluster.admin.merge(&path, &patch).await;
    answer.map_err(|refusal| refusal.message)
}

#[tokio::test]
async fn each_container_that_a_field_names_gets_its_annotation() {
    let Some(cluster) = shared().await else {
        return;
    };
    let spec = json!({
        "securityContext": localhost("of-pod"),
        "containers": [
            container("own", Some(localhost("of-own"))),
            container("inherits", None),
            container("default", Some(of_type("RuntimeDefault"))),
            container("unconfined", Some(of_type("Unconfined"))),
            container("other-settings", Some(json!({"readOnlyRootFilesystem": true}))),
        ],
        "initContainers": [
            container("first", Some(localhost("of-first"))),
            container("second", None),
        ],
    });
    let annotations = json!({"other": "stays"});
    let created = admitted(&cluster, &pod(ORDINARY, "fields", annotations, spec)).await;
    let expected = json!({
        "own": "localhost/of-own",
        "inherits": "localhost/of-pod",
        "other-settings": "localhost/of-pod",
        "first": "localhost/of-first",
        "second": "localhost/of-pod",
    });
    assert_eq!(ours(&created), expected);
    assert_eq!(created["metadata"]["annotations"]["other"], "stays");
    // The same if there are no annotations, and with an odd name of a profile.
    let mut bare = pod(
        ORDINARY,
        "bare",
        json!({}),
        json!({"securityContext": localhost("a/b~c")}),
    );
    bare["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("annotations");
    let created = admitted(&cluster, &bare).await;
    assert_eq!(ours(&created), json!({"c": "localhost/a/b~c"}));
}

#[tokio::test]
async fn what_is_named_otherwise_stays_as_it_is() {
    let Some(cluster) = shared().await else {
        return;
    };
    let one = |security: Value| json!({"containers": [container("c", Some(security))]});
    let of_pod = json!({"securityContext": localhost("p")});
    for (name, annotations, spec, expected) in [
        ("nothing", json!({}), json!({}), json!({})),
        (
            "default",
            json!({}),
            one(of_type("RuntimeDefault")),
            json!({}),
        ),
        ("stack", json!({}), one(localhost("a//&b")), json!({})),
        (
            "said",
            json!({"container.oci-apparmor/c": "p"}),
            one(localhost("p")),
            json!({"c": "p"}),
        ),
        (
            "for-all",
            json!({"oci-apparmor/profile": "p"}),
            of_pod.clone(),
            json!({}),
        ),
        (
            "beta",
            json!({format!("{BETA}/c"): "localhost/p"}),
            json!({}),
            json!({}),
        ),
        // The kubelet prefers it to the field of the pod.
        (
            "beta-and-pod",
            json!({format!("{BETA}/c"): "localhost/q"}),
            of_pod,
            json!({}),
        ),
    ] {
        let created = admitted(&cluster, &pod(ORDINARY, name, annotations, spec)).await;
        assert_eq!(ours(&created), expected, "{name}");
        // The API server writes the beta annotation into the field, after the policy.
        if name.starts_with("beta") {
            let field = &created["spec"]["containers"][0]["securityContext"]["appArmorProfile"];
            assert_eq!(field["type"], "Localhost", "{created:#}");
        }
    }
}

#[tokio::test]
async fn annotation_and_field_do_not_contradict_each_other() {
    let Some(cluster) = shared().await else {
        return;
    };
    let own = |value: &str| json!({"container.oci-apparmor/c": value});
    let all = |value: &str| json!({"oci-apparmor/profile": value});
    let field = |security: Value| json!({"securityContext": security});
    let contradict = "contradict each other: container c has";
    for (name, annotations, spec, why) in [
        ("a1", own("q"), field(localhost("p")), Some(contradict)),
        ("a2", all("q"), field(localhost("p")), Some(contradict)),
        ("a3", own("localhost/p"), field(localhost("p")), None),
        ("a4", own("p"), field(of_type("RuntimeDefault")), None),
        (
            "a5",
            own("unconfined"),
            field(of_type("RuntimeDefault")),
            Some(contradict),
        ),
        (
            "a6",
            own("p"),
            field(of_type("Unconfined")),
            Some(contradict),
        ),
        ("a7", own("unconfined"), field(of_type("Unconfined")), None),
        ("a8", own("p"), json!({}), None),
        (
            "a9",
            json!({"oci-apparmor/profil": "p"}),
            json!({}),
            Some("unknown annotation"),
        ),
        // Its own field decides.
        (
            "a10",
            own("p"),
            json!({"securityContext": localhost("q"), "containers": [container("c", Some(localhost("p")))]}),
            None,
        ),
        // The API server copies the beta annotation into the field before.
        (
            "a12",
            json!({"container.oci-apparmor/c": "p", format!("{BETA}/c"): "localhost/q"}),
            json!({}),
            Some("container c has p and Localhost q"),
        ),
        (
            "a11",
            json!({"container.oci-apparmor/first": "q"}),
            json!({"initContainers": [container("first", Some(localhost("p")))]}),
            Some("container first has q and Localhost p"),
        ),
    ] {
        let pod = pod(ORDINARY, name, annotations, spec);
        match why {
            Some(why) => refused(&cluster, &pod, why).await,
            None => drop(admitted(&cluster, &pod).await),
        }
    }
}

#[tokio::test]
async fn annotations_of_a_pod_do_not_change() {
    let Some(cluster) = shared().await else {
        return;
    };
    let annotations = json!({"container.oci-apparmor/c": "p", "other": "1"});
    let pod = admitted(&cluster, &pod(ORDINARY, "frozen", annotations, json!({}))).await;
    let older = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": OLDER_POD, "namespace": ORDINARY},
    });
    for (pod, change, allowed) in [
        (&pod, json!({"container.oci-apparmor/c": "q"}), false),
        (&pod, json!({"container.oci-apparmor/c": null}), false),
        (&pod, json!({"container.oci-apparmor/d": "p"}), false),
        (&pod, json!({"oci-apparmor/profile": "p"}), false),
        (&pod, json!({"other": "2"}), true),
        // It contradicts its field since before the policy.
        (&older, json!({"other": "2"}), true),
        (&older, json!({"container.oci-apparmor/c": "one"}), false),
    ] {
        let patch = json!({"metadata": {"annotations": change}});
        let answer = cluster.admin.merge(&path_of(pod), &patch).await;
        match (answer, allowed) {
            (Ok(_), true) => {}
            (Err(refusal), false) => {
                assert!(refusal.message.contains("cannot change"), "{refusal:?}");
            }
            (answer, _) => panic!("{patch}: {answer:?}"),
        }
    }
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    cluster.admin.merge(&path_of(&older), &label).await.unwrap();
}

#[tokio::test]
async fn ephemeral_containers_run_under_a_profile_that_the_pod_named() {
    let Some(cluster) = shared().await else {
        return;
    };
    let annotations = json!({"container.oci-apparmor/later": "localhost/later"});
    let spec = json!({"securityContext": localhost("of-pod")});
    let pod = admitted(&cluster, &pod(ORDINARY, "debugged", annotations, spec)).await;
    let why = debug(&cluster, &pod, &container("later", None))
        .await
        .unwrap_err();
    assert!(
        why.contains("later has localhost/later and Localhost of-pod"),
        "{why}"
    );
    let later = container("later", Some(localhost("later")));
    debug(&cluster, &pod, &later).await.unwrap();
    // One with no name in the annotations has the profile of the pod's field.
    let both = format!("{}/ephemeralcontainers", path_of(&pod));
    let patch = json!({"spec": {"ephemeralContainers": [later, container("other", None)]}});
    let changed = cluster.admin.merge(&both, &patch).await.unwrap();
    let expected = json!({"c": "localhost/of-pod", "later": "localhost/later"});
    assert_eq!(ours(&changed), expected);
    // Annotations that come with one are dropped.
    let patch = json!({
        "metadata": {"annotations": {"container.oci-apparmor/third": "x"}},
        "spec": {"ephemeralContainers": [later, container("other", None), container("third", None)]},
    });
    let answer = cluster.admin.merge(&both, &patch).await;
    match answer {
        Ok(changed) => assert_eq!(ours(&changed), expected),
        Err(refusal) => panic!("{refusal:?}"),
    }
}

#[tokio::test]
async fn a_level_of_pod_security_allows_no_unconfined_annotation() {
    let Some(cluster) = shared().await else {
        return;
    };
    let unconfined = "does not allow unconfined pods";
    let none = "unconfined is none";
    let field = json!({"securityContext": localhost("unconfined")});
    let own = json!({"containers": [container("c", Some(localhost("unconfined")))]});
    for (name, annotations, spec, why) in [
        (
            "s1",
            json!({"oci-apparmor/profile": "unconfined"}),
            json!({}),
            Some(unconfined),
        ),
        (
            "s2",
            json!({"container.oci-apparmor/c": "localhost/unconfined"}),
            json!({}),
            Some(unconfined),
        ),
        ("s3", json!({}), field, Some(none)),
        ("s4", json!({}), own, Some(none)),
        (
            "s5",
            json!({"container.oci-apparmor/c": "p"}),
            json!({}),
            None,
        ),
        (
            "s6",
            json!({}),
            json!({"securityContext": localhost("p")}),
            None,
        ),
    ] {
        let of_level = pod(BASELINE, name, annotations.clone(), spec.clone());
        match why {
            Some(why) => {
                refused(&cluster, &of_level, why).await;
                // Without a level, that is the node's decision.
                admitted(&cluster, &pod(ORDINARY, name, annotations, spec)).await;
            }
            None => drop(admitted(&cluster, &of_level).await),
        }
    }
    let pod = pod(BASELINE, "debugged", json!({}), json!({}));
    let pod = admitted(&cluster, &pod).await;
    let debugger = container("debugger", Some(localhost("unconfined")));
    let why = debug(&cluster, &pod, &debugger).await.unwrap_err();
    assert!(why.contains(none), "{why}");
    debug(&cluster, &pod, &container("debugger", None))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_label_of_the_namespace_demands_a_profile() {
    let Some(cluster) = shared().await else {
        return;
    };
    let class = json!({"runtimeClassName": "oci-apparmor"});
    let own = |value: &str| json!({"container.oci-apparmor/c": value});
    let field = |security: Value| json!({"securityContext": security});
    for (name, annotations, spec, allowed) in [
        ("r1", json!({}), json!({}), false),
        ("r2", json!({}), field(of_type("RuntimeDefault")), false),
        ("r3", json!({}), field(localhost("p")), true),
        // An annotation, for a runtime that does not read it.
        ("r4", own("p"), json!({}), false),
        ("r5", own("p"), class.clone(), true),
        (
            "r6",
            json!({"oci-apparmor/profile": "p"}),
            class.clone(),
            true,
        ),
        ("r7", own("runtime/default"), class.clone(), false),
        ("r8", own("unconfined"), class, false),
        (
            "r9",
            json!({}),
            json!({"securityContext": localhost("p"), "initContainers": [container("i", Some(of_type("RuntimeDefault")))]}),
            false,
        ),
    ] {
        let pod = pod(REQUIRED, name, annotations, spec);
        match allowed {
            true => drop(admitted(&cluster, &pod).await),
            false => refused(&cluster, &pod, "requires an AppArmor profile").await,
        }
    }
    let containers = json!({"containers": [container("c", Some(localhost("p")))]});
    let pod = admitted(&cluster, &pod(REQUIRED, "debugged", json!({}), containers)).await;
    let why = debug(&cluster, &pod, &container("debugger", None))
        .await
        .unwrap_err();
    assert!(why.contains("name none: debugger"), "{why}");
    let debugger = container("debugger", Some(localhost("p")));
    debug(&cluster, &pod, &debugger).await.unwrap();
}

/// Expressions have a budget, and a policy that exceeds it refuses the pod.
#[tokio::test]
async fn large_pods_are_admitted() {
    let Some(cluster) = shared().await else {
        return;
    };
    const CONTAINERS: usize = 250;
    let containers: Vec<Value> = (0..CONTAINERS)
        .map(|n| container(&format!("c{n}"), Some(localhost(&format!("profile-{n}")))))
        .collect();
    let others = (0..CONTAINERS).map(|n| (format!("example.org/{n}"), json!("x".repeat(500))));
    let annotations = Value::Object(others.collect());
    for namespace in [ORDINARY, BASELINE, REQUIRED] {
        let spec = json!({"runtimeClassName": "oci-apparmor", "containers": containers});
        let pod = pod(namespace, "large", annotations.clone(), spec);
        let created = admitted(&cluster, &pod).await;
        assert_eq!(ours(&created).as_object().unwrap().len(), CONTAINERS);
        let path = path_of(&created);
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        cluster.admin.merge(&path, &label).await.unwrap();
    }
}

/// Other ways to the annotations of a pod.
#[tokio::test]
async fn annotations_do_not_change_through_parts_of_a_pod() {
    let Some(cluster) = shared().await else {
        return;
    };
    let key = "container.oci-apparmor/c";
    let pod = pod(ORDINARY, "parts", json!({key: "p"}), json!({}));
    let path = path_of(&admitted(&cluster, &pod).await);
    let change = json!({"metadata": {"annotations": {key: "q"}}});
    let resized = cluster
        .admin
        .merge(&format!("{path}/resize"), &change)
        .await;
    assert_eq!(ours(&resized.unwrap()), json!({"c": "p"}));

    let mut binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": "parts", "namespace": ORDINARY, "annotations": {key: "q"}},
        "target": {"kind": "Node", "name": NODES[0]},
    });
    let of_pod = format!("{path}/binding");
    let of_namespace = format!("/api/v1/namespaces/{ORDINARY}/bindings");
    for path in [&of_pod, &of_namespace] {
        let answer = cluster.admin.call(Method::POST, path, Some(&binding)).await;
        let refusal = answer.err().unwrap();
        assert!(refusal.message.contains("cannot change"), "{refusal:?}");
    }
    binding["metadata"]["annotations"] = json!({"other": "1"});
    let bound = cluster
        .admin
        .call(Method::POST, &of_pod, Some(&binding))
        .await;
    bound.unwrap();
    let pod = cluster.admin.get(&path).await.unwrap();
    assert_eq!(pod["spec"]["nodeName"], NODES[0]);
    assert_eq!(ours(&pod), json!({"c": "p"}));

    // The status of a pod is written with its annotations: by others than its kubelet, not these.
    let status = format!("{path}/status");
    let refusal = cluster.admin.merge(&status, &change).await.unwrap_err();
    assert!(refusal.message.contains("cannot change"), "{refusal:?}");
    let phase = json!({"status": {"phase": "Running"}});
    cluster.admin.merge(&status, &phase).await.unwrap();
    let kubelet = cluster.admin.as_kubelet(NODES[0]);
    let changed = kubelet.merge(&status, &change).await;
    assert_eq!(ours(&changed.unwrap()), json!({"c": "q"}));
}

/// A static pod runs already; the API server has only its image.
#[tokio::test]
async fn images_of_static_pods_are_left_alone() {
    let Some(cluster) = shared().await else {
        return;
    };
    let node = NODES[0];
    let uid = cluster
        .admin
        .get(&format!("/api/v1/nodes/{node}"))
        .await
        .unwrap();
    let owner = json!([{
        "apiVersion": "v1", "kind": "Node", "name": node, "controller": true,
        "uid": uid["metadata"]["uid"],
    }]);
    let spec = json!({"nodeName": node, "securityContext": localhost("p")});
    let annotations = json!({"kubernetes.io/config.mirror": "x", "container.oci-apparmor/c": "q"});
    let mut pod = pod(REQUIRED, "static-node-a", annotations, spec);
    pod["metadata"]["ownerReferences"] = owner;
    let kubelet = cluster.admin.as_kubelet(node);
    let created = kubelet.post(&pod, "").await.unwrap();
    assert_eq!(ours(&created), json!({"c": "q"}));
}

#[tokio::test]
async fn pods_of_the_runtime_class_go_to_nodes_with_the_label() {
    let Some(cluster) = shared().await else {
        return;
    };
    let spec = json!({"runtimeClassName": "oci-apparmor", "nodeSelector": {"zone": "z"}});
    let created = admitted(&cluster, &pod(ORDINARY, "class", json!({}), spec)).await;
    let selector = json!({"oci-apparmor/served": "true", "zone": "z"});
    assert_eq!(created["spec"]["nodeSelector"], selector);
    let spec = json!({
        "runtimeClassName": "oci-apparmor", "nodeSelector": {"oci-apparmor/served": "false"},
    });
    refused(
        &cluster,
        &pod(ORDINARY, "class-2", json!({}), spec),
        "conflict",
    )
    .await;
    let spec = json!({"runtimeClassName": "oci-apparmour"});
    refused(
        &cluster,
        &pod(ORDINARY, "class-3", json!({}), spec),
        "not found",
    )
    .await;
}

/// On 1.36 with all policies, each way that `docs/kubernetes.md` names works with containerd: an
/// annotation that oci-apparmor reads names a profile for the container.
#[tokio::test]
async fn each_example_is_admitted() {
    let Some(cluster) = shared().await else {
        return;
    };
    let class = deployed::text("examples/kubernetes/runtimeclass.yaml");
    let class = deployed::documents(&class).remove(0);
    assert_eq!(class["handler"], "oci-apparmor");
    let mut pods = 0;
    for name in deployed::files("examples/kubernetes") {
        for mut object in deployed::documents(&deployed::text(&name)) {
            if object["kind"] != "Pod" {
                continue;
            }
            object["metadata"]["namespace"] = json!(ORDINARY);
            let created = admitted(&cluster, &object).await;
            let annotations = created["metadata"]["annotations"].as_object().unwrap();
            let named = annotations.keys().any(|key| {
                key == "oci-apparmor/profile"
                    || key.ends_with("/web") && key.starts_with("container.")
            });
            assert!(named, "{name}: {created:#}");
            pods += 1;
        }
    }
    assert!(pods > 3, "{pods}");
}

#[tokio::test]
async fn the_overlay_without_the_agent_is_admitted() {
    let Some(cluster) = shared().await else {
        return;
    };
    let objects = deployed::kustomized("deploy/overlays/agentless");
    for object in &objects {
        cluster.deploy(object).await;
        if object["kind"] == "DaemonSet" {
            let mut pod = object["spec"]["template"].clone();
            pod["apiVersion"] = json!("v1");
            pod["kind"] = json!("Pod");
            pod["metadata"]["name"] = json!("copy");
            pod["metadata"]["namespace"] = object["metadata"]["namespace"].clone();
            admitted(&cluster, &pod).await;
        }
    }
    assert!(objects.iter().any(|o| o["kind"] == "DaemonSet"));
}
