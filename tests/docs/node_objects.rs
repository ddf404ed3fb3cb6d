//! What a node tells its cluster always fits the definition in `deploy/crds/nodeapparmors`: the API
//! server refuses an object of which one value does not.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use oci_apparmor_node_status::{
    ConditionStatus, ContainerCounts, DenialCounts, EngineCalls, EngineStatus, KernelStatus,
    MAX_BYTES, NodeCondition, NodeProfile, NodeStatus, ProfileCounts, ProfileDenials, ProfileState,
    ProgramVersions,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;

use crate::deploy::{only, strings};

/// The schema of the status.
fn schema() -> Value {
    let definition = only("CustomResourceDefinition", "nodeapparmors.oci-apparmor.io");
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["status"].clone()
}

fn limit(schema: &Value, key: &str) -> Option<i64> {
    Some(schema[key].as_str()?.parse().unwrap())
}

/// What an API server would say against a value.
fn refusals(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let mut refuse = |why: String| found.push(format!("{at}: {why}"));
    let known = ["string", "integer", "boolean", "array", "object"];
    let kind = schema["type"].as_str().unwrap();
    assert!(known.contains(&kind), "{kind}");
    match (kind, value) {
        ("string", Value::String(text)) => {
            let length = i64::try_from(text.chars().count()).unwrap();
            if limit(schema, "maxLength").is_some_and(|most| length > most)
                || limit(schema, "minLength").is_some_and(|least| length < least)
            {
                refuse(format!("has {length} characters"));
            }
            if schema["enum"].is_array() && !strings(&schema["enum"]).contains(&text.as_str()) {
                refuse(format!("{text} is no value of it"));
            }
            if schema["format"] == "date-time" && humantime::parse_rfc3339(text).is_err() {
                refuse(format!("{text} is no time"));
            }
            assert!(
                schema["maxLength"].is_string()
                    || schema["enum"].is_array()
                    || schema["format"] == "date-time",
                "{at} has no limit"
            );
        }
        ("integer", Value::Number(number)) => match number.as_i64() {
            Some(number) if limit(schema, "minimum").is_none_or(|least| number >= least) => {}
            _ => refuse(format!("{number} is no such number")),
        },
        ("boolean", Value::Bool(_)) => {}
        ("array", Value::Array(items)) => {
            let most = limit(schema, "maxItems").unwrap();
            if i64::try_from(items.len()).unwrap() > most {
                refuse(format!("has {} items", items.len()));
            }
            let keys = strings(&schema["x-kubernetes-list-map-keys"]);
            assert_eq!(keys.len(), 1, "{at}");
            let unique: BTreeSet<&str> = items.iter().filter_map(|i| i[keys[0]].as_str()).collect();
            if unique.len() != items.len() {
                refuse("has a key twice".to_owned());
            }
            for (number, item) in items.iter().enumerate() {
                refusals(&schema["items"], item, &format!("{at}[{number}]"), found);
            }
        }
        ("object", Value::Object(fields)) => {
            for name in strings(&schema["required"]) {
                if !fields.contains_key(name) {
                    refuse(format!("{name} is missing"));
                }
            }
            for (name, value) in fields {
                match &schema["properties"][name] {
                    Value::Null => found.push(format!("{at} has no field {name}")),
                    schema => refusals(schema, value, &format!("{at}.{name}"), found),
                }
            }
        }
        _ => refuse(format!("{value} is no {kind}")),
    }
}

#[track_caller]
fn fits(status: &NodeStatus) {
    let value = serde_json::to_value(status).unwrap();
    let mut found = Vec::new();
    refusals(&schema(), &value, "status", &mut found);
    assert!(found.is_empty(), "{found:#?}");
    assert!(u64::try_from(value.to_string().len()).unwrap() < MAX_BYTES);
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{0,3}",
        2 => "\\PC{0,40}",
        1 => any::<String>(),
        1 => (any::<char>(), 0..1500_usize).prop_map(|(c, n)| String::from(c).repeat(n)),
    ]
}

fn time() -> impl Strategy<Value = String> {
    let seconds = 0..4_000_000_000_u64;
    prop_oneof![
        3 => seconds.prop_map(|s| humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(s)).to_string()),
        1 => text(),
    ]
}

prop_compose! {
    fn kernel()(release in option::of(text()), parser in option::of(text()),
                enforcing: bool, reason in option::of(text())) -> KernelStatus {
        KernelStatus { release, parser, enforcing, reason }
    }
}

