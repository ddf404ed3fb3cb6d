//! Which file of an engine `configure` and `unconfigure` change, and what to run afterwards.

use std::path::{Path, PathBuf};

use crate::engine::config_kind::main_file;
use crate::engine::daemon::Daemon;
use crate::engine::distribution::Distribution;
use crate::engine::journal::Journal;
use crate::engine::kind::Engine;
use crate::engine::root::NodeRoot;
use crate::engine::{invocation, layout};
use oci_apparmor::error::{Error, Kind, Result};

/// What is to be changed.
#[derive(Debug)]
pub(crate) struct Target {
    /// The file, or the drop-in to make.
    pub(crate) main: PathBuf,
    /// The file that containerd reads; for other engines the same as `main`.
    pub(crate) reads: PathBuf,
    /// The distribution that the containerd belongs to.
    pub(crate) distribution: Distribution,
    /// The process that reads it.
    pub(crate) daemon: Option<Daemon>,
}

impl Target {
    /// The target of an engine: the named file, or the one that is in force here.
    ///
    /// # Errors
    /// Where there are several, or none that could be changed.
    pub(crate) fn of(engine: Engine, root: &NodeRoot, config: Option<&Path>) -> Result<Self> {
        if let Some(config) = config {
            return Self::named(engine, root, config);
        }
        match engine {
            Engine::Containerd => containerd(root),
            Engine::Docker => {
                let invocations = invocation::dockerd(root);
                let main = invocation::docker_configuration(&invocations);
                let main = main.unwrap_or_else(|| engine.configuration().to_owned());
                let daemon = invocations.into_iter().find_map(|one| one.daemon);
                Ok(Self::plain(main, daemon))
            }
            Engine::Crio | Engine::Podman => {
                Ok(Self::plain(engine.configuration().to_owned(), None))
            }
        }
    }

    /// The target of `unconfigure`: the remembered one, if there is one, else as above.
    pub(crate) fn for_unconfigure(
        engine: Engine,
        root: &NodeRoot,
        config: Option<&Path>,
    ) -> Result<Self> {
        if config.is_some() {
            return Self::of(engine, root, config);
        }
        let mut all = Journal::all(root)?;
        all.retain(|journal| journal.engine == engine.name());
        match all.as_slice() {
            [] => Self::of(engine, root, None),
            [one] => Self::named(engine, root, &one.configuration),
            several => Err(Error::new(
                Kind::Usage,
                format!("{} was configured in several files", engine.title()),
            )
            .with_remedy(choices(
                several.iter().map(|m| m.configuration.as_path()),
                "--all, or",
            ))),
        }
    }

    fn plain(main: PathBuf, daemon: Option<Daemon>) -> Self {
        let reads = main.clone();
        let distribution = Distribution::System;
        Self {
            main,
            reads,
            distribution,
            daemon,
        }
    }

    fn named(engine: Engine, root: &NodeRoot, config: &Path) -> Result<Self> {
        if !config.is_absolute() || config.file_name().is_none() {
            return Err(Error::new(
                Kind::Usage,
                format!(
                    "--config must be an absolute path of a file, not {}",
                    config.display()
                ),
            )
            .with_remedy("give the path that the engine sees, without the directory of --root"));
        }
        let main = config.to_owned();
        if engine != Engine::Containerd {
            let running = invocation::dockerd(root).into_iter().find_map(|s| s.daemon);
            return Ok(Self::plain(
                main,
                running.filter(|_| engine == Engine::Docker),
            ));
        }
        let reads = main_file(&main);
        let text = root.read(&reads).ok().flatten();
        let distribution = Distribution::of(&reads, text.as_ref().map(|t| t.text.as_str()));
        let mut running = running(root).into_iter();
        let daemon = running.find(|(_, file)| *file == reads).map(|(d, _)| d);
        Ok(Self {
            main,
            reads,
            distribution,
            daemon,
        })
    }

    /// The command that makes the engine read its configuration; none where it does so by itself.
    /// `less`: something was taken out of it.
    pub(crate) fn restart(&self, engine: Engine, root: &NodeRoot, less: bool) -> Option<String> {
        let unit = self.daemon.as_ref().and_then(|daemon| daemon.unit.clone());
        let unit = unit.as_deref().map(|u| u.trim_end_matches(".service"));
        match (engine, self.distribution) {
            (Engine::Containerd, Distribution::K0s) if self.main != self.reads => None,
            (Engine::Containerd, Distribution::Microk8s) => {
                Some("snap restart microk8s.daemon-containerd".to_owned())
            }
            (Engine::Containerd, distribution) => Some(match (unit, units_of(distribution)) {
                (Some(unit), _) => format!("systemctl restart {unit}"),
                (None, []) => format!("systemctl restart {}", engine.name()),
                (None, units) => by_units(root, units),
            }),
            (Engine::Docker, _) if unit.is_some_and(|u| u.starts_with("snap.docker.")) => {
                Some("snap restart docker".to_owned())
            }
            _ => engine.restart(less).map(str::to_owned),
        }
    }
}

