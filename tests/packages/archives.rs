//! All files together, and the release archive.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{checkout, file, made, run, success};

/// Paths below a directory with the mode and the content of files, and where links lead.
fn tree(directory: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut todo = vec![directory.to_owned()];
    while let Some(at) = todo.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let content = if meta.is_dir() {
                todo.push(path.clone());
                Vec::new()
            } else if meta.is_symlink() {
                fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes()
            } else {
                fs::read(&path).unwrap()
            };
            let name = path.strip_prefix(directory).unwrap().to_owned();
            found.insert(name, (meta.permissions().mode(), content));
        }
    }
    found
}

/// Another directory, another user's habits: the same bytes.
#[test]
fn two_builds_in_different_directories_are_the_same() {
    let first = fs::read_to_string(made().join("SHA256SUMS")).unwrap();
    assert_eq!(first.lines().count(), 4, "{first}");
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("another checkout");
    fs::create_dir(&other).unwrap();
    let copy = "umask 077; tar --exclude=./target --exclude=./fuzz/target --exclude=./.git -C \"$1\" -c . | tar -C \"$2\" -x --no-same-permissions";
    let words = [
        "-c",
        copy,
        "sh",
        checkout().to_str().unwrap(),
        other.to_str().unwrap(),
    ];
    success(run("sh", words));
    let out = dir.path().join("out");
    let build = "umask 077; exec packaging/build --bindir \"$1\" --out \"$2\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", build, "sh"])
        .arg(made().join("bin"))
        .arg(&out);
    command
        .current_dir(&other)
        .env("SOURCE_DATE_EPOCH", "1750000000");
    command.envs([
        ("TZ", "Asia/Tokyo"),
        ("LC_ALL", "C.UTF-8"),
        ("GZIP", "-1"),
        ("XZ_OPT", "-1"),
        ("DPKG_DEB_COMPRESSOR_LEVEL", "1"),
        ("TAR_OPTIONS", "--owner=1000"),
    ]);
    success(command.output().unwrap());
    assert_eq!(fs::read_to_string(out.join("SHA256SUMS")).unwrap(), first);
    let sums = ["--check", "--strict", "SHA256SUMS"];
    let checked = Command::new("sha256sum")
        .args(sums)
        .current_dir(&out)
        .output();
    success(checked.unwrap());
}

/// What the archive installs is what a checkout installs, and it needs no source and no Rust.
#[test]
fn the_archive_installs_what_a_checkout_does() {
    let dir = tempfile::tempdir().unwrap();
    let archive = file(".tar.gz");
    let at = dir.path().to_str().unwrap();
    success(run("tar", ["-xzf", archive.to_str().unwrap(), "-C", at]));
    let name = archive.file_name().unwrap().to_str().unwrap();
    let unpacked = dir.path().join(name.strip_suffix(".tar.gz").unwrap());
    for text in ["copyright", "LICENSE", "LGPL-2.1"] {
        assert!(unpacked.join(text).is_file(), "{text}");
    }
    let install = |script: PathBuf, to: &Path, words: &[&str]| {
        let mut command = Command::new(script);
        command.arg("--destdir").arg(to).args(words);
        success(command.env("PATH", "/usr/bin:/bin").output().unwrap());
    };
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    install(unpacked.join("install.sh"), &ours, &[]);
    let programs = made().join("bin");
    let words = ["--bindir", programs.to_str().unwrap()];
    install(checkout().join("install.sh"), &theirs, &words);
    let (ours, theirs) = (tree(&ours), tree(&theirs));
    assert!(ours.len() > 70, "{:?}", ours.keys());
    let differ = ours
        .iter()
        .filter(|(path, is)| theirs.get(*path) != Some(*is));
    assert_eq!(
        differ.map(|(path, _)| path).collect::<Vec<_>>(),
        Vec::<&PathBuf>::new()
    );
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn a_call_that_makes_no_sense_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().to_str().unwrap();
    for words in [
        &["rpm"][..],
        &["--out"],
        &["--revision", "1/2"],
        &["--bindir", empty],
    ] {
        let output = run(checkout().join("packaging/build"), words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        let line = String::from_utf8(output.stderr).unwrap();
        assert!(
            line.starts_with("packaging/build: ") && line.lines().count() == 1,
            "{line}"
        );
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
