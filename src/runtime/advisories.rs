//! Versions of low-level runtimes that are known to run containers without their label.
//!
//! A distribution may have mended one without another version number, so by itself a version is
//! only a warning (`oci-apparmor check`); a node can refuse them (`refuse_vulnerable`).

use std::time::Duration;

use crate::child::{self, Limits};
use crate::error::{Error, Kind, Result, foreign};
use crate::runtime::locate::Located;
use crate::settings::RuntimeKind;

/// A way in which a label gets lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// By which name it is known.
    pub name: &'static str,
    /// What it does.
    pub effect: &'static str,
    /// The versions in which it is mended.
    pub mended: &'static str,
}

const PROC_LINK: Hole = Hole {
    name: "CVE-2023-28642",
    effect: "an image whose /proc is a link runs without its profile",
    mended: "1.1.5",
};

const PROC_RACE: Hole = Hole {
    name: "CVE-2025-52881",
    effect: "mounts that others share can send the label to another file",
    mended: "1.2.8, 1.3.3 and 1.4.0",
};

const USER_NAMESPACE: Hole = Hole {
    name: "crun#2063",
    effect: "in a user namespace the profile is left out without a word",
    mended: "1.27.1",
};

/// A version; a release candidate comes before its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    numbers: [u32; 3],
    candidate: u32,
}

impl Version {
    const fn of(numbers: [u32; 3]) -> Self {
        Self {
            numbers,
            candidate: u32::MAX,
        }
    }

    /// The version in the first line of what `--version` prints: `runc version 1.1.5+ds1`.
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

/// The holes of a runtime that says this of its version; none where it cannot be read.
#[must_use]
pub fn of(kind: RuntimeKind, text: &str) -> Vec<Hole> {
    let Some(version) = Version::parse(text) else {
        return Vec::new();
    };
    let before = |numbers| version < Version::of(numbers);
    let line = |major, minor| version.numbers.starts_with(&[major, minor]);
    let candidates = Version {
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
        RuntimeKind::Crun => vec![(USER_NAMESPACE, version == Version::of([1, 27, 0]))],
        RuntimeKind::Youki => Vec::new(),
    };
    all.into_iter()
        .filter_map(|(hole, is_there)| is_there.then_some(hole))
        .collect()
}

/// What a runtime may take to tell its version. Go's programs reserve much more than they use.
const LIMITS: Limits = Limits {
    time: Duration::from_secs(10),
    memory: u64::MAX,
};

/// What a runtime says of its version.
#[must_use]
pub fn version(runtime: &Located) -> String {
    child::run(&runtime.program, &["--version"], b"", LIMITS)
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

/// Refuses a runtime with a known hole, or of which nothing is known.
///
/// # Errors
/// [`Kind::Policy`] with the hole.
pub(super) fn refuse(runtime: &Located) -> Result<()> {
    let text = version(runtime);
    let first = foreign(text.lines().next().unwrap_or_default());
    let why = match (Version::parse(&text), of(runtime.kind, &text).first()) {
        (Some(_), None) => return Ok(()),
        (None, _) => format!("{} does not tell its version", runtime.program.display()),
        (Some(_), Some(hole)) => format!(
            "{} ({first}) has a known hole, {}: {}",
            runtime.program.display(),
            hole.name,
            hole.effect
        ),
    };
    Err(Error::new(Kind::Policy, why).with_remedy(
        "update it; or, if your distribution has mended it, set refuse_vulnerable = false",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_the_holes_that_are_known() {
        let names = |kind, text: &str| -> Vec<&str> {
            of(kind, text).iter().map(|hole| hole.name).collect()
        };
        let (link, race) = (PROC_LINK.name, PROC_RACE.name);
        for (version, holes) in [
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
            assert_eq!(names(RuntimeKind::Runc, &text), holes, "{version}");
        }
        for (version, holes) in [
            ("1.8.1", &[][..]),
            ("1.27", &[USER_NAMESPACE.name]),
            ("1.27.1", &[]),
        ] {
            let text = format!("crun version {version}\n");
            assert_eq!(names(RuntimeKind::Crun, &text), holes, "{version}");
        }
    }
}
