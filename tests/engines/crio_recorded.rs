//! CRI-O as a **recorded engine**: no Debian release has a package of it, so nothing of CRI-O runs
//! here. What it does with an OCI runtime is played after its source: the same conmon is called with
//! the same words, environment and pipes, with the same annotations and process files.
//!
//! Recorded from cri-o/cri-o 00020555 (`internal/oci/runtime_oci.go`, marked OCI below), 03c46e40
//! (`internal/factory/container/container.go`, marked FACTORY) and `server/sandbox_run_linux.go`
//! (marked SANDBOX).

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::pods::{PROFILE, pod, sources};
use crate::support::*;

/// CRI-O's own default profile, which it loads at its start (`internal/config/apparmor`).
const DEFAULT: &str = "crio-default";

/// The name of the container, as CRI-O makes it.
const NAME: &str = "k8s_web_pod_team_uid_0";

/// A handler of CRI-O's configuration.
struct CriO {
    runtime: PathBuf,
    /// `runtime_root` of the handler.
    root: String,
}

impl CriO {
    fn new(runtime: &str) -> Self {
        Self {
            runtime: wrapper(runtime),
            root: format!("/run/{runtime}"),
        }
    }

    /// OCI `CreateContainer`: conmon creates the container; returns its id, or what CRI-O says.
    fn create(&self, container: &Recorded, more: &str) -> Result<String, String> {
        let id = &container.id;
        fs::create_dir_all("/run/crio/exits").unwrap();
        let words = format!(
            "-b {bundle} -c {id} --exit-dir /run/crio/exits -l {log} --log-level info -n {NAME} \
             -P {bundle}/conmon-pidfile -p {bundle}/pidfile --persist-dir {bundle} -r {runtime} \
             --runtime-arg --root={root} --socket-dir-path /run/crio --syslog -u {id} {more}",
            bundle = container.bundle.path.display(),
            log = container.log().display(),
            runtime = self.runtime.display(),
            root = self.root,
        );
        let told = conmon(&container.bundle.path, &words);
        // OCI: `container create failed: %s`.
        match told["pid"].as_i64() {
            Some(pid) if pid > 0 => Ok(id.clone()),
            _ => Err(format!(
                "container create failed: {}",
                told["message"].as_str().unwrap()
            )),
        }
    }

    /// OCI `runtimeCmd` and `defaultRuntimeArgs`: what needs no conmon is called directly; where
    /// CRI-O has an `XDG_RUNTIME_DIR`, that is all of the environment.
    fn call(&self, words: &[&str]) -> Done {
        self.call_with(words, Stdio::null())
    }

    fn call_with(&self, words: &[&str], input: impl Into<Stdio>) -> Done {
        let output = Command::new(&self.runtime)
            .args(["--root", &self.root])
            .args(words)
            .env_clear()
            .env("XDG_RUNTIME_DIR", "/run/user/0")
            .stdin(input)
            .output()
            .unwrap();
        done(&output)
    }

    /// OCI `ExecSyncContainer`: probes; returns the exit code and the output, or what CRI-O says.
    fn exec_sync(&self, container: &Recorded, words: &[&str]) -> Result<(i64, String), String> {
        let process = container.process_file(words);
        let directory = container.bundle.path.parent().unwrap();
        let log = directory.join("crio-log");
        let _ = fs::remove_file(&log);
        let pid_file = directory.join("pidfile");
        let words = format!(
            "-c {id} -n {NAME} -r {runtime} -p {pid_file} -e -l {log} --socket-dir-path /run/crio \
             --log-level info --sync --log-global-size-max 16777216 -T 60 \
             --exec-process-spec {process} --runtime-arg --root={root}",
            id = container.id,
            runtime = self.runtime.display(),
            pid_file = pid_file.display(),
            log = log.display(),
            process = process.display(),
            root = self.root,
        );
        let told = conmon(Path::new("/"), &words);
        match told["exit_code"].as_i64() {
            Some(code) if code >= 0 => Ok((code, logged(&log))),
            _ => Err(told["message"].as_str().unwrap_or_default().to_owned()),
        }
    }

    /// OCI `ExecContainer`: `kubectl exec`, without conmon.
    fn exec(&self, container: &Recorded, words: &[&str]) -> Done {
        let process = container.process_file(words);
        let words = [
            "exec",
            "--process",
            process.to_str().unwrap(),
            &container.id,
        ];
        self.call(&words)
    }

