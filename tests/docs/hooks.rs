//! The files of `hooks/`, which engines read.

use oci_apparmor::request::{BETA_KEY, CONTAINER_KEY, PLAIN_KEY};
use serde_json::Value;

use crate::{fields, text};

fn hook(path: &str) -> Value {
    serde_json::from_str(&text(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The keys of the schema 1.0.0 (oci-hooks(5)); the engines refuse a file with others or without.
fn assert_schema(hook: &Value, stage: &str) {
    let known = |value: &Value, keys: &[&str]| {
        fields(value).is_subset(&keys.iter().map(|k| (*k).to_owned()).collect())
    };
    assert!(
        known(hook, &["version", "hook", "when", "stages"]),
        "{hook}"
    );
    assert_eq!(hook["version"], "1.0.0");
    let program = &hook["hook"];
    assert!(
        known(program, &["path", "args", "env", "timeout"]),
        "{hook}"
    );
    assert_eq!(program["path"], "@LIBEXECDIR@/oci-apparmor-hook");
    assert_eq!(
        program["args"],
        serde_json::json!(["oci-apparmor-hook", stage])
    );
    assert!(
        program["env"][0]
            .as_str()
            .unwrap()
            .starts_with("PATH=/usr/sbin:")
    );
    assert!(
        program["timeout"].as_u64().unwrap() > 30,
        "shorter than the compiler may take"
    );
    assert_eq!(hook["stages"], serde_json::json!([stage]));
}

#[test]
fn hook_files_match_our_annotations_and_nothing_else() {
    let escaped = |key: &str| key.replace('.', "\\.");
    let ours = PLAIN_KEY.strip_suffix("profile").unwrap();
    // Every key that the code reads, and its misspellings, which it refuses.
    let pattern = format!(
        "^({}.+|{}.+|{}.+)$",
        escaped(CONTAINER_KEY),
        escaped(ours),
        escaped(BETA_KEY)
    );
    for (path, stage) in [
        ("hooks/oci-apparmor.json", "createRuntime"),
        ("hooks/podman/oci-apparmor-precreate.json", "precreate"),
    ] {
        let hook = hook(path);
        assert_schema(&hook, stage);
        // Several annotations would all have to be there.
        assert_eq!(
            hook["when"],
            serde_json::json!({ "annotations": { pattern.clone(): ".*" } }),
            "{path}"
        );
    }
    let always = hook("hooks/always/oci-apparmor.json");
    assert_schema(&always, "createRuntime");
    assert_eq!(always["when"], serde_json::json!({ "always": true }));
    // An engine that reads these does not start if it finds the stage of podman.
    for path in ["hooks/oci-apparmor.json", "hooks/always/oci-apparmor.json"] {
        assert!(!text(path).contains("precreate"));
    }
}
