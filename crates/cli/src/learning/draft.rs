//! What is added to the profiles of a source: rules, comments and flags in their order. Pure.

use crate::learning::edit::{AddedLine, Addition};
use oci_apparmor_audit::rule::PolicyRule;
use oci_apparmor_audit::suggestion::{SuggestedRule, Suggestion};
use oci_apparmor_audit::text::OutsideText;

/// What the events of a profile and its children teach.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Each of these profiles, with what it lacks.
    pub profiles: Vec<(String, Suggestion)>,
}

impl Draft {
    /// Whether nothing is to be added, not even a comment.
    pub(crate) fn is_empty(&self) -> bool {
        let is_empty = |s: &Suggestion| s.rules.is_empty() && s.flags.is_empty();
        self.profiles
            .iter()
            .all(|(_, suggestion)| is_empty(suggestion))
    }

    /// All rules, with their profiles.
    pub(crate) fn rules(&self) -> impl Iterator<Item = (&str, &SuggestedRule)> {
        let each = self.profiles.iter();
        each.flat_map(|(name, s)| s.rules.iter().map(move |rule| (name.as_str(), rule)))
    }

    /// What is added to the text of the profiles.
    pub(crate) fn additions(&self) -> Vec<Addition> {
        let lacking = self.profiles.iter();
        let additions = lacking.map(|(name, suggestion)| Addition {
            profile: name.clone(),
            flags: suggestion.flags.keys().map(|flag| flag.as_str()).collect(),
            groups: groups(&suggestion.rules),
        });
        additions
            .filter(|addition| !addition.groups.is_empty() || !addition.flags.is_empty())
            .collect()
    }
}

/// The groups of a body: rules by their kind, files at the end, and then what is only a comment.
fn groups(rules: &[SuggestedRule]) -> Vec<Vec<AddedLine>> {
    let mut groups: Vec<Vec<AddedLine>> = vec![Vec::new(); KINDS];
    let mut comments = Vec::new();
    for rule in rules {
        match rule.danger {
            Some(danger) => comments.push(AddedLine {
                rule: String::new(),
                comment: format!("{}{}", rule.rule, behind(rule)),
                above: format!("not granted: {danger}"),
            }),
            None => {
                let line = AddedLine {
                    rule: rule.rule.to_string(),
                    comment: witnesses(rule),
                    above: String::new(),
                };
                if let Some(group) = groups.get_mut(kind(&rule.rule)) {
                    group.push(line);
                }
            }
        }
    }
    groups.push(comments);
    groups.retain(|group| !group.is_empty());
    groups
}

fn behind(rule: &SuggestedRule) -> String {
    match witnesses(rule) {
        witnesses if witnesses.is_empty() => witnesses,
        witnesses => format!(" # {witnesses}"),
    }
}

/// Where the pattern of a rule comes from; empty if it has none.
pub(crate) fn witnesses(rule: &SuggestedRule) -> String {
    if rule.distinct == 0 {
        return String::new();
    }
    let names: Vec<String> = rule.witnesses.iter().map(OutsideText::to_string).collect();
    let more = match u64::try_from(names.len()) {
        Ok(shown) if shown < rule.distinct => ", …",
        _ => "",
    };
    format!("from {}: {}{more}", rule.distinct, names.join(", "))
}

/// How many kinds of rules [`kind`] tells apart.
const KINDS: usize = 7;

/// The place of a rule in a body.
fn kind(rule: &PolicyRule) -> usize {
    match rule {
        PolicyRule::Capability(_) => 0,
        PolicyRule::Network(_) | PolicyRule::Unix(_) | PolicyRule::Dbus(_) => 1,
        PolicyRule::Signal(_) | PolicyRule::Ptrace(_) => 2,
        PolicyRule::Mount(_) | PolicyRule::Umount(_) | PolicyRule::PivotRoot(_) => 3,
        PolicyRule::File(file) if file.exec.is_some() => 5,
        PolicyRule::File(_) | PolicyRule::Link(_) => 6,
        PolicyRule::ChangeProfile(_)
        | PolicyRule::Userns
        | PolicyRule::MessageQueue(_)
        | PolicyRule::IoUring(_)
        | PolicyRule::ResourceLimit(_) => 4,
    }
}
