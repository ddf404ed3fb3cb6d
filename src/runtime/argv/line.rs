//! A parsed command line of a subcommand that the wrapper handles. Pure.

use std::ffi::{OsStr, OsString};

use crate::runtime::argv::scanner::{GivenOption, is_true};
use crate::runtime::argv::subcommand::Subcommand;

/// A parsed command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeCommand {
    /// The subcommand.
    pub subcommand: Subcommand,
    /// The container's id.
    pub id: String,
    /// The options before the subcommand.
    pub(super) globals: Vec<GivenOption>,
    /// The options after the subcommand.
    pub(super) options: Vec<GivenOption>,
    /// The words after the id: the command of `exec`.
    pub(super) rest: Vec<OsString>,
}

impl RuntimeCommand {
    /// The value of an option of the subcommand.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&OsStr> {
        last(&self.options, name)
    }

    /// Whether a flag is given and not set to false.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let off = |g: &GivenOption| g.value.as_deref().is_some_and(|v| !is_true(v));
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

    /// Sets an option of the subcommand, and removes others with this name.
    pub fn set_option(&mut self, name: &'static str, value: OsString) {
        self.options.retain(|given| given.long != name);
        self.options.push(GivenOption {
            long: name,
            value: Some(value),
        });
    }

    /// The words that make the runtime delete this container by force.
    #[must_use]
    pub fn deletion(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = self.globals.iter().map(GivenOption::word).collect();
        words.extend(["delete", "--force", self.id.as_str()].map(OsString::from));
        words
    }

    /// The command line in its canonical spelling, without the program's name.
    #[must_use]
    pub fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = self.globals.iter().map(GivenOption::word).collect();
        words.push(self.subcommand.name().into());
        words.extend(self.options.iter().map(GivenOption::word));
        words.push(self.id.clone().into());
        words.extend(self.rest.iter().cloned());
        words
    }
}

/// The value of the last option with this name, which is the one that runtimes use.
pub(super) fn last<'g>(given: &'g [GivenOption], name: &str) -> Option<&'g OsStr> {
    given
        .iter()
        .rev()
        .find(|g| g.long == name)
        .and_then(|g| g.value.as_deref())
}
