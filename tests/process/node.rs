//! A node to test on: its own `/etc`, `/run`, `/sys` and `/dev`, a kernel's tree of profiles, and
//! stand-ins for the low-level runtimes and for `apparmor_parser`, which record how they are
//! called. Each call runs in a mount namespace that has these in the place of the machine's.

use std::cell::Cell;
use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::call::{Call, Outcome, Recorded, one_line};
use crate::compiled_policy::blob;
use crate::support::installed;

/// Where a bundle is, unless a test says otherwise.
pub(crate) const BUNDLE: &str = "/run/bundle";

/// The wrapper, under its own name: all nodes have the same programs, installed there.
pub(crate) const PROGRAM: &str = "/run/programs/bin/oci-apparmor-runtime";

/// The engine's log of a refusal.
const LOG: &str = "/run/log.json";

/// A node with one enforcing profile `p` in its kernel, and nothing else; `None` where this
/// machine cannot run such tests.
pub(crate) fn node() -> Option<Node> {
    static WHY_NOT: OnceLock<Option<String>> = OnceLock::new();
    if let Some(why) = WHY_NOT.get_or_init(why_not) {
        let must = std::env::var_os("OCI_APPARMOR_MUST_RUN").is_some_and(|v| v == "1");
        assert!(!must, "OCI_APPARMOR_MUST_RUN=1, but {why}");
        eprintln!("not run: {why}");
        return None;
    }
    let node = Node::prepare();
    node.load("p", "enforce");
    Some(node)
}

/// Why the tests of this binary cannot run here.
fn why_not() -> Option<String> {
    if let Err(why) = oci_apparmor::apparmor::kernel::may_load() {
        return Some(format!(
            "process tests need root with all capabilities: {why}"
        ));
    }
    let tried = Node::prepare().enter("/", "", &["true".into()]).output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            Some(format!("unshare -m or mount failed: {why}"))
        }
        Err(e) => Some(format!("unshare(1) is missing: {e}")),
    }
}

/// Where the programs are on this machine.
pub(crate) fn programs() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs");
        installed::install(&directory);
        directory
    })
}

pub(crate) struct Node {
    directory: tempfile::TempDir,
    syslog: UnixDatagram,
    /// The number of the next profile in the kernel.
    next: Cell<u32>,
    /// By which name the wrapper is called.
    name: Cell<&'static str>,
}

impl Node {
    fn prepare() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for inside in [
            "dev",
            "etc/oci-apparmor/profiles",
            "run/bin",
            "run/bundle",
            "run/calls",
            "run/libexec",
            "run/parser",
            "run/programs/bin",
            "run/stand-in",
            "sys/kernel/security/apparmor/policy/profiles",
            "sys/kernel/security/apparmor/features/policy/versions",
            "sys/module/apparmor/parameters",
        ] {
            fs::create_dir_all(directory.path().join(inside)).unwrap();
        }
        // By way of a descriptor: the path may be too long for a socket's address.
        let run = File::open(directory.path().join("run")).unwrap();
        let address = format!("/proc/self/fd/{}/syslog", run.as_raw_fd());
        let syslog = UnixDatagram::bind(address).unwrap();
        syslog.set_nonblocking(true).unwrap();
        let node = Self {
            directory,
            syslog,
            next: Cell::new(1),
            name: Cell::new("runc"),
        };

