//! containerd's own client: no Kubernetes, no CRI, the annotations on the command line.

use crate::containerd::{Containerd, WIRING, install, label_runtimes, without_new_privileges};
use crate::support::containers::*;

const LABELS: [&str; 3] = [
    "/bin/cat",
    "/proc/1/attr/current",
    "/proc/self/attr/current",
];

fn program(runtime: &str) -> String {
    wrapper(runtime).to_str().unwrap().to_owned()
}

fn ctr_run(program: &str, options: &[&str], id: &str, words: &[&str]) -> Done {
    let rootfs = rootfs();
    let rootfs = ["--rootfs", rootfs.to_str().unwrap(), id];
    let fixed = ["run", "--runc-binary", program];
    run("ctr", [&fixed[..], options, &rootfs, words].concat())
}

fn exec(id: &str, words: &[&str]) -> Done {
    run(
        "ctr",
        [&["task", "exec", "--exec-id", "e", id], words].concat(),
    )
}

#[test]
fn a_task_of_ctr_is_confined() {
    let _world = world();
    install();
    label_runtimes();
    let _containerd = Containerd::start_with(WIRING);
    for runtime in RUNTIMES {
        let program = program(runtime);
        for options in [
            ["-d", "--annotation", "oci-apparmor/profile=task"],
            [
                "-d",
                "--annotation",
                "container.oci-apparmor/any=localhost/task",
            ],
            // ctr, other than Kubernetes' interface, does not ask whether it is loaded.
            ["-d", "--apparmor-profile", "task"],
        ]
        .into_iter()
        .take(if runtime == "runc" { 3 } else { 1 })
        {
            profile("task");
            ctr_run(&program, &options, "task", &["/bin/sleep", "1000"]).ok();
            // ctr lets no process gain privileges.
            let label = without_new_privileges(runtime, "task");
            let labels = exec("task", &LABELS).ok();
            assert_eq!(labels, format!("{label}\n").repeat(2), "{options:?}");
            assert_ne!(exec("task", &["/bin/touch", "/data/x"]).code, 0);
            run("ctr", ["task", "kill", "-s", "KILL", "task"]).ok();
            wait_for(|| run("ctr", ["task", "ls"]).out.contains("STOPPED"));
            run("ctr", ["task", "rm", "task"]).ok();
            run("ctr", ["container", "rm", "task"]).ok();
            assert_eq!(record_of("task"), None);
        }
        let asks = ["--annotation", "oci-apparmor/profile=nosuch"];
        let refused = ctr_run(&program, &asks, "none", &["/bin/true"]);
        refused.refused(&[
            "OCI runtime create failed: ",
            "nosuch",
            "is not loaded, and there is no file",
        ]);
        run("ctr", ["container", "rm", "none"]);
        assert_eq!(records(), Vec::<std::path::PathBuf>::new());
    }
}

/// Exit codes, output, signals, pause and what is exec'ed, where nothing is asked for.
#[test]
fn a_task_of_ctr_that_asks_for_nothing_is_unchanged() {
    let _world = world();
    install();
    label_runtimes();
    let _containerd = Containerd::start_with(WIRING);
    for runtime in RUNTIMES {
        let seen = |program: &str| {
            let ends = ["/bin/sh", "-c", "echo out; echo err >&2; exit 3"];
            let ended = ctr_run(program, &["--rm"], "ends", &ends);
            let missing = ctr_run(program, &["--rm"], "missing", &["/nowhere"]);
            run("ctr", ["container", "rm", "missing"]);
            let traps = ["/bin/sh", "-c", "trap 'exit 9' TERM; sleep 1000 & wait"];
            let (calls, traps) = std::thread::scope(|scope| {
                let waits = scope.spawn(|| ctr_run(program, &["--rm"], "traps", &traps));
                let is = |state: &str| run("ctr", ["task", "ls"]).out.contains(state);
                wait_for(|| is("RUNNING"));
                let calls = [
                    exec("traps", &LABELS),
                    exec("traps", &["/bin/sh", "-c", "exit 4"]),
                    run("ctr", ["task", "pause", "traps"]),
                ];
                assert!(is("PAUSED"));
                run("ctr", ["task", "resume", "traps"]).ok();
                run("ctr", ["task", "kill", "-s", "TERM", "traps"]).ok();
                (calls, waits.join().unwrap())
            });
            let all = [ended, missing, traps].into_iter().chain(calls);
            all.map(|d| (d.code, d.out, d.err)).collect::<Vec<_>>()
        };
        let plain = seen(runtime);
        assert_eq!((plain[0].0, plain[2].0, plain[4].0), (3, 9, 4), "{plain:?}");
        assert_eq!(seen(&program(runtime)), plain);
    }
}
