//! Files that a profile should not allow unnoticed.

use crate::rule::pattern::NamePattern;
use crate::rule::permissions::FilePermissions;

/// Paths as AppArmor writes them, the permissions that matter, and the reason; without a reason, a rule
/// for such a path is as good as any other, but no pattern may take it in.
struct DangerousPath {
    globs: &'static [&'static str],
    permissions: FilePermissions,
    reason: Option<&'static str>,
}

const READ: FilePermissions = FilePermissions::READ;
const WRITE: FilePermissions = FilePermissions::WRITE;

const PATHS: [DangerousPath; 15] = [
    DangerousPath {
        globs: &["/proc/sys/**"],
        permissions: WRITE,
        reason: Some("settings of the kernel, which may be those of the node"),
    },
    DangerousPath {
        globs: &["/proc/sysrq-trigger"],
        permissions: WRITE,
        reason: Some("restarts or stops the node"),
    },
    DangerousPath {
        globs: &[
            "/proc/kcore",
            "/proc/kmem",
            "/proc/mem",
            "/dev/mem",
            "/dev/kmem",
            "/dev/port",
        ],
        permissions: READ,
        reason: Some("the memory of the kernel"),
    },
    DangerousPath {
        globs: &[
            "/proc/kcore",
            "/proc/kmem",
            "/proc/mem",
            "/dev/mem",
            "/dev/kmem",
            "/dev/port",
            "/dev/kmsg",
        ],
        permissions: WRITE,
        reason: Some("the memory of the kernel, or its log"),
    },
    DangerousPath {
        globs: &["/proc/[0-9]*/mem", "/proc/[0-9]*/task/[0-9]*/mem"],
        permissions: WRITE,
        reason: Some("the memory of other processes"),
    },
    DangerousPath {
        globs: &["/proc/[0-9]*/attr/**", "/proc/[0-9]*/task/[0-9]*/attr/**"],
        permissions: WRITE,
        reason: Some("changes the label of a process"),
    },
    DangerousPath {
        globs: &[
            "/proc/acpi/**",
            "/proc/asound/**",
            "/proc/bus/**",
            "/proc/fs/**",
            "/proc/irq/**",
            "/proc/scsi/**",
        ],
        permissions: WRITE,
        reason: Some("settings of hardware and drivers of the node"),
    },
    DangerousPath {
        globs: &["/sys/**"],
        permissions: WRITE,
        reason: Some("settings of hardware, drivers and control groups of the node"),
    },
    DangerousPath {
        globs: &[
            "/sys/kernel/debug/**",
            "/sys/kernel/tracing/**",
            "/sys/kernel/security/**",
        ],
        permissions: READ,
        reason: Some("shows the kernel's own state, and that of all processes of the node"),
    },
    DangerousPath {
        globs: &[
            "/**/docker.sock",
            "/**/containerd.sock",
            "/**/containerd.sock.ttrpc",
            "/**/crio.sock",
            "/**/podman.sock",
            "/**/cri-dockerd.sock",
            "/**/buildkitd.sock",
        ],
        permissions: WRITE,
        reason: Some("a container engine, which starts containers with all privileges"),
    },
    DangerousPath {
        globs: &[
            "/dev/sd*",
            "/dev/hd*",
            "/dev/vd*",
            "/dev/xvd*",
            "/dev/nvme*",
            "/dev/mmcblk*",
            "/dev/md[0-9]*",
            "/dev/dm-*",
            "/dev/mapper/**",
            "/dev/disk/**",
            "/dev/block/**",
            "/dev/loop*",
            "/dev/nbd*",
            "/dev/rbd*",
            "/dev/zd*",
            "/dev/sr[0-9]*",
            "/dev/sg[0-9]*",
        ],
        permissions: READ,
        reason: Some("a disk, with everything on it"),
    },
    DangerousPath {
        globs: &[
            "/dev/sd*",
            "/dev/hd*",
            "/dev/vd*",
            "/dev/xvd*",
            "/dev/nvme*",
            "/dev/mmcblk*",
            "/dev/md[0-9]*",
            "/dev/dm-*",
            "/dev/mapper/**",
            "/dev/disk/**",
            "/dev/block/**",
            "/dev/loop*",
            "/dev/nbd*",
            "/dev/rbd*",
            "/dev/zd*",
            "/dev/sr[0-9]*",
            "/dev/sg[0-9]*",
        ],
        permissions: WRITE,
        reason: Some("a disk, with everything on it"),
    },
    DangerousPath {
        globs: &["/dev/vfio/**", "/dev/uio[0-9]*", "/dev/vhost-*"],
        permissions: WRITE,
        reason: Some("hardware that can read the memory of the node"),
    },
    DangerousPath {
        globs: &[
            "/etc/shadow*",
            "/etc/gshadow*",
            "/etc/sudoers*",
            "/etc/sudoers.d/**",
            "/etc/ssh/ssh_host_*",
            "/etc/ssl/private/**",
            "/etc/kubernetes/**",
            "/root/**",
            "/**/.ssh/**",
            "/**/.kube/**",
            "/**/.aws/**",
            "/**/.docker/**",
            "/**/serviceaccount/**",
            "/run/secrets/**",
            "/var/run/secrets/**",
            "/proc/[0-9]*/environ",
            "/proc/[0-9]*/mem",
        ],
        permissions: READ,
        reason: None,
    },
    DangerousPath {
        globs: &[
            "/etc/passwd*",
            "/etc/group*",
            "/etc/ld.so.*",
            "/etc/cron*/**",
        ],
        permissions: WRITE,
        reason: None,
    },
];

/// The writing half of a set of permissions, as a table entry names it.
fn meets(entry: FilePermissions, permissions: FilePermissions) -> bool {
    permissions.has_any(entry)
        || entry.has_any(WRITE) && permissions.has_any(FilePermissions::APPEND)
}

/// Why a rule for this file should not be in force before it is understood.
pub(super) fn danger(path: &NamePattern, permissions: FilePermissions) -> Option<&'static str> {
    let entries = PATHS
        .iter()
        .filter(|entry| meets(entry.permissions, permissions));
    entries
        .filter(|entry| entry.globs.iter().any(|glob| path.overlaps(glob)))
        .find_map(|entry| entry.reason)
}

/// Whether a pattern takes in a dangerous or secret file that a name, which it stands for, is none of.
pub(super) fn crosses(
    pattern: &NamePattern,
    name: &NamePattern,
    permissions: FilePermissions,
) -> bool {
    let entries = PATHS
        .iter()
        .filter(|entry| meets(entry.permissions, permissions));
    let mut globs = entries.flat_map(|entry| entry.globs.iter());
    globs.any(|glob| pattern.overlaps(glob) && !name.overlaps(glob))
}
