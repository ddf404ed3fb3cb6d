//! A container that asks for nothing: podman does, prints and returns what it does without us.

use super::*;
use crate::terminal::talk;

/// What was seen of podman with one runtime, without what differs between any two runs.
struct Seen {
    runtime: String,
    what: Vec<String>,
}

impl Seen {
    /// A shell command, with podman's words before it in `$podman`.
    fn shell(&mut self, what: &str, script: &str) {
        let set = format!(
            "podman='podman --runtime {}'; image={IMAGE}; {script}",
            self.runtime
        );
        let done = run("sh", ["-c", &set]);
        let said = format!("{what}: {} {:?} {:?}", done.code, done.out, done.err);
        self.what.push(said.replace(&self.runtime, "RUNTIME"));
    }

    fn fact(&mut self, what: &str, value: &str) {
        self.what.push(format!("{what}: {value}"));
    }
}

fn watch(runtime: &str, name: &str) -> Vec<String> {
    let mut seen = Seen {
        runtime: runtime.to_owned(),
        what: Vec::new(),
    };
    let run = format!("$podman run --network=none --name={name}");
    let server: String = SERVER
        .iter()
        .map(|word| format!("'{}' ", word.replace('\'', "'\\''")))
        .collect();
    // Standard input, output and error, a further descriptor, the exit code.
    seen.shell(
        "streams",
        &format!(
            "echo in | {run} --rm -i --preserve-fds=1 $image sh -c \
             'cat; cat <&3; cat /proc/self/attr/current; echo err >&2; exit 7' \
             3</etc/debian_version"
        ),
    );
    seen.shell("no program", &format!("{run} --rm $image nosuch"));
    seen.shell(
        "terminal",
        &format!("{run} --rm -t $image sh -c 'stty size; [ -t 0 ]'"),
    );
    // Signals that podman is sent go on to the container.
    seen.shell(
        "sig-proxy",
        &format!(
            "{run} --rm $image {server} >/run/said & until grep -q up /run/said; do sleep 0.1; done; \
             kill -TERM $!; wait $!; echo $? >>/run/said; cat /run/said"
        ),
    );

    seen.shell(
        "detached",
        &format!(
            "{run} -d --pidfile=/run/pid --conmon-pidfile=/run/conmon --health-cmd='echo well' \
             --health-interval=disable $image {server} >/dev/null"
        ),
    );
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let state = "{{.State.Pid}} {{.State.ConmonPid}} {{.State.CgroupPath}} {{.Id}}";
    let state = inspect(state, &[name]).remove(0);
    let words: Vec<&str> = state.split(' ').collect();
    let [pid, conmon, cgroup, id] = words[..] else {
        panic!("{state}");
    };
    assert_eq!((pid, conmon), (&*read("/run/pid"), &*read("/run/conmon")));
    seen.fact("its parent", &read(&format!("/proc/{conmon}/comm")));
    seen.fact("its limits", &read(&format!("/proc/{pid}/limits")));
    seen.fact("its cgroup", &cgroup.replace(id, "ID"));
    seen.shell(
        "exec",
        &format!(
            "echo in | $podman exec -i --preserve-fds=1 {name} sh -c \
             'cat; cat <&3; cat /proc/self/attr/current; echo err >&2; exit 9' \
             3</etc/debian_version; echo $?; $podman exec {name} nosuch"
        ),
    );
    seen.shell(
        "health check",
        &format!("$podman healthcheck run {name}; echo $?; $podman top {name} comm"),
    );
    seen.shell(
        "pause",
        &format!(
            "$podman pause {name}; cat /sys/fs/cgroup{cgroup}/cgroup.freeze; $podman unpause {name}"
        ),
    );
    seen.shell(
        "stats and update",
        &format!(
            "$podman stats --no-stream --format '{{{{.Name}}}}' {name}; \
             $podman update --cpu-shares=512 {name} >/dev/null; echo $?; \
             cat /sys/fs/cgroup{cgroup}/cpu.weight"
        ),
    );
    seen.shell(
        "kill and logs",
        &format!("$podman kill -s USR1 {name}; $podman wait {name}; $podman logs {name}"),
    );
    seen.shell(
        "attach and stop",
        &format!(
            "rm -f /run/said; $podman start --attach {name} >/run/said & \
             until grep -q up /run/said; do sleep 0.1; done 2>/dev/null; \
             $podman stop -t 5 {name}; wait $!; echo $?; cat /run/said; $podman rm {name}"
        ),
    );
    seen.what
        .iter()
        .map(|what| what.replace(id, "ID"))
        .collect()
}

#[test]
fn a_container_of_podman_that_asks_for_nothing_is_unchanged() {
    let _node = node();
    let name = "plain";
    let _cleanup = Cleanup(vec![name.to_owned()]);
    // The whole of it with one runtime; with the other, that podman still has its own profile.
    for runtime in RUNTIMES {
        let plain = ["--runtime", runtime, "run", "--rm", "--network=none"];
        let without = podman(&[&plain[..], &[IMAGE], &CURRENT].concat());
        assert_eq!(run_rm(runtime, &[], &CURRENT).ok(), without.ok());
    }
    let runtime = one_runtime();
    let real = run("sh", ["-c", &format!("command -v {runtime}")]).ok();
    let ours = watch(text(&wrapper(runtime)), name);
    let theirs = watch(real.trim(), name);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "{runtime}");
    }
    println!("{ours:#?}");
    assert_eq!(records(), Vec::<std::path::PathBuf>::new());
}

/// At a terminal, with a further descriptor, detached and attached again: the same under a profile.
#[test]
fn an_interactive_terminal_works_under_a_profile() {
    let _node = node();
    let name = "talks";
    let _cleanup = Cleanup(vec![name.to_owned()]);
    profile("talks");
    let program = "stty -echo; [ -t 0 ] && echo ready; while read line; do echo got $line; \
                   cat /proc/self/attr/current; [ $line = end ] && exit 7; done";
    let asks = "--annotation=oci-apparmor/profile=talks";
    for runtime in RUNTIMES {
        let podman = format!("podman --runtime {}", text(&wrapper(runtime)));
        let fixed = format!("run --network=none --name={name} {asks}");
        let done = talk(
            &format!(
                "{podman} {fixed} -it --rm --preserve-fds=1 {IMAGE} sh -c 'cat <&3; {program}' \
                 3</etc/debian_version"
            ),
            "ready\r\n",
            "end\n",
        );
        let version = std::fs::read_to_string("/etc/debian_version").unwrap();
        let said = format!(
            "{}\r\nready\r\ngot end\r\ntalks (enforce)\r\n",
            version.trim()
        );
        assert_eq!(
            (done.code, done.out.as_str()),
            (7, said.as_str()),
            "{done:?}"
        );

        let script = format!("{podman} {fixed} -dit {IMAGE} sh -c '{program}'");
        run("sh", ["-c", &script]).ok();
        // podman 5.4 does not always know the code by the time that attach ends.
        let done = talk(&format!("{podman} attach {name}"), "", "end\n");
        let said = "got end\r\ntalks (enforce)\r\n";
        assert!(done.out.contains(said), "{done:?}");
        assert_eq!(super::podman(&["wait", name]).ok(), "7\n");
        super::podman(&["rm", name]).ok();
    }
    assert_eq!(records(), Vec::<std::path::PathBuf>::new());
}
