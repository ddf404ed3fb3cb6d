//! What a label says about accesses, profile by profile, with the lines that decide.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use crate::policy::access::{Answer, LoadedPolicy};
use crate::policy::canaries::{self, AllowedCanary};
use crate::policy::lines::{DecidingLine, SourceRules};
use crate::policy::question::Question;
use crate::policy::trial::Trial;
use crate::report::table::escaped;
use oci_apparmor::apparmor::loaded::Mode;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::Result;
use oci_apparmor::node::Node;

/// What a label says about one access.
#[derive(Debug)]
pub(crate) struct Explanation<'q> {
    question: &'q Question,
    /// One for each profile of the label.
    profiles: Vec<ProfileAnswer>,
}

/// What one profile says about one access.
#[derive(Debug)]
struct ProfileAnswer {
    profile: String,
    mode: Mode,
    answer: Answer,
    /// The lines that decide. The error says why they are unknown; it is empty if they are not wanted.
    lines: std::result::Result<Vec<DecidingLine>, String>,
}

/// A profile that is asked.
pub(crate) struct AskedProfile<'n> {
    /// Its name. A trial is loaded under another one.
    name: String,
    policy: LoadedPolicy<'n>,
    /// Its source. The error says why no line of it is named; it is empty if none is wanted.
    source: std::result::Result<SourceRules<'n>, String>,
}

impl<'n> AskedProfile<'n> {
    /// A loaded profile; with `lines`, also its source.
    ///
    /// # Errors
    /// As for [`LoadedPolicy::open`].
    pub(crate) fn loaded(node: &'n Node, name: &ProfileName, lines: bool) -> Result<Self> {
        let policy = LoadedPolicy::open(node, name.as_str())?;
        let source = match lines {
            true => SourceRules::of(node, &policy),
            false => Err(String::new()),
        };
        Ok(Self {
            name: name.to_string(),
            policy,
            source,
        })
    }

    /// The profile `name` of a text that is tried.
    ///
    /// # Errors
    /// As for [`Trial::policy`].
    pub(crate) fn tried(trial: &Trial<'n>, name: &ProfileName) -> Result<Self> {
        let root = name.root();
        let child = name.as_str().strip_prefix(root.as_str());
        Ok(Self {
            name: name.to_string(),
            policy: trial.policy(child.unwrap_or_default())?,
            source: Err(String::new()),
        })
    }

    /// The dangerous accesses that it allows.
    pub(crate) fn dangers(&self) -> Vec<AllowedCanary> {
        canaries::allowed(&self.policy)
    }
}

/// Asks each profile of a label.
pub(crate) fn explain<'q>(
    label: &[AskedProfile<'_>],
    questions: &'q [Question],
) -> Vec<Explanation<'q>> {
    let mut explanations = Vec::from_iter(questions.iter().map(|question| Explanation {
        question,
        profiles: Vec::new(),
    }));
    for asked in label {
        let policy = &asked.policy;
        let source = asked.source.as_ref();
        let found = source.map_err(Clone::clone).and_then(|source| {
            source
                .deciding(policy, questions)
                .map_err(|e| e.without_remedy())
        });
        for (index, explanation) in explanations.iter_mut().enumerate() {
            explanation.profiles.push(ProfileAnswer {
                profile: asked.name.clone(),
                mode: policy.loaded().mode,
                answer: policy.ask(explanation.question),
                lines: match &found {
                    Ok(all) => Ok(all.get(index).cloned().unwrap_or_default()),
                    Err(why) => Err(why.clone()),
                },
            });
        }
    }
    explanations
}

impl Explanation<'_> {
    /// The word for the answer. Every profile of the label must allow an access.
    pub(crate) fn word(&self) -> &'static str {
        const BY_WEIGHT: [&str; 7] = [
            "denied",
            "unknown",
            "allowed-for-owner",
            "allowed-for-others",
            "complains",
            "allowed",
            "not-mediated",
        ];
        let has = |word: &&str| self.profiles.iter().any(|profile| profile.word() == *word);
        // `unconfined` has no profile.
        BY_WEIGHT.into_iter().find(has).unwrap_or("not-mediated")
    }

    /// The answers for people: a line for each profile, and below it the lines of its source.
    pub(crate) fn text(&self) -> String {
        let question = self.question.to_string();
        let mut text = String::new();
        if self.profiles.is_empty() {
            let _ = writeln!(text, "{question}: allowed: unconfined");
        }
        for profile in &self.profiles {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{question}: {}", profile.sentence());
            for line in profile.lines.iter().flatten() {
                let _ = writeln!(text, "    {}", line.text(&self.question.permission_names()));
            }
            if let Err(why) = &profile.lines
                && !why.is_empty()
            {
                let _ = writeln!(text, "    no line is shown: {}", escaped(why));
            }
        }
        text
    }

    /// What `--json` prints.
    pub(crate) fn json(&self) -> ExplanationJson<'_> {
        ExplanationJson {
            access: self.question.to_string(),
            answer: self.word(),
            profiles: self.profiles.iter().map(ProfileAnswer::json).collect(),
        }
    }
}

