//! ptrace rules: `spec.abstract.ptrace`, and those in lists of paths.

use serde::Deserialize;

use crate::error::{Error, Result, quoted};

/// The longest peer, in bytes.
const MAX_PEER: usize = 256;

/// The words for access in a ptrace rule (`apparmor.d(5)`).
const WORDS: [&str; 7] = ["read", "readby", "trace", "tracedby", "r", "rw", "w"];

/// One ptrace rule; without a peer it is for all.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PtraceRule {
    pub(crate) access: Vec<&'static str>,
    pub(crate) peer: Option<String>,
}

impl PtraceRule {
    /// The rule of `ptrace (read),  # a comment` in a list of paths.
    ///
    /// Before `spec.abstract.ptrace` existed, the operator accepted this as a path, and its own
    /// profiles have it (`deploy/base/profiles/spo-apparmor.yaml`). Newer operators make a rule of
    /// it. The comment was there to hide the access mode that the operator wrote after a path; it
    /// is dropped.
    pub(super) fn in_path_list(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("ptrace")?.trim_start_matches([' ', '\t']);
        let (access, rest) = rest.strip_prefix('(')?.split_once("),")?;
        let comment = rest.trim_start_matches([' ', '\t']);
        if !(comment.is_empty() || comment.starts_with('#')) || comment.contains(['\n', '\r', '\0'])
        {
            return None;
        }
        let access = access.to_ascii_lowercase();
        let known = WORDS.into_iter().find(|known| *known == access)?;
        Some(Self {
            access: vec![known],
            peer: None,
        })
    }
}

/// `spec.abstract.ptrace`.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Ptrace {
    allowed_access: Vec<Access>,
    peer: Option<Peer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Access {
    Read,
    ReadBy,
    Trace,
    TracedBy,
}

impl Access {
    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::ReadBy => "readby",
            Self::Trace => "trace",
            Self::TracedBy => "tracedby",
        }
    }
}

/// The peer of a rule, by the pattern of the operator's schema.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
struct Peer(String);

impl TryFrom<String> for Peer {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_./*?-".contains(&b);
        let plain = text.replace("@{profile_name}", "x");
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        if text.len() > MAX_PEER {
            return Err(format!("is longer than {MAX_PEER} bytes"));
        }
        match plain.bytes().all(allowed) {
            true => Ok(Self(text)),
            false => Err(format!(
                "may contain only letters, digits, '_', '.', '/', '-', '*', '?' and \
                 @{{profile_name}}, not {}",
                quoted(&text)
            )),
        }
    }
}

impl Ptrace {
    pub(super) fn rule(self) -> Result<PtraceRule> {
        let mut access = self.allowed_access;
        if access.is_empty() {
            return Err(Error::new("has no allowedAccess").at("spec.abstract.ptrace"));
        }
        access.sort_unstable();
        access.dedup();
        Ok(PtraceRule {
            access: access.into_iter().map(Access::as_str).collect(),
            peer: self.peer.map(|peer| peer.0),
        })
    }
}
