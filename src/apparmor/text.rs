//! The text of a profile, taken apart into statements with their lines.
//!
//! This is no second compiler: nothing that decides whether a container runs, or under what, comes
//! from here. It tells `lint` where a rule stands and what it says, of a text that the real parser
//! has accepted. What it gets wrong is a hint too few or too many. It knows what would fool a
//! search for words: comments, quotes, `{a,b}` and commas in names (parser_lex.l).

mod tokens;

use std::collections::BTreeMap;

use tokens::{Token, Tokens};

/// The statements of a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Its profiles, children and hats too, in the order in which they begin.
    pub profiles: Vec<Profile>,
    /// The rules of its profiles.
    pub rules: Vec<Rule>,
    /// Its includes; a flattened text has none.
    pub includes: Vec<Include>,
    /// Whether an `abi` stands before the first profile.
    pub abi: bool,
    variables: BTreeMap<String, Vec<String>>,
}

/// Where a profile begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name as it is written, without quotes; `parent//child` of a child or a hat.
    pub name: String,
    /// Its line, counted from 1.
    pub line: usize,
}

/// One rule of a profile.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its line, counted from 1.
    pub line: usize,
    /// The index of its profile.
    pub profile: usize,
    /// Whether it denies.
    pub deny: bool,
    /// Its words behind `audit`, `deny`, `owner` and the like. A group in parentheses is one
    /// word, and so is `key=value`; quotes are gone.
    pub words: Vec<String>,
}

/// One include.
#[derive(Debug, PartialEq, Eq)]
pub struct Include {
    /// Its line, counted from 1.
    pub line: usize,
    /// What it includes, as it is written: with `<>` or quotes.
    pub target: String,
}

/// The qualifiers that may stand before a rule, or before a block of rules.
fn qualifies(word: &str) -> bool {
    matches!(
        word,
        "audit" | "deny" | "allow" | "quiet" | "prompt" | "access" | "owner" | "other"
    ) || word.starts_with("priority=")
}

/// Whether a statement begins like the assignment of a variable: `@{x} = a b`, `@{x}+=c`.
fn assigns(text: &str) -> bool {
    let rest = text.strip_prefix("@{").and_then(|t| t.split_once('}'));
    rest.is_some_and(|(_, rest)| {
        let rest = rest.trim_start();
        rest.starts_with('=') || rest.starts_with("+=")
    })
}

/// What a brace opened.
#[derive(Debug, Clone, Copy)]
enum Block {
    Profile(usize),
    /// A block that only groups rules; whether it denies them.
    Group(bool),
}

impl Text {
    /// Takes a text apart.
    #[must_use]
    pub fn scan(text: &str) -> Self {
        let mut scanned = Self::default();
        let mut open: Vec<Block> = Vec::new();
        let mut pending: Vec<String> = Vec::new();
        let mut line = 0;
        for token in Tokens::of(text) {
            match token {
                Token::Word(at, word) => {
                    if pending.is_empty() {
                        line = at;
                    }
                    match pending.last_mut() {
                        // `peer = runc` and `peer=runc` are the same.
                        Some(last) if last.ends_with('=') || word.starts_with('=') => {
                            last.push_str(&word);
                        }
                        _ => pending.push(word),
                    }
                }
                Token::Include(at, target) => scanned.includes.push(Include { line: at, target }),
                // Assignments have no comma at their end.
                Token::Newline => {
                    if assigns(&pending.join(" ")) {
                        scanned.assign(&std::mem::take(&mut pending));
                    }
                }
                Token::Comma => scanned.rule(&open, line, std::mem::take(&mut pending)),
                Token::Open => {
                    let words = std::mem::take(&mut pending);
                    open.push(scanned.opened(&open, line, &words));
                }
                Token::Close => {
                    scanned.rule(&open, line, std::mem::take(&mut pending));
                    open.pop();
                }
            }
        }
        scanned
    }

    /// The index of the profile of this name.
    #[must_use]
    pub fn profile(&self, name: &str) -> Option<usize> {
        self.profiles.iter().position(|p| p.name == name)
    }

