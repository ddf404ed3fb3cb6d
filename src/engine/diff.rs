//! What an edit changes, in lines: to be shown, to be remembered, and to be taken back. Pure.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// Lines that are shown around a change, as diff(1) does.
const CONTEXT: usize = 3;

/// Beyond this many comparisons the middle of two texts counts as one change.
const MAX_COMPARISONS: usize = 1 << 22;

/// One place where the texts differ. Lines keep their ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hunk {
    /// How many lines of the old text come before it.
    pub old_at: usize,
    /// How many lines of the new text come before it.
    pub new_at: usize,
    /// The old lines.
    pub old: String,
    /// The new lines.
    pub new: String,
}

/// Where two texts differ, in order.
#[must_use]
pub fn hunks(old: &str, new: &str) -> Vec<Hunk> {
    let (a, b) = (lines(old), lines(new));
    let same_head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let (a_rest, b_rest) = (
        a.get(same_head..).unwrap_or_default(),
        b.get(same_head..).unwrap_or_default(),
    );
    let tail = a_rest.iter().rev().zip(b_rest.iter().rev());
    let same_tail = tail.take_while(|(x, y)| x == y).count();
    let middle = |rest: &[&str]| rest.len().saturating_sub(same_tail);
    let a_mid = a_rest.get(..middle(a_rest)).unwrap_or_default();
    let b_mid = b_rest.get(..middle(b_rest)).unwrap_or_default();

    let mut found: Vec<Hunk> = Vec::new();
    let (mut old_at, mut new_at) = (same_head, same_head);
    let mut open = false;
    for step in steps(a_mid, b_mid) {
        if let Step::Both = step {
            old_at = old_at.saturating_add(1);
            new_at = new_at.saturating_add(1);
            open = false;
            continue;
        }
        if !open {
            let (old, new) = (String::new(), String::new());
            found.push(Hunk {
                old_at,
                new_at,
                old,
                new,
            });
            open = true;
        }
        let Some(hunk) = found.last_mut() else { break };
        match step {
            Step::Old(line) => {
                hunk.old.push_str(line);
                old_at = old_at.saturating_add(1);
            }
            Step::New(line) => {
                hunk.new.push_str(line);
                new_at = new_at.saturating_add(1);
            }
            Step::Both => {}
        }
    }
    found
}

/// The text before the change; `None` where `new` is not what the change made.
#[must_use]
pub fn reversed(new: &str, hunks: &[Hunk]) -> Option<String> {
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

/// The text with the change taken back, although other lines have changed since: each of its
/// places must still be there, once. `None` where that is not so.
#[must_use]
pub fn reversed_elsewhere(new: &str, hunks: &[Hunk]) -> Option<String> {
    let mut text = new.to_owned();
    for hunk in hunks {
        // What was only taken away has no place that could be found again.
        if hunk.new.is_empty() {
            return None;
        }
        let mut places = text.match_indices(&hunk.new);
        let at = places.next()?.0;
        let starts_line = at == 0 || text.get(..at)?.ends_with('\n');
        if places.next().is_some() || !starts_line {
            return None;
        }
        text.replace_range(at..at.checked_add(hunk.new.len())?, &hunk.old);
    }
    Some(text)
}

/// The change as diff(1) prints it (`-u`); empty where there is none.
#[must_use]
pub fn unified(old_name: &str, new_name: &str, old: &str, new: &str) -> String {
    let all = lines(old);
    let hunks = hunks(old, new);
    if hunks.is_empty() {
        return String::new();
    }
    let mut text = format!("--- {old_name}\n+++ {new_name}\n");
    let mut rest = hunks.as_slice();
    while let Some(first) = rest.first() {
        // Changes whose surroundings touch are shown together.
        let near = |pair: &&[Hunk]| match pair {
            [a, b] => b.old_at.saturating_sub(end(a)) <= CONTEXT.saturating_mul(2),
            _ => false,
        };
        let count = rest.windows(2).take_while(near).count().saturating_add(1);
        let (group, behind) = rest.split_at(count.min(rest.len()));
        rest = behind;
        let from = first.old_at.saturating_sub(CONTEXT);
        let to = group
            .last()
            .map_or(0, end)
            .saturating_add(CONTEXT)
            .min(all.len());
        let mut body = String::new();
        let (mut at, mut added, mut removed) = (from, 0_usize, 0_usize);
        for hunk in group {
            show(&mut body, ' ', all.get(at..hunk.old_at).unwrap_or_default());
            let (gone, come) = (lines(&hunk.old), lines(&hunk.new));
            show(&mut body, '-', &gone);
            show(&mut body, '+', &come);
            removed = removed.saturating_add(gone.len());
            added = added.saturating_add(come.len());
            at = end(hunk);
        }
        show(&mut body, ' ', all.get(at..to).unwrap_or_default());
        let old_count = to.saturating_sub(from);
        let new_count = old_count.saturating_add(added).saturating_sub(removed);
        let new_from = first.new_at.saturating_sub(CONTEXT.min(first.old_at));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "@@ -{} +{} @@",
            range(from, old_count),
            range(new_from, new_count)
        );
        text.push_str(&body);
    }
    text
}

