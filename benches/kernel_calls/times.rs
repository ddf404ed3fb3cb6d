//! Times, and how they are taken.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::samples::Samples;
use crate::support::containers::{CONFIG, wrapper};

/// What one thing took in all rounds, in milliseconds.
pub(crate) struct Times(Vec<f64>);

impl Times {
    /// Those of this name.
    pub(crate) fn of(samples: &Samples, name: &str) -> Self {
        let all = samples.sorted(name);
        assert!(!all.is_empty(), "{name} was not measured");
        Self(all)
    }

    pub(crate) fn minimum(&self) -> f64 {
        self.0[0]
    }

    pub(crate) fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    pub(crate) fn maximum(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    pub(crate) fn json(&self) -> Value {
        json!({"minimum_ms": self.minimum(), "median_ms": self.median()})
    }
}

/// To three places.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// A command without input and output.
pub(crate) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// How long a call takes that succeeds.
pub(crate) fn call(words: &[&str]) -> Duration {
    let mut command = command(words);
    let start = Instant::now();
    let status = command.status().unwrap();
    let time = start.elapsed();
    assert!(status.success(), "{words:?}: {status}");
    time
}

/// Waits until what was written counts as unchanged: a fingerprint of a file is believed only if the
/// file did not change for two seconds before.
pub(crate) fn settle() {
    std::thread::sleep(Duration::from_millis(2_200));
}

/// A script that only root can change. The wrapper takes no other.
pub(crate) fn script(name: &str, text: &str) -> PathBuf {
    let path = wrapper(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A node whose runc is a program that does nothing.
pub(crate) fn configure_nothing(settings: &str) {
    let nothing = script("nothing", "#!/bin/busybox true\n");
    let text = format!("{settings}\n[runtimes]\nrunc = {nothing:?}\n");
    fs::write(CONFIG, text).unwrap();
}

/// The path of a program.
pub(crate) fn found(name: &str) -> PathBuf {
    let directories = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
    let mut paths = directories
        .iter()
        .map(|directory| Path::new(directory).join(name));
    let found = paths.find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not installed; run: tests/vm/setup"))
}
