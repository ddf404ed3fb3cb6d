//! What was learnt, as lists of a manifest. Pure.

use crate::learning::draft::Draft;
use oci_apparmor_audit::rule::PolicyRule;
use oci_apparmor_audit::rule::kinds::{ExecTransition, FileRule, NetworkRule};
use oci_apparmor_audit::rule::permissions::FilePermissions;
use oci_apparmor_manifest::{Additions, is_path};

/// What a manifest can express of a draft, and the rules that it cannot.
pub(crate) fn additions(draft: &Draft) -> (Additions, Vec<String>) {
    let mut additions = Additions::default();
    let mut inexpressible = Vec::new();
    for (_, rule) in draft.rules().filter(|(_, rule)| rule.danger.is_none()) {
        let expressed = match &rule.rule {
            PolicyRule::File(file) => add_file(&mut additions, file),
            PolicyRule::Capability(name) => {
                additions.capabilities.push(name.as_str().to_owned());
                true
            }
            PolicyRule::Network(network) => add_network(&mut additions, network),
            _ => false,
        };
        if !expressed {
            inexpressible.push(rule.rule.to_string());
        }
    }
    (additions, inexpressible)
}

fn add_file(additions: &mut Additions, rule: &FileRule) -> bool {
    // A manifest has no escapes; blanks need no quotes there.
    let path = rule.path.to_string();
    let path = path.trim_matches('"').to_owned();
    let inherits = rule.exec.is_none_or(|exec| exec == ExecTransition::Inherit);
    if path.contains('\\') || !is_path(&path) || !inherits {
        return false;
    }
    let writing = [
        FilePermissions::WRITE,
        FilePermissions::APPEND,
        FilePermissions::LOCK,
        FilePermissions::LINK,
    ];
    let writes = writing.iter().any(|one| rule.permissions.has(*one));
    let maps = rule.permissions.has(FilePermissions::MAP);
    let mut reads = rule.permissions.has(FilePermissions::READ);
    if rule.exec.is_some() {
        additions.executables.push(path.clone());
        reads = false;
    }
    if maps {
        additions.libraries.push(path.clone());
        reads = false;
    }
    match (writes, reads) {
        (true, _) => additions.read_write.push(path),
        (false, true) => additions.read_only.push(path),
        (false, false) => {}
    }
    true
}

fn add_network(additions: &mut Additions, rule: &NetworkRule) -> bool {
    let is_ip = matches!(rule.family.as_str(), "inet" | "inet6");
    let [tcp, udp, raw] = &mut additions.network;
    let wanted = match rule.socket_type.as_ref().map(|kind| kind.as_str()) {
        Some("stream") => tcp,
        Some("dgram") => udp,
        Some("raw") => raw,
        _ => return false,
    };
    *wanted |= is_ip;
    is_ip
}
