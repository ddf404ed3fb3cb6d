//! Where events of AppArmor come from, and what of them is missing.
//!
//! [`EventLog`] reads one or several sources as one sequence of [`Entry`]s. It counts what it could not
//! see ([`Gaps`]), and says since when it saw everything ([`Coverage`]). `owner` finds the container
//! of an event.
//!
//! | file | what |
//! |---|---|
//! | `event_log` | opens the sources, and reads them one after the other, or all of them while it follows |
//! | `choice` | which sources are read, and in which order |
//! | `multicast`, `audit_log`, `journal`, `kmsg`, `files` | the sources |
//! | `duplicates` | what two sources have |
//! | `netlink`, `audit_status`, `journal_record`, `lines` | what the sources are read with |
//! | `reading`, `gaps`, `serials`, `coverage` | what they have in common; what is missing, and what was complete |
//! | `source`, `since` | what `--source` and `--since` mean |

mod audit_log;
mod audit_status;
mod choice;
mod coverage;
mod duplicates;
mod event_log;
mod files;
mod gaps;
mod journal;
mod journal_record;
mod kmsg;
mod lines;
mod multicast;
mod netlink;
mod owner;
mod reading;
mod serials;
mod since;
mod source;

pub(crate) use coverage::Coverage;
pub(crate) use event_log::EventLog;
pub(crate) use gaps::Gaps;
pub(crate) use owner::{Attribution, KnownBy, Owner, Owners, recorded};
pub(crate) use reading::{Entry, time_of};
pub(crate) use since::{Since, boot};
pub(crate) use source::{LogOptions, SourceKind};
