//! Reading a runtime's command line exactly as that runtime reads it. Pure.
//!
//! A word that we and the runtime read differently would let a container past us: another bundle,
//! another process file. So each runtime's own table and grammar is used, what was read is handed
//! on in one canonical spelling, and a line that starts a process and cannot be read is refused.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::containers::id;
use crate::error::{Error, Kind, Result};
use crate::report::EngineLog;
use crate::runtime::options::{self, Grammar, Subcommand};
use crate::runtime::scanner::{End, Given, Scanner, is_true, quote, refused};
use crate::settings::RuntimeKind;

/// Options whose value decides what runs: an empty or padded one is never meant.
const DECISIVE: [&str; 7] = [
    "root",
    "bundle",
    "config",
    "process",
    "apparmor",
    "lsm-profile",
    "pid-file",
];

/// A command line of one of our subcommands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The subcommand.
    pub subcommand: Subcommand,
    /// The container's id.
    pub id: String,
    globals: Vec<Given>,
    options: Vec<Given>,
    /// What follows the id: the command of `exec`.
    rest: Vec<OsString>,
}

/// What a command line is.
#[derive(Debug)]
pub enum Scanned {
    /// One that we do something with.
    Ours(Line),
    /// One that is none of our business, or that only prints something.
    HandOn,
}

/// What was read of a command line; where to report is known even if the rest is not.
#[derive(Debug)]
pub struct Scan {
    /// The engine's log.
    pub log: EngineLog,
    /// The directory of the runtime's containers, where it is given.
    pub root: Option<OsString>,
    /// What comes behind the subcommand, where that is none of ours.
    pub behind: Vec<OsString>,
    /// The line, or why it is refused.
    pub result: Result<Scanned>,
}

/// Reads the words behind the program's name as `runtime` would.
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
        behind: scanner.words.to_vec(),
        result,
    }
}

impl Line {
    /// The value of an option of the subcommand.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&OsStr> {
        last(&self.options, name)
    }

    /// Whether an option stands there and is not switched off.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let off = |g: &Given| g.value.as_deref().is_some_and(|v| !is_true(v));
        self.options
            .iter()
            .rev()
            .find(|g| g.long == name)
            .is_some_and(|g| !off(g))
    }

    /// The value of an option before the subcommand.
    #[must_use]
    pub fn global(&self, name: &str) -> Option<&OsStr> {
        last(&self.globals, name)
    }

    /// Gives the subcommand this option, and no other of that name.
    pub fn set_option(&mut self, name: &'static str, value: OsString) {
        self.options.retain(|given| given.long != name);
        self.options.push(Given {
            long: name,
            value: Some(value),
        });
    }

    /// The line that removes this container, whatever its state.
    #[must_use]
    pub fn deletion(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = self.globals.iter().map(Given::word).collect();
        words.extend(["delete", "--force", self.id.as_str()].map(OsString::from));
        words
    }

    /// The line in its canonical spelling, without the program's name.
    #[must_use]
    pub fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = self.globals.iter().map(Given::word).collect();
        words.push(self.subcommand.name().into());
        words.extend(self.options.iter().map(Given::word));
        words.push(self.id.clone().into());
        words.extend(self.rest.iter().cloned());
        words
    }
}

fn last<'g>(given: &'g [Given], name: &str) -> Option<&'g OsStr> {
    given
        .iter()
        .rev()
        .find(|g| g.long == name)
        .and_then(|g| g.value.as_deref())
}

/// Whole lines, on top of the scanner's options.
impl Scanner<'_> {
    fn line(&mut self, runtime: RuntimeKind, globals: &mut Vec<Given>) -> Result<Scanned> {
        match self.options(options::globals(runtime), globals) {
            Ok(End::Word) => {}
            Ok(End::Line | End::Nothing) => return Ok(Scanned::HandOn),
            Ok(End::Dashes) => return self.unread(refused("\"--\" before the subcommand")),
            Err(e) => return self.unread(e),
        }
        let Some(word) = self.next() else {
            return Ok(Scanned::HandOn);
        };
        let Some(subcommand) = Subcommand::ALL.into_iter().find(|s| word == s.name()) else {
            // The next runc trims every word (urfave/cli v3).
            let trimmed = word.to_string_lossy();
            return match starts_a_process(trimmed.trim()) {
                true => Err(refused(&quote(word))),
                false => Ok(Scanned::HandOn),
            };
        };
        match self.subcommand(runtime, subcommand, globals) {
            Err(_) if !subcommand.starts_a_process() => Ok(Scanned::HandOn),
            result => result,
        }
    }

    /// A line whose beginning cannot be read: refused if it may start a process.
    fn unread(&self, why: Error) -> Result<Scanned> {
        match self
            .words
            .iter()
            .any(|w| starts_a_process(w.to_string_lossy().trim()))
        {
            true => Err(why),
            false => Ok(Scanned::HandOn),
        }
    }

    fn subcommand(
        &mut self,
        runtime: RuntimeKind,
        subcommand: Subcommand,
        globals: &[Given],
    ) -> Result<Scanned> {
        let table = options::of(runtime, subcommand)
            .ok_or_else(|| refused(&format!("{} with {}", subcommand.name(), runtime.name())))?;
        // runc and youki take options behind the id too, but for `exec`, where a command follows.
        let interleaved = self.grammar != Grammar::Getopt && subcommand != Subcommand::Exec;
        let mut given = Vec::new();
        let mut words: Vec<OsString> = Vec::new();
        loop {
            match self.options(table, &mut given)? {
                End::Nothing => return Ok(Scanned::HandOn),
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
            return Ok(Scanned::HandOn);
        };
        let rest: Vec<OsString> = words.collect();
        if subcommand != Subcommand::Exec && !rest.is_empty() {
            return Err(refused("more than one container id"));
        }
        if self.grammar == Grammar::Clap {
            // clap takes options between the id and the command.
            if rest
                .first()
                .is_some_and(|w| w.as_bytes().starts_with(b"-") && w != "--")
            {
                return Err(refused("an option behind the container id"));
            }
            if let Some(twice) = repeated(&given) {
                return Err(refused(&format!("--{twice} given twice")));
            }
        }
        for g in globals.iter().chain(&given) {
            if DECISIVE.contains(&g.long) && g.value.as_deref().is_none_or(padded) {
                return Err(refused(&format!(
                    "an empty or padded value of --{}",
                    g.long
                )));
            }
        }
        let root = last(globals, "root").map(Path::new);
        if runtime == RuntimeKind::Crun
            && subcommand.makes_a_container()
            && root.is_some_and(Path::is_relative)
        {
            // It goes to the bundle first (`src/create.c`), and into that directory then.
            return Err(refused("a relative --root"));
        }
        let id = container_id(&id)?;
        Ok(Scanned::Ours(Line {
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

/// Whether a value is empty or has white space around it.
fn padded(value: &OsStr) -> bool {
    let text = value.to_string_lossy();
    text.is_empty() || text.trim().len() != text.len()
}

/// An option that clap would refuse because it stands twice.
fn repeated(given: &[Given]) -> Option<&'static str> {
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

/// A container id that is a file name and no option; engines generate hexadecimal ones.
fn container_id(word: &OsStr) -> Result<String> {
    let bad = || {
        Error::new(
            Kind::Usage,
            format!("the container id {} is not supported", quote(word)),
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
