//! Log lines on standard error: one for each message, without a time; the engine adds it.

use std::error::Error;
use std::io::{self, Write};

use log::{Level, LevelFilter, Log, Metadata, Record};

struct StandardError;

impl Log for StandardError {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries log more than an operator can act on.
        metadata.target().starts_with("oci_apparmor_agent")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = line(record.level(), &record.args().to_string());
            // Where this fails, no other place is left to say so.
            let _ = io::stderr().lock().write_all(text.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// One line, whatever the text has: parts of it come from the API.
pub(crate) fn line(level: Level, text: &str) -> String {
    let mut line = format!("{}: ", level.as_str().to_ascii_lowercase());
    for c in text.chars() {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line.push('\n');
    line
}

/// An error with its causes: kube's own text often says only that there was one.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        if !text.contains(&why) {
            text = format!("{text}: {why}");
        }
        cause = error.source();
    }
    text
}

/// From now on, messages are printed.
pub(crate) fn start() {
    if log::set_logger(&StandardError).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line() {
        let text = line(Level::Warn, "a\nb\u{1b}[31m");
        assert_eq!(text, "warn: a\\nb\\u{1b}[31m\n");
    }
}
