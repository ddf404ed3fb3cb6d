//! The events that were read so far, and what is printed of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::log::{Attribution, EventLog, Owner, Owners, boot};
use crate::report::output::Output;
use oci_apparmor::apparmor::kernel::{AuditMode, Kernel};
use oci_apparmor::error::Result;
use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::tally::Tally;

use super::closing::Closing;
use super::filter::Filter;
use super::json::{EndJson, EventJson, rfc3339};
use super::text::{self, Of};

/// What is done with events.
pub(super) struct Collection {
    filter: Filter,
    owners: Owners,
    output: Output,
    json: bool,
    follow: bool,
    tally: Tally,
    /// The containers that the tally names.
    named: BTreeMap<Arc<str>, Arc<Owner>>,
    events: u64,
    unattributed: u64,
}

impl Collection {
    pub(super) fn new(
        filter: Filter,
        owners: Owners,
        output: Output,
        json: bool,
        follow: bool,
    ) -> Self {
        Self {
            filter,
            owners,
            output,
            json,
            follow,
            tally: Tally::default(),
            named: BTreeMap::new(),
            events: 0,
            unattributed: 0,
        }
    }

    /// Notes which processes began and ended.
    pub(super) fn update(&mut self) {
        self.owners.update();
    }

    /// Counts an event, and prints it.
    pub(super) fn add(&mut self, event: &Event) -> Result<()> {
        if !event.verdict.is_access() || !self.filter.wants_profile(event) {
            return Ok(());
        }
        let attribution = self.owners.of(event);
        if !self.filter.wants_owner(&attribution) {
            if attribution == Attribution::Unknown {
                self.unattributed = self.unattributed.saturating_add(1);
            }
            return Ok(());
        }
        self.events = self.events.saturating_add(1);
        if self.json {
            return self.output.json_line(&EventJson::of(event, &attribution));
        }
        let owner = match &attribution {
            Attribution::Container(owner, _) => Some(self.name(owner)),
            _ => None,
        };
        let count = self.tally.add_event_of(event, owner);
        match count {
            // A new one, and again whenever there are ten times as many.
            Some(count) if self.follow && is_power_of_ten(count) => {
                let line = text::line(event, &attribution, count, self.output);
                self.output.line(line)
            }
            _ => Ok(()),
        }
    }

    /// The key of a container in the tally.
    fn name(&mut self, owner: &Arc<Owner>) -> Arc<str> {
        if let Some((id, _)) = self.named.get_key_value(owner.id.as_str()) {
            return id.clone();
        }
        let id: Arc<str> = owner.id.as_str().into();
        self.named.insert(id.clone(), owner.clone());
        id
    }

    /// Prints what there was, and what is missing.
    pub(super) fn close(&mut self, log: &mut EventLog, since: Option<SystemTime>) -> Result<()> {
        let coverage = log.coverage();
        let hiding = |mode: &AuditMode| mode.hides_denials() && coverage.is_of_this_system();
        let hidden_by = Kernel::default().audit_mode().ok().filter(hiding);
        let closing = Closing {
            // Without a time, what follows begins with this command.
            since: since.or(match self.follow {
                true => Some(log.opened()),
                false => None,
            }),
            coverage,
            gaps: log.gaps(),
            boot: boot(),
            hidden_by: hidden_by.map(AuditMode::as_str),
            unattributed: self.unattributed,
        };
        if self.json {
            return self.output.json_line(&EndJson {
                kind: "end",
                events: self.events,
                unattributed: self.unattributed,
                since: closing.since.and_then(rfc3339),
                complete_since: closing.coverage.complete_since.and_then(rfc3339),
                complete: closing.is_complete(),
                gaps: closing.gaps,
                advice: closing.coverage.advice,
                sources: closing.coverage.sources,
            });
        }
        if self.events == 0 {
            for line in closing.nothing() {
                self.output.line(line)?;
            }
        } else {
            self.table()?;
        }
        for line in self.left_out().into_iter().chain(closing.missing()) {
            self.output.line(line)?;
        }
        Ok(())
    }

    fn table(&mut self) -> Result<()> {
        if self.follow {
            self.output.line("")?;
        }
        let mut table = text::table();
        for (what, seen) in self.tally.iter() {
            let owner = what.owner.as_ref().and_then(|id| self.named.get(id));
            let having = match owner {
                Some(_) => Vec::new(),
                None => self.owners.having(&what.profile),
            };
            let of = match owner {
                Some(owner) => Of::Container(owner),
                None => Of::Profile(having.iter().map(|owner| &**owner).collect()),
            };
            table.push(text::row(what, seen, &of, self.output));
        }
        self.output.table(&table)
    }

    /// What is counted, and not shown.
    fn left_out(&self) -> Vec<String> {
        let mut profiles: BTreeMap<String, u64> = BTreeMap::new();
        for (profile, count) in self.tally.left_out() {
            let sum = profiles.entry(profile.to_string()).or_default();
            *sum = sum.saturating_add(count);
        }
        let mut lines: Vec<String> = profiles
            .iter()
            .map(|(profile, count)| {
                format!("More events of {profile}, of too many kinds to be shown: {count}.")
            })
            .collect();
        let others = self.tally.of_other_profiles();
        if others > 0 {
            lines.push(format!(
                "More events, of too many profiles to be shown: {others}."
            ));
        }
        lines
    }
}

fn is_power_of_ten(count: u64) -> bool {
    10u64.checked_pow(count.checked_ilog10().unwrap_or_default()) == Some(count)
}
