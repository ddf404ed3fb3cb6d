//! Where commands print: text and tables for people, JSON for programs.

use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use clap::ColorChoice as Wanted;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use terminal_size::{Width, terminal_size_of};

use crate::report::table::Table;
use oci_apparmor::error::{Error, Kind, Result};

/// What standard output is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    colour: bool,
    /// How wide the terminal is, if it is one.
    width: Option<usize>,
}

impl Output {
    /// Standard output; `--color` decides on colours, or NO_COLOR and whether it is a terminal.
    pub(crate) fn new(wanted: Wanted) -> Self {
        let stdout = io::stdout();
        let colour = match wanted {
            Wanted::Always => true,
            Wanted::Never => false,
            Wanted::Auto => AutoStream::choice(&stdout) != ColorChoice::Never,
        };
        let width = || terminal_size_of(&stdout).map_or(80, |(Width(width), _)| width.into());
        Self {
            colour,
            width: stdout.is_terminal().then(width),
        }
    }

    /// Whether a person reads it.
    pub(crate) fn is_terminal(self) -> bool {
        self.width.is_some()
    }

    /// A container's id: on a terminal the first 12 of 64 hexadecimal digits, as engines show it.
    pub(crate) fn id(self, id: &str) -> &str {
        let long = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
        match long && self.is_terminal() {
            true => id.get(..12).unwrap_or(id),
            false => id,
        }
    }

    /// Whether what is printed is still read: not if it is a pipe whose reader has gone away.
    pub(crate) fn is_read(self) -> bool {
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let stdout = io::stdout();
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        let gone = poll(&mut fds, Some(&at_once)).is_ok_and(|count| count > 0);
        !gone || !fds.iter().any(|fd| fd.revents().contains(PollFlags::ERR))
    }

    /// Prints text as it is.
    ///
    /// # Errors
    /// Where it cannot be written; a reader that has gone away is no error.
    pub(crate) fn text(self, text: &str) -> Result<()> {
        match io::stdout().lock().write_all(text.as_bytes()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::new(Kind::Internal, format!("cannot print: {e}")))
            }
            _ => Ok(()),
        }
    }

    /// Prints a line.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub(crate) fn line(self, line: impl std::fmt::Display) -> Result<()> {
        self.text(&format!("{line}\n"))
    }

    /// Prints a table.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub(crate) fn table(self, table: &Table) -> Result<()> {
        self.text(&table.render(self.width, self.colour))
    }

    /// Prints a line for people about the output, to standard error. A reader that has gone away is
    /// no error.
    pub(crate) fn note(self, line: impl std::fmt::Display) {
        let _ = io::stderr()
            .lock()
            .write_all(format!("{line}\n").as_bytes());
    }

    /// The same for a table.
    pub(crate) fn note_table(self, table: &Table) {
        let stderr = io::stderr();
        let width = terminal_size_of(&stderr).map_or(80, |(Width(width), _)| width.into());
        let width = stderr.is_terminal().then_some(width);
        let colour = self.colour && stderr.is_terminal();
        let _ = stderr
            .lock()
            .write_all(table.render(width, colour).as_bytes());
    }

    /// Prints one JSON object on one line.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub(crate) fn json_line(self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value);
        let text = text.map_err(|e| Error::new(Kind::Internal, format!("cannot print: {e}")))?;
        self.text(&(text + "\n"))
    }

    /// Prints what `--json` asks for.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub(crate) fn json(self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value);
        let text = text.map_err(|e| Error::new(Kind::Internal, format!("cannot print: {e}")))?;
        self.text(&(text + "\n"))
    }
}
