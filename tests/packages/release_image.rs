//! The image, by the image specification and as skopeo reads it.

use std::path::Path;

use serde_json::json;

use crate::{file, has, json, run, success};

#[test]
fn the_image_has_the_programs_and_nothing_else() {
    let layout = file(".oci");
    let blob = |digest: &serde_json::Value| {
        let digest = digest["digest"].as_str().unwrap();
        layout.join("blobs").join(digest.replace(':', "/"))
    };
    let index = json(&layout.join("index.json"));
    let manifest = json(&blob(&index["manifests"][0]));
    let config = json(&blob(&manifest["config"]));
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(
        config["config"]["Entrypoint"],
        json!(["/usr/bin/oci-apparmor-agent"])
    );
    assert_eq!(config["created"], "2025-06-15T15:06:40Z");
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    let layer = blob(&manifest["layers"][0]);
    let words = [
        "--numeric-owner",
        "--full-time",
        "-tvzf",
        layer.to_str().unwrap(),
    ];
    let listed = success(run("tar", words));
    let listed: Vec<Vec<&str>> = listed
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    let mut files = Vec::new();
    for line in &listed {
        assert_eq!((line[1], line[3]), ("0/0", "2025-06-15"), "{line:?}");
        let program = line[5].starts_with("./usr/bin/") || line[0].starts_with('d');
        assert_eq!(
            line[0].get(1..),
            Some(if program { "rwxr-xr-x" } else { "rw-r--r--" })
        );
        if !line[0].starts_with('d') {
            files.push(line[5]);
        }
    }
    assert_eq!(
        files,
        [
            "./usr/bin/oci-apparmor",
            "./usr/bin/oci-apparmor-agent",
            "./usr/bin/oci-apparmor-hook",
            "./usr/bin/oci-apparmor-runtime",
            "./usr/share/doc/oci-apparmor/LGPL-2.1",
            "./usr/share/doc/oci-apparmor/LICENSE",
            "./usr/share/doc/oci-apparmor/copyright",
        ]
    );
}

/// skopeo checks each digest while it copies.
#[test]
fn skopeo_copies_the_directory_and_the_archive() {
    if !has("skopeo") {
        return;
    }
    let tag = format!("localhost/oci-apparmor:{}", env!("CARGO_PKG_VERSION"));
    let dir = tempfile::tempdir().unwrap();
    let copy = |from: &str, path: &Path| {
        let source = format!("{from}:{}:{tag}", path.display());
        let to = dir.path().join(from);
        let target = format!("dir:{}", to.display());
        success(run(
            "skopeo",
            ["copy", "--insecure-policy", &source, &target],
        ));
        json(&to.join("manifest.json"))
    };
    let manifest = copy("oci", &file(".oci"));
    assert_eq!(manifest["schemaVersion"], 2);
    assert_eq!(copy("oci-archive", &file(".oci.tar")), manifest);
    let source = format!("oci-archive:{}:{tag}", file(".oci.tar").display());
    let config = success(run("skopeo", ["inspect", "--config", &source]));
    assert!(config.contains("/usr/bin/oci-apparmor-agent"), "{config}");
}
