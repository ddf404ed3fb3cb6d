//! What was learnt, as lists of a manifest. Pure.

use crate::learning::draft::Draft;
use oci_apparmor_audit::rule::PolicyRule;
use oci_apparmor_audit::rule::kinds::{ExecTransition, FileRule, NetworkRule};
use oci_apparmor_audit::rule::permissions::FilePermissions;
use oci_apparmor_manifest::{Additions, is_path};

/// A draft as a manifest can express it.
#[derive(Debug, Default)]
pub(crate) struct Expressed {
    /// What is added to its lists.
    pub(crate) additions: Additions,
    /// The rules that it has no list for.
    pub(crate) inexpressible: Vec<String>,
    /// The rules that allow more in a manifest: `RULE becomes RULE`.
    pub(crate) broader: Vec<String>,
}

/// What a manifest can express of a draft.
pub(crate) fn express(draft: &Draft) -> Expressed {
    let mut expressed = Expressed::default();
    let rules = || draft.rules().filter(|(_, rule)| rule.danger.is_none());
    for (_, rule) in rules() {
        let additions = &mut expressed.additions;
        let granted = match &rule.rule {
            PolicyRule::File(file) => add_file(additions, file),
            PolicyRule::Capability(name) => {
                additions.capabilities.push(name.as_str().to_owned());
                Some(None)
            }
            PolicyRule::Network(network) => {
                let is_other = |other: &PolicyRule| match other {
                    PolicyRule::Network(other) => {
                        matches!(other.family.as_str(), "inet" | "inet6")
                            && other.family != network.family
                            && other.socket_type == network.socket_type
                    }
                    _ => false,
                };
                let both = rules().any(|(_, rule)| is_other(&rule.rule));
                add_network(additions, network)
                    .map(|field| (!both).then(|| format!("network {field},")))
            }
            _ => None,
        };
        match granted {
            None => expressed.inexpressible.push(rule.rule.to_string()),
            Some(None) => {}
            Some(Some(broader)) => {
                let text = format!("{} becomes {broader}", rule.rule);
                expressed.broader.push(text);
            }
        }
    }
    expressed
}

/// What the rule becomes in the profile of the manifest, if it allows more there. `None`: there is no
/// list for it.
fn add_file(additions: &mut Additions, rule: &FileRule) -> Option<Option<String>> {
    // A manifest has no escapes; blanks need no quotes there.
    let path = rule.path.to_string();
    let path = path.trim_matches('"').to_owned();
    let inherits = rule.exec.is_none_or(|exec| exec == ExecTransition::Inherit);
    if path.contains('\\') || !is_path(&path) || !inherits {
        return None;
    }
    let writing = FilePermissions::WRITE
        .and(FilePermissions::LOCK)
        .and(FilePermissions::LINK);
    let writes =
        rule.permissions.has_any(writing) || rule.permissions.has_any(FilePermissions::APPEND);
    let maps = rule.permissions.has(FilePermissions::MAP);
    let mut reads = rule.permissions.has(FilePermissions::READ);
    let mut granted = FilePermissions::NONE;
    // As the manifest is rendered.
    if rule.exec.is_some() {
        additions.executables.push(path.clone());
        granted = granted.and(FilePermissions::READ);
        reads = false;
    }
    if maps {
        additions.libraries.push(path.clone());
        granted = granted.and(FilePermissions::MAP).and(FilePermissions::READ);
        reads = false;
    }
    match (writes, reads) {
        (true, _) => {
            additions.read_write.push(path.clone());
            granted = granted.and(writing).and(FilePermissions::READ);
        }
        (false, true) => {
            additions.read_only.push(path.clone());
            granted = granted.and(FilePermissions::READ);
        }
        (false, false) => {}
    }
    let is_broader = rule.owner || !rule.permissions.has(granted);
    Some(is_broader.then(|| {
        let rendered = FileRule {
            permissions: granted,
            owner: false,
            ..rule.clone()
        };
        PolicyRule::File(rendered).to_string()
    }))
}

/// The protocol of the manifest, which is for IPv4 and IPv6.
fn add_network(additions: &mut Additions, rule: &NetworkRule) -> Option<&'static str> {
    if !matches!(rule.family.as_str(), "inet" | "inet6") {
        return None;
    }
    let [tcp, udp, raw] = &mut additions.network;
    let (wanted, name) = match rule.socket_type.as_ref().map(|kind| kind.as_str()) {
        Some("stream") => (tcp, "tcp"),
        Some("dgram") => (udp, "udp"),
        Some("raw") => (raw, "raw"),
        _ => return None,
    };
    *wanted = true;
    Some(name)
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
                "operation=\"open\" name=\"/srv/o\" requested_mask=\"r\" denied_mask=\"r\" fsuid=7 ouid=7",
            ),
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
        let Expressed {
            additions,
            inexpressible: rest,
            broader,
        } = express(&draft);
        let lists = [
            &additions.read_only,
            &additions.read_write,
            &additions.libraries,
            &additions.executables,
            &additions.capabilities,
        ];
        let expected = [
            &["/srv/o", "/srv/r"][..],
            &["/srv/w"],
            &["/usr/lib/x.so"],
            &["/bin/x"],
            &["chown"],
        ];
        assert_eq!(
            lists.map(|list| list.iter().map(String::as_str).collect::<Vec<_>>()),
            expected
        );
        assert_eq!(additions.network, [true, false, false]);
        assert_eq!(
            broader,
            [
                "network inet stream, becomes network tcp,",
                "/bin/x ix, becomes /bin/x rix,",
                "owner /srv/o r, becomes /srv/o r,",
                "/srv/w w, becomes /srv/w rwlk,",
            ]
        );
        assert_eq!(rest.len(), 2, "{rest:?}");
        assert!(rest.iter().any(|rule| rule.contains(r"/a\*b")), "{rest:?}");
    }
}
