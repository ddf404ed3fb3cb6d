//! Asking one loaded profile.

use std::cell::OnceCell;

use crate::policy::masks;
use crate::policy::query::{Asker, Dialect, Ruling};
use crate::policy::question::Question;
use oci_apparmor::apparmor::blob::Declared;
use oci_apparmor::apparmor::kernel::{AccessFile, AskedFor, AuditMode};
use oci_apparmor::apparmor::loaded::{Loaded, Mode};
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::node::Node;

/// What a loaded profile says about an access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It allows it.
    Allowed,
    /// It allows it to processes whose user owns the file, and to no others.
    AllowedForOwner,
    /// It allows it to processes whose user does not own the file, and not to the owner's.
    AllowedForOthers,
    /// It denies it.
    Denied {
        /// Whether an explicit `deny` rule does, so that no log shows it. `None`: the parameter
        /// `audit` of AppArmor, or the flag `audit` of the profile, hides that.
        explicit: Option<bool>,
    },
    /// It says nothing about this class of accesses, so everything of it is allowed.
    NotMediated,
    /// The kernel cannot be asked; contains the reason.
    Unknown(String),
}

impl Answer {
    /// Whether some process under the profile may do it.
    pub(crate) fn allows(&self) -> bool {
        matches!(
            self,
            Self::Allowed | Self::AllowedForOwner | Self::AllowedForOthers | Self::NotMediated
        )
    }
}

/// One loaded profile that can be asked.
#[derive(Debug)]
pub(crate) struct LoadedPolicy<'n> {
    node: &'n Node,
    name: String,
    loaded: Loaded,
    file: AccessFile,
    /// The parameter `audit` of AppArmor, if it can be read.
    audit: Option<AuditMode>,
    /// What its compiled policy declares, or why that is unknown.
    declared: OnceCell<std::result::Result<Declared, String>>,
}

/// The top-level profile that a profile belongs to.
fn top(name: &str) -> &str {
    name.split("//").next().unwrap_or(name)
}

impl<'n> LoadedPolicy<'n> {
    /// The loaded profile of this name; `parent//child` for a child.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if it is not loaded, [`Kind::KernelOff`] if AppArmor is off.
    pub(crate) fn open(node: &'n Node, name: &str) -> Result<Self> {
        let kernel = &node.kernel;
        let file = kernel.access_file()?;
        // The kernel takes prefixes of "unconfined" for that, so the name is looked up first.
        let loaded = kernel.named(name)?.ok_or_else(|| {
            Error::new(Kind::NotFound, format!("the profile {name} is not loaded"))
                .with_remedy(format!("run: oci-apparmor load {}", top(name)))
        })?;
        Ok(Self {
            node,
            name: name.to_owned(),
            loaded,
            file,
            audit: kernel.audit_mode().ok(),
            declared: OnceCell::new(),
        })
    }

