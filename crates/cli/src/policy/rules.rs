//! The rules of a profile in its source and in what that includes, with their lines.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::policy::question::Question;
use oci_apparmor::apparmor::text::{Include, ProfileRule, ProfileText};
use oci_apparmor::fs::trusted;
use oci_apparmor::profiles::source::is_source;

/// The largest included file, as for sources.
const MAX: u64 = 4 << 20;

/// How deep includes are followed, and how many files are read.
const DEEPEST: usize = 32;
const MOST_FILES: usize = 500;

/// A rule and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlacedRule {
    /// The file.
    pub file: PathBuf,
    /// Its line, counted from 1.
    pub line: usize,
    /// Its text with the qualifiers of the blocks around it, on one line and without the comma.
    pub text: String,
    /// The same, without the qualifier `audit`.
    pub unaudited: String,
    /// Whether it is a `deny` rule.
    pub deny: bool,
    /// Whether it has the qualifier `audit`.
    pub audit: bool,
    /// Its priority (AppArmor 4.1); 0 if it has none.
    pub priority: i64,
    /// Its first word, which says what it is about.
    first: String,
}

/// Reads the rules of one profile.
pub(super) struct RuleReader<'d> {
    /// Where `<…>` includes are looked for.
    pub directories: &'d [PathBuf],
    files: BTreeSet<PathBuf>,
    rules: Vec<PlacedRule>,
}

impl<'d> RuleReader<'d> {
    pub(super) fn new(directories: &'d [PathBuf]) -> Self {
        Self {
            directories,
            files: BTreeSet::new(),
            rules: Vec::new(),
        }
    }

    /// The rules of the profile `name` in `text`, which is the file `path`. `None` if the text has no
    /// such profile. Rules in `if` blocks are left out: whether they count is not known here.
    pub(super) fn read(mut self, path: &Path, text: &str, name: &str) -> Option<Vec<PlacedRule>> {
        let scanned = ProfileText::scan(text);
        let is_named = |written: &str| written == name || scanned.expand(written) == [name];
        let profile = scanned.profiles.iter().position(|p| is_named(&p.name))?;
        let inside = |index: Option<usize>| index == Some(profile);
        for rule in scanned.rules.iter().filter(|r| inside(Some(r.profile))) {
            self.add(path, text, rule, 0);
        }
        for include in scanned.includes.iter().filter(|i| inside(i.profile)) {
            self.include(include, 0);
        }
        Some(self.rules)
    }

    /// Reads an include of a profile's body.
    fn include(&mut self, include: &Include, depth: usize) {
        if include.conditional || depth >= DEEPEST {
            return;
        }
        let target = include.target.as_str();
        let inside = target.trim_matches(['<', '>', '"']);
        let found = match target.starts_with('<') {
            true => {
                let mut paths = self.directories.iter().map(|d| d.join(inside));
                paths.find(|path| path.exists())
            }
            // The parser runs in `/`.
            false => Some(Path::new("/").join(inside)),
        };
        let Some(path) = found else { return };
        if !path.is_dir() {
            return self.file(&path, depth);
        }
        let mut entries: Vec<PathBuf> = fs::read_dir(&path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_file() && path.file_name().is_some_and(is_source))
            .collect();
        entries.sort();
        for entry in entries {
            self.file(&entry, depth);
        }
    }

    fn file(&mut self, path: &Path, depth: usize) {
        if self.files.len() >= MOST_FILES || !self.files.insert(path.to_owned()) {
            return;
        }
        // The compiler has read the same file; if it cannot be read here, its lines stay unknown.
        let Ok(bytes) = trusted::read(path, MAX) else {
            return;
        };
        let Ok(text) = String::from_utf8(bytes) else {
            return;
        };
        // An included text is a part of a body. The first line has no line end, so lines stay.
        let text = format!("profile x {{ {text}\n}}");
        let scanned = ProfileText::scan(&text);
        // Rules of a child that the included text declares are not rules of the profile.
        for rule in scanned.rules.iter().filter(|r| r.profile == 0) {
            self.add(path, &text, rule, 0);
        }
        for include in scanned.includes.iter().filter(|i| i.profile == Some(0)) {
            self.include(include, depth.saturating_add(1));
        }
    }

