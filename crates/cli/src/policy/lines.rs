//! The lines of a profile's source that decide about an access.
//!
//! Nothing here interprets rules. Each rule that can be about the access is compiled alone, with the
//! variables of the source, and loaded under a throw-away name; then the kernel is asked what that
//! rule alone allows. So a line is only named if it decides.

use std::ops::Range;
use std::path::PathBuf;

use crate::policy::access::{Answer, LoadedPolicy};
use crate::policy::question::Question;
use crate::policy::rules::{PlacedRule, RuleReader};
use crate::policy::trial::Trial;
use oci_apparmor::apparmor::blob;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::apparmor::parser::Parser;
use oci_apparmor::apparmor::text::ProfileText;
use oci_apparmor::error::{Error, Result};
use oci_apparmor::node::Node;
use oci_apparmor::profiles::Source;
use oci_apparmor::profiles::compile::include_directories;

/// How many rules are tried at once.
const BATCH: usize = 256;

/// How many rules are tried at most.
const MOST: usize = 4096;

/// How a profile of one rule is named in the text that is tried.
const ONE_RULE: &str = "oci-apparmor.rule.";

/// A line that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DecidingLine {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1. `None` if the file is a manifest.
    pub line: Option<usize>,
    /// The rule, on one line.
    pub rule: String,
    /// Which of the permissions it decides about; empty if they cannot be told apart.
    pub permissions: String,
    /// Whether it is a `deny` rule.
    pub deny: bool,
}

/// The source of a loaded profile, if the kernel has its content.
pub(crate) struct SourceRules<'n> {
    node: &'n Node,
    source: Source,
    name: String,
    text: String,
    rules: Vec<PlacedRule>,
}

/// One permission of a question, and the rules that decide about it.
struct Part<'r> {
    /// The place of the question.
    of: usize,
    question: Question,
    /// Whether the whole profile allows it.
    allowed: bool,
    rules: Vec<&'r PlacedRule>,
}

impl<'n> SourceRules<'n> {
    /// The rules in the source of a loaded profile.
    ///
    /// # Errors
    /// A clause that says why no line can be named.
    pub(crate) fn of(
        node: &'n Node,
        policy: &LoadedPolicy<'_>,
    ) -> std::result::Result<Self, String> {
        let name = policy.name();
        let said = |e: Error| e.without_remedy();
        let parsed = ProfileName::parse(name).map_err(said)?;
        let source = Source::of(&parsed, &node.settings).map_err(said)?;
        let source = source.ok_or_else(|| format!("no source of {name} was found"))?;
        let bytes = source.text().map_err(said)?;
        let path = source.path.display();
        let compiled = parser(node).map_err(said)?;
        let compiled = compiled.compile(&bytes, source.complain);
        let compiled = compiled.map_err(|e| Error::from(e).without_remedy())?;
        let declared = blob::plain(&compiled.policy).map(blob::walk);
        let declared = declared
            .and_then(std::result::Result::ok)
            .unwrap_or_default();
        let hash = policy.loaded().hash.as_ref();
        let hash =
            hash.ok_or("this kernel does not tell whether it has the content of the source")?;
        if !declared.iter().any(|d| d.name == name && d.is(hash)) {
            return Err(format!(
                "{path} is not what is loaded (to load it, run: oci-apparmor load {name})"
            ));
        }
        let text = String::from_utf8(bytes).map_err(|_| format!("{path} is not UTF-8"))?;
        let directories = include_directories().map_err(said)?;
        let rules = RuleReader::new(&directories).read(&source.path, &text, name);
        let rules =
            rules.ok_or_else(|| format!("{path} declares {name} in a way not understood"))?;
        Ok(Self {
            node,
            source,
            name: name.to_owned(),
            text,
            rules,
        })
    }

    /// The lines that decide about each of these accesses: the rules that allow it, or the `deny` rules
    /// that refuse it. None if it is refused because no rule allows it.
    ///
    /// # Errors
    /// If the rules cannot be compiled or loaded.
    pub(crate) fn deciding(
        &self,
        policy: &LoadedPolicy<'_>,
        questions: &[Question],
    ) -> Result<Vec<Vec<DecidingLine>>> {
        let mut parts = Vec::new();
        for (of, question) in questions.iter().enumerate() {
            for question in question.each_permission() {
                let allowed = match policy.ask(&question) {
                    Answer::NotMediated | Answer::Unknown(_) => continue,
                    answer => answer.allows(),
                };
                parts.push(Part {
                    of,
                    question,
                    allowed,
                    rules: Vec::new(),
                });
            }
        }
        let concerns = |rule: &&PlacedRule| parts.iter().any(|p| rule.concerns(&p.question));
        let candidates: Vec<&PlacedRule> = self.rules.iter().filter(concerns).take(MOST).collect();
        for batch in candidates.chunks(BATCH) {
            self.try_batch(batch, &mut parts)?;
        }
        let mut lines = vec![Vec::new(); questions.len()];
        for part in parts {
            // Of the rules that match, those of the highest priority decide.
            let highest = part.rules.iter().map(|rule| rule.priority).max();
            for rule in part.rules.iter().filter(|r| Some(r.priority) == highest) {
                if let Some(lines) = lines.get_mut(part.of) {
                    self.add(lines, rule, &part.question.permission_names());
                }
            }
        }
        Ok(lines)
    }

