//! What AppArmor reports in the kernel's log: accesses that it refused, and accesses that complain
//! mode allowed.
//!
//! [`event::Event`] reads one line of a log. [`tally::Tally`] counts lines that are about the same
//! access. Lines of other programs are ignored, also if they contain text that looks like an event.
//! Nothing here touches the system; the caller reads the log.
//!
//! ```
//! use oci_apparmor_audit::tally::Tally;
//! use oci_apparmor_audit::verdict::Verdict;
//!
//! let mut tally = Tally::default();
//! tally.add(
//!     "audit: type=1400 audit(1795342738.894:7): apparmor=\"DENIED\" operation=\"open\" \
//!      profile=\"web\" name=\"/etc/shadow\" pid=103 comm=\"cat\" denied_mask=\"r\"",
//! );
//! let (access, occurrences) = tally.iter().next().expect("one event");
//! assert_eq!(access.verdict, Verdict::Denied);
//! assert_eq!((&*access.profile, &*access.object), ("web", "/etc/shadow"));
//! assert_eq!(occurrences.count, 1);
//! assert_eq!(occurrences.comm.as_deref(), Some("cat"));
//! ```

pub mod event;
mod fields;
pub mod tally;
pub mod verdict;
