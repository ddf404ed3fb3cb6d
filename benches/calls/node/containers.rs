//! The containers of the node: their bundles, what runc keeps of them, and the process of one.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::node::{HOOK, PROFILE, ROOT, TASKS, WRAPPER, bundle, id};

/// What the containers need while calls are measured: the process of one, which ends with this value.
pub(crate) struct Containers {
    process: Child,
}

/// The containers for which calls are measured. `plain` has no profile.
const RUNNING: [&str; 2] = ["running", "plain"];
const WAITING: &str = "waiting";
const POD: &str = "pod-of-bench";

/// A `config.json` of some 17 KB, as those of Kubernetes are.
fn configuration(annotations: &Value) -> Value {
    let environment: Vec<String> = (0..90)
        .map(|n| format!("SERVICE_{n}_PORT=tcp://10.96.{n}.1:443/{}", "x".repeat(30)))
        .collect();
    let mounts: Vec<Value> = (0..40)
        .map(|n| json!({"destination": format!("/mnt/{n}"), "type": "bind", "options": ["rbind", "rprivate", "rw"],
            "source": format!("/var/lib/kubelet/pods/0d5c2f0a-6e1e-4ab9-8e47-e0f1e42d6a8e/volumes/{n}")}))
        .collect();
    let capabilities = [
        "CAP_CHOWN",
        "CAP_KILL",
        "CAP_SETUID",
        "CAP_NET_BIND_SERVICE",
    ];
    json!({
        "ociVersion": "1.1.0",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["sleep", "infinity"], "cwd": "/", "env": environment,
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs"},
        "mounts": mounts,
        "annotations": annotations,
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/latency_stats", "/sys/firmware"]},
    })
}

/// The annotations by which containerd says of which pod a container is, and ours.
fn of_pod(kind: &str) -> Value {
    json!({
        "oci-apparmor/profile": PROFILE,
        "io.kubernetes.cri.container-type": kind,
        "io.kubernetes.cri.container-name": "web",
        "io.kubernetes.cri.image-name": "registry.example/web:1.2.3",
        "io.kubernetes.cri.sandbox-id": id("sandbox"),
        "io.kubernetes.cri.sandbox-name": POD,
        "io.kubernetes.cri.sandbox-namespace": "default",
        "io.kubernetes.cri.sandbox-uid": "0d5c2f0a-6e1e-4ab9-8e47-e0f1e42d6a8e",
    })
}

/// Writes the bundles below the tree of the node.
pub(super) fn write_bundles(tree: &Path, variables: &[String]) {
    let ours = json!({"oci-apparmor/profile": PROFILE});
    for (name, annotations) in [
        ("plain", json!({})),
        ("beside", json!({})),
        ("managed", ours.clone()),
        ("fresh", ours.clone()),
        ("running", ours.clone()),
        (WAITING, ours),
        ("sandbox", of_pod("sandbox")),
        ("pod", of_pod("container")),
    ] {
        let directory = tree.join(bundle(name).trim_start_matches('/'));
        for inside in ["proc", "sys", "dev"] {
            fs::create_dir_all(directory.join("rootfs").join(inside)).unwrap();
        }
        let mut configuration = configuration(&annotations);
        if name == "beside" {
            let environment = configuration["process"]["env"].as_array_mut().unwrap();
            environment.extend(variables.iter().map(|variable| json!(variable)));
        }
        let text = serde_json::to_vec_pretty(&configuration).unwrap();
        fs::write(directory.join("as-engines-write-it"), &text).unwrap();
        fs::write(directory.join("config.json"), text).unwrap();
    }
    fs::create_dir_all(tree.join(ROOT.trim_start_matches('/'))).unwrap();
}

impl Containers {
    /// Creates them, as the engine would, and the process of the one that waits for `start`.
    pub(crate) fn create() -> Self {
        // It ends when this program does.
        let process = Command::new("/bin/cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let attr = Path::new("/run/attr/apparmor");
        fs::create_dir_all(attr).unwrap();
        fs::write(attr.join("current"), format!("{PROFILE} (enforce)\n")).unwrap();
        fs::write(attr.join("exec"), "").unwrap();
        let status = Command::new("mount")
            .args(["--bind", "/run/attr"])
            .arg(format!("/proc/{}/attr", process.id()))
            .status();
        assert!(status.unwrap().success());
        let containers = Self { process };
        for name in ["sandbox", "managed", WAITING].iter().chain(&RUNNING) {
            record(name);
        }
        for name in RUNNING.iter().chain(&[WAITING]) {
            containers.write_state(name);
        }
        fs::write(format!("{ROOT}/{}/exec.fifo", id(WAITING)), "").unwrap();
        fs::write("/run/state-of-hook", hook_state()).unwrap();
        let hook = Command::new(HOOK)
            .arg("createRuntime")
            .stdin(fs::File::open("/run/state-of-hook").unwrap())
            .output()
            .unwrap();
        assert!(hook.status.success(), "{hook:?}");
        containers
    }

    /// What runc keeps of a container.
    fn write_state(&self, name: &str) {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        // The 22nd field; the first of these is the third.
        let started: u64 = fields.split(' ').nth(19).unwrap().parse().unwrap();
        let text = fs::read(format!("{}/as-engines-write-it", bundle(name))).unwrap();
        let mut config: Value = serde_json::from_slice(&text).unwrap();
        config["labels"] = json!([format!("bundle={}", bundle(name))]);
        let state = json!({"id": id(name), "init_process_pid": self.process.id(),
            "init_process_start": started, "created": "2026-01-01T00:00:00Z", "config": config});
        let directory = Path::new(ROOT).join(id(name));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("state.json"), state.to_string()).unwrap();
    }
}

/// Creates a container through the wrapper.
fn record(name: &str) {
    create(&bundle(name), &id(name));
}

fn create(bundle: &str, id: &str) {
    let done = Command::new(WRAPPER)
        .args(["--root", ROOT, "create", "--bundle", bundle, id])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

/// The state on the standard input of a hook (runtime-spec, "State").
fn hook_state() -> String {
    let state = json!({"ociVersion": "1.1.0", "id": id("managed"), "status": "creating", "pid": 1,
        "bundle": bundle("managed"), "annotations": {"oci-apparmor/profile": PROFILE}});
    state.to_string()
}

/// Puts the configuration back that has no label yet.
pub(crate) fn fresh_bundle() {
    fresh("fresh");
}

/// Puts the configuration back that the other program has not changed yet.
pub(crate) fn fresh_beside() {
    fresh("beside");
}

fn fresh(name: &str) {
    let directory = Path::new(TASKS).join(id(name));
    fs::copy(
        directory.join("as-engines-write-it"),
        directory.join("config.json"),
    )
    .unwrap();
}

/// Puts the process file back.
pub(crate) fn fresh_process() {
    fs::write(
        "/run/process.json",
        r#"{"args":["sh"],"cwd":"/","env":["PATH=/usr/bin"],"user":{"uid":0,"gid":0}}"#,
    )
    .unwrap();
}

/// A container that can be deleted: its record, and what the runtime keeps of it.
pub(crate) fn state_and_record() {
    create(&bundle("managed"), &id("deleted"));
    let (from, to) = (id("running"), id("deleted"));
    fs::create_dir_all(format!("{ROOT}/{to}")).unwrap();
    fs::copy(
        format!("{ROOT}/{from}/state.json"),
        format!("{ROOT}/{to}/state.json"),
    )
    .unwrap();
}
