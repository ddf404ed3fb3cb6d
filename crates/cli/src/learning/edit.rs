//! Adds rules and flags to profiles of a source text. Everything else stays as it is, byte for byte.

use std::ops::Range;

use oci_apparmor::apparmor::text::{Profile, ProfileText};

/// What is added to one profile of a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Addition {
    /// The name of the profile; `parent//child` for a child or a hat.
    pub profile: String,
    /// Flags for its header.
    pub flags: Vec<&'static str>,
    /// What is added to its body, in groups with a blank line between them.
    pub groups: Vec<Vec<AddedLine>>,
}

/// One line of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AddedLine {
    /// A rule, with its comma; empty for a line that is only a comment.
    pub rule: String,
    /// A comment behind it, without `#`; empty for none.
    pub comment: String,
    /// A comment on a line of its own above it, without `#`; empty for none.
    pub above: String,
}

/// A text with its additions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edited {
    /// The text.
    pub text: String,
    /// The names of profiles that have additions and are not in the text.
    pub missing: Vec<String>,
}

/// Adds to a text. Rules and flags that the profile has already are not added again. `marker` is the
/// comment above the new rules, without `#`.
pub(crate) fn add(text: &str, additions: &[Addition], marker: &str) -> Edited {
    let scanned = ProfileText::scan(text);
    let mut missing = Vec::new();
    let mut insertions: Vec<(usize, String)> = Vec::new();
    for addition in additions {
        let Some(index) = find(&scanned, &addition.profile) else {
            missing.push(addition.profile.clone());
            continue;
        };
        let Some(profile) = scanned.profiles.get(index) else {
            continue;
        };
        insertions.extend(flags(text, profile, &addition.flags));
        let known = rules(text, &scanned, index);
        let comments = comments(text.get(profile.body.clone()).unwrap_or_default());
        let groups = without(&addition.groups, &known, &comments);
        insertions.extend(body(text, profile, &groups, marker));
    }
    insertions.sort_by_key(|(at, _)| *at);
    let mut edited = String::with_capacity(text.len());
    let mut from = 0;
    for (at, new) in &insertions {
        edited.push_str(text.get(from..*at).unwrap_or_default());
        edited.push_str(new);
        from = *at;
    }
    edited.push_str(text.get(from..).unwrap_or_default());
    Edited {
        text: edited,
        missing,
    }
}

/// The profile of this name; names in the text may have variables.
fn find(scanned: &ProfileText, name: &str) -> Option<usize> {
    let expands = |written: &str| written.contains("@{") && scanned.expand(written) == [name];
    let is_named = |p: &Profile| p.name == name || expands(&p.name);
    scanned.profiles.iter().position(is_named)
}

/// The rules that a profile allows already, with single blanks.
fn rules(text: &str, scanned: &ProfileText, profile: usize) -> Vec<String> {
    let own = scanned
        .rules
        .iter()
        .filter(|r| r.profile == profile && !r.deny);
    own.map(|rule| blanks(text.get(rule.place.clone()).unwrap_or_default()))
        .collect()
}

/// A rule with single blanks, to compare it.
fn blanks(rule: &str) -> String {
    Vec::from_iter(rule.split_whitespace()).join(" ")
}

/// The lines of a body that are only comments, without `#`.
fn comments(body: &str) -> Vec<&str> {
    let lines = body.lines().map(str::trim);
    lines
        .filter_map(|line| Some(line.strip_prefix('#')?.trim()))
        .collect()
}

/// The groups without what the profile has already, and without groups in which nothing is left.
fn without(groups: &[Vec<AddedLine>], known: &[String], comments: &[&str]) -> Vec<Vec<AddedLine>> {
    let is_new = |line: &&AddedLine| match line.rule.as_str() {
        "" => !comments.contains(&one_line(&line.comment).trim()),
        rule => !known.contains(&blanks(rule.trim_end().trim_end_matches(','))),
    };
    let new = groups.iter().map(|group| group.iter().filter(is_new));
    let new = new.map(|group| Vec::from_iter(group.cloned()));
    new.filter(|group| !group.is_empty()).collect()
}

/// The insertion of flags, if the header lacks one of them.
fn flags(text: &str, profile: &Profile, wanted: &[&str]) -> Option<(usize, String)> {
    let (known, at) = match profile.flags_end {
        Some(end) => {
            let before = text.get(profile.header.start..end)?;
            (before.rsplit_once('(')?.1, end)
        }
        // Behind the last word, not before the brace: the blank there stays.
        None => {
            let header = text.get(profile.header.clone())?;
            let length = header.trim_end().len();
            ("", profile.header.start.checked_add(length)?)
        }
    };
    let has = |flag: &str| {
        let mut known = known.split([',', ' ', '\t', '\n']).map(str::trim);
        // AppArmor 4 has `attach_disconnected.path=/x` as well.
        known.any(|k| {
            k == flag
                || k.strip_prefix(flag)
                    .is_some_and(|rest| rest.starts_with('.'))
        })
    };
    let new: Vec<&str> = wanted.iter().copied().filter(|flag| !has(flag)).collect();
    let joined = new.join(",");
    match (new.is_empty(), profile.flags_end, known.trim().is_empty()) {
        (true, ..) => None,
        (false, None, _) => Some((at, format!(" flags=({joined})"))),
        (false, Some(_), true) => Some((at, joined)),
        (false, Some(_), false) => Some((at, format!(",{joined}"))),
    }
}

