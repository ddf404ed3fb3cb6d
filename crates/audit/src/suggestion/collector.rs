//! Takes in events one by one, and keeps the different accesses.

use std::collections::BTreeMap;

use crate::event::Event;
use crate::rule::kinds::{ExecTransition, FileRule};
use crate::rule::lineage::Lineage;
use crate::rule::pattern::NamePattern;
use crate::rule::permissions::FilePermissions;
use crate::rule::{Learnt, PolicyRule, ProfileFlag, Reason};
use crate::suggestion::generalise;
use crate::suggestion::{Suggestion, SuggestionOptions};
use crate::text::OutsideText;

/// How much memory accesses may take, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct AccessLimits {
    /// Those of one profile: more than ten thousand.
    pub(super) of_profile: usize,
    /// Those of all profiles together, before each is held to its share.
    pub(super) total: usize,
    /// What each profile may take in any case, so that a container that tries every path does not hide
    /// what another one needs.
    pub(super) share: usize,
}

impl Default for AccessLimits {
    fn default() -> Self {
        Self {
            of_profile: 8 << 20,
            total: 16 << 20,
            share: 16 << 10,
        }
    }
}

/// How many profiles are told apart.
const MOST_PROFILES: usize = 1000;

/// About how much an access takes besides its names.
const ENTRY: usize = 512;

/// The accesses of one profile.
#[derive(Debug, Default)]
struct Accesses {
    /// What the access is to, with the rule for all that was done with it, and the number of events.
    rules: BTreeMap<PolicyRule, (PolicyRule, u64)>,
    flags: BTreeMap<ProfileFlag, u64>,
    not_learnt: BTreeMap<Reason, u64>,
    size: usize,
    left_out: u64,
}

/// The different accesses of all profiles, in bounded memory. What is left out is counted.
#[derive(Debug, Default)]
pub struct Collector {
    profiles: BTreeMap<OutsideText, Accesses>,
    pub(super) limits: AccessLimits,
    size: usize,
    other_profiles: u64,
}

/// The size of all accesses, and what they may take.
struct TotalSize<'c> {
    size: &'c mut usize,
    limits: AccessLimits,
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    let count = counts.entry(key).or_default();
    *count = count.saturating_add(1);
}

/// How long the names in a rule of the event are, at most.
fn names_of(event: &Event) -> usize {
    let fields = &event.fields;
    let names = [
        &fields.name,
        &fields.target,
        &fields.srcname,
        &fields.fstype,
        &fields.peer,
        &fields.path,
        &fields.interface,
        &fields.member,
        &fields.peer_label,
        &fields.tcontext,
        &fields.olabel,
    ];
    let lengths = names.into_iter().flatten().map(|name| name.bytes().len());
    lengths.fold(0, usize::saturating_add)
}

impl Collector {
    /// The profile that an event counts for: the one that decided, without what complain mode appends
    /// for programs; `:NAMESPACE:PROFILE` in a policy namespace.
    #[must_use]
    pub fn profile_of(event: &Event) -> OutsideText {
        let name = event.profile().map_or(&[][..], OutsideText::bytes);
        let profile = Lineage::of(name).profile;
        match &event.fields.namespace {
            Some(namespace) => OutsideText::new([b":", namespace.bytes(), b":", profile].concat()),
            None => OutsideText::new(profile),
        }
    }

    /// Takes in an event, for the profile that it counts for.
    pub fn add(&mut self, event: &Event) {
        // Loaded policy and the like are about no profile.
        if event.verdict.is_access() {
            self.add_to(Self::profile_of(event), event);
        }
    }

    /// Takes in an event for this profile.
    pub(crate) fn add_to(&mut self, profile: OutsideText, event: &Event) {
        let known = self.profiles.len();
        let accesses = match self.profiles.get_mut(&profile) {
            Some(accesses) => accesses,
            None if known >= MOST_PROFILES => {
                self.other_profiles = self.other_profiles.saturating_add(1);
                return;
            }
            None => self.profiles.entry(profile).or_default(),
        };
        let mut total = TotalSize {
            size: &mut self.size,
            limits: self.limits,
        };
        match Learnt::of(event) {
            Learnt::Rule(rule) => accesses.add(&mut total, rule, names_of(event), 1),
            Learnt::Flag(flag, rule) => {
                count(&mut accesses.flags, flag);
                if let Some(rule) = rule {
                    accesses.add(&mut total, rule, names_of(event), 1);
                }
            }
            Learnt::Nothing(reason) => {
                count(&mut accesses.not_learnt, reason);
                return;
            }
        }
        // The event that a program was executed may be lost, but the name of the profile has it.
        let name = event.profile().map_or(&[][..], OutsideText::bytes);
        for program in Lineage::of(name).programs {
            let rule = PolicyRule::File(FileRule {
                path: NamePattern::exactly(program),
                permissions: FilePermissions::NONE,
                exec: Some(ExecTransition::Inherit),
                owner: false,
            });
            accesses.add(&mut total, rule, program.len(), 0);
        }
    }

    /// The profiles that events count for.
    pub fn profiles(&self) -> impl Iterator<Item = &OutsideText> {
        self.profiles.keys()
    }

    /// How many events were of too many profiles.
    #[must_use]
    pub fn of_other_profiles(&self) -> u64 {
        self.other_profiles
    }

    /// What the events of a profile teach.
    #[must_use]
    pub fn suggestion(&self, profile: &OutsideText, options: &SuggestionOptions) -> Suggestion {
        let Some(accesses) = self.profiles.get(profile) else {
            return Suggestion::default();
        };
        let rules = accesses.rules.values();
        Suggestion {
            rules: generalise::all(rules, profile.bytes(), options.generalise),
            flags: accesses.flags.clone(),
            not_learnt: accesses.not_learnt.clone(),
            left_out: accesses.left_out,
        }
    }
}

impl Accesses {
    fn add(&mut self, total: &mut TotalSize, rule: PolicyRule, names: usize, events: u64) {
        let subject = rule.subject();
        if let Some((known, count)) = self.rules.get_mut(&subject) {
            known.absorb(&rule);
            *count = count.saturating_add(events);
            return;
        }
        // Twice: the rule, and what it is about.
        let size = ENTRY.saturating_add(names.saturating_mul(2));
        let of_profile = self.size.saturating_add(size);
        let of_all = total.size.saturating_add(size);
        let limits = total.limits;
        if of_profile > limits.of_profile || (of_all > limits.total && of_profile > limits.share) {
            self.left_out = self.left_out.saturating_add(events);
            return;
        }
        (self.size, *total.size) = (of_profile, of_all);
        self.rules.insert(subject, (rule, events));
    }
}
