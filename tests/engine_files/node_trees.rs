//! `node install` and `node uninstall` on the trees of nodes: the engine's files become those that
//! `configure` makes, everything else has its place, and uninstalling leaves no trace.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::golden_files::{Case, Image, PROGRAMS};
use crate::support::programs::program;

const DEBIAN: &str = "version = 2\n\n[plugins]\n  [plugins.\"io.containerd.grpc.v1.cri\"]\n    [plugins.\"io.containerd.grpc.v1.cri\".cni]\n      bin_dir = \"/usr/lib/cni\"\n";
pub(crate) const CONFIG: &str = "/etc/containerd/config.toml";

/// A directory with the programs of a release. The command is the real one, the others are small,
/// because they are copied often.
pub(crate) fn release(name: &str) -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let base = MADE.get_or_init(|| {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("releases");
        let _ = fs::remove_dir_all(&base);
        for name in ["old", "new"] {
            let directory = base.join(name);
            fs::create_dir_all(&directory).unwrap();
            let (from, to) = (program("oci-apparmor"), directory.join("oci-apparmor"));
            let strip = Command::new("strip").arg("-o").arg(&to).arg(&from).status();
            if !strip.is_ok_and(|status| status.success()) {
                fs::copy(from, to).unwrap();
            }
            for other in ["oci-apparmor-runtime", "oci-apparmor-hook"] {
                let file = directory.join(other);
                fs::write(&file, format!("#!/bin/sh\n# {name} {other}\n")).unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        base
    });
    base.join(name)
}

/// `oci-apparmor node WORDS…` of a release, on a tree.
pub(crate) fn node(image: &Image, release_name: &str, words: &[&str]) -> Output {
    Command::new(release(release_name).join("oci-apparmor"))
        .arg("node")
        .args(words)
        .arg("--root")
        .arg(image.0.path())
        .output()
        .unwrap()
}

/// The same, which must succeed; what it prints.
#[track_caller]
pub(crate) fn done(image: &Image, release_name: &str, words: &[&str]) -> String {
    let output = node(image, release_name, words);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{words:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Everything in a tree: directories, links with their targets, files with their bytes; each with its
/// mode.
pub(crate) fn everything(image: &Image) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![image.0.path().to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let contents = if meta.is_dir() {
                open.push(path.clone());
                Vec::new()
            } else if meta.is_symlink() {
                fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes()
            } else {
                fs::read(&path).unwrap()
            };
            let inside = path.strip_prefix(image.0.path()).unwrap().to_owned();
            found.push((inside, meta.mode(), contents));
        }
    }
    found.sort();
    found
}

/// The same, for messages and comparisons of what is there.
fn names(image: &Image) -> Vec<String> {
    let all = everything(image).into_iter();
    all.map(|(path, ..)| path.display().to_string()).collect()
}

/// A node with the containerd of bookworm.
pub(crate) fn debian() -> Image {
    let image = Image::of(&[
        (CONFIG, DEBIAN),
        ("/usr/bin/containerd", ""),
        ("/usr/sbin/runc", ""),
    ]);
    for program in ["/usr/bin/containerd", "/usr/sbin/runc"] {
        fs::set_permissions(image.path(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    image
}

#[test]
fn the_engines_files_become_those_of_configure_and_uninstalling_leaves_no_trace() {
    let mut tried = 0;
    for case in Case::all() {
        let [engine @ ("containerd" | "crio")] = case.words()[..] else {
            continue;
        };
        let image = case.before();
        let before = everything(&image);
        done(&image, "new", &["install", "--engine", engine]);
        let configured = case.before();
        configured.done("configure", &[engine]);
        for (path, mode, contents) in everything(&configured) {
            // The digests of files and the paths of programs are in the journal, too.
            let there = everything(&image);
            let same = there
                .iter()
                .any(|one| *one == (path.clone(), mode, contents.clone()));
            assert!(same, "{}: {} differs", case.name, path.display());
        }
        done(&image, "new", &["uninstall"]);
        assert_eq!(everything(&image), before, "{}", case.name);
        tried += 1;
    }
    assert!(tried > 8, "{tried}");
}

#[test]
fn everything_has_its_place_owner_and_mode() {
    let image = debian();
    let said = done(&image, "new", &["install"]);
    assert!(
        said.ends_with("The engine reads it when it starts.\n"),
        "{said}"
    );
    assert!(image.text(CONFIG).contains(&format!("\"{PROGRAMS}/runc\"")));
    let mode = |path: &str| fs::metadata(image.path(path)).unwrap().mode() & 0o7777;
    for (path, expected) in [
        ("/usr/local/bin/oci-apparmor", 0o755),
        ("/usr/local/libexec/oci-apparmor/runc", 0o755),
        (
            "/usr/local/lib/systemd/system/oci-apparmor-sync.path",
            0o644,
        ),
        ("/etc/oci-apparmor/profiles/oci-apparmor-agent", 0o644),
        ("/etc/oci-apparmor/install.json", 0o600),
        ("/var/lib/oci-apparmor", 0o755),
        ("/var/lib/oci-apparmor/spool", 0o750),
        ("/var/lib/oci-apparmor/status", 0o755),
    ] {
        assert_eq!(mode(path), expected, "{path}");
    }
    if nix::unistd::geteuid().is_root() {
        let spool = fs::metadata(image.path("/var/lib/oci-apparmor/spool")).unwrap();
        assert_eq!((spool.uid(), spool.gid()), (65532, 65532));
    }
    let enabled = "/etc/systemd/system/multi-user.target.wants/oci-apparmor-sync.path";
    assert_eq!(
        fs::read_link(image.path(enabled)).unwrap(),
        Path::new("/usr/local/lib/systemd/system/oci-apparmor-sync.path")
    );
    let unit = image.text("/usr/local/lib/systemd/system/oci-apparmor-sync.service");
    assert!(
        unit.contains("ExecStart=/usr/local/bin/oci-apparmor sync\n"),
        "{unit}"
    );
    assert!(
        image
            .text("/etc/oci-apparmor/config.toml")
            .contains("\n[cluster]\n")
    );
    // Nothing of it needs a change.
    let before = everything(&image);
    let said = done(&image, "new", &["install"]);
    assert!(
        said.starts_with("release ") && said.lines().count() == 2,
        "{said}"
    );
    assert_eq!(everything(&image), before);
}

#[test]
fn what_an_administrator_wrote_is_kept() {
    let image = debian();
    let config = "/etc/oci-apparmor/config.toml";
    image.write(config, "require_enforcing = false\n");
    image.write("/etc/oci-apparmor/profiles/mine", "profile mine { }\n");
    let before = everything(&image);
    let said = done(&image, "old", &["install"]);
    assert!(said.contains("has no section [cluster]"), "{said}");
    assert_eq!(image.text(config), "require_enforcing = false\n");
    let edited = [
        "/usr/local/lib/systemd/system/oci-apparmor-gc.timer",
        "/etc/oci-apparmor/profiles/oci-apparmor-agent",
    ];
    for path in edited {
        image.write(path, "# edited\n");
    }
    // A damaged program is not an edited one.
    image.write("/usr/local/bin/oci-apparmor-runtime", "half");
    let said = done(&image, "new", &["install"]);
    for path in edited {
        assert!(
            said.contains(&format!("kept {}, which", image.path(path).display())),
            "{said}"
        );
        assert_eq!(image.text(path), "# edited\n");
    }
    assert!(
        image
            .text("/usr/local/bin/oci-apparmor-runtime")
            .contains("new")
    );
    image.write("/var/lib/oci-apparmor/spool/a.yaml", "x");
    let said = done(&image, "new", &["uninstall"]);
    assert!(
        said.contains("oci-apparmor-gc.timer, which was changed"),
        "{said}"
    );
    assert!(
        said.contains("spool, which has profiles of the cluster"),
        "{said}"
    );
    for path in edited {
        fs::remove_file(image.path(path)).unwrap();
    }
    for directory in ["usr/local", "var"] {
        fs::remove_dir_all(image.path(directory)).unwrap();
    }
    assert_eq!(everything(&image), before);
}

/// The file of a program that is called while it is replaced.
#[test]
fn an_upgrade_replaces_programs_by_renaming() {
    let image = debian();
    done(&image, "old", &["install"]);
    let wrapper = image.path("/usr/local/bin/oci-apparmor-runtime");
    let running = image.path("/running");
    fs::hard_link(&wrapper, &running).unwrap();
    image.write("/usr/local/lib/systemd/system/other", "");
    let config = image.text(CONFIG);
    let said = done(&image, "new", &["install"]);
    // The command is the same in both.
    assert_eq!(said.matches("installed ").count(), 2, "{said}");
    assert!(fs::read_to_string(&running).unwrap().contains("old"));
    assert!(fs::read_to_string(&wrapper).unwrap().contains("new"));
    assert_eq!(image.text(CONFIG), config);
}

/// The one line of a refusal, with nothing changed.
#[track_caller]
fn refused(image: &Image, words: &[&str], code: i32) -> String {
    let before = everything(image);
    let output = node(image, "new", words);
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{words:?}: {line}");
    assert!(line.lines().count() == 1 && line.contains("; "), "{line}");
    assert_eq!(everything(image), before, "{words:?}");
    line
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_written() {
    let none = Image::of(&[("/etc/x", "")]);
    assert!(refused(&none, &["install"], 3).contains("neither containerd nor CRI-O"));

    let both = debian();
    both.write("/etc/crio/crio.conf", "");
    assert!(refused(&both, &["install"], 2).contains("--engine"));
    done(&both, "new", &["install", "--engine", "crio"]);
    assert!(
        refused(&both, &["install", "--engine", "containerd"], 5).contains("crio is configured")
    );

    let image = debian();
    for name in ["k3s", "rke2", "k0s", "microk8s"] {
        let said = refused(&image, &["install", "--distribution", name], 5);
        assert!(said.contains("this node is not"), "{said}");
    }
    refused(
        &image,
        &["install", "--engine", "crio", "--distribution", "k3s"],
        2,
    );
    refused(&image, &["install", "--prefix", "relative"], 2);
    refused(&image, &["install", "--prefix", "/with space"], 2);
    assert!(refused(&image, &["install", "--restart"], 2).contains("tree of an image"));

    image.write(CONFIG, "version = 2\n[plugins\n");
    assert!(refused(&image, &["install"], 7).contains(CONFIG));
    image.write(CONFIG, DEBIAN);

    // Another installation, whatever it is.
    let foreign = "/usr/local/libexec/oci-apparmor/runc";
    image.write("/usr/local/libexec/oci-apparmor/x", "");
    symlink("elsewhere", image.path(foreign)).unwrap();
    assert!(refused(&image, &["install"], 5).contains(foreign));
    fs::remove_file(image.path(foreign)).unwrap();
    done(&image, "new", &["install", "--prefix", "/opt/oa"]);
    assert!(refused(&image, &["install", "--prefix", "/usr/local"], 5).contains("/opt/oa"));
    assert!(
        image
            .path("/etc/systemd/system/oci-apparmor-sync.path")
            .exists()
    );
    done(&image, "new", &["install"]);

    image.write("/etc/oci-apparmor/install.json", "{\"version\": 2}\n");
    refused(&image, &["install"], 7);
    refused(&image, &["uninstall"], 7);
}

#[test]
fn uninstalling_waits_for_other_engines_that_call_the_wrapper() {
    let image = debian();
    done(&image, "new", &["install"]);
    image.write("/etc/docker/daemon.json", "{}\n");
    image.done("configure", &["docker"]);
    let output = node(&image, "new", &["uninstall"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(
        said.contains("run: oci-apparmor unconfigure docker; then run: "),
        "{said}"
    );
    // The first step is done.
    assert_eq!(image.text(CONFIG), DEBIAN);
    assert!(image.path("/usr/local/bin/oci-apparmor-runtime").exists());
    image.done("unconfigure", &["docker"]);
    done(&image, "new", &["uninstall"]);
    assert!(
        !names(&image)
            .iter()
            .any(|name| name.contains("oci-apparmor"))
    );
}

#[test]
fn a_distribution_that_is_declared_is_the_one_that_is_configured() {
    let k3s = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml";
    let image = debian();
    image.write(k3s, "# File generated by k3s. DO NOT EDIT.\nversion = 2\n");
    let before = everything(&image);
    assert!(refused(&image, &["install"], 2).contains("several containerds"));
    done(&image, "new", &["install", "--distribution", "k3s"]);
    let template = format!("{k3s}.tmpl");
    assert!(
        image.text(&template).contains("oci-apparmor"),
        "{:?}",
        names(&image)
    );
    assert_eq!(image.text(CONFIG), DEBIAN);
    done(&image, "new", &["uninstall"]);
    assert_eq!(everything(&image), before);
}

/// Flatcar, Talos and others: `/usr` is read-only.
#[test]
fn a_read_only_usr_is_left_alone() {
    let image = debian();
    fs::create_dir_all(image.path("/usr/local")).unwrap();
    let usr = image.path("/usr");
    let script = format!(
        "mount --bind {0} {0} && mount -o remount,ro,bind {0} && exec \"$@\"",
        usr.display()
    );
    let output = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", &script, "sh"])
        .arg(release("new").join("oci-apparmor"))
        .args(["node", "install", "--root"])
        .arg(image.0.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not run: only root can mount");
        return;
    }
    assert!(output.status.success(), "{output:?}");
    assert!(
        said.starts_with("/usr/local cannot be written here, so /opt/oci-apparmor is used\n"),
        "{said}"
    );
    assert!(
        image
            .text(CONFIG)
            .contains("\"/opt/oci-apparmor/libexec/oci-apparmor/runc\"")
    );
    assert!(
        image
            .path("/opt/oci-apparmor/libexec/oci-apparmor/runc")
            .exists()
    );
}
