//! What an event teaches.

use crate::rule::PolicyRule;

/// What an event teaches about the profile that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Learnt {
    /// This rule allows the access.
    Rule(PolicyRule),
    /// The profile needs a flag, and with it this rule. Without the flag, no rule allows the access.
    Flag(ProfileFlag, Option<PolicyRule>),
    /// Nothing.
    Nothing(Reason),
}

/// A flag of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProfileFlag {
    /// Files outside of the file systems of the process have a name, too.
    AttachDisconnected,
    /// Files that were deleted while they are open keep their name.
    MediateDeleted,
}

impl ProfileFlag {
    /// As profiles write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AttachDisconnected => "attach_disconnected",
            Self::MediateDeleted => "mediate_deleted",
        }
    }
}

/// Why an event teaches nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Nothing was refused: a rule with `audit` reports it, or it is no access.
    NotRefused,
    /// The kernel only asked whether the process has a capability.
    Probe,
    /// Attributes of a file are read. The kernel allows it to every profile that has a rule for files
    /// (`aa_compute_fperms()`, security/apparmor/file.c, and later policy_compat.c), and only reports it
    /// for a profile without any, as a permission to read.
    Attributes,
    /// A program inherited an open file from the process that started it.
    Inherited,
    /// The low-level runtime did it, before the program of the container ran.
    Runtime,
    /// The process may gain no privileges.
    NoNewPrivileges,
    /// The profile or hat that the process changes to does not exist.
    MissingProfile,
    /// The kernel has no name for the object that a rule could use.
    NoName,
    /// A field that the rule needs is not in the record.
    Incomplete,
    /// The record has a class, a permission or a word that is not known.
    Unknown,
}

impl Reason {
    /// One line for people: why no rule was made.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotRefused => "nothing was refused",
            Self::Probe => "the kernel only asked whether the process has a capability",
            Self::Attributes => "reading attributes needs no rule",
            Self::Inherited => "an open file was inherited, for example from the engine",
            Self::Runtime => "the runtime did it, before the program of the container ran",
            Self::NoNewPrivileges => {
                "no_new_privs: the process cannot change to another profile, whatever rules allow"
            }
            Self::MissingProfile => "the profile or hat that it changes to does not exist",
            Self::NoName => "the object has no name that a rule could use",
            Self::Incomplete => "the record lacks a field that the rule needs",
            Self::Unknown => "the record has a class, a permission or a word that is not known",
        }
    }
}
