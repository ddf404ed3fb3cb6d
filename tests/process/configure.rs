//! `configure` and `unconfigure` on a node itself: what stands in the way there.

use crate::call::{Outcome, one_line};
use crate::create::ASKS;
use crate::node::{Node, node, programs};

const PROGRAMS: &str = "/run/libexec";
const DOCKER: &str = "/etc/docker/daemon.json";

fn cli(node: &Node, words: &[&str]) -> Outcome {
    node.call_program("/run/libexec/oci-apparmor", words)
        .directory("/")
        .outcome()
}

#[track_caller]
fn done(node: &Node, words: &[&str]) -> String {
    let outcome = cli(node, words);
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""), "{words:?}");
    outcome.stdout
}

#[track_caller]
fn refused(node: &Node, words: &[&str], code: i32) -> String {
    let outcome = cli(node, words);
    assert_eq!(outcome.code, Some(code), "{outcome:?}");
    assert_eq!(outcome.stdout, "");
    one_line(&outcome.stderr).to_owned()
}

#[test]
fn an_engine_is_configured_and_its_restart_command_printed() {
    let Some(node) = node() else { return };
    for (engine, restart) in [
        ("containerd", "systemctl restart containerd"),
        ("crio", "systemctl restart crio"),
        ("docker", "systemctl reload docker"),
    ] {
        let told = done(&node, &["configure", engine, "--programs", PROGRAMS]);
        assert!(
            told.contains("made /etc/") && told.contains(restart),
            "{told}"
        );
        let restart = restart.replace("reload", "restart");
        let told = done(&node, &["unconfigure", engine]);
        assert!(
            told.contains("removed /etc/") && told.contains(&restart),
            "{told}"
        );
    }
    let told = done(&node, &["configure", "podman", "--programs", PROGRAMS]);
    assert!(!told.contains("systemctl"), "{told}");
    done(&node, &["configure", "docker", "--programs", PROGRAMS]);
    let told = done(&node, &["unconfigure", "--all"]);
    assert!(
        told.contains("daemon.json") && told.contains("containers.conf.d"),
        "{told}"
    );
    assert!(done(&node, &["unconfigure", "--all"]).contains("no engine is configured"));
    assert!(!node.exists("/etc/docker") && !node.exists("/etc/oci-apparmor/engines"));
}

#[test]
fn a_program_that_no_engine_could_call_is_not_configured() {
    let Some(node) = node() else { return };
    let configure = ["configure", "docker", "--programs"];
    let line = refused(&node, &[&configure[..], &["/usr/local/none"]].concat(), 3);
    assert!(
        line.contains("/usr/local/none/runc does not exist"),
        "{line}"
    );
    let line = refused(&node, &["configure", "docker"], 3);
    assert!(line.contains("is not installed"), "{line}");
    node.chmod(PROGRAMS, 0o777);
    let line = refused(&node, &[&configure[..], &[PROGRAMS]].concat(), 7);
    assert!(line.contains("is not trusted"), "{line}");
    assert!(line.ends_with("; run: chmod go-w /run/libexec"), "{line}");
    node.chmod(PROGRAMS, 0o755);
    // As `check` does, it looks at the program itself.
    let this = programs().join("oci-apparmor-runtime");
    node.program("/run/copied/runc", "");
    std::fs::copy(this, node.path("/run/copied/runc")).unwrap();
    node.chown("/run/copied/runc", 1000);
    let line = refused(&node, &[&configure[..], &["/run/copied"]].concat(), 7);
    assert!(line.contains("it belongs to uid 1000"), "{line}");
    // Nor one that would find nothing to become.
    node.remove("/run/bin/runc");
    let line = refused(&node, &[&configure[..], &[PROGRAMS]].concat(), 3);
    assert!(line.contains("/run/bin/runc"), "{line}");
    assert!(!node.exists(DOCKER) && !node.exists("/etc/oci-apparmor/engines"));
}

