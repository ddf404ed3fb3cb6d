//! containerd, through its own client.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use crate::support::containers::*;

/// containerd itself, for the time of one test.
pub(crate) struct Containerd(Child);

impl Containerd {
    pub(crate) fn start() -> Self {
        let log = File::create("/run/containerd.log").unwrap();
        let child = Command::new("containerd")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let containerd = Self(child);
        wait_for(|| run("ctr", ["version"]).code == 0);
        containerd
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ctr_run(runtime: &str, profile: &str, rest: &[&str]) -> Done {
    let wrapper = wrapper(runtime);
    let annotation = format!("oci-apparmor/profile={profile}");
    let rootfs = rootfs();
    let words = [
        &[
            "run",
            "--runc-binary",
            wrapper.to_str().unwrap(),
            "--annotation",
            &annotation,
            "--rootfs",
        ],
        rest,
    ]
    .concat();
    let words: Vec<_> = words
        .iter()
        .map(|w| {
            if *w == "ROOTFS" {
                rootfs.to_str().unwrap()
            } else {
                *w
            }
        })
        .collect();
    run("ctr", words)
}

#[test]
fn a_task_and_its_execs_are_confined_and_a_refusal_is_shown() {
    let _world = world();
    let _containerd = Containerd::start();
    for runtime in RUNTIMES {
        profile("task");
        ctr_run(
            runtime,
            "task",
            &["-d", "ROOTFS", "task", "/bin/sleep", "1000"],
        )
        .ok();
        let exec = |words: &[&str]| {
            run(
                "ctr",
                [&["task", "exec", "--exec-id", "e", "task"], words].concat(),
            )
        };
        assert_eq!(
            exec(&["/bin/cat", "/proc/self/attr/current"]).ok(),
            "task (enforce)\n"
        );
        assert_eq!(
            exec(&["/bin/cat", "/proc/1/attr/current"]).ok(),
            "task (enforce)\n"
        );
        assert_ne!(exec(&["/bin/touch", "/data/x"]).code, 0);
        assert!(record_of("task").is_some());
        run("ctr", ["task", "rm", "-f", "task"]).ok();
        run("ctr", ["container", "rm", "task"]).ok();
        assert_eq!(record_of("task"), None);

        let refused = ctr_run(runtime, "nosuch", &["ROOTFS", "none", "/bin/true"]);
        refused.refused(&["nosuch", "is not loaded, and there is no file"]);
        assert!(
            refused.err.contains("OCI runtime create failed"),
            "{refused:?}"
        );
        run("ctr", ["container", "rm", "none"]);
        assert_eq!(records(), Vec::<std::path::PathBuf>::new());
    }
}

/// A shim calls us by our path until the task is deleted, whatever it asked for.
#[test]
fn a_task_without_a_profile_keeps_the_engine_configured() {
    let _world = world();
    let _containerd = Containerd::start();
    let programs = wrapper("runc").parent().unwrap().display().to_string();
    let cli = |words: &[&str]| run(CLI, words);
    cli(&[
        "configure",
        "containerd",
        "--low-level",
        "runc",
        "--programs",
        &programs,
    ])
    .ok();
    let wrapper = wrapper("runc");
    let rootfs = rootfs();
    let words = [
        "run",
        "-d",
        "--runc-binary",
        wrapper.to_str().unwrap(),
        "--rootfs",
        rootfs.to_str().unwrap(),
        "plain",
        "/bin/sleep",
        "1000",
    ];
    run("ctr", words).ok();
    assert_eq!(records(), Vec::<std::path::PathBuf>::new());
    let refused = cli(&["unconfigure", "containerd"]);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(
        refused.err.contains("plain (without a profile)"),
        "{refused:?}"
    );
    run("ctr", ["task", "rm", "-f", "plain"]).ok();
    run("ctr", ["container", "rm", "plain"]).ok();
    cli(&["unconfigure", "containerd"]).ok();
}
