//! Rules of a profile under a comment that says where they come from.

use std::fmt::Write;

/// Some rules, with the reason for them.
#[derive(Debug)]
pub(super) struct Section {
    reason: String,
    rules: Vec<String>,
    held_back: Vec<(Vec<String>, &'static str)>,
}

impl Section {
    /// No rules yet; the reason is one sentence without values from outside.
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            rules: Vec::new(),
            held_back: Vec::new(),
        }
    }

    /// Adds a rule, without its comma.
    pub(super) fn rule(&mut self, rule: impl Into<String>) {
        let rule = rule.into();
        if !self.rules.contains(&rule) {
            self.rules.push(rule);
        }
    }

    /// Adds rules, without their commas.
    pub(super) fn rules<T: Into<String>>(&mut self, rules: impl IntoIterator<Item = T>) {
        rules.into_iter().for_each(|rule| self.rule(rule));
    }

    /// Adds rules as comments, with the reason why they are not allowed.
    pub(super) fn held_back(&mut self, rules: Vec<String>, why: &'static str) {
        self.held_back.push((rules, why));
    }

    /// How many rules it has.
    pub(super) fn count(&self) -> usize {
        self.rules.len()
    }

    /// Writes it to the text of a profile.
    pub(super) fn write(&self, text: &mut String) {
        if self.rules.is_empty() && self.held_back.is_empty() {
            return;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n  # {}", self.reason);
        for rule in &self.rules {
            let _ = writeln!(text, "  {rule},");
        }
        for (rules, why) in &self.held_back {
            let _ = writeln!(text, "  # not allowed: {why}");
            for rule in rules {
                let _ = writeln!(text, "  # {rule},");
            }
        }
    }
}
