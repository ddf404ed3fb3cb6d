//! podman on a node with systemd: cgroups are scopes of systemd's, health checks have its timers.

use super::*;
use crate::systemd_boot::beside_systemd;

/// podman where systemd is.
fn there(words: &[&str]) -> Done {
    // The image.
    podman(&["version"]);
    let before = ["podman", "--cgroup-manager=systemd"];
    beside_systemd(&[&before[..], words].concat())
}

/// The life of a container of which nothing is left but what does not differ between two.
#[derive(Debug, PartialEq)]
struct Seen {
    cgroup: String,
    limit: String,
    stopped: i32,
    code: String,
    /// The labels of what is exec'ed, and of the health check that a timer starts.
    labels: [String; 2],
}

fn life(runtime: &str, options: &[&str]) -> Seen {
    let fixed = ["--runtime", runtime, "run", "-d", "--network=none"];
    let own = ["--name=scoped", "--memory=64m", "--health-interval=60s"];
    let check = ["--health-cmd=cat /proc/self/attr/current"];
    let words = [&fixed[..], &own, &check, options, &[IMAGE], &SERVER].concat();
    let id = there(&words).ok();
    let script = "cat /sys/fs/cgroup/memory.max /proc/self/attr/current";
    let exec = there(&["exec", "scoped", "sh", "-c", script]).ok();
    let (limit, label) = exec.trim().split_once('\n').unwrap();
    let state = "--format={{.State.Health.Status}} {{.State.CgroupPath}} \
                 {{range .State.Health.Log}}{{.Output}}{{end}}";
    let mut said = String::new();
    eventually(|| {
        said = there(&["inspect", state, "scoped"]).ok();
        said.starts_with("healthy ")
    });
    let (cgroup, checked) = said["healthy ".len()..].split_once(' ').unwrap();
    let stopped = there(&["stop", "--time=20", "scoped"]).code;
    let code = there(&["inspect", "--format={{.State.ExitCode}}", "scoped"]).ok();
    there(&["rm", "scoped"]).ok();
    Seen {
        cgroup: cgroup.replace(id.trim(), "ID"),
        limit: limit.to_owned(),
        stopped,
        code,
        labels: [label, checked.lines().next().unwrap()].map(str::to_owned),
    }
}

#[test]
fn cgroups_and_timers_of_systemd_are_unchanged() {
    let _node = node();
    profile("scoped");
    let asks = ["--annotation=oci-apparmor/profile=scoped"];
    for runtime in RUNTIMES {
        let ours = wrapper(runtime);
        if runtime == one_runtime() {
            let plain = life(runtime, &[]);
            assert!(plain.labels[0].starts_with("containers-default-"));
            assert_eq!(life(text(&ours), &[]), plain);
            continue;
        }
        let confined = life(text(&ours), &asks);
        let scope = "/machine.slice/libpod-ID.scope";
        assert!(confined.cgroup.starts_with(scope), "{confined:?}");
        assert_eq!(confined.limit, "67108864");
        assert_eq!((confined.stopped, confined.code.as_str()), (0, "4\n"));
        assert_eq!(confined.labels, ["scoped (enforce)"; 2]);
    }
}
