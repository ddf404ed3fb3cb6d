//! `docs/formats.md`, compared with what the programs print and with the structures that they
//! write.

use std::fs;

use oci_apparmor::error::Kind;
use serde_json::Value;

use crate::{Words, fields, help, manual, names, run, rust, section, text};

const PAGE: &str = "docs/formats.md";

#[test]
fn each_exit_code_is_described() {
    let kinds = [
        Kind::Usage,
        Kind::NotFound,
        Kind::DoesNotCompile,
        Kind::Policy,
        Kind::KernelOff,
        Kind::Configuration,
        Kind::Internal,
    ];
    // A kind that is added must be added above as well.
    let complete = |kind: Kind| match kind {
        Kind::Usage
        | Kind::NotFound
        | Kind::DoesNotCompile
        | Kind::Policy
        | Kind::KernelOff
        | Kind::Configuration
        | Kind::Internal => kind.exit_code(),
    };
    let formats = text(PAGE);
    let table = section(&formats, "## Exit codes");
    let help = help(&[]);
    let hook = manual("oci-apparmor-hook.8");
    for kind in kinds {
        let code = complete(kind);
        let row = format!("| {code} | {kind:?} | ");
        assert!(table.contains(&row), "{kind:?}");
        // The help of the command line becomes its manual page.
        assert!(help.contains(&format!(" {code} ")), "{kind:?} in --help");
        assert!((2..=8).contains(&code), "{kind:?} in the hook's page");
    }
    assert!(hook.contains(".BR 2 \" to \" 8"), "oci-apparmor-hook(8)");
    let rows = table.lines().filter(|l| l.starts_with("| ")).count();
    assert_eq!(rows, kinds.len() + 2);
}

/// The fields of a structure in the code. They are read from its text: where it stands may change,
/// what is on disk may not.
fn structure(any_of: &[&str]) -> Words {
    let files = rust::files();
    let body = any_of.iter().find_map(|name| {
        let head = format!("pub struct {name} {{\n");
        let file = files.iter().find(|file| file.text.contains(&head))?;
        let start = file.text.find(&head)? + head.len();
        Some(file.text[start..].split("\n}").next()?.to_owned())
    });
    let body = body.unwrap_or_else(|| panic!("no structure {any_of:?}"));
    assert!(!body.contains("rename"), "{any_of:?} has a renamed field");
    body.lines()
        .filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn each_field_of_a_record_is_described() {
    let formats = text(PAGE);
    let page = section(&formats, "## /run/oci-apparmor");
    let (whole, component) = page.split_once("Each of `components`").unwrap();
    let described = names(whole.split_once("one JSON object").unwrap().1);
    assert_eq!(described, structure(&["Record"]));
    assert_eq!(names(component), structure(&["RecordedProfile"]));
}

#[test]
fn each_field_of_what_configure_writes_is_described() {
    let formats = text(PAGE);
    let described = section(&formats, "## /etc/oci-apparmor/engines");
    assert_eq!(names(described), structure(&["Journal", "Memory"]));
    for field in structure(&["Hunk"]) {
        assert!(described.contains(&format!("`{field}`")), "{field}");
    }
}

fn json(words: &[&str]) -> Value {
    let output = run(words);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

#[test]
fn each_field_that_the_commands_print_is_described() {
    let formats = text(PAGE);
    let of = |command: &str| {
        let heading = format!("## JSON of `oci-apparmor {command} --json`");
        section(&formats, &heading)
    };
    let bundle = tempfile::tempdir().unwrap();
    fs::write(bundle.path().join("config.json"), r#"{"process":{}}"#).unwrap();
    let explained = json(&["explain", "--json", bundle.path().to_str().unwrap()]);
    assert_eq!(names(of("explain")), fields(&explained));

    let manifest = bundle.path().join("p.yaml");
    let text = "apiVersion: security-profiles-operator.x-k8s.io/v1\nkind: AppArmorProfile\n\
                metadata: {name: p}\nspec: {state: Disabled}\n";
    fs::write(&manifest, text).unwrap();
    let rendered = json(&["render", "--json", manifest.to_str().unwrap()]);
    assert_eq!(names(of("render")), fields(&rendered[0]));

    let checked = json(&["check", "--json"]);
    for finding in checked.as_array().unwrap() {
        assert_eq!(names(of("check")), fields(finding));
        for key in ["part", "status"] {
            let value = format!("`{}`", finding[key].as_str().unwrap());
            assert!(of("check").contains(&value), "{finding}");
        }
    }
}
