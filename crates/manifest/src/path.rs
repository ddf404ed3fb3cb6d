//! Paths of a manifest: patterns of AppArmor's language.
//!
//! A path is copied into a rule. It must be one token to the lexer of apparmor_parser
//! (`parser_lex.l`) and one well-formed pattern to its regular expressions (`parser_regex.c`);
//! anything else is refused. A path with a blank or a comma is put in quotes, in which patterns
//! and variables still work (`apparmor.d(5)`).

use std::iter::Peekable;
use std::str::CharIndices;

/// The longest path that a process can name (`PATH_MAX`).
const MAX: usize = 4096;

/// How deep `{a,{b,c}}` may nest. apparmor_parser allows 50.
const MAX_NESTING: usize = 10;

/// A checked path, as it is written in a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(String);

impl Path {
    /// Checks a path of a manifest.
    ///
    /// # Errors
    /// The rule that it breaks, as a predicate: `has '}' without '{'`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        if text.len() > MAX {
            return Err(format!("is longer than {MAX} bytes"));
        }
        let after_variable = text
            .strip_prefix("@{")
            .and_then(|rest| rest.split_once('}'))
            .map(|(_, rest)| rest);
        if !after_variable.unwrap_or(text).starts_with('/') {
            return Err("does not start with '/' or with a variable and '/'".to_owned());
        }
        if text.split('/').any(|part| part == "..") {
            return Err("has the part '..', which no path in the kernel has".to_owned());
        }
        pattern(text)?;
        let quotes = text.contains([' ', ',']);
        Ok(Self(if quotes {
            format!("\"{text}\"")
        } else {
            text.to_owned()
        }))
    }

    /// The path, in quotes if it needs them.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks a pattern; the error is a predicate.
fn pattern(text: &str) -> Result<(), String> {
    // For each open brace, whether a comma was seen inside it.
    let mut braces: Vec<bool> = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((_, c)) = rest.next() {
        match c {
            '@' if rest.next_if(|(_, c)| *c == '{').is_some() => variable(&mut rest)?,
            '{' if braces.len() == MAX_NESTING => {
                return Err(format!("nests braces deeper than {MAX_NESTING}"));
            }
            '{' => braces.push(false),
            ',' => match braces.last_mut() {
                Some(comma) => *comma = true,
                None => return Err("has ',' outside '{…}', where it ends a rule".to_owned()),
            },
            '}' => match braces.pop() {
                Some(true) => {}
                Some(false) => return Err("has '{…}' without ',' inside".to_owned()),
                None => return Err("has '}' without '{'".to_owned()),
            },
            '[' => class(&mut rest)?,
            'a'..='z' | 'A'..='Z' | '0'..='9' => {}
            '/' | '_' | '.' | '-' | '+' | '@' | ':' | '=' | '~' | '%' | '*' | '?' | ' ' => {}
            ']' => return Err("has ']' without '['".to_owned()),
            c => return Err(format!("has {c:?}, which is not allowed in a path")),
        }
    }
    match braces.is_empty() {
        true => Ok(()),
        false => Err("has '{' without '}'".to_owned()),
    }
}

/// The rest of `@{NAME}`.
fn variable(rest: &mut Peekable<CharIndices<'_>>) -> Result<(), String> {
    let mut letters = 0_usize;
    for (_, c) in rest.by_ref() {
        match c {
            'a'..='z' | 'A'..='Z' => letters = letters.saturating_add(1),
            '0'..='9' | '_' if letters > 0 => {}
            '}' if letters > 0 => return Ok(()),
            _ => break,
        }
    }
    Err("has '@{' that does not start a variable such as @{PROC}".to_owned())
}

