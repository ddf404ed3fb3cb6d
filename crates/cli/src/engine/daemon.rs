//! The engines' daemons that run on this node, and how they were started.
//!
//! Only processes of root in the node's mount namespace count: a process can write any command line for
//! itself, and a containerd in a container reads files of its container.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::engine::root::NodeRoot;
use oci_apparmor::fs::bounded;

/// The longest command line or environment that is read, in bytes.
const MAX: u64 = 1 << 20;

/// A running daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Daemon {
    /// Its process id.
    pub(crate) pid: u32,
    /// Its executable file.
    pub(crate) program: PathBuf,
    /// Its arguments, without its name.
    pub(crate) words: Vec<String>,
    /// The systemd unit that it runs in.
    pub(crate) unit: Option<String>,
    /// Its `PATH`.
    pub(crate) path: Option<String>,
    /// Its working directory.
    directory: PathBuf,
}

impl Daemon {
    /// The value of the last of these options, as a path that is absolute for the daemon.
    #[must_use]
    pub(crate) fn file(&self, names: &[&str]) -> Option<PathBuf> {
        let value = value(&self.words, names)?;
        Some(self.directory.join(value))
    }
}

/// The daemons with one of these names that run on this node.
#[must_use]
pub(crate) fn daemons(root: &NodeRoot, names: &[&str]) -> Vec<Daemon> {
    let Some(own) = root.namespace("mnt") else {
        return Vec::new();
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<Daemon> = entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            daemon(pid, &entry.path(), names, &own)
        })
        .collect();
    found.sort_by_key(|daemon| daemon.pid);
    found
}

fn daemon(pid: u32, process: &Path, names: &[&str], namespace: &Path) -> Option<Daemon> {
    let words = strings(&process.join("cmdline"))?;
    let (name, words) = words.split_first()?;
    let name = name.rsplit('/').next()?;
    if !names.contains(&name) || fs::metadata(process).ok()?.uid() != 0 {
        return None;
    }
    if fs::read_link(process.join("ns/mnt")).ok()? != namespace {
        return None;
    }
    let program = fs::read_link(process.join("exe")).ok()?;
    // One that was replaced while it runs.
    let shown = program.to_string_lossy();
    let program = PathBuf::from(shown.strip_suffix(" (deleted)").unwrap_or(&shown));
    let environment = strings(&process.join("environ")).unwrap_or_default();
    let path = environment.iter().find_map(|v| v.strip_prefix("PATH="));
    let cgroup = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
    Some(Daemon {
        pid,
        program,
        words: words.to_vec(),
        unit: unit(&cgroup),
        path: path.map(str::to_owned),
        directory: fs::read_link(process.join("cwd")).unwrap_or_else(|_| PathBuf::from("/")),
    })
}

/// The strings in a file of `/proc`, each of which ends with a zero byte.
pub(crate) fn strings(path: &Path) -> Option<Vec<String>> {
    let bytes = bounded::read(&File::open(path).ok()?, MAX).ok()??;
    let text = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    let words = text.split(|b| *b == 0);
    Some(
        words
            .map(|w| String::from_utf8_lossy(w).into_owned())
            .collect(),
    )
}

/// The innermost service in the cgroup path of a process.
fn unit(cgroup: &str) -> Option<String> {
    let mut parts = cgroup.lines().flat_map(|line| line.split('/'));
    let legal = |c: char| c.is_ascii_alphanumeric() || "@:._-\\".contains(c);
    let unit = parts.rfind(|part| part.ends_with(".service") && part.chars().all(legal));
    unit.map(str::to_owned)
}

/// The value of the last of these options. They may have one dash or two, as Go's parsers accept
/// them.
#[must_use]
pub(crate) fn value<'w>(words: &'w [String], names: &[&str]) -> Option<&'w str> {
    let mut found = None;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let Some(option) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            continue;
        };
        match option.split_once('=') {
            Some((name, value)) if names.contains(&name) => found = Some(value),
            None if names.contains(&option) => found = rest.next().map(String::as_str).or(found),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_an_option_counts_in_every_spelling() {
        let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        for (line, expected) in [
            ("-c /a", Some("/a")),
            ("--config=/a -l debug --config /b", Some("/b")),
            ("-config=/a x", Some("/a")),
            ("--configuration /a", None),
            ("--config", None),
            ("-l debug", None),
        ] {
            assert_eq!(value(&words(line), &["c", "config"]), expected, "{line}");
        }
    }

    #[test]
    fn a_unit_is_read_from_the_cgroup() {
        let of = |text: &str| unit(text);
        assert_eq!(of("0::/system.slice/k3s.service\n").unwrap(), "k3s.service");
        assert_eq!(
            of("0::/system.slice/rke2-agent.service/x\n").unwrap(),
            "rke2-agent.service"
        );
        assert_eq!(of("0::/user.slice/session-1.scope\n"), None);
        assert_eq!(of("0::/a; rm -rf .service\n"), None);
    }

    #[test]
    fn this_process_is_found_by_its_name_and_no_other() {
        let own = strings(Path::new("/proc/self/cmdline")).unwrap();
        let name = own[0].rsplit('/').next().unwrap();
        let root = NodeRoot::new(Path::new("/")).unwrap();
        let found = daemons(&root, &[name]);
        let pid = std::process::id();
        let this = found.iter().find(|daemon| daemon.pid == pid).unwrap();
        assert_eq!(this.program, std::env::current_exe().unwrap());
        assert_eq!(this.words, own[1..]);
        assert!(daemons(&root, &["no-such-daemon"]).is_empty());
    }
}
