//! The world of these tests: profiles, bundles, and the programs as they are installed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, Once, OnceLock};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
use nix::sys::signal::killpg;
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::installed;

pub(crate) const RUNTIMES: [&str; 2] = ["runc", "crun"];
pub(crate) const PROFILES: &str = "/etc/oci-apparmor/profiles";
pub(crate) const CONFIG: &str = "/etc/oci-apparmor/config.toml";
/// Not below /tmp or /run: what is trusted must lie in directories of root alone.
const BASE: &str = "/var/lib/oci-apparmor-tests";
/// The programs, as they are installed.
const PROGRAMS: &str = "/var/lib/oci-apparmor-tests/programs";
pub(crate) const CLI: &str = "/var/lib/oci-apparmor-tests/programs/oci-apparmor";
pub(crate) const HOOK: &str = "/var/lib/oci-apparmor-tests/programs/oci-apparmor-hook";
pub(crate) const RUNTIME: &str = "/var/lib/oci-apparmor-tests/programs/oci-apparmor-runtime";

/// One test at a time: they share the kernel's profiles, `/run` and `/etc`.
pub(crate) fn world() -> MutexGuard<'static, ()> {
    static WORLD: Mutex<()> = Mutex::new(());
    static ONCE: Once = Once::new();
    let guard = WORLD
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    ONCE.call_once(install);
    let _ = fs::remove_file(CONFIG);
    guard
}

fn install() {
    // What a node of this release loads at boot, as apparmor.service does: profiles that confine,
    // and ones that only label (`runc (unconfined)` of AppArmor 4).
    if std::env::var_os("OCI_APPARMOR_VM_RELEASE").is_some() {
        run("/lib/apparmor/apparmor.systemd", ["reload"]).ok();
    }
    for directory in [PROFILES, BASE] {
        fs::create_dir_all(directory).unwrap();
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    installed::install(Path::new(PROGRAMS));
    let _ = fs::remove_dir_all(Path::new(BASE).join("bin"));
    fs::create_dir_all(Path::new(BASE).join("bin")).unwrap();
    for name in ["runc", "crun", "oci-apparmor-runtime"] {
        symlink(RUNTIME, wrapper(name)).unwrap();
    }
    let root = rootfs();
    for directory in ["bin", "proc", "sys", "dev", "etc", "data", "tmp"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for applet in ["sh", "cat", "sleep", "touch", "echo", "id", "true"] {
        let _ = symlink("busybox", root.join("bin").join(applet));
    }
}

/// The wrapper under the name of the runtime that it stands for.
pub(crate) fn wrapper(name: &str) -> PathBuf {
    Path::new(BASE).join("bin").join(name)
}

pub(crate) fn rootfs() -> PathBuf {
    Path::new(BASE).join("rootfs")
}

/// What a program did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// It was refused with one line, which says all of these.
    #[track_caller]
    pub(crate) fn refused(&self, words: &[&str]) {
        assert_ne!(self.code, 0, "{self:?}");
        let line = self
            .err
            .lines()
            .find(|l| l.contains("oci-apparmor: "))
            .unwrap_or_else(|| panic!("no line of ours: {self:?}"));
        for word in words {
            assert!(line.contains(word), "{word:?} is missing in {line:?}");
        }
        assert!(line.contains(" refused: ") && line.contains("; "), "{line}");
        for phrase in ["no such file", "ermission denied"] {
            assert!(!line.contains(phrase), "{line}");
        }
    }
}

/// Runs a program to its end, for two minutes at most.
pub(crate) fn run<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    words: impl IntoIterator<Item = S>,
) -> Done {
    let mut command = Command::new(program);
    command
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    done(&to_its_end(&mut command, Duration::from_secs(120)))
}

/// Runs a program to its end; after this time, it and its process group are killed. In an emulated
/// guest, timeout(1) takes as long to start as most of the programs here take to run.
fn to_its_end(command: &mut Command, limit: Duration) -> Output {
    let child = command.stdin(Stdio::null()).process_group(0).spawn();
    let child = child.unwrap_or_else(|why| panic!("cannot run {command:?}: {why}"));
    let group = Pid::from_raw(child.id().try_into().unwrap());
    std::thread::scope(|scope| {
        let (ended, end) = mpsc::channel::<()>();
        scope.spawn(move || {
            for (signal, limit) in [(SIGTERM, limit), (SIGKILL, Duration::from_secs(5))] {
                if end.recv_timeout(limit) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                let _ = killpg(group, signal);
            }
        });
        let output = child.wait_with_output().unwrap();
        drop(ended);
        output
    })
}

