//! CRI-O as a **recorded engine**: what it does with an OCI runtime is played after its source. The
//! same conmon is called with the same words, environment and pipes, with the same annotations
//! (`crio_annotations.rs`) and process files.
//!
//! From `internal/oci/runtime_oci.go` of cri-o/cri-o f954a17e, 1.37.0; beside each call is the function
//! there. `crio_real.rs` compares the calls with those of a real CRI-O.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};

use crate::crio_annotations::*;
use crate::support::containers::*;

/// As systemd starts CRI-O.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A handler of CRI-O's configuration.
pub(crate) struct Played {
    pub(crate) runtime: PathBuf,
    /// `runtime_root` of the handler.
    pub(crate) root: String,
}

impl Played {
    pub(crate) fn new(runtime: &str) -> Self {
        Self {
            runtime: wrapper(runtime),
            root: format!("/run/{runtime}"),
        }
    }

    /// `CreateContainer`: conmon creates the container; returns its id, or what CRI-O says.
    pub(crate) fn create(&self, container: &Recorded, more: &str) -> Result<String, String> {
        let id = &container.id;
        fs::create_dir_all("/run/crio/exits").unwrap();
        let words = format!(
            "-b {bundle} -c {id} --exit-dir /run/crio/exits -l {log} --log-level info -n {name} \
             -P {bundle}/conmon-pidfile -p {bundle}/pidfile --persist-dir {bundle} -r {runtime} \
             --runtime-arg --root={root} --socket-dir-path /run/crio --syslog -u {id} {more}",
            bundle = container.bundle.path.display(),
            name = container.name,
            log = container.log().display(),
            runtime = self.runtime.display(),
            root = self.root,
        );
        let told = conmon(&container.bundle.path, &words);
        let what = match more.contains("--restore") {
            true => "restore",
            false => "create",
        };
        match told["pid"].as_i64() {
            Some(pid) if pid > 0 => Ok(id.clone()),
            _ => Err(format!(
                "container {what} failed: {}",
                told["message"].as_str().unwrap()
            )),
        }
    }

    /// `CreateContainer` for `RestoreContainer`, from `CheckpointPath` of the container.
    pub(crate) fn restore(&self, container: &Recorded, image: &Path) -> Result<String, String> {
        self.create(container, &format!("--restore {}", image.display()))
    }

    /// `runtimeCmd` and `defaultRuntimeArgs`: what needs no conmon is called directly.
    pub(crate) fn call(&self, words: &[&str]) -> Done {
        self.call_with(words, Stdio::null())
    }

    pub(crate) fn call_with(&self, words: &[&str], input: impl Into<Stdio>) -> Done {
        let output = Command::new(&self.runtime)
            .args(["--root", &self.root])
            .args(words)
            .env_clear()
            .envs(environment())
            .stdin(input)
            .output()
            .unwrap();
        done(&output)
    }

    /// `ExecSyncContainer`: probes; returns the exit code and the output, or what CRI-O says.
    pub(crate) fn exec_sync(
        &self,
        container: &Recorded,
        words: &[&str],
    ) -> Result<(i64, String), String> {
        let process = container.process_file(words);
        let directory = container.bundle.path.parent().unwrap();
        let log = directory.join("crio-log");
        let _ = fs::remove_file(&log);
        let pid_file = directory.join("pidfile");
        let words = format!(
            "-c {id} -n {name} -r {runtime} -p {pid_file} -e -l {log} --socket-dir-path /run/crio \
             --log-level info --sync --log-global-size-max 16777216 -T 60 \
             --exec-process-spec {process} --runtime-arg --root={root}",
            id = container.id,
            name = container.name,
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

    /// `ExecContainer`: `kubectl exec`, without conmon, and with CRI-O's own environment unless that
    /// has `XDG_RUNTIME_DIR`, which is then all that is handed on.
    pub(crate) fn exec(&self, container: &Recorded, words: &[&str]) -> Done {
        let process = container.process_file(words);
        let output = Command::new(&self.runtime)
            .args(["--root", &self.root, "exec", "--process"])
            .arg(process)
            .arg(&container.id)
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        done(&output)
    }

    /// The label of a container's first process.
    pub(crate) fn label(&self, id: &str) -> String {
        let state: Value = serde_json::from_str(&self.call(&["state", id]).ok()).unwrap();
        fs::read_to_string(format!("/proc/{}/attr/apparmor/current", state["pid"])).unwrap()
    }

    /// `UpdateContainer`.
    pub(crate) fn update(&self, container: &Recorded, resources: &str) -> Done {
        let file = container.bundle.path.join("resources");
        fs::write(&file, resources).unwrap();
        let words = ["update", "--resources", "-", &container.id];
        self.call_with(&words, File::open(file).unwrap())
    }

    /// `StopLoopForContainer` and `DeleteContainer`.
    #[track_caller]
    pub(crate) fn end(&self, container: &Recorded) {
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

/// `prepareEnv`: all of the environment of conmon and of the runtime, where CRI-O was started by
/// systemd and `monitor_env` is what it is by default.
fn environment() -> [(&'static str, &'static str); 2] {
    [("CRI_O_EXTERNAL", "1"), ("PATH", PATH)]
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
        .envs(environment())
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
pub(crate) fn logged(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap());
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// A container as CRI-O has it in its memory.
pub(crate) struct Recorded {
    pub(crate) id: String,
    name: String,
    pub(crate) bundle: Bundle,
    /// CRI-O's own copy, which does not learn what becomes of `config.json`.
    process: Value,
}

impl Recorded {
    /// A container `web` of a pod with these annotations, as the kubelet has it.
    pub(crate) fn container(
        of_pod: &[(String, String)],
        profile: Option<&str>,
        args: &[&str],
    ) -> Self {
        let pod = OfPod::new(of_pod);
        Self::of(&pod, &OfContainer::new(&pod, "web"), profile, args)
    }

    pub(crate) fn of(
        pod: &OfPod,
        container: &OfContainer,
        profile: Option<&str>,
        args: &[&str],
    ) -> Self {
        let annotations = container.annotations(pod);
        let name = pod.full_name(&container.name);
        Self::new(&container.id, name, annotations, profile, args)
    }

    /// The container of a sandbox, where there is one.
    pub(crate) fn sandbox(pod: &OfPod) -> Self {
        let args = ["/bin/sleep", "1000"];
        Self::new(
            &pod.sandbox,
            pod.full_name("POD"),
            pod.sandbox(),
            None,
            &args,
        )
    }

    fn new(
        id: &str,
        name: String,
        annotations: Map<String, Value>,
        profile: Option<&str>,
        args: &[&str],
    ) -> Self {
        // As in CRI-O's storage.
        let bundle = format!("overlay-containers/{id}/userdata");
        let mut bundle = Bundle::new(&bundle, args);
        bundle.config["annotations"] = Value::Object(annotations);
        // As the kubelet asks, unless a pod sets `allowPrivilegeEscalation: false`.
        bundle.config["process"]["noNewPrivileges"] = json!(false);
        if let Some(profile) = profile {
            bundle.config["process"]["apparmorProfile"] = json!(profile);
        }
        bundle.write();
        let process = bundle.config["process"].clone();
        let container = Self {
            id: id.to_owned(),
            name,
            bundle,
            process,
        };
        let _ = fs::remove_file(container.log());
        container
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.bundle.path.with_extension("log")
    }

    /// `prepareProcessExec`: the container's own process, with other words; mode 0644.
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
