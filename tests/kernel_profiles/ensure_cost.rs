//! What ensuring a profile costs does not depend on how many others are loaded.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::many_profiles::medians;
use crate::policy_files::{directory, load_many, unload_many};
use crate::support::containers::*;

/// A bundle that names a loaded profile, and a low-level runtime that does nothing.
struct Node {
    bundle: PathBuf,
}

impl Node {
    fn new() -> Self {
        profile("ensured");
        load(&fs::read_to_string(Path::new(PROFILES).join("ensured")).unwrap());
        let nothing = wrapper("nothing");
        fs::write(&nothing, "#!/bin/busybox true\n").unwrap();
        fs::set_permissions(&nothing, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(CONFIG, format!("[runtimes]\nrunc = {nothing:?}\n")).unwrap();
        let annotations = [("oci-apparmor/profile", "ensured")];
        let bundle = Bundle::annotated("ensured", &["/bin/true"], &annotations);
        Self {
            bundle: bundle.path,
        }
    }

    fn create(&self) -> [&str; 4] {
        [
            "create",
            "--bundle",
            self.bundle.to_str().unwrap(),
            "ensured",
        ]
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = fs::remove_file(CONFIG);
        unload("ensured");
    }
}

/// The files and directories that a call opens, and those that it lists.
fn opened(words: &[&str]) -> (Vec<String>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let (program, path) = (wrapper("runc"), trace.to_str().unwrap());
    let strace = [
        "-f",
        "-y",
        "-e",
        "trace=open,openat,openat2,getdents,getdents64",
        "-o",
        path,
    ];
    run(
        "strace",
        [&strace[..], &[program.to_str().unwrap()], words].concat(),
    )
    .ok();
    let (mut opened, mut listed) = (Vec::new(), Vec::new());
    for line in fs::read_to_string(trace).unwrap().lines() {
        if line.contains("getdents") {
            listed.push(line.to_owned());
        } else if let Some((_, path)) = line.split_once('"') {
            opened.push(path.split('"').next().unwrap().to_owned());
        }
    }
    (opened, listed)
}

#[test]
fn a_loaded_profile_is_ensured_as_quickly_among_thousands() {
    let _world = world();
    // It is the oldest, which the kernel's own search finds last.
    let node = Node::new();
    load_many(0..9);
    let call = |words: &[&str]| {
        let mut command = Command::new(wrapper("runc"));
        assert!(command.args(words).status().unwrap().success());
    };
    let create = || call(&node.create());
    // Nothing to ensure: handed on at once.
    let control = || call(&["state", "ensured"]);
    // A source that was written in the last two seconds is compared again.
    std::thread::sleep(std::time::Duration::from_secs(3));
    create();
    let (few, few_control) = medians(31, create, control);
    load_many(9..4_999);
    // The first one finds that the policy has changed, and looks at its own profile.
    let (first, listed) = opened(&node.create());
    let (many, many_control) = medians(31, create, control);
    let (later, _) = opened(&node.create());
    let own = directory("ensured")
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    unload_many(0..4_999);

    println!("10 profiles: {few:?} ({few_control:?}); 5,000: {many:?} ({many_control:?})");
    // Under the same revision, nothing of any profile is read.
    assert!(later.iter().any(|path| path.ends_with("/revision")));
    assert!(
        !later.iter().any(|path| path.contains("/policy/profiles")),
        "{later:?}"
    );
    // It was looked at, so this is the trace of what is meant.
    let inside = format!("/policy/profiles/{own}/");
    assert!(first.iter().any(|path| path.contains(&inside)), "{first:?}");
    // Its own children, of which it has none, are no list that grows.
    let children = format!("{inside}profiles");
    let of_kernel = |text: &&String| text.contains("/sys/kernel/security");
    for path in first.iter().filter(of_kernel) {
        let is_list = path.ends_with("profiles") && !path.ends_with(&children);
        assert!(!is_list, "{path} was opened");
    }
    let mut listed = listed.iter().filter(of_kernel);
    assert!(!listed.any(|line| line.contains("profiles")), "{first:?}");
    let ensuring = |all: std::time::Duration, control| all.saturating_sub(control).as_secs_f64();
    let ratio = ensuring(many, many_control)
        / ensuring(few, few_control)
        / many_control.div_duration_f64(few_control);
    assert!(ratio < 1.5, "{ratio}");
}
