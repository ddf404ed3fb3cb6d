//! How an engine's daemon is started, now and at its next start: which file it reads, and what its
//! command line says that this file must not say too.

use std::path::{Path, PathBuf};

use crate::engine::place::Place;
use crate::engine::running::{self, Daemon, daemons};
use crate::engine::{Engine, unit};
use oci_apparmor::error::{Error, Kind, Result};

/// One command line, and who has it.
#[derive(Debug, Clone)]
pub struct Start {
    /// The process or the file, for people.
    pub by: String,
    /// The words behind the program's name.
    pub words: Vec<String>,
    /// The process, where it is one.
    pub daemon: Option<Daemon>,
}

/// The unit of dockerd; the one of docker's snap has all in a file of its own.
const DOCKER_UNIT: &str = "docker.service";

/// How dockerd runs on this node, and how its unit starts it.
#[must_use]
pub fn dockerd(place: &Place) -> Vec<Start> {
    let running = place.is_node().then(|| daemons(&["dockerd"]));
    let running = running.into_iter().flatten().map(|daemon| Start {
        by: format!("dockerd, process {}", daemon.pid),
        words: daemon.words.clone(),
        daemon: Some(daemon),
    });
    let units = unit::commands(place, DOCKER_UNIT).into_iter();
    let units = units.map(|command| Start {
        by: place.here(&command.file).display().to_string(),
        words: command.words,
        daemon: None,
    });
    running.chain(units).collect()
}

/// The configuration of the dockerd that runs, or else that its unit names.
#[must_use]
pub fn docker_configuration(starts: &[Start]) -> Option<PathBuf> {
    let named = |start: &Start| match &start.daemon {
        Some(daemon) => daemon.file(&["config-file"]),
        None => running::value(&start.words, &["config-file"]).map(PathBuf::from),
    };
    starts
        .iter()
        .find_map(named)
        .filter(|path| path.is_absolute())
}

/// Refuses where dockerd would not start again: what is on its command line must not be in its
/// file as well (`findConfigurationConflicts` in moby). Runtimes are the exception, and are merged.
///
/// # Errors
/// [`Kind::Policy`].
pub fn no_conflict(starts: &[Start], file: &Path, has_default: bool) -> Result<()> {
    const FLAG: &str = "default-runtime";
    let conflict = starts.iter().find_map(|start| {
        let value = running::value(&start.words, &[FLAG])?;
        Some((start, value)).filter(|_| has_default)
    });
    let Some((start, value)) = conflict else {
        return Ok(());
    };
    Err(Error::new(
        Kind::Policy,
        format!(
            "dockerd is started with --{FLAG}={value} ({}), and does not start where {} has \
             {FLAG} as well",
            start.by,
            file.display()
        ),
    )
    .with_remedy(
        "take it off the command line (systemctl edit --full docker), restart docker, and try \
         again; nothing was changed",
    ))
}

/// The containerds of this node that are not docker's own, with the file that each reads.
#[must_use]
pub fn containerds() -> Vec<(Daemon, PathBuf)> {
    let usual = Engine::Containerd.configuration();
    let found = daemons(&["containerd"]).into_iter().filter_map(|daemon| {
        // `containerd config dump` and others that are over in a moment.
        if has_subcommand(&daemon.words) {
            return None;
        }
        let reads = daemon.file(&["c", "config"]);
        let reads = reads.unwrap_or_else(|| usual.to_owned());
        Some((daemon, of_the_snap(reads)))
    });
    // dockerd makes a file for the one that it starts, which has no CRI plugin.
    let dockers =
        |path: &Path| path.starts_with("/run/docker") || path.starts_with("/var/run/docker");
    found.filter(|(_, reads)| !dockers(reads)).collect()
}

/// A snap is run by the directory of its revision, which the next one does not have.
fn of_the_snap(reads: PathBuf) -> PathBuf {
    let mut parts = reads.components();
    let snap: PathBuf = parts.by_ref().take(4).collect();
    let revision = parts.next().map(|part| snap.join(part));
    let current = snap.join("current");
    match revision {
        Some(revision)
            if snap.starts_with("/var/snap")
                && std::fs::canonicalize(&current).is_ok_and(|real| real == revision) =>
        {
            current.join(parts.as_path())
        }
        _ => reads,
    }
}

/// Whether a word stands there that is no option's value (all of containerd's that have one).
fn has_subcommand(words: &[String]) -> bool {
    const VALUED: [&str; 8] = [
        "c",
        "config",
        "a",
        "address",
        "l",
        "log-level",
        "root",
        "state",
    ];
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match word.strip_prefix("--").or_else(|| word.strip_prefix('-')) {
            None => return true,
            Some(option) if VALUED.contains(&option) => {
                rest.next();
            }
            Some(_) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_daemon_has_no_subcommand() {
        for (line, has) in [
            ("", false),
            ("-c /a -a /s --state /x --root=/y", false),
            ("--config=/a --log-level info", false),
            ("config dump", true),
            ("-c /a config dump", true),
            ("--version", false),
        ] {
            assert_eq!(has_subcommand(&words(line)), has, "{line}");
        }
    }

    #[test]
    fn a_default_runtime_on_both_sides_keeps_dockerd_from_starting() {
        let start = |line: &str| Start {
            by: "u".to_owned(),
            words: words(line),
            daemon: None,
        };
        let file = Path::new("/etc/docker/daemon.json");
        let with = [start("-H fd://"), start("--default-runtime a")];
        assert!(no_conflict(&with, file, true).is_err());
        assert!(no_conflict(&with, file, false).is_ok());
        assert!(no_conflict(&[start("--add-runtime a=/b")], file, true).is_ok());
        assert_eq!(
            docker_configuration(&[start("-H fd://"), start("--config-file=/d/x.json")]),
            Some(PathBuf::from("/d/x.json"))
        );
    }
}
