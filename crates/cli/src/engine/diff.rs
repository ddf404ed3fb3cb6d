//! A change of a text as lines: to show it, to store it in the journal, and to undo it.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use similar::{DiffTag, TextDiff};

/// One place where two texts differ. Lines include their line end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hunk {
    /// The number of lines before it in the old text.
    pub old_at: usize,
    /// The number of lines before it in the new text.
    pub new_at: usize,
    /// The old lines.
    pub old: String,
    /// The new lines.
    pub new: String,
}

/// The places where two texts differ, in order.
#[must_use]
pub(crate) fn hunks(old: &str, new: &str) -> Vec<Hunk> {
    let diff = compared(old, new);
    let (before, after) = (lines(old), lines(new));
    let text = |lines: &[&str], range: Range<usize>| lines.get(range).unwrap_or_default().concat();
    let changes = diff.ops().iter().filter(|op| op.tag() != DiffTag::Equal);
    changes
        .map(|op| Hunk {
            old_at: op.old_range().start,
            new_at: op.new_range().start,
            old: text(&before, op.old_range()),
            new: text(&after, op.new_range()),
        })
        .collect()
}

/// Undoes the change; `None` if `new` is not the text after the change.
#[must_use]
pub(crate) fn reversed(new: &str, hunks: &[Hunk]) -> Option<String> {
    let all = lines(new);
    let mut old = String::new();
    let mut at = 0;
    for hunk in hunks {
        old.extend(all.get(at..hunk.new_at)?.iter().copied());
        let end = hunk.new_at.checked_add(lines(&hunk.new).len())?;
        if all.get(hunk.new_at..end)?.concat() != hunk.new {
            return None;
        }
        old.push_str(&hunk.old);
        at = end;
    }
    old.extend(all.get(at..)?.iter().copied());
    Some(old)
}

/// Undoes the change in a text in which other lines were changed since. The new lines of each place
/// must occur exactly once, otherwise it returns `None`.
#[must_use]
pub(crate) fn reversed_elsewhere(new: &str, hunks: &[Hunk]) -> Option<String> {
    let mut text = new.to_owned();
    for hunk in hunks {
        let (all, made) = (lines(&text), lines(&hunk.new));
        // Where lines were only removed, their place cannot be found again.
        if made.is_empty() {
            return None;
        }
        let places = all.windows(made.len()).enumerate();
        let mut places = places.filter(|(_, place)| *place == made);
        let (at, _) = places.next()?;
        if places.next().is_some() {
            return None;
        }
        let behind = all.get(at.checked_add(made.len())?..)?;
        text = [&all.get(..at)?.concat(), &hunk.old, &behind.concat()]
            .map(String::as_str)
            .concat();
    }
    Some(text)
}

/// The change as `diff -u` prints it; empty if the texts are equal.
#[must_use]
pub(crate) fn unified(old_name: &str, new_name: &str, old: &str, new: &str) -> String {
    let diff = compared(old, new);
    let mut shown = diff.unified_diff();
    shown.header(old_name, new_name).to_string()
}

fn compared<'t>(old: &'t str, new: &'t str) -> TextDiff<'t, 't, str> {
    let mut compared = TextDiff::configure();
    compared
        .newline_terminated(true)
        .diff_slices(&lines(old), &lines(new))
}

/// Splits at line feeds only; the library would also split at carriage returns.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_change_is_printed_as_diff_does() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\n";
        let new = "a\nb\nc\nd\nE\nf\ng\nh\ni\nj\nk\nl\nm\nn";
        assert_eq!(
            unified("x", "y", old, new),
            "--- x\n+++ y\n@@ -2,7 +2,7 @@\n b\n c\n d\n-e\n+E\n f\n g\n h\n\
             @@ -11,3 +11,4 @@\n k\n l\n m\n+n\n\\ No newline at end of file\n"
        );
        assert_eq!(
            unified("/dev/null", "y", "", "a\n"),
            "--- /dev/null\n+++ y\n@@ -0,0 +1 @@\n+a\n"
        );
        assert_eq!(unified("x", "y", "a\n", "a\n"), "");
    }

    #[test]
    fn a_change_is_undone_among_other_changes() {
        let old = "a\nb\nc\n";
        let made = hunks(old, "a\nB\nc\nd\n");
        assert_eq!(
            reversed_elsewhere("0\na\nB\n1\nc\nd\n2\n", &made).as_deref(),
            Some("0\na\nb\n1\nc\n2\n")
        );
        // The lines occur twice (also overlapping), are gone, or are within a line.
        assert_eq!(reversed_elsewhere("B\nB\nd\n", &made), None);
        let twice = hunks("a\naa\n", "a\na\na\n");
        assert_eq!(reversed_elsewhere("a\na\na\n", &twice), None);
        assert_eq!(reversed_elsewhere("x\nd\n", &made), None);
        assert_eq!(reversed_elsewhere("xB\nd\n", &made), None);
    }

    fn text() -> impl Strategy<Value = String> {
        "([abc]{0,2}\n){0,12}[abc]?"
    }

    proptest! {
        #[test]
        fn a_change_is_undone_byte_for_byte(old in text(), new in text()) {
            let made = hunks(&old, &new);
            prop_assert_eq!(reversed(&new, &made), Some(old.clone()));
            prop_assert_eq!(made.is_empty(), old == new);
            if let Some(other) = reversed_elsewhere(&new, &made) {
                prop_assert_eq!(other, old);
            }
        }
    }
}