    fn add(&mut self, path: &Path, text: &str, rule: &ProfileRule, before: usize) {
        if rule.conditional {
            return;
        }
        let Some(body) = text.get(rule.unqualified.clone()) else {
            return;
        };
        let is_audit = |word: &&String| word.as_str() == "audit";
        let body = on_one_line(body);
        let with = |words: Vec<&String>| {
            let words = words.into_iter().map(String::as_str);
            Vec::from_iter(words.chain([&*body])).join(" ")
        };
        let priority = rule.qualifiers.iter().rev();
        let mut priority = priority.filter_map(|word| word.strip_prefix("priority=")?.parse().ok());
        self.rules.push(PlacedRule {
            file: path.to_owned(),
            line: rule.line.saturating_sub(before),
            text: with(rule.qualifiers.iter().collect()),
            unaudited: with(rule.qualifiers.iter().filter(|w| !is_audit(w)).collect()),
            deny: rule.deny,
            audit: rule.qualifiers.iter().any(|word| is_audit(&word)),
            priority: priority.next().unwrap_or(0),
            first: rule.words.first().cloned().unwrap_or_default(),
        });
    }
}

/// A rule with single blanks between its words, unless blanks belong to a name.
fn on_one_line(rule: &str) -> String {
    match rule.contains(['"', '\\', '#']) {
        true => rule.trim().to_owned(),
        false => Vec::from_iter(rule.split_whitespace()).join(" "),
    }
}

/// The words that begin a rule which is not about files.
const OTHERS: [&str; 19] = [
    "capability",
    "network",
    "unix",
    "signal",
    "ptrace",
    "mount",
    "remount",
    "umount",
    "unmount",
    "pivot_root",
    "change_profile",
    "change_hat",
    "userns",
    "io_uring",
    "mqueue",
    "dbus",
    "set",
    "rlimit",
    "abi",
];

impl PlacedRule {
    /// Whether it can be about what a question asks. It may still be about another path or name.
    pub(super) fn concerns(&self, question: &Question) -> bool {
        let first = self.first.as_str();
        if first == "all" {
            return true;
        }
        match question {
            Question::File { .. } | Question::Link { .. } => !OTHERS.contains(&first),
            Question::ChangeProfile { .. } => first == "change_profile",
            Question::Capability(_) => first == "capability",
            Question::Network { .. } | Question::Unix(_) => matches!(first, "network" | "unix"),
            Question::Signal { .. } => first == "signal",
            Question::Ptrace { .. } => first == "ptrace",
            Question::Mount(_) => matches!(first, "mount" | "remount"),
            Question::Umount(_) => matches!(first, "umount" | "unmount"),
            Question::PivotRoot { .. } => first == "pivot_root",
            Question::UserNamespace => first == "userns",
            Question::UringPoll | Question::UringCredentials(_) => first == "io_uring",
            Question::Dbus(_) => first == "dbus",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_apparmor_audit::text::OutsideText;

    #[test]
    fn rules_have_their_lines_and_qualifiers() {
        let text = "include <tunables/global>\nprofile web {\n  /a   r,\n  audit deny owner\n  /b w,\n\
                    \x20 owner { \"/c  d\" r, }\n  priority=-2 /e r,\n  if defined @{x} { /f r, }\n\
                    \x20 capability chown,\n  profile child { /g r, }\n}\nprofile other { /h r, }\n";
        let read = |name: &str| {
            let rules = RuleReader::new(&[]).read(Path::new("/p"), text, name);
            Vec::from_iter(rules.into_iter().flatten())
        };
        let shown: Vec<_> = read("web")
            .iter()
            .map(|r| {
                (
                    r.line,
                    r.text.clone(),
                    r.unaudited.clone(),
                    r.deny,
                    r.priority,
                )
            })
            .collect();
        let rule = |line, text: &str, unaudited: &str, deny, priority| {
            (line, text.to_owned(), unaudited.to_owned(), deny, priority)
        };
        assert_eq!(
            shown,
            [
                rule(3, "/a r", "/a r", false, 0),
                rule(4, "audit deny owner /b w", "deny owner /b w", true, 0),
                rule(6, "owner \"/c  d\" r", "owner \"/c  d\" r", false, 0),
                rule(7, "priority=-2 /e r", "priority=-2 /e r", false, -2),
                rule(9, "capability chown", "capability chown", false, 0),
            ]
        );
        assert_eq!(read("web//child").len(), 1);
        let file = Question::File {
            path: OutsideText::default(),
            permissions: 4,
        };
        let concern =
            |question: &Question| read("web").iter().filter(|r| r.concerns(question)).count();
        assert_eq!(concern(&file), 4);
        assert_eq!(concern(&Question::Capability(0)), 1);
        assert_eq!(concern(&Question::UserNamespace), 0);
        assert!(
            RuleReader::new(&[])
                .read(Path::new("/p"), text, "none")
                .is_none()
        );
    }
}
