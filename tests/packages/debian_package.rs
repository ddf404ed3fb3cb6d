//! The Debian package: its content, and what its scripts do on a node of each release.

use std::path::{Path, PathBuf};

use crate::{checkout, file, has, made, run, success};

/// The files of the package are those that `install.sh` installs.
#[test]
fn the_package_has_what_install_sh_has() {
    let package = file(".deb");
    let package = package.to_str().unwrap();
    let listed = success(run(
        "sh",
        [
            "-c",
            "dpkg-deb --fsys-tarfile \"$1\" | tar -t",
            "sh",
            package,
        ],
    ));
    let mut listed: Vec<&str> = listed.lines().filter(|path| !path.ends_with('/')).collect();
    let installed = success(run(
        checkout().join("install.sh"),
        ["--list", "--prefix", "/usr"],
    ));
    let installed = installed
        .lines()
        .map(|line| line.split(' ').nth(2).unwrap().to_owned());
    let mut wanted: Vec<String> = installed
        .filter(|path| !path.ends_with("/LICENSE"))
        .map(|path| match path.strip_suffix("/CHANGELOG.md") {
            Some(doc) => format!(".{doc}/changelog.gz"),
            None if path.contains("/man/") => format!(".{path}.gz"),
            None => format!(".{path}"),
        })
        .collect();
    wanted.extend(
        [
            "./etc/oci-apparmor/config.toml",
            "./usr/libexec/oci-apparmor/runc",
            "./usr/libexec/oci-apparmor/crun",
            "./usr/libexec/oci-apparmor/youki",
            "./usr/share/doc/oci-apparmor/changelog.Debian.gz",
            "./usr/share/doc/oci-apparmor/copyright",
            "./usr/share/lintian/overrides/oci-apparmor",
        ]
        .map(str::to_owned),
    );
    wanted.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, wanted);
    let conffiles = success(run("dpkg-deb", ["--info", package, "conffiles"]));
    assert_eq!(conffiles, "/etc/oci-apparmor/config.toml\n");
}

#[test]
fn lintian_has_nothing_to_say() {
    if !has("lintian") {
        return;
    }
    let package = file(".deb");
    let words = [
        "--allow-root",
        "--fail-on",
        "error,warning",
        package.to_str().unwrap(),
    ];
    assert_eq!(success(run("lintian", words)), "");
}

/// No script removes a profile from the kernel, or restarts an engine.
#[test]
fn scripts_of_the_package_leave_the_kernel_and_engines_alone() {
    for script in ["postinst", "prerm", "postrm"] {
        let text = success(run(
            "dpkg-deb",
            ["--info", file(".deb").to_str().unwrap(), script],
        ));
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        for line in lines.filter(|line| !line.contains("echo ") && !line.contains("refuse ")) {
            for word in [
                "unload",
                "apparmor_parser",
                "securityfs",
                "restart",
                "reload-or",
                "kill",
            ] {
                assert!(!line.contains(word), "{script}: {line}");
            }
        }
        assert!(!text.contains('@'), "{script}: {text}");
    }
}

/// The root trees of the releases; a test that finds none says so.
fn trees() -> Vec<PathBuf> {
    if !nix::unistd::geteuid().is_root() {
        crate::cannot("only root can enter a root tree");
        return Vec::new();
    }
    let cache = std::env::var_os("OCI_APPARMOR_VM_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or(checkout().join("target/vm"));
    let trees = ["bookworm", "trixie"].map(|release| cache.join(format!("root-{release}")));
    let missing = trees
        .iter()
        .any(|tree| !tree.join("etc/debian_version").exists());
    if missing {
        // `tests/run.sh quick` has none.
        eprintln!("not run: tests/vm/setup has not made the root trees of the releases");
        return Vec::new();
    }
    trees.to_vec()
}

/// Runs a script of the shell on a node of this release that has no package of ours; each line has
/// to succeed.
fn on(tree: &Path, script: &str) {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "fails() {{ if \"$@\" >/tmp/said 2>&1; then cat /tmp/said; echo \"it did not fail: $*\"; exit 1; fi; }}\n\
         said() {{ grep -qF -- \"$1\" /tmp/said || {{ cat /tmp/said; echo \"not said: $1\"; exit 1; }}; }}\n\
         install() {{ dpkg -i \"$@\" >/tmp/said 2>&1 || {{ cat /tmp/said; exit 1; }}; }}\n\
         set -x\n{script}"
    );
    let enter = checkout().join("tests/packages/in_root.sh");
    let words = [tree, &made(), dir.path(), Path::new(&script)];
    success(run(enter, words));
}

