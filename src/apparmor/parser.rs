//! The host's `apparmor_parser`: the only compiler of AppArmor's language.
//!
//! It compiles as this host would (its `parser.conf`, base directory and abi pins). It gets our
//! own copy of the source on standard input, so that what was checked is what is compiled, and so
//! that its look-ups by file name (`disable/`, `force-complain/`, its cache) cannot be hit by
//! chance. It runs with an empty environment, and under limits.

use std::path::{Path, PathBuf};

use crate::apparmor::blob;
use crate::child::{self, Cause, Limit, Limits, Output};
use crate::error::{Error, Kind, Result};
use crate::fs::trusted;

/// Where the parser is looked for.
const PATHS: [&str; 2] = ["/sbin/apparmor_parser", "/usr/sbin/apparmor_parser"];

/// The parser of this host.
#[derive(Debug, Clone)]
pub struct Parser {
    program: PathBuf,
    limits: Limits,
}

/// Where the parser may be: at `configured`, else in the usual places.
#[must_use]
pub fn candidates(configured: Option<&Path>) -> Vec<&Path> {
    configured.map_or(PATHS.map(Path::new).to_vec(), |path| vec![path])
}

/// What a source compiles to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The policy; plain (see [`blob::plain`]), or compressed where the parser cannot do without.
    pub policy: Vec<u8>,
    /// What the parser had to say about it, at most 64 KiB.
    pub warnings: String,
}

/// A run of the parser that failed: what it says about the profile, or the limit that it met.
#[derive(Debug)]
pub struct Failure(child::Failure);

/// The result of one run of the parser.
pub type Run<T> = std::result::Result<T, Failure>;

impl Failure {
    /// Whether the parser itself rejects the profile; else it met a limit, or did not run.
    #[must_use]
    pub fn is_its_own(&self) -> bool {
        matches!(self.0.cause, Cause::Exit { .. })
    }
}

impl From<Failure> for Error {
    fn from(Failure(failure): Failure) -> Self {
        let remedy = failure.limit().map(|limit| match limit {
            Limit::Time(_) | Limit::ProcessorTime(_) => {
                "simplify the profile, or raise parser_timeout"
            }
            Limit::Memory(_) => "simplify the profile, or raise parser_memory",
            Limit::Output(_) => "simplify the profile",
        });
        match remedy {
            Some(remedy) => Self::from(failure).with_remedy(remedy),
            None => Self::from(failure),
        }
    }
}

impl Parser {
    /// Finds it, at `configured` or in the usual places; each run may use `limits`.
    ///
    /// # Errors
    /// Where there is none, or one that somebody else could have put there.
    pub fn find(configured: Option<&Path>, limits: Limits) -> Result<Self> {
        let mut failure = None;
        for path in candidates(configured) {
            match trusted::program(path) {
                Ok(program) => return Ok(Self { program, limits }),
                Err(refusal) => failure = Some(refusal.about(path, Kind::Internal)),
            }
        }
        Err(failure
            .unwrap_or_else(|| Error::new(Kind::Internal, "apparmor_parser is missing"))
            .with_remedy("install the package apparmor (apparmor-parser on other distributions)"))
    }

    /// The program that runs.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Compiles `source` and loads nothing.
    ///
    /// # Errors
    /// [`Failure`] with the parser's own message, or the limit that it met.
    pub fn compile(&self, source: &[u8], complain: bool) -> Run<Compiled> {
        self.compile_with(source, complain, &[])
    }

    /// The same, with more options.
    fn compile_with(&self, source: &[u8], complain: bool, more: &[&str]) -> Run<Compiled> {
        let complain: &[&str] = if complain { &["-C"] } else { &[] };
        let arguments = [&["-Q", "-K", "-S"], complain, more].concat();
        let mut compiled = self.run(&arguments, source)?;
        if blob::compressed(&compiled.stdout) {
            // Only parsers that compress know the option (AppArmor 5). One that does not heed it
            // leaves what there was.
            let arguments = [&arguments[..], &["--zstd-compress-level=0"]].concat();
            if let Ok(plain) = self.run(&arguments, source)
                && blob::plain(&plain.stdout).is_some()
            {
                compiled = plain;
            }
        }
        Ok(Compiled {
            policy: compiled.stdout,
            warnings: compiled.stderr,
        })
    }

