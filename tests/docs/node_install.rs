//! `node install` and `install.sh` install the same, except for documentation.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{files_below, programs};

/// What `node install` leaves out: a node of a cluster needs none of it.
const LEFT_OUT: [&str; 7] = [
    "usr/local/share/man",
    "usr/local/share/doc",
    "usr/local/share/bash-completion",
    "usr/local/share/zsh",
    "usr/local/share/fish",
    "usr/local/share/oci-apparmor/grafana",
    // The node gets its spool at once, and the agent's profile where it is used.
    "usr/local/lib/tmpfiles.d",
];

/// The files and links of a tree, with their modes and contents.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for path in files_below(root) {
        let meta = fs::symlink_metadata(&path).unwrap();
        let contents = match meta.is_symlink() {
            true => fs::read_link(&path)
                .unwrap()
                .into_os_string()
                .into_encoded_bytes(),
            false => fs::read(&path).unwrap(),
        };
        let inside = path.strip_prefix(root).unwrap().to_owned();
        if !inside.starts_with("etc") && !LEFT_OUT.iter().any(|out| inside.starts_with(out)) {
            found.insert(inside, (meta.permissions().mode(), contents));
        }
    }
    found.retain(|path, _| !path.ends_with("share/oci-apparmor/profiles/oci-apparmor-agent"));
    found
}

#[test]
fn node_install_and_install_sh_install_the_same() {
    let (by_script, by_command) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh");
    let output = Command::new(script)
        .arg("--bindir")
        .arg(programs())
        .arg("--destdir")
        .arg(by_script.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = Command::new(programs().join("oci-apparmor"))
        .args([
            "node",
            "install",
            "--engine",
            "crio",
            "--prefix",
            "/usr/local",
            "--root",
        ])
        .arg(by_command.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let (script, command) = (tree(by_script.path()), tree(by_command.path()));
    assert!(script.len() > 12, "{:?}", script.keys());
    let names = |tree: &BTreeMap<PathBuf, _>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&command), names(&script));
    for (path, contents) in &script {
        assert!(command[path] == *contents, "{} differs", path.display());
    }
}
