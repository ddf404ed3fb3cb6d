use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;

use super::*;
use crate::file::Content;

fn file(name: &str, text: &str) -> ObjectFile {
    ObjectFile {
        file: SpoolFile::new(name, Content::ProfileText).unwrap(),
        bytes: Arc::from(text.as_bytes()),
        digest: digest(text.as_bytes()),
    }
}

#[test]
fn what_is_written_is_found_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(dir.path()).unwrap();
    let web = file("web", "profile web { }\n");
    spool.carry_out(&SpoolStep::Write(web.clone())).unwrap();
    spool.carry_out(&SpoolStep::MarkComplete).unwrap();
    let path = dir.path().join("web.profile");
    assert_eq!(fs::read_to_string(&path).unwrap(), "profile web { }\n");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, MODE);
    let again = Spool::open(dir.path()).unwrap();
    assert_eq!(again.view(), spool.view());
    assert!(again.view().complete);
    spool
        .carry_out(&SpoolStep::Remove(web.file.clone()))
        .unwrap();
    // Gone already: nothing to do.
    spool.carry_out(&SpoolStep::Remove(web.file)).unwrap();
    assert!(!path.exists() && spool.view().files.is_empty());
}

#[test]
fn left_over_temporary_files_are_removed_and_other_files_stay() {
    let dir = tempfile::tempdir().unwrap();
    for name in [".web.profile.tmp", ".keep", "README", "web.profile~"] {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    let spool = Spool::open(dir.path()).unwrap();
    assert_eq!(spool.view(), &SpoolView::default());
    assert!(!dir.path().join(".web.profile.tmp").exists());
    assert!(dir.path().join(".keep").exists() && dir.path().join("README").exists());
}

#[test]
fn a_link_is_not_followed_and_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    fs::write(elsewhere.path(), "theirs").unwrap();
    let path = dir.path().join("web.profile");
    symlink(elsewhere.path(), &path).unwrap();
    let mut spool = Spool::open(dir.path()).unwrap();
    let web = file("web", "theirs");
    assert_eq!(spool.view().files.get(&web.file), Some(&None));
    spool.carry_out(&SpoolStep::Write(web)).unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
}

#[test]
fn what_is_larger_than_what_is_written_here_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.profile"), vec![b'x'; MAX_FILE + 1]).unwrap();
    fs::create_dir(dir.path().join("b.profile")).unwrap();
    let spool = Spool::open(dir.path()).unwrap();
    assert!(spool.view().files.values().all(Option::is_none));
    assert_eq!(spool.view().files.len(), 2);
}

#[test]
fn a_failure_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(dir.path()).unwrap();
    spool
        .carry_out(&SpoolStep::Write(file("web", "old")))
        .unwrap();
    let before = spool.view().clone();
    // In the way of the temporary file: root is not stopped by the mode of a directory.
    fs::create_dir(dir.path().join(".web.profile.tmp")).unwrap();
    assert!(
        spool
            .carry_out(&SpoolStep::Write(file("web", "new")))
            .is_err()
    );
    assert_eq!(spool.view(), &before);
    let path = dir.path().join("web.profile");
    assert_eq!(fs::read_to_string(path).unwrap(), "old");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).unwrap();
    assert!(Spool::open(&dir.path().join("none")).is_err());
}
