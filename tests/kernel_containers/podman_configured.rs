//! podman, which calls us after one command, and does not after another.

use std::path::Path;

use crate::support::containers::*;

const IMAGE: &str = "localhost/configured";
const DROPIN: &str = "/etc/containers/containers.conf.d/99-oci-apparmor.conf";

fn cli(words: &[&str]) -> Done {
    run(CLI, words)
}

fn podman(words: &[&str]) -> Done {
    run("podman", words)
}

#[test]
fn podman_calls_the_wrapper_after_configure_and_not_after_unconfigure() {
    let _world = world();
    let import = format!(
        "tar -C {} -c . | podman import - {IMAGE}",
        rootfs().display()
    );
    run("sh", ["-c", &import]).ok();
    let programs = wrapper("crun").parent().unwrap().display().to_string();
    let configure = [
        "configure",
        "podman",
        "--set-default",
        "--low-level",
        "crun",
    ];
    cli(&[&configure[..], &["--programs", &programs]].concat()).ok();

    profile("configured");
    let start = |name: &str, profile: &str, program: &[&str]| {
        let annotation = format!("oci-apparmor/profile={profile}");
        let words = [
            "run",
            "-d",
            "--network=none",
            "--name",
            name,
            "--annotation",
        ];
        podman(&[&words[..], &[&annotation, IMAGE], program].concat())
    };
    start("c", "configured", &["/bin/sleep", "1000"]).ok();
    let runtime = podman(&["inspect", "--format", "{{.OCIRuntime}}", "c"]).ok();
    assert_eq!(runtime, "oci-apparmor\n");
    let label = podman(&["exec", "c", "cat", "/proc/self/attr/current"]).ok();
    assert_eq!(label, "configured (enforce)\n");

    // The list that says that we write the log: the reason is podman's whole answer.
    let refused = start("none", "nosuch", &["/bin/true"]);
    refused.refused(&["nosuch", "is not loaded, and there is no file"]);
    let line = refused.err.lines().last().unwrap();
    assert!(line.starts_with("Error: OCI runtime error: "), "{line}");
    podman(&["rm", "-f", "none"]);

    // podman could not even remove it any more.
    let refused = cli(&["unconfigure", "podman"]);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.err.contains("has containers"), "{refused:?}");
    assert!(Path::new(DROPIN).exists());

    podman(&["rm", "-f", "-t", "1", "c"]).ok();
    // Nor one that asked for nothing, and of which nothing is recorded.
    let plain = [
        "run",
        "-d",
        "--network=none",
        "--name",
        "plain",
        "--security-opt",
        "apparmor=unconfined",
        IMAGE,
    ];
    let id = podman(&[&plain[..], &["/bin/sleep", "1000"]].concat()).ok();
    assert_eq!(records(), Vec::<std::path::PathBuf>::new());
    let refused = cli(&["unconfigure", "podman"]);
    assert_eq!(refused.code, 5, "{refused:?}");
    let named = format!("{} (without a profile)", id.trim());
    assert!(refused.err.contains(&named), "{refused:?}");
    podman(&["rm", "-f", "-t", "1", "plain"]).ok();
    // Its conmon runs the cleanup command first, after `rm` has ended.
    wait_for(|| cli(&["unconfigure", "podman"]).code == 0);
    assert!(!Path::new(DROPIN).exists());
    let words = ["run", "--rm", "--network=none", IMAGE, "/bin/true"];
    podman(&words).ok();
    let runtime = podman(&["info", "--format", "{{.Host.OCIRuntime.Name}}"]).ok();
    assert_ne!(runtime, "oci-apparmor\n");
}
