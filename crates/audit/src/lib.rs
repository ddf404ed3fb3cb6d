//! What AppArmor reports in the kernel's log: accesses that it refused, and accesses that complain
//! mode allowed.
//!
//! [`event::Event`] reads one line of a log. [`tally::Tally`] counts lines that are about the same
//! access, and lines that cannot be read. Lines of other programs are ignored, also if they contain
//! text that looks like an event. Text from outside stays bytes ([`text::OutsideText`]). Nothing here
//! touches the system; the caller reads the log.
//!
//! [`rule::Learnt`] is the rule that would allow the access of an event, or the reason why none does.
//! [`suggestion::Suggestion`] is what the events of a profile teach together.
//!
//! A log file is only as good as its writer: a program that may write to the system log, or send audit
//! messages (CAP_AUDIT_WRITE) that `dmesg` prints on several lines, can write lines that look like the
//! kernel's. Netlink, audit.log and `/dev/kmsg` keep records apart.
//!
//! ```
//! use oci_apparmor_audit::tally::Tally;
//! use oci_apparmor_audit::verdict::Verdict;
//!
//! let mut tally = Tally::default();
//! tally.add(
//!     b"audit: type=1400 audit(1795342738.894:7): apparmor=\"DENIED\" operation=\"open\" \
//!       profile=\"web\" name=\"/etc/shadow\" pid=103 comm=\"cat\" denied_mask=\"r\"",
//! );
//! let (access, occurrences) = tally.iter().next().expect("one event");
//! assert_eq!(access.verdict, Verdict::Denied);
//! assert_eq!((access.profile.bytes(), &*access.object), (&b"web"[..], "/etc/shadow"));
//! assert_eq!(occurrences.count, 1);
//! assert_eq!(tally.unread().lost(), 0);
//! ```

pub mod advice;
pub mod class;
pub mod event;
pub mod fields;
pub mod header;
pub mod kmsg;
mod pairs;
pub mod rule;
pub mod suggestion;
pub mod tally;
pub mod text;
pub mod unread;
pub mod verdict;