/// The insertion of lines at the end of a body.
fn body(
    text: &str,
    profile: &Profile,
    groups: &[Vec<AddedLine>],
    marker: &str,
) -> Option<(usize, String)> {
    if groups.is_empty() {
        return None;
    }
    let body = text.get(profile.body.clone())?;
    let outer = indentation(text, &profile.header);
    let inner = inner(body).unwrap_or_else(|| format!("{outer}  "));
    // Before the line of the closing brace; where the brace is not alone on its line, before the brace.
    let last = body.rfind('\n').map_or(0, |at| at.saturating_add(1));
    let alone = last > 0 && body.get(last..)?.trim().is_empty();
    let (at, before, after) = match alone {
        true => (profile.body.start.checked_add(last)?, "", ""),
        false => (profile.body.end, "\n", outer.as_str()),
    };
    let mut new = String::from(before);
    if alone && !body.trim().is_empty() {
        new.push('\n');
    }
    new.push_str(&format!("{inner}# {}\n", one_line(marker)));
    for (index, group) in groups.iter().enumerate() {
        if index > 0 {
            new.push('\n');
        }
        for line in group {
            if !line.above.is_empty() {
                new.push_str(&format!("{inner}# {}\n", one_line(&line.above)));
            }
            new.push_str(&format!("{inner}{}\n", shown(line)));
        }
    }
    new.push_str(after);
    Some((at, new))
}

/// A line as it is written.
fn shown(line: &AddedLine) -> String {
    let comment = one_line(&line.comment);
    match (line.rule.is_empty(), comment.is_empty()) {
        (true, _) => format!("# {comment}"),
        (false, true) => line.rule.clone(),
        (false, false) => format!("{} # {comment}", line.rule),
    }
}

/// A comment ends with its line.
fn one_line(comment: &str) -> String {
    comment.replace(['\n', '\r', '\0'], " ")
}

/// The white space before the header of a profile.
fn indentation(text: &str, header: &Range<usize>) -> String {
    let before = text.get(..header.start).unwrap_or_default();
    let line = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
    let line = before.get(line..).unwrap_or_default();
    match line.trim().is_empty() {
        true => line.to_owned(),
        false => String::new(),
    }
}

