//! The documentation and the files that are installed, compared with the code; and the map of the
//! source, compared with what the source imports. `OCI_APPARMOR_BLESS=1` writes what is generated.

// A test may panic, and its numbers are small.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]

mod configuration;
mod deploy;
mod deploy_installer;
mod deploy_pods;
mod formats;
mod hooks;
mod install;
mod links;
mod map;
mod messages;
mod node_install;
mod node_objects;
mod pods;
mod project;
mod rust;

// Each suite uses a part of it.
#[allow(dead_code)]
#[path = "../support/kubernetes.rs"]
mod kubernetes;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

type Words = BTreeSet<String>;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Whether generated files are to be written instead of compared.
fn bless() -> bool {
    std::env::var_os("OCI_APPARMOR_BLESS").is_some_and(|v| v == "1")
}

/// Compares a generated file with what it is made from, or writes it.
fn generated(path: &str, content: &str) {
    if bless() {
        fs::write(root().join(path), content).unwrap();
    }
    let now = fs::read_to_string(root().join(path)).unwrap_or_default();
    let differs = now
        .lines()
        .zip(content.lines())
        .position(|(now, made)| now != made);
    assert!(
        now == content,
        "{path} is not current (first at line {differs:?}); run: OCI_APPARMOR_BLESS=1 cargo test --test docs"
    );
}

/// The programs of this build.
fn programs() -> PathBuf {
    let wrapper = Path::new(env!("CARGO_BIN_EXE_oci-apparmor-runtime"));
    wrapper.parent().unwrap().to_owned()
}

fn run(words: &[&str]) -> Output {
    let program = programs().join("oci-apparmor");
    Command::new(program).args(words).output().unwrap()
}

/// What `--help` of a command says.
fn help(words: &[&str]) -> String {
    let output = run(&[words, &["--help"]].concat());
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A manual page as people read it: without fonts and escapes.
fn manual(page: &str) -> String {
    let mut plain = text(&format!("docs/man/{page}"));
    for (escape, is) in [("\\-", "-"), ("\\fB", ""), ("\\fI", ""), ("\\fR", "")] {
        plain = plain.replace(escape, is);
    }
    plain
}

/// The part of a Markdown text below a heading, up to the next one of its kind.
fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let start = text
        .find(&format!("{heading}\n"))
        .unwrap_or_else(|| panic!("no {heading}"));
    let rest = &text[start + heading.len()..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

/// The names in the first column of a table, several in one cell apart.
fn names(table: &str) -> Words {
    table
        .lines()
        .filter(|l| l.starts_with("| `"))
        .flat_map(|l| l.split(" | ").next().unwrap().split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

fn fields(value: &Value) -> Words {
    value.as_object().unwrap().keys().cloned().collect()
}

/// Every file below a directory, sorted.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() && !path.is_symlink() {
            true => found.extend(files_below(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}
