//! What the kernel of files shows of the profile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci_apparmor::apparmor::blob::walk;
use sha1::{Digest, Sha1};

use crate::node::{PROFILE, WRAPPER, bundle, id};

const APPARMOR: &str = "/sys/kernel/security/apparmor";

fn directory() -> PathBuf {
    Path::new(APPARMOR).join(format!("policy/profiles/{PROFILE}.1"))
}

/// Waits until what was written counts as unchanged: a fingerprint of a file is believed only if the
/// file did not change for two seconds before.
pub(crate) fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(2_100));
}

/// Called inside: has the profile compiled, and shows it as loaded.
pub(crate) fn load() {
    settle();
    let create = Command::new(WRAPPER)
        .args(["create", "--bundle", &bundle("managed"), &id("first")])
        .output()
        .unwrap();
    // What it writes does not appear in a kernel of files, so it refuses.
    assert!(!create.status.success(), "{create:?}");
    let blob = fs::read(Path::new(APPARMOR).join(".replace")).unwrap();
    let declared = walk(&blob).unwrap_or_else(|why| panic!("{why}: {create:?}"));
    let hash = Sha1::digest(&declared[0].hashed);
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let directory = directory();
    fs::create_dir_all(directory.join("profiles")).unwrap();
    for (file, text) in [("name", PROFILE), ("mode", "enforce"), ("sha1", &hash)] {
        fs::write(directory.join(file), format!("{text}\n")).unwrap();
    }
}

/// Makes a profile one of a kernel without digests: it cannot be told whether it is the wanted one, so
/// it is loaded again.
pub(crate) fn hide_digest() {
    let directory = directory();
    fs::rename(directory.join("sha1"), directory.join("hidden")).unwrap();
}

pub(crate) fn show_digest() {
    let directory = directory();
    fs::rename(directory.join("hidden"), directory.join("sha1")).unwrap();
}