/// Files that `dpkg`, its triggers and this script itself change are not compared.
const BEFORE_AND_AFTER: &str = "
    everything() { find / -xdev -path /tmp -prune -o -path /var/lib/dpkg -prune -o -path /var/log -prune \\
        -o -path /var/cache/ldconfig -prune -o -printf '%p %y %m %u %g %l\\n' | sort; }
";

#[test]
fn install_upgrade_remove_and_purge_leave_nothing_behind() {
    for tree in trees() {
        let script = "
            touch /var/lib/oci-apparmor-neighbour /etc/oci-apparmor.other
            everything >/tmp/before
            install /mnt/light-1.deb
            oci-apparmor --version
            dpkg --verify oci-apparmor
            test \"$(stat -c '%a %u %g' /var/lib/oci-apparmor/spool)\" = '750 65532 65532'
            test \"$(stat -c '%a %u' /var/lib/oci-apparmor/status)\" = '755 0'
            test \"$(readlink -f /usr/libexec/oci-apparmor/crun)\" = /usr/bin/oci-apparmor-runtime
            grep -q /usr/bin/oci-apparmor /usr/lib/systemd/system/oci-apparmor-gc.service
            test -z \"$(find /etc/systemd -name 'oci-apparmor*')\"

            echo 'floor = \"mine\"' >/etc/oci-apparmor/config.toml
            echo 'profile mine { }' >/etc/oci-apparmor/profiles/mine
            install /mnt/light-2.deb
            test \"$(dpkg-query -W -f '${Version}' oci-apparmor | grep -o '[^-]*$')\" = 2
            test \"$(cat /etc/oci-apparmor/config.toml)\" = 'floor = \"mine\"'
            test \"$(ls /etc/oci-apparmor)\" = \"$(printf 'config.toml\\nprofiles')\"

            rm /etc/oci-apparmor/config.toml
            oci-apparmor configure podman --set-default
            test -e /etc/containers/containers.conf.d/99-oci-apparmor.conf
            systemctl enable oci-apparmor-gc.timer
            test -n \"$(find /etc/systemd -name 'oci-apparmor*')\"
            dpkg -r oci-apparmor
            test ! -e /etc/containers/containers.conf.d/99-oci-apparmor.conf
            test -z \"$(find /etc/systemd /usr -name 'oci-apparmor*')\"
            test -e /etc/oci-apparmor/profiles/mine

            mkdir -p /var/cache/oci-apparmor/policy
            touch /var/cache/oci-apparmor/policy/x /var/lib/oci-apparmor/spool/x
            dpkg -P oci-apparmor
            rmdir /etc/systemd/system/timers.target.wants /etc/containers/containers.conf.d /etc/containers 2>/tmp/said || :
            everything >/tmp/after
            diff /tmp/before /tmp/after
        ";
        on(&tree, &format!("{BEFORE_AND_AFTER}{script}"));
    }
}

#[test]
fn removal_is_refused_until_no_engine_needs_the_wrapper() {
    for tree in trees() {
        on(
            &tree,
            "
            install /mnt/light-1.deb
            mkdir -p /etc/containerd
            echo 'version = 2' >/etc/containerd/config.toml
            oci-apparmor configure containerd --set-default
            grep -q /usr/libexec/oci-apparmor/ /etc/containerd/config.toml
            fails dpkg -r oci-apparmor
            said 'systemctl restart containerd'
            said 'not removed: restart the engines as said above'
            # The change is taken back, and all programs are there for the containers that run.
            test \"$(cat /etc/containerd/config.toml)\" = 'version = 2'
            oci-apparmor --version
            dpkg -s oci-apparmor | grep -q 'Status: .* installed'

            # What was written by hand stays, and is named.
            printf '[engine.runtimes]\\ncrun = [\"/usr/libexec/oci-apparmor/crun\"]\\n' >/etc/containers/containers.conf
            fails dpkg -r oci-apparmor
            said 'still named in /etc/containers/containers.conf'
            said OCI_APPARMOR_FORCE=1
            fails dpkg -P oci-apparmor
            test -e /etc/oci-apparmor/config.toml
            # Forced, on the administrator's word.
            OCI_APPARMOR_FORCE=1 dpkg -P oci-apparmor
            test ! -e /usr/bin/oci-apparmor-runtime
            test ! -e /etc/oci-apparmor
            test -e /etc/containers/containers.conf
            ",
        );
    }
}
