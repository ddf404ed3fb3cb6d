//! Parses a runtime's command line exactly as that runtime does. Pure.
//!
//! If this program and the runtime parsed a word differently, a container could escape: the label
//! would be written into another bundle or process file. So each runtime's own tables and grammar are
//! used, the runtime gets the parsed line in one canonical spelling, and a line that starts a process
//! and cannot be parsed is refused.

mod line;
pub mod options;
mod scanner;
pub mod subcommand;
pub mod tables;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::containers::id;
use crate::error::{Error, Kind, Result, quoted};
use crate::report::EngineLog;
pub use crate::runtime::argv::line::RuntimeCommand;
use crate::runtime::argv::line::last;
use crate::runtime::argv::options::Grammar;
use crate::runtime::argv::scanner::{End, GivenOption, Scanner, unknown, unparsable};
use crate::runtime::argv::subcommand::Subcommand;
use crate::settings::RuntimeKind;

/// Options whose value decides what runs. An empty or padded value is an error.
const DECISIVE: [&str; 7] = [
    "root",
    "bundle",
    "config",
    "process",
    "apparmor",
    "lsm-profile",
    "pid-file",
];

/// What the wrapper does with a command line.
#[derive(Debug)]
pub enum Scanned {
    /// The wrapper handles the subcommand.
    Handled(RuntimeCommand),
    /// The runtime gets the words unchanged: another subcommand, or one that only prints something.
    PassThrough,
}

/// The result of parsing a command line.
#[derive(Debug)]
pub struct Scan {
    /// The engine's log, also if the rest cannot be parsed.
    pub log: EngineLog,
    /// The value of `--root`.
    pub root: Option<OsString>,
    /// The words after a subcommand that is passed on.
    pub rest: Vec<OsString>,
    /// The command line, or why it is refused.
    pub result: Result<Scanned>,
}

/// Parses the words after the program's name as `runtime` does.
#[must_use]
pub fn scan(runtime: RuntimeKind, words: &[OsString]) -> Scan {
    let mut scanner = Scanner {
        grammar: options::grammar(runtime),
        words,
    };
    let mut globals = Vec::new();
    let result = scanner.line(runtime, &mut globals);
    let last = |name: &str| last(&globals, name).map(OsStr::to_owned);
    Scan {
        log: EngineLog {
            log: last("log"),
            format: last("log-format"),
        },
        root: last("root"),
        rest: scanner.words.to_vec(),
        result,
    }
}

