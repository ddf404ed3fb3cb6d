//! `node install` and `node uninstall`, killed at each change of the file system: the engine's file is
//! valid at any moment, and the next run ends as if nothing had happened.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;

use crate::golden_files::Image;
use crate::node_trees::{CONFIG, debian, done, everything, release};

/// What changes a file system, each with the names that a machine may have for it.
const CALLS: [&str; 6] = [
    "?rename,?renameat,?renameat2",
    "?unlink,?unlinkat,?rmdir",
    "?mkdir,?mkdirat",
    "?symlink,?symlinkat",
    "?chmod,?fchmod,?chown,?fchown",
    "?fsync",
];

/// Kills the command at the `step`th of these calls; whether it got so far.
fn killed(image: &Image, release_name: &str, words: &[&str], (calls, step): (&str, usize)) -> bool {
    let output = Command::new("strace")
        .args([
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={calls}"),
            "-e",
        ])
        .arg(format!("inject={calls}:signal=KILL:when={step}"))
        .arg(release(release_name).join("oci-apparmor"))
        .arg("node")
        .args(words)
        .arg("--root")
        .arg(image.0.path())
        .output()
        .unwrap();
    let killed = output.status.signal() == Some(9) || output.status.code() == Some(137);
    assert!(killed || output.status.success(), "{step}: {output:?}");
    killed
}

fn can_trace() -> bool {
    if Command::new("strace").arg("-V").output().is_ok() {
        return true;
    }
    let must = std::env::var_os("OCI_APPARMOR_MUST_RUN").is_some_and(|v| v == "1");
    assert!(!must, "OCI_APPARMOR_MUST_RUN=1, but there is no strace(1)");
    eprintln!("not run: there is no strace(1)");
    false
}

/// A node of an engine, with its file.
type Made = (fn() -> Image, &'static str);

const NODES: [Made; 2] = [(debian, CONFIG), (crio, DROP_IN)];

const DROP_IN: &str = "/etc/crio/crio.conf.d/99-oci-apparmor.conf";

fn crio() -> Image {
    let conf = "[crio.runtime]\ndefault_runtime = \"runc\"\n[crio.runtime.runtimes.runc]\nruntime_path = \"/usr/sbin/runc\"\n";
    let image = Image::of(&[("/etc/crio/crio.conf", conf), ("/usr/sbin/runc", "")]);
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(image.path("/usr/sbin/runc"), executable).unwrap();
    image.write("/etc/crio/crio.conf.d/10-other.conf", "");
    image
}

fn text(image: &Image, file: &str) -> Option<String> {
    std::fs::read_to_string(image.path(file)).ok()
}

/// CRI-O reads each file of its directory, whatever its name is.
fn only_whole_files(image: &Image) {
    let entries = std::fs::read_dir(image.path("/etc/crio/crio.conf.d"));
    for entry in entries.into_iter().flatten() {
        let name = entry.unwrap().file_name();
        assert!(
            name == "10-other.conf" || name == "99-oci-apparmor.conf",
            "{name:?}"
        );
    }
}

/// Kills `words` of `release_name` at each step on a node that `prepare` makes, and then runs `next`;
/// the tree is then `expected`.
fn at_each_step(
    (make, file): Made,
    prepare: &[(&str, &[&str])],
    (release_name, words): (&str, &[&str]),
    (next_release, next): (&str, &[&str]),
    expected: &Image,
    stride: usize,
) {
    let expected_tree = everything(expected);
    let after = text(&made(make, &[("new", INSTALL)]), file);
    let fresh = text(&make(), file);
    let mut steps = 0;
    for calls in CALLS {
        for step in (1..).step_by(stride) {
            let image = make();
            for (release_name, words) in prepare {
                done(&image, release_name, words);
            }
            let before = text(&image, file);
            if !killed(&image, release_name, words, (calls, step)) {
                break;
            }
            let now = text(&image, file);
            let what = format!("{words:?} killed at {calls} {step}");
            assert!(
                now == before || now == after || now == fresh,
                "{what}: {now:?}"
            );
            only_whole_files(&image);
            done(&image, next_release, next);
            if everything(&image) != expected_tree {
                let differ = difference(&everything(&image), &expected_tree);
                panic!("{what}, then {next:?}: {differ:#?}");
            }
            steps += 1;
        }
    }
    assert!(steps > 5, "{words:?}: {steps} steps");
}

type Found = Vec<(PathBuf, u32, Vec<u8>)>;

fn difference(one: &Found, other: &Found) -> Vec<String> {
    let only = |these: &Found, those: &Found, side: &str| -> Vec<String> {
        let lacking = these.iter().filter(|entry| !those.contains(entry));
        lacking
            .map(|(path, _, text)| {
                format!(
                    "{side} {}: {}",
                    path.display(),
                    String::from_utf8_lossy(text)
                )
            })
            .collect()
    };
    [only(one, other, "+"), only(other, one, "-")].concat()
}

/// A tree after these commands.
fn made(make: fn() -> Image, commands: &[(&str, &[&str])]) -> Image {
    let image = make();
    for (release_name, words) in commands {
        done(&image, release_name, words);
    }
    image
}

const INSTALL: &[&str] = &["install"];
const UNINSTALL: &[&str] = &["uninstall"];

#[test]
fn an_installation_that_is_killed_is_finished_by_the_next() {
    if !can_trace() {
        return;
    }
    for node in NODES {
        let expected = made(node.0, &[("new", INSTALL)]);
        at_each_step(node, &[], ("new", INSTALL), ("new", INSTALL), &expected, 6);
    }
}

#[test]
fn an_installation_that_is_killed_can_be_uninstalled() {
    if !can_trace() {
        return;
    }
    for node in NODES {
        let expected = (node.0)();
        at_each_step(
            node,
            &[],
            ("new", INSTALL),
            ("new", UNINSTALL),
            &expected,
            3,
        );
    }
}

#[test]
fn an_upgrade_that_is_killed_is_finished_or_uninstalled() {
    if !can_trace() {
        return;
    }
    let before: &[(&str, &[&str])] = &[("old", INSTALL)];
    let node = NODES[0];
    let expected = made(node.0, &[("new", INSTALL)]);
    at_each_step(
        node,
        before,
        ("new", INSTALL),
        ("new", INSTALL),
        &expected,
        1,
    );
    at_each_step(
        node,
        before,
        ("new", INSTALL),
        ("new", UNINSTALL),
        &(node.0)(),
        2,
    );
    // Back to the release before.
    let expected = made(node.0, &[("old", INSTALL)]);
    at_each_step(
        node,
        before,
        ("new", INSTALL),
        ("old", INSTALL),
        &expected,
        2,
    );
}

#[test]
fn an_uninstallation_that_is_killed_is_finished_or_installed_again() {
    if !can_trace() {
        return;
    }
    let before: &[(&str, &[&str])] = &[("new", INSTALL)];
    for node in NODES {
        at_each_step(
            node,
            before,
            ("new", UNINSTALL),
            ("new", UNINSTALL),
            &(node.0)(),
            3,
        );
    }
    let node = NODES[0];
    let expected = made(node.0, &[("new", INSTALL)]);
    at_each_step(
        node,
        before,
        ("new", UNINSTALL),
        ("new", INSTALL),
        &expected,
        3,
    );
}
