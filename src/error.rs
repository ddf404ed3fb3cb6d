//! What can go wrong, and how it is said.
//!
//! Every refusal is one line: why, and what to do next. The text passes through engines that
//! rewrite what they recognise (podman turns "no such file or directory" and "permission denied"
//! into other errors, `libpod/oci_util.go`), so those phrases never leave this program.

use std::fmt;
use std::io;
use std::path::Path;

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// The family of an error; its number is the exit code of the hook and of the command line.
///
/// The wrapper always exits with 1, as the low-level runtimes do. crun and podman drop what a
/// hook prints, so there the number is the only diagnosis; `docs/formats.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command line or an option cannot be read.
    Usage = 2,
    /// The profile is neither loaded nor found, or a file that is needed is missing.
    NotFound = 3,
    /// The profile's text does not compile, or declares something else than it should.
    DoesNotCompile = 4,
    /// The node's policy, or a rule that no setting can lift, forbids it.
    Policy = 5,
    /// AppArmor is off in this kernel, or its global mode does not enforce.
    KernelOff = 6,
    /// The node's configuration is unreadable, untrusted or malformed.
    Configuration = 7,
    /// The bundle, the state or the system is not as it must be.
    Internal = 8,
}

impl Kind {
    /// The exit code of the hook and of the command line.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        self as u8
    }
}

/// One refusal: its family, why, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    why: String,
    hint: Option<String>,
}

impl Error {
    /// An error of `kind`, with the reason in one lower-case clause.
    pub fn new(kind: Kind, why: impl Into<String>) -> Self {
        Self {
            kind,
            why: why.into(),
            hint: None,
        }
    }

    /// An I/O error: what was being done to which path.
    pub fn io(verb: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(
            Kind::Internal,
            format!("cannot {verb} {}: {}", path.display(), reason(error)),
        )
    }

    /// Adds what the reader should do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The error without its remedy, for output that has a place of its own for that.
    #[must_use]
    pub fn without_remedy(&self) -> String {
        one_line(&self.why)
    }

    /// What the reader should do next, on one line.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        self.hint.as_deref().map(one_line)
    }

    /// Whether it says what the reader should do next.
    #[must_use]
    pub fn has_hint(&self) -> bool {
        self.hint.is_some()
    }

    /// Puts `context` in front of the reason.
    #[must_use]
    pub fn within(mut self, context: &str) -> Self {
        self.why = format!("{context}: {}", self.why);
        self
    }

    /// The same reason, in another family.
    #[must_use]
    pub fn of(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The family.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match &self.hint {
            Some(hint) => format!("{}; {hint}", self.why),
            None => self.why.clone(),
        };
        f.write_str(&one_line(&text))
    }
}

impl std::error::Error for Error {}

/// An I/O error in words that no engine rewrites.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "access refused by the kernel".to_owned(),
        _ => error.to_string(),
    }
}

/// Text of another program, cut to 300 bytes on one line.
#[must_use]
pub fn foreign(text: &str) -> String {
    let joined: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    cut(&one_line(&joined.join(" | ")), 300)
}

/// A value from outside, quoted, escaped and cut, for use inside a message.
#[must_use]
pub fn quoted(value: &str) -> String {
    format!("{:?}", cut(value, 128))
}

/// Phrases that podman replaces by an explanation of its own (`libpod/oci_util.go`), and ours.
const REWRITTEN: [(&str, &str); 5] = [
    ("no such file or directory", "missing file"),
    ("permission denied", "access refused"),
    ("operation not permitted", "not allowed"),
    ("executable file not found", "executable missing"),
    ("open executable", "open the executable"),
];

/// Escapes control characters and replaces the phrases that engines rewrite.
fn one_line(text: &str) -> String {
    let mut line: String = text
        .chars()
        .flat_map(|c| match c {
            // Other line separators break one-line logs as well as '\n' does.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                c.escape_default().collect::<Vec<_>>()
            }
            c => vec![c],
        })
        .collect();
    for (phrase, ours) in REWRITTEN {
        // ASCII lower-casing keeps every byte offset.
        while let Some(at) = line.to_ascii_lowercase().find(phrase) {
            line.replace_range(at..at.saturating_add(phrase.len()), ours);
        }
    }
    line
}

/// At most `max` bytes of `text`, cut between characters.
fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut kept = String::with_capacity(max.saturating_add(3));
    for c in text.chars() {
        if kept.len().saturating_add(c.len_utf8()) > max {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_phrase_that_podman_rewrites_leaves() {
        let e = Error::new(
            Kind::Internal,
            "open: No such file or directory, Permission denied",
        )
        .hint("x\ny");
        let text = e.to_string();
        assert_eq!(text, "open: missing file, access refused; x\\ny");
    }

    #[test]
    fn io_errors_are_in_our_words() {
        for code in [libc::ENOENT, libc::EACCES, libc::EPERM] {
            let e = Error::io("read", Path::new("/x"), &io::Error::from_raw_os_error(code));
            let lower = e.to_string().to_lowercase();
            for (phrase, _) in REWRITTEN {
                assert!(!lower.contains(phrase), "{lower}");
            }
        }
    }

    #[test]
    fn foreign_text_is_one_bounded_line() {
        let text = foreign(&format!("a\n\n b\u{1b}[31m\n{}", "x".repeat(500)));
        assert!(text.starts_with("a | b\\u{1b}[31m | xxx"), "{text}");
        assert!(text.len() <= 303, "{}", text.len());
    }

    #[test]
    fn cutting_never_splits_a_character() {
        assert_eq!(cut("ääää", 5), "ää…");
    }
}
