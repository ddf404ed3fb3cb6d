//! Whether the wrapper calls the same program that the engine called before.
//!
//! A node can have several of one kind: CRI-O brings `/usr/libexec/crio/crun`, an administrator
//! `/usr/local/bin/runc`, k3s a runc of its own. They differ in version and in how they were built,
//! so none of them may replace another unnoticed.

use std::path::{Path, PathBuf};

use crate::engine::distribution::Distribution;
use crate::engine::kind::Engine;
use crate::engine::root::NodeRoot;
use crate::engine::target::Target;
use crate::engine::wrapper;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::runtime::locate;
use oci_apparmor::settings::{self, RuntimeKind, RuntimeSettings, Settings};

/// Where services look for programs, unless their unit says otherwise (systemd's default).
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where podman looks for runc and crun (`default.go` in containers/common).
const PODMAN: [&str; 8] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/sbin",
    "/bin",
    "/usr/lib/cri-o-runc/sbin",
    "/run/current-system/sw/bin",
];

/// The program that an engine calls now.
pub(crate) struct CurrentRuntime<'t> {
    /// The engine.
    pub(crate) engine: Engine,
    /// Its configuration.
    pub(crate) target: &'t Target,
    /// As its configuration says; none: the engine searches for one.
    pub(crate) configured: Option<&'t str>,
}