    /// The line of the profile of this name.
    #[must_use]
    pub fn line_of(&self, name: &str) -> Option<usize> {
        self.profiles
            .iter()
            .find(|p| p.name == name)
            .map(|p| p.line)
    }

    /// The texts that `pattern` stands for, with its variables and `{a,b}` replaced; at most some
    /// hundred. What has an unknown variable stands for nothing.
    #[must_use]
    pub fn expand(&self, pattern: &str) -> Vec<String> {
        const MOST: usize = 256;
        const LONGEST: usize = 4096;
        let mut done = Vec::new();
        let mut pending = vec![pattern.to_owned()];
        for _ in 0..MOST {
            let Some(text) = pending.pop() else { break };
            if text.len() > LONGEST {
                continue;
            }
            if let Some((before, rest)) = text.split_once("@{") {
                let (name, after) = rest.split_once('}').unwrap_or((rest, ""));
                let values = self.variables.get(name).into_iter().flatten();
                pending.extend(values.map(|value| format!("{before}{value}{after}")));
            } else if let Some((before, rest)) = text.split_once('{') {
                let (choices, after) = alternatives(rest);
                pending.extend(choices.iter().map(|c| format!("{before}{c}{after}")));
            } else {
                done.push(text);
            }
        }
        done
    }

    fn assign(&mut self, words: &[String]) {
        let text = words.join(" ");
        let Some((name, values)) = text.split_once('=') else {
            return;
        };
        let name = name.trim_end_matches('+').trim();
        let name = name.trim_start_matches("@{").trim_end_matches('}');
        let values = values.split_whitespace().map(str::to_owned);
        self.variables
            .entry(name.to_owned())
            .or_default()
            .extend(values);
    }

    /// What a brace behind these words opens.
    fn opened(&mut self, open: &[Block], line: usize, words: &[String]) -> Block {
        let first = words.first().map_or("", String::as_str);
        if matches!(first, "if" | "else") || words.iter().all(|w| qualifies(w)) {
            let outside = open.last().is_some_and(|b| matches!(b, Block::Group(true)));
            return Block::Group(outside || words.iter().any(|w| w == "deny"));
        }
        let name = match first {
            "profile" | "hat" => words.get(1).map_or("", String::as_str),
            _ => first.trim_start_matches('^'),
        };
        let name = match innermost(open).and_then(|parent| self.profiles.get(parent)) {
            Some(parent) => format!("{}//{name}", parent.name),
            None => name.to_owned(),
        };
        self.profiles.push(Profile { name, line });
        Block::Profile(self.profiles.len().saturating_sub(1))
    }

    fn rule(&mut self, open: &[Block], line: usize, words: Vec<String>) {
        let Some(profile) = innermost(open) else {
            self.abi |= self.profiles.is_empty() && words.first().is_some_and(|w| w == "abi");
            return;
        };
        let denying = matches!(open.last(), Some(Block::Group(true)));
        let qualifiers = words.iter().take_while(|w| qualifies(w)).count();
        let deny = denying || words.iter().take(qualifiers).any(|w| w == "deny");
        let words: Vec<String> = words.into_iter().skip(qualifiers).collect();
        if words.first().is_some_and(|w| w != "abi") {
            self.rules.push(Rule {
                line,
                profile,
                deny,
                words,
            });
        }
    }
}

/// The profile that a rule at this place belongs to.
fn innermost(open: &[Block]) -> Option<usize> {
    open.iter().rev().find_map(|block| match block {
        Block::Profile(index) => Some(*index),
        Block::Group(_) => None,
    })
}

