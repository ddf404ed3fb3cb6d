//! The containers that were made through the wrapper and still need it: engines call it by its
//! path for each of them until it is deleted.
//!
//! Containers with a profile have a record. The others are found through their engines' processes:
//! conmon has the runtime's path on its command line, and containerd's shim writes it into each
//! bundle.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;

use crate::engine::daemon::{strings, value};
use crate::engine::kind::Engine;
use crate::engine::root::NodeRoot;
use crate::engine::wrapper::is_meant;
use oci_apparmor::containers::record::Record;
use oci_apparmor::containers::records;
use oci_apparmor::containers::status::ContainerStatus;
use oci_apparmor::error::Result;
use oci_apparmor::fs::bounded;

/// A shim's file is a path or a few options.
const MAX_FILE: u64 = 64 << 10;

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LiveContainer {
    id: String,
    /// Whether it has no record.
    unrecorded: bool,
}

impl LiveContainer {
    /// For people.
    pub(crate) fn shown(&self) -> String {
        match self.unrecorded {
            true => format!("{} (without a profile)", self.id),
            false => self.id.clone(),
        }
    }
}

/// Those of an engine.
///
/// # Errors
/// Where records cannot be listed.
pub(crate) fn of(root: &NodeRoot, engine: Engine) -> Result<Vec<LiveContainer>> {
    let all = all(root)?.into_iter();
    Ok(all
        .filter(|(of, _)| of.contains(&engine))
        .map(|(_, container)| container)
        .collect())
}

/// All, each with the engines that it may belong to.
///
/// # Errors
/// Where records cannot be listed.
pub(crate) fn all(root: &NodeRoot) -> Result<Vec<(Vec<Engine>, LiveContainer)>> {
    let mut found: BTreeMap<String, (Vec<Engine>, bool)> = BTreeMap::new();
    for (engine, id) in of_processes(root) {
        found.insert(id, (vec![engine], true));
    }
    for record in records::all()? {
        if ContainerStatus::of(&record) == ContainerStatus::Gone {
            continue;
        }
        let entry = found.entry(record.id.clone());
        entry.or_insert_with(|| (concerns(&record), false)).1 = false;
    }
    let container = |(id, (engines, unrecorded))| (engines, LiveContainer { id, unrecorded });
    Ok(found.into_iter().map(container).collect())
}

/// The engines that a container may be one of: containerd and docker have roots of their own, the
/// others take those of the low-level runtimes.
fn concerns(record: &Record) -> Vec<Engine> {
    let root = record.root.to_string_lossy();
    // containerd: ROOT/runc/NAMESPACE; docker: EXEC-ROOT/runtime-NAME/moby.
    if root.contains("/runtime-") {
        vec![Engine::Docker]
    } else if root.contains("containerd") {
        vec![Engine::Containerd]
    } else {
        vec![Engine::Crio, Engine::Podman]
    }
}

