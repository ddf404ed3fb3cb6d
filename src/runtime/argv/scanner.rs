//! Parses options as the runtime's own parser does. Pure.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::error::{Error, Kind, Result, quoted};
use crate::runtime::argv::options::{Grammar, Opt, OptionTable, Takes};

/// An option on a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GivenOption {
    pub(super) long: &'static str,
    pub(super) value: Option<OsString>,
}

impl GivenOption {
    /// As `--name=value`, which all runtimes parse alike.
    pub(super) fn word(&self) -> OsString {
        let mut word = OsString::from(format!("--{}", self.long));
        if let Some(value) = &self.value {
            word.push("=");
            word.push(value);
        }
        word
    }
}

/// Where a sequence of options ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Before a word that is not an option.
    Word,
    /// After `--`.
    Dashes,
    /// At the end of the line.
    Line,
    /// At a help option, or at an option without its value: the runtime starts nothing.
    Exit,
}

/// The words of a command line that were not parsed yet.
pub(super) struct Scanner<'w> {
    pub(super) grammar: Grammar,
    pub(super) words: &'w [OsString],
}

impl<'w> Scanner<'w> {
    /// Takes the next word.
    pub(super) fn next(&mut self) -> Option<&'w OsString> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    /// Parses options up to the first other word.
    pub(super) fn options(
        &mut self,
        table: OptionTable,
        given: &mut Vec<GivenOption>,
    ) -> Result<End> {
        while let Some(word) = self.words.first() {
            let bytes = word.as_bytes();
            if !bytes.starts_with(b"-") || bytes == b"-" {
                return Ok(End::Word);
            }
            self.next();
            if bytes == b"--" {
                return Ok(End::Dashes);
            }
            let end = match (self.grammar, bytes.strip_prefix(b"--")) {
                (_, Some(long)) => self.long(table, long, word, given)?,
                (Grammar::Go, None) => {
                    self.long(table, bytes.get(1..).unwrap_or_default(), word, given)?
                }
                (_, None) => {
                    self.cluster(table, bytes.get(1..).unwrap_or_default(), word, given)?
                }
            };
            if let Some(end) = end {
                return Ok(end);
            }
        }
        Ok(End::Line)
    }

    /// Parses `name` or `name=value`, given without dashes.
    fn long(
        &mut self,
        table: OptionTable,
        text: &[u8],
        word: &OsStr,
        given: &mut Vec<GivenOption>,
    ) -> Result<Option<End>> {
        let (name, value) = match text.iter().position(|b| *b == b'=') {
            Some(at) => (text.get(..at), text.get(at.saturating_add(1)..)),
            None => (Some(text), None),
        };
        let name = name
            .and_then(|n| std::str::from_utf8(n).ok())
            .unwrap_or_default();
        let option = self.named(table, name).ok_or_else(|| unknown(word))?;
        let value = value.map(|v| OsString::from_vec(v.to_vec()));
        let value = match (option.takes, value) {
            (Takes::Help, None) => return Ok(Some(End::Exit)),
            (Takes::Nothing | Takes::MaybeValue, None) => None,
            (Takes::Nothing, Some(value)) if self.grammar == Grammar::Go && go_bool(&value) => {
                Some(value)
            }
            (Takes::Value | Takes::MaybeValue, Some(value)) => Some(value),
            (Takes::Value, None) => match self.next() {
                Some(value) => Some(value.clone()),
                None => return Ok(Some(End::Exit)),
            },
            (Takes::Help | Takes::Nothing, Some(_)) => return Err(unknown(word)),
        };
        given.push(GivenOption {
            long: option.long,
            value,
        });
        Ok(None)
    }

    /// Parses one-letter options in one word, given without its dash. A value may follow in it.
    fn cluster(
        &mut self,
        table: OptionTable,
        text: &[u8],
        word: &OsStr,
        given: &mut Vec<GivenOption>,
    ) -> Result<Option<End>> {
        let mut letters = text;
        while let Some((letter, rest)) = letters.split_first() {
            letters = rest;
            let option = all(table)
                .find(|o| o.short == Some(char::from(*letter)))
                .ok_or_else(|| unknown(word))?;
            let value = match option.takes {
                Takes::Help => return Ok(Some(End::Exit)),
                Takes::Nothing => {
                    given.push(GivenOption {
                        long: option.long,
                        value: None,
                    });
                    continue;
                }
                Takes::MaybeValue if rest.is_empty() => None,
                Takes::Value if rest.is_empty() => match self.next() {
                    Some(value) => Some(value.clone()),
                    None => return Ok(Some(End::Exit)),
                },
                Takes::Value | Takes::MaybeValue => {
                    let clap = self.grammar == Grammar::Clap;
                    let value = rest.strip_prefix(b"=").filter(|_| clap).unwrap_or(rest);
                    Some(OsString::from_vec(value.to_vec()))
                }
            };
            given.push(GivenOption {
                long: option.long,
                value,
            });
            return Ok(None);
        }
        Ok(None)
    }

    /// The option with this name. getopt also accepts an unambiguous prefix.
    fn named(&self, table: OptionTable, name: &str) -> Option<&'static Opt> {
        let short =
            |o: &&Opt| self.grammar == Grammar::Go && o.short.is_some_and(|c| name.chars().eq([c]));
        if let Some(exact) = all(table).find(|o| o.long == name || short(o)) {
            return Some(exact);
        }
        if self.grammar != Grammar::Getopt || name.is_empty() {
            return None;
        }
        let mut matching = all(table).filter(|o| o.long.starts_with(name));
        let first = matching.next()?;
        matching
            .all(|other| other.long == first.long)
            .then_some(first)
    }
}

fn all(table: OptionTable) -> impl Iterator<Item = &'static Opt> {
    table.iter().copied().flatten()
}

/// Whether Go's `strconv.ParseBool` returns true.
pub(super) fn is_true(value: &OsStr) -> bool {
    ["1", "t", "T", "true", "TRUE", "True"]
        .iter()
        .any(|word| value == *word)
}

/// Whether Go's `strconv.ParseBool` accepts a value.
fn go_bool(value: &OsStr) -> bool {
    let is_false = ["0", "f", "F", "false", "FALSE", "False"]
        .iter()
        .any(|word| value == *word);
    is_false || is_true(value)
}

/// The error for a word that is not in the runtime's tables.
pub(super) fn unknown(word: &OsStr) -> Error {
    unparsable(&format!("unknown word {}", quoted(&word.to_string_lossy())))
}

/// The error for a command line that this program and the runtime might parse differently.
pub(super) fn unparsable(why: &str) -> Error {
    let why = format!("cannot parse the command line: {why}");
    Error::new(Kind::Usage, why).with_remedy("write options as --name=value")
}
