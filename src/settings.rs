//! `/etc/oci-apparmor/config.toml`: what this node demands, allows, and where things are.
//!
//! Without the file, the defaults hold. A file that is unreadable, untrusted or malformed refuses
//! every container start, because what the node demands is then unknown. `config/config.toml`
//! describes every key.

mod cluster;
mod entries;
mod rule;
mod runtimes;
mod values;

use std::path::Path;
use std::time::Duration;

use crate::apparmor::name::ProfileName;
use crate::child::Limits;
use crate::error::{Error, Kind, Result};
use crate::fs::trusted::{self, CheckedDirectories, TrustError};

use entries::{Read, boolean, document, each, list, number, path, pattern, profile, string, word};

pub use cluster::{CLUSTER_PROFILES, ClusterSettings};
pub use rule::Rule;
pub use runtimes::{RuntimeKind, RuntimeSettings};
use values::paths;
pub use values::{AbsolutePath, Pattern, listed};

/// Where the configuration is. No environment variable changes that: the environment comes from
/// the engine.
pub const PATH: &str = "/etc/oci-apparmor/config.toml";

/// More than any configuration needs.
const MAX: u64 = 1 << 20;

/// What happens where the loaded profile differs from its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDrift {
    /// The source is loaded again.
    Reload,
    /// The container is refused.
    Refuse,
}

/// Which processes have their label verified once they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// None, but for those of a restored checkpoint.
    Off,
    /// The first process of each container.
    Start,
    /// That, and processes of `exec --detach`.
    All,
}

