//! Texts that the administrator of this node has not written: those of profiles from a cluster.
//!
//! Their author may choose what a container of the cluster is allowed, and nothing else: not the
//! policy of another profile or of a program of the host, and not what this node says about its
//! files. The parser runs as root and quotes what it cannot read. So a text may include only
//! AppArmor's own abstractions and tunables: `include "/etc/shadow"` would show lines of that file
//! in the message, and an include of a FIFO or a device would block the parser.

use crate::apparmor::blob;
use crate::error::{Error, Kind, Result, foreign};
use crate::profiles::compile::compiler::Compiler;
use crate::profiles::compile::dependencies::Dependencies;
use crate::profiles::compile::include::targets;
use crate::profiles::compile::policy::declared_for;
use crate::wanted::Component;

/// The directories below `/etc/apparmor.d` that such a text may include files of.
const DIRECTORIES: [&str; 3] = ["abi", "abstractions", "tunables"];

/// What is wrong with a text.
#[derive(Debug, Clone)]
pub enum Objection {
    /// It must not be loaded.
    Refused(Error),
    /// Compiling it exceeds a limit. More time may help.
    Limit(Error),
}

impl From<Error> for Objection {
    fn from(e: Error) -> Self {
        Self::Refused(e)
    }
}

impl Compiler<'_> {
    /// Checks that a text of the cluster may be loaded as the profile of `component`. With
    /// `complain`, this node has set that profile to complain.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_foreign(
        &self,
        component: &Component,
        text: &[u8],
        complain: bool,
    ) -> std::result::Result<(), Objection> {
        let written = plain(text)?;
        for target in targets(written) {
            check_include(&target)?;
        }
        let parser = self.parser()?;
        let search = self.toolchain(&parser)?.search;
        let known = Dependencies::of(text, &search)?;
        // What is found in the text must be what the parser finds there. It only replaces includes
        // here, and quotes nothing of them.
        if !known.contains_all(&parser.includes(text)?) {
            let why = "the parser finds includes in it that its text does not show";
            let e = Error::new(Kind::Policy, why);
            return Err(e
                .with_remedy("write each include on a line of its own")
                .into());
        }
        let compiled = parser
            .compile(text, complain)
            .map_err(|e| match e.is_limit() {
                true => Objection::Limit(e.into()),
                false => Objection::Refused(e.into()),
            })?;
        // The names alone do not tell whether it attaches to programs.
        let policy = match blob::compressed(&compiled.policy) {
            false => blob::plain(&compiled.policy).unwrap_or(&compiled.policy),
            true => {
                let why = "the parser compresses its output, so what it declares cannot be checked";
                let e = Error::new(Kind::Policy, why);
                let remedy = "install a parser that knows --zstd-compress-level";
                return Err(e.with_remedy(remedy).into());
            }
        };
        Ok(self.check_version(&declared_for(component, policy)?)?)
    }
}

/// The text, if it is UTF-8 without control characters.
fn plain(text: &[u8]) -> Result<&str> {
    let control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    match std::str::from_utf8(text) {
        Ok(text) if !text.contains(control) => Ok(text),
        Ok(_) => Err(Error::new(Kind::Policy, "it has control characters")
            .with_remedy("remove them from the text")),
        Err(_) => {
            Err(Error::new(Kind::Policy, "it is not UTF-8").with_remedy("save the text as UTF-8"))
        }
    }
}

/// Checks the target of an include or abi statement, as the parser writes it.
fn check_include(target: &str) -> Result<()> {
    let inside = target.strip_prefix('<').and_then(|t| t.strip_suffix('>'));
    let mut parts = inside.unwrap_or_default().split('/');
    let known = parts.next().is_some_and(|d| DIRECTORIES.contains(&d));
    let named = |part: &str| {
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-');
        !part.is_empty() && !part.starts_with('.') && part.chars().all(named)
    };
    let mut parts = parts.peekable();
    if known && parts.peek().is_some() && parts.all(named) {
        return Ok(());
    }
    let why = format!(
        "a profile of the cluster may not include {}",
        foreign(target)
    );
    Err(Error::new(Kind::Policy, why)
        .with_remedy("include only <abstractions/…>, <tunables/…> and <abi/…>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_abstractions_tunables_and_abis_may_be_included() {
        let allowed = |text: &str| targets(text).iter().all(|t| check_include(t).is_ok());
        for text in [
            "include <tunables/global>",
            "#include <abstractions/base>\nabi <abi/4.0>,",
            "include if exists <abstractions/apache2-common.d>",
            "# include \"/etc/shadow\"\n",
            "/usr/include/** r,",
        ] {
            assert!(allowed(text), "{text}");
        }
        for text in [
            "include \"/etc/shadow\"",
            "#include /etc/shadow",
            "include if exists \"/etc/shadow\"",
            "include <abstractions>",
            "include <abstractions/>",
            "include <abstractions/../../shadow>",
            "include <abstractions/./base>",
            "include <../shadow>",
            "include </etc/shadow>",
            "include <local/cluster-a>",
            "include <usr.sbin.sshd>",
            "include tunables/global",
            "abi \"/etc/shadow\",",
            "profile cluster-a { /x r, include <usr.sbin.sshd>",
        ] {
            assert!(!allowed(text), "{text}");
        }
    }

    #[test]
    fn texts_are_plain() {
        assert!(plain("profile cluster-a { \t/\u{e9} r,\r\n}".as_bytes()).is_ok());
        for text in [
            &b"a\0b"[..],
            b"a\x1bb",
            b"a\x0cb",
            b"a\xffb",
            "a\u{85}b".as_bytes(),
        ] {
            assert!(plain(text).is_err(), "{text:?}");
        }
    }
}
