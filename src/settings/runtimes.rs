//! `[runtimes]`: which OCI runtimes there are, and where.

use std::path::Path;

use crate::settings::entries::{Read, TomlEntry, boolean, document, each, list, path, table, word};
use crate::settings::values::{AbsolutePath, paths};

/// An OCI runtime that this program can stand for: it makes the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeKind {
    /// opencontainers/runc, 1.1 and later.
    Runc,
    /// containers/crun.
    Crun,
    /// youki-dev/youki.
    Youki,
}

impl RuntimeKind {
    /// All of them, in the order in which they are looked for.
    pub const ALL: [Self; 3] = [Self::Runc, Self::Crun, Self::Youki];

    /// The name of its program.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Youki => "youki",
        }
    }

    /// The runtime whose program has this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }
}

/// The section `[runtimes]`.
#[derive(Debug, Clone)]
pub struct RuntimeSettings {
    /// What `oci-apparmor-runtime` stands for; unset: the first runtime that is found.
    pub default: Option<RuntimeKind>,
    /// Where the runtimes are looked for, in this order; never in `$PATH`.
    pub directories: Vec<AbsolutePath>,
    /// Whether a version with a known vulnerability is refused for containers with a profile.
    pub refuse_vulnerable: bool,
    /// The program of runc; unset: it is looked for.
    pub runc: Option<AbsolutePath>,
    /// The program of crun; unset: it is looked for.
    pub crun: Option<AbsolutePath>,
    /// The program of youki; unset: it is looked for.
    pub youki: Option<AbsolutePath>,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self {
            default: None,
            directories: paths(&[
                "/usr/bin",
                "/usr/sbin",
                "/usr/local/bin",
                "/usr/local/sbin",
                "/usr/libexec/crio",
                "/usr/lib/cri-o-runc/sbin",
                // Of NixOS and Flatcar, where the others are missing or read-only.
                "/run/current-system/sw/bin",
                "/opt/bin",
            ]),
            refuse_vulnerable: false,
            runc: None,
            crun: None,
            youki: None,
        }
    }
}

impl RuntimeSettings {
    /// The configured program of `runtime`.
    #[must_use]
    pub fn program(&self, runtime: RuntimeKind) -> Option<&Path> {
        match runtime {
            RuntimeKind::Runc => self.runc.as_ref(),
            RuntimeKind::Crun => self.crun.as_ref(),
            RuntimeKind::Youki => self.youki.as_ref(),
        }
        .map(AbsolutePath::as_path)
    }
}

impl RuntimeSettings {
    /// Reads the section.
    pub(super) fn read(section: &TomlEntry<'_>) -> Read<Self> {
        let known = [
            "default",
            "directories",
            "refuse_vulnerable",
            "runc",
            "crun",
            "youki",
        ];
        let kinds = RuntimeKind::ALL.map(|kind| (kind.name(), kind));
        let mut it = Self::default();
        each(
            table(section, "RuntimeSettings")?,
            &known,
            &mut |key, value| {
                match key {
                    "default" => it.default = Some(word(value, &kinds)?),
                    "directories" => it.directories = list(value, path)?,
                    "refuse_vulnerable" => it.refuse_vulnerable = boolean(value)?,
                    "runc" => it.runc = Some(path(value)?),
                    "crun" => it.crun = Some(path(value)?),
                    "youki" => it.youki = Some(path(value)?),
                    _ => return Ok(false),
                }
                Ok(true)
            },
        )?;
        Ok(it)
    }

    /// The section `[runtimes]` of a text, whatever else is in it.
    fn of_text(text: &str) -> Read<Self> {
        let document = document(text)?;
        let section = document.iter().find(|(key, _)| key.get_ref() == "runtimes");
        match section {
            Some((_, value)) => Self::read(value),
            None => Ok(Self::default()),
        }
    }

    /// The section, taken from a configuration that cannot be used as a whole.
    pub(super) fn salvaged(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        Self::of_text(text)
            .or_else(|_| Self::of_text(&runtimes_lines(text)))
            .unwrap_or_default()
    }
}

/// The lines of the section `[runtimes]`; the rest of the text need not be TOML.
fn runtimes_lines(text: &str) -> String {
    let is_header = |line: &&str| line.trim_start().starts_with('[');
    let mut lines = text.lines().skip_while(|line| line.trim() != "[runtimes]");
    let header = lines.next().unwrap_or_default();
    let rest = lines.take_while(|line| !is_header(line));
    [header]
        .into_iter()
        .chain(rest)
        .flat_map(|line| [line, "\n"])
        .collect()
}
