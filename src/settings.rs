//! `/etc/oci-apparmor/config.toml`: what this node demands, allows, and where things are.
//!
//! An absent file means the built-in defaults. A file that is there but unreadable, untrusted or
//! malformed refuses every container start: what the node demands is then unknown. Every key is
//! described in `config/config.toml`.

mod rule;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::apparmor::name::ProfileName;
use crate::child::Limits;
use crate::error::{Error, Kind, Result};
use crate::fs::trusted::{self, TrustError};

pub use rule::Rule;

/// Where the configuration is. No environment variable moves it: engines pass theirs on.
pub const PATH: &str = "/etc/oci-apparmor/config.toml";

/// More than any configuration needs.
const MAX: u64 = 1 << 20;

/// A low-level runtime: the program that makes the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
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

    /// The low-level runtime of this program name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }
}

/// What becomes of a container whose profile the kernel holds otherwise than its source says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDrift {
    /// The source is loaded again, in place.
    Reload,
    /// It is refused.
    Refuse,
}

/// Of which processes the label is verified once they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// Of none; what a checkpoint restores is verified all the same.
    Off,
    /// Of each container's first process.
    Start,
    /// Of that, and of what is exec'ed detached.
    All,
}

/// The node's configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Profiles that annotations may name; empty: those for containers (`decision::may_ask`).
    pub allow: Vec<Pattern>,
    /// Profiles that annotations may not name, with their children; stronger than `allow`.
    pub deny: Vec<Pattern>,
    /// Whether an annotation may turn confinement off.
    pub allow_unconfined: bool,
    /// Whether a profile that the engine names must enforce, too; its `unconfined` is then no
    /// request.
    pub require_enforcing: bool,
    /// The profile of containers for which nothing speaks.
    pub default_profile: Option<ProfileName>,
    /// Stacked under every container's own profile.
    pub floor: Option<ProfileName>,
    /// The profile of pod sandboxes.
    pub sandbox_profile: Option<ProfileName>,
    /// Namespaces in which `default_profile` and `floor` do not apply.
    pub exempt_namespaces: Vec<String>,
    /// Where profile sources are looked for, first match wins.
    pub profile_directories: Vec<AbsolutePath>,
    /// What is done where the kernel's content or mode is not the source's.
    pub on_drift: OnDrift,
    /// Of which processes the label is verified once they run.
    pub verify: Verify,
    /// Where compiled policy is kept.
    pub cache_directory: AbsolutePath,
    /// How large `oci-apparmor gc` lets the cache be, in MiB.
    pub cache_limit: u64,
    /// The profile compiler; unset: the usual places.
    pub parser: Option<AbsolutePath>,
    /// How long one run of the compiler may take, in seconds.
    pub parser_timeout: u64,
    /// How much memory one run of the compiler may use, in MiB.
    pub parser_memory: u64,
    /// Where the low-level runtimes are.
    pub runtimes: RuntimeSettings,
    /// What differs in some namespaces; the first match wins.
    pub rule: Vec<Rule>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            allow_unconfined: false,
            require_enforcing: false,
            default_profile: None,
            floor: None,
            sandbox_profile: None,
            exempt_namespaces: vec!["kube-system".to_owned()],
            profile_directories: paths(&[
                "/etc/oci-apparmor/profiles",
                "/etc/apparmor.d",
                "/etc/apparmor.d/containers",
            ]),
            on_drift: OnDrift::Reload,
            verify: Verify::Start,
            cache_directory: AbsolutePath(PathBuf::from("/var/cache/oci-apparmor")),
            cache_limit: 256,
            parser: None,
            parser_timeout: 30,
            parser_memory: 1024,
            runtimes: RuntimeSettings::default(),
            rule: Vec::new(),
        }
    }
}

/// The section `[runtimes]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeSettings {
    /// The one that `oci-apparmor-runtime` stands for; unset: the first that is found.
    pub default: Option<RuntimeKind>,
    /// Directories in which they are looked for, in this order; never `$PATH`.
    pub directories: Vec<AbsolutePath>,
    /// Whether a version with a known hole makes no container with a profile.
    pub refuse_vulnerable: bool,
    /// The program of runc; unset: looked for.
    pub runc: Option<AbsolutePath>,
    /// The program of crun; unset: looked for.
    pub crun: Option<AbsolutePath>,
    /// The program of youki; unset: looked for.
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
                // NixOS and Flatcar have none of these, or keep them read-only.
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

