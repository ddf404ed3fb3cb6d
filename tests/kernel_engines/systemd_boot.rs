//! systemd, as the first process of namespaces of its own: the machine itself has another one.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::support::containers::*;

/// Starts systemd as the first process of a container of the machine's own: with its files, but
/// mounts, processes and a part of the cgroups of its own, and an empty `/run`. It starts nothing
/// but what it is asked for.
const BOOT: &str = "
    cd /sys/fs/cgroup
    for controller in $(cat cgroup.controllers); do
        echo +$controller >cgroup.subtree_control || :
    done
    mkdir -p systemd-here
    echo 0 >systemd-here/cgroup.procs
    exec env container=oci-apparmor-tests unshare --mount --cgroup --mount-proc sh -c '
        umount --lazy /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup &&
        mount -t tmpfs -o mode=755 tmpfs /run && mkdir /run/lock &&
        for wanted in /usr/lib/systemd/system/*.wants /etc/systemd/system; do
            mount -t tmpfs tmpfs $wanted || exit
        done &&
        exec /lib/systemd/systemd --system --unit=basic.target'";

/// The process id of that systemd, once it answers.
fn systemd() -> &'static str {
    static SYSTEMD: OnceLock<(String, Child)> = OnceLock::new();
    let (pid, _) = SYSTEMD.get_or_init(|| {
        let parent = Command::new("unshare")
            .args(["--pid", "--fork", "sh", "-c", BOOT])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let children = format!("/proc/{0}/task/{0}/children", parent.id());
        let pid = || fs::read_to_string(&children).unwrap().trim().to_owned();
        wait_for(|| {
            let pid = pid();
            let words = ["--target", &pid, "--all", "systemctl", "start"];
            !pid.is_empty() && run("nsenter", [&words[..], &["dbus.service"]].concat()).code == 0
        });
        (pid(), parent)
    });
    pid
}

/// Runs a command where that systemd is.
pub(crate) fn beside_systemd(words: &[&str]) -> Done {
    let before = ["--target", systemd(), "--all"];
    run("nsenter", [&before[..], words].concat())
}

/// The directory of that systemd's own units.
pub(crate) fn units() -> PathBuf {
    format!("/proc/{}/root/etc/systemd/system", systemd()).into()
}