    fn add(&self, lines: &mut Vec<DecidingLine>, rule: &PlacedRule, permissions: &str) {
        // The lines of a manifest are not those of the text that is written from it.
        let line =
            (!self.source.is_manifest() || rule.file != self.source.path).then_some(rule.line);
        let known = lines
            .iter_mut()
            .find(|known| known.file == rule.file && known.line == line && known.rule == rule.text);
        match known {
            Some(known) => {
                // Words are separated; letters are not.
                if permissions.len() > 1 {
                    known.permissions.push(' ');
                }
                known.permissions.push_str(permissions);
            }
            None => lines.push(DecidingLine {
                file: rule.file.clone(),
                line,
                rule: rule.text.clone(),
                permissions: permissions.to_owned(),
                deny: rule.deny,
            }),
        }
    }

    /// Tries rules, and adds each to the parts that it decides about.
    fn try_batch<'r>(&self, rules: &[&'r PlacedRule], parts: &mut [Part<'r>]) -> Result<()> {
        let trial = Trial::load_as(self.node, self.alone(rules).as_bytes(), |old, trial| {
            let number: usize = old.strip_prefix(ONE_RULE)?.parse().ok()?;
            Some(match number.checked_sub(1) {
                // The first one has no rules: the others are its children, so that they go with it.
                None => trial.to_string(),
                Some(number) => format!("{trial}//{number}"),
            })
        });
        let trial = match trial {
            Ok(trial) => trial,
            // A rule that cannot stand alone must not hide the others.
            Err(_) if rules.len() > 1 => {
                let (first, second) = rules.split_at(rules.len() / 2);
                self.try_batch(first, parts)?;
                return self.try_batch(second, parts);
            }
            Err(e) => {
                log::debug!("cannot try {}: {e}", rules.first().map_or("", |r| &r.text));
                return Ok(());
            }
        };
        for (number, rule) in rules.iter().enumerate() {
            let policy = trial.policy(&format!("//{number}"))?;
            for part in parts.iter_mut().filter(|p| rule.concerns(&p.question)) {
                let decides = match (policy.ask(&part.question), rule.deny) {
                    (answer, false) => part.allowed && answer.allows(),
                    (Answer::Denied { explicit }, true) => !part.allowed && explicit == Some(true),
                    (_, true) => false,
                };
                if decides {
                    part.rules.push(rule);
                }
            }
        }
        Ok(())
    }

    /// A text with one profile for each rule, and all that stands outside of profiles in the source.
    fn alone(&self, rules: &[&PlacedRule]) -> String {
        let scanned = ProfileText::scan(&self.text);
        let mut text = outside(&self.text, &scanned);
        text.push_str(&format!("\nprofile {ONE_RULE}0 {{ }}\n"));
        for (number, rule) in (1..).zip(rules) {
            // What `audit deny` refuses is logged, and the kernel does not tell that from an access
            // that no rule allows.
            let rule = rule
                .unaudited
                .replace("@{profile_name}", &escaped(&self.name));
            text.push_str(&format!("profile {ONE_RULE}{number} {{ {rule}, }}\n"));
        }
        text
    }
}

fn parser(node: &Node) -> Result<Parser> {
    let configured = node.settings.parser.as_ref().map(|parser| parser.as_path());
    Parser::find(configured, node.settings.parser_limits())
}

/// A text without its profiles: variables, includes, the abi.
fn outside(text: &str, scanned: &ProfileText) -> String {
    let mut left = String::new();
    let mut from = 0;
    let places = scanned.profiles.iter();
    for Range { start, end } in places.map(|p| p.header.start..p.body.end.saturating_add(1)) {
        // Children are inside.
        if start >= from {
            left.push_str(text.get(from..start).unwrap_or_default());
            left.push('\n');
            from = end;
        }
    }
    left.push_str(text.get(from..).unwrap_or_default());
    left
}

/// A name as a pattern that only matches it.
fn escaped(name: &str) -> String {
    let mut pattern = String::new();
    for c in name.chars() {
        if "*?[]{}^@\\\"".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