pub(crate) fn done(output: &Output) -> Done {
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a program whose container keeps its output open: it goes to files.
pub(crate) fn run_detached<S: AsRef<OsStr>>(
    program: &Path,
    words: impl IntoIterator<Item = S>,
) -> Done {
    let file = |name: &str| Path::new(BASE).join(name);
    let mut command = Command::new(program);
    command
        .args(words)
        .stdout(fs::File::create(file("out")).unwrap())
        .stderr(fs::File::create(file("err")).unwrap());
    let output = to_its_end(&mut command, Duration::from_secs(60));
    let read = |name: &str| fs::read_to_string(file(name)).unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        out: read("out"),
        err: read("err"),
    }
}

/// The text of a profile that allows everything but writing below /data, and the network, which no
/// container here uses: hundreds are compiled, and apparmor_parser 3.0 takes ten times as long for
/// the rules of [`full_profile_text`] as for all the rest.
pub(crate) fn profile_text(name: &str, flags: &str) -> String {
    with_rules(name, flags, "unix,")
}

/// The same as the profiles of a distribution are: with its variables, its common rules, and the
/// network.
pub(crate) fn full_profile_text(name: &str) -> String {
    let rules = "#include <abstractions/base>\n network,";
    format!(
        "#include <tunables/global>\n{}",
        with_rules(name, "", rules)
    )
}

fn with_rules(name: &str, flags: &str, rules: &str) -> String {
    format!(
        "profile {name} flags=(attach_disconnected,mediate_deleted{flags}) {{\n\
         {rules}\n capability,\n file,\n umount,\n mount,\n signal,\n ptrace,\n\
         deny /data/** w,\n}}\n"
    )
}

/// Puts a profile's source on the node, and makes sure that it is not loaded.
pub(crate) fn profile(name: &str) {
    source(name, &profile_text(name, ""));
}

pub(crate) fn source(name: &str, text: &str) {
    unload(name);
    let path = Path::new(PROFILES).join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
}

pub(crate) fn load(text: &str) {
    let path = Path::new(BASE).join("loaded");
    fs::write(&path, text).unwrap();
    run("apparmor_parser", ["-rK", path.to_str().unwrap()]).ok();
}

pub(crate) fn unload(name: &str) {
    let _ = fs::write("/sys/kernel/security/apparmor/.remove", name);
}

/// The line that the kernel's list has for a profile.
pub(crate) fn loaded(name: &str) -> Option<String> {
    let list = fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap();
    list.lines()
        .find(|l| l.starts_with(&format!("{name} (")))
        .map(str::to_owned)
}

/// What the kernel prints for a process without new privileges that `runtime` put under a profile:
/// where crun has a label of its own, it stacks (`set_apparmor_profile` in `src/libcrun/utils.c`).
pub(crate) fn shown(runtime: &str, profile: &str) -> String {
    if runtime != "crun" || loaded("crun").is_none() {
        return format!("{profile} (enforce)");
    }
    let mut stack = ["crun", profile];
    stack.sort_unstable();
    // crun's own profile has the mode `unconfined`.
    format!("{} (mixed)", stack.join("//&"))
}

/// What the kernel prints for a process that `runtime` put under no profile: the runtime's label.
pub(crate) fn unconfined(runtime: &str) -> String {
    match loaded(runtime) {
        None => "unconfined".to_owned(),
        Some(_) => format!("{runtime} (unconfined)"),
    }
}

