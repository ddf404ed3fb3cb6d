//! Makes the tree of files.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::Options;
use crate::node::containers::write_bundles;
use crate::node::{CLI, CRUN_WRAPPER, HOOK, NULL_WRAPPER, PROFILE, PROGRAM, RUNTIME, WRAPPER};

/// The runtime does nothing, but for removing its state when it deletes a container: whether that is
/// gone decides what the wrapper does next.
const NULL_RUNTIME: &str = r#"
fn main() {
    let mut words = std::env::args().skip(1).peekable();
    if words.any(|word| word == "delete") && let Some(id) = words.last() {
        let _ = std::fs::remove_dir_all(format!("/run/containerd/runc/k8s.io/{id}"));
    }
}
"#;
/// Only executes the runtime.
const NULL_WRAPPER_SOURCE: &str = r#"
use std::os::unix::process::CommandExt;
fn main() {
    let error = std::process::Command::new("/usr/local/sbin/runc").args(std::env::args_os().skip(1)).exec();
    panic!("{error}");
}
"#;

/// How many files the profile includes, by way of `tunables/global` and `abstractions/base`: as many as
/// with those of Debian 12. They are made here, so that what is counted is the same on all systems.
const INCLUDED: usize = 20;

/// A profile of usual size.
const SOURCE: &str = "\
include <tunables/global>
profile bench-web flags=(attach_disconnected,mediate_deleted) {
  include <abstractions/base>
  network inet stream,
  capability net_bind_service,
  /usr/sbin/nginx mr,
  /etc/nginx/** r,
  /var/log/nginx/* w,
}
";

/// The tree, removed with the value.
pub(crate) struct Tree(tempfile::TempDir);

impl Tree {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, inside: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// Makes the tree. Everything that the node would have done before is done at the first call inside.
pub(crate) fn prepare(options: &Options) -> Tree {
    assert!(
        nix::unistd::geteuid().is_root(),
        "run as root: a mount namespace is needed"
    );
    let tree = Tree(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
    let features = include_str!("features.txt");
    for line in features.lines() {
        let (path, value) = line.split_once(' ').unwrap();
        let value = format!("{value}\n");
        tree.write(
            &format!("sys/kernel/security/apparmor/features/{path}"),
            value,
        );
    }
    let apparmor = "sys/kernel/security/apparmor";
    tree.write(&format!("{apparmor}/.replace"), "");
    tree.write(&format!("{apparmor}/revision"), "7\n");
    fs::create_dir_all(tree.path().join(format!("{apparmor}/policy/profiles"))).unwrap();
    tree.write("sys/module/apparmor/parameters/enabled", "Y\n");
    tree.write("sys/module/apparmor/parameters/mode", "enforce\n");
    let parser = Path::new("/etc/apparmor");
    assert!(
        parser.is_dir(),
        "{} is missing: install the package apparmor",
        parser.display()
    );
    copy(parser, &tree.path().join("etc/apparmor"));
    let mut global = String::new();
    for number in 0..INCLUDED {
        writeln!(global, "include <tunables/part-{number}>").unwrap();
        let text = format!("@{{PART_{number}}}=/srv/{number}/\n");
        tree.write(&format!("etc/apparmor.d/tunables/part-{number}"), text);
    }
    tree.write("etc/apparmor.d/tunables/global", global);
    tree.write(
        "etc/apparmor.d/abstractions/base",
        "/usr/lib/** mr,\n@{PART_0}** r,\n/dev/null rw,\n",
    );
    tree.write(&format!("etc/oci-apparmor/profiles/{PROFILE}"), SOURCE);
    tree.write(
        "etc/oci-apparmor/config.toml",
        format!(
            "cache_directory = '/run/cache'\n[runtimes]\nrunc = '{RUNTIME}'\n\
             directories = ['/usr/local/bin', '/usr/local/sbin']\n"
        ),
    );
    // Where the parser's own cache finds it.
    tree.write(&format!("etc/apparmor.d/{PROFILE}"), SOURCE);
    write_bundles(tree.path(), &options.variables);
    if let Some(directory) = &options.etc {
        copy(directory, &tree.path().join("etc"));
    }
    programs(&tree);
    tree
}

fn programs(tree: &Tree) {
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let options = "--edition 2024 -C target-feature=+crt-static -C panic=abort -C opt-level=s \
                   -C lto=fat -C strip=symbols -o";
    let run = tree.path().join("run");
    let mut null = Vec::new();
    for (name, text) in [
        ("null-runtime", NULL_RUNTIME),
        ("null-wrapper", NULL_WRAPPER_SOURCE),
    ] {
        tree.write(&format!("run/{name}.rs"), text);
        let status = Command::new(&rustc)
            .args(options.split_whitespace())
            .arg(run.join(name))
            .arg(run.join(format!("{name}.rs")))
            .status()
            .unwrap();
        assert!(status.success());
        null.push(run.join(name));
    }
    // With the code of a release: cargo builds only what is itself a test or a bench so that it unwinds.
    let ours = Path::new(env!("CARGO_BIN_EXE_oci-apparmor-runtime"))
        .parent()
        .unwrap();
    // All are copied: how fast a program starts also depends on how its file was written.
    for (path, from) in [
        (RUNTIME, null[0].as_path()),
        ("/usr/local/sbin/crun", &null[0]),
        (NULL_WRAPPER, &null[1]),
        (PROGRAM, &ours.join("oci-apparmor-runtime")),
        (HOOK, &ours.join("oci-apparmor-hook")),
        (CLI, &ours.join("oci-apparmor")),
    ] {
        // The command line is of another crate, and only `benches/run.sh` builds it before.
        if path == CLI && !from.exists() {
            continue;
        }
        let to = tree.path().join(&path[1..]);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
    for link in [WRAPPER, CRUN_WRAPPER] {
        fs::create_dir_all(tree.path().join(&link[1..]).parent().unwrap()).unwrap();
        symlink(
            "../../bin/oci-apparmor-runtime",
            tree.path().join(&link[1..]),
        )
        .unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (to.join(entry.file_name()), entry.file_type().unwrap());
        if kind.is_dir() {
            copy(&entry.path(), &path);
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path()).unwrap(), path).unwrap();
        } else {
            fs::copy(entry.path(), &path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
}
