//! Descriptions of options, and the ways in which runtimes parse them.

use crate::settings::RuntimeKind;

/// Whether an option takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// No value.
    Nothing,
    /// A value.
    Value,
    /// An optional value in the same word (crun's `--tty`).
    MaybeValue,
    /// No value, and the runtime prints help or its version and exits.
    Help,
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// Its long name.
    pub long: &'static str,
    /// Its one-letter name.
    pub short: Option<char>,
    /// Whether it takes a value.
    pub takes: Takes,
}

pub(super) const fn opt(long: &'static str, short: Option<char>, takes: Takes) -> Opt {
    Opt { long, short, takes }
}
pub(super) const fn flag(long: &'static str) -> Opt {
    opt(long, None, Takes::Nothing)
}
pub(super) const fn flag_s(long: &'static str, short: char) -> Opt {
    opt(long, Some(short), Takes::Nothing)
}
pub(super) const fn value(long: &'static str) -> Opt {
    opt(long, None, Takes::Value)
}
pub(super) const fn value_s(long: &'static str, short: char) -> Opt {
    opt(long, Some(short), Takes::Value)
}
pub(super) const fn help(long: &'static str, short: Option<char>) -> Opt {
    opt(long, short, Takes::Help)
}

/// How a runtime parses its command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grammar {
    /// Go's `flag`, as urfave/cli uses it: one dash is two, no clusters, no abbreviations.
    Go,
    /// `getopt_long`, as argp uses it with `ARGP_IN_ORDER`: clusters, abbreviations, `-bX`.
    Getopt,
    /// clap: clusters, `-bX`, `-b=X`, no abbreviations, no repeated options.
    Clap,
}

/// How `runtime` parses its command line.
#[must_use]
pub fn grammar(runtime: RuntimeKind) -> Grammar {
    match runtime {
        RuntimeKind::Runc => Grammar::Go,
        RuntimeKind::Crun => Grammar::Getopt,
        RuntimeKind::Youki => Grammar::Clap,
    }
}

/// The options of one subcommand, as a list of groups that subcommands share.
pub type OptionTable = &'static [&'static [Opt]];
