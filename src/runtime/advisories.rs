//! Versions of low-level runtimes that are known to run containers without their label.
//!
//! A distribution may fix a bug without changing the version number. So `oci-apparmor check` only warns
//! of these versions; with `refuse_vulnerable` the wrapper refuses them.

use std::time::Duration;

use crate::child::{self, Limits};
use crate::error::{Error, Kind, Result, foreign};
use crate::runtime::locate::RuntimeProgram;
use crate::settings::RuntimeKind;

/// A known bug that makes a runtime lose labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advisory {
    /// Its CVE number or issue.
    pub name: &'static str,
    /// What it does.
    pub effect: &'static str,
    /// The versions that fix it.
    pub fixed: &'static str,
}

const PROC_LINK: Advisory = Advisory {
    name: "CVE-2023-28642",
    effect: "an image whose /proc is a symbolic link runs without its profile",
    fixed: "1.1.5",
};

const PROC_RACE: Advisory = Advisory {
    name: "CVE-2025-52881",
    effect: "shared mounts can redirect the label to another file",
    fixed: "1.2.8, 1.3.3 and 1.4.0",
};

const USER_NAMESPACE: Advisory = Advisory {
    name: "crun#2063",
    effect: "in a user namespace the profile is silently not applied",
    fixed: "1.27.1",
};

/// A version. A release candidate is older than its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct RuntimeVersion {
    numbers: [u32; 3],
    candidate: u32,
}

impl RuntimeVersion {
    const fn of(numbers: [u32; 3]) -> Self {
        Self {
            numbers,
            candidate: u32::MAX,
        }
    }

    /// The version in the first line of the output of `--version`: `runc version 1.1.5+ds1`.
    fn parse(text: &str) -> Option<Self> {
        let word = text.lines().next()?.split_once("version ")?.1;
        let word = word.split_whitespace().next()?;
        let (release, rest) = match word.find(|c: char| !c.is_ascii_digit() && c != '.') {
            Some(end) => word.split_at_checked(end)?,
            None => (word, ""),
        };
        let mut numbers = [0; 3];
        for (place, number) in numbers.iter_mut().zip(release.split('.')) {
            *place = number.parse().ok()?;
        }
        let candidate = match rest.trim_start_matches(['-', '~']).strip_prefix("rc") {
            Some(candidate) => {
                let digits = candidate.trim_start_matches(['.', '-']);
                let end = digits.find(|c: char| !c.is_ascii_digit());
                digits.get(..end.unwrap_or(digits.len()))?.parse().ok()?
            }
            None => u32::MAX,
        };
        Some(Self { numbers, candidate })
    }
}

/// The advisories for a runtime with this output of `--version`; none if that has no version.
#[must_use]
pub fn of(kind: RuntimeKind, text: &str) -> Vec<Advisory> {
    let Some(version) = RuntimeVersion::parse(text) else {
        return Vec::new();
    };
    let before = |numbers| version < RuntimeVersion::of(numbers);
    let line = |major, minor| version.numbers.starts_with(&[major, minor]);
    let candidates = RuntimeVersion {
        numbers: [1, 4, 0],
        candidate: 3,
    };
    let all = match kind {
        RuntimeKind::Runc => vec![
            (PROC_LINK, before([1, 1, 5])),
            (
                PROC_RACE,
                before([1, 2, 8])
                    || line(1, 3) && before([1, 3, 3])
                    || line(1, 4) && version < candidates,
            ),
        ],
        RuntimeKind::Crun => vec![(USER_NAMESPACE, version == RuntimeVersion::of([1, 27, 0]))],
        RuntimeKind::Youki => Vec::new(),
    };
    all.into_iter()
        .filter_map(|(advisory, applies)| applies.then_some(advisory))
        .collect()
}

/// The limits of a call with `--version`. Go reserves much more address space than it uses.
const LIMITS: Limits = Limits {
    time: Duration::from_secs(10),
    memory: u64::MAX,
};

/// The output of `--version`; empty if the call fails.
#[must_use]
pub fn version(runtime: &RuntimeProgram) -> String {
    child::run(&runtime.program, &["--version"], b"", LIMITS)
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

/// Refuses a runtime that an advisory applies to, or whose version is unknown.
///
/// # Errors
/// [`Kind::Policy`] with the advisory.
pub(super) fn refuse(runtime: &RuntimeProgram) -> Result<()> {
    let text = version(runtime);
    let first = foreign(text.lines().next().unwrap_or_default());
    let why = match (
        RuntimeVersion::parse(&text),
        of(runtime.kind, &text).first(),
    ) {
        (Some(_), None) => return Ok(()),
        (None, _) => format!("cannot read the version of {}", runtime.program.display()),
        (Some(_), Some(advisory)) => format!(
            "{} ({first}) is affected by {}: {}",
            runtime.program.display(),
            advisory.name,
            advisory.effect
        ),
    };
    Err(Error::new(Kind::Policy, why).with_remedy(
        "update it, or set refuse_vulnerable = false if your distribution has fixed this version",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advisories_apply_to_versions() {
        let names = |kind, text: &str| -> Vec<&str> {
            of(kind, text)
                .iter()
                .map(|advisory| advisory.name)
                .collect()
        };
        let (link, race) = (PROC_LINK.name, PROC_RACE.name);
        for (version, advisories) in [
            ("1.0.0-rc95", &[link, race][..]),
            ("1.0.0~rc6+dfsg1", &[link, race]),
            ("1.1.4", &[link, race]),
            ("1.1.5+ds1", &[race]),
            ("1.1.15+ds1", &[race]),
            ("1.2.7", &[race]),
            ("1.2.8", &[]),
            ("1.2.10-0ubuntu1", &[]),
            ("1.3.0-rc.1", &[race]),
            ("1.3.2", &[race]),
            ("1.3.3", &[]),
            ("1.4.0-rc.2", &[race]),
            ("1.4.0-rc.3", &[]),
            ("1.4.0", &[]),
            ("1.5.1", &[]),
            ("2", &[]),
            ("unknown", &[]),
        ] {
            let text = format!("runc version {version}\ncommit: x\n");
            assert_eq!(names(RuntimeKind::Runc, &text), advisories, "{version}");
        }
        for (version, advisories) in [
            ("1.8.1", &[][..]),
            ("1.27", &[USER_NAMESPACE.name]),
            ("1.27.1", &[]),
        ] {
            let text = format!("crun version {version}\n");
            assert_eq!(names(RuntimeKind::Crun, &text), advisories, "{version}");
        }
    }
}
