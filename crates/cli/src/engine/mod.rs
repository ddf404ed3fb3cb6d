//! How engines are told to call us: their configuration files, read and changed as text.
//!
//! Each engine has a file: which of its files has to change and how, and what its files say now.
//! These are pure, text in and text out. [`place`] reads and writes; [`memory`] remembers what was
//! changed, so that it can be taken back.

mod containerd;
mod crio;
pub mod diff;
mod docker;
mod files;
mod json;
pub mod judge;
pub mod layout;
pub mod memory;
pub mod pattern;
pub mod place;
mod plan;
mod podman;
pub mod running;
pub mod seen;
pub mod started;
mod tables;
pub mod unit;

use std::path::{Path, PathBuf};

pub use files::{look, look_at, written};
pub use plan::{Outcome, Step, configure, unconfigure};

use oci_apparmor::error::{Error, Kind, Result, quoted};
use oci_apparmor::settings::RuntimeKind;

/// What calls OCI runtimes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// containerd's CRI plugin, for Kubernetes.
    Containerd,
    /// CRI-O.
    Crio,
    /// podman.
    Podman,
    /// dockerd.
    Docker,
}

impl Engine {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Containerd, Self::Crio, Self::Podman, Self::Docker];

    /// The engine of this name on our command line.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.name() == name)
    }

    /// Its name on our command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Crio => "crio",
            Self::Podman => "podman",
            Self::Docker => "docker",
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Crio => "CRI-O",
            other => other.name(),
        }
    }

    /// The programs that show that it is installed.
    #[must_use]
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Containerd => &["/usr/bin/containerd", "/usr/local/bin/containerd"],
            Self::Crio => &["/usr/bin/crio", "/usr/local/bin/crio"],
            Self::Podman => &["/usr/bin/podman", "/usr/local/bin/podman"],
            Self::Docker => &[
                "/usr/bin/dockerd",
                "/usr/sbin/dockerd",
                "/usr/local/bin/dockerd",
            ],
        }
    }

    /// The file that is changed or made, unless another is named.
    #[must_use]
    pub fn configuration(self) -> &'static Path {
        Path::new(match self {
            Self::Containerd => "/etc/containerd/config.toml",
            Self::Crio => "/etc/crio/crio.conf.d/99-oci-apparmor.conf",
            Self::Podman => "/etc/containers/containers.conf.d/99-oci-apparmor.conf",
            Self::Docker => "/etc/docker/daemon.json",
        })
    }

    /// Whether what is changed or made at `path` is a drop-in of our own.
    #[must_use]
    pub fn takes_a_drop_in(self, path: &Path) -> bool {
        match self {
            Self::Crio | Self::Podman => true,
            Self::Containerd => layout::Way::of(path) == layout::Way::DropIn,
            Self::Docker => false,
        }
    }

    /// What a person has to run, so that the engine reads its configuration; `less`: something
    /// was taken out of it.
    #[must_use]
    pub fn restart(self, less: bool) -> Option<&'static str> {
        match self {
            Self::Containerd => Some("systemctl restart containerd"),
            Self::Crio => Some("systemctl restart crio"),
            // podman reads it at each call.
            Self::Podman => None,
            // At a reload, which stops nothing, docker 26 learns of runtimes, and forgets none.
            Self::Docker if less => Some("systemctl restart docker"),
            Self::Docker => Some("systemctl reload docker"),
        }
    }
}

/// A file of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Where it is.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

/// What somebody wants an engine to be told.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The runtime's name in the engine.
    pub name: String,
    /// The directory of our links, as the engine will see it.
    pub programs: PathBuf,
    /// The low-level runtime to stand for; none: that of the runtime that is wrapped.
    pub low_level: Option<RuntimeKind>,
    /// The low-level runtime that an engine without a configuration would take.
    pub usual: RuntimeKind,
    /// Whether it is for all containers, not only for those that ask for it by name.
    pub default: bool,
}

/// What has to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// The file, and what it has to be.
    file: Text,
    /// The program that the engine will call.
    program: PathBuf,
    /// The program that it calls now, as its configuration names it; none: it looks for one.
    replaces: Option<String>,
    /// The engine's default runtime until now, where a file that is changed names it.
    former_default: Option<String>,
    /// What the reader should know.
    notes: Vec<String>,
}

/// The largest name of a runtime, a Kubernetes `RuntimeClass` handler being a DNS label.
const MAX_NAME: usize = 63;

/// Whether an engine can call a runtime so.
///
/// # Errors
/// [`Kind::Usage`].
pub fn check_name(name: &str) -> Result<()> {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let refused = |why: &str| {
        Err(Error::new(
            Kind::Usage,
            format!("the runtime name {} {why}", quoted(name)),
        )
        .with_remedy("choose another, such as oci-apparmor"))
    };
    if name.is_empty()
        || name.len() > MAX_NAME
        || !name.starts_with(letter)
        || !name.ends_with(letter)
        || !name.chars().all(|c| letter(c) || c == '-')
    {
        return refused("is not one that a RuntimeClass can have (lower-case letters, digits, -)");
    }
    if RuntimeKind::named(name).is_some() {
        return refused("is that of a low-level runtime, which engines know as such");
    }
    Ok(())
}

/// Which low-level runtime to stand for in the place of `program`, what is called now.
///
/// # Errors
/// [`Kind::Policy`] where that would take something away from every container.
fn low_level(wish: &Wish, runtime: &str, program: Option<&str>) -> Result<RuntimeKind> {
    if let Some(chosen) = wish.low_level {
        return Ok(chosen);
    }
    let Some(program) = program.filter(|p| !p.is_empty()) else {
        return Ok(wish.usual);
    };
    let known = Path::new(program).file_name().and_then(|n| n.to_str());
    match known.and_then(RuntimeKind::named) {
        Some(known) => Ok(known),
        None if wish.default => Err(Error::new(
            Kind::Policy,
            format!(
                "the default runtime {} calls {}, which every container would then be made without",
                quoted(runtime),
                quoted(program)
            ),
        )
        .with_remedy(
            "let that program call ours as its own low-level runtime, or choose --low-level",
        )),
        None => Ok(wish.usual),
    }
}

/// Refuses a name that the engine already uses for something that is not ours.
fn free(wish: &Wish, program: Option<&str>, path: &Path) -> Result<()> {
    match program {
        Some(program) if !is_ours(program) => Err(Error::new(
            Kind::Policy,
            format!(
                "{} has a runtime {} already, which calls {}",
                path.display(),
                quoted(&wish.name),
                quoted(program)
            ),
        )
        .with_remedy("choose another --runtime-name; nothing was changed")),
        _ => Ok(()),
    }
}

/// Whether a program's path looks like ours, on whichever node it is.
#[must_use]
pub fn is_ours(program: &str) -> bool {
    program.contains("oci-apparmor")
}

/// Where podman and CRI-O look for hooks unless they are told otherwise (`default.go` in
/// containers/common, `config.go` in CRI-O).
const HOOKS: &str = "/usr/share/containers/oci/hooks.d";

/// The first line of the files that we make.
const HEAD: &str =
    "# Made by `oci-apparmor configure`; `oci-apparmor unconfigure` takes it away.\n";