impl Settings {
    /// The configuration of this node, or the defaults where there is none.
    ///
    /// # Errors
    /// [`Kind::Configuration`] with file, line and reason.
    pub fn load() -> Result<Self> {
        Self::load_from(Path::new(PATH))
    }

    /// The configuration at `path`.
    ///
    /// # Errors
    /// As for [`Settings::load`].
    pub fn load_from(path: &Path) -> Result<Self> {
        match read(path)? {
            Some(bytes) => Self::parse(path, &bytes),
            None => Ok(Self::default()),
        }
    }

    /// Reads a configuration.
    ///
    /// # Errors
    /// As for [`Settings::load`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let refused = |line: usize, why: &str| {
            Error::new(
                Kind::Configuration,
                format!("{} line {line}: {why}", path.display()),
            )
            .with_remedy(format!(
                "correct it and run: oci-apparmor check --config {}",
                path.display()
            ))
        };
        let text = std::str::from_utf8(bytes)
            .map_err(|e| refused(line_of(bytes, e.valid_up_to()), "it is not UTF-8"))?;
        toml::from_str(text)
            .map_err(|e| refused(line_of(bytes, e.span().map_or(0, |s| s.start)), e.message()))
    }

    /// What one run of the compiler may use.
    #[must_use]
    pub fn parser_limits(&self) -> Limits {
        Limits {
            time: Duration::from_secs(self.parser_timeout),
            memory: self.parser_memory.saturating_mul(1 << 20),
        }
    }
}

/// The configuration of this node, read once.
#[derive(Debug)]
pub struct Configuration {
    /// All of it, if it can be used as a whole.
    pub settings: Result<Settings>,
    /// Where the OCI runtimes are, whatever else is wrong: a broken configuration must not block
    /// `kill`, `delete` or `exec`.
    pub runtimes: RuntimeSettings,
}

impl Configuration {
    /// Reads it.
    #[must_use]
    pub fn load() -> Self {
        Self::load_from(Path::new(PATH))
    }

    fn load_from(path: &Path) -> Self {
        let bytes = read(path);
        let settings = match &bytes {
            Ok(Some(bytes)) => Settings::parse(path, bytes),
            Ok(None) => Ok(Settings::default()),
            Err(e) => Err(e.clone()),
        };
        let runtimes = match (&settings, &bytes) {
            (Ok(settings), _) => settings.runtimes.clone(),
            (Err(_), Ok(Some(bytes))) => RuntimeSettings::salvaged(bytes),
            _ => RuntimeSettings::default(),
        };
        Self { settings, runtimes }
    }
}

/// The bytes of a configuration; `None` where there is none, so that the defaults hold.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match trusted::read(path, MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(TrustError::Missing) if !leads_nowhere(path) => Ok(None),
        Err(refusal) => Err(refusal
            .about(path, Kind::Configuration)
            .with_remedy("repair it or remove it; no container starts until then")),
    }
}

impl RuntimeSettings {
    /// The section of a configuration that cannot be used as a whole.
    fn salvaged(bytes: &[u8]) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Section {
            runtimes: RuntimeSettings,
        }
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        toml::from_str::<Section>(text)
            .or_else(|_| toml::from_str(&runtimes_lines(text)))
            .unwrap_or_default()
            .runtimes
    }
}

/// The lines of the section `[runtimes]`, from a text that need not be TOML elsewhere.
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

/// Whether a symbolic link on the way to `path` leads nowhere: somebody meant a file to be there.
fn leads_nowhere(path: &Path) -> bool {
    path.ancestors()
        .any(|step| step.is_symlink() && !step.exists())
}

/// The line of the byte at `offset`, counted from 1.
fn line_of(bytes: &[u8], offset: usize) -> usize {
    bytes
        .iter()
        .take(offset)
        .filter(|b| **b == b'\n')
        .count()
        .saturating_add(1)
}

/// Paths as a message lists them.
#[must_use]
pub fn listed(paths: &[AbsolutePath]) -> String {
    let paths: Vec<_> = paths
        .iter()
        .map(|p| p.as_path().display().to_string())
        .collect();
    paths.join(", ")
}

