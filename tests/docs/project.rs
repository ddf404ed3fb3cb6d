//! `CONTRIBUTING.md`, `SECURITY.md`, versions: what they say of the project, compared with it.

use std::collections::BTreeSet;
use std::fs;

use crate::{Words, files_below, manual, names, root, section, text};

#[test]
fn the_version_is_one() {
    let version = env!("CARGO_PKG_VERSION");
    let changelog = text("CHANGELOG.md");
    assert!(
        changelog.contains(&format!("\n## [{version}]"))
            || section(&changelog, "## [Unreleased]").contains(&format!("version {version}")),
        "CHANGELOG.md does not name {version}"
    );
    for path in files_below(&root().join("docs/man")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let page = manual(name);
        let title = page.lines().find(|line| line.starts_with(".TH"));
        assert!(title.unwrap().contains(version), "{name}: {title:?}");
    }
}

/// The names of the dependencies of a manifest, without the crates of this workspace.
fn dependencies(manifest: &str) -> Words {
    manifest
        .split("\n[")
        .filter(|section| {
            section
                .lines()
                .next()
                .is_some_and(|l| l.ends_with("dependencies]"))
        })
        .flat_map(|section| section.lines().skip(1))
        .filter(|l| !l.starts_with('#') && !l.contains("path = "))
        .filter_map(|l| l.split_once([' ', '.', '=']))
        .map(|(name, _)| name.to_owned())
        .filter(|name| !name.starts_with("oci-apparmor"))
        .collect()
}

#[test]
fn each_dependency_has_its_reason() {
    let mut table = names(&text("CONTRIBUTING.md"));
    table.retain(|name| !name.starts_with("oci-apparmor"));
    let mut used = dependencies(&text("Cargo.toml"));
    for entry in fs::read_dir(root().join("crates")).into_iter().flatten() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        used.extend(dependencies(&fs::read_to_string(manifest).unwrap()));
    }
    assert_eq!(table, used, "the table in CONTRIBUTING.md");
}

/// The test functions of all suites, as `module::function`.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut files = files_below(&root().join("tests"));
    files.extend(files_below(&root().join("crates/agent/tests")));
    files.retain(|path| path.extension().is_some_and(|e| e == "rs"));
    for path in files {
        let stem = |path: &std::path::Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let module = match stem(&path).as_str() {
            "mod" => stem(path.parent().unwrap()),
            other => other.to_owned(),
        };
        let source = fs::read_to_string(&path).unwrap();
        let mut lines = source.lines();
        while let Some(line) = lines.next() {
            let is_test = line.trim() == "#[test]" || line.trim().starts_with("#[tokio::test");
            if is_test
                && let Some(line) = lines.next().map(|line| line.trim())
                && let Some(name) = line.trim_start_matches("async ").strip_prefix("fn ")
            {
                found.insert(format!("{module}::{}", name.split('(').next().unwrap()));
            }
        }
    }
    found
}

#[test]
fn each_promise_has_a_test() {
    let page = text("SECURITY.md");
    let tests = tests();
    assert!(tests.len() > 100, "{tests:?}");
    let table = section(&page, "## Guarantees and their tests");
    let rows: Vec<&str> = table.lines().filter(|line| line.ends_with("` |")).collect();
    assert!(rows.len() >= 25, "{rows:?}");
    for row in rows {
        let named = row.split('|').nth(2).unwrap().split('`').skip(1).step_by(2);
        for name in named {
            assert!(tests.contains(name), "SECURITY.md: {name} is no test");
        }
    }
}

/// How to report a vulnerability must not refer to something that is missing.
#[test]
fn security_points_to_nothing_that_is_missing() {
    let page = text("SECURITY.md");
    let keys = text("Cargo.toml");
    for key in ["repository", "homepage", "authors", "documentation"] {
        let there = keys.lines().any(|l| l.starts_with(&format!("{key} =")));
        assert!(
            there || !page.contains(&format!("`{key}`")) && !page.contains("`Cargo.toml`'s"),
            "Cargo.toml has no {key}"
        );
    }
}

/// The README is one page.
#[test]
fn the_readme_is_short() {
    let length = text("README.md").len();
    assert!(length <= 8 * 1024, "README.md has {length} bytes");
}
