//! Several names become one pattern, where there is evidence that more of them will follow.

use std::collections::BTreeMap;

use crate::rule::PolicyRule;
use crate::rule::kinds::{FileRule, UnixAddress};
use crate::rule::pattern::{NamePattern, PatternPart};
use crate::rule::permissions::FilePermissions;
use crate::suggestion::numbers::{self, Numbers};
use crate::suggestion::{Generalise, SuggestedRule, known, paths};
use crate::text::OutsideText;

/// How many names that differ only in numbers become a pattern.
const NUMBERED: usize = 3;
const NUMBERED_MORE: usize = 2;

/// How many names with one extension in one directory become a pattern.
const SAME_EXTENSION: usize = 3;

/// How many patterns are tried for a name. Without a limit, a program that opens many files with long
/// names could make this take hours.
const MOST_CANDIDATES: usize = 64;

/// Rules for one pattern, and the names that it was made of.
#[derive(Debug, Clone)]
struct Group {
    rule: FileRule,
    count: u64,
    names: Vec<NamePattern>,
}

impl Group {
    fn absorb(&mut self, other: Self) {
        self.rule.absorb(&other.rule);
        self.count = self.count.saturating_add(other.count);
        self.names.extend(other.names);
    }

    /// The same for another pattern, unless that takes in what the names do not.
    fn widened(&self, pattern: NamePattern) -> Option<Self> {
        let crosses = |name: &NamePattern| {
            *name != pattern && paths::crosses(&pattern, name, self.rule.permissions)
        };
        if self.names.iter().any(crosses) {
            return None;
        }
        let mut group = self.clone();
        group.rule.path = pattern;
        Some(group)
    }

    /// Whether its rule also allows what the rule of another group does.
    fn covers(&self, other: &Self) -> bool {
        let (rule, of) = (&self.rule, &other.rule);
        of.exec.is_none()
            && rule.permissions.has(of.permissions)
            && (of.owner || !rule.owner)
            && of.path.name().is_some_and(|name| rule.path.matches(name.bytes()))
            // Otherwise it would not be in force.
            && paths::danger(&rule.path, rule.permissions).is_none()
    }
}

/// The rules for all accesses of a profile, sorted.
pub(super) fn all<'r>(
    accesses: impl Iterator<Item = &'r (PolicyRule, u64)>,
    profile: &[u8],
    generalise: Generalise,
) -> Vec<SuggestedRule> {
    let mut groups = Vec::new();
    let mut others: BTreeMap<PolicyRule, SuggestedRule> = BTreeMap::new();
    for (rule, count) in accesses {
        if let PolicyRule::File(rule) = rule {
            groups.push(Group {
                names: vec![rule.path.clone()],
                rule: rule.clone(),
                count: *count,
            });
            continue;
        }
        let widened = match generalise {
            Generalise::None => rule.clone(),
            Generalise::Some | Generalise::More => known_parts(rule),
        };
        let merged = others
            .entry(widened.subject())
            .or_insert_with(|| SuggestedRule::new(widened.clone(), 0, profile));
        merged.rule.absorb(&widened);
        merged.count = merged.count.saturating_add(*count);
        if widened != *rule {
            merged.witness(&OutsideText::new(rule.to_string().into_bytes()));
        }
    }
    let mut suggested: Vec<SuggestedRule> = others.into_values().collect();
    for group in files(groups, generalise) {
        let is_pattern = group.rule.path.name().is_none();
        let rule = PolicyRule::File(group.rule);
        let mut suggestion = SuggestedRule::new(rule, group.count, profile);
        if is_pattern {
            let names = group.names.iter().filter_map(NamePattern::name);
            names.for_each(|name| suggestion.witness(name));
        }
        suggested.push(suggestion);
    }
    suggested.sort_by(|one, other| one.rule.cmp(&other.rule));
    suggested
}

/// The same rule for names that differ only in parts of a known form.
fn known_parts(rule: &PolicyRule) -> PolicyRule {
    let mut rule = rule.clone();
    let widen = |pattern: &mut NamePattern| {
        let widened = pattern.name().map(|name| known::pattern(name.bytes()));
        // A link gives a file another name, for which other rules may allow more.
        let all = FilePermissions::ALL;
        if let Some(widened) = widened.filter(|widened| !paths::crosses(widened, pattern, all)) {
            *pattern = widened;
        }
    };
    match &mut rule {
        PolicyRule::Link(rule) => {
            widen(&mut rule.path);
            widen(&mut rule.target);
        }
        PolicyRule::Unix(rule) => {
            for address in [&mut rule.address, &mut rule.peer_address]
                .into_iter()
                .flatten()
            {
                if let UnixAddress::Abstract(name) = address {
                    *name = abstract_name(name);
                }
            }
        }
        _ => {}
    }
    rule
}

/// The kernel chooses five hexadecimal digits for a socket that is bound without a name
/// (`unix_autobind()`, net/unix/af_unix.c).
fn abstract_name(pattern: &NamePattern) -> NamePattern {
    let Some(name) = pattern.name().map(OutsideText::bytes) else {
        return pattern.clone();
    };
    let digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    match name.len() == 5 && name.iter().all(digit) {
        true => NamePattern::of(vec![PatternPart::Bytes(5)]),
        false => known::pattern(name),
    }
}