/// What `runc spec` writes, which is the same each time; it is run once, in this empty directory.
fn specification(directory: &Path) -> &'static Value {
    static SPECIFICATION: OnceLock<Value> = OnceLock::new();
    SPECIFICATION.get_or_init(|| {
        run("runc", ["spec", "--bundle", directory.to_str().unwrap()]).ok();
        let text = fs::read(directory.join("config.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    })
}

/// A bundle that runs `args` in the busybox file system.
pub(crate) struct Bundle {
    pub(crate) path: PathBuf,
    pub(crate) config: Value,
}

impl Bundle {
    pub(crate) fn new(name: &str, args: &[&str]) -> Self {
        let path = Path::new(BASE).join("bundles").join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let mut config = specification(&path).clone();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(args);
        config["root"] = json!({"path": rootfs(), "readonly": false});
        let bundle = Self { path, config };
        bundle.write();
        bundle
    }

    pub(crate) fn annotated(name: &str, args: &[&str], annotations: &[(&str, &str)]) -> Self {
        let mut bundle = Self::new(name, args);
        bundle.config["annotations"] = annotations.iter().map(|(k, v)| (*k, json!(v))).collect();
        bundle.write();
        bundle
    }

    pub(crate) fn write(&self) {
        fs::write(
            self.config_json(),
            serde_json::to_vec_pretty(&self.config).unwrap(),
        )
        .unwrap();
    }

    pub(crate) fn config_json(&self) -> PathBuf {
        self.path.join("config.json")
    }

    pub(crate) fn profile_on_disk(&self) -> Option<String> {
        let text = fs::read(self.config_json()).unwrap();
        let config: Value = serde_json::from_slice(&text).unwrap();
        config["process"]["apparmorProfile"]
            .as_str()
            .map(str::to_owned)
    }
}

/// A container that is killed and deleted when the test is done with it.
pub(crate) struct Container {
    pub(crate) runtime: PathBuf,
    pub(crate) id: String,
}

impl Container {
    /// Creates it; it is not started.
    pub(crate) fn create(runtime: &str, bundle: &Bundle, id: &str) -> (Self, Done) {
        let container = Self {
            runtime: wrapper(runtime),
            id: id.to_owned(),
        };
        let words = ["create", "--bundle", bundle.path.to_str().unwrap(), id];
        let done = run_detached(&container.runtime, words);
        (container, done)
    }

    pub(crate) fn started(runtime: &str, bundle: &Bundle, id: &str) -> Self {
        let (container, done) = Self::create(runtime, bundle, id);
        done.ok();
        container.call("start").ok();
        container
    }

    pub(crate) fn call(&self, subcommand: &str) -> Done {
        run(&self.runtime, [subcommand, &self.id])
    }

    pub(crate) fn exec(&self, args: &[&str]) -> Done {
        run(&self.runtime, [&["exec", &self.id], args].concat())
    }

    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.call("state").ok()).unwrap()
    }

    /// The label of the first process, once it runs the container's program.
    pub(crate) fn label(&self) -> String {
        let pid = self.state()["pid"].as_i64().unwrap();
        let read = || fs::read_to_string(format!("/proc/{pid}/attr/apparmor/current")).unwrap();
        let name = || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        wait_for(|| !name().starts_with("runc") && !name().starts_with("crun"));
        read().trim().to_owned()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        run(&self.runtime, ["delete", "--force", &self.id]);
    }
}

/// Waits for something that takes a moment, for a minute at most.
#[track_caller]
pub(crate) fn wait_for(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "it did not happen within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The files of all records.
pub(crate) fn records() -> Vec<PathBuf> {
    let roots = fs::read_dir("/run/oci-apparmor/containers")
        .into_iter()
        .flatten();
    roots
        .flat_map(|root| fs::read_dir(root.unwrap().path()).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect()
}

pub(crate) fn record_of(id: &str) -> Option<PathBuf> {
    records().into_iter().find(|path| path.ends_with(id))
}

/// A process file as an engine writes it.
pub(crate) fn process_file(name: &str, args: &[&str], profile: Option<&str>) -> PathBuf {
    let mut process = json!({
        "terminal": false, "user": {"uid": 0, "gid": 0}, "args": args,
        "env": ["PATH=/bin"], "cwd": "/",
    });
    if let Some(profile) = profile {
        process["apparmorProfile"] = json!(profile);
    }
    let path = Path::new(BASE).join(name);
    fs::write(&path, process.to_string()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}
