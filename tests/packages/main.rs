//! The files of a release, as `packaging/build` makes them: what is in them, that they are the same
//! each time, and what the Debian package does on a node of each release. What needs a kernel with
//! AppArmor is in `kernel_engines` and `kernel_containers`.

// Tests may fail by panicking, and print what they could not do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod archives;
mod debian_package;
mod linked_crates;
mod release_image;

// Each suite uses a part of them.
#[allow(dead_code)]
#[path = "../support/programs.rs"]
mod programs;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;

use serde_json::Value;

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The directory of the packages that are tested; they are made where they are not current.
fn made() -> PathBuf {
    static ONCE: Once = Once::new();
    let programs = programs::program("oci-apparmor-agent")
        .parent()
        .unwrap()
        .to_owned();
    ONCE.call_once(|| {
        let script = checkout().join("tests/packages/prepare.sh");
        success(run(script, [&programs]));
    });
    programs.join("test-packages")
}

/// The one file with this ending.
fn file(ending: &str) -> PathBuf {
    let files = fs::read_dir(made()).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("oci-apparmor") && name.ends_with(ending)
        })
        .collect();
    assert_eq!(files.len(), 1, "{ending}: {files:?}");
    files.remove(0)
}

fn run<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, words: impl IntoIterator<Item = S>) -> Output {
    let mut command = Command::new(program);
    command.args(words);
    let output = command.output();
    output.unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"))
}

#[track_caller]
fn success(output: Output) -> String {
    let err = String::from_utf8_lossy(&output.stderr);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Whether a program is there that `tests/run.sh` installs.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        cannot(&format!("there is no {program}"));
    }
    found
}

fn cannot(why: &str) {
    let must = std::env::var_os("OCI_APPARMOR_MUST_RUN").is_some_and(|v| v == "1");
    assert!(!must, "OCI_APPARMOR_MUST_RUN=1, but {why}");
    eprintln!("not run: {why}");
}