impl Target {
    /// The systemd unit whose restart makes the engine read its configuration.
    pub(crate) fn unit(&self, engine: Engine, root: &NodeRoot) -> String {
        let running = self.daemon.as_ref().and_then(|daemon| daemon.unit.clone());
        if let Some(unit) = running {
            return unit;
        }
        let units = match engine {
            Engine::Containerd => units_of(self.distribution),
            _ => &[],
        };
        let enabled = units.iter().find(|unit| is_enabled(root, unit));
        match (enabled.or(units.first()), self.distribution) {
            (Some(unit), _) => (*unit).to_owned(),
            (None, Distribution::Microk8s) => "snap.microk8s.daemon-containerd".to_owned(),
            (None, _) => engine.name().to_owned(),
        }
    }
}

/// The services that start a distribution's containerd, the server's first.
fn units_of(distribution: Distribution) -> &'static [&'static str] {
    match distribution {
        Distribution::K3s => &["k3s", "k3s-agent"],
        Distribution::Rke2 => &["rke2-server", "rke2-agent"],
        Distribution::K0s => &["k0scontroller", "k0sworker"],
        Distribution::System | Distribution::Microk8s => &[],
    }
}

/// The command for the enabled one of several services.
fn by_units(root: &NodeRoot, units: &[&str]) -> String {
    match (units.iter().find(|unit| is_enabled(root, unit)), units) {
        (Some(unit), _) => format!("systemctl restart {unit}"),
        (None, [server, agent]) => {
            format!("systemctl restart {server} (on a node without control plane: {agent})")
        }
        (None, _) => format!("systemctl restart {}", units.join(" ")),
    }
}

fn is_enabled(root: &NodeRoot, unit: &str) -> bool {
    let link = format!("/etc/systemd/system/multi-user.target.wants/{unit}.service");
    root.has(Path::new(&link))
}

/// The containerds that run; none for an image.
fn running(root: &NodeRoot) -> Vec<(Daemon, PathBuf)> {
    match root.is_node() {
        true => invocation::containerds(root),
        false => Vec::new(),
    }
}

/// The containerd that Kubernetes uses: one that runs, else by the files on disk.
fn containerd(root: &NodeRoot) -> Result<Target> {
    let mut all: Vec<(Option<Daemon>, PathBuf)> = running(root)
        .into_iter()
        .map(|(daemon, reads)| (Some(daemon), reads))
        .collect();
    all.dedup_by(|a, b| a.1 == b.1);
    if all.is_empty() {
        let (distributions, system) = layout::on_disk(root);
        all.extend(
            distributions
                .iter()
                .map(|o| (None, o.main_file().to_owned())),
        );
        if system || all.is_empty() {
            all.push((None, Distribution::System.main_file().to_owned()));
        }
    } else if all.len() > 1 {
        // Docker's packages bring a containerd that runs beside that of a distribution.
        let of_a_distribution = |reads: &Path| {
            let text = root.read(reads).ok().flatten();
            Distribution::of(reads, text.as_ref().map(|t| t.text.as_str())) != Distribution::System
        };
        let distributions = all.iter().filter(|(_, r)| of_a_distribution(r)).count();
        if distributions == 1 {
            all.retain(|(_, reads)| of_a_distribution(reads));
        }
    }
    let journals = Journal::all(root)?;
    match all.as_slice() {
        [(daemon, reads)] => {
            let engine = Engine::Containerd.name();
            let remembered = journals.iter().find(|journal| {
                journal.engine == engine && main_file(&journal.configuration) == *reads
            });
            let main = match remembered {
                Some(journal) => journal.configuration.clone(),
                None => layout::to_change(root, reads)?,
            };
            let found = Target::named(Engine::Containerd, root, &main)?;
            let daemon = daemon.clone();
            Ok(Target { daemon, ..found })
        }
        several => {
            let mains: Vec<PathBuf> = several
                .iter()
                .map(|(_, reads)| layout::to_change(root, reads).unwrap_or_else(|_| reads.clone()))
                .collect();
            Err(Error::new(
                Kind::Usage,
                format!(
                    "there are several containerds on this node, which read {}",
                    several
                        .iter()
                        .map(|(_, reads)| reads.display().to_string())
                        .collect::<Vec<_>>()
                        .join(" and ")
                ),
            )
            .with_remedy(choices(
                mains.iter().map(PathBuf::as_path),
                "choose one with",
            )))
        }
    }
}

fn choices<'p>(files: impl Iterator<Item = &'p Path>, how: &str) -> String {
    let options: Vec<String> = files.map(|f| format!("--config {}", f.display())).collect();
    format!("{how} {}; nothing was changed", options.join(" or "))
}
