//! The definitions of `deploy/crds`: what `kubectl get` shows, and what is refused.

use serde_json::{Map, Value, json};

use crate::client::path_of;
use crate::cluster::{NODES, deployed, shared};
use crate::deployed::kustomized;
use crate::spool::profile;

const PROFILES: &str = "/apis/security-profiles-operator.x-k8s.io/v1/apparmorprofiles";
const NODE_OBJECTS: &str = "/apis/oci-apparmor.io/v1alpha1/nodeapparmors";

/// What is not in `live` as it is in `written`. Lists are whole, as `kubectl apply` has them.
fn differences(written: &Value, live: &Value, place: &str, found: &mut Vec<String>) {
    match (written, live) {
        (Value::Object(written), Value::Object(_)) => {
            for (key, value) in written {
                differences(value, &live[key], &format!("{place}.{key}"), found);
            }
        }
        _ if written == live => {}
        _ => found.push(format!("{place}: {written} is {live}")),
    }
}

/// Where the API server adds a default inside of a list, each `kubectl apply` changes the object
/// again, and tools that compare the two never agree.
#[tokio::test]
async fn what_is_applied_is_what_is_there() {
    let Some(cluster) = shared().await else {
        return;
    };
    let mut found = Vec::new();
    for object in deployed() {
        let live = cluster.admin.get(&path_of(&object)).await.unwrap();
        // kubectl merges the containers and volumes of a DaemonSet by name.
        if object["kind"] != "DaemonSet" {
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
            differences(&object, &live, &name, &mut found);
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test]
async fn a_profile_has_columns_and_both_versions() {
    let Some(cluster) = shared().await else {
        return;
    };
    let admin = &cluster.admin;
    let mut object = profile("v1alpha1", "columns", "/etc/**");
    object["spec"]["mode"] = json!("Complain");
    admin.apply(&object).await.unwrap();
    let table = admin.table(&format!("{PROFILES}/columns")).await;
    let names: Vec<&str> = table.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Name", "Mode", "State", "Age"]);
    let cells: Vec<&Value> = table.iter().map(|(_, cell)| cell).collect();
    assert_eq!(
        cells[..3],
        [&json!("columns"), &json!("Complain"), &json!("Enabled")]
    );
    for version in ["v1", "v1alpha1"] {
        let path = PROFILES.replace("/v1/", &format!("/{version}/"));
        let read = admin.get(&format!("{path}/columns")).await.unwrap();
        assert_eq!(read["spec"]["mode"], "Complain");
        assert_eq!(read["spec"]["abstract"], object["spec"]["abstract"]);
    }
}

#[tokio::test]
async fn a_profile_with_what_is_not_supported_is_refused() {
    let Some(cluster) = shared().await else {
        return;
    };
    let long = "a".repeat(201);
    for (version, name, spec, why) in [
        (
            "v1alpha1",
            "refused",
            json!({"complainMode": true}),
            "use mode: Complain",
        ),
        (
            "v1alpha1",
            "refused",
            json!({"disabled": true}),
            "use state: Disabled",
        ),
        (
            "v1alpha1",
            "refused",
            json!({"policy": "profile x {}"}),
            "put the text into a ConfigMap",
        ),
        (
            "v1",
            "refused",
            json!({"complainMode": true}),
            "field not declared",
        ),
        (
            "v1",
            "refused",
            json!({"mode": "Audit"}),
            "Unsupported value",
        ),
        (
            "v1",
            "refused",
            json!({"state": "Off"}),
            "Unsupported value",
        ),
        ("v1", &long, json!({}), "at most 200 characters"),
        (
            "v1",
            "refused",
            json!({"abstract": {"capability": {"allowedCapabilities": ["CAP_CHOWN"]}}}),
            "should match",
        ),
        (
            "v1",
            "refused",
            json!({"abstract": {"ptrace": {"allowedAccess": []}}}),
            "at least 1 item",
        ),
        (
            "v1",
            "refused",
            json!({"abstract": {"filesystem": {"readOnlyPaths": ["/a", "/a"]}}}),
            "duplicate",
        ),
    ] {
        let mut object = profile(version, name, "/x");
        object["spec"] = spec;
        let answer = cluster.admin.apply(&object).await;
        let refusal = answer.err().unwrap_or_else(|| panic!("{object}"));
        assert!(refusal.message.contains(why), "{why:?}: {refusal:?}");
    }
    // Without a client that asks for it, unknown fields are dropped, which allows nothing.
    let mut object = profile("v1", "dropped", "/x");
    object["spec"]["abstract"]["everything"] = json!(true);
    let created = cluster.create(&object).await.unwrap();
    assert!(created["spec"]["abstract"]["everything"].is_null());
    assert_eq!(created["spec"]["mode"], "Enforce");
}

#[tokio::test]
async fn the_object_of_a_node_has_columns() {
    let Some(cluster) = shared().await else {
        return;
    };
    let time = "2026-08-01T10:00:00Z";
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastTransitionTime": time, "reason": "Because"});
    let object = json!({
        "apiVersion": "oci-apparmor.io/v1alpha1", "kind": "NodeAppArmor",
        "metadata": {"name": "columns"},
        "status": {
            "kernel": {"release": "6.1.0", "parser": "3.0.8", "enforcing": true},
            "versions": {"agent": "0.1.0", "wrapper": "0.1.0"},
            "engines": [{"name": "containerd", "calls": "Named"}, {"name": "podman", "calls": "None"}],
            "profileCounts": {"loaded": 5, "refused": 1, "drift": 2},
            "containers": {"confined": 7, "wrong": 0},
            "denials": {"total": 11},
            "conditions": [condition("ProfilesAccepted", "False"), condition("Ready", "True")],
        },
    });
    cluster.admin.apply(&object).await.unwrap();
    let table = cluster
        .admin
        .table(&format!("{NODE_OBJECTS}/columns"))
        .await;
    let expected = [
        ("Name", json!("columns")),
        ("Ready", json!("True")),
        ("Enforcing", json!(true)),
        ("Loaded", json!(5)),
        ("Refused", json!(1)),
        ("Drift", json!(2)),
        ("Containers", json!(7)),
        ("Wrong", json!(0)),
        ("Denials", json!(11)),
        ("Kernel", json!("6.1.0")),
        ("AppArmor", json!("3.0.8")),
        ("Engine", json!("containerd")),
        ("Calls", json!("Named")),
        ("Version", json!("0.1.0")),
    ];
    for (shown, (name, cell)) in table.iter().zip(&expected) {
        assert_eq!((shown.0.as_str(), &shown.1), (*name, cell));
    }
    assert_eq!(table.last().unwrap().0, "Age");
    assert_eq!(table.len(), expected.len() + 1);
}

/// The largest value that a schema allows. Limits count characters; of four bytes each here.
fn largest(schema: &Value, number: usize) -> Value {
    if let Some(known) = schema["enum"].as_array() {
        return known[0].clone();
    }
    match schema["type"].as_str().unwrap() {
        "object" => {
            let fields = schema["properties"].as_object().unwrap();
            let fields = fields
                .iter()
                .map(|(name, schema)| (name.clone(), largest(schema, number)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        "array" => {
            let most = usize::try_from(schema["maxItems"].as_u64().unwrap()).unwrap();
            (0..most)
                .map(|number| largest(&schema["items"], number))
                .collect()
        }
        "boolean" => json!(false),
        "integer" => json!(i64::from(i32::MAX)),
        _ if schema["format"] == "date-time" => json!("2026-08-01T10:00:00Z"),
        _ => {
            let length = usize::try_from(schema["maxLength"].as_u64().unwrap()).unwrap();
            // Keys of lists differ.
            let head = format!("{number:03}");
            json!(head.clone() + &"\u{1F512}".repeat(length - head.len()))
        }
    }
}

#[tokio::test]
async fn the_object_of_a_node_is_bounded() {
    let Some(cluster) = shared().await else {
        return;
    };
    let definition = kustomized("deploy/crds/nodeapparmors").remove(0);
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let schema = &schema["properties"]["status"];
    let mut object = json!({
        "apiVersion": "oci-apparmor.io/v1alpha1", "kind": "NodeAppArmor",
        "metadata": {"name": "largest"}, "status": largest(schema, 0),
    });
    let size = object.to_string().len();
    println!("the largest object has {size} bytes");
    assert!(size < 1 << 20, "{size}");
    cluster.create(&object).await.unwrap();
    // One more of anything is too many.
    object["metadata"]["name"] = json!(NODES[0]);
    let profiles = object["status"]["profiles"].as_array_mut().unwrap();
    profiles.push(json!({"name": "one-more", "state": "Loaded"}));
    object["status"]["kernel"]["release"] = json!("x".repeat(129));
    let refusal = cluster.create(&object).await.unwrap_err();
    for why in [
        "status.profiles: Too many",
        "status.kernel.release: Too long",
    ] {
        assert!(refusal.message.contains(why), "{refusal:?}");
    }
}
