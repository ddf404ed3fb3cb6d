//! Counts events that are about the same access.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::event::Event;
use crate::header::Stamp;
use crate::text::OutsideText;
use crate::unread::{Unread, UnreadCounts};
use crate::verdict::Verdict;

/// How much memory the kinds of one profile may take, in bytes: some thousand kinds.
const PROFILE_LIMIT: usize = 1 << 20;

/// How much all profiles may take together, before each is held to its share.
const TOTAL_LIMIT: usize = 8 << 20;

/// What each profile may take in any case, so that a container that tries every path does not hide
/// what another one was denied.
const SHARE: usize = 8 << 10;

/// How many profiles are counted separately, for each owner. The kinds of children (`web//child`) count as those of
/// their parent: a process creates children in complain mode by executing programs.
const MOST_PROFILES: usize = 1000;

/// What events have in common that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventKey {
    /// The profile whose rule decided.
    pub profile: OutsideText,
    /// Whose event it is, as the caller of [`Tally::add_event_of`] says: the id of a container.
    pub owner: Option<Arc<str>>,
    /// What AppArmor did.
    pub verdict: Verdict,
    /// The operation.
    pub operation: String,
    /// The object of the operation, as [`Event::object`].
    pub object: String,
    /// The permissions that the profile does not grant.
    pub denied: String,
    /// What the kernel says about the reason.
    pub info: Option<OutsideText>,
    /// The error, as a negative number of errno(3).
    pub error: Option<i32>,
}

impl EventKey {
    fn of(event: &Event, owner: Option<Arc<str>>) -> Self {
        let shown = |text: Option<&OutsideText>| text.map(OutsideText::to_string);
        Self {
            profile: event.profile().cloned().unwrap_or_default(),
            owner,
            verdict: event.verdict,
            operation: shown(event.fields.operation.as_ref()).unwrap_or_default(),
            object: event.object(),
            denied: shown(event.denied()).unwrap_or_default(),
            info: event.fields.info.clone(),
            error: event.fields.error,
        }
    }

    /// About how much memory it takes, with its count.
    fn size(&self) -> usize {
        let info = self.info.as_ref().map_or(0, |text| text.bytes().len());
        [
            self.profile.bytes().len(),
            self.operation.len(),
            self.object.len(),
            self.denied.len(),
            info,
        ]
        .into_iter()
        .fold(320, usize::saturating_add)
    }
}

/// How often such an event occurred.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Occurrences {
    /// The number of events.
    pub count: u64,
    /// When the last one was.
    pub stamp: Option<Stamp>,
    /// The name of the command that caused the last one.
    pub comm: Option<OutsideText>,
}

impl Occurrences {
    fn add(&mut self, event: &Event) {
        self.count = self.count.saturating_add(1);
        self.comm.clone_from(&event.fields.comm);
        self.stamp = event.stamp;
    }
}

/// The kinds of one profile and its children.
#[derive(Debug, Default)]
struct ProfileTally {
    counts: BTreeMap<EventKey, Occurrences>,
    size: usize,
    left_out: u64,
}

/// A count of events, bounded for each profile.
#[derive(Debug, Default)]
pub struct Tally {
    profiles: BTreeMap<(OutsideText, Option<Arc<str>>), ProfileTally>,
    size: usize,
    /// The events of profiles beyond the most that are counted separately.
    other_profiles: u64,
    unread: UnreadCounts,
}

impl Tally {
    /// Counts what is in a line of a log.
    pub fn add(&mut self, line: &[u8]) {
        match Event::parse(line) {
            Ok(event) => self.add_event(&event),
            Err(cause) => self.add_unread(cause),
        }
    }

    /// Counts an event, if it is about an access.
    pub fn add_event(&mut self, event: &Event) {
        self.add_event_of(event, None);
    }

    /// Counts an event that is known to be of an owner, if it is about an access. Events of different
    /// owners are counted separately, and each owner has limits of its own. Returns how many such events
    /// there were until now; `None` if it was left out.
    pub fn add_event_of(&mut self, event: &Event, owner: Option<Arc<str>>) -> Option<u64> {
        if !event.verdict.is_access() {
            return None;
        }
        let key = EventKey::of(event, owner);
        let group = (parent(key.profile.bytes()), key.owner.clone());
        let known = self.profiles.len();
        let profile = match self.profiles.entry(group) {
            Entry::Occupied(profile) => profile.into_mut(),
            Entry::Vacant(_) if known >= MOST_PROFILES => {
                self.other_profiles = self.other_profiles.saturating_add(1);
                return None;
            }
            Entry::Vacant(new) => new.insert(ProfileTally::default()),
        };
        if !profile.counts.contains_key(&key) {
            let size = key.size();
            let of_profile = profile.size.saturating_add(size);
            let total = self.size.saturating_add(size);
            if of_profile > PROFILE_LIMIT || (total > TOTAL_LIMIT && of_profile > SHARE) {
                profile.left_out = profile.left_out.saturating_add(1);
                return None;
            }
            (profile.size, self.size) = (of_profile, total);
        }
        let occurrences = profile.counts.entry(key).or_default();
        occurrences.add(event);
        Some(occurrences.count)
    }

    /// Counts a line that has no event.
    pub fn add_unread(&mut self, cause: Unread) {
        self.unread.add(cause);
    }

    /// The lines that have no event.
    #[must_use]
    pub fn unread(&self) -> UnreadCounts {
        self.unread
    }

    /// All keys with their counts, sorted by profile.
    pub fn iter(&self) -> impl Iterator<Item = (&EventKey, &Occurrences)> {
        self.profiles.values().flat_map(|profile| &profile.counts)
    }

