//! What a command is working on, once that takes longer than a second: one line on a terminal's
//! standard error, overwritten and erased at the end. Elsewhere nothing is shown.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use terminal_size::{Width, terminal_size_of};

use crate::report::table::escaped;

/// How long it stays silent, and how often it is written anew.
const PATIENCE: Duration = Duration::from_secs(1);
const REFRESH: Duration = Duration::from_millis(200);

/// Shows progress until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Progress(Option<(Sender<String>, JoinHandle<()>)>);

impl Progress {
    /// Starts to wait for the second to pass.
    pub(crate) fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let (sender, receiver) = mpsc::channel();
        let show = move || {
            let begun = Instant::now();
            let mut doing = String::new();
            let mut shown = false;
            loop {
                match receiver.recv_timeout(REFRESH) {
                    Ok(next) => doing = next,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                if begun.elapsed() >= PATIENCE && !doing.is_empty() {
                    write(&format!("{doing} ({} s)", begun.elapsed().as_secs()));
                    shown = true;
                }
            }
            if shown {
                write("");
            }
        };
        let thread = thread::Builder::new().spawn(show);
        Self(thread.ok().map(|thread| (sender, thread)))
    }

    /// Says what is worked on now.
    pub(crate) fn show(&self, doing: &str) {
        if let Some((sender, _)) = &self.0 {
            let _ = sender.send(escaped(doing));
        }
    }

    /// Says which of `total` things is worked on, after `done` others.
    pub(crate) fn step(&self, done: usize, total: usize, name: &str) {
        match total {
            0 | 1 => self.show(name),
            _ => self.show(&format!("{}/{total} {name}", done.saturating_add(1))),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.0.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

/// Overwrites the line; it is cut, since one that wraps could not be erased.
fn write(text: &str) {
    let stderr = io::stderr();
    let width = terminal_size_of(&stderr).map_or(80, |(Width(width), _)| usize::from(width));
    let text: String = text.chars().take(width.saturating_sub(1)).collect();
    let _ = stderr
        .lock()
        .write_all(format!("\r\x1b[K{text}").as_bytes());
}