        node.write("/sys/module/apparmor/parameters/enabled", "Y\n");
        node.write("/sys/module/apparmor/parameters/mode", "enforce\n");
        node.write("/sys/kernel/security/apparmor/.replace", "");
        node.write(
            "/sys/kernel/security/apparmor/features/policy/versions/v7",
            "yes\n",
        );
        node.write("/sys/kernel/security/apparmor/revision", "1\n");
        for name in ["runc", "crun", "youki"] {
            for directory in ["/run/bin", "/usr/libexec/crio"] {
                node.program(
                    &format!("{directory}/{name}"),
                    include_str!("stand_in_runtime.sh"),
                );
            }
            node.link(PROGRAM, &format!("/run/libexec/{name}"));
        }
        for name in ["oci-apparmor", "oci-apparmor-hook", "oci-apparmor-runtime"] {
            node.link(
                &format!("/run/programs/bin/{name}"),
                &format!("/run/libexec/{name}"),
            );
        }
        node.program(
            "/run/bin/apparmor_parser",
            include_str!("stand_in_parser.sh"),
        );
        node.settings("");
        node
    }

    // ----- what the node is like

    /// Where a path of the node is on this machine.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.directory.path().join(inside.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, inside: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(inside).parent().unwrap()).unwrap();
        fs::write(self.path(inside), bytes).unwrap();
        self.count_revision(inside);
    }

    /// The kernel has another revision after each change of a profile.
    fn count_revision(&self, changed: &str) {
        if changed.starts_with("/sys/kernel/security/apparmor/policy/profiles") {
            let path = self.path("/sys/kernel/security/apparmor/revision");
            let before = fs::read_to_string(&path).unwrap_or_default();
            if let Ok(number) = before.trim().parse::<u64>() {
                fs::write(path, format!("{}\n", number + 1)).unwrap();
            }
        }
    }

    pub(crate) fn read(&self, inside: &str) -> Vec<u8> {
        fs::read(self.path(inside)).unwrap()
    }

    pub(crate) fn text(&self, inside: &str) -> String {
        String::from_utf8(self.read(inside)).unwrap()
    }

    pub(crate) fn exists(&self, inside: &str) -> bool {
        self.path(inside).symlink_metadata().is_ok()
    }

    pub(crate) fn remove(&self, inside: &str) {
        let path = self.path(inside);
        let removed = if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
        removed.unwrap();
        self.count_revision(inside);
    }

    pub(crate) fn chmod(&self, inside: &str, mode: u32) {
        fs::set_permissions(self.path(inside), Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn chown(&self, inside: &str, uid: u32) {
        std::os::unix::fs::lchown(self.path(inside), Some(uid), Some(uid)).unwrap();
    }

    pub(crate) fn inode(&self, inside: &str) -> u64 {
        fs::metadata(self.path(inside)).unwrap().ino()
    }

    /// A symbolic link at `inside`.
    pub(crate) fn link(&self, target: &str, inside: &str) {
        symlink(target, self.path(inside)).unwrap();
    }

    pub(crate) fn program(&self, inside: &str, text: &str) {
        self.write(inside, text);
        self.chmod(inside, 0o755);
    }

    /// The configuration: these keys, and where the stand-ins are. Annotations may name every
    /// profile, also those that are only loaded, unless the keys have an `allow` of their own.
    pub(crate) fn settings(&self, toml: &str) {
        let allow = match toml.contains("allow = ") {
            true => "",
            false => "allow = ['*']\n",
        };
        let text = format!(
            "{toml}\n{allow}parser = '/run/bin/apparmor_parser'\ncache_directory = '/run/cache'\n[runtimes]\nrunc = '/run/bin/runc'\n\
             crun = '/run/bin/crun'\nyouki = '/run/bin/youki'\n"
        );
        self.write("/etc/oci-apparmor/config.toml", text);
    }

    /// The bundle's configuration.
    pub(crate) fn bundle(&self, json: impl AsRef<[u8]>) {
        self.write("/run/bundle/config.json", json);
    }

    /// Puts a profile into the kernel; returns its directory.
    pub(crate) fn load(&self, name: &str, mode: &str) -> String {
        let file = name.trim_start_matches('/').replace('/', ".");
        let directory = format!("{file}.{}", self.next.get());
        self.next.set(self.next.get() + 1);
        let path = format!("/sys/kernel/security/apparmor/policy/profiles/{directory}");
        self.write(&format!("{path}/name"), format!("{name}\n"));
        self.write(&format!("{path}/mode"), format!("{mode}\n"));
        directory
    }

    /// Removes a profile from the kernel.
    pub(crate) fn unload(&self, directory: &str) {
        self.remove(&format!(
            "/sys/kernel/security/apparmor/policy/profiles/{directory}"
        ));
    }

    /// Puts the source of a profile into the first directory; it compiles to what it should.
    pub(crate) fn source(&self, name: &str) {
        self.compiles(name, "-Q", &blob(name));
    }

    /// Puts the source of a profile into the first directory; it compiles to these bytes, and
    /// appears in the kernel when the parser is called with this option.
    pub(crate) fn compiles(&self, name: &str, appears: &str, blob: &[u8]) {
        let file = name.replace('/', ".");
        self.write(
            &format!("/etc/oci-apparmor/profiles/{file}"),
            format!("profile {name} {{}}\n"),
        );
        self.prepare_parser(name, appears, blob);
    }

    pub(crate) fn prepare_parser(&self, name: &str, appears: &str, blob: &[u8]) {
        let prepared = format!("/run/parser/{}", name.replace('/', "."));
        self.write(&format!("{prepared}/blob"), blob);
        self.write(&format!("{prepared}/names"), format!("{name}\n"));
        self.write(&format!("{prepared}/appears"), appears);
        self.write(&format!("{prepared}/mode"), "enforce");
    }

    /// What was written to the kernel.
    pub(crate) fn loaded_blob(&self) -> Vec<u8> {
        self.read("/sys/kernel/security/apparmor/.replace")
    }

    /// With which options the parser was called.
    pub(crate) fn parser_calls(&self) -> Vec<String> {
        match self.exists("/run/parser/calls") {
            true => self
                .text("/run/parser/calls")
                .lines()
                .map(str::to_owned)
                .collect(),
            false => Vec::new(),
        }
    }

    /// With which options it was called to compile something.
    pub(crate) fn compilations(&self) -> Vec<String> {
        let mut calls = self.parser_calls();
        calls.retain(|call| call.contains(" -S"));
        calls
    }

    // ----- what is done on it

    /// From now on the wrapper is called by this name.
    pub(crate) fn called(&self, name: &'static str) -> &Self {
        self.name.set(name);
        self
    }

    /// Calls the wrapper, in the bundle's directory.
    pub(crate) fn run(&self, words: &[&str]) -> Outcome {
        self.call(words).outcome()
    }

    /// Calls the wrapper for something that must succeed without a word.
    #[track_caller]
    pub(crate) fn done(&self, words: &[&str]) {
        self.run(words).silent_success();
    }

    /// A call of the wrapper.
    pub(crate) fn call(&self, words: &[&str]) -> Call<'_> {
        let program = format!("/run/libexec/{}", self.name.get());
        self.call_program(&program, words)
    }

    /// A call of any program of the node.
    pub(crate) fn call_program(&self, program: &str, words: &[&str]) -> Call<'_> {
        Call::new(self, program, words)
    }

    /// The program and its words, in the node's namespace.
    pub(crate) fn enter(&self, directory: &str, prelude: &str, words: &[String]) -> Command {
        let mut command = Command::new("unshare");
        command
            .args([
                "-m",
                "--propagation",
                "private",
                "sh",
                "-c",
                include_str!("enter.sh"),
                "sh",
            ])
            .arg(self.directory.path())
            .arg(programs())
            .args([directory, prelude])
            .args(words);
        command
    }

    /// Calls the wrapper for something that it must refuse: exit status 1, the same line on
    /// standard error, in syslog and, as the only entry, in the engine's log; the runtime is not
    /// called. Returns the line.
    #[track_caller]
    pub(crate) fn refused(&self, words: &[&str]) -> String {
        let before = self.calls().len();
        self.syslog();
        let log = format!("--log={LOG}");
        let outcome = self.run(&[&[log.as_str(), "--log-format=json"], words].concat());
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert_eq!(outcome.stdout, "");
        let line = one_line(&outcome.stderr);
        assert!(line.starts_with("oci-apparmor: "), "{line}");
        assert!(line.contains("; "), "no remedy: {line}");

        assert!(self.exists(LOG), "nothing is in the engine's log: {line}");
        let entry: Value = serde_json::from_str(&self.text(LOG)).unwrap();
        self.remove(LOG);
        let keys: Vec<_> = entry
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(keys, ["level", "msg", "time"]);
        assert_eq!(entry["level"], "error");
        assert_eq!(entry["msg"], line);
        humantime::parse_rfc3339(entry["time"].as_str().unwrap()).unwrap();

        let said = line.strip_prefix("oci-apparmor: ").unwrap();
        let syslog = self.syslog();
        assert!(syslog.iter().any(|m| m.ends_with(said)), "{syslog:?}");
        assert_eq!(self.calls().len(), before, "the runtime was called: {line}");
        line.to_owned()
    }

    /// As [`Node::refused`], for a container `c1` that must not have been touched.
    #[track_caller]
    pub(crate) fn create_refused(&self, words: &[&str]) -> String {
        let line = self.refused(words);
        assert!(line.contains("of container c1 refused: "), "{line}");
        assert_eq!(self.records(), [""; 0]);
        line
    }

    // ----- what came of it

    /// How the low-level runtime was called, in order.
    pub(crate) fn calls(&self) -> Vec<Recorded> {
        (0..)
            .map(|number| format!("/run/calls/{number}"))
            .take_while(|record| self.exists(record))
            .map(|record| Recorded::read(self, &record))
            .collect()
    }

    /// The last call of the low-level runtime.
    #[track_caller]
    pub(crate) fn last_call(&self) -> Recorded {
        self.calls().pop().expect("the runtime was not called")
    }

    /// The ids of all containers of which something is remembered.
    pub(crate) fn records(&self) -> Vec<String> {
        let Ok(roots) = fs::read_dir(self.path("/run/oci-apparmor/containers")) else {
            return Vec::new();
        };
        let files = roots.flat_map(|root| fs::read_dir(root.unwrap().path()).unwrap());
        let mut ids: Vec<_> = files
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        ids.sort();
        ids
    }

    /// The file of the only record of this id.
    #[track_caller]
    pub(crate) fn record_file(&self, id: &str) -> PathBuf {
        let roots = fs::read_dir(self.path("/run/oci-apparmor/containers")).unwrap();
        let mut files = roots
            .map(|r| r.unwrap().path().join(id))
            .filter(|f| f.exists());
        let file = files.next().expect("no record");
        assert!(files.next().is_none());
        file
    }

    #[track_caller]
    pub(crate) fn record(&self, id: &str) -> Value {
        serde_json::from_slice(&fs::read(self.record_file(id)).unwrap()).unwrap()
    }

    /// What syslog was told since the last time.
    pub(crate) fn syslog(&self) -> Vec<String> {
        let mut messages = Vec::new();
        let mut buffer = [0; 8192];
        while let Ok(length) = self.syslog.recv(&mut buffer) {
            messages.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        messages
    }
}
