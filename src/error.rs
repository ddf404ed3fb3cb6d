//! What can go wrong, and how it is said.
//!
//! A refusal is one line: what it is about, why, and what to do next. Engines rewrite some phrases
//! in it: podman replaces a text with "no such file or directory" or "permission denied" by an
//! error of its own (`libpod/oci_util.go`). So those phrases never leave this program.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The result of a function that can refuse.
pub type Result<T> = std::result::Result<T, Error>;

/// The kind of an error; its number is the exit code of the hook and of the command line.
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

/// One refusal.
///
/// Printed, it is one line: `WHAT: WHY; REMEDY`. Nothing reads that line back: code that has to
/// tell errors apart asks for the [`Kind`] or for a type of its own (`child::ChildFailure`,
/// `apparmor::kernel::Off`).
#[derive(Debug, Clone)]
pub struct Error {
    kind: Kind,
    what: Option<String>,
    why: String,
    remedy: Option<String>,
    source: Option<Arc<io::Error>>,
}

impl Error {
    /// An error of `kind`, with the reason in one lower-case clause.
    pub fn new(kind: Kind, why: impl Into<String>) -> Self {
        Self {
            kind,
            what: None,
            why: why.into(),
            remedy: None,
            source: None,
        }
    }

    /// A system call failed: what was being done to which path.
    pub fn io(verb: &str, path: &Path, error: &io::Error) -> Self {
        let why = format!("cannot {verb} {}: {}", path.display(), reason(error));
        Self::new(Kind::Internal, why).caused_by(error)
    }

    /// Adds what the reader should do next.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds what the reader should do next, where nothing more precise says so already.
    #[must_use]
    pub fn or_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy.get_or_insert_with(|| remedy.into());
        self
    }

    /// Says what the error is about: a file, a field, a step. Called again, the outer one comes
    /// first.
    #[must_use]
    pub fn about(mut self, what: &str) -> Self {
        self.what = Some(match self.what {
            Some(inner) => format!("{what}: {inner}"),
            None => what.to_owned(),
        });
        self
    }

    /// The same error, of another kind.
    #[must_use]
    pub fn of(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Keeps the system's error that this one comes from.
    #[must_use]
    pub fn caused_by(mut self, error: &io::Error) -> Self {
        let same = match error.raw_os_error() {
            Some(number) => io::Error::from_raw_os_error(number),
            None => io::Error::new(error.kind(), error.to_string()),
        };
        self.source = Some(Arc::new(same));
        self
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it is about, if that is not part of the reason.
    #[must_use]
    pub fn what(&self) -> Option<&str> {
        self.what.as_deref()
    }

    /// The reason, without what it is about and without a remedy. Not yet escaped: print the
    /// error, or [`Error::without_remedy`].
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }

    /// What the reader should do next, on one line.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        self.remedy.as_deref().map(one_line)
    }

    /// The printed error without its remedy, for output that has a place of its own for that.
    #[must_use]
    pub fn without_remedy(&self) -> String {
        one_line(&match &self.what {
            Some(what) => format!("{what}: {}", self.why),
            None => self.why.clone(),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.without_remedy())?;
        match self.remedy() {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// A system error in words that no engine rewrites.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "access refused by the kernel".to_owned(),
        _ => error.to_string(),
    }
}

/// The text of another program: one line of at most 300 bytes.
#[must_use]
pub fn foreign(text: &str) -> String {
    let joined: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    cut(&one_line(&joined.join(" | ")), 300)
}

/// A value from outside for a message: quoted, escaped and cut.
#[must_use]
pub fn quoted(value: &str) -> String {
    format!("{:?}", cut(value, 128))
}

/// Phrases for which podman prints an error of its own (`libpod/oci_util.go`), and ours.
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
            // These line separators break one-line logs as '\n' does.
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
        .with_remedy("x\ny");
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