/// Parsing of whole lines.
impl Scanner<'_> {
    fn line(&mut self, runtime: RuntimeKind, globals: &mut Vec<GivenOption>) -> Result<Scanned> {
        match self.options(tables::globals(runtime), globals) {
            Ok(End::Word) => {}
            Ok(End::Line | End::Exit) => return Ok(Scanned::PassThrough),
            Ok(End::Dashes) => {
                return self
                    .refuse_if_it_starts_a_process(unparsable("\"--\" before the subcommand"));
            }
            Err(e) => return self.refuse_if_it_starts_a_process(e),
        }
        let Some(word) = self.next() else {
            return Ok(Scanned::PassThrough);
        };
        let Some(subcommand) = Subcommand::ALL.into_iter().find(|s| word == s.name()) else {
            // urfave/cli v3, which later versions of runc use, trims every word.
            let trimmed = word.to_string_lossy();
            return match starts_a_process(trimmed.trim()) {
                true => Err(unknown(word)),
                false => Ok(Scanned::PassThrough),
            };
        };
        match self.subcommand(runtime, subcommand, globals) {
            Err(_) if !subcommand.starts_a_process() => Ok(Scanned::PassThrough),
            result => result,
        }
    }

    /// For a line whose beginning cannot be parsed: an error if it may start a process.
    fn refuse_if_it_starts_a_process(&self, why: Error) -> Result<Scanned> {
        match self
            .words
            .iter()
            .any(|w| starts_a_process(w.to_string_lossy().trim()))
        {
            true => Err(why),
            false => Ok(Scanned::PassThrough),
        }
    }

    fn subcommand(
        &mut self,
        runtime: RuntimeKind,
        subcommand: Subcommand,
        globals: &[GivenOption],
    ) -> Result<Scanned> {
        let table = tables::of(runtime, subcommand).ok_or_else(|| {
            unparsable(&format!("{} has no {}", runtime.name(), subcommand.name()))
        })?;
        // runc and youki accept options after the id, except for `exec`, where a command follows.
        let interleaved = self.grammar != Grammar::Getopt && subcommand != Subcommand::Exec;
        let mut given = Vec::new();
        let mut words: Vec<OsString> = Vec::new();
        loop {
            match self.options(table, &mut given)? {
                End::Exit => return Ok(Scanned::PassThrough),
                End::Line => break,
                End::Word if interleaved => words.extend(self.next().cloned()),
                End::Word | End::Dashes => {
                    words.extend(self.words.iter().cloned());
                    break;
                }
            }
        }
        let mut words = words.into_iter();
        let Some(id) = words.next() else {
            return Ok(Scanned::PassThrough);
        };
        let rest: Vec<OsString> = words.collect();
        if subcommand != Subcommand::Exec && !rest.is_empty() {
            return Err(unparsable("more than one container id"));
        }
        if self.grammar == Grammar::Clap {
            // clap accepts options between the id and the command.
            if rest
                .first()
                .is_some_and(|w| w.as_bytes().starts_with(b"-") && w != "--")
            {
                return Err(unparsable("an option after the container id"));
            }
            if let Some(twice) = repeated(&given) {
                return Err(unparsable(&format!("--{twice} is given twice")));
            }
        }
        for g in globals.iter().chain(&given) {
            if DECISIVE.contains(&g.long) && g.value.as_deref().is_none_or(padded) {
                return Err(unparsable(&format!(
                    "the value of --{} is empty or padded with white space",
                    g.long
                )));
            }
        }
        let root = last(globals, "root").map(Path::new);
        if runtime == RuntimeKind::Crun
            && subcommand.creates_a_container()
            && root.is_some_and(Path::is_relative)
        {
            // crun changes to the bundle first (`src/create.c`) and resolves --root from there.
            return Err(unparsable("--root is a relative path"));
        }
        let id = container_id(&id)?;
        Ok(Scanned::Handled(RuntimeCommand {
            subcommand,
            id,
            globals: globals.to_vec(),
            options: given,
            rest,
        }))
    }
}

fn starts_a_process(word: &str) -> bool {
    Subcommand::ALL
        .into_iter()
        .any(|s| s.starts_a_process() && s.name() == word)
}

/// Whether a value is empty or starts or ends with white space.
fn padded(value: &OsStr) -> bool {
    let text = value.to_string_lossy();
    text.is_empty() || text.trim().len() != text.len()
}

/// An option that clap refuses because it is given twice.
fn repeated(given: &[GivenOption]) -> Option<&'static str> {
    let many = ["env", "cap", "additional-gids"];
    let mut seen: Vec<&str> = Vec::new();
    for g in given.iter().filter(|g| !many.contains(&g.long)) {
        if seen.contains(&g.long) {
            return Some(g.long);
        }
        seen.push(g.long);
    }
    None
}

/// The container id, which must be valid for all runtimes.
fn container_id(word: &OsStr) -> Result<String> {
    let bad = || {
        Error::new(
            Kind::Usage,
            format!("invalid container id {}", quoted(&word.to_string_lossy())),
        )
        .with_remedy("use letters, digits, '_', '+', '.' and '-'")
    };
    word.to_str()
        .filter(|id| id::is_valid(id))
        .map(str::to_owned)
        .ok_or_else(bad)
}

#[cfg(test)]
mod tests;
