//! The host's `apparmor_parser`, the compiler of AppArmor's language.
//!
//! It compiles as on this host otherwise: with its `parser.conf`, base directory and pinned abi.
//! It gets the source on standard input: it compiles the bytes that were checked, and it cannot
//! look up the file's name in `disable/`, `force-complain/` or its cache. It runs with an empty
//! environment, and under limits.

use std::path::{Path, PathBuf};

use crate::apparmor::blob;
use crate::child::{self, Cause, ChildOutput, Limit, Limits};
use crate::error::{Error, Kind, Result};
use crate::fs::trusted;

/// The usual paths of the parser.
const PATHS: [&str; 2] = ["/sbin/apparmor_parser", "/usr/sbin/apparmor_parser"];

/// The parser of this host.
#[derive(Debug, Clone)]
pub struct Parser {
    program: PathBuf,
    limits: Limits,
}

/// Where the parser is looked for: at `configured`, otherwise in the usual places.
#[must_use]
pub fn candidates(configured: Option<&Path>) -> Vec<&Path> {
    configured.map_or(PATHS.map(Path::new).to_vec(), |path| vec![path])
}

/// The result of compiling a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The policy; compressed only if the parser cannot write it plain (see [`blob::plain`]).
    pub policy: Vec<u8>,
    /// The warnings of the parser, at most 64 KiB.
    pub warnings: String,
}

/// A run of the parser that failed: it rejected the profile, exceeded a limit, or did not start.
#[derive(Debug)]
pub struct ParserFailure(child::ChildFailure);

/// The result of one run of the parser.
pub type Run<T> = std::result::Result<T, ParserFailure>;

impl ParserFailure {
    /// Whether the parser rejected the profile.
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        matches!(self.0.cause, Cause::Exit { .. })
    }

    /// Whether the parser exceeded a limit.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(self.0.cause, Cause::Limit(_))
    }
}

impl From<ParserFailure> for Error {
    fn from(ParserFailure(failure): ParserFailure) -> Self {
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
    /// Finds the parser at `configured`, or in the usual places. Each run has these limits.
    ///
    /// # Errors
    /// [`Kind::Internal`] if there is none, or none that only root can have installed.
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

    /// The path of the program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Compiles `source` without loading it.
    ///
    /// # Errors
    /// [`ParserFailure`], with the parser's message or the limit that it exceeded.
    pub fn compile(&self, source: &[u8], complain: bool) -> Run<Compiled> {
        self.compile_with(source, complain, &[])
    }

    fn compile_with(&self, source: &[u8], complain: bool, more: &[&str]) -> Run<Compiled> {
        let complain: &[&str] = if complain { &["-C"] } else { &[] };
        let arguments = [&["-Q", "-K", "-S"], complain, more].concat();
        let mut compiled = self.run(&arguments, source)?;
        if blob::compressed(&compiled.stdout) {
            // Only parsers that compress (AppArmor 5) know this option. If it has no effect, the
            // compressed policy is kept.
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

    /// Compiles `source` like [`Parser::compile`], with all warnings of the parser; with
    /// `features` (a file as in `/etc/apparmor.d/abi`), for another kernel than this one.
    ///
    /// # Errors
    /// As for [`Parser::compile`]; the message names the file with the error, or `/dev/stdin`
    /// for `source`.
    pub fn lint(&self, source: &[u8], complain: bool, features: Option<&Path>) -> Run<Compiled> {
        let features = features.map(|f| format!("--kernel-features={}", f.display()));
        let more: Vec<&str> = ["--warn=rule-not-enforced", "--warn=rule-downgraded"]
            .into_iter()
            .chain(features.as_deref())
            .collect();
        match self.compile_with(source, complain, &more) {
            // A second run would exceed the same limit.
            Err(e) if !e.is_rejection() => return Err(e),
            Err(_) => {}
            done => return done,
        }
        // Parsers before 3.0 do not know these options.
        self.compile(source, complain).map_err(|e| {
            // Without a name for its input, the message does not say whether the line is in the
            // source or in an include.
            match self.compile_with(source, complain, &["/dev/stdin"]) {
                Err(named) if named.is_rejection() => named,
                _ => e,
            }
        })
    }

    /// The targets of all includes of `source`, also indirect ones, in the order of the parser and
    /// as written: `<abstractions/base>` or `"/path"`. The files need not exist.
    ///
    /// # Errors
    /// As for [`Parser::compile`].
    pub fn includes(&self, source: &[u8]) -> Result<Vec<String>> {
        included(&self.flattened(source)?)
    }

    /// `source`, with the text of the included file in place of each include.
    ///
    /// # Errors
    /// As for [`Parser::compile`].
    pub fn flattened(&self, source: &[u8]) -> Run<Vec<u8>> {
        Ok(self.run(&["-p", "-Q", "-K"], source)?.stdout)
    }

    /// The names of the profiles that `source` declares. Variables in names are not expanded, so
    /// [`blob::walk`] is better where the compiled policy is available.
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

    /// Compiles and loads `source`, and replaces loaded profiles of the same names.
    ///
    /// # Errors
    /// As for [`Parser::compile`], and if the kernel refuses the policy.
    pub fn replace(&self, source: &[u8], complain: bool) -> Run<()> {
        let complain: &[&str] = if complain { &["-C"] } else { &[] };
        self.run(&[&["-r", "-K"], complain].concat(), source)
            .map(drop)
    }

    /// The first line of `apparmor_parser --version`.
    ///
    /// # Errors
    /// [`ParserFailure`] if it does not run.
    pub fn version(&self) -> Run<String> {
        let output = self.run(&["--version"], b"")?;
        Ok(String::from_utf8_lossy(&output.stdout)
            .lines()
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned())
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Run<ChildOutput> {
        // In one process: a forked worker would outlive the parser, and if a limit ended it, the
        // parser would only report "exit status 10".
        let arguments = [arguments, &["-j0"]].concat();
        child::run(&self.program, &arguments, input, self.limits).map_err(ParserFailure)
    }
}

/// How a line begins that the parser writes before an included text (`-p`, parser_lex.l).
const MARKER: &[u8] = b"##included ";

/// The include targets in a flattened source.
fn included(flattened: &[u8]) -> Result<Vec<String>> {
    flattened
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(MARKER))
        .map(|target| {
            String::from_utf8(target.trim_ascii_end().to_vec()).map_err(|_| {
                Error::new(
                    Kind::DoesNotCompile,
                    "the name of an included file is not UTF-8",
                )
                .with_remedy("rename the file")
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
