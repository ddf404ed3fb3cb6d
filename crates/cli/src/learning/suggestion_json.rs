//! A suggestion for programs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;

use crate::learning::replacement::Replaced;
use crate::learning::suggestion::{Evidence, SourceChange};
use crate::log::Gaps;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor_audit::text::OutsideText;

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct SuggestionJson<'s> {
    profile: &'s str,
    source: &'s Path,
    target: &'s Path,
    changed: bool,
    events: u64,
    allowed_already: u64,
    rules: Vec<RuleJson<'s>>,
    flags: Vec<FlagJson<'s>>,
    not_learnt: Vec<NotLearntJson<'s>>,
    left_out: u64,
    not_added: Vec<String>,
    broader: &'s [String],
    unwatched_programs: u64,
    proof: Option<ProofJson<'s>>,
    not_proven: Option<&'s str>,
    log: LogJson<'s>,
    text: &'s str,
    applied: Option<AppliedJson<'s>>,
    command_exit_code: Option<u8>,
}

#[derive(Debug, Serialize)]
struct RuleJson<'s> {
    profile: &'s str,
    rule: String,
    events: u64,
    names: u64,
    witnesses: Vec<String>,
    danger: Option<&'static str>,
    alternatives: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FlagJson<'s> {
    profile: &'s str,
    flag: &'static str,
    events: u64,
}

#[derive(Debug, Serialize)]
struct NotLearntJson<'s> {
    profile: &'s str,
    reason: &'static str,
    events: u64,
}

#[derive(Debug, Serialize)]
struct ProofJson<'s> {
    allowed: u64,
    held_back: &'s [String],
    denied: Vec<&'s str>,
    unclear: Vec<&'s str>,
    not_asked: u64,
    canaries: BTreeMap<&'s str, bool>,
}

#[derive(Debug, Serialize)]
struct LogJson<'s> {
    sources: &'s [String],
    complete: bool,
    complete_since: Option<String>,
    gaps: Gaps,
}

#[derive(Debug, Serialize)]
struct AppliedJson<'s> {
    kept: Option<&'s Path>,
    undo: &'s str,
}

impl<'s> SuggestionJson<'s> {
    pub(crate) fn of(
        name: &'s ProfileName,
        (source, target): (&'s Path, &'s Path),
        change: &'s SourceChange,
        evidence: &'s Evidence<'_>,
        applied: Option<&'s Replaced>,
        command_exit_code: Option<u8>,
    ) -> Self {
        let events = &evidence.events;
        let profiles = &change.draft.profiles;
        let mut flags = Vec::new();
        let mut not_learnt = Vec::new();
        for (profile, suggestion) in profiles {
            flags.extend(suggestion.flags.iter().map(|(flag, events)| FlagJson {
                profile,
                flag: flag.as_str(),
                events: *events,
            }));
            not_learnt.extend(
                suggestion
                    .not_learnt
                    .iter()
                    .map(|(reason, events)| NotLearntJson {
                        profile,
                        reason: reason.as_str(),
                        events: *events,
                    }),
            );
        }
        let rules = change.draft.rules().map(|(profile, rule)| RuleJson {
            profile,
            rule: rule.rule.to_string(),
            events: rule.count,
            names: rule.distinct,
            witnesses: rule.witnesses.iter().map(OutsideText::to_string).collect(),
            danger: rule.danger.map(|danger| danger.reason()),
            alternatives: rule.alternatives.iter().map(ToString::to_string).collect(),
        });
        let left_out = profiles.iter().map(|(_, s)| s.left_out);
        let not_added = change.new.missing.iter().chain(&change.new.inexpressible);
        let time = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string();
        Self {
            profile: name.as_str(),
            source,
            target,
            changed: change.is_change(),
            events: events.count,
            allowed_already: events.allowed_already,
            rules: rules.collect(),
            flags,
            not_learnt,
            left_out: left_out.fold(0, u64::saturating_add),
            not_added: not_added.cloned().collect(),
            broader: &change.new.broader,
            unwatched_programs: events.unwatched,
            proof: change.proof.as_ref().ok().map(|proof| ProofJson {
                allowed: proof.allowed,
                held_back: &proof.held_back,
                denied: proof.denied.iter().map(|(what, _)| what.as_str()).collect(),
                unclear: proof
                    .unclear
                    .iter()
                    .map(|(what, _)| what.as_str())
                    .collect(),
                not_asked: events.not_kept.saturating_add(events.without_question),
                canaries: proof
                    .canaries
                    .iter()
                    .map(|canary| (canary.allowed.access.as_str(), canary.before))
                    .collect(),
            }),
            not_proven: change.proof.as_ref().err().map(String::as_str),
            log: LogJson {
                sources: &evidence.coverage.sources,
                complete: evidence.is_complete(),
                complete_since: evidence.coverage.complete_since.map(time),
                gaps: evidence.gaps,
            },
            text: &change.new.file,
            applied: applied.map(|replaced| AppliedJson {
                kept: replaced.kept.as_deref(),
                undo: &replaced.undo,
            }),
            command_exit_code,
        }
    }
}
