//! podman, with the wrapper as its runtime.

use std::sync::Once;

use crate::support::*;

const IMAGE: &str = "localhost/busybox";

fn podman(words: &[&str]) -> Done {
    static IMPORT: Once = Once::new();
    IMPORT.call_once(|| {
        let script = format!(
            "tar -C {} -c . | podman import - {IMAGE}",
            rootfs().display()
        );
        run("sh", ["-c", &script]).ok();
    });
    run("podman", words)
}

fn with(runtime: &str, words: &[&str]) -> Done {
    podman(&[&["--runtime", wrapper(runtime).to_str().unwrap()], words].concat())
}

#[test]
fn a_container_and_its_execs_are_confined() {
    let _world = world();
    for runtime in RUNTIMES {
        profile("pod");
        let name = format!("pod-{runtime}");
        with(
            runtime,
            &[
                "run",
                "-d",
                "--name",
                &name,
                "--network=none",
                "--annotation",
                "oci-apparmor/profile=pod",
                IMAGE,
                "/bin/sleep",
                "1000",
            ],
        )
        .ok();
        let pid = with(runtime, &["inspect", "--format", "{{.State.Pid}}", &name]).ok();
        let label = run(
            "cat",
            [format!("/proc/{}/attr/apparmor/current", pid.trim())],
        )
        .ok();
        assert_eq!(label, "pod (enforce)\n");
        let exec = |words: &[&str]| with(runtime, &[&["exec", &name], words].concat());
        assert_eq!(
            exec(&["cat", "/proc/self/attr/current"]).ok(),
            "pod (enforce)\n"
        );
        let write = exec(&["touch", "/data/x"]);
        assert!(
            write.code != 0 && write.err.contains("Permission denied"),
            "{write:?}"
        );
        assert_eq!(records().len(), 1);
        with(runtime, &["stop", "-t", "1", &name]).ok();
        with(runtime, &["start", &name]).ok();
        assert_eq!(
            exec(&["cat", "/proc/self/attr/current"]).ok(),
            "pod (enforce)\n"
        );
        with(runtime, &["stop", "-t", "1", &name]).ok();
        with(runtime, &["rm", &name]).ok();
        assert_eq!(records(), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn a_refusal_reaches_the_user_and_leaves_nothing() {
    let _world = world();
    for runtime in RUNTIMES {
        let refused = with(
            runtime,
            &[
                "run",
                "--rm",
                "--name",
                "none",
                "--network=none",
                "--annotation",
                "oci-apparmor/profile=nosuch",
                IMAGE,
                "/bin/true",
            ],
        );
        refused.refused(&["nosuch", "neither loaded nor found", "create of container"]);
        assert_eq!(records(), Vec::<std::path::PathBuf>::new());
        assert_eq!(
            with(runtime, &["ps", "-aq", "--filter", "name=none"]).ok(),
            ""
        );
    }
}

#[test]
fn a_container_that_asks_for_nothing_is_as_without_us() {
    let _world = world();
    for runtime in RUNTIMES {
        let label = with(
            runtime,
            &[
                "run",
                "--rm",
                "--network=none",
                IMAGE,
                "cat",
                "/proc/self/attr/current",
            ],
        );
        let without = podman(&[
            "--runtime",
            runtime,
            "run",
            "--rm",
            "--network=none",
            IMAGE,
            "cat",
            "/proc/self/attr/current",
        ]);
        assert_eq!(label.ok(), without.ok());
        let done = with(
            runtime,
            &[
                "run",
                "--rm",
                "--network=none",
                "--security-opt",
                "apparmor=unconfined",
                IMAGE,
                "sh",
                "-c",
                "cat /proc/self/attr/current; exit 7",
            ],
        );
        assert_eq!((done.code, done.out.as_str()), (7, "unconfined\n"));
    }
}

#[test]
fn hooks_alone_load_and_set_the_profile() {
    let _world = world();
    let hooks = "/var/lib/oci-apparmor-tests/hooks";
    let _ = std::fs::remove_dir_all(hooks);
    std::fs::create_dir_all(hooks).unwrap();
    for (file, stage) in [
        ("hooks/oci-apparmor.json", "runtime"),
        ("hooks/podman/oci-apparmor-precreate.json", "pre"),
    ] {
        let text =
            std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let hook = std::path::Path::new(env!("CARGO_BIN_EXE_oci-apparmor-hook"));
        let text = text.replace("@LIBEXECDIR@", hook.parent().unwrap().to_str().unwrap());
        std::fs::write(format!("{hooks}/{stage}.json"), text).unwrap();
    }
    for runtime in RUNTIMES {
        profile("hooked");
        let words = [
            "--runtime",
            runtime,
            "--hooks-dir",
            hooks,
            "run",
            "--rm",
            "--network=none",
            "--annotation",
            "oci-apparmor/profile=hooked",
            IMAGE,
            "cat",
            "/proc/self/attr/current",
        ];
        assert_eq!(podman(&words).ok(), "hooked (enforce)\n", "{runtime}");
        unload("hooked");
        std::fs::remove_file(format!("{PROFILES}/hooked")).unwrap();
        let refused = podman(&words);
        // podman drops what this hook prints; the exit code is its only word.
        assert!(
            refused.code != 0 && refused.err.contains("exit status 3"),
            "{refused:?}"
        );
    }
    // The shared directory's hook alone is accepted by podman build.
    std::fs::remove_file(format!("{hooks}/pre.json")).unwrap();
    let context = "/var/lib/oci-apparmor-tests/build";
    std::fs::create_dir_all(context).unwrap();
    std::fs::write(
        format!("{context}/Containerfile"),
        format!("FROM {IMAGE}\nRUN true\n"),
    )
    .unwrap();
    podman(&[
        "--hooks-dir",
        hooks,
        "build",
        "--network=none",
        "-t",
        "built",
        context,
    ])
    .ok();
}