    /// OCI `StopLoopForContainer` and `DeleteContainer`.
    #[track_caller]
    fn end(&self, container: &Recorded) {
        let id = container.id.as_str();
        self.call(&["kill", id, "15"]).ok();
        self.call(&["kill", id, "KILL"]).ok();
        let stopped = || self.call(&["state", id]).out.contains("\"stopped\"");
        wait_for(stopped);
        self.call(&["delete", "--force", id]).ok();
        assert_eq!(record_of(id), None);
        // conmon writes it when the container has ended.
        wait_for(|| Path::new("/run/crio/exits").join(id).exists());
    }
}

/// Calls conmon as CRI-O does, and returns what it says through the sync pipe: `syncInfo`, or
/// `exitCodeInfo`. Here that is a file, and so is the pipe by which it is told to begin.
fn conmon(directory: &Path, words: &str) -> Value {
    let start = Path::new("/run/crio/start");
    let sync = Path::new("/run/crio/sync");
    fs::create_dir_all("/run/crio").unwrap();
    fs::write(start, [0]).unwrap();
    fs::write(sync, "").unwrap();
    let script = "exec conmon \"$@\" 3>>/run/crio/sync 4</run/crio/start >/run/crio/out 2>&1";
    let status = Command::new("timeout")
        .args(["60", "sh", "-c", script, "conmon"])
        .args(words.split_whitespace())
        .current_dir(directory)
        .stdin(Stdio::null())
        .env_clear()
        // `conmon_env` of CRI-O's configuration, by default.
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("_OCI_SYNCPIPE", "3")
        .env("_OCI_STARTPIPE", "4")
        .status()
        .unwrap();
    let said = fs::read_to_string("/run/crio/out").unwrap();
    let mut told = None;
    wait_for(|| {
        let text = fs::read_to_string(sync).unwrap();
        told = text
            .lines()
            .next()
            .and_then(|l| serde_json::from_str(l).ok());
        told.is_some() || !status.success()
    });
    told.unwrap_or_else(|| panic!("conmon: {status}: {said}"))
}

/// What stands in a log of CRI's format: time, stream, tag, text.
fn logged(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap());
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// A container as CRI-O has it in its memory.
struct Recorded {
    id: String,
    bundle: Bundle,
    /// CRI-O's own copy, which does not learn what becomes of `config.json`.
    process: Value,
}

impl Recorded {
    /// FACTORY `SpecAddAnnotations`: first the annotations of the pod, all of them; then CRI-O's own
    /// and the labels, which no pod can overwrite.
    fn container(of_pod: &[(String, String)], profile: Option<&str>, args: &[&str]) -> Self {
        let id = "c".repeat(64);
        let labels = json!({
            "io.kubernetes.container.name": "web",
            "io.kubernetes.pod.name": "pod",
            "io.kubernetes.pod.namespace": "team",
            "io.kubernetes.pod.uid": "uid",
        });
        let mut annotations = json!({
            "io.kubernetes.cri-o.Name": NAME,
            "io.kubernetes.cri-o.ContainerID": id,
            "io.kubernetes.cri-o.SandboxID": "5".repeat(64),
            "io.kubernetes.cri-o.SandboxName": "k8s_POD_pod_team_uid_0",
            "io.kubernetes.cri-o.ContainerType": "container",
            "io.kubernetes.cri-o.TTY": "false",
            "io.container.manager": "cri-o",
            "io.kubernetes.cri-o.Metadata": json!({"name": "web"}).to_string(),
            "io.kubernetes.cri-o.Labels": labels.to_string(),
            "io.kubernetes.cri-o.Annotations": "{}",
        });
        let all = annotations.as_object_mut().unwrap();
        all.extend(labels.as_object().unwrap().clone());
        Self::new(id, annotations, of_pod, profile, args)
    }

    /// SANDBOX: the infra container, where there is one (`drop_infra_ctr`).
    fn sandbox(of_pod: &[(String, String)]) -> Self {
        let id = "5".repeat(64);
        let annotations = json!({
            "io.kubernetes.cri-o.Name": "k8s_pod_team_uid_0",
            "io.kubernetes.cri-o.SandboxName": "k8s_pod_team_uid_0",
            "io.kubernetes.cri-o.Namespace": "team",
            "io.kubernetes.cri-o.ContainerType": "sandbox",
            "io.kubernetes.cri-o.SandboxID": id,
            "io.kubernetes.cri-o.ContainerID": id,
            "io.kubernetes.cri-o.ContainerName": "k8s_POD_pod_team_uid_0",
            "io.kubernetes.cri-o.KubeName": "pod",
            "io.container.manager": "cri-o",
        });
        Self::new(id, annotations, of_pod, None, &["/bin/sleep", "1000"])
    }