/// The node's configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Profiles that annotations may name; empty: the rule of `decision::may_ask`.
    pub allow: Vec<Pattern>,
    /// Profiles that annotations may not name, nor their children; stronger than `allow`.
    pub deny: Vec<Pattern>,
    /// Whether an annotation may ask for `unconfined`.
    pub allow_unconfined: bool,
    /// Whether a profile that the engine names must enforce, too. Its `unconfined` then counts as
    /// no request.
    pub require_enforcing: bool,
    /// The profile of containers for which neither an annotation nor the engine names one.
    pub default_profile: Option<ProfileName>,
    /// A profile that is stacked under the own profile of every container.
    pub floor: Option<ProfileName>,
    /// The profile of pod sandboxes for which the engine names none.
    pub sandbox_profile: Option<ProfileName>,
    /// Namespaces in which `default_profile` and `floor` do not apply.
    pub exempt_namespaces: Vec<String>,
    /// Where the sources of profiles are looked for; the first match wins.
    pub profile_directories: Vec<AbsolutePath>,
    /// What happens where the loaded profile differs from its source.
    pub on_drift: OnDrift,
    /// Which processes have their label verified once they run.
    pub verify: Verify,
    /// Where compiled policy is kept.
    pub cache_directory: AbsolutePath,
    /// How large `oci-apparmor gc` lets the cache be, in MiB.
    pub cache_limit: u64,
    /// The profile compiler; unset: the usual places are tried.
    pub parser: Option<AbsolutePath>,
    /// How long one run of the compiler may take, in seconds.
    pub parser_timeout: u64,
    /// How much memory one run of the compiler may use, in MiB.
    pub parser_memory: u64,
    /// Where the OCI runtimes are.
    pub runtimes: RuntimeSettings,
    /// The profiles that this node takes from a cluster; `None`: none.
    pub cluster: Option<ClusterSettings>,
    /// What differs in some Kubernetes namespaces; the first match wins.
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
            cache_directory: AbsolutePath::of("/var/cache/oci-apparmor"),
            cache_limit: 256,
            parser: None,
            parser_timeout: 30,
            parser_memory: 1024,
            runtimes: RuntimeSettings::default(),
            cluster: None,
            rule: Vec::new(),
        }
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
        match read(path, &mut CheckedDirectories::default())? {
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
        let settings = Self::read(text)
            .map_err(|wrong| refused(line_of(bytes, wrong.offset()), wrong.why()))?;
        Ok(settings.with_cluster_profiles())
    }

    /// Reads all of a text.
    fn read(text: &str) -> Read<Self> {
        let known = [
            "allow",
            "deny",
            "allow_unconfined",
            "require_enforcing",
            "default_profile",
            "floor",
            "sandbox_profile",
            "exempt_namespaces",
            "profile_directories",
            "on_drift",
            "verify",
            "cache_directory",
            "cache_limit",
            "parser",
            "parser_timeout",
            "parser_memory",
            "runtimes",
            "cluster",
            "rule",
        ];
        let drift = [("reload", OnDrift::Reload), ("refuse", OnDrift::Refuse)];
        let verify = [
            ("off", Verify::Off),
            ("start", Verify::Start),
            ("all", Verify::All),
        ];
        let mut it = Self::default();
        each(&document(text)?, &known, &mut |key, value| {
            match key {
                "allow" => it.allow = list(value, pattern)?,
                "deny" => it.deny = list(value, pattern)?,
                "allow_unconfined" => it.allow_unconfined = boolean(value)?,
                "require_enforcing" => it.require_enforcing = boolean(value)?,
                "default_profile" => it.default_profile = Some(profile(value)?),
                "floor" => it.floor = Some(profile(value)?),
                "sandbox_profile" => it.sandbox_profile = Some(profile(value)?),
                "exempt_namespaces" => it.exempt_namespaces = list(value, string)?,
                "profile_directories" => it.profile_directories = list(value, path)?,
                "on_drift" => it.on_drift = word(value, &drift)?,
                "verify" => it.verify = word(value, &verify)?,
                "cache_directory" => it.cache_directory = path(value)?,
                "cache_limit" => it.cache_limit = number(value)?,
                "parser" => it.parser = Some(path(value)?),
                "parser_timeout" => it.parser_timeout = number(value)?,
                "parser_memory" => it.parser_memory = number(value)?,
                "runtimes" => it.runtimes = RuntimeSettings::read(value)?,
                "cluster" => it.cluster = Some(ClusterSettings::read(value)?),
                "rule" => it.rule = list(value, Rule::read)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(it)
    }

    /// With [`CLUSTER_PROFILES`] as the last profile directory, where there is a section
    /// `[cluster]`.
    fn with_cluster_profiles(mut self) -> Self {
        let directory = AbsolutePath::of(CLUSTER_PROFILES);
        if self.cluster.is_some() && !self.profile_directories.contains(&directory) {
            self.profile_directories.push(directory);
        }
        self
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
    /// Where the OCI runtimes are, even if the rest cannot be used: a broken configuration must not
    /// block `kill`, `delete` or `exec`.
    pub runtimes: RuntimeSettings,
}

impl Configuration {
    /// Reads it, without checking a directory in `checked` again.
    #[must_use]
    pub fn load(checked: &mut CheckedDirectories) -> Self {
        Self::load_from(Path::new(PATH), checked)
    }

    fn load_from(path: &Path, checked: &mut CheckedDirectories) -> Self {
        let bytes = read(path, checked);
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
fn read(path: &Path, checked: &mut CheckedDirectories) -> Result<Option<Vec<u8>>> {
    match trusted::read_with(path, MAX, checked) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(TrustError::Missing) if !is_dangling(path) => Ok(None),
        Err(refusal) => Err(refusal
            .about(path, Kind::Configuration)
            .or_remedy("repair or remove the file; until then no container starts")),
    }
}

/// Whether a symbolic link on the way to `path` is dangling: a file was meant to be there.
fn is_dangling(path: &Path) -> bool {
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
    fn profiles_of_a_cluster_have_the_last_directory_and_only_where_they_are_wanted() {
        let directories = |text: &str| {
            let settings = parse(text).unwrap();
            let paths = settings.profile_directories.iter();
            let paths: Vec<_> = paths.map(|d| d.as_path().to_owned()).collect();
            paths
        };
        assert_eq!(directories("").len(), 3);
        let all = directories("profile_directories = ['/a']\n[cluster]\n");
        assert_eq!(all, [Path::new("/a"), Path::new(CLUSTER_PROFILES)]);
        let cluster = parse("[cluster]\n").unwrap().cluster.unwrap();
        assert!(cluster.allows("cluster-web") && !cluster.allows("web"));
        assert!(parse("[cluster]\nallowed = []\n").is_err());
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
