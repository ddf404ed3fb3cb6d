//! How an engine's daemon was started, and how its unit will start it: which file it reads, and
//! which options of its command line must not be in that file as well.

use std::path::{Path, PathBuf};

use crate::engine::daemon::{self, Daemon, daemons};
use crate::engine::kind::Engine;
use crate::engine::root::NodeRoot;
use crate::engine::unit;
use oci_apparmor::error::{Error, Kind, Result};

/// The command line of a daemon, of a process or in a unit.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    /// The process or the unit's file, for messages.
    pub(crate) origin: String,
    /// The arguments, without the program's name.
    pub(crate) words: Vec<String>,
    /// The process; `None` for a unit.
    pub(crate) daemon: Option<Daemon>,
}

/// The unit of dockerd. docker's snap has another one; all its options are in its own file.
const DOCKER_UNIT: &str = "docker.service";

/// How dockerd was started, if it runs on this node, and how its unit starts it.
#[must_use]
pub(crate) fn dockerd(root: &NodeRoot) -> Vec<Invocation> {
    let running = root.is_node().then(|| daemons(root, &["dockerd"]));
    let running = running.into_iter().flatten().map(|daemon| Invocation {
        origin: format!("process {}", daemon.pid),
        words: daemon.words.clone(),
        daemon: Some(daemon),
    });
    let units = unit::command_lines(root, DOCKER_UNIT).into_iter();
    let units = units.map(|command| Invocation {
        origin: root.on_host(&command.file).display().to_string(),
        words: command.words,
        daemon: None,
    });
    running.chain(units).collect()
}

/// The configuration file of the running dockerd, or else the one that its unit names.
#[must_use]
pub(crate) fn docker_configuration(invocations: &[Invocation]) -> Option<PathBuf> {
    let named = |invocation: &Invocation| match &invocation.daemon {
        Some(daemon) => daemon.file(&["config-file"]),
        None => daemon::value(&invocation.words, &["config-file"]).map(PathBuf::from),
    };
    invocations
        .iter()
        .find_map(named)
        .filter(|path| path.is_absolute())
}

/// Refuses a default runtime in `file` if the command line of dockerd has one as well: dockerd would
/// not start (`findConfigurationConflicts` in moby). `has_default`: the file has a default runtime.
/// Runtimes in both are merged.
///
/// # Errors
/// [`Kind::Policy`].
pub(crate) fn no_conflict(
    invocations: &[Invocation],
    file: &Path,
    has_default: bool,
) -> Result<()> {
    const FLAG: &str = "default-runtime";
    let conflict = invocations.iter().find_map(|invocation| {
        let value = daemon::value(&invocation.words, &[FLAG])?;
        Some((invocation, value)).filter(|_| has_default)
    });
    let Some((invocation, value)) = conflict else {
        return Ok(());
    };
    Err(Error::new(
        Kind::Policy,
        format!(
            "dockerd is started with --{FLAG}={value} ({}), so it does not start if {} has {FLAG} \
             as well",
            invocation.origin,
            file.display()
        ),
    )
    .with_remedy(
        "remove it from the command line (run: systemctl edit --full docker), restart docker, and \
         run the command again; nothing was changed",
    ))
}

/// The containerds that run on this node, with the main file of each. Those that dockerd starts do
/// not count.
#[must_use]
pub(crate) fn containerds(root: &NodeRoot) -> Vec<(Daemon, PathBuf)> {
    let usual = Engine::Containerd.configuration();
    let found = daemons(root, &["containerd"])
        .into_iter()
        .filter_map(|daemon| {
            // Commands such as `containerd config dump` end at once.
            if has_subcommand(&daemon.words) {
                return None;
            }
            let main = daemon.file(&["c", "config"]);
            let main = main.unwrap_or_else(|| usual.to_owned());
            Some((daemon, current_revision(main)))
        });
    // dockerd writes a file for the containerd that it starts, which has no CRI plugin.
    let dockers =
        |path: &Path| path.starts_with("/run/docker") || path.starts_with("/var/run/docker");
    found.filter(|(_, main)| !dockers(main)).collect()
}

/// The path of a snap's file below `current`. A snap is started with the path of its revision, which
/// the next revision does not have.
fn current_revision(main: PathBuf) -> PathBuf {
    let mut parts = main.components();
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
        _ => main,
    }
}

/// Whether the arguments of containerd have a subcommand: a word that is neither an option nor the
/// value of one.
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
        let start = |line: &str| Invocation {
            origin: "u".to_owned(),
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
