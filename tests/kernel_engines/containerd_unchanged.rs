//! Pods that ask for nothing: under the wrapper they are what they are under the runtime itself.

use std::fmt::Debug;

use crate::containerd::*;
use crate::cri_client::*;
use crate::cri_messages::*;
use crate::cri_pod::*;
use crate::cri_streaming::stream;
use crate::support::containers::*;

/// What is to be seen of a pod whose containers do what containers do, without ids and times.
#[derive(Debug, PartialEq)]
struct Seen {
    label: String,
    ended: (i32, i32, String),
    log: String,
    stopped: i32,
    exec: ExecDone,
    not_found: String,
    too_long: String,
    tty: String,
    streamed: (String, String, String),
    attached: String,
    privileged: String,
    resources: (String, String),
    has_stats: bool,
    hostname: String,
}

fn seen(cri: &Cri, handler: &str) -> Seen {
    let mut config = Pod::configuration("alike", &Map::new());
    let linux = config.linux.as_mut().unwrap();
    linux.security_context.as_mut().unwrap().privileged = true;
    let pod = Pod::run_as_configured(cri, config, handler).unwrap();
    let ends = Pod::container("ends", &["sh", "-c", "echo out; echo err >&2; exit 3"]);
    let ends = pod.started(&ends);
    wait_for(|| pod.status(&ends).state == EXITED);
    let status = pod.status(&ends);

    let reads = "stty -echo; echo ready; while read line; do echo got $line; done";
    let mut reads = Pod::container("reads", &["sh", "-c", reads]);
    (reads.stdin, reads.tty) = (true, true);
    let reads = pod.started(&reads);
    let request = Attach {
        container_id: reads.clone(),
        stdin: true,
        tty: true,
        stdout: true,
        stderr: false,
    };
    let url: Id = cri.call("Attach", &request).unwrap();
    let attached = stream(&url.id, "word\n", |s| s.stdout.contains("got word\r\n"));

    let traps = "trap 'exit 9' TERM; sleep 1000 & wait";
    let mut traps = Pod::container("traps", &["sh", "-c", traps]);
    security(&mut traps).no_new_privs = true;
    let traps = pod.started(&traps);
    let reads = ["sh", "-c", "read line; echo got $line; sleep 3"];
    let tty = pod.streamed(&traps, &reads, true, "it\n").stdout;
    let update = Update {
        container_id: traps.clone(),
        linux: Some(Resources {
            cpu_period: 100_000,
            cpu_quota: 50_000,
            memory_limit_in_bytes: 64 << 20,
            ..Resources::default()
        }),
    };
    let Empty {} = cri.call("UpdateContainerResources", &update).unwrap();
    let of_cgroup = |file: &str| {
        let cgroup = format!("/sys/fs/cgroup/k8s.io/{traps}/{file}");
        std::fs::read_to_string(cgroup).unwrap()
    };
    let request = Id { id: traps.clone() };
    let stats: StatsOf = cri.call("ContainerStats", &request).unwrap();
    let stats = stats.stats.unwrap();
    let used = |usage: Option<Usage>| usage.and_then(|u| u.value).is_some_and(|n| n.value > 0);

    let mut privileged = Pod::container("privileged", &["cat", "/proc/self/attr/current"]);
    security(&mut privileged).privileged = true;
    let privileged = pod.started(&privileged);
    wait_for(|| pod.status(&privileged).state == EXITED);

    let streamed = pod.streamed(&traps, &["sh", "-c", "cat; echo e >&2; exit 4"], false, "");
    let late = ExecSync {
        container_id: traps.clone(),
        cmd: ["sleep", "100"].map(str::to_owned).to_vec(),
        timeout: 1,
    };
    let seen = Seen {
        label: pod.said(
            &traps,
            &["cat", "/proc/1/attr/current", "/proc/self/attr/current"],
        ),
        ended: (status.state, status.exit_code, status.reason),
        log: sorted(&pod.log("ends")),
        exec: pod
            .exec(&traps, &["sh", "-c", "echo o; echo e >&2; exit 5"])
            .unwrap(),
        not_found: general(pod.exec(&traps, &["/nowhere"]), &traps),
        too_long: general(cri.call::<ExecDone>("ExecSync", &late), &traps),
        tty,
        streamed: (streamed.stdout, streamed.stderr, streamed.status),
        attached: attached.stdout,
        privileged: pod.log("privileged"),
        resources: (of_cgroup("cpu.max"), of_cgroup("memory.max")),
        has_stats: used(stats.cpu) && used(stats.memory),
        hostname: pod.said(&traps, &["cat", "/proc/sys/kernel/hostname"]),
        stopped: {
            pod.stop(&traps, 20).unwrap();
            pod.status(&traps).exit_code
        },
    };
    pod.remove();
    seen
}

fn sorted(text: &str) -> String {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// A refusal without what differs from one container and exec to the next.
fn general(answer: Result<impl Debug, Refusal>, id: &str) -> String {
    let text = answer.unwrap_err().replace(id, "ID");
    let words = text.split(' ').map(|word| {
        let hex = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        if hex.len() == 64 { "EXEC" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_pod_that_asks_for_nothing_is_unchanged() {
    let _world = world();
    let containerd = Containerd::start();
    for runtime in RUNTIMES {
        let plain = seen(&containerd.cri, runtime);
        assert_eq!(seen(&containerd.cri, &handler(runtime)), plain);
        // And it is what it should be.
        let label = without_new_privileges(runtime, "cri-containerd.apparmor.d");
        assert_eq!(plain.label, format!("{label}\n").repeat(2));
        assert_eq!(
            (plain.ended.1, plain.exec.exit_code, plain.stopped),
            (3, 5, 9)
        );
        assert_eq!(plain.log, "stderr F err\nstdout F out");
        assert_eq!(plain.tty, "it\r\ngot it\r\n");
        assert!(plain.attached.ends_with("got word\r\n"), "{plain:?}");
        assert_eq!(plain.resources.0, "50000 100000\n");
        assert!(
            plain.has_stats && plain.streamed.2.contains("\"4\""),
            "{plain:?}"
        );
    }
}