    /// A profile that has just been loaded with this content.
    ///
    /// # Errors
    /// As for [`LoadedPolicy::open`].
    pub(super) fn of_trial(node: &'n Node, declared: Declared) -> Result<Self> {
        Ok(Self {
            node,
            name: declared.name.clone(),
            loaded: Loaded {
                directory: String::new(),
                mode: declared.mode,
                hash: None,
            },
            file: node.kernel.access_file()?,
            audit: node.kernel.audit_mode().ok(),
            declared: OnceCell::from(Ok(declared)),
        })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What the kernel knows of it.
    pub(crate) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// What it says about an access.
    pub(crate) fn ask(&self, question: &Question) -> Answer {
        let answer = match self.answered(question) {
            Ok(answer) => answer,
            Err(e) => return Answer::Unknown(e.without_remedy()),
        };
        // Complain mode allows what no rule allows, and refuses what a `deny` rule refuses. A program
        // may need the permissions at different moments, so each counts.
        let undecided = Answer::Denied {
            explicit: Some(false),
        };
        if self.loaded.mode == Mode::Complain && answer == undecided {
            let parts = question.each_permission();
            let mut parts = parts.iter().filter(|_| parts.len() > 1);
            let explicit = Answer::Denied {
                explicit: Some(true),
            };
            if parts.any(|part| self.answered(part).is_ok_and(|answer| answer == explicit)) {
                return explicit;
            }
        }
        answer
    }

    fn answered(&self, question: &Question) -> Result<Answer> {
        if self.loaded.mode == Mode::Unconfined {
            return Ok(Answer::Allowed);
        }
        let has_v9 = self.node.kernel.has_feature("network_v9");
        let dialect = Dialect {
            network_v9: has_v9 && self.mediates(Dialect::NETWORK_V9)?,
        };
        let kernel = &self.node.kernel;
        if let Question::Capability(number) = question
            && !(kernel.has_feature("caps/extended") && self.mediates(question.class(dialect))?)
        {
            return Ok(self.capability(*number));
        }
        if !self.mediates(question.class(dialect))? {
            return Ok(Answer::NotMediated);
        }
        let other = self.ruling(question, dialect, AskedFor::Other)?;
        if !question.has_owner() {
            return Ok(self.answer(other));
        }
        let owner = self.ruling(question, dialect, AskedFor::Owner)?;
        Ok(match (owner, other) {
            (Ruling::Unclear(why), _) | (_, Ruling::Unclear(why)) => {
                Answer::Unknown(why.to_owned())
            }
            (Ruling::Allowed, Ruling::Allowed) => Answer::Allowed,
            (Ruling::Allowed, _) => Answer::AllowedForOwner,
            (_, Ruling::Allowed) => Answer::AllowedForOthers,
            // Both are denied; it is explicit if it is for both.
            (Ruling::Denied { quiet: false, .. }, _) => self.answer(owner),
            (_, other) => self.answer(other),
        })
    }

    fn ruling(&self, question: &Question, dialect: Dialect, by: AskedFor) -> Result<Ruling> {
        let asker: Asker<'_> = &mut |query| self.file.ask(&self.name, query, by);
        question.ruling(dialect, asker)
    }

    fn answer(&self, ruling: Ruling) -> Answer {
        match ruling {
            Ruling::Allowed => Answer::Allowed,
            Ruling::Unclear(why) => Answer::Unknown(why.to_owned()),
            Ruling::Denied { quiet, .. } => Answer::Denied {
                explicit: self.explicit(quiet),
            },
        }
    }

    /// Whether an explicit rule denies, where the kernel says that a log entry is suppressed, or that
    /// it is not (`aa_apply_modes_to_perms()`, lib.c).
    fn explicit(&self, quiet: bool) -> Option<bool> {
        match self.audit {
            Some(AuditMode::Normal) if quiet => Some(true),
            // `flags=(audit)` logs these, too.
            Some(AuditMode::Normal) => match self.declared() {
                Ok(declared) if declared.audits => None,
                _ => Some(false),
            },
            _ => None,
        }
    }

    /// A capability, from the masks of the profile (`profile_capable()`, capability.c): kernels
    /// before 7.0 do not match capabilities by the automaton, so they cannot be asked.
    fn capability(&self, number: u8) -> Answer {
        let masks = match self.declared() {
            Ok(declared) => declared.capabilities,
            Err(why) => return Answer::Unknown(why.clone()),
        };
        let has = |mask: u64| mask.checked_shr(u32::from(number)).unwrap_or(0) & 1 == 1;
        match has(masks.allow) {
            true => Answer::Allowed,
            false => Answer::Denied {
                explicit: Some(has(masks.quiet)),
            },
        }
    }

    /// What its compiled policy declares.
    fn declared(&self) -> std::result::Result<&Declared, &String> {
        let declared = || masks::declared(self.node, &self.name, &self.loaded);
        self.declared.get_or_init(declared).as_ref()
    }

    /// Whether the profile says anything about a class (`RULE_MEDIATES()`,
    /// security/apparmor/include/policy.h): otherwise the kernel changes nothing in an answer that
    /// begins with all bits set (`profile_query_cb()`, apparmorfs.c).
    fn mediates(&self, class: u8) -> Result<bool> {
        let answer = self.file.ask(&self.name, &[class], AskedFor::Other)?;
        Ok(answer.allow != u32::MAX)
    }
}
