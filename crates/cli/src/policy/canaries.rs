//! Accesses that few containers need, and that help an intruder: what of them does a profile allow?

use serde::Serialize;

use crate::policy::access::{Answer, LoadedPolicy};
use crate::policy::bits;
use crate::policy::numbers;
use crate::policy::question::{MountCall, Question};
use oci_apparmor_audit::text::OutsideText;

/// Files, the permissions that are asked about, and what they are good for.
const FILES: [(&str, &str, &str); 27] = [
    ("/etc/shadow", "r", "the hashes of passwords"),
    ("/etc/passwd", "w", "new users"),
    ("/root/.ssh/id_rsa", "r", "a private key of root"),
    ("/root/.ssh/authorized_keys", "w", "logins as root"),
    (
        "/etc/ld.so.preload",
        "w",
        "code in every program that starts",
    ),
    (
        "/usr/bin/env",
        "w",
        "other programs than those of the image",
    ),
    (
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        "r",
        "the token of the pod's service account",
    ),
    (
        "/run/secrets/kubernetes.io/serviceaccount/token",
        "r",
        "the token of the pod's service account",
    ),
    (
        "/run/docker.sock",
        "w",
        "control of docker, which is root on the host",
    ),
    (
        "/var/run/docker.sock",
        "w",
        "control of docker, which is root on the host",
    ),
    (
        "/run/containerd/containerd.sock",
        "w",
        "control of containerd, which is root on the host",
    ),
    (
        "/run/crio/crio.sock",
        "w",
        "control of CRI-O, which is root on the host",
    ),
    ("/run/podman/podman.sock", "w", "control of podman"),
    (
        "/proc/sys/kernel/core_pattern",
        "w",
        "a program that the host runs as root",
    ),
    (
        "/proc/sys/kernel/modprobe",
        "w",
        "a program that the host runs as root",
    ),
    (
        "/proc/sys/net/ipv4/ip_forward",
        "w",
        "parameters of the kernel",
    ),
    ("/proc/sysrq-trigger", "w", "a reboot of the host"),
    ("/proc/kcore", "r", "the memory of the kernel"),
    ("/proc/1/environ", "r", "the environment of other processes"),
    ("/proc/1/mem", "w", "the memory of other processes"),
    (
        "/sys/kernel/uevent_helper",
        "w",
        "a program that the host runs as root",
    ),
    (
        "/sys/kernel/security/apparmor/.replace",
        "w",
        "other profiles",
    ),
    (
        "/sys/fs/cgroup/release_agent",
        "w",
        "a program that the host runs as root",
    ),
    ("/sys/firmware/efi/efivars/x", "w", "the firmware"),
    ("/dev/mem", "r", "the memory of the host"),
    ("/dev/kmsg", "w", "forged lines in the kernel's log"),
    ("/dev/sda", "r", "the disks of the host"),
];

/// Capabilities, and what they are good for.
const CAPABILITIES: [(&str, &str); 12] = [
    ("sys_admin", "mounts, namespaces and most else of root"),
    ("sys_module", "code in the kernel"),
    ("sys_ptrace", "the memory of other processes"),
    ("sys_rawio", "the memory of the host"),
    ("sys_boot", "a reboot, or another kernel"),
    ("sys_time", "the clock of the host"),
    (
        "dac_read_search",
        "files by their handles, outside of the container",
    ),
    ("mac_admin", "other profiles"),
    ("mac_override", "accesses that profiles refuse"),
    ("bpf", "programs in the kernel"),
    ("net_admin", "the network's configuration"),
    ("net_raw", "forged packets"),
];

/// A dangerous access that a profile allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AllowedCanary {
    /// The access: `/etc/shadow r`, `capability sys_admin`.
    pub access: String,
    /// What it gives an intruder.
    pub danger: &'static str,
    /// Whether only processes whose user owns the file may do it.
    pub for_owner: bool,
}

/// All accesses that are asked about.
fn canaries() -> Vec<(Question, &'static str)> {
    let text = |text: &str| OutsideText::new(text.as_bytes());
    let mut all = Vec::new();
    for (path, letters, danger) in FILES {
        let permissions = bits::of_letters(letters).unwrap_or_default();
        let path = text(path);
        all.push((Question::File { path, permissions }, danger));
    }
    for (name, danger) in CAPABILITIES {
        let number = numbers::capability(name);
        all.extend(number.map(|number| (Question::Capability(number), danger)));
    }
    for (family, kind, danger) in [
        ("inet", "raw", "forged packets"),
        ("packet", "raw", "the packets of all connections"),
        ("netlink", "raw", "the network's configuration"),
    ] {
        if let (Some(family), Some(kind)) = (numbers::family(family), numbers::socket_type(kind)) {
            let question = Question::Network {
                family,
                kind,
                protocol: 0,
                permissions: bits::CREATE,
            };
            all.push((question, danger));
        }
    }
    let unconfined = text("unconfined");
    all.push((
        Question::Ptrace {
            permissions: bits::TRACE,
            peer: unconfined.clone(),
        },
        "the memory of processes of the host",
    ));
    all.push((
        Question::Signal {
            signal: numbers::signal("kill").unwrap_or_default(),
            permissions: bits::SEND,
            peer: unconfined.clone(),
        },
        "an end of processes of the host",
    ));
    let change = Question::ChangeProfile {
        label: unconfined,
        on_exec: false,
        stacked: false,
    };
    all.push((change, "an end of the confinement"));
    let mount = Question::Mount(MountCall {
        target: text("/mnt/"),
        source: Some(text("proc")),
        fstype: Some(text("proc")),
        ..MountCall::default()
    });
    all.push((mount, "file systems whose paths the profile does not know"));
    all.push((
        Question::UserNamespace,
        "all capabilities in a namespace of its own, and so more of the kernel",
    ));
    all
}

/// The dangerous accesses that a profile allows. What it says nothing about, because its policy is
/// older than the kernel's rules for that, is left out: every profile of this node allows it.
pub(crate) fn allowed(policy: &LoadedPolicy<'_>) -> Vec<AllowedCanary> {
    let mut all = Vec::new();
    for (question, danger) in canaries() {
        let answer = policy.ask(&question);
        if answer.allows() && answer != Answer::NotMediated {
            all.push(AllowedCanary {
                access: question.to_string(),
                danger,
                for_owner: answer == Answer::AllowedForOwner,
            });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_canary_is_a_question() {
        let all = canaries();
        assert_eq!(all.len(), FILES.len() + CAPABILITIES.len() + 8);
        for (question, danger) in all {
            if let Question::File { permissions, .. } = question {
                assert_ne!(permissions, 0);
            }
            assert!(!danger.is_empty());
        }
    }
}
