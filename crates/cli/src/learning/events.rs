//! The events of one profile and its children: what they teach, and what is asked to prove it.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::access::Answer;
use crate::policy::question::Question;
use crate::policy::trial::Trial;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::rule::lineage::Lineage;
use oci_apparmor_audit::rule::{Learnt, PolicyRule};
use oci_apparmor_audit::suggestion::{Collector, Suggestion, SuggestionOptions};
use oci_apparmor_audit::text::OutsideText;

/// How many different accesses are kept to be asked for.
const MOST_ACCESSES: usize = 10_000;

/// How many programs are counted.
const MOST_PROGRAMS: usize = 1000;

/// One access that an event was about.
#[derive(Debug, Clone)]
pub(crate) struct SeenAccess {
    /// The permissions and the object, for people.
    pub what: String,
    /// The rule that allows it, if one can.
    pub rule: Option<PolicyRule>,
    /// Whether the user of the process owned the file.
    owner: bool,
}

impl SeenAccess {
    /// Whether the answer allows it.
    pub(crate) fn is_allowed(&self, answer: &Answer) -> bool {
        match answer {
            Answer::Allowed | Answer::NotMediated => true,
            Answer::AllowedForOwner => self.owner,
            Answer::AllowedForOthers => !self.owner,
            Answer::Denied { .. } | Answer::Unknown(_) => false,
        }
    }
}

/// What is asked, and of which child: `//child`, or nothing for the profile itself.
type Asked = (String, Question, bool);

/// The events of one profile and its children.
#[derive(Debug)]
pub(crate) struct ProfileEvents<'t> {
    name: ProfileName,
    /// The source as it is, loaded to be asked.
    source: Option<&'t Trial<'t>>,
    collector: Collector,
    accesses: BTreeMap<Asked, SeenAccess>,
    /// What the source as it is allows.
    known: BTreeMap<Asked, bool>,
    /// How many events there were.
    pub count: u64,
    /// How many the source allows as it is: they are older than its last change.
    pub allowed_already: u64,
    /// How many accesses could not be kept to be asked for.
    pub not_kept: u64,
    /// How many have no question.
    pub without_question: u64,
    /// How many programs ran under a profile that complain mode made for them. Such a profile has no
    /// rules, so the kernel mediates only files and capabilities for it (`RULE_MEDIATES()`,
    /// security/apparmor/include/policy.h).
    pub unwatched: u64,
    programs: BTreeSet<OutsideText>,
}

impl<'t> ProfileEvents<'t> {
    /// None yet. Events that `source` allows are only counted.
    pub(crate) fn new(name: &ProfileName, source: Option<&'t Trial<'t>>) -> Self {
        Self {
            name: name.root(),
            source,
            collector: Collector::default(),
            accesses: BTreeMap::new(),
            known: BTreeMap::new(),
            count: 0,
            allowed_already: 0,
            not_kept: 0,
            without_question: 0,
            unwatched: 0,
            programs: BTreeSet::new(),
        }
    }

    /// Takes in an event, if it is of this profile.
    pub(crate) fn add(&mut self, event: &Event) {
        if !event.verdict.is_access() {
            return;
        }
        let profile = Collector::profile_of(event);
        let Some(child) = profile
            .utf8()
            .and_then(|p| p.strip_prefix(self.name.as_str()))
        else {
            return;
        };
        if !child.is_empty() && !child.starts_with("//") {
            return;
        }
        self.count = self.count.saturating_add(1);
        self.see_program(event);
        let (Learnt::Rule(rule) | Learnt::Flag(_, Some(rule))) = Learnt::of(event) else {
            return self.collector.add(event);
        };
        let access = SeenAccess {
            what: shown(event),
            rule: Some(rule),
            owner: event.fields.fsuid.is_some() && event.fields.fsuid == event.fields.ouid,
        };
        let Some(question) = Question::of(event) else {
            self.without_question = self.without_question.saturating_add(1);
            return self.collector.add(event);
        };
        let asked = (child.to_owned(), question, access.owner);
        if self.is_allowed_already(&asked, &access) {
            self.allowed_already = self.allowed_already.saturating_add(1);
            return;
        }
        self.collector.add(event);
        if self.accesses.contains_key(&asked) {
            return;
        }
        if self.accesses.len() < MOST_ACCESSES {
            self.accesses.insert(asked, access);
        } else {
            self.not_kept = self.not_kept.saturating_add(1);
        }
    }

    fn see_program(&mut self, event: &Event) {
        let name = event.profile().map_or(&[][..], OutsideText::bytes);
        if let Some(program) = Lineage::of(name).programs.last()
            && self.programs.len() < MOST_PROGRAMS
            && self.programs.insert(OutsideText::new(*program))
        {
            self.unwatched = self.unwatched.saturating_add(1);
        }
    }

    fn is_allowed_already(&mut self, asked: &Asked, access: &SeenAccess) -> bool {
        let Some(source) = self.source else {
            return false;
        };
        if let Some(known) = self.known.get(asked) {
            return *known;
        }
        let (child, question, _) = asked;
        let allows = source
            .policy(child)
            .is_ok_and(|policy| access.is_allowed(&policy.ask(question)));
        if self.known.len() < MOST_ACCESSES {
            self.known.insert(asked.clone(), allows);
        }
        allows
    }

    /// The profile and the children that there are events of, each with what they teach.
    pub(crate) fn suggestions(&self, options: &SuggestionOptions) -> Vec<(String, Suggestion)> {
        let names = self.collector.profiles();
        let of = |name: &OutsideText| {
            let suggestion = self.collector.suggestion(name, options);
            Some((name.utf8()?.to_owned(), suggestion))
        };
        names.filter_map(of).collect()
    }

    /// Every access that is kept: of which child, and its question.
    pub(crate) fn accesses(&self) -> impl Iterator<Item = (&str, &Question, &SeenAccess)> {
        let all = self.accesses.iter();
        all.map(|((child, question, _), access)| (child.as_str(), question, access))
    }
}

/// An access for people: `wc /var/log/nginx/error.log`.
fn shown(event: &Event) -> String {
    let denied = event.denied().map(OutsideText::to_string);
    let object = event.object();
    match denied {
        Some(denied) if !denied.is_empty() => format!("{denied} {object}"),
        _ => object,
    }
}
