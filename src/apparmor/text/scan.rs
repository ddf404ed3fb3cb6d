//! The statements of a text.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::apparmor::text::expand::expand;
use crate::apparmor::text::tokens::{Token, Tokens, assigns};

/// The statements of a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ProfileText {
    /// Its profiles, with children and hats, in the order of the text.
    pub profiles: Vec<Profile>,
    /// The rules of its profiles.
    pub rules: Vec<ProfileRule>,
    /// Its includes.
    pub includes: Vec<Include>,
    /// Whether an `abi` statement precedes the first profile.
    pub abi: bool,
    variables: BTreeMap<String, Vec<String>>,
}

/// The start of a profile.
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name as written, without quotes; `parent//child` for a child or a hat.
    pub name: String,
    /// Its line, counted from 1.
    pub line: usize,
    /// The bytes from its first word up to its open brace.
    pub header: Range<usize>,
    /// Where the parenthesis of its flags closes, if it has flags.
    pub flags_end: Option<usize>,
    /// The bytes between its braces.
    pub body: Range<usize>,
}

/// One rule of a profile.
#[derive(Debug, PartialEq, Eq)]
pub struct ProfileRule {
    /// Its line, counted from 1.
    pub line: usize,
    /// Its bytes, without the comma.
    pub place: Range<usize>,
    /// The index of its profile.
    pub profile: usize,
    /// Whether it is a `deny` rule.
    pub deny: bool,
    /// Its qualifiers, for example `audit`, `deny` and `owner`, with those of the blocks around it.
    pub qualifiers: Vec<String>,
    /// Its bytes behind its qualifiers, without the comma.
    pub unqualified: Range<usize>,
    /// Whether it stands in an `if` block.
    pub conditional: bool,
    /// Its words after the qualifiers, without quotes. A group in parentheses is one word, and so is
    /// `key=value`.
    pub words: Vec<String>,
}

/// One include.
#[derive(Debug, PartialEq, Eq)]
pub struct Include {
    /// Its line, counted from 1.
    pub line: usize,
    /// Its target as written, with `<>` or quotes.
    pub target: String,
    /// The index of the profile that it stands in.
    pub profile: Option<usize>,
    /// Whether it stands in an `if` block.
    pub conditional: bool,
}

/// Whether a word may precede a rule or a block of rules.
fn qualifies(word: &str) -> bool {
    matches!(
        word,
        "audit" | "deny" | "allow" | "quiet" | "prompt" | "access" | "owner" | "other"
    ) || word.starts_with("priority=")
}

/// What an open brace belongs to.
#[derive(Debug, Clone)]
enum Block {
    Profile(usize),
    /// A block of rules with these qualifiers.
    Group(Vec<String>),
    /// An `if` block.
    Conditional,
}

