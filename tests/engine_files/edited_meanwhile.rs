//! Between `configure` and `unconfigure` people edit files, and other programs write them anew.

use crate::golden_files::Image;
use crate::support::programs::program;

const CONTAINERD: &str = "/etc/containerd/config.toml";
const DOCKER: &str = "/etc/docker/daemon.json";

const BEFORE: &str = r#"version = 2
# ours
[plugins."io.containerd.grpc.v1.cri".containerd]
  default_runtime_name = "plain" # as it should be
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.plain]
  runtime_type = "io.containerd.runc.v2"
"#;

#[test]
fn edits_made_after_configure_are_kept() {
    let image = Image::of(&[(CONTAINERD, BEFORE)]);
    image.done("configure", &["containerd", "--set-default"]);
    let text = image
        .text(CONTAINERD)
        .replace("# ours", "oom_score = -1 # mine");
    image.write(CONTAINERD, &format!("{text}# the end\n"));
    image.done("unconfigure", &["containerd"]);
    let expected = format!(
        "{}# the end\n",
        BEFORE.replace("# ours", "oom_score = -1 # mine")
    );
    assert_eq!(image.text(CONTAINERD), expected);

    // Lines of ours were changed too; what is ours goes, what is not stays, and the default is
    // again what it was.
    let image = Image::of(&[(CONTAINERD, BEFORE)]);
    image.done("configure", &["containerd", "--set-default"]);
    let text = image
        .text(CONTAINERD)
        .replace("BinaryName = ", "BinaryName    =    ");
    image.write(CONTAINERD, &text);
    image.done("unconfigure", &["containerd"]);
    assert_eq!(image.text(CONTAINERD), BEFORE);

    let image = Image::of(&[(DOCKER, "{\n  \"default-runtime\": \"crun\"\n}\n")]);
    image.done("configure", &["docker", "--set-default"]);
    let value: serde_json::Value = serde_json::from_str(&image.text(DOCKER)).unwrap();
    // As a configuration management would write it.
    let mut value = value;
    value["debug"] = true.into();
    image.write(DOCKER, &value.to_string());
    image.done("unconfigure", &["docker"]);
    let left: serde_json::Value = serde_json::from_str(&image.text(DOCKER)).unwrap();
    assert_eq!(
        left,
        serde_json::json!({"debug": true, "default-runtime": "crun"})
    );
}

#[test]
fn a_default_that_was_set_later_stays() {
    let image = Image::of(&[(CONTAINERD, BEFORE)]);
    image.done("configure", &["containerd", "--set-default"]);
    let text = image
        .text(CONTAINERD)
        .replace("\"oci-apparmor\" #", "\"kata\" #");
    image.write(CONTAINERD, &text);
    image.done("unconfigure", &["containerd"]);
    assert_eq!(
        image.text(CONTAINERD),
        BEFORE.replace("\"plain\" #", "\"kata\" #")
    );
}

#[test]
fn a_drop_in_that_was_added_to_keeps_the_additions() {
    let image = Image::new();
    let dropin = "/etc/containers/containers.conf.d/99-oci-apparmor.conf";
    image.done("configure", &["podman", "--set-default"]);
    let text = image.text(dropin);
    image.write(dropin, &format!("{text}\n[containers]\ntz = \"UTC\"\n"));
    image.done("unconfigure", &["podman"]);
    let left = image.text(dropin);
    assert!(left.contains("tz = \"UTC\""), "{left}");
    assert!(
        !left.contains("libexec") && !left.contains("runtime = "),
        "{left}"
    );
}

#[test]
fn unconfigure_works_without_a_journal() {
    for engine in ["containerd", "crio", "podman", "docker"] {
        let image = Image::new();
        let before = image.tree();
        image.done("configure", &[engine, "--set-default"]);
        std::fs::remove_dir_all(image.path("/etc/oci-apparmor/engines")).unwrap();
        let said = image.done("unconfigure", &[engine]);
        let left = image.tree();
        for (path, text) in &left {
            let text = text.clone().unwrap_or_default();
            assert!(
                !text.contains("oci-apparmor"),
                "{engine} {}: {text}",
                path.display()
            );
        }
        assert!(
            !said.contains("needs no change") && left.len() >= before.len(),
            "{said}"
        );
    }
}