impl ProfileAnswer {
    /// The word for the answer, in the mode that the profile has: complain mode allows what no rule
    /// allows, but not what a `deny` rule refuses.
    fn word(&self) -> &'static str {
        match &self.answer {
            Answer::Allowed => "allowed",
            Answer::AllowedForOwner => "allowed-for-owner",
            Answer::AllowedForOthers => "allowed-for-others",
            Answer::NotMediated => "not-mediated",
            Answer::Unknown(_) => "unknown",
            Answer::Denied { explicit } => match (self.mode, explicit) {
                (Mode::Complain, Some(false)) => "complains",
                _ => "denied",
            },
        }
    }

    fn sentence(&self) -> String {
        let name = &self.profile;
        let by_line = self.lines.iter().flatten().any(|line| line.deny);
        match &self.answer {
            Answer::Allowed => format!("allowed by {name}"),
            Answer::AllowedForOwner => {
                format!("allowed by {name}, but only if the process's user owns the file")
            }
            Answer::AllowedForOthers => {
                format!("allowed by {name}, but only if the process's user does not own the file")
            }
            Answer::NotMediated => {
                format!("allowed: {name} says nothing about accesses of this kind")
            }
            Answer::Unknown(why) => format!("unknown: {}", escaped(why)),
            Answer::Denied { explicit } => match (self.mode, explicit) {
                (Mode::Complain, Some(false)) => {
                    format!("allowed and logged: {name} is in complain mode, and does not allow it")
                }
                (_, Some(false)) if by_line => format!("denied by an audit deny rule of {name}"),
                (_, Some(false)) if self.lines.is_ok() => {
                    format!("denied: no rule of {name} allows it")
                }
                (_, Some(true)) => format!("denied by a deny rule of {name}; it is not logged"),
                _ => format!("denied: {name} does not allow it"),
            },
        }
    }

    fn json(&self) -> ProfileAnswerJson<'_> {
        ProfileAnswerJson {
            profile: &self.profile,
            mode: self.mode,
            answer: self.word(),
            explicit: match self.answer {
                Answer::Denied { explicit } => explicit,
                _ => None,
            },
            unknown: match &self.answer {
                Answer::Unknown(why) => Some(why),
                _ => None,
            },
            lines: self.lines.iter().flatten().map(LineJson::of).collect(),
            no_lines: match &self.lines {
                Err(why) if !why.is_empty() => Some(why),
                _ => None,
            },
        }
    }
}

impl DecidingLine {
    /// `FILE:LINE: RULE`, with the permissions if these are not all that was asked about.
    fn text(&self, asked: &str) -> String {
        let mut text = escaped(&self.file.display().to_string());
        if let Some(line) = self.line {
            let _ = write!(text, ":{line}");
        }
        if !self.permissions.is_empty() && self.permissions != asked {
            let _ = write!(text, ": {}", self.permissions);
        }
        let _ = write!(text, ": {},", escaped(&self.rule));
        text
    }
}

/// The answer to one question.
#[derive(Debug, Serialize)]
pub(crate) struct ExplanationJson<'e> {
    access: String,
    answer: &'static str,
    profiles: Vec<ProfileAnswerJson<'e>>,
}

#[derive(Debug, Serialize)]
struct ProfileAnswerJson<'e> {
    profile: &'e str,
    mode: Mode,
    answer: &'static str,
    explicit: Option<bool>,
    unknown: Option<&'e str>,
    lines: Vec<LineJson<'e>>,
    no_lines: Option<&'e str>,
}

#[derive(Debug, Serialize)]
struct LineJson<'e> {
    file: &'e Path,
    line: Option<usize>,
    rule: &'e str,
    access: &'e str,
}

impl<'e> LineJson<'e> {
    fn of(line: &'e DecidingLine) -> Self {
        Self {
            file: &line.file,
            line: line.line,
            rule: &line.rule,
            access: &line.permissions,
        }
    }
}