impl ProfileText {
    /// Splits a text into statements.
    #[must_use]
    pub fn scan(text: &str) -> Self {
        let mut scanned = Self::default();
        let mut open: Vec<Block> = Vec::new();
        let mut pending = Statement::default();
        let mut tokens = Tokens::of(text);
        while let Some(token) = tokens.next() {
            let place = tokens.place();
            match token {
                Token::Word(line, word) => pending.push(line, place, word),
                Token::Include(at, target) => scanned.includes.push(Include {
                    line: at,
                    target,
                    profile: innermost(&open),
                    conditional: is_conditional(&open),
                }),
                // An assignment ends with its line, not with a comma.
                Token::Newline => {
                    if assigns(&pending.words.join(" ")) {
                        scanned.assign(&std::mem::take(&mut pending).words);
                    }
                }
                Token::Comma => scanned.rule(&open, std::mem::take(&mut pending)),
                Token::Open => {
                    let statement = std::mem::take(&mut pending);
                    open.push(scanned.opened(&open, &statement, &place));
                }
                Token::Close => {
                    scanned.rule(&open, std::mem::take(&mut pending));
                    scanned.closed(open.pop(), &place);
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

    /// The texts that `pattern` stands for, at most 256: variables and `{a,b}` are expanded. A
    /// pattern with an unknown variable stands for none.
    #[must_use]
    pub fn expand(&self, pattern: &str) -> Vec<String> {
        expand(pattern, &self.variables)
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

    /// Handles an open brace after a statement.
    fn opened(&mut self, open: &[Block], statement: &Statement, brace: &Range<usize>) -> Block {
        let words = &statement.words;
        let first = words.first().map_or("", String::as_str);
        if matches!(first, "if" | "else") {
            return Block::Conditional;
        }
        if words.iter().all(|w| qualifies(w)) {
            return Block::Group(words.clone());
        }
        let name = match first {
            "profile" | "hat" => words.get(1).map_or("", String::as_str),
            _ => first.trim_start_matches('^'),
        };
        let name = match innermost(open).and_then(|parent| self.profiles.get(parent)) {
            Some(parent) => format!("{}//{name}", parent.name),
            None => name.to_owned(),
        };
        // Flags stand last (`flags`, parser_yacc.y); the word before them may be missing.
        let has_flags = |last: &String| {
            last.ends_with(')') && (last.starts_with('(') || last.starts_with("flags="))
        };
        let flags_end = words.last().is_some_and(has_flags);
        self.profiles.push(Profile {
            name,
            line: statement.line,
            header: statement.place.start..brace.start,
            flags_end: flags_end.then(|| statement.place.end.saturating_sub(1)),
            // Up to the closing brace, once that is known.
            body: brace.end..brace.end,
        });
        Block::Profile(self.profiles.len().saturating_sub(1))
    }

    /// Handles a closing brace.
    fn closed(&mut self, block: Option<Block>, brace: &Range<usize>) {
        if let Some(Block::Profile(index)) = block
            && let Some(profile) = self.profiles.get_mut(index)
        {
            profile.body.end = brace.start;
        }
    }

    fn rule(&mut self, open: &[Block], statement: Statement) {
        let Some(profile) = innermost(open) else {
            let first = statement.words.first();
            self.abi |= self.profiles.is_empty() && first.is_some_and(|w| w == "abi");
            return;
        };
        let mut qualifiers = qualifiers_around(open);
        let own = statement.words.iter().take_while(|w| qualifies(w)).count();
        let Statement {
            line,
            place,
            mut words,
            starts,
        } = statement;
        qualifiers.extend(words.drain(..own));
        if words.first().is_some_and(|w| w != "abi") {
            self.rules.push(ProfileRule {
                line,
                unqualified: starts.get(own).copied().unwrap_or(place.end)..place.end,
                place,
                profile,
                deny: qualifiers.iter().any(|w| w == "deny"),
                qualifiers,
                conditional: is_conditional(open),
                words,
            });
        }
    }
}

/// The words of a statement that is not finished.
#[derive(Debug, Default)]
struct Statement {
    line: usize,
    place: Range<usize>,
    words: Vec<String>,
    /// Where each word begins.
    starts: Vec<usize>,
}

impl Statement {
    fn push(&mut self, line: usize, place: Range<usize>, word: String) {
        if self.words.is_empty() {
            self.line = line;
            self.place.start = place.start;
        }
        self.place.end = place.end;
        match self.words.last_mut() {
            // `peer = runc` means `peer=runc`.
            Some(last) if last.ends_with('=') || word.starts_with('=') => last.push_str(&word),
            _ => {
                self.words.push(word);
                self.starts.push(place.start);
            }
        }
    }
}

/// The qualifiers of the blocks around a rule, up to its profile.
fn qualifiers_around(open: &[Block]) -> Vec<String> {
    let inside = open.iter().rposition(|b| matches!(b, Block::Profile(_)));
    let groups = open
        .iter()
        .skip(inside.map_or(0, |at| at.saturating_add(1)));
    groups
        .filter_map(|block| match block {
            Block::Group(words) => Some(words.clone()),
            _ => None,
        })
        .flatten()
        .collect()
}

/// Whether an `if` block is around a rule, or around its profile.
fn is_conditional(open: &[Block]) -> bool {
    open.iter().any(|b| matches!(b, Block::Conditional))
}

/// The innermost open profile, which a rule belongs to.
fn innermost(open: &[Block]) -> Option<usize> {
    open.iter().rev().find_map(|block| match block {
        Block::Profile(index) => Some(*index),
        Block::Group(_) | Block::Conditional => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &ProfileText) -> Vec<(usize, bool, String)> {
        let one = |r: &ProfileRule| (r.line, r.deny, r.words.join(" "));
        text.rules.iter().map(one).collect()
    }

    #[test]
    fn statements_are_found_with_their_lines() {
        let text = ProfileText::scan(
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
        let qualified = |index: usize| text.rules[index].qualifiers.join(" ");
        assert_eq!(
            [2, 5, 6, 8].map(qualified),
            ["audit deny", "owner", "deny", ""]
        );
        assert!(text.rules[7].conditional && !text.rules[6].conditional);
        let inside: Vec<_> = text.includes.iter().map(|i| i.profile).collect();
        assert_eq!(inside, [None, Some(0), Some(0)]);
        assert_eq!(text.line_of("o t"), Some(19));
        let mut apps = text.expand("@{apps}");
        apps.sort();
        assert_eq!(apps, ["crun", "podman", "runc", "x", "y"]);
    }

    #[test]
    fn places_are_those_in_the_text() {
        let text = "# \u{e9}: {\nprofile \"o t\" /bin/{a,b} flags = ( complain ) {\n  /x r,\n\
                    \x20 ^hat (audit) {\n    owner /h, r,\n  }\n}\n/bin/z xattrs=(a=b) { /k r }\n\
                    profile open {";
        let scanned = ProfileText::scan(text);
        let at = |range: &Range<usize>| text.get(range.clone()).unwrap();
        let profiles = scanned.profiles.iter().map(|p| {
            let flags = p.flags_end.map(|end| text.get(end..=end).unwrap());
            (at(&p.header).trim_end(), flags, at(&p.body).trim())
        });
        assert_eq!(
            profiles.collect::<Vec<_>>(),
            [
                (
                    "profile \"o t\" /bin/{a,b} flags = ( complain )",
                    Some(")"),
                    "/x r,\n  ^hat (audit) {\n    owner /h, r,\n  }"
                ),
                ("^hat (audit)", Some(")"), "owner /h, r,"),
                ("/bin/z xattrs=(a=b)", None, "/k r"),
                ("profile open", None, ""),
            ]
        );
        let rules: Vec<&str> = scanned.rules.iter().map(|r| at(&r.place)).collect();
        assert_eq!(rules, ["/x r", "owner /h", "r", "/k r"]);
    }

    #[test]
    fn an_abi_counts_only_before_the_first_profile() {
        assert!(!ProfileText::scan("profile x { abi <abi/3.0>,\n}\n").abi);
        assert!(!ProfileText::scan("profile x { }\nabi <abi/3.0>,").abi);
        assert!(!ProfileText::scan("# abi <abi/3.0>,\nprofile x { }").abi);
        assert!(ProfileText::scan("abi \"/etc/x\",profile x { }").abi);
    }

    #[test]
    fn patterns_are_expanded() {
        let mut all = ProfileText::default().expand("{,/usr/{,s}bin/}run{c,}");
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
        assert!(ProfileText::default().expand("@{unknown}").is_empty());
        let endless = ProfileText::scan("@{a} = @{a}@{a} @{a}\n");
        assert!(endless.expand("@{a}").is_empty());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a#/,{}()\"@=\\\\ \n<>]{0,60}|\\PC{0,40}") {
            let scanned = ProfileText::scan(&text);
            for rule in &scanned.rules {
                prop_assert!(rule.profile < scanned.profiles.len());
                prop_assert!(text.get(rule.place.clone()).is_some());
                prop_assert!(scanned.expand(&rule.words.concat()).len() <= 256);
            }
            for profile in &scanned.profiles {
                let places = [&profile.header, &profile.body];
                prop_assert!(places.iter().all(|place| text.get((*place).clone()).is_some()));
                prop_assert!(profile.flags_end.is_none_or(|end| text.get(end..).unwrap().starts_with(')')));
            }
        }
    }
}