/// As the README had it before there was a command.
#[test]
fn entries_written_by_hand_are_taken_over_and_removed() {
    let by_hand = format!(
        "{BEFORE}[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.oci-apparmor]\n\
         \x20 runtime_type = \"io.containerd.runc.v2\"\n  pod_annotations = [\"oci-apparmor/*\"]\n\
         \x20 [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.oci-apparmor.options]\n\
         \x20   BinaryName = \"/usr/local/bin/oci-apparmor-runtime\"\n"
    );
    let image = Image::of(&[(CONTAINERD, &by_hand)]);
    image.done("configure", &["containerd"]);
    let text = image.text(CONTAINERD);
    assert!(
        text.contains("libexec/oci-apparmor/runc") && text.contains("container.oci-apparmor/*")
    );
    assert_eq!(text.matches("runtimes.oci-apparmor]").count(), 1);
    image.done("unconfigure", &["containerd"]);
    assert_eq!(image.text(CONTAINERD), by_hand, "as it was");
    image.done("unconfigure", &["containerd"]);
    assert_eq!(image.text(CONTAINERD), BEFORE, "and now without it");
}

#[test]
fn two_configuration_files_of_one_engine_are_kept_apart() {
    let other = "/opt/containerd/config.toml";
    let image = Image::of(&[(CONTAINERD, BEFORE), (other, "version = 2\n")]);
    image.done("configure", &["containerd"]);
    image.done("configure", &["containerd", "--config", other]);
    assert!(image.text(CONTAINERD).contains("oci-apparmor"));
    image.done("unconfigure", &["containerd", "--config", CONTAINERD]);
    assert_eq!(image.text(CONTAINERD), BEFORE);
    assert!(image.text(other).contains("oci-apparmor"));
    image.done("unconfigure", &["containerd", "--config", other]);
    assert_eq!(image.text(other), "version = 2\n");
}

/// A file that became a link in the image, another machine's journal, a change that was not done:
/// none of these makes `unconfigure` write something that was never there.
#[test]
fn a_journal_that_does_not_match_changes_nothing() {
    let image = Image::of(&[(CONTAINERD, BEFORE)]);
    image.done("configure", &["containerd", "--set-default"]);
    image.write(CONTAINERD, "version = 2\n# another file altogether\n");
    let said = image.done("unconfigure", &["containerd"]);
    assert!(said.contains("needs no change"), "{said}");
    assert_eq!(
        image.text(CONTAINERD),
        "version = 2\n# another file altogether\n"
    );
    assert!(!image.path("/etc/oci-apparmor/engines").exists());

    image.done("configure", &["containerd"]);
    std::fs::remove_file(image.path(CONTAINERD)).unwrap();
    image.done("unconfigure", &["containerd"]);
    assert!(!image.path(CONTAINERD).exists());
}

/// Where a file cannot be written, nothing is remembered of what was not done.
#[test]
fn a_configure_that_fails_leaves_no_journal() {
    let image = Image::of(&[(CONTAINERD, BEFORE)]);
    let script = "mount --bind \"$1/etc/containerd\" \"$1/etc/containerd\" &&
        mount -o remount,ro,bind \"$1/etc/containerd\" && shift && exec \"$@\"";
    let refused = || {
        let output = std::process::Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-c", script, "sh"])
            .arg(image.0.path())
            .arg(program("oci-apparmor"))
            .args([
                "configure",
                "containerd",
                "--programs",
                crate::golden_files::PROGRAMS,
                "--set-default",
                "--root",
            ])
            .arg(image.0.path())
            .output()
            .unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(8), "{line}");
        assert!(
            line.contains("cannot write") && line.contains("nothing was changed"),
            "{line}"
        );
    };
    refused();
    assert!(!image.path("/etc/oci-apparmor/engines").exists());
    assert_eq!(image.text(CONTAINERD), BEFORE);

    // Nor is what was remembered before forgotten.
    image.done("configure", &["containerd"]);
    let journal = image.text("/etc/oci-apparmor/engines/containerd.json");
    refused();
    assert_eq!(
        image.text("/etc/oci-apparmor/engines/containerd.json"),
        journal
    );
    image.done("unconfigure", &["containerd"]);
    assert_eq!(image.text(CONTAINERD), BEFORE);
}