/// The containers whose engines' processes name the wrapper.
fn of_processes(root: &NodeRoot) -> Vec<(Engine, String)> {
    let namespace = |process: &Path| fs::read_link(process.join("ns/pid")).ok();
    let own = root.namespace("pid");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let process = entry.path();
        let numbered = entry
            .file_name()
            .to_string_lossy()
            .starts_with(|c: char| c.is_ascii_digit());
        if !numbered {
            continue;
        }
        let words = strings(&process.join("cmdline")).unwrap_or_default();
        let Some((name, words)) = words.split_first() else {
            continue;
        };
        let name = name.rsplit('/').next().unwrap_or_default();
        if !name.starts_with("conmon") && !name.starts_with("containerd-shim-runc-") {
            continue;
        }
        // A process in a container can have any name.
        if own.is_none() || namespace(&process) != own {
            continue;
        }
        match name.starts_with("conmon") {
            true => found.extend(of_conmon(words)),
            false => found.extend(of_shim(&process, words)),
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    found.dedup();
    found
}

/// The container of a conmon. podman's has a command to run at the end, CRI-O's has none.
fn of_conmon(words: &[String]) -> Option<(Engine, String)> {
    const OF_THE_COMMAND: &str = "--exit-command-arg";
    // The words of that command look like options of conmon's.
    let behind = [""].into_iter().chain(words.iter().map(String::as_str));
    let own = words.iter().zip(behind);
    let own = own.filter(|(word, before)| *word != OF_THE_COMMAND && *before != OF_THE_COMMAND);
    let words: Vec<String> = own.map(|(word, _)| word.clone()).collect();
    let words = words.as_slice();
    let runtime = value(words, &["r", "runtime"])?;
    if !is_meant(runtime) {
        return None;
    }
    let id = value(words, &["c", "cid", "runtime-dir"])?;
    let engine = match value(words, &["exit-command"]) {
        Some(_) => Engine::Podman,
        None => Engine::Crio,
    };
    Some((engine, shown(id)))
}

/// The containers of a shim, by the bundles beside its own: it serves all containers of a pod.
fn of_shim(process: &Path, words: &[String]) -> Vec<(Engine, String)> {
    let engine = match value(words, &["namespace"]) {
        Some("moby") => Engine::Docker,
        _ => Engine::Containerd,
    };
    let own = fs::metadata(process).is_ok_and(|meta| meta.uid() == 0);
    let bundle = fs::read_link(process.join("cwd"));
    let Some(bundles) = bundle
        .ok()
        .filter(|_| own)
        .and_then(|b| b.parent().map(Path::to_owned))
    else {
        return Vec::new();
    };
    let entries = fs::read_dir(bundles).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| calls_us(&entry.path()));
    ours.map(|entry| (engine, shown(&entry.file_name().to_string_lossy())))
        .collect()
}

/// Whether a shim's bundle names the wrapper: in `runtime`, or in its options.
fn calls_us(bundle: &Path) -> bool {
    let text = |name: &str| {
        let file = File::open(bundle.join(name)).ok()?;
        String::from_utf8(bounded::read(&file, MAX_FILE).ok()??).ok()
    };
    let named = text("runtime").is_some_and(|path| !path.is_empty() && is_meant(path.trim()));
    named
        || text("options.json").is_some_and(|options| {
            let options: Value = serde_json::from_str(&options).unwrap_or_default();
            let name = options.get("binary_name").or(options.get("BinaryName"));
            name.and_then(Value::as_str).is_some_and(is_meant)
        })
}

/// An id as it may be printed.
fn shown(id: &str) -> String {
    let name = id.rsplit('/').next().unwrap_or_default();
    name.chars()
        .filter(|c| c.is_ascii_alphanumeric() || "_+.-".contains(*c))
        .take(255)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn conmons_tell_whose_they_are() {
        let podman = words(
            "--api-version 1 -c abc -u abc -r /usr/local/libexec/oci-apparmor/crun -b /b --exit-command /usr/bin/podman --exit-command-arg --root --exit-command-arg /r --exit-command-arg --runtime --exit-command-arg crun --exit-command-arg container --exit-command-arg cleanup --exit-command-arg abc",
        );
        assert_eq!(of_conmon(&podman), Some((Engine::Podman, "abc".to_owned())));
        let crio = words(
            "-b /b -c abc --exit-dir /var/run/crio/exits -r /usr/local/libexec/oci-apparmor/crun",
        );
        assert_eq!(of_conmon(&crio), Some((Engine::Crio, "abc".to_owned())));
        assert_eq!(of_conmon(&words("-c abc -r /usr/bin/crun")), None);
    }

    #[test]
    fn bundles_tell_which_runtime_their_shim_calls() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        assert!(!calls_us(dir.path()));
        put("runtime", "runc");
        put("options.json", r#"{"binary_name":"/usr/bin/runc"}"#);
        assert!(!calls_us(dir.path()));
        put(
            "options.json",
            r#"{"binary_name":"/usr/libexec/oci-apparmor/runc"}"#,
        );
        assert!(calls_us(dir.path()));
        put("options.json", "{");
        put("runtime", "/usr/libexec/oci-apparmor/runc\n");
        assert!(calls_us(dir.path()));
    }
}
