//! The limits of the definition in `deploy/crds/nodeapparmors`.

use std::collections::BTreeSet;

use crate::conditions::is_time;
use crate::status::{NodeProfile, NodeStatus, ProfileDenials};

/// The most profiles; the counts have all.
pub const MAX_PROFILES: usize = 256;

/// The longest reason, in characters: the API server counts those (`maxLength` in OpenAPI).
pub const MAX_REASON: usize = 512;

/// More than any status within the limits has as JSON: 256 profiles whose names and reasons consist
/// of characters of four bytes are 785 KB.
pub const MAX_BYTES: u64 = 1 << 20;

const MAX_NAME: usize = 255;
const MAX_VERSION: usize = 64;
const MAX_KERNEL: usize = 128;
const MAX_ENGINES: usize = 8;
const MAX_ENGINE: usize = 64;
const MAX_BY_PROFILE: usize = 20;
const MAX_CONDITIONS: usize = 8;
const MAX_TYPE: usize = 64;
const MAX_CONDITION_REASON: usize = 128;
const MAX_MESSAGE: usize = 1024;

/// The API server has no larger integers.
const MAX_COUNT: u64 = i64::MAX as u64;

/// A text of at most so many characters, without control characters.
fn cut(text: &str, most: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut chars = text.chars().map(clean);
    let cut: String = chars.by_ref().take(most).collect();
    match chars.next() {
        None => cut,
        Some(_) => {
            let kept = cut.chars().take(most.saturating_sub(1));
            kept.chain(['…']).collect()
        }
    }
}

fn cut_in_place(text: &mut String, most: usize) {
    *text = cut(text, most);
}

fn cut_option(text: &mut Option<String>, most: usize) {
    if let Some(text) = text {
        cut_in_place(text, most);
    }
}

/// Keeps the first of those with one key, and at most so many.
fn first_of_each<T>(list: &mut Vec<T>, most: usize, key: impl Fn(&T) -> String) {
    let mut seen = BTreeSet::new();
    list.retain(|item| seen.insert(key(item)));
    list.truncate(most);
}

/// Those that need attention first: refused ones, those that differ, those of which there is more to
/// say.
fn attention(profile: &NodeProfile) -> (u8, u8, String) {
    use crate::status::ProfileState::{Disabled, Drift, Loaded, Ready, Refused};
    let first = match (profile.state, &profile.reason) {
        (Refused, _) => 0,
        (Drift, _) => 1,
        (Ready | Loaded, Some(_)) => 2,
        (Disabled | Ready | Loaded, _) => 3,
    };
    (first, profile.state as u8, profile.name.clone())
}

impl NodeStatus {
    /// The same within the limits, whatever it had: texts are cut, what is too much is left out, keys
    /// are unique, and what the API server would refuse is dropped.
    #[must_use]
    pub fn fit(mut self) -> Self {
        if let Some(kernel) = &mut self.kernel {
            cut_option(&mut kernel.release, MAX_KERNEL);
            cut_option(&mut kernel.parser, MAX_KERNEL);
            cut_option(&mut kernel.reason, MAX_REASON);
        }
        cut_option(&mut self.versions.agent, MAX_VERSION);
        cut_option(&mut self.versions.wrapper, MAX_VERSION);
        for engine in &mut self.engines {
            cut_in_place(&mut engine.name, MAX_ENGINE);
            cut_option(&mut engine.reason, MAX_REASON);
        }
        first_of_each(&mut self.engines, MAX_ENGINES, |engine| engine.name.clone());
        self.fit_profiles();
        self.fit_counts();
        self.fit_conditions();
        self
    }

    fn fit_profiles(&mut self) {
        self.profiles.retain(|profile| !profile.name.is_empty());
        for profile in &mut self.profiles {
            cut_in_place(&mut profile.name, MAX_NAME);
            cut_option(&mut profile.reason, MAX_REASON);
        }
        self.profiles.sort_by_cached_key(attention);
        first_of_each(&mut self.profiles, MAX_PROFILES, |p| p.name.clone());
    }

    fn fit_counts(&mut self) {
        let counts = &mut self.profile_counts;
        let mut all = vec![
            &mut counts.ready,
            &mut counts.loaded,
            &mut counts.refused,
            &mut counts.drift,
            &mut counts.disabled,
        ];
        if let Some(containers) = &mut self.containers {
            all.push(&mut containers.confined);
            all.push(&mut containers.wrong);
            all.push(&mut containers.unconfined);
        }
        if let Some(denials) = &mut self.denials {
            for ProfileDenials { profile, count } in &mut denials.by_profile {
                cut_in_place(profile, MAX_NAME);
                *count = (*count).min(MAX_COUNT);
            }
            let by_profile = &mut denials.by_profile;
            by_profile.sort_by(|a, b| b.count.cmp(&a.count).then(a.profile.cmp(&b.profile)));
            first_of_each(by_profile, MAX_BY_PROFILE, |d| d.profile.clone());
            all.push(&mut denials.total);
            all.push(&mut denials.lost);
        }
        for count in all {
            *count = (*count).min(MAX_COUNT);
        }
    }

    fn fit_conditions(&mut self) {
        self.conditions
            .retain(|c| !c.reason.is_empty() && is_time(&c.last_transition_time));
        for condition in &mut self.conditions {
            cut_in_place(&mut condition.kind, MAX_TYPE);
            cut_in_place(&mut condition.reason, MAX_CONDITION_REASON);
            cut_option(&mut condition.message, MAX_MESSAGE);
        }
        first_of_each(&mut self.conditions, MAX_CONDITIONS, |c| c.kind.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::ProfileState;

    #[test]
    fn texts_are_cut_by_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut("a\nb\u{1b}", 9), "a b ");
    }

    #[test]
    fn what_needs_attention_comes_first_and_the_counts_have_all() {
        let profile = |name: &str, state, reason: Option<&str>| NodeProfile {
            name: name.to_owned(),
            state,
            reason: reason.map(str::to_owned),
        };
        let mut all: Vec<NodeProfile> = (0..400)
            .map(|n| profile(&format!("l{n}"), ProfileState::Loaded, None))
            .collect();
        all.push(profile("off", ProfileState::Disabled, None));
        all.push(profile("slow", ProfileState::Ready, Some("does not load")));
        all.push(profile("drift", ProfileState::Drift, None));
        all.push(profile("bad", ProfileState::Refused, Some("why")));
        let mut status = NodeStatus::default();
        status.set_profiles(all);
        let status = status.fit();
        let names: Vec<&str> = status.profiles.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names[..5], ["bad", "drift", "slow", "off", "l0"]);
        assert_eq!(names.len(), MAX_PROFILES);
        let counts = status.profile_counts;
        assert_eq!((counts.loaded, counts.all()), (400, 404));
        assert_eq!(status.clone().fit(), status);
    }
}
