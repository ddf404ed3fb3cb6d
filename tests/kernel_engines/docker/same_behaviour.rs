//! What docker does with a container is the same with and without us.

use super::*;
use crate::terminal::talk;

/// The life of one container, as its user sees it: all but ids, times and process numbers.
fn life_of(options: &[&str]) -> (Vec<String>, String) {
    let mut seen = Vec::new();
    let mut see = |what: &str, done: &Done| {
        seen.push(format!(
            "{what}: {} {:?} {:?}",
            done.code, done.out, done.err
        ));
    };
    let script = "trap 'echo usr1' USR1; trap 'echo term; exit 3' TERM; \
                  echo started; echo oops >&2; while :; do sleep 1000 & wait; done";
    let own = [
        "-d",
        "--name=same",
        "--memory=64m",
        "--health-cmd=cat /proc/self/attr/current",
        // Each takes a second or two where the machine is emulated.
        "--health-interval=15s",
    ];
    docker_run(&[&own, options].concat(), &["sh", "-c", script]).ok();
    let attached = Command::new("timeout")
        .args(["300", "docker", "attach", "--no-stdin", "same"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    see("logs", &docker(&["logs", "same"]));
    see(
        "exec",
        &exec("same", &["sh", "-c", "echo out; echo err >&2; exit 5"]),
    );
    see(
        "update",
        &docker(&["update", "--memory=96m", "--memory-swap=96m", "same"]),
    );
    see(
        "limit",
        &exec("same", &["cat", "/sys/fs/cgroup/memory.max"]),
    );
    let words = [
        "stats",
        "--no-stream",
        "--format={{.Name}} {{.MemUsage}}",
        "same",
    ];
    let mut stats = docker(&words);
    stats.out = stats.out.rsplit('/').next().unwrap_or_default().to_owned();
    see("stats", &stats);
    see("pause", &docker(&["pause", "same"]));
    see("paused", &exec("same", &["true"]));
    see("unpause", &docker(&["unpause", "same"]));
    let mut container = Value::Null;
    wait_long(|| {
        container = inspect("same");
        container["State"]["Health"]["Status"] == "healthy"
    });
    let label = label_of(&container);
    let checks = container["State"]["Health"]["Log"].as_array().unwrap();
    assert_eq!(checks[0]["Output"], format!("{label}\n"));
    let mut top = docker(&["top", "same", "-o", "pid,comm"]);
    let first = top.out.lines().nth(1).unwrap_or_default();
    top.out = first
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .trim()
        .to_owned();
    see("top", &top);
    see("kill", &docker(&["kill", "-s", "USR1", "same"]));
    wait_long(|| docker(&["logs", "same"]).out.contains("usr1"));
    see("stop", &docker(&["stop", "-t", "30", "same"]));
    let attached = done(&attached.wait_with_output().unwrap());
    assert!(attached.out.ends_with("usr1\nterm\n"), "{attached:?}");
    see("logs", &docker(&["logs", "same"]));
    see("wait", &docker(&["wait", "same"]));
    let state = inspect("same")["State"].take();
    seen.push(format!(
        "attached {}, ended {} {} {}",
        attached.code, state["ExitCode"], state["Status"], state["Error"]
    ));
    remove("same");
    (seen, label)
}

#[test]
fn a_container_is_unchanged_from_run_to_rm() {
    let _node = docker_node();
    profile("life");
    let (plain, label) = life_of(&["--runtime=runc"]);
    println!("{plain:#?}");
    assert_eq!(label, "docker-default (enforce)");
    // This is the default runtime; the container asks for nothing.
    let (ours, label) = life_of(&[]);
    assert_eq!(label, "docker-default (enforce)");
    assert_eq!(ours, plain);
    let (ours, label) = life_of(&["--security-opt=apparmor=life"]);
    assert_eq!(label, "life (enforce)");
    assert_eq!(ours, plain);
}

/// One container in the foreground, with a terminal or with all three streams.
fn foreground(options: &[&str]) -> Vec<String> {
    let run = format!("docker run --network=none --rm {}", options.join(" "));
    let tty = talk(
        &format!(
            "{run} -it {IMAGE} sh -c 'busybox stty -echo; busybox tty; echo $TERM; echo ready; \
             read line; echo got $line; cat /proc/self/attr/current; exit 7'"
        ),
        "ready\r\n",
        "a word\n",
    );
    let script = format!("printf 'one\\ntwo\\n' | {run} -i {IMAGE} cat");
    let mut missing = docker_run(&[&["--rm"], options].concat(), &["/no/such/program"]);
    // docker 20.10 sometimes adds that it was waiting.
    missing.err.truncate(missing.err.find('\n').unwrap());
    [
        tty,
        crate::support::containers::run("sh", ["-c", &script]),
        missing,
    ]
    .map(|d| format!("{d:?}"))
    .to_vec()
}

#[test]
fn terminals_streams_and_errors_are_unchanged() {
    let _node = docker_node();
    let plain = foreground(&["--runtime=runc"]);
    println!("{plain:#?}");
    assert!(plain[0].contains("pts") && plain[0].contains("got a word"));
    assert!(plain[0].contains("code: 7"));
    assert!(plain[1].contains("two"));
    assert_eq!(foreground(&[]), plain);
    nothing_is_left();
}

#[test]
fn builds_are_unchanged() {
    let _node = docker_node();
    let directory = "/var/lib/oci-apparmor-tests/build";
    fs::create_dir_all(directory).unwrap();
    let file = |name: &str, step: &str| {
        let text = format!("FROM {IMAGE}\nRUN {step}\n");
        fs::write(format!("{directory}/{name}"), text).unwrap();
    };
    file("Dockerfile", "cat /proc/self/attr/current");
    file("bad", "exit 9");
    // BuildKit calls runc itself, whatever the default runtime is.
    for kit in ["DOCKER_BUILDKIT=0", "DOCKER_BUILDKIT=1"] {
        let build = |file: &str| {
            let path = format!("{directory}/{file}");
            let own = [kit, "docker", "build", "--no-cache", "--network=none", "-f"];
            run("env", [&own[..], &[&path, directory]].concat())
        };
        let good = build("Dockerfile");
        let said = format!("{}{}", good.out, good.err);
        assert!(said.contains("docker-default (enforce)"), "{kit}: {said}");
        good.ok();
        let bad = build("bad");
        assert!(bad.code != 0 && bad.err.contains("code: 9"), "{bad:?}");
        nothing_is_left();
    }
}
