//! Profile text from a checked manifest: the rules of the Security Profiles Operator, in its order
//! (`internal/pkg/daemon/apparmorprofile/crd2armor/crd2armor.go`).

use std::fmt::{Display, Write};

use crate::api::{Network, PtraceRule, Rules};
use crate::path::Path;

/// What the operator denies in every profile in enforce mode. Up to 0.8.4 it also denied mount
/// and most of /sys. A manifest does not say for which operator it was written, and manifests for
/// later operators need what was denied (commits 652a546b1 and 12b4b3d01 of the operator).
pub(crate) const DENIED: [&str; 9] = [
    "@{PROC}/* w",
    "@{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9]*}/** w",
    "@{PROC}/sys/[^k]** w",
    "@{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w",
    "@{PROC}/sysrq-trigger rwklx",
    "@{PROC}/mem rwklx",
    "@{PROC}/kmem rwklx",
    "@{PROC}/kcore rwklx",
    "/sys/firmware/efi/efivars/** rwklx",
];

/// The text of a profile, made of rules.
pub(crate) fn of(name: &str, complain: bool, rules: &Rules) -> String {
    let mode = if complain { "complain" } else { "enforce" };
    // The kernel enforces deny rules in complain mode too, without a log entry, so a profile in
    // complain mode has none.
    let mut text = Text {
        text: format!(
            "#include <tunables/global>\n\
             profile {name} flags=({mode},attach_disconnected,mediate_deleted) {{\n  \
             #include <abstractions/base>\n"
        ),
        denies: !complain,
    };
    // There is no field for mounting: the operator allows it with this capability.
    let mounts = rules
        .capabilities
        .iter()
        .any(|capability| capability.0 == "sys_rawio");
    text.paths(&rules.executables, "ixr");
    text.paths(&rules.libraries, "mr");
    if mounts {
        text.rules(["/sbin/fsck ixr", "/sbin/fsck.ext4 ixr"]);
    }
    text.paths(&rules.read_only, "r");
    text.deny_paths(&rules.read_only, "wlk");
    text.paths(&rules.write_only, "wlk");
    text.deny_paths(&rules.write_only, "r");
    text.paths(&rules.read_write, "rwlk");
    text.rules(rules.ptrace.iter().map(ptrace));
    if let Some(network) = &rules.network {
        text.network(network);
    }
    text.rules(
        rules
            .capabilities
            .iter()
            .map(|capability| format!("capability {}", capability.0)),
    );
    if mounts {
        text.rules(["mount", "remount", "umount"]);
    }
    text.deny(DENIED);
    text.text.push_str("}\n");
    text.text
}

fn ptrace(rule: &PtraceRule) -> String {
    let access = rule.access.join(", ");
    match &rule.peer {
        Some(peer) => format!("ptrace ({access}) peer={peer}"),
        None => format!("ptrace ({access})"),
    }
}

struct Text {
    text: String,
    denies: bool,
}

impl Text {
    fn rules<T: Display>(&mut self, rules: impl IntoIterator<Item = T>) {
        for rule in rules {
            // Writing to a String cannot fail.
            let _ = writeln!(self.text, "  {rule},");
        }
    }

    fn deny<T: Display>(&mut self, rules: impl IntoIterator<Item = T>) {
        if self.denies {
            self.rules(rules.into_iter().map(|rule| format!("deny {rule}")));
        }
    }

    fn paths(&mut self, paths: &[Path], mode: &str) {
        self.rules(paths.iter().map(|path| format!("{} {mode}", path.as_str())));
    }

    fn deny_paths(&mut self, paths: &[Path], mode: &str) {
        self.deny(paths.iter().map(|path| format!("{} {mode}", path.as_str())));
    }

    fn network(&mut self, network: &Network) {
        match network.raw {
            true => self.rules(["network raw"]),
            // A missing allowRaw denies too: the operator copies the field to a plain boolean.
            false => self.deny(["network raw"]),
        }
        if network.tcp {
            self.rules(["network tcp"]);
        }
        if network.udp {
            self.rules(["network udp"]);
        }
    }
}