/// The indentation of the first line with text in a body.
fn inner(body: &str) -> Option<String> {
    let lines = body.split_once('\n')?.1.lines();
    let line = lines.clone().find(|line| !line.trim().is_empty())?;
    let length = line.len().saturating_sub(line.trim_start().len());
    line.get(..length).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(rule: &str) -> AddedLine {
        AddedLine {
            rule: rule.to_owned(),
            comment: String::new(),
            above: String::new(),
        }
    }

    fn addition(profile: &str, flags: &[&'static str], rules: &[&str]) -> Addition {
        Addition {
            profile: profile.to_owned(),
            flags: flags.to_vec(),
            groups: vec![rules.iter().copied().map(line).collect()],
        }
    }

    #[track_caller]
    fn added(text: &str, additions: &[Addition]) -> String {
        let edited = add(text, additions, "learnt");
        assert_eq!(edited.missing, [""; 0]);
        edited.text
    }

    #[test]
    fn rules_go_to_the_end_of_the_body_with_its_indentation() {
        let text = "abi <abi/3.0>,\n# profile web { }\nprofile \"web\" /bin/{a,b} {\n\t# } not this\n\
                    \t/{a,b}/c,d r,\n\n\tprofile child {\n\t\t/x r,\n\t}\n}\nprofile other {\n}\n";
        let new = "\n\t# learnt\n\tcapability chown,\n\n\t/new r, # 2 times\n\t# no\n";
        let commented = |rule: &str, comment: &str| AddedLine {
            rule: rule.to_owned(),
            comment: comment.to_owned(),
            above: String::new(),
        };
        let web = Addition {
            profile: "web".to_owned(),
            flags: Vec::new(),
            groups: vec![
                vec![line("capability chown,")],
                vec![commented("/new r,", "2 times"), commented("", "no")],
            ],
        };
        let behind = "\t\t/x r,\n\t}\n";
        assert_eq!(
            added(text, &[web]),
            text.replace(behind, &format!("{behind}{new}"))
        );
        let child = addition("web//child", &[], &["/y r,"]);
        assert_eq!(
            added(text, &[child]),
            text.replace("\t\t/x r,\n", "\t\t/x r,\n\n\t\t# learnt\n\t\t/y r,\n")
        );
        let other = addition("other", &[], &["/y r,"]);
        assert_eq!(
            added(text, &[other]),
            text.replace("other {\n", "other {\n  # learnt\n  /y r,\n")
        );
    }

    #[test]
    fn a_body_on_one_line_is_opened() {
        for (text, with) in [
            ("profile w {}", "profile w {\n  # learnt\n  /y r,\n}"),
            (
                "profile w { /x r, }",
                "profile w { /x r, \n  # learnt\n  /y r,\n}",
            ),
            (
                "profile w {\n  /x r, }\n",
                "profile w {\n  /x r, \n  # learnt\n  /y r,\n}\n",
            ),
        ] {
            assert_eq!(added(text, &[addition("w", &[], &["/y r,"])]), with);
        }
        let hat = addition("w//h", &[], &["/y r,"]);
        assert_eq!(
            added("profile w {\n  ^h { /x r, }\n}\n", &[hat]),
            "profile w {\n  ^h { /x r, \n    # learnt\n    /y r,\n  }\n}\n"
        );
    }

    #[test]
    fn flags_join_those_of_the_header() {
        for (header, with) in [
            ("profile w {", "profile w flags=(mediate_deleted) {"),
            (
                "profile w flags=() {",
                "profile w flags=(mediate_deleted) {",
            ),
            (
                "profile w flags = ( complain ) {",
                "profile w flags = ( complain ,mediate_deleted) {",
            ),
            ("profile w (audit) {", "profile w (audit,mediate_deleted) {"),
            (
                "profile w xattrs=(a=b) {",
                "profile w xattrs=(a=b) flags=(mediate_deleted) {",
            ),
            (
                "profile w flags=(audit mediate_deleted) {",
                "profile w flags=(audit mediate_deleted) {",
            ),
        ] {
            let flag = addition("w", &["mediate_deleted"], &[]);
            assert_eq!(
                added(&format!("{header}\n}}"), &[flag]),
                format!("{with}\n}}")
            );
        }
        let path = "profile w flags=(attach_disconnected.path=/x) {}";
        assert_eq!(
            added(path, &[addition("w", &["attach_disconnected"], &[])]),
            path
        );
    }

    #[test]
    fn what_is_there_is_not_added_again() {
        let text = "@{name} = web\nprofile @{name} {\n  owner   /a r,\n  deny /b r,\n  signal  (send),\n}\n";
        let known = addition("web", &[], &["owner /a r,", "signal (send),"]);
        assert_eq!(added(text, &[known]), text);
        let denied = addition("web", &[], &["/b r,", "/a r,"]);
        assert!(added(text, &[denied]).contains("  # learnt\n  /b r,\n  /a r,\n}\n"));
        let comment = |above: &str, comment: &str| AddedLine {
            comment: comment.to_owned(),
            above: above.to_owned(),
            ..line("")
        };
        let mut commented = addition("web", &[], &[]);
        commented.groups = vec![vec![comment("why", "/c w,"), comment("why", "/d w,")]];
        let once = added(text, &[commented.clone()]);
        assert!(
            once.contains("  # why\n  # /c w,\n  # why\n  # /d w,\n}"),
            "{once}"
        );
        assert_eq!(added(&once, &[commented]), once);
        let edited = add(text, &[addition("other", &[], &["/a r,"])], "learnt");
        assert_eq!(
            (edited.text.as_str(), edited.missing),
            (text, vec!["other".to_owned()])
        );
    }

    proptest! {
        #[test]
        fn the_rest_of_the_text_stays(
            text in "(profile [wo]|\\^h|[ \n#{},\"]|/[a-c{},]{1,3} r,|flags=\\(audit\\)|\\PC){0,24}",
            comment in "\\PC{0,8}\n?[{}]?",
        ) {
            let mut wanted = addition("w", &["mediate_deleted"], &["/new r,"]);
            wanted.groups[0][0].comment = comment;
            let edited = add(&text, &[wanted], "learnt");
            let (mut old, mut new) = (text.chars().peekable(), edited.text.chars());
            // The old text is a subsequence of the new one.
            for c in new.by_ref() {
                old.next_if_eq(&c);
            }
            prop_assert!(old.peek().is_none());
            let body = ProfileText::scan(&text);
            let body = body
                .profile("w")
                .map(|p| text.get(body.profiles[p].body.clone()).unwrap().trim().to_owned());
            let complete = body.is_some_and(|body| body.is_empty() || body.ends_with(','));
            let scanned = ProfileText::scan(&edited.text);
            if complete && edited.missing.is_empty() && !text.contains("/new") {
                let profile = scanned.profile("w").unwrap();
                let closed = edited.text.get(scanned.profiles[profile].body.end..).unwrap().starts_with('}');
                let added = scanned.rules.iter().any(|r| r.words == ["/new", "r"] && r.profile == profile);
                prop_assert!(!closed || added, "{}", edited.text);
            }
        }
    }
}
