//! What real low-level runtimes make of command lines, seen by strace(1): which files they ask for.
//! No container is ever made. Nothing that they find can be written to; all containers that the
//! lines can name are there already, and are running.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use oci_apparmor::settings::RuntimeKind;

use crate::generated_lines::{BUNDLES, FILES, IDS, PROCESSES, ROOTS};
use crate::support::root_trees::programs;

/// What a bundle's configuration needs for a runtime to read it all.
const CONFIG: &str = r#"{"ociVersion":"1.0.2","process":{"user":{"uid":0,"gid":0},
"args":["/none"],"env":[],"cwd":"/","terminal":false},"root":{"path":"rootfs"},"mounts":[],
"linux":{"namespaces":[{"type":"pid"},{"type":"mount"}]}}"#;

/// A container, as runc and as crun remember it.
const STATE: &str = r#"{"id":"c1","init_process_pid":1,"init_process_start":@STARTED@,
"created":"2024-01-01T00:00:00Z","config":{"rootfs":"/mnt/t/rootfs",
"labels":["bundle=/mnt/t/broken"],"namespaces":[],"cgroups":{"path":"/none"}},
"cgroup_paths":{"":"/sys/fs/cgroup/none"},"namespace_paths":{}}"#;
const STATUS: &str = r#"{"pid":1,"process-start-time":@STARTED@,"cgroup-path":"/../../../mnt/cgroup",
"rootfs":"/mnt/t/rootfs","bundle":"/mnt/t/broken","created":"2024-01-01T00:00:00Z",
"detached":true,"systemd-cgroup":false}"#;

/// One low-level runtime on this machine or in a tree.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) kind: RuntimeKind,
    root: PathBuf,
    program: PathBuf,
}

/// What one call asked for, by absolute paths of the places that lines can name.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Files that were opened for reading.
    pub(crate) read: Vec<PathBuf>,
    /// All that was asked for in any way.
    pub(crate) touched: Vec<PathBuf>,
    /// What it said.
    pub(crate) output: String,
}

impl Runtime {
    /// All of a kind that there are, each version once.
    pub(crate) fn all(kind: RuntimeKind) -> Vec<Self> {
        let name = kind.name();
        let places = [format!("usr/sbin/{name}"), format!("usr/bin/{name}")];
        let places = places.each_ref().map(String::as_str);
        let mut versions = Vec::new();
        let mut all = Vec::new();
        for path in programs(&places, name, |_| true) {
            let inside = places.iter().find(|p| path.ends_with(p)).unwrap();
            let root = path.ancestors().nth(Path::new(inside).iter().count());
            // The file, since a program in a tree may not run without more ado.
            let bytes = fs::read(&path).unwrap();
            if !versions.contains(&bytes) {
                versions.push(bytes);
                all.push(Self {
                    kind,
                    root: root.unwrap().to_owned(),
                    program: Path::new("/").join(inside),
                });
            }
        }
        all
    }

    /// What this runtime does with each of these lines.
    pub(crate) fn see(&self, lines: &[&Vec<OsString>]) -> Vec<Seen> {
        let directory = tempfile::tempdir().unwrap();
        let path = |inside: &str| directory.path().join(inside);
        let write = |inside: &str, text: &[u8]| {
            fs::create_dir_all(path(inside).parent().unwrap()).unwrap();
            fs::write(path(inside), text).unwrap();
        };
        for bundle in BUNDLES {
            write(&format!("t/{bundle}/config.json"), CONFIG.as_bytes());
            write(&format!("t/{bundle}/other.json"), CONFIG.as_bytes());
            fs::create_dir(path(&format!("t/{bundle}/rootfs"))).unwrap();
        }
        // What `exec` reads last must not be enough to execute anything.
        for broken in PROCESSES {
            write(&format!("t/{broken}"), b"{");
        }
        write("t/broken/config.json", b"{");
        write("cgroup/cgroup.freeze", b"0\n");
        for name in ROOTS.iter().chain(&["w", "checkpoint"]) {
            fs::create_dir(path(&format!("t/{name}"))).unwrap();
        }
        write("state/state.json", STATE.as_bytes());
        write("state/status", STATUS.as_bytes());
        write("state/config.json", CONFIG.as_bytes());
        write("ids", (IDS.join("\n") + "\n").as_bytes());
        fs::create_dir(path("out")).unwrap();
        let mut calls = format!("cd {FILES}\n").into_bytes();
        for (number, line) in lines.iter().enumerate() {
            calls.extend(self.program.as_os_str().as_bytes());
            for word in *line {
                calls.extend(b" '");
                calls.extend(word.to_str().unwrap().replace('\'', r"'\''").bytes());
                calls.push(b'\'');
            }
            calls.extend(format!(" </dev/null >/mnt/out/{number} 2>&1\n").bytes());
        }
        calls.extend(b"exit 0\n");
        write("calls", &calls);

        // `delete --force` of runc asks for ten seconds whether the process is gone; crun's `exec`
        // wants it to be there.
        let injection = match self.kind {
            RuntimeKind::Crun => "retval=0",
            RuntimeKind::Runc | RuntimeKind::Youki => "error=ESRCH",
        };
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/command_lines/traced_runtime.sh");
        let output = Command::new("timeout")
            .args(["-k", "1", "300", "unshare", "-mpf", "--mount-proc", "sh"])
            .arg(script)
            .args([self.root.as_path(), directory.path()])
            .arg(injection)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{self:?}: {output:?}");
        let trace = fs::read(path("trace")).unwrap();
        let mut seen = read(&trace, lines.len());
        for (number, seen) in seen.iter_mut().enumerate() {
            let output = fs::read(path(&format!("out/{number}"))).unwrap();
            seen.output = String::from_utf8_lossy(&output).into_owned();
        }
        seen
    }
}