    fn new(
        id: String,
        own: Value,
        of_pod: &[(String, String)],
        profile: Option<&str>,
        args: &[&str],
    ) -> Self {
        let mut bundle = Bundle::new(&format!("crio-{}", &id[..1]), args);
        let mut annotations: serde_json::Map<String, Value> = of_pod
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        annotations.extend(own.as_object().unwrap().clone());
        bundle.config["annotations"] = Value::Object(annotations);
        // As the kubelet asks, unless a pod sets `allowPrivilegeEscalation: false`.
        bundle.config["process"]["noNewPrivileges"] = json!(false);
        if let Some(profile) = profile {
            bundle.config["process"]["apparmorProfile"] = json!(profile);
        }
        bundle.write();
        let process = bundle.config["process"].clone();
        let container = Self {
            id,
            bundle,
            process,
        };
        let _ = fs::remove_file(container.log());
        container
    }

    fn log(&self) -> PathBuf {
        self.bundle.path.with_extension("log")
    }

    /// OCI `prepareProcessExec`: the container's own process, with other words; mode 0644.
    fn process_file(&self, words: &[&str]) -> PathBuf {
        let mut process = self.process.clone();
        process["args"] = json!(words);
        process["terminal"] = json!(false);
        let path = self.bundle.path.with_extension("exec-process");
        File::create(&path)
            .unwrap()
            .write_all(process.to_string().as_bytes())
            .unwrap();
        path
    }
}

const SLEEPS: [&str; 2] = ["/bin/sleep", "1000"];
const LABELS: [&str; 3] = [
    "/bin/cat",
    "/proc/1/attr/current",
    "/proc/self/attr/current",
];

/// What the pod of an example is under CRI-O: its annotations, and the profile in `config.json`
/// (`internal/config/apparmor`: no field is the default, Localhost is not looked up).
fn of_example(name: &str, minor: u32) -> (Vec<(String, String)>, String) {
    let pod = pod(name, minor);
    let profile = match &pod.containers[0].profile {
        Some(field) if field["type"] == "Localhost" => field["localhostProfile"].as_str(),
        _ => None,
    };
    let profile = profile.unwrap_or(DEFAULT).to_owned();
    (pod.annotations.into_iter().collect(), profile)
}

#[test]
fn every_way_to_name_a_profile_confines_a_container_of_crio() {
    let _world = world();
    sources();
    load(&profile_text(DEFAULT, ""));
    crate::containerd::label_runtimes();
    for (number, (example, minor)) in [
        ("field", 36),
        ("beta-annotation", 33),
        ("beta-annotation", 36),
        ("container-annotation", 36),
        ("pod-annotation", 36),
        ("runtime-default", 36),
    ]
    .into_iter()
    .enumerate()
    {
        let crio = CriO::new(RUNTIMES[number % 2]);
        unload(PROFILE);
        let (annotations, profile) = of_example(example, minor);
        let container = Recorded::container(&annotations, Some(&profile), &SLEEPS);
        let id = crio.create(&container, "").unwrap();
        crio.call(&["start", &id]).ok();
        let both = format!("{PROFILE} (enforce)\n").repeat(2);
        assert_eq!(
            crio.exec_sync(&container, &LABELS),
            Ok((0, both.clone())),
            "{example} of 1.{minor}"
        );
        assert_eq!(crio.exec(&container, &LABELS).ok(), both, "{example}");
        assert_ne!(crio.exec(&container, &["/bin/touch", "/data/x"]).code, 0);
        crio.end(&container);
    }
    // What asks for nothing keeps what CRI-O gave it.
    let container = Recorded::container(&[], Some(DEFAULT), &SLEEPS);
    let before = fs::read(container.bundle.config_json()).unwrap();
    let crio = CriO::new("runc");
    let id = crio.create(&container, "").unwrap();
    assert_eq!(fs::read(container.bundle.config_json()).unwrap(), before);
    crio.call(&["start", &id]).ok();
    let labels = crio.exec(&container, &LABELS).ok();
    assert_eq!(labels, format!("{DEFAULT} (enforce)\n").repeat(2));
    crio.end(&container);
}