/// The number of the old line behind a change.
fn end(hunk: &Hunk) -> usize {
    hunk.old_at.saturating_add(lines(&hunk.old).len())
}

/// A range as diff(1) writes it: from 1, and the line before where it is empty.
fn range(from: usize, count: usize) -> String {
    match count {
        0 => format!("{from},0"),
        _ => format!("{},{count}", from.saturating_add(1)),
    }
}

fn show(text: &mut String, mark: char, lines: &[&str]) {
    for line in lines {
        text.push(mark);
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// One line of a comparison.
#[derive(Debug, Clone, Copy)]
enum Step<'t> {
    Both,
    Old(&'t str),
    New(&'t str),
}

/// The longest common subsequence, as steps; old lines before new ones.
fn steps<'t>(a: &[&'t str], b: &[&'t str]) -> Vec<Step<'t>> {
    let whole = || {
        let old = a.iter().map(|line| Step::Old(line));
        old.chain(b.iter().map(|line| Step::New(line))).collect()
    };
    if a.len().saturating_mul(b.len()) > MAX_COMPARISONS {
        return whole();
    }
    // row[j] of table[i]: how much a[i..] and b[j..] have in common.
    let mut table = vec![vec![0_u32; b.len().saturating_add(1)]];
    for line in a.iter().rev() {
        let below = table.last().cloned().unwrap_or_default();
        let mut row = vec![0_u32; below.len()];
        let mut right = 0;
        for (j, other) in b.iter().enumerate().rev() {
            let at = |k: usize| below.get(k).copied().unwrap_or_default();
            right = match line == other {
                true => at(j.saturating_add(1)).saturating_add(1),
                false => right.max(at(j)),
            };
            if let Some(cell) = row.get_mut(j) {
                *cell = right;
            }
        }
        table.push(row);
    }
    table.reverse();
    let common = |i: usize, j: usize| -> u32 {
        let cell = table.get(i).and_then(|row| row.get(j));
        cell.copied().unwrap_or_default()
    };
    let (mut i, mut j) = (0_usize, 0_usize);
    let mut steps = Vec::new();
    loop {
        let (next_i, next_j) = (i.saturating_add(1), j.saturating_add(1));
        match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) if x == y => {
                steps.push(Step::Both);
                (i, j) = (next_i, next_j);
            }
            (Some(x), Some(_)) if common(next_i, j) >= common(i, next_j) => {
                steps.push(Step::Old(x));
                i = next_i;
            }
            (_, Some(y)) => {
                steps.push(Step::New(y));
                j = next_j;
            }
            (Some(x), None) => {
                steps.push(Step::Old(x));
                i = next_i;
            }
            (None, None) => return steps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_looks_as_diff_prints_it() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\n";
        let new = "a\nb\nc\nd\nE\nf\ng\nh\ni\nj\nk\nl\nm\nn";
        assert_eq!(
            unified("x", "y", old, new),
            "--- x\n+++ y\n@@ -2,7 +2,7 @@\n b\n c\n d\n-e\n+E\n f\n g\n h\n\
             @@ -11,3 +11,4 @@\n k\n l\n m\n+n\n\\ No newline at end of file\n"
        );
        assert_eq!(
            unified("/dev/null", "y", "", "a\n"),
            "--- /dev/null\n+++ y\n@@ -0,0 +1,1 @@\n+a\n"
        );
        assert_eq!(unified("x", "y", "a\n", "a\n"), "");
    }

    #[test]
    fn it_is_taken_back_among_other_changes() {
        let old = "a\nb\nc\n";
        let made = hunks(old, "a\nB\nc\nd\n");
        assert_eq!(
            reversed_elsewhere("0\na\nB\n1\nc\nd\n2\n", &made).as_deref(),
            Some("0\na\nb\n1\nc\n2\n")
        );
        // Twice, gone, or in the middle of a line.
        assert_eq!(reversed_elsewhere("B\nB\nd\n", &made), None);
        assert_eq!(reversed_elsewhere("x\nd\n", &made), None);
        assert_eq!(reversed_elsewhere("xB\nd\n", &made), None);
    }

    fn text() -> impl Strategy<Value = String> {
        "([abc]{0,2}\n){0,12}[abc]?"
    }

    proptest! {
        #[test]
        fn a_change_is_taken_back_byte_for_byte(old in text(), new in text()) {
            let made = hunks(&old, &new);
            prop_assert_eq!(reversed(&new, &made), Some(old.clone()));
            prop_assert_eq!(made.is_empty(), old == new);
            if let Some(other) = reversed_elsewhere(&new, &made) {
                prop_assert_eq!(other, old);
            }
        }
    }
}
