//! Links in the documentation, and the files that it names.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{files_below, root, text};

/// Every page of the project.
fn pages() -> Vec<String> {
    let root = root();
    let mut all = Vec::new();
    for place in ["docs", "hooks", "tests", "fuzz", "examples", "crates"] {
        let directory = root.join(place);
        if directory.is_dir() {
            all.extend(files_below(&directory));
        }
    }
    for entry in std::fs::read_dir(&root).unwrap() {
        all.push(entry.unwrap().path());
    }
    let names = all.iter().filter_map(|path| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
        let ours = name.ends_with(".md") && !name.contains("/artifacts/");
        (ours && path.is_file()).then(|| name.to_owned())
    });
    names.collect()
}

/// The anchor that GitHub makes of a heading.
pub(crate) fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches(['#', ' ']).to_lowercase();
    kept.replace(' ', "-")
        .replace(|c: char| !c.is_alphanumeric() && c != '-' && c != '_', "")
}

fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings.map(anchor).collect()
}

#[test]
fn each_link_leads_somewhere() {
    let mut broken = Vec::new();
    for name in pages() {
        let page = text(&name);
        let directory = Path::new(&name).parent().unwrap().to_str().unwrap();
        let links = page.split("](").skip(1);
        for link in links.filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            if link.starts_with("https://") {
                continue;
            }
            let target = match file {
                "" => root().join(&name),
                file => root().join(directory).join(file),
            };
            let there = target.exists();
            let found = heading.is_empty()
                || std::fs::read_to_string(&target).is_ok_and(|t| anchors(&t).contains(heading));
            if !there || !found {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Names in backticks that look like files of this project.
#[test]
fn each_file_that_is_named_exists() {
    let mut missing = Vec::new();
    let places = [
        "src/",
        "crates/",
        "tests/",
        "docs/",
        "config/",
        "deploy/",
        "hooks/",
        "examples/",
        "fuzz/",
        "benches/",
    ];
    for name in pages() {
        if name == "CHANGELOG.md" {
            continue;
        }
        let page = text(&name);
        for code in page.split('`').skip(1).step_by(2) {
            let named = places.iter().any(|place| code.starts_with(place));
            let plain = !code.contains([' ', '*', '{', '<', 'A', '\n']);
            let made = code.starts_with("fuzz/artifacts") || code.starts_with("fuzz/target");
            if named && plain && !made && !root().join(code).exists() {
                missing.push(format!("{name}: {code}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
