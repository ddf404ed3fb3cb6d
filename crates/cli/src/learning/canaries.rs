//! Accesses that a profile for a container should not allow: a suggestion that does is looked at
//! twice. Pure.

use crate::policy::bits;
use crate::policy::numbers;
use crate::policy::question::Question;
use oci_apparmor_audit::text::OutsideText;

/// Files, with what is done with them and what that gives away.
const FILES: [(&str, &str, u32); 17] = [
    ("r", "/etc/shadow", bits::READ),
    ("w", "/etc/passwd", bits::WRITE),
    ("w", "/etc/ld.so.preload", bits::WRITE),
    (
        "r",
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        bits::READ,
    ),
    (
        "r",
        "/run/secrets/kubernetes.io/serviceaccount/token",
        bits::READ,
    ),
    ("w", "/run/docker.sock", bits::WRITE),
    ("w", "/var/run/docker.sock", bits::WRITE),
    ("w", "/run/containerd/containerd.sock", bits::WRITE),
    ("w", "/run/crio/crio.sock", bits::WRITE),
    ("w", "/run/podman/podman.sock", bits::WRITE),
    ("w", "/proc/sys/kernel/core_pattern", bits::WRITE),
    ("w", "/proc/sysrq-trigger", bits::WRITE),
    ("r", "/proc/kcore", bits::READ),
    ("r", "/proc/1/environ", bits::READ),
    ("w", "/sys/kernel/uevent_helper", bits::WRITE),
    ("w", "/sys/fs/cgroup/release_agent", bits::WRITE),
    ("w", "/dev/sda", bits::WRITE),
];

const CAPABILITIES: [&str; 6] = [
    "sys_admin",
    "sys_module",
    "sys_ptrace",
    "sys_rawio",
    "dac_read_search",
    "net_admin",
];

/// `SOCK_RAW`.
const RAW: u16 = 3;

/// Each with its words for people.
pub(crate) fn all() -> Vec<(String, Question)> {
    let file = |(letters, path, permissions): &(&str, &str, u32)| {
        let question = Question::File {
            path: OutsideText::new(path.as_bytes()),
            permissions: *permissions,
        };
        (format!("{letters} {path}"), question)
    };
    let mut all: Vec<(String, Question)> = FILES.iter().map(file).collect();
    for name in CAPABILITIES {
        let number = numbers::capability(name).map(Question::Capability);
        all.extend(number.map(|question| (format!("capability {name}"), question)));
    }
    for (name, kind) in [("inet", RAW), ("packet", RAW)] {
        all.extend(numbers::family(name).map(|family| {
            let question = Question::Network {
                family,
                kind,
                protocol: 0,
                permissions: bits::CREATE,
            };
            (format!("network {name} raw"), question)
        }));
    }
    all.push((
        "ptrace of unconfined processes".to_owned(),
        Question::Ptrace {
            permissions: bits::TRACE,
            peer: OutsideText::new(&b"unconfined"[..]),
        },
    ));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_another_question() {
        let all = all();
        assert_eq!(all.len(), FILES.len() + CAPABILITIES.len() + 3);
        let mut questions: Vec<_> = all.iter().map(|(_, question)| question).collect();
        questions.sort();
        questions.dedup();
        assert_eq!(questions.len(), all.len());
    }
}