fn paths(list: &[&str]) -> Vec<AbsolutePath> {
    list.iter()
        .map(|p| AbsolutePath(PathBuf::from(p)))
        .collect()
}

/// A path that does not depend on anybody's working directory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PathBuf")]
pub struct AbsolutePath(PathBuf);

impl AbsolutePath {
    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl TryFrom<PathBuf> for AbsolutePath {
    type Error = String;
    fn try_from(path: PathBuf) -> std::result::Result<Self, String> {
        if path.is_absolute() {
            Ok(Self(path))
        } else {
            Err(format!("the path {path:?} must be absolute"))
        }
    }
}

/// A pattern over whole names, in the shell's spelling; `*` also matches `/`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(glob::Pattern);

impl Pattern {
    /// Whether the name matches.
    #[must_use]
    pub fn matches(&self, name: &ProfileName) -> bool {
        self.matches_text(name.as_str())
    }

    /// Whether a text that is no profile name matches.
    #[must_use]
    pub fn matches_text(&self, text: &str) -> bool {
        self.0.matches(text)
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;
    fn try_from(text: String) -> std::result::Result<Self, String> {
        match glob::Pattern::new(&text) {
            Ok(pattern) if !text.is_empty() => Ok(Self(pattern)),
            Ok(_) => Err("a pattern must not be empty".to_owned()),
            Err(e) => Err(format!("the pattern {text:?} is malformed: {}", e.msg)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings> {
        Settings::parse(Path::new("/etc/c.toml"), text.as_bytes())
    }

    #[test]
    fn the_shipped_file_is_the_defaults() {
        let shipped = include_str!("../config/config.toml");
        assert_eq!(
            format!("{:?}", parse(shipped).unwrap()),
            format!("{:?}", Settings::default())
        );
        // Uncommenting any key gives a file that is accepted, so each is spelled as it is read.
        let all: String = shipped
            .lines()
            .map(|l| match l.strip_prefix("#") {
                Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
                    rest
                }
                _ => l,
            })
            .flat_map(|l| [l, "\n"])
            .collect();
        let all = parse(&all).unwrap();
        assert!(
            all.default_profile.is_some() && all.floor.is_some() && all.runtimes.runc.is_some()
        );
    }

    #[test]
    fn errors_name_file_line_and_reason() {
        for (text, line, why) in [
            ("floor = \"f\"\nunknown = 1\n", 2, "unknown"),
            ("\nallow = [\"a\",\n \"[\"]\n", 2, "malformed"),
            ("\n\ndefault_profile = \"unconf\"\n", 3, "unconfined"),
            ("floor = \"a//&b\"", 1, "stack"),
            ("parser = \"sbin/p\"", 1, "absolute"),
            ("[runtimes]\ndefault = \"kata\"", 2, "kata"),
            ("a = \n", 1, ""),
            ("allow_unconfined = \"no\"", 1, "boolean"),
        ] {
            let e = parse(text).unwrap_err();
            assert_eq!(e.kind(), Kind::Configuration);
            let e = e.to_string();
            assert!(e.starts_with(&format!("/etc/c.toml line {line}: ")), "{e}");
            assert!(e.contains(why), "{e}");
        }
        assert!(Settings::parse(Path::new("/c"), b"a = 1\n\xff").is_err());
    }

    #[test]
    fn an_absent_file_is_the_defaults_and_a_link_to_nowhere_is_not() {
        let dir = tempfile::Builder::new().tempdir_in("/run").unwrap();
        let (absent, link) = (dir.path().join("absent"), dir.path().join("link"));
        assert!(Settings::load_from(&absent.join("c.toml")).is_ok());
        std::os::unix::fs::symlink(&absent, &link).unwrap();
        for path in [link.clone(), link.join("c.toml")] {
            assert_eq!(
                Settings::load_from(&path).unwrap_err().kind(),
                Kind::Configuration
            );
        }
    }

    #[test]
    fn patterns_match_whole_names() {
        let matches = |p: &str, n: &str| {
            Pattern::try_from(p.to_owned())
                .unwrap()
                .matches(&ProfileName::parse(n).unwrap())
        };
        assert!(matches("team-*", "team-a/b"));
        assert!(!matches("team-*", "xteam-a"));
        assert!(matches("p?", "p1") && !matches("p", "p1"));
    }
}
