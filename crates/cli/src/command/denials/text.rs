//! What people read: a line for each new access while following, and a table at the end.

use crate::log::{Attribution, Owner, time_of};
use crate::report::output::Output;
use crate::report::table::{Cell, Fit, Row, Table, Tone};
use oci_apparmor_audit::advice::advice;
use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::tally::{EventKey, Occurrences};
use oci_apparmor_audit::text::OutsideText;
use oci_apparmor_audit::verdict::Verdict;

use super::json::rfc3339;

/// A container, for people: `main (0123456789ab, pod shop/web-0, image nginx)`.
pub(super) fn container(owner: &Owner, output: Output) -> String {
    let id = output.id(&owner.id);
    let mut more = Vec::new();
    if owner.name.is_some() {
        more.push(id.to_owned());
    }
    if let (Some(namespace), Some(pod)) = (&owner.namespace, &owner.pod) {
        more.push(format!("pod {namespace}/{pod}"));
    }
    more.extend(owner.image.as_ref().map(|image| format!("image {image}")));
    let name = owner.name.as_deref().unwrap_or(id);
    match more.is_empty() {
        true => name.to_owned(),
        false => format!("{name} ({})", more.join(", ")),
    }
}

/// One event on one line, while following.
pub(super) fn line(event: &Event, attribution: &Attribution, count: u64, output: Output) -> String {
    let shown =
        |text: Option<&OutsideText>| text.map_or_else(|| "-".to_owned(), OutsideText::to_string);
    let time = event.stamp.as_ref().and_then(time_of).and_then(rfc3339);
    let fields = &event.fields;
    let object = event.object();
    let mut words = vec![
        time.unwrap_or_else(|| "-".to_owned()),
        shown(event.profile()),
        event.verdict.as_str().to_owned(),
        shown(fields.operation.as_ref()),
        shown(event.denied()),
        if object.is_empty() {
            "-".to_owned()
        } else {
            object
        },
        format!("by {}", shown(fields.comm.as_ref())),
    ];
    match attribution {
        Attribution::Container(owner, _) => {
            words.push(format!("in container {}", container(owner, output)));
        }
        Attribution::Candidates(owners) => {
            let all: Vec<String> = owners
                .iter()
                .map(|owner| container(owner, output))
                .collect();
            words.push(format!("perhaps in container {}", all.join(" or ")));
        }
        Attribution::Host => words.push("outside of containers".to_owned()),
        Attribution::Unknown => {}
    }
    if count > 1 {
        words.push(format!("({count} times)"));
    }
    words.join(" ")
}

/// What is known about the container of a row.
pub(super) enum Of<'o> {
    Container(&'o Owner),
    /// The containers with the profile.
    Profile(Vec<&'o Owner>),
}

pub(super) fn table() -> Table {
    Table::new(&[
        ("PROFILE", Fit::Wrap),
        ("VERDICT", Fit::Whole),
        ("COUNT", Fit::Whole),
        ("OPERATION", Fit::Whole),
        ("DENIED", Fit::Whole),
        ("OBJECT", Fit::Wrap),
    ])
}

/// All events that are about the same.
pub(super) fn row(what: &EventKey, seen: &Occurrences, of: &Of<'_>, output: Output) -> Row {
    let tone = match what.verdict {
        Verdict::Denied | Verdict::Killed => Tone::Bad,
        Verdict::Allowed => Tone::Warning,
        _ => Tone::Plain,
    };
    let mut row = Row::new([
        Cell::or_dash(Some(what.profile.to_string())),
        Cell::new(what.verdict.as_str(), tone),
        Cell::from(seen.count.to_string()),
        Cell::or_dash(Some(&what.operation)),
        Cell::or_dash(Some(&what.denied)),
        Cell::or_dash(Some(&what.object)),
    ]);
    let comm = seen.comm.as_ref();
    let comm = comm.map_or_else(|| "?".to_owned(), OutsideText::to_string);
    row.note(match of {
        Of::Container(owner) => format!("container {}; last by {comm}", container(owner, output)),
        Of::Profile(owners) if owners.is_empty() => format!("last by {comm}"),
        Of::Profile(owners) => {
            let all: Vec<String> = owners
                .iter()
                .map(|owner| container(owner, output))
                .collect();
            format!(
                "last by {comm}; containers with this profile: {}",
                all.join(", ")
            )
        }
    });
    if let Some(info) = &what.info {
        row.note(match what.error {
            Some(error) => format!("the kernel says: {info} (error {error})"),
            None => format!("the kernel says: {info}"),
        });
        if let Some(advice) = advice(info.bytes()) {
            row.note(advice);
        }
    }
    row
}
