//! What is refused: one line, with the place and what to do, and nothing is changed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::golden_files::Image;

const CONTAINERD: &str = "/etc/containerd/config.toml";

/// The line of a refusal, after which everything is as before.
#[track_caller]
fn refused(image: &Image, words: &[&str], code: i32) -> String {
    let before = image.tree();
    let output = image.run("configure", words);
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{words:?}: {line}");
    assert_eq!(output.stdout, b"", "{words:?}");
    assert!(
        line.starts_with("oci-apparmor: ") && line.lines().count() == 1,
        "{line}"
    );
    assert!(line.contains("; "), "no remedy: {line}");
    assert_eq!(image.tree(), before, "{words:?}");
    assert!(
        !image.path("/etc/oci-apparmor/engines").exists(),
        "{words:?}"
    );
    line
}

fn containerd(text: &str) -> Image {
    Image::of(&[(CONTAINERD, text)])
}

#[test]
fn malformed_files_are_refused() {
    for (text, line) in [
        ("version = 2\n[plugins\n", "line 2"),
        ("version = 2\nversion = 2\n", "line 2"),
        ("version = 'two'\n", "version"),
        ("version = 2\r\noom_score = 1\r\n", "line ends"),
        ("version = 2\n{{ template \"base\" . }}\n", "line 2"),
        (
            "version = 2\nplugins = { \"io.containerd.grpc.v1.cri\" = { } }\n",
            "not written as a section",
        ),
    ] {
        let said = refused(&containerd(text), &["containerd"], 7);
        assert!(
            said.contains(line) && said.contains(CONTAINERD),
            "{text}: {said}"
        );
    }
    for (text, line) in [
        ("{\n\"debug\": 1,\n}", "line 3"),
        ("[]", "line 1"),
        ("{\"Runtimes\": {}}", "Runtimes"),
    ] {
        let image = Image::of(&[("/etc/docker/daemon.json", text)]);
        let said = refused(&image, &["docker"], 7);
        assert!(said.contains(line), "{text}: {said}");
    }
    let image = Image::of(&[("/etc/crio/crio.conf", "[crio\n")]);
    assert!(refused(&image, &["crio"], 7).contains("line 1"));
    let image = Image::of(&[("/etc/containers/containers.conf", "x = \n")]);
    assert!(refused(&image, &["podman"], 7).contains("line 1"));
}

#[test]
fn files_that_others_can_write() {
    let image = containerd("version = 2\n");
    fs::set_permissions(image.path(CONTAINERD), fs::Permissions::from_mode(0o666)).unwrap();
    assert!(refused(&image, &["containerd"], 7).contains("writable by group or others"));

    let image = containerd("version = 2\n");
    fs::set_permissions(
        image.path("/etc/containerd"),
        fs::Permissions::from_mode(0o777),
    )
    .unwrap();
    refused(&image, &["containerd"], 7);

    let image = Image::of(&[("/etc/docker/x", "")]);
    symlink("/nowhere", image.path("/etc/docker/daemon.json")).unwrap();
    let said = image.run("configure", &["docker"]);
    assert_eq!(said.status.code(), Some(7));
    assert!(image.path("/etc/docker/daemon.json").is_symlink());

    let image = containerd("version = 2\n");
    fs::remove_file(image.path(CONTAINERD)).unwrap();
    nix::unistd::mkfifo(&image.path(CONTAINERD), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(
        image.run("configure", &["containerd"]).status.code(),
        Some(7)
    );
}

#[test]
fn a_default_that_would_replace_another_wrapper_is_refused() {
    let nvidia = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\ndefault_runtime_name = \"nvidia\"\n\
        [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.nvidia]\nruntime_type = \"io.containerd.runc.v2\"\n\
        [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.nvidia.options]\nBinaryName = \"/usr/bin/nvidia-container-runtime\"\n";
    let said = refused(&containerd(nvidia), &["containerd", "--set-default"], 5);
    assert!(said.contains("nvidia-container-runtime"), "{said}");
    // On a person's word.
    containerd(nvidia).done(
        "configure",
        &["containerd", "--set-default", "--low-level", "runc"],
    );

    let kata = nvidia.replace("io.containerd.runc.v2", "io.containerd.kata.v2");
    let said = refused(&containerd(&kata), &["containerd", "--set-default"], 5);
    assert!(said.contains("io.containerd.kata.v2"), "{said}");

    let old = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.default_runtime]\nruntime_type = \"io.containerd.runc.v2\"\n";
    let said = refused(&containerd(old), &["containerd", "--set-default"], 7);
    assert!(said.contains("deprecated"), "{said}");

    let docker = |text| Image::of(&[("/etc/docker/daemon.json", text)]);
    let shim =
        r#"{"default-runtime": "x", "runtimes": {"x": {"runtimeType": "io.containerd.kata.v2"}}}"#;
    assert!(refused(&docker(shim), &["docker", "--set-default"], 5).contains("shim"));
    let other = r#"{"default-runtime": "x", "runtimes": {"x": {"path": "/usr/bin/x"}}}"#;
    assert!(refused(&docker(other), &["docker", "--set-default"], 5).contains("/usr/bin/x"));
    docker(other).done("configure", &["docker"]);

    let vm = "[crio.runtime]\ndefault_runtime = \"kata\"\n[crio.runtime.runtimes.kata]\nruntime_path = \"/usr/bin/kata\"\nruntime_type = \"vm\"\n";
    let image = Image::of(&[("/etc/crio/crio.conf", vm)]);
    assert!(refused(&image, &["crio", "--set-default"], 5).contains("vm"));
    let image = Image::of(&[(
        "/etc/containers/containers.conf",
        "[engine]\nruntime = \"krun\"\n",
    )]);
    assert!(refused(&image, &["podman", "--set-default"], 5).contains("krun"));
}

#[test]
fn names_that_are_taken_or_cannot_be() {
    let taken = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.mine]\nruntime_type = \"x\"\n";
    assert!(
        refused(
            &containerd(taken),
            &["containerd", "--runtime-name", "mine"],
            5
        )
        .contains("mine")
    );
    let image = Image::of(&[(
        "/etc/docker/daemon.json",
        r#"{"runtimes": {"mine": {"path": "/x"}}}"#,
    )]);
    refused(&image, &["docker", "--runtime-name", "mine"], 5);
    let image = Image::of(&[("/etc/crio/crio.conf.d/99-oci-apparmor.conf", "[crio]\n")]);
    assert!(refused(&image, &["crio"], 5).contains("did not create it"));
    for name in ["runc", "", "Upper", "a/b", "a-", "a b", &"a".repeat(64)] {
        refused(&Image::new(), &["docker", "--runtime-name", name], 2);
    }
    refused(&Image::new(), &["docker", "--config", "relative.json"], 2);
    refused(&Image::new(), &["docker", "--programs", "relative"], 2);
}

#[test]
fn a_journal_of_another_version_is_refused() {
    let image = containerd("version = 2\n");
    image.done("configure", &["containerd"]);
    let journal = "/etc/oci-apparmor/engines/containerd.json";
    let text = image.text(journal);
    image.write(journal, &text.replace("\"version\": 1", "\"version\": 9"));
    for command in ["configure", "unconfigure"] {
        let output = image.run(command, &["containerd"]);
        assert_eq!(output.status.code(), Some(7));
        assert!(String::from_utf8_lossy(&output.stderr).contains("version 9"));
    }
    image.write(journal, "{");
    assert_eq!(
        image.run("unconfigure", &["containerd"]).status.code(),
        Some(7)
    );
}
