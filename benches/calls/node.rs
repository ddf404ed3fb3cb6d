//! A node made of files: its /etc, /run and /sys, the programs, and one profile that the kernel has
//! loaded.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use oci_apparmor::apparmor::blob::walk;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

/// `sh -c ENTER sh NODE CHECKOUT PROGRAM [WORD...]`: puts the directories of the node in the place of
/// the machine's, and becomes the program. The checkout stays in reach, wherever it is.
pub(crate) const ENTER: &str = r#"
set -e
node=$1 checkout=$2
shift 2
mount --bind "$node/etc" /etc
mount --bind "$node/sys" /sys
# As on a node, /run is in memory.
mount -t tmpfs -o mode=755 run /run
cp -a "$node/run/." /run
cd /run
CHECKOUT=$checkout exec "$@"
"#;

/// The name of the profile.
pub(crate) const PROFILE: &str = "bench-web";

/// The runtime: a program that does nothing. The null wrapper: one that only executes it.
const NULL_RUNTIME: &str = "fn main() {}";
const NULL_WRAPPER: &str = r#"
use std::os::unix::process::CommandExt;
fn main() {
    let error = std::process::Command::new("/run/bin/runc").args(std::env::args_os().skip(1)).exec();
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
pub(crate) fn prepare() -> Tree {
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
        "cache_directory = '/run/cache'\n[runtimes]\nrunc = '/run/bin/runc'\n",
    );
    for (name, annotations) in [
        ("managed", json!({"oci-apparmor/profile": PROFILE})),
        ("plain", json!({})),
    ] {
        let text = serde_json::to_vec_pretty(&configuration(annotations)).unwrap();
        tree.write(&format!("run/{name}/as-engines-write-it"), &text);
        tree.write(&format!("run/{name}/config.json"), text);
        for directory in ["proc", "sys", "dev"] {
            fs::create_dir_all(tree.path().join(format!("run/{name}/rootfs/{directory}"))).unwrap();
        }
    }
    programs(&tree);
    tree
}

fn programs(tree: &Tree) {
    let run = tree.path().join("run");
    for (name, text) in [("bin/runc", NULL_RUNTIME), ("null/runc", NULL_WRAPPER)] {
        tree.write(&format!("run/{name}.rs"), text);
        let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
        let status = Command::new(rustc)
            .args([
                "--edition",
                "2024",
                "-C",
                "target-feature=+crt-static",
                "-C",
                "panic=abort",
            ])
            .args([
                "-C",
                "opt-level=s",
                "-C",
                "lto=fat",
                "-C",
                "strip=symbols",
                "-o",
            ])
            .arg(run.join(name))
            .arg(run.join(format!("{name}.rs")))
            .status()
            .unwrap();
        assert!(status.success());
    }
    fs::create_dir_all(run.join("wrapper")).unwrap();
    fs::copy(
        env!("CARGO_BIN_EXE_oci-apparmor-runtime"),
        run.join("wrapper/oci-apparmor-runtime"),
    )
    .unwrap();
    symlink("oci-apparmor-runtime", run.join("wrapper/runc")).unwrap();
    fs::copy(
        env!("CARGO_BIN_EXE_oci-apparmor-hook"),
        run.join("wrapper/oci-apparmor-hook"),
    )
    .unwrap();
}

/// A `config.json` of some 17 KB, as those of Kubernetes are.
fn configuration(annotations: Value) -> Value {
    let environment: Vec<String> = (0..90)
        .map(|n| format!("SERVICE_{n}_PORT=tcp://10.96.{n}.1:443/{}", "x".repeat(30)))
        .collect();
    let mounts: Vec<Value> = (0..40)
        .map(|n| json!({"destination": format!("/mnt/{n}"), "type": "bind", "options": ["rbind", "rprivate", "rw"],
            "source": format!("/var/lib/kubelet/pods/0d5c2f0a-6e1e-4ab9-8e47-e0f1e42d6a8e/volumes/{n}")}))
        .collect();
    let capabilities = [
        "CAP_CHOWN",
        "CAP_KILL",
        "CAP_SETUID",
        "CAP_NET_BIND_SERVICE",
    ];
    json!({
        "ociVersion": "1.1.0",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["sleep", "infinity"], "cwd": "/", "env": environment,
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs"},
        "mounts": mounts,
        "annotations": annotations,
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/latency_stats", "/sys/firmware"]},
    })
}

/// Called inside: has the profile compiled, shows it as loaded, and lets the wrapper find it so.
pub(crate) fn load() {
    let apparmor = Path::new("/sys/kernel/security/apparmor");
    // A fingerprint counts only if the file was unchanged for two seconds before.
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    let create = |id: &str| {
        Command::new("/run/wrapper/runc")
            .args(["create", "--bundle", "/run/managed", id])
            .output()
            .unwrap()
    };
    // What it writes does not appear in a kernel of files, so it refuses.
    assert!(!create("first").status.success());
    let blob = fs::read(apparmor.join(".replace")).unwrap();
    let declared = walk(&blob).unwrap();
    let hash = Sha1::digest(&declared[0].hashed);
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let profile = apparmor.join(format!("policy/profiles/{PROFILE}.1"));
    fs::create_dir_all(profile.join("profiles")).unwrap();
    for (file, text) in [("name", PROFILE), ("mode", "enforce"), ("sha1", &hash)] {
        fs::write(profile.join(file), format!("{text}\n")).unwrap();
    }
    for id in ["second", "third"] {
        let done = create(id);
        assert!(done.status.success(), "{done:?}");
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

/// Where the results go: relative to the checkout.
pub(crate) fn in_checkout(path: &Path) -> PathBuf {
    PathBuf::from(std::env::var_os("CHECKOUT").unwrap()).join(path)
}