#[test]
fn crio_shows_a_refusal() {
    let _world = world();
    sources();
    load(&profile_text(DEFAULT, ""));
    let asks = |value: &str| vec![("oci-apparmor/profile".to_owned(), value.to_owned())];
    for runtime in RUNTIMES {
        let crio = CriO::new(runtime);
        let refused = |container: &Recorded, words: &[&str]| {
            let message = crio.create(container, "").unwrap_err();
            let start = "container create failed: oci-apparmor: create of container ";
            assert!(message.starts_with(start), "{message}");
            for word in words {
                assert!(message.contains(word), "{message}");
            }
            // OCI: what failed is deleted; that there is nothing is no error to CRI-O.
            crio.call(&["delete", "--force", &container.id]);
        };
        let absent = Recorded::container(&asks("nosuch"), Some(DEFAULT), &SLEEPS);
        refused(&absent, &["nosuch", "neither loaded nor found"]);

        // A pod with an infra container, whose annotations somebody has edited.
        let sandbox = Recorded::sandbox(&asks(PROFILE));
        unload(PROFILE);
        let id = crio.create(&sandbox, "").unwrap();
        crio.call(&["start", &id]).ok();
        assert!(loaded(PROFILE).is_some());
        let edited = Recorded::container(&asks("other"), Some(DEFAULT), &SLEEPS);
        refused(&edited, &["is not what it was when the pod was made"]);
        let container = Recorded::container(&asks(PROFILE), Some(DEFAULT), &SLEEPS);
        let id = crio.create(&container, "").unwrap();
        crio.call(&["start", &id]).ok();

        let file = Path::new(PROFILES).join(PROFILE);
        let text = fs::read_to_string(&file).unwrap();
        fs::remove_file(&file).unwrap();
        unload(PROFILE);
        let message = crio.exec_sync(&container, &LABELS).unwrap_err();
        assert!(
            message.contains("oci-apparmor: ") && message.contains(PROFILE),
            "{message}"
        );
        crio.exec(&container, &LABELS).refused(&[PROFILE]);
        source(PROFILE, &text);
        crio.end(&container);
        crio.end(&sandbox);
        assert_eq!(records(), Vec::<PathBuf>::new());
    }
}

/// What CRI-O sees of a container that asks for nothing, under the wrapper and under the runtime.
#[test]
fn crio_sees_no_difference_in_what_asks_for_nothing() {
    let _world = world();
    for runtime in RUNTIMES {
        let seen = |program: PathBuf| {
            let crio = CriO {
                runtime: program,
                ..CriO::new(runtime)
            };
            let script = "echo out; echo err >&2; trap 'exit 7' TERM; sleep 1000 & wait";
            let container = Recorded::container(&[], None, &["/bin/sh", "-c", script]);
            let id = crio.create(&container, "").unwrap();
            crio.call(&["start", &id]).ok();
            let exec = crio.exec_sync(&container, &["/bin/sh", "-c", "echo o; exit 5"]);
            let missing = crio.exec(&container, &["/nowhere"]);
            // OCI `UpdateContainer`.
            let resources = container.bundle.path.join("resources");
            fs::write(&resources, r#"{"cpu":{"quota":50000,"period":100000}}"#).unwrap();
            let update = ["update", "--resources", "-", &id];
            let updated = crio.call_with(&update, File::open(&resources).unwrap());
            let paused = [crio.call(&["pause", &id]), crio.call(&["resume", &id])];
            wait_for(|| logged(&container.log()).lines().count() == 2);
            crio.call(&["kill", &id, "15"]).ok();
            let exit = Path::new("/run/crio/exits").join(&id);
            wait_for(|| exit.exists());
            let code = fs::read_to_string(&exit).unwrap();
            fs::remove_file(exit).unwrap();
            crio.call(&["delete", "--force", &id]).ok();
            // CRI-O looks for "no such process", "container not running" and "invalid process".
            let gone = crio.call(&["kill", &id, "KILL"]);
            let done = |d: Done| (d.code, d.out, general(&d.err));
            let calls = paused.into_iter().chain([updated, missing, gone]).map(done);
            (
                code,
                logged(&container.log()),
                exec,
                calls.collect::<Vec<_>>(),
            )
        };
        let plain = seen(PathBuf::from(
            run("sh", ["-c", &format!("command -v {runtime}")])
                .ok()
                .trim(),
        ));
        assert_eq!(plain.0, "7");
        assert_eq!(plain.2, Ok((5, "o\n".to_owned())));
        assert_eq!(seen(wrapper(runtime)), plain);

        // systemd's cgroups, where there is no systemd: what the runtime says to that reaches us.
        let crio = CriO::new(runtime);
        let container = Recorded::container(&[], None, &SLEEPS);
        let message = crio.create(&container, "-s").unwrap_err();
        assert!(!message.contains("oci-apparmor"), "{message}");
        crio.call(&["--systemd-cgroup", "delete", "--force", &container.id]);
    }
}

/// A message without the time at its beginning, as runc and crun have it.
fn general(text: &str) -> String {
    let words = text
        .split(' ')
        .filter(|word| !word.starts_with("time=") && !word.starts_with("20"));
    words.collect::<Vec<_>>().join(" ")
}