impl CurrentRuntime<'_> {
    /// Compares it with the program that the wrapper at `ours` calls; returns notes about it.
    ///
    /// # Errors
    /// [`Kind::Policy`] where it is another program, not a configured one; [`Kind::NotFound`] where
    /// there is none.
    pub(crate) fn same_program(&self, root: &NodeRoot, ours: &Path) -> Result<Vec<String>> {
        let name = ours
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        let Some(kind) = RuntimeKind::named(name) else {
            return Ok(Vec::new());
        };
        let title = match self.engine {
            Engine::Containerd => self.target.distribution.title(),
            other => other.title(),
        };
        let settings = low_level(root)?;
        let engines = self.program(root, kind);
        if let Found::Another = engines {
            return Ok(Vec::new());
        }
        let line = |program: &str| {
            format!(
                "add {name} = \"{program}\" to the section [runtimes] of {}",
                root.on_host(Path::new(settings::PATH)).display()
            )
        };
        let wrappers = wrappers(root, kind, &settings);
        match (engines, wrappers) {
            (Found::Is(_, engines), Ok(Some(wrappers))) if engines == wrappers => Ok(Vec::new()),
            (Found::Is(shown, _), Ok(Some(wrappers))) if settings.program(kind).is_some() => {
                Ok(vec![format!(
                    "{title} called {}; the wrapper calls {}, as runtimes.{name} says",
                    shown.display(),
                    wrappers.display()
                )])
            }
            (Found::Is(shown, _), Ok(Some(wrappers))) => Err(Error::new(
                Kind::Policy,
                format!(
                    "{title} calls {}, but the wrapper would call {}",
                    shown.display(),
                    wrappers.display()
                ),
            )
            .with_remedy(format!(
                "{}; nothing was changed",
                line(&shown.to_string_lossy())
            ))),
            (Found::Is(shown, _), Ok(None)) => Err(Error::new(
                Kind::NotFound,
                format!(
                    "the wrapper would not find {}, which {title} calls",
                    shown.display()
                ),
            )
            .with_remedy(format!(
                "{}; nothing was changed",
                line(&shown.to_string_lossy())
            ))),
            (_, Err(e)) => Err(e.about("the wrapper would find no runtime to call")),
            (_, Ok(None)) if root.is_node() => Err(Error::new(
                Kind::NotFound,
                format!(
                    "the wrapper would find no runtime to call: there is no {name} in {}",
                    settings::listed(&settings.directories)
                ),
            )
            .with_remedy(format!(
                "install it, or {}; nothing was changed",
                line("PROGRAM")
            ))),
            (Found::Unknown(shown), _) => {
                let shown = shown.map_or_else(|| "PROGRAM".to_owned(), |p| p.display().to_string());
                Ok(vec![format!(
                    "it is unknown which {name} {title} calls; the wrapper calls the first one that \
                     it finds; if that is another one, {}",
                    line(&shown)
                )])
            }
            (Found::Another, _) => Ok(Vec::new()),
        }
    }

    /// The program of this kind that the engine calls.
    fn program(&self, root: &NodeRoot, kind: RuntimeKind) -> Found {
        let configured = self
            .configured
            .filter(|program| !wrapper::is_named(program));
        let path = configured.map(Path::new);
        let named = path.and_then(Path::file_name).and_then(|n| n.to_str());
        if named.is_some_and(|named| named != kind.name()) {
            // --low-level asks for another kind.
            return Found::Another;
        }
        let found = match path {
            Some(path) if path.is_absolute() => {
                return match root.program(path) {
                    Ok(real) => Found::Is(path.to_owned(), real),
                    Err(_) => Found::Unknown(Some(path.to_owned())),
                };
            }
            _ => self.search_path().into_iter().find_map(|directory| {
                let path = directory.join(kind.name());
                root.program(&path).ok().map(|real| (path, real))
            }),
        };
        match found {
            Some((path, real)) => Found::Is(path, real),
            None => Found::Unknown(self.own_directory().map(|d| Path::new(d).join(kind.name()))),
        }
    }

    /// Where a Kubernetes distribution has its own programs.
    fn own_directory(&self) -> Option<&'static str> {
        match self.target.distribution {
            Distribution::K3s => Some("/var/lib/rancher/k3s/data/current/bin"),
            Distribution::Rke2 => Some("/var/lib/rancher/rke2/bin"),
            Distribution::K0s => Some("/var/lib/k0s/bin"),
            Distribution::Microk8s => Some("/snap/microk8s/current/bin"),
            Distribution::System => None,
        }
    }

    /// Where the engine looks for programs.
    fn search_path(&self) -> Vec<PathBuf> {
        if self.engine == Engine::Podman {
            return PODMAN.iter().map(PathBuf::from).collect();
        }
        // The shim, which calls the runtime, inherits it from containerd.
        let daemon = self.target.daemon.as_ref().and_then(|d| d.path.as_deref());
        let own = self.own_directory().filter(|_| daemon.is_none());
        let path = daemon.unwrap_or(USUAL_PATH);
        let all = own.into_iter().chain(path.split(':')).map(PathBuf::from);
        all.filter(|path| path.is_absolute()).collect()
    }
}

/// The program that an engine calls.
enum Found {
    /// This one, with its real path.
    Is(PathBuf, PathBuf),
    /// Not found, though it may be named.
    Unknown(Option<PathBuf>),
    /// One of another kind than the wrapper is to call.
    Another,
}

/// Where the low-level runtimes are, as the node says.
fn low_level(root: &NodeRoot) -> Result<RuntimeSettings> {
    if root.is_node() {
        return Ok(Settings::load()?.runtimes);
    }
    let path = Path::new(settings::PATH);
    match root.read(path)? {
        Some(file) => Ok(Settings::parse(path, file.text.as_bytes())?.runtimes),
        None => Ok(RuntimeSettings::default()),
    }
}

/// The real path of the program that the wrapper calls.
fn wrappers(
    root: &NodeRoot,
    kind: RuntimeKind,
    settings: &RuntimeSettings,
) -> Result<Option<PathBuf>> {
    if root.is_node() {
        let located = locate::program(kind, settings)?;
        return Ok(located.map(|located| located.program));
    }
    let configured = settings.program(kind).map(Path::to_owned);
    let found = settings
        .directories
        .iter()
        .map(|d| d.as_path().join(kind.name()));
    let mut all = configured.into_iter().chain(found);
    Ok(all.find_map(|path| root.program(&path).ok()))
}