    /// Compiles `source` as [`Parser::compile`] does, to hear all that the parser can say about it;
    /// for a kernel with `features` (a file as in `/etc/apparmor.d/abi`) instead of this one.
    ///
    /// # Errors
    /// As for [`Parser::compile`]; the message names the file of the error, `/dev/stdin` for
    /// `source` itself.
    pub fn lint(&self, source: &[u8], complain: bool, features: Option<&Path>) -> Run<Compiled> {
        let features = features.map(|f| format!("--kernel-features={}", f.display()));
        let more: Vec<&str> = ["--warn=rule-not-enforced", "--warn=rule-downgraded"]
            .into_iter()
            .chain(features.as_deref())
            .collect();
        match self.compile_with(source, complain, &more) {
            // A second run would meet the same limit.
            Err(e) if !e.is_its_own() => return Err(e),
            Err(_) => {}
            done => return done,
        }
        // Parsers before 3.0 do not know these options.
        self.compile(source, complain).map_err(|e| {
            // Without a name for its input it does not tell an include's line 3 from ours.
            match self.compile_with(source, complain, &["/dev/stdin"]) {
                Err(named) if named.is_its_own() => named,
                _ => e,
            }
        })
    }

    /// What `source` includes, directly or not, in the order in which the parser comes to it: each
    /// as it is written, `<abstractions/base>` or `"/path"`, whether there is such a file or not.
    ///
    /// # Errors
    /// As for [`Parser::compile`].
    pub fn includes(&self, source: &[u8]) -> Result<Vec<String>> {
        included(&self.flattened(source)?)
    }

    /// `source` with the text of what it includes in the place of each include.
    ///
    /// # Errors
    /// As for [`Parser::compile`].
    pub fn flattened(&self, source: &[u8]) -> Run<Vec<u8>> {
        Ok(self.run(&["-p", "-Q", "-K"], source)?.stdout)
    }

    /// The profiles that `source` declares, as the parser reads them.
    ///
    /// It does not expand variables in names, so compiled policy is asked where it can be walked.
    ///
    /// # Errors
    /// As for [`Parser::compile`].
    pub fn names(&self, source: &[u8]) -> Run<Vec<String>> {
        let output = self.run(&["-N"], source)?;
        Ok(String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect())
    }

    /// Compiles `source` and loads it, replacing what it names.
    ///
    /// # Errors
    /// As for [`Parser::compile`], and where the kernel refuses.
    pub fn replace(&self, source: &[u8], complain: bool) -> Run<()> {
        let complain: &[&str] = if complain { &["-C"] } else { &[] };
        self.run(&[&["-r", "-K"], complain].concat(), source)
            .map(drop)
    }

    /// The first line of `apparmor_parser --version`.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn version(&self) -> Run<String> {
        let output = self.run(&["--version"], b"")?;
        Ok(String::from_utf8_lossy(&output.stdout)
            .lines()
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned())
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Run<Output> {
        // In one process: else it forks a worker for each file, which would outlive its parent,
        // and whose end by a limit its parent reports as nothing but "exit status 10".
        let arguments = [arguments, &["-j0"]].concat();
        child::run(&self.program, &arguments, input, self.limits).map_err(Failure)
    }
}

/// The line that the parser puts in front of what it includes (`-p`, parser_lex.l).
const MARKER: &[u8] = b"##included ";

/// What the marker lines of a flattened source name.
fn included(flattened: &[u8]) -> Result<Vec<String>> {
    flattened
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(MARKER))
        .map(|target| {
            String::from_utf8(target.trim_ascii_end().to_vec()).map_err(|_| {
                Error::new(Kind::DoesNotCompile, "the name of an include is not UTF-8")
                    .with_remedy("rename that file")
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_are_read_from_the_marker_lines() {
        let text = b"profile x {\n  \n\n##included <abstractions/base>\n # ##included <no>\n\
            ##included \"/etc/a b\"\n/x##included <no> r,\n##included <local/none>";
        assert_eq!(
            included(text).unwrap(),
            ["<abstractions/base>", "\"/etc/a b\"", "<local/none>"]
        );
        assert!(included(b"").unwrap().is_empty());
        assert!(included(b"##included <\xff>\n").is_err());
    }
}
