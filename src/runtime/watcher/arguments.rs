//! The command line of a watcher.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::runtime::argv::subcommand::Subcommand;

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WatcherArguments {
    pub(super) subcommand: Subcommand,
    pub(super) root: PathBuf,
    pub(super) id: String,
    /// The writer and the time of the record. A later record is that of another container.
    pub(super) writer: String,
    pub(super) time: String,
    /// The runtime's program.
    pub(super) program: PathBuf,
    /// The engine's `--log` and `--log-format`.
    pub(super) log: OsString,
    pub(super) log_format: OsString,
    /// The words that the wrapper calls the runtime with; none if it becomes the runtime.
    pub(super) words: Vec<OsString>,
    /// The words that make the runtime delete the container.
    pub(super) deletion: Vec<OsString>,
}

impl WatcherArguments {
    /// Whether the wrapper calls the runtime as a child and waits for it.
    pub(super) fn calls_the_runtime(&self) -> bool {
        !self.words.is_empty()
    }

    /// As words. Those for the runtime are not the last ones, so that the watcher's own command line
    /// does not look like a call of the runtime.
    pub(super) fn to_words(&self) -> Vec<OsString> {
        let mut words = vec![
            self.subcommand.name().into(),
            self.root.clone().into(),
            self.id.clone().into(),
            self.writer.clone().into(),
            self.time.clone().into(),
            self.program.clone().into(),
            self.log.clone(),
            self.log_format.clone(),
            self.words.len().to_string().into(),
        ];
        words.extend(self.words.iter().chain(&self.deletion).cloned());
        words
    }

    /// The inverse of [`Self::to_words`].
    pub(super) fn from_words(words: &[OsString]) -> Option<Self> {
        let [subcommand, root, id, writer, time, rest @ ..] = words else {
            return None;
        };
        let [program, log, format, count, rest @ ..] = rest else {
            return None;
        };
        let subcommand = |one: &Subcommand| subcommand == one.name();
        let (words, deletion) = rest.split_at_checked(count.to_str()?.parse().ok()?)?;
        Some(Self {
            subcommand: Subcommand::ALL.into_iter().find(subcommand)?,
            root: root.into(),
            id: id.to_str()?.to_owned(),
            writer: writer.to_str()?.to_owned(),
            time: time.to_str()?.to_owned(),
            program: program.into(),
            log: log.clone(),
            log_format: format.clone(),
            words: words.to_vec(),
            deletion: deletion.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_survive_the_command_line() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let arguments = WatcherArguments {
            subcommand: Subcommand::Restore,
            root: "/r".into(),
            id: "c".to_owned(),
            writer: "7".to_owned(),
            time: "1970-01-01T00:00:00Z".to_owned(),
            program: "/usr/sbin/runc".into(),
            log: "".into(),
            log_format: "json".into(),
            words: words("--root /r restore c"),
            deletion: words("--root /r delete --force c"),
        };
        let words_of = arguments.to_words();
        assert_eq!(WatcherArguments::from_words(&words_of), Some(arguments));
        for cut in 0..9 {
            assert_eq!(
                WatcherArguments::from_words(words_of.get(..cut).unwrap()),
                None
            );
        }
        let too_few = words("run / c 7 t /p l f 3 a b");
        assert_eq!(WatcherArguments::from_words(&too_few), None);
    }
}