/// The choices of `a,b{c,d}}rest`, where the first brace is open, and the rest.
fn alternatives(text: &str) -> (Vec<String>, String) {
    let mut choices = vec![String::new()];
    let mut depth: usize = 0;
    let mut characters = text.chars();
    for c in characters.by_ref() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => {
                choices.push(String::new());
                continue;
            }
            '{' => depth = depth.saturating_add(1),
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if let Some(last) = choices.last_mut() {
            last.push(c);
        }
    }
    (choices, characters.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &Text) -> Vec<(usize, bool, String)> {
        let one = |r: &Rule| (r.line, r.deny, r.words.join(" "));
        text.rules.iter().map(one).collect()
    }

    #[test]
    fn statements_are_found_with_their_lines() {
        let text = Text::scan(
            "# deny /a r,\nabi <abi/3.0>,\ninclude <tunables/global>\n\
             @{apps} = runc crun # not this\n@{apps}+={podman} {x,y}\n\
             profile web flags=(complain, audit) {\n\
             \x20 #include <abstractions/base>\n  include if exists \"/etc/x y\"\n\
             \x20 /{a,b}/c,d r, # deny /no r,\n  deny\n /e \"w\",\n  audit deny /f#g wl,\n\
             \x20 signal(send, receive) set=(\"term\", kill) peer = @{apps},\n\
             \x20 deny \"/with, a # sign\" r,\n\
             \x20 ^hat { owner /h r, }\n\
             \x20 deny { /i r, }\n  if defined @{x} { /j r, }\n\
             }\nprofile \"o t\" /bin/x{,y} { }\n/bin/z { /k r, }\n",
        );
        let names: Vec<_> = text.profiles.iter().map(|p| (p.line, &*p.name)).collect();
        assert_eq!(
            names,
            [(6, "web"), (15, "web//hat"), (19, "o t"), (20, "/bin/z")]
        );
        assert!(text.abi);
        let includes: Vec<_> = text.includes.iter().map(|i| (i.line, &*i.target)).collect();
        assert_eq!(
            includes,
            [
                (3, "<tunables/global>"),
                (7, "<abstractions/base>"),
                (8, "\"/etc/x y\"")
            ]
        );
        let rules = [
            (9, false, "/{a,b}/c,d r"),
            (10, true, "/e w"),
            (12, true, "/f#g wl"),
            (
                13,
                false,
                "signal (send, receive) set=(term, kill) peer=@{apps}",
            ),
            (14, true, "/with, a # sign r"),
            (15, false, "/h r"),
            (16, true, "/i r"),
            (17, false, "/j r"),
            (20, false, "/k r"),
        ];
        let found = words(&text);
        let found: Vec<_> = found.iter().map(|(l, d, w)| (*l, *d, &**w)).collect();
        assert_eq!(found, rules);
        assert_eq!(text.rules[5].profile, 1);
        assert_eq!(text.line_of("o t"), Some(19));
        let mut apps = text.expand("@{apps}");
        apps.sort();
        assert_eq!(apps, ["crun", "podman", "runc", "x", "y"]);
    }

    #[test]
    fn an_abi_counts_only_before_the_first_profile() {
        assert!(!Text::scan("profile x { abi <abi/3.0>,\n}\n").abi);
        assert!(!Text::scan("profile x { }\nabi <abi/3.0>,").abi);
        assert!(!Text::scan("# abi <abi/3.0>,\nprofile x { }").abi);
        assert!(Text::scan("abi \"/etc/x\",profile x { }").abi);
    }

    #[test]
    fn patterns_are_expanded() {
        let mut all = Text::default().expand("{,/usr/{,s}bin/}run{c,}");
        all.sort();
        assert_eq!(
            all,
            [
                "/usr/bin/run",
                "/usr/bin/runc",
                "/usr/sbin/run",
                "/usr/sbin/runc",
                "run",
                "runc"
            ]
        );
        assert!(Text::default().expand("@{unknown}").is_empty());
        let endless = Text::scan("@{a} = @{a}@{a} @{a}\n");
        assert!(endless.expand("@{a}").is_empty());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a#/,{}()\"@=\\\\ \n<>]{0,60}|\\PC{0,40}") {
            let scanned = Text::scan(&text);
            for rule in &scanned.rules {
                prop_assert!(rule.profile < scanned.profiles.len());
                prop_assert!(scanned.expand(&rule.words.concat()).len() <= 256);
            }
        }
    }
}
