//! Reading words as a runtime's own parser of options reads them. Pure.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::error::{Error, Kind, Result, quoted};
use crate::runtime::options::{Grammar, Opt, Table, Takes};

/// One option as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) long: &'static str,
    pub(super) value: Option<OsString>,
}

impl Given {
    /// `--name=value` is the one spelling that all runtimes read alike.
    pub(super) fn word(&self) -> OsString {
        let mut word = OsString::from(format!("--{}", self.long));
        if let Some(value) = &self.value {
            word.push("=");
            word.push(value);
        }
        word
    }
}

/// Why the options of one section ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At a word that is no option; it is not consumed.
    Word,
    /// At `--`, which is consumed.
    Dashes,
    /// At the end of the line.
    Line,
    /// Where the runtime certainly prints something and starts nothing: at a help option, or at
    /// an option whose value is missing.
    Nothing,
}

/// What is left of a command line.
pub(super) struct Scanner<'w> {
    pub(super) grammar: Grammar,
    pub(super) words: &'w [OsString],
}

impl<'w> Scanner<'w> {
    /// The next word, consumed.
    pub(super) fn next(&mut self) -> Option<&'w OsString> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    /// Reads options up to the first word that is none.
    pub(super) fn options(&mut self, table: Table, given: &mut Vec<Given>) -> Result<End> {
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

    /// `name` or `name=value`, without its dashes.
    fn long(
        &mut self,
        table: Table,
        text: &[u8],
        word: &OsStr,
        given: &mut Vec<Given>,
    ) -> Result<Option<End>> {
        let (name, value) = match text.iter().position(|b| *b == b'=') {
            Some(at) => (text.get(..at), text.get(at.saturating_add(1)..)),
            None => (Some(text), None),
        };
        let name = name
            .and_then(|n| std::str::from_utf8(n).ok())
            .unwrap_or_default();
        let option = self
            .named(table, name)
            .ok_or_else(|| refused(&quote(word)))?;
        let value = value.map(|v| OsString::from_vec(v.to_vec()));
        let value = match (option.takes, value) {
            (Takes::Help, None) => return Ok(Some(End::Nothing)),
            (Takes::Nothing | Takes::MaybeValue, None) => None,
            (Takes::Nothing, Some(value)) if self.grammar == Grammar::Go && go_bool(&value) => {
                Some(value)
            }
            (Takes::Value | Takes::MaybeValue, Some(value)) => Some(value),
            (Takes::Value, None) => match self.next() {
                Some(value) => Some(value.clone()),
                None => return Ok(Some(End::Nothing)),
            },
            (Takes::Help | Takes::Nothing, Some(_)) => return Err(refused(&quote(word))),
        };
        given.push(Given {
            long: option.long,
            value,
        });
        Ok(None)
    }

    /// One-letter options in one word, without its dash; a value may follow in the same word.
    fn cluster(
        &mut self,
        table: Table,
        text: &[u8],
        word: &OsStr,
        given: &mut Vec<Given>,
    ) -> Result<Option<End>> {
        let mut letters = text;
        while let Some((letter, rest)) = letters.split_first() {
            letters = rest;
            let option = all(table)
                .find(|o| o.short == Some(char::from(*letter)))
                .ok_or_else(|| refused(&quote(word)))?;
            let value = match option.takes {
                Takes::Help => return Ok(Some(End::Nothing)),
                Takes::Nothing => {
                    given.push(Given {
                        long: option.long,
                        value: None,
                    });
                    continue;
                }
                Takes::MaybeValue if rest.is_empty() => None,
                Takes::Value if rest.is_empty() => match self.next() {
                    Some(value) => Some(value.clone()),
                    None => return Ok(Some(End::Nothing)),
                },
                Takes::Value | Takes::MaybeValue => {
                    let clap = self.grammar == Grammar::Clap;
                    let value = rest.strip_prefix(b"=").filter(|_| clap).unwrap_or(rest);
                    Some(OsString::from_vec(value.to_vec()))
                }
            };
            given.push(Given {
                long: option.long,
                value,
            });
            return Ok(None);
        }
        Ok(None)
    }

    /// The option of this name; getopt also takes the beginning of one name only.
    fn named(&self, table: Table, name: &str) -> Option<&'static Opt> {
        let short =
            |o: &&Opt| self.grammar == Grammar::Go && o.short.is_some_and(|c| name.chars().eq([c]));
        if let Some(exact) = all(table).find(|o| o.long == name || short(o)) {
            return Some(exact);
        }
        if self.grammar != Grammar::Getopt || name.is_empty() {
            return None;
        }
        let mut beginning = all(table).filter(|o| o.long.starts_with(name));
        let first = beginning.next()?;
        beginning
            .all(|other| other.long == first.long)
            .then_some(first)
    }
}

fn all(table: Table) -> impl Iterator<Item = &'static Opt> {
    table.iter().copied().flatten()
}

/// What Go's `strconv.ParseBool` takes for true.
pub(super) fn is_true(value: &OsStr) -> bool {
    ["1", "t", "T", "true", "TRUE", "True"]
        .iter()
        .any(|word| value == *word)
}

/// What Go's `strconv.ParseBool` accepts.
fn go_bool(value: &OsStr) -> bool {
    let is_false = ["0", "f", "F", "false", "FALSE", "False"]
        .iter()
        .any(|word| value == *word);
    is_false || is_true(value)
}

pub(super) fn quote(word: &OsStr) -> String {
    quoted(&word.to_string_lossy())
}

/// The refusal of words that we and the runtime may read differently.
pub(super) fn refused(what: &str) -> Error {
    Error::new(
        Kind::Usage,
        format!("the command line has {what}, which cannot be read reliably"),
    )
    .with_remedy("spell options as --name=value")
}
