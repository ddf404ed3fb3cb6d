use oci_apparmor_manifest::read;

use super::*;

fn id(feed: Feed, name: &str) -> ObjectId {
    ObjectId {
        feed,
        namespace: String::new(),
        name: name.to_owned(),
    }
}

#[test]
fn of_a_profile_only_what_manifests_have_is_kept() {
    let data = json!({
        "spec": { "abstract": { "filesystem": { "readOnlyPaths": ["/etc/**", "/a\u{e9}\"b"] } } },
        "status": { "status": "Installed" },
    });
    let object = ApiObject::profile(id(Feed::Profiles, "web"), 1, &format!("{GROUP}/v1"), data);
    let [file] = &object.files[..] else { panic!() };
    assert_eq!(file.file.file_name(), "web.yaml");
    let text = std::str::from_utf8(&file.bytes).unwrap();
    let value: Value = serde_json::from_str(text).unwrap();
    let keys: Vec<_> = value.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["apiVersion", "kind", "metadata", "spec"]);
    assert_eq!(value["metadata"], json!({ "name": "web" }));
}

#[test]
fn what_is_written_of_either_version_can_be_rendered() {
    let paths = json!({ "filesystem": { "readOnlyPaths": ["/etc/**"] } });
    for (version, spec) in [
        ("v1", json!({ "abstract": paths, "mode": "Complain" })),
        ("v1alpha1", json!({ "abstract": paths })),
        (
            "v1alpha1",
            json!({ "policy": "profile web {\n  /etc/\t\"x\" r,\n}\n" }),
        ),
    ] {
        let api_version = format!("{GROUP}/{version}");
        let data = json!({ "spec": spec });
        let object = ApiObject::profile(id(Feed::Profiles, "web"), 1, &api_version, data);
        let manifests = read(&object.files[0].bytes).unwrap();
        assert_eq!(manifests.len(), 1);
        let rendered = manifests[0].rendered.as_ref().unwrap();
        assert_eq!(rendered.name, "web");
        if let Some(policy) = spec.get("policy") {
            assert_eq!(rendered.text, policy.as_str().unwrap());
        }
    }
}

#[test]
fn entries_of_a_config_map_are_files_or_rejected() {
    let large = "x".repeat(MAX_FILE + 1);
    let data = json!({
        "data": { "web": "profile web { }\n", ".hidden": "", "large": large },
        "binaryData": { "b": "AAAA" },
    });
    let object = ApiObject::config_map(id(Feed::ConfigMaps, "c"), 1, &data);
    let names: Vec<_> = object.files.iter().map(|f| f.file.file_name()).collect();
    assert_eq!(names, ["web.profile"]);
    assert_eq!(&*object.files[0].bytes, b"profile web { }\n");
    assert_eq!(
        object.rejects,
        [
            (".hidden".to_owned(), RejectReason::BadName),
            ("large".to_owned(), RejectReason::TooLarge),
            ("b".to_owned(), RejectReason::Binary),
        ]
    );
}

#[test]
fn a_flood_of_entries_is_one_rejection() {
    let entries: Map<String, Value> = (0..=MAX_FILES)
        .map(|n| (format!("p{n}"), json!("")))
        .collect();
    let data = json!({ "data": entries });
    let object = ApiObject::config_map(id(Feed::ConfigMaps, "c"), 1, &data);
    assert!(object.files.is_empty());
    assert_eq!(
        object.rejects,
        [("c".to_owned(), RejectReason::TooManyEntries)]
    );
}
