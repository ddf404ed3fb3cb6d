//! The files that the text of a profile refers to: `include`, `#include` and `abi`.
//!
//! This only finds the files to watch and to hash. A target that is found by mistake costs one
//! look at a missing file. A target that is missed is noticed, because the parser lists what it
//! included (`apparmor_parser -p`); such a profile is never taken from the cache.

/// The targets of all directives in `text`, as the parser writes them: `<path>` for its search
/// path, and any other path in quotes.
pub(crate) fn targets(text: &str) -> Vec<String> {
    text.lines().flat_map(of_line).collect()
}

fn of_line(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = line;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let after = rest.strip_prefix('#').unwrap_or(rest);
        // A comment extends to the end of the line; `#include` is not a comment.
        if c == '#' && !after.starts_with("include") {
            return found;
        }
        let boundary = !(before.is_alphanumeric() || matches!(before, '_' | '-' | '.' | '/'));
        if boundary && let Some((target, left)) = directive(after) {
            found.push(target);
            (rest, before) = (left, ' ');
            continue;
        }
        (rest, before) = (rest.strip_prefix(c).unwrap_or_default(), c);
    }
    found
}

/// The target of the directive at the start of `text`, and the text after it.
fn directive(text: &str) -> Option<(String, &str)> {
    let (is_include, rest) = match (text.strip_prefix("include"), text.strip_prefix("abi")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return None,
    };
    let words = rest.trim_start();
    if words.len() == rest.len() && !words.starts_with(['<', '"']) {
        return None;
    }
    let words = match words.strip_prefix("if").map(str::trim_start) {
        Some(more) if is_include => more.strip_prefix("exists").unwrap_or(words).trim_start(),
        _ => words,
    };
    if let Some(magic) = words.strip_prefix('<') {
        let (name, left) = magic.split_once('>')?;
        return Some((format!("<{name}>"), left));
    }
    if let Some(quoted) = words.strip_prefix('"') {
        let (name, left) = quoted.split_once('"')?;
        return Some((format!("\"{name}\""), left));
    }
    let end = words
        .find(|c: char| c.is_whitespace() || matches!(c, ',' | '"' | '<'))
        .unwrap_or(words.len());
    let (name, left) = words.split_at_checked(end)?;
    (!name.is_empty()).then(|| (format!("\"{name}\""), left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// apparmor_parser 3.0.8 opens exactly these files.
    #[test]
    fn all_directives_are_found() {
        for (text, expected) in [
            ("include <a/b>", &["<a/b>"][..]),
            ("#include <a>", &["<a>"]),
            ("  #include \"/x y\"", &["\"/x y\""]),
            ("include if exists <local/p>", &["<local/p>"]),
            ("#include if exists \"x\"", &["\"x\""]),
            ("include tunables/home", &["\"tunables/home\""]),
            ("#include\"t\"", &["\"t\""]),
            ("profile q { /a r, include <b> }", &["<b>"]),
            ("profile q { /a r, #include <b>", &["<b>"]),
            ("abi <abi/3.0>,", &["<abi/3.0>"]),
            ("abi abi/3.0,", &["\"abi/3.0\""]),
            ("include <a> include <b>", &["<a>", "<b>"]),
            ("# include <a>", &[]),
            ("/x r, # see include <a>", &[]),
            ("/usr/include/x r,", &[]),
            ("/usr/include <a>", &[]),
            ("/x-include <a>", &[]),
            ("includes <a>", &[]),
            ("profile abi { }", &["\"{\""]),
            ("include", &[]),
            ("include <a", &[]),
            ("", &[]),
        ] {
            assert_eq!(targets(text), expected, "{text}");
        }
        assert_eq!(targets("include <a>\n#include <b>\r\n"), ["<a>", "<b>"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(include|abi|#|<|>|\"|if exists| |x|é|\n|\\PC){0,30}") {
            targets(&text);
        }
    }
}
