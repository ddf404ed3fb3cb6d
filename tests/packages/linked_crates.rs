//! The list of crates, and their licences.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{checkout, file, json, made, run, success};

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Everything that a component depends on.
fn below<'a>(edges: &BTreeMap<&'a str, Vec<&'a str>>, of: &'a str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut todo = vec![of];
    while let Some(at) = todo.pop() {
        for next in &edges[at] {
            if found.insert(*next) {
                todo.push(next);
            }
        }
    }
    found
}

#[test]
fn each_program_has_the_crates_that_are_linked_into_it() {
    let bom = json(&file(".cdx.json"));
    assert_eq!(
        (word(&bom["bomFormat"]), word(&bom["specVersion"])),
        ("CycloneDX", "1.5")
    );
    assert_eq!(word(&bom["metadata"]["timestamp"]), "2025-06-15T15:06:40Z");
    let components: BTreeMap<&str, &Value> = list(&bom["components"])
        .iter()
        .map(|component| (word(&component["bom-ref"]), component))
        .collect();
    assert_eq!(components.len(), list(&bom["components"]).len());
    let edges: BTreeMap<&str, Vec<&str>> = list(&bom["dependencies"])
        .iter()
        .map(|of| {
            (
                word(&of["ref"]),
                list(&of["dependsOn"]).iter().map(word).collect(),
            )
        })
        .collect();
    for (of, on) in &edges {
        assert!(*of == "oci-apparmor" || components.contains_key(of), "{of}");
        assert!(
            on.iter().all(|on| components.contains_key(on)),
            "{of}: {on:?}"
        );
    }

    let programs = &edges["oci-apparmor"];
    assert_eq!(programs.len(), 4);
    for program in programs {
        let file = made()
            .join("bin")
            .join(program.strip_prefix("program:").unwrap());
        let sum: String = Sha256::digest(fs::read(file).unwrap())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            word(&components[program]["hashes"][0]["content"]),
            sum,
            "{program}"
        );
    }
    let lock = fs::read_to_string(checkout().join("Cargo.lock")).unwrap();
    let linked = |program: &str| -> BTreeSet<String> {
        let all = below(&edges, program).into_iter();
        all.map(|of| word(&components[of]["name"]).to_owned())
            .collect()
    };
    let wrapper = linked("program:oci-apparmor-runtime");
    let (cli, agent) = (
        linked("program:oci-apparmor"),
        linked("program:oci-apparmor-agent"),
    );
    for (name, in_wrapper, in_cli, in_agent) in [
        ("serde_json", true, true, true),
        ("glibc", true, true, true),
        ("rust-std", true, true, true),
        ("clap", false, true, false),
        ("kube", false, false, true),
        // At compile time, and in tests.
        ("serde_derive", false, false, false),
        ("proptest", false, false, false),
    ] {
        let found = (
            wrapper.contains(name),
            cli.contains(name),
            agent.contains(name),
        );
        assert_eq!(found, (in_wrapper, in_cli, in_agent), "{name}");
    }
    for (of, component) in components
        .iter()
        .filter(|(of, _)| of.starts_with("pkg:cargo/"))
    {
        assert!(component["licenses"][0]["expression"].is_string(), "{of}");
        let (name, version) = (word(&component["name"]), word(&component["version"]));
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        let (_, rest) = lock
            .split_once(&entry)
            .unwrap_or_else(|| panic!("{of} is not in Cargo.lock"));
        let sum = rest.split("\n\n").next().unwrap();
        let sum = sum
            .lines()
            .find_map(|line| line.strip_prefix("checksum = "));
        let told = component["hashes"][0]["content"].as_str();
        assert_eq!(sum.map(|sum| sum.trim_matches('"')), told, "{of}");
    }
}

/// Each crate with its licence; and the text of each licence that asks for it.
#[test]
fn the_copyright_file_has_each_crate_and_its_licence() {
    let dir = tempfile::tempdir().unwrap();
    let package = file(".deb");
    let at = dir.path().to_str().unwrap();
    success(run("dpkg-deb", ["-x", package.to_str().unwrap(), at]));
    let copyright = dir.path().join("usr/share/doc/oci-apparmor/copyright");
    let text = fs::read_to_string(copyright).unwrap();
    let tree = [
        "tree",
        "--locked",
        "-p",
        "oci-apparmor",
        "-p",
        "oci-apparmor-cli",
    ];
    let options = [
        "-e",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let tree = std::process::Command::new(env!("CARGO"))
        .args(tree.iter().chain(&options))
        .current_dir(checkout())
        .output()
        .unwrap();
    let tree = success(tree);
    let mut count = 0;
    for line in tree
        .lines()
        .filter(|line| !line.is_empty() && !line.contains("(/"))
    {
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        let version = words.next().unwrap().strip_prefix('v').unwrap();
        let line = format!("\n{name} {version}: ");
        let (_, rest) = text
            .split_once(&line)
            .unwrap_or_else(|| panic!("{name} {version} is missing"));
        let licence = rest.lines().next().unwrap();
        let copied = rest.contains(&format!("{name} {version}:\n"))
            || rest.contains(&format!("{name} {version}, "));
        assert!(
            licence.contains("Apache-2.0") || copied,
            "{name}: no text of {licence}"
        );
        count += 1;
    }
    assert!(count > 50, "{tree}");
    assert!(
        !text.contains("\nkube "),
        "the package does not have the agent"
    );
    for part in [
        "GNU Lesser General Public",
        "Permission is hereby granted",
        "/usr/share/common-licenses/Apache-2.0",
    ] {
        assert!(text.contains(part), "{part}");
    }
}