impl Seen {
    /// The last line of what it said.
    pub(crate) fn said(&self) -> &str {
        self.output.trim_end().lines().last().unwrap_or_default()
    }
}

/// The calls of a trace, told apart by the files that the shell opens for their output.
fn read(trace: &[u8], calls: usize) -> Vec<Seen> {
    let mut seen: Vec<Seen> = (0..calls).map(|_| Seen::default()).collect();
    let mut current = None;
    let mut directory = PathBuf::from(FILES);
    for line in trace.split(|b| *b == b'\n') {
        let Some((name, rest)) = system_call(line) else {
            continue;
        };
        let Some((path, rest)) = first_path(rest) else {
            continue;
        };
        let path = normal(&directory.join(path));
        if let Ok(number) = path.strip_prefix("/mnt/out") {
            current = Some(number.to_str().unwrap().parse::<usize>().unwrap());
            directory = PathBuf::from(FILES);
            continue;
        }
        let Some(current) = current else { continue };
        let rest = String::from_utf8_lossy(rest);
        if name == "chdir" && !rest.contains("= -1") {
            directory.clone_from(&path);
        }
        let places = [FILES, "/run/runc", "/run/crun", "/run/xdg"];
        if !places.iter().any(|p| path.starts_with(p)) {
            continue;
        }
        let seen: &mut Seen = &mut seen[current];
        let opened = name.starts_with("open") && rest.contains("O_RDONLY");
        if opened && !rest.contains("O_DIRECTORY") && !rest.contains("O_PATH") {
            seen.read.push(path.clone());
        }
        seen.touched.push(path);
    }
    assert_eq!(current, calls.checked_sub(1), "not all lines were run");
    seen
}

/// `PID name(arguments…`
fn system_call(line: &[u8]) -> Option<(String, &[u8])> {
    let open = line.iter().position(|b| *b == b'(')?;
    let name = String::from_utf8_lossy(&line[..open]);
    let name = name.split_whitespace().last()?.to_owned();
    let call = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    call.then(|| (name, &line[open + 1..]))
}

/// The path that the first argument is, or the second behind the working directory.
fn first_path(arguments: &[u8]) -> Option<(PathBuf, &[u8])> {
    let quoted = arguments
        .strip_prefix(b"AT_FDCWD, ")
        .unwrap_or(arguments)
        .strip_prefix(b"\"")?;
    let mut path = Vec::new();
    let mut at = 0;
    loop {
        match quoted.get(at)? {
            b'"' => return Some((OsString::from_vec(path).into(), &quoted[at + 1..])),
            b'\\' => {
                let digits: Vec<u8> = quoted[at + 1..]
                    .iter()
                    .copied()
                    .take_while(|b| (b'0'..=b'7').contains(b))
                    .take(3)
                    .collect();
                if digits.is_empty() {
                    let letter = quoted[at + 1];
                    path.push(match letter {
                        b'n' => b'\n',
                        b't' => b'\t',
                        other => other,
                    });
                    at += 2;
                } else {
                    let octal = std::str::from_utf8(&digits).unwrap();
                    path.push(u8::from_str_radix(octal, 8).unwrap());
                    at += 1 + digits.len();
                }
            }
            other => {
                path.push(*other);
                at += 1;
            }
        }
    }
}

/// The path without `.` and `..`; there are no links in it.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}