prop_compose! {
    fn engine()(name in text(), reason in option::of(text()), calls in prop::sample::select(vec![
        EngineCalls::All, EngineCalls::Named, EngineCalls::Hook, EngineCalls::None,
        EngineCalls::Unknown,
    ])) -> EngineStatus {
        EngineStatus { name, calls, reason }
    }
}

prop_compose! {
    fn profile()(name in text(), reason in option::of(text()), state in prop::sample::select(vec![
        ProfileState::Refused, ProfileState::Drift, ProfileState::Disabled, ProfileState::Ready,
        ProfileState::Loaded,
    ])) -> NodeProfile {
        NodeProfile { name, state, reason }
    }
}

prop_compose! {
    fn denials()(total: u64, lost: u64, by in vec((text(), any::<u64>()), 0..40)) -> DenialCounts {
        let by_profile = by.into_iter().map(|(profile, count)| ProfileDenials { profile, count });
        DenialCounts { total, lost, by_profile: by_profile.collect() }
    }
}

prop_compose! {
    fn condition()(kind in text(), last_transition_time in time(), reason in text(),
                   message in option::of(text()), status in prop::sample::select(vec![
        ConditionStatus::True, ConditionStatus::False, ConditionStatus::Unknown,
    ])) -> NodeCondition {
        NodeCondition { kind, status, last_transition_time, reason, message }
    }
}

prop_compose! {
    fn status()(
        kernel in option::of(kernel()), versions in (option::of(text()), option::of(text())),
        engines in vec(engine(), 0..12), counts: [u64; 8], containers: bool,
        profiles in vec(profile(), 0..300), denials in option::of(denials()),
        conditions in vec(condition(), 0..12),
    ) -> NodeStatus {
        let [ready, loaded, refused, drift, disabled, confined, wrong, unconfined] = counts;
        NodeStatus {
            kernel,
            versions: ProgramVersions { agent: versions.0, wrapper: versions.1 },
            engines,
            profile_counts: ProfileCounts { ready, loaded, refused, drift, disabled },
            profiles,
            containers: containers.then_some(ContainerCounts { confined, wrong, unconfined }),
            denials,
            conditions,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_status_fits_the_definition(status in status(), seconds in 0..4_000_000_000_u64) {
        let mut judged = status.clone().fit();
        fits(&judged);
        let now = UNIX_EPOCH + Duration::from_secs(seconds);
        judged.judge(Some(&status), now);
        let judged = judged.fit();
        fits(&judged);
        prop_assert_eq!(judged.conditions.len(), 2);
        prop_assert_eq!(judged.clone().fit(), judged.clone());
        // The agent reads what root wrote.
        let text = serde_json::to_string(&judged).unwrap();
        prop_assert_eq!(serde_json::from_str::<NodeStatus>(&text).unwrap(), judged);
    }
}

/// Each field of the definition is one of the type, so that no column stays empty.
#[test]
fn the_definition_has_no_field_that_nothing_writes() {
    let text = |text: &str| Some(text.to_owned());
    let full = NodeStatus {
        kernel: Some(KernelStatus {
            release: text("6.1"),
            parser: text("3.0.8"),
            enforcing: false,
            reason: text("why"),
        }),
        versions: ProgramVersions {
            agent: text("0.1.0"),
            wrapper: text("0.1.0"),
        },
        engines: vec![EngineStatus {
            name: "containerd".to_owned(),
            calls: EngineCalls::Named,
            reason: text("why"),
        }],
        profile_counts: ProfileCounts::default(),
        profiles: vec![NodeProfile {
            name: "web".to_owned(),
            state: ProfileState::Loaded,
            reason: text("why"),
        }],
        containers: Some(ContainerCounts::default()),
        denials: Some(DenialCounts {
            by_profile: vec![ProfileDenials {
                profile: "web".to_owned(),
                count: 1,
            }],
            ..DenialCounts::default()
        }),
        conditions: Vec::new(),
    };
    let mut full = full.fit();
    full.judge(None, UNIX_EPOCH);
    fits(&full);
    let value = serde_json::to_value(&full).unwrap();
    let mut missing = Vec::new();
    unwritten(&schema(), &value, "status", &mut missing);
    // There is no spec whose generation could be observed.
    assert_eq!(missing, ["status.conditions.observedGeneration"]);
}

fn unwritten(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    match schema["type"].as_str().unwrap() {
        "array" => unwritten(&schema["items"], &value[0], at, found),
        "object" => {
            for (name, schema) in schema["properties"].as_object().unwrap() {
                let at = format!("{at}.{name}");
                match &value[name] {
                    Value::Null => found.push(at),
                    value => unwritten(schema, value, &at, found),
                }
            }
        }
        _ => {}
    }
}
