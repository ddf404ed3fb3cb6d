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

#[cfg(test)]
mod tests {
    use super::*;
    use oci_apparmor_audit::event::Event;
    use oci_apparmor_audit::suggestion::{Suggestion, SuggestionOptions};

    fn event(rest: &str) -> Event {
        let line = format!(
            "audit: type=1400 audit(1.002:3): apparmor=\"DENIED\" profile=\"web\" pid=1 comm=\"c\" {rest}"
        );
        Event::parse(line.as_bytes()).unwrap()
    }

    fn file(name: &str, mask: &str) -> Event {
        event(&format!(
            "operation=\"open\" name={name} requested_mask=\"{mask}\" denied_mask=\"{mask}\" fsuid=0 ouid=0"
        ))
    }

    #[test]
    fn what_has_a_field_is_expressed_and_the_rest_is_listed() {
        let events = [
            file("\"/srv/r\"", "r"),
            file("\"/srv/w\"", "w"),
            file("\"/usr/lib/x.so\"", "rm"),
            file("2F612A62", "r"),
            event(
                "operation=\"exec\" name=\"/bin/x\" requested_mask=\"x\" denied_mask=\"x\" fsuid=0 ouid=0",
            ),
            event("operation=\"capable\" capability=0  capname=\"chown\""),
            event("operation=\"capable\" capability=21  capname=\"sys_admin\""),
            event(
                "operation=\"create\" family=\"inet\" sock_type=\"stream\" protocol=6 requested_mask=\"create\" denied_mask=\"create\"",
            ),
            event(
                "operation=\"create\" family=\"unix\" sock_type=\"stream\" protocol=0 requested_mask=\"create\" denied_mask=\"create\"",
            ),
        ];
        let suggestion = Suggestion::of(&events, &SuggestionOptions::default());
        let draft = Draft {
            profiles: vec![("web".to_owned(), suggestion)],
        };
        let (additions, rest) = additions(&draft);
        let lists = [
            &additions.read_only,
            &additions.read_write,
            &additions.libraries,
            &additions.executables,
            &additions.capabilities,
        ];
        let expected = ["/srv/r", "/srv/w", "/usr/lib/x.so", "/bin/x", "chown"];
        assert_eq!(lists, expected.map(|one| vec![one.to_owned()]).each_ref());
        assert_eq!(additions.network, [true, false, false]);
        assert_eq!(rest.len(), 2, "{rest:?}");
        assert!(rest.iter().any(|rule| rule.contains(r"/a\*b")), "{rest:?}");
    }
}