#[test]
fn unconfigure_is_refused_while_containers_need_the_wrapper() {
    let Some(node) = node() else { return };
    for engine in ["containerd", "podman", "docker"] {
        done(&node, &["configure", engine, "--programs", PROGRAMS]);
    }
    node.bundle(ASKS);
    let roots = [
        ("containerd", "/run/containerd/runc/k8s.io"),
        ("docker", "/run/docker/runtime-runc/moby"),
        ("podman", "/run/runc"),
    ];
    for (engine, root) in roots {
        let id = format!("of-{engine}");
        node.done(&["--root", root, "create", &id]);
        node.write(&format!("{root}/{id}/state.json"), "{}");
    }
    for (engine, root) in roots {
        let line = refused(&node, &["unconfigure", engine], 5);
        assert!(
            line.ends_with("nothing was changed") && line.contains("--force"),
            "{line}"
        );
        assert_eq!(line.matches("of-").count(), 1, "{line}");
        assert!(line.contains(&format!("of-{engine}")), "{line}");
        done(&node, &["unconfigure", engine, "--dry-run"]);
        // Those that are gone need nothing.
        node.remove(&format!("{root}/of-{engine}"));
        if engine == "docker" {
            done(&node, &["unconfigure", engine]);
        } else {
            node.write(&format!("{root}/of-{engine}/state.json"), "{}");
            done(&node, &["unconfigure", engine, "--force"]);
        }
    }
    assert!(!node.exists("/etc/oci-apparmor/engines"));
}

/// A process that looks like one of an engine's own, with these words; `bundle` is where it runs.
fn process(name: &str, words: &str, bundle: &str) -> String {
    format!(
        "mkdir -p {bundle}; (cd {bundle}; exec bash -c 'exec -a {name} bash -c \"sleep 20; :\" {words}') \
         </dev/null >/dev/null 2>&1 & \
         until grep -qs '^{name}' /proc/$!/cmdline; do sleep 0.05; done"
    )
}

/// A call beside such processes, where there are no others.
fn among(node: &Node, processes: &str, words: &[&str]) -> Outcome {
    let script = format!("{processes}; \"$@\"");
    let alone = [
        "unshare",
        "--fork",
        "--pid",
        "--mount-proc",
        "sh",
        "-c",
        &script,
        "sh",
    ];
    node.call_program("/run/libexec/oci-apparmor", words)
        .directory("/")
        .through(&alone)
        .outcome()
}

/// What asked for nothing has no record, and is stopped and deleted through us all the same.
#[test]
fn containers_without_a_record_need_the_wrapper_too() {
    let Some(node) = node() else { return };
    let task = "/run/containerd/io.containerd.runtime.v2.task/k8s.io";
    let docker = "/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby";
    node.write(
        &format!("{task}/of-containerd/options.json"),
        r#"{"binary_name":"/run/libexec/runc"}"#,
    );
    node.write(
        &format!("{task}/of-another/options.json"),
        r#"{"binary_name":"/usr/bin/runc"}"#,
    );
    node.write(&format!("{docker}/of-docker/runtime"), "/run/libexec/runc");
    let shim = "containerd-shim-runc-v2";
    for (engine, living) in [
        (
            "podman",
            process(
                "conmon",
                "-c of-podman -r /run/libexec/crun --exit-command /usr/bin/podman --exit-command-arg --runtime --exit-command-arg crun",
                "/run/b",
            ),
        ),
        (
            "crio",
            process("conmon", "-c of-crio -r /run/libexec/crun -b /b", "/run/b"),
        ),
        (
            "containerd",
            process(shim, "-namespace k8s.io -id pod", &format!("{task}/pod")),
        ),
        (
            "docker",
            process(
                shim,
                "-namespace moby -id of-docker",
                &format!("{docker}/of-docker"),
            ),
        ),
    ] {
        done(&node, &["configure", engine, "--programs", PROGRAMS]);
        let call = |words: &[&str]| among(&node, &living, words);
        let outcome = call(&["unconfigure", engine]);
        assert_eq!(outcome.code, Some(5), "{engine}: {outcome:?}");
        let line = one_line(&outcome.stderr);
        assert!(
            line.contains(&format!(
                "made through the wrapper: of-{engine} (without a profile); "
            )),
            "{line}"
        );
        let outcome = call(&["living"]);
        assert_eq!(outcome.stdout, format!("of-{engine} (without a profile)\n"));
        // Those of another engine, or of another runtime, do not matter.
        done(&node, &["unconfigure", engine]);
    }
    let other = process("conmon", "-c c -r /usr/bin/crun", "/run/b");
    let outcome = among(&node, &other, &["living"]);
    assert_eq!((outcome.code, &*outcome.stdout), (Some(0), ""));
}
