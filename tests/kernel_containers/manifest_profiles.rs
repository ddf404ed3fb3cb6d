//! AppArmorProfile manifests: what `render` makes of them is what the kernel takes, and it means
//! what it means to the Security Profiles Operator.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use oci_apparmor_manifest::{self as manifest, Rendered};
use serde_json::json;

use crate::support::containers::*;

fn examples() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/manifests");
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_example_loads_in_its_mode_or_is_refused() {
    let _world = world();
    let mut number = 0;
    for file in examples() {
        let read = manifest::read(&fs::read(&file).unwrap()).unwrap_or_default();
        let rendered = read
            .into_iter()
            .filter_map(|manifest| manifest.rendered.ok());
        for profile in rendered {
            let name = profile.name.as_str();
            unload(name);
            load(&profile.text);
            let mode = if profile.complain {
                "complain"
            } else {
                "enforce"
            };
            assert_eq!(
                loaded(name),
                Some(format!("{name} ({mode})")),
                "{}",
                file.display()
            );
            unload(name);
            number += 1;
        }
    }
    assert!(number >= 24, "{number}");
}

/// The example `read-only` after a change of its text.
fn read_only(from: &str, to: &str) -> Rendered {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/manifests/read-only.yaml");
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from));
    let mut read = manifest::read(text.replace(from, to).as_bytes()).unwrap();
    read.remove(0).rendered.unwrap()
}

/// What a shell under the profile says to a command.
fn said(profile: &Rendered, command: &str) -> String {
    load(&profile.text);
    let mut bundle = Bundle::new("manifest", &["/bin/sh", "-c", command]);
    bundle.config["process"]["apparmorProfile"] = json!(profile.name);
    bundle.write();
    let done = run(
        "runc",
        ["run", "--bundle", bundle.path.to_str().unwrap(), "manifest"],
    );
    unload(profile.name.as_str());
    done.out
}

const WRITES: &str = "read x </data/manifest && echo read $x; \
    (echo w >/data/manifest) 2>/dev/null && echo wrote data; \
    (echo w >/tmp/manifest) && echo wrote tmp; cat </tmp/manifest 2>/dev/null || echo no cat";

#[test]
fn a_read_only_path_can_be_read_and_not_written() {
    let _world = world();
    let file = rootfs().join("data/manifest");
    fs::write(&file, "it\n").unwrap();
    let all = "read it\nwrote tmp\nw\n";
    assert_eq!(said(&read_only("spec:", "spec:"), WRITES), all);
    // Whatever else allows it: deny wins.
    let overlap = read_only("/tmp/**", "/tmp/**, /data/manifest");
    assert_eq!(said(&overlap, WRITES), all);
    assert_eq!(fs::read(&file).unwrap(), b"it\n");
}

#[test]
fn in_complain_mode_nothing_is_denied() {
    let _world = world();
    let file = rootfs().join("data/manifest");
    fs::write(&file, "it\n").unwrap();
    let complain = read_only("spec:", "spec:\n  mode: Complain");
    assert_eq!(
        said(&complain, WRITES),
        "read it\nwrote data\nwrote tmp\nw\n"
    );
    assert_eq!(fs::read(&file).unwrap(), b"w\n");
}

#[test]
fn a_container_runs_under_the_profile_of_a_manifest() {
    let _world = world();
    let text = include_str!("../data/manifests/read-only.yaml");
    let file = Path::new(PROFILES).join("team.yaml");
    let put = |text: &str| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    };
    for runtime in RUNTIMES {
        unload("read-only");
        put(text);
        let asks = [("oci-apparmor/profile", "read-only")];
        let words = [
            "/bin/sh",
            "-c",
            "(echo w >/data/manifest) 2>/dev/null && echo wrote data; \
             cat /proc/self/attr/current",
        ];
        let bundle = Bundle::annotated("manifest", &words, &asks);
        // Reading that file is what its profile does not allow.
        let ran = || {
            let words = ["run", "--bundle", bundle.path.to_str().unwrap(), "manifest"];
            run(wrapper(runtime), words)
        };
        assert_eq!(ran().out, "", "{runtime}");
        assert_eq!(loaded("read-only").as_deref(), Some("read-only (enforce)"));
        // An edited manifest counts for the next container.
        put(&text.replace("/data/**]", "/data/**, /proc/**]"));
        assert_eq!(ran().ok(), "read-only (enforce)\n", "{runtime}");
        put(&text.replace("spec:", "spec:\n  mode: Complain"));
        assert_eq!(
            ran().ok(),
            "wrote data\nread-only (complain)\n",
            "{runtime}"
        );
        put(&text.replace("/data/**]", "\"/data/x r, /** w\"]"));
        ran().refused(&["readOnlyPaths", "oci-apparmor render"]);
        put(&text.replace("spec:", "spec:\n  state: Disabled"));
        unload("read-only");
        ran().refused(&["is disabled on this node", "team.yaml"]);
    }
    fs::remove_file(file).unwrap();
}
