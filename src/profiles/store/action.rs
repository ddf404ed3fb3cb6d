//! What was done to have a profile loaded, and why a loaded one was replaced.

use std::fmt;
use std::path::PathBuf;

use crate::apparmor::loaded::Mode;
use crate::error::foreign;
use crate::profiles::compile::BuildInfo;

/// What was done to have a profile loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing: it was loaded already.
    None,
    /// It was loaded.
    Loaded,
    /// The loaded profile was replaced.
    Reloaded(ReloadReason),
}

/// Why a loaded profile is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReloadReason {
    /// The kernel has children that the source does not declare, and that allow something.
    UndeclaredChildren(Vec<String>),
    /// Another program has loaded it, in this mode.
    OtherProgram(Mode),
    /// It was loaded from this file.
    OtherSource(PathBuf),
    /// It is in complain mode, and must enforce.
    MustEnforce,
    /// It enforces, and must be in complain mode.
    MustComplain,
    /// The source, or a file that it includes, has changed.
    SourceChanged,
    /// The parser, its configuration or the kernel's features have changed.
    ToolchainChanged,
}

impl ReloadReason {
    /// What has changed between two builds of a profile; `None` if only the toolchain has.
    pub(super) fn between(then: &BuildInfo, now: &BuildInfo) -> Option<Self> {
        if then.source != now.source {
            return Some(Self::OtherSource(then.source.clone()));
        }
        match (then.complain, now.complain) {
            (true, false) => return Some(Self::MustEnforce),
            (false, true) => return Some(Self::MustComplain),
            _ => {}
        }
        (then.content != now.content).then_some(Self::SourceChanged)
    }
}

impl fmt::Display for ReloadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UndeclaredChildren(names) => write!(f, "{}", undeclared(names)),
            Self::OtherProgram(mode) => {
                write!(f, "another program has loaded it, in {mode} mode")
            }
            Self::OtherSource(path) => write!(f, "it was loaded from {}", path.display()),
            Self::MustEnforce => f.write_str("it is in complain mode and must enforce"),
            Self::MustComplain => f.write_str("it enforces and must be in complain mode"),
            Self::SourceChanged => f.write_str("the file has changed since it was loaded"),
            Self::ToolchainChanged => {
                f.write_str("apparmor_parser, its configuration or the kernel has changed")
            }
        }
    }
}

/// What is wrong with these children.
pub(super) fn undeclared(names: &[String]) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    format!(
        "the kernel has children that its source does not declare: {}",
        foreign(&names.join(", "))
    )
}