    /// For each profile, together with its children, how many events were not counted because they
    /// are of too many kinds; without those of which none was left out. A profile comes once for each
    /// owner.
    pub fn left_out(&self) -> impl Iterator<Item = (&OutsideText, u64)> {
        let all = self.profiles.iter();
        let counts = all.map(|((name, _), profile)| (name, profile.left_out));
        counts.filter(|(_, count)| *count > 0)
    }

    /// How many events were not counted because they are of too many profiles.
    #[must_use]
    pub fn of_other_profiles(&self) -> u64 {
        self.other_profiles
    }

    /// How many events were not counted.
    #[must_use]
    pub fn all_left_out(&self) -> u64 {
        let counts = self.left_out().map(|(_, count)| count);
        counts.fold(self.other_profiles, u64::saturating_add)
    }
}

/// The profile that a child belongs to: `web` of `web//child`. A stack `a//&b` stays as it is.
fn parent(name: &[u8]) -> OutsideText {
    let child = name.windows(3).position(|part| {
        let [b'/', b'/', next] = part else {
            return false;
        };
        *next != b'&'
    });
    OutsideText::new(child.and_then(|at| name.get(..at)).unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(profile: &str, name: &str, serial: u32) -> String {
        format!(
            "audit: type=1400 audit(1.002:{serial}): apparmor=\"DENIED\" operation=\"open\" \
             profile=\"{profile}\" name=\"{name}\" pid={serial} comm=\"c{serial}\" \
             requested_mask=\"r\" denied_mask=\"r\" fsuid=0 ouid=0"
        )
    }

    #[test]
    fn equal_events_are_counted_and_others_are_not_events() {
        let mut tally = Tally::default();
        for serial in 0..3 {
            tally.add(line("p", "/0", serial).as_bytes());
        }
        tally.add(
            b"audit(1.002:3): apparmor=\"STATUS\" operation=\"profile_load\" profile=\"unconfined\" \
              name=\"p\" pid=1 comm=\"apparmor_parser\"",
        );
        tally.add(b"something else");
        tally.add(line("p", "/0", 3).replace(" ouid=0", " ouid").as_bytes());
        tally.add(line("p", "/0", 3).replace("DENIED", "PROMPT").as_bytes());
        let all: Vec<_> = tally.iter().collect();
        let [(key, occurrences)] = all[..] else {
            panic!("{all:?}")
        };
        assert_eq!((&*key.object, &*key.denied), ("/0", "r"));
        assert_eq!(occurrences.count, 3);
        assert_eq!(occurrences.stamp.unwrap().to_string(), "1.002:2");
        assert_eq!(occurrences.comm.as_ref().unwrap(), "c2");
        let unread = UnreadCounts {
            other: 1,
            malformed: 1,
            unknown_verdict: 1,
        };
        assert_eq!((tally.unread(), tally.unread().lost()), (unread, 2));
    }

    #[test]
    fn a_noisy_profile_hides_no_quiet_one() {
        let mut tally = Tally::default();
        let long = "x".repeat(3500);
        for profile in 0..20 {
            for name in 0..300 {
                // The names of children count as their parent's.
                let profile = format!("noisy{profile}//null-{name}");
                tally.add(line(&profile, &format!("/{name}{long}"), 1).as_bytes());
            }
        }
        assert!(tally.size <= TOTAL_LIMIT + 20 * SHARE, "{}", tally.size);
        tally.add(line("quiet", "/etc/shadow", 1).as_bytes());
        tally.add(line("noisy0", "/new", 1).as_bytes());
        let has = |profile: &str| tally.iter().any(|(key, _)| key.profile == *profile);
        assert!(has("quiet"));
        let left_out: Vec<_> = tally.left_out().collect();
        assert_eq!(left_out.len(), 20, "each noisy one, and no other");
        let seen: u64 = tally.iter().map(|(_, seen)| seen.count).sum();
        assert_eq!(seen + tally.all_left_out(), 20 * 300 + 2);
    }

    #[test]
    fn too_many_profiles_are_a_number() {
        let mut tally = Tally::default();
        for profile in 0..MOST_PROFILES + 5 {
            tally.add(line(&format!("p{profile}"), "/", 1).as_bytes());
        }
        assert_eq!(
            (tally.iter().count(), tally.all_left_out()),
            (MOST_PROFILES, 5)
        );
    }

    #[test]
    fn children_and_stacks() {
        for (name, of) in [
            ("a", "a"),
            ("a//b//c", "a"),
            ("a//&b", "a//&b"),
            ("a//&b//c", "a//&b"),
        ] {
            assert_eq!(&parent(name.as_bytes()), of, "{name}");
        }
    }

    #[test]
    fn owners_that_share_a_profile_are_counted_apart() {
        let mut tally = Tally::default();
        let read = |name: &str| Event::parse(line("p", name, 1).as_bytes()).unwrap();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        for (owner, name, count) in [(&a, "/0", 1), (&b, "/0", 1), (&a, "/0", 2)] {
            let counted = tally.add_event_of(&read(name), Some(owner.clone()));
            assert_eq!(counted, Some(count));
        }
        // A noisy one does not take the room of the other.
        let long = "x".repeat(3500);
        for name in 0..400 {
            tally.add_event_of(&read(&format!("/{name}{long}")), Some(a.clone()));
        }
        assert!(tally.all_left_out() > 0);
        let new = format!("/new{long}");
        assert_eq!(tally.add_event_of(&read(&new), Some(a)), None);
        assert_eq!(tally.add_event_of(&read(&new), Some(b)), Some(1));
    }
}
