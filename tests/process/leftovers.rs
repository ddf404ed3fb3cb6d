//! Hundreds of containers, one after the other and several at once: nothing is left of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::create::ASKS;
use crate::node::{Node, node};

/// How many at once, and how many each one after the other.
const WORKERS: usize = 4;
const EACH: usize = 225;

/// Files with their sizes.
type Files = BTreeMap<PathBuf, u64>;

/// All files of the node.
fn files(node: &Node) -> Files {
    fn add(directory: &Path, all: &mut Files) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            // One file for each kind of event, whose size is a count.
            if path.ends_with("oci-apparmor/counters") {
                continue;
            }
            let meta = path.symlink_metadata().unwrap();
            // A directory's size depends on what was in it; what is remembered has times in it.
            let varies = meta.is_dir() || path.parent().unwrap().ends_with("oci-apparmor/profiles");
            let size = if varies { 0 } else { meta.len() };
            if meta.is_dir() {
                add(&path, all);
            }
            all.insert(path, size);
        }
    }
    let mut all = Files::new();
    add(&node.path("/"), &mut all);
    all
}

/// What is not in the first ones as it is in the second ones.
fn missing_in(first: &Files, second: &Files) -> Vec<(PathBuf, u64)> {
    let mut second = second.clone();
    second.retain(|path, size| first.get(path) != Some(size));
    second.into_iter().collect()
}

/// Lets containers come and go, `count` by each of these workers.
#[track_caller]
fn cycles(node: &Node, workers: usize, count: usize) {
    let words = [
        "unshare",
        "-pf",
        "--mount-proc",
        "--kill-child",
        "sh",
        "/run/leftovers.sh",
        "/run/libexec/runc",
        "/run/bundles",
        &workers.to_string(),
        &count.to_string(),
    ];
    let words = words.map(str::to_owned);
    let output = node.enter("/", "", &words).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b""[..], &b""[..])
    );
}

#[test]
fn nothing_is_left_of_nine_hundred_containers() {
    let Some(node) = node() else { return };
    node.source("q");
    node.program("/run/bin/runc", include_str!("stand_in_fast.sh"));
    node.program("/run/leftovers.sh", include_str!("leftovers.sh"));
    fs::create_dir_all(node.path("/run/runc")).unwrap();
    for worker in 0..WORKERS {
        for name in ["config", "config.json"] {
            let file = format!("/run/bundles/{worker}/{name}");
            fs::create_dir_all(node.path(&file).parent().unwrap()).unwrap();
            node.write(&file, ASKS.replace("\"p\"", "\"q\""));
        }
    }
    // What is there once for all: the loaded profile, its locks, what is remembered of it.
    cycles(&node, 1, 5);
    // What has rested for two seconds is remembered.
    std::thread::sleep(Duration::from_millis(2100));
    cycles(&node, 1, 5);
    let before = files(&node);
    let policy = node.loaded_blob();
    assert_eq!(node.records(), [""; 0]);

    cycles(&node, WORKERS, EACH);
    // Of containers that end at once, each may leave the empty directory to the next one that ends.
    cycles(&node, 1, 5);
    let after = files(&node);
    assert_eq!(missing_in(&before, &after), [], "new");
    assert_eq!(missing_in(&after, &before), [], "gone");
    assert_eq!(node.loaded_blob(), policy);
    assert_eq!(node.compilations().len(), 1);
}