/// The rest of `[a-z_]` or `[^0-9]`.
fn class(rest: &mut Peekable<CharIndices<'_>>) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let bad = || "has '[…]' that is not letters, digits, '_', '.' and ascending ranges".to_owned();
    rest.next_if(|(_, c)| *c == '^');
    let mut members = 0_usize;
    loop {
        match rest.next() {
            Some((_, ']')) if members > 0 => return Ok(()),
            Some((_, from)) if plain(from) => {
                members = members.saturating_add(1);
                if rest.next_if(|(_, c)| *c == '-').is_some() {
                    match rest.next() {
                        Some((_, to)) if plain(to) && from <= to => {}
                        _ => return Err(bad()),
                    }
                }
            }
            _ => return Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_that_compile_pass() {
        for path in [
            "/",
            "/**",
            "/etc/passwd",
            "/a+b@c-d_e.f?*",
            "/proc/driver/nvidia/gpus/0000:01:00.0/information",
            "/sys/devices/pci0000:00/**",
            "/dev/nvidia[0-9]*",
            "/[^a-z_.0]x",
            "@{HOME}/.cache/**",
            "/@{x}/y",
            "@{PROC}/@{pid}/status",
            "/a=b~c%d",
            "/usr/lib/a@.service",
        ] {
            assert_eq!(Path::parse(path).unwrap().as_str(), path);
        }
        for path in ["/{a,b}", "/{,a,{b,c}}x", "/My Documents/a", "/{@{x},b}"] {
            let quoted = format!("\"{path}\"");
            assert_eq!(Path::parse(path).unwrap().as_str(), quoted);
        }
    }

    #[test]
    fn what_ends_a_rule_or_does_not_compile_is_refused() {
        for path in [
            "",
            " ",
            "etc",
            "a/b",
            " /a",
            "/a\n",
            "/a\t",
            "/a\0",
            "/a\r",
            "/a,b",
            "/a r,",
            "/a,",
            "/a\"b",
            "/a'b",
            "/a\\b",
            "/a#b",
            "/a!b",
            "/a(b)",
            "/a|b",
            "/a;b",
            "/a&b",
            "/a<b>",
            "/a$b",
            "/a`b",
            "/a^b",
            "/ä",
            "/a\u{a0}b",
            "/a\u{2028}",
            "/{a}",
            "/{}",
            "/{a,b",
            "/a}",
            "/{{a,b}}",
            "/[",
            "/[]",
            "/[^]",
            "/[a",
            "/a]",
            "/[a-]",
            "/[9-0]",
            "/[-a]",
            "/[a/b]",
            "/[[a]]",
            "/..",
            "/a/..",
            "/a/../b",
            "/../a",
            "@{HOME}",
            "@{HOME}x",
            "@{HOME",
            "@HOME/x",
            "/@{}",
            "/@{1a}",
            "/@{a-b}",
            "/@{a",
            "/@{a b}/",
            "@{}/x",
            "owner /x",
            "deny /x",
            "${X}/y",
            "~/x",
            "ptrace (read),",
        ] {
            assert!(Path::parse(path).is_err(), "{path:?}");
        }
        assert!(Path::parse(&format!("/{}", "a".repeat(MAX - 1))).is_ok());
        assert!(Path::parse(&format!("/{}", "a".repeat(MAX))).is_err());
        assert!(Path::parse(&format!("/{}a{}", "{".repeat(11), ",}".repeat(11))).is_err());
    }

    proptest! {
        #[test]
        fn what_passes_is_one_token(text in "(/|@\\{a\\})[a-c/ ,{}\\[\\]^@*?.:#\"\\\\\n-]{0,12}|\\PC{0,8}") {
            if let Ok(path) = Path::parse(&text) {
                let token = path.as_str();
                prop_assert!(token.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
                prop_assert!(!text.contains(['"', '\\', '#', '\'']));
                prop_assert_eq!(token.trim_matches('"'), &text);
                prop_assert_eq!(token.starts_with('"'), token.contains([' ', ',']));
                prop_assert_eq!(token.matches('{').count(), token.matches('}').count());
            }
        }
    }
}