fn files(groups: Vec<Group>, generalise: Generalise) -> Vec<Group> {
    let numbered = match generalise {
        Generalise::None => return groups,
        Generalise::Some => NUMBERED,
        Generalise::More => NUMBERED_MORE,
    };
    let mut merged: BTreeMap<NamePattern, Group> = BTreeMap::new();
    for group in groups {
        let pattern = group.rule.path.name();
        let pattern = pattern.map(|name| known::pattern(name.bytes()));
        let group = pattern
            .and_then(|pattern| group.widened(pattern))
            .unwrap_or(group);
        insert(&mut merged, group);
    }
    let numbers = Numbers::of(merged.keys(), numbered);
    let groups = merged.into_values().collect();
    let shape = |path: &NamePattern| numbers.shape(path);
    let mut groups = together(groups, numbered, shape, numbers::common);
    if generalise == Generalise::More {
        let shape = |path: &NamePattern| path.name().and_then(extension);
        groups = together(groups, SAME_EXTENSION, shape, |shape, _| shape);
    }
    covered(groups)
}

fn insert(groups: &mut BTreeMap<NamePattern, Group>, group: Group) {
    match groups.get_mut(&group.rule.path) {
        Some(known) => known.absorb(group),
        None => drop(groups.insert(group.rule.path.clone(), group)),
    }
}

/// Makes one group of those that have the same shape, allow the same, and are enough.
fn together(
    groups: Vec<Group>,
    least: usize,
    shape: impl Fn(&NamePattern) -> Option<NamePattern>,
    common: impl Fn(NamePattern, &[&NamePattern]) -> NamePattern,
) -> Vec<Group> {
    let mut result = Vec::new();
    let mut alike: BTreeMap<(NamePattern, FilePermissions, bool), Vec<Group>> = BTreeMap::new();
    for group in groups {
        // A program is a decision of its own.
        match shape(&group.rule.path).filter(|_| group.rule.exec.is_none()) {
            Some(shape) => {
                let key = (shape, group.rule.permissions, group.rule.owner);
                alike.entry(key).or_default().push(group);
            }
            None => result.push(group),
        }
    }
    for ((shape, ..), groups) in alike {
        let paths: Vec<_> = groups.iter().map(|group| &group.rule.path).collect();
        let pattern = common(shape, &paths);
        let widened: Option<Vec<Group>> = match groups.len() >= least {
            true => groups
                .iter()
                .map(|group| group.widened(pattern.clone()))
                .collect(),
            false => None,
        };
        match widened {
            Some(widened) => result.extend(widened.into_iter().reduce(|mut all, group| {
                all.absorb(group);
                all
            })),
            None => result.extend(groups),
        }
    }
    result
}

/// Directories of whose files three say nothing about the others: each has its own purpose.
const MIXED: [&[u8]; 9] = [
    b"", b"bin", b"dev", b"etc", b"home", b"proc", b"root", b"run", b"sys",
];

/// The pattern of all names in the directory with the extension; for libraries, with any version.
fn extension(name: &OutsideText) -> Option<NamePattern> {
    let name = name.bytes();
    let slash = name.iter().rposition(|byte| *byte == b'/')?;
    let (directory, file) = name.split_at_checked(slash.saturating_add(1))?;
    let components: Vec<&[u8]> = directory.split(|byte| *byte == b'/').collect();
    match *components {
        [b"", b"proc" | b"sys" | b"dev", ..] => return None,
        [b"", b""] => return None,
        [b"", top, b""] if MIXED.contains(&top) => return None,
        _ => {}
    }
    let text = |bytes: &[u8]| PatternPart::Text(OutsideText::new(bytes));
    let is_library = |part: &[u8]| part == b".so" || part == b".so.";
    if file.starts_with(b"lib") && (file.ends_with(b".so") || file.windows(4).any(is_library)) {
        let library = [directory, b"lib"].concat();
        return Some(NamePattern::of(vec![
            text(&library),
            PatternPart::Any,
            text(b".so"),
            PatternPart::Any,
        ]));
    }
    let dot = file
        .iter()
        .rposition(|byte| *byte == b'.')
        .filter(|dot| *dot > 0)?;
    let extension = file.get(dot..)?;
    let letters = extension.get(1..)?;
    let is_word = letters.iter().all(u8::is_ascii_alphanumeric)
        && letters.first().is_some_and(u8::is_ascii_alphabetic);
    (is_word && letters.len() <= 8)
        .then(|| NamePattern::of(vec![text(directory), PatternPart::Any, text(extension)]))
}

/// Leaves out what a pattern allows, too.
fn covered(groups: Vec<Group>) -> Vec<Group> {
    let (mut patterns, names): (Vec<Group>, Vec<Group>) = groups
        .into_iter()
        .partition(|group| group.rule.path.name().is_none());
    let mut places: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    for (place, pattern) in patterns.iter().enumerate() {
        let beginning = pattern.rule.path.beginning().to_vec();
        places.entry(beginning).or_default().push(place);
    }
    let mut lengths: Vec<usize> = places.keys().map(Vec::len).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let mut left = Vec::new();
    for group in names {
        let name = group.rule.path.beginning();
        let beginnings = lengths.iter().filter_map(|length| name.get(..*length));
        let mut candidates = beginnings
            .filter_map(|beginning| places.get(beginning))
            .flatten()
            .take(MOST_CANDIDATES);
        let covers = |place: &&usize| {
            let pattern = patterns.get(**place);
            pattern.is_some_and(|pattern| pattern.covers(&group))
        };
        match candidates
            .find(covers)
            .and_then(|place| patterns.get_mut(*place))
        {
            Some(pattern) => pattern.absorb(group),
            None => left.push(group),
        }
    }
    patterns.extend(left);
    patterns
}
