//! What `oci-apparmor render` prints for each manifest in `tests/data/manifests`. Beside a manifest
//! are the profile texts (`.txt`) and the refusals (`.refused`). With `OCI_APPARMOR_BLESS=1` both
//! are written anew: read the difference before you commit it.

// Tests may fail by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use support::programs::program;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/manifests")
}

fn files(extension: &str) -> BTreeSet<String> {
    let named = |path: PathBuf| {
        (path.extension() == Some(OsStr::new(extension)))
            .then(|| path.file_stem().unwrap().to_str().unwrap().to_owned())
    };
    fs::read_dir(directory())
        .unwrap()
        .filter_map(|entry| named(entry.unwrap().path()))
        .collect()
}

fn render(words: &[&str]) -> Output {
    fed(b"", words)
}

/// `render` with this on its standard input.
fn fed(input: &[u8], words: &[&str]) -> Output {
    through(
        Command::new(program("oci-apparmor"))
            .arg("render")
            .args(words),
        input,
    )
}

fn through(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .current_dir(directory())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // What it does not want to read it need not.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// What a golden file says; nothing where there is none.
fn golden(name: &str, extension: &str) -> String {
    fs::read_to_string(directory().join(format!("{name}.{extension}"))).unwrap_or_default()
}

fn write(name: &str, extension: &str, text: &str) {
    let path = directory().join(format!("{name}.{extension}"));
    match text {
        "" => drop(fs::remove_file(path)),
        // By a rename: other tests read it at the same time.
        text => {
            let new = path.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, path).unwrap();
        }
    }
}

#[test]
fn each_manifest_renders_as_its_golden_files_say() {
    let all = files("yaml");
    assert!(all.len() > 24, "{all:?}");
    for name in &all {
        let output = render(&[&format!("{name}.yaml")]);
        let texts = String::from_utf8(output.stdout).unwrap();
        let refusals = String::from_utf8(output.stderr).unwrap();
        if std::env::var_os("OCI_APPARMOR_BLESS").is_some_and(|v| v == "1") {
            write(name, "txt", &texts);
            write(name, "refused", &refusals);
        }
        assert!(!texts.is_empty() || !refusals.is_empty(), "{name}");
        assert_eq!(texts, golden(name, "txt"), "{name}.txt");
        assert_eq!(refusals, golden(name, "refused"), "{name}.refused");
        assert_eq!(
            output.status.code() == Some(0),
            refusals.is_empty(),
            "{name}"
        );
        assert_eq!(
            name.starts_with("refused-"),
            texts.is_empty(),
            "{name} is named for something else"
        );
    }
}

#[test]
fn no_golden_file_is_without_its_manifest() {
    let all = files("yaml");
    for name in files("txt").union(&files("refused")) {
        assert!(all.contains(name), "{name}");
    }
}

#[test]
fn json_says_the_same_as_the_text() {
    for name in files("yaml") {
        let file = format!("{name}.yaml");
        let output = render(&["--json", &file]);
        if output.status.code() != Some(0) {
            // The file as a whole cannot be read: one line, the same in both forms.
            let line = String::from_utf8(output.stderr).unwrap();
            assert_eq!(line, golden(&name, "refused"), "{name}");
            assert_eq!(line.lines().count(), 1, "{name}");
            assert_eq!(output.stdout, b"[]\n", "{name}");
            continue;
        }
        assert_eq!(output.stderr, b"", "{name}");
        let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
        for row in rows.as_array().unwrap() {
            assert_eq!(row["file"], file.as_str());
            match (row["text"].as_str(), row["refused"].as_str()) {
                (Some(text), None) => {
                    assert!(golden(&name, "txt").contains(text), "{name}");
                    let mode = row["complain"].as_bool().unwrap();
                    assert_eq!(mode, text.contains("flags=(complain,"), "{name}");
                    let disabled = format!("{})", row["place"].as_str().unwrap()) + ", disabled\n";
                    let said = golden(&name, "txt").contains(&disabled);
                    assert_eq!(row["disabled"].as_bool().unwrap(), said, "{name}");
                    assert!(row["name"].is_string(), "{name}");
                }
                (None, Some(why)) => {
                    assert!(golden(&name, "refused").contains(why), "{name}: {why}");
                    assert!(row["complain"].is_null() && row["disabled"].is_null());
                }
                _ => panic!("{name}: {row}"),
            }
        }
    }
}

/// apparmor_parser of this host, where there is one; the kernel tests have another one.
#[test]
fn what_is_rendered_compiles() {
    let parser = ["/sbin/apparmor_parser", "/usr/sbin/apparmor_parser"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    let Some(parser) = parser else {
        assert!(
            std::env::var_os("OCI_APPARMOR_MUST_RUN").is_none_or(|v| v != "1"),
            "apparmor_parser is missing"
        );
        return;
    };
    for name in files("txt") {
        let output = render(&["--json", &format!("{name}.yaml")]);
        let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
        for text in rows
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|row| row["text"].as_str())
        {
            let mut compile = Command::new(parser);
            let output = through(compile.args(["-Q", "-K", "-S"]), text.as_bytes());
            assert!(
                output.status.success() && !output.stdout.is_empty(),
                "{name}: {output:?}"
            );
        }
    }
}

#[test]
fn several_files_are_rendered_and_one_that_fails_stops_none() {
    let output = render(&["complain.yaml", "none.yaml", "disabled.yaml"]);
    assert_eq!(output.status.code(), Some(3));
    let texts = String::from_utf8(output.stdout).unwrap();
    assert!(
        texts.starts_with("# complain (complain.yaml, document 1)\n"),
        "{texts}"
    );
    assert!(
        texts.contains("\n}\n\n# disabled (disabled.yaml, document 1), disabled\n"),
        "{texts}"
    );
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "oci-apparmor: none.yaml: cannot be read: it does not exist\n"
    );
}

#[test]
fn standard_input_is_read_up_to_a_limit() {
    let manifest = fs::read(directory().join("complain.yaml")).unwrap();
    let output = fed(&manifest, &["-"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        golden("complain", "txt")
    );
    let padded = [&manifest[..], b"#", &vec![b'#'; 4 << 20]].concat();
    for json in [&["-"][..], &["--json", "-"]] {
        let output = fed(&padded, json);
        assert_eq!(output.status.code(), Some(4));
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "oci-apparmor: standard input: it is larger than 4 MiB\n"
        );
    }
    assert_eq!(render(&[]).status.code(), Some(2));
}
