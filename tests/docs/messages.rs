//! `docs/troubleshooting.md` has every message with which something is refused, and no other.
//!
//! The messages are read from the code: what [`Error::new`](oci_apparmor::error::Error) is given,
//! and the remedy behind it. `…` stands for what is filled in. `OCI_APPARMOR_BLESS=1` writes a
//! message that was reworded in the place of the old one, takes out those that are gone, and puts
//! new ones at the end of the page, where the test does not let them stay.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::rust::{self, Code};
use crate::{Words, bless, root, text};

const PAGE: &str = "docs/troubleshooting.md";

/// Where new messages go; a person moves them to the section of their cause.
const UNSORTED: &str = "## Not sorted yet";

/// A message, as far as the code tells before it runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Message {
    line: String,
    file: String,
}

/// The methods that add a remedy.
const REMEDIES: [&str; 3] = [".hint(", ".with_remedy(", ".or_remedy("];

/// How a text starts that says which system call failed, and on what; one section is about all.
const SYSTEM: &str = "cannot ";

fn messages() -> Vec<Message> {
    let sources: Vec<(String, Code)> = rust::files()
        .into_iter()
        .map(|file| (file.name.clone(), Code::new(&file.text)))
        .collect();
    let mut constants = BTreeMap::new();
    for (_, code) in &sources {
        constants.extend(code.constants());
    }
    let mut found = BTreeSet::new();
    for (file, code) in &sources {
        // Those of the file itself come first: two files may have one of the same name.
        let mut constants = constants.clone();
        constants.extend(code.constants());
        let places = code.all("Error::new(").into_iter();
        let reasons = places.flat_map(|at| lines(code, at, &constants));
        let texts = about(code, &constants).into_iter().chain(causes(code));
        for line in reasons.chain(texts) {
            found.insert(Message {
                line,
                file: file.clone(),
            });
        }
    }
    found.into_iter().collect()
}

/// What an error is about, where that is said by a text that stands before the reason.
fn about(code: &Code, constants: &BTreeMap<String, String>) -> Vec<String> {
    let methods = [".within(", ".about("];
    let places = methods
        .iter()
        .flat_map(|method| code.all(method).into_iter().map(|at| at + method.len() - 1));
    let text = |open: usize| {
        let [what] = &code.arguments(open)[..] else {
            return None;
        };
        let what = code.literal(what, open, constants)?;
        let end = code.closing(open) + 1;
        let remedy = code.follows(end, &REMEDIES);
        let remedy = remedy.and_then(|remedy| code.literal(&remedy, open, constants));
        let remedy = remedy.map_or(String::new(), |remedy| format!("; {remedy}"));
        (words(&what) >= 2).then(|| one_line(&format!("{what}: …{remedy}")))
    };
    places.filter_map(text).collect()
}

/// Types that are the reason of a refusal and print themselves.
const CAUSES: [&str; 3] = ["Off", "CannotLoad", "Limit"];

fn causes(code: &Code) -> Vec<String> {
    let named = |at: &usize| {
        let name = code.text()[*at..].split([' ', '{']).nth(2);
        CAUSES.contains(&name.unwrap_or_default())
    };
    let places = code.all("Display for ").into_iter().filter(named);
    places
        .flat_map(|at| code.strings(at + code.text()[at..].find('{').unwrap()))
        .filter(|text| words(text) >= 2)
        .map(|text| one_line(&text))
        .collect()
}

/// Each message of the `Error::new(` at this place: one, or one for each call of the function or
/// closure around it that has the words.
fn lines(code: &Code, at: usize, constants: &BTreeMap<String, String>) -> Vec<String> {
    let open = at + "Error::new".len();
    let arguments = code.arguments(open);
    let (kind, why) = match &arguments[..] {
        // That of a crate which has one kind alone.
        [why] => ("", why),
        [kind, why] if !code.text()[..at].ends_with("io::") => (kind.as_str(), why),
        _ => return Vec::new(),
    };
    let end = code.closing(open) + 1;
    let remedy = code.follows(end, &REMEDIES);
    let around = code.around(at);
    let calls = match &around {
        Some(around) => code.calls(around),
        None => Vec::new(),
    };
    // Without any call that has a text of its own, once with nothing filled in.
    let filled = calls.iter().map(|(call, end)| {
        let names = around.iter().flat_map(|around| &around.parameters);
        let values = names.cloned().zip(call.iter().map(|value| {
            let value = code.literal(value, at, constants);
            value.unwrap_or_else(|| "…".to_owned())
        }));
        let values = values.collect::<BTreeMap<_, _>>();
        (
            values,
            remedy.clone().or_else(|| code.follows(*end, &REMEDIES)),
        )
    });
    let mut all: Vec<_> = filled.collect();
    all.push((BTreeMap::new(), remedy.clone()));
    let lines: Vec<(usize, String)> = all
        .iter()
        .map(|(values, remedy)| {
            let mut known = constants.clone();
            known.extend(values.clone());
            let read = |text: &str| {
                code.literal(text, at, &known)
                    .unwrap_or_else(|| "…".to_owned())
            };
            let why = read(why);
            let line = match remedy {
                Some(remedy) => format!("{why}; {}", read(remedy)),
                None => why,
            };
            (words(&line), one_line(&line))
        })
        .filter(|(words, line)| {
            let system = kind.ends_with("Internal") && line.starts_with(SYSTEM);
            *words >= 2 && !system
        })
        .collect();
    // What a call fills in says more than the same with nothing filled in.
    let most = lines.iter().map(|(words, _)| *words).max().unwrap_or(0);
    let bare = lines.last().map_or(0, |(words, _)| *words);
    let specific = lines.len() > 1 && most > bare;
    let count = lines.len();
    lines
        .into_iter()
        .enumerate()
        .filter(|(n, (words, _))| !specific || (*n + 1 < count && *words > bare))
        .map(|(_, (_, line))| line)
        .collect()
}

/// How many words a text has that are not filled in.
fn words(text: &str) -> usize {
    let letters = |word: &&str| word.chars().any(char::is_alphabetic);
    text.split_whitespace().filter(letters).count()
}

fn one_line(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    while line.contains("……") {
        line = line.replace("……", "…");
    }
    line
}

/// The lines of the page that are in blocks.
fn described(page: &str) -> Vec<&str> {
    let mut inside = false;
    page.lines()
        .filter(|line| {
            let fence = line.starts_with("```");
            inside ^= fence;
            inside && !fence
        })
        .collect()
}

#[test]
fn each_message_is_described_and_no_other() {
    let messages = messages();
    assert!(messages.len() > 100, "{}", messages.len());
    let page = text(PAGE);
    let said: Words = messages.iter().map(|m| m.line.clone()).collect();
    let shown: Words = described(&page).into_iter().map(str::to_owned).collect();
    let missing: Vec<&String> = said.difference(&shown).collect();
    let stale: Vec<&String> = shown.difference(&said).collect();
    if bless() {
        let new = blessed(&page, missing, stale);
        fs::write(Path::new(&root()).join(PAGE), new).unwrap();
        return;
    }
    let file = |line: &str| {
        messages
            .iter()
            .find(|m| m.line == line)
            .unwrap()
            .file
            .clone()
    };
    for line in &missing {
        eprintln!("missing ({}): {line}", file(line));
    }
    for line in &stale {
        eprintln!("stale: {line}");
    }
    assert!(
        missing.is_empty() && stale.is_empty(),
        "{PAGE}: {} missing, {} stale; OCI_APPARMOR_BLESS=1 changes the page",
        missing.len(),
        stale.len()
    );
    assert!(!page.contains(UNSORTED), "{PAGE} has {UNSORTED}");
}

/// The page with the new wording in the place of the old one, and what is new behind what it is
/// most like.
fn blessed(page: &str, missing: Vec<&String>, stale: Vec<&String>) -> String {
    let mut pairs: Vec<(f64, &String, &String)> = Vec::new();
    for old in &stale {
        let alike = missing.iter().map(|new| (likeness(old, new), *old, *new));
        pairs.extend(alike.filter(|(likeness, ..)| *likeness > 0.3));
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut reworded: BTreeMap<&String, &String> = BTreeMap::new();
    for (_, old, new) in pairs {
        if !reworded.contains_key(old) && reworded.values().all(|taken| *taken != new) {
            reworded.insert(old, new);
        }
    }
    let mut lines: Vec<String> = Vec::new();
    for line in page.lines() {
        match stale.iter().find(|old| old.as_str() == line) {
            None => lines.push(line.to_owned()),
            Some(old) => lines.extend(reworded.get(old).map(|new| (*new).clone())),
        }
    }
    let mut unsorted = Vec::new();
    for new in missing {
        if reworded.values().any(|taken| *taken == new) {
            continue;
        }
        let whole = lines.join("\n");
        let alike = described(&whole)
            .into_iter()
            .map(|line| (likeness(line, new), line))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        match alike.filter(|(likeness, _)| *likeness > 0.3) {
            Some((_, line)) => {
                let at = lines.iter().position(|known| known == line).unwrap();
                lines.insert(at + 1, new.clone());
            }
            None => unsorted.push(new.clone()),
        }
    }
    if !unsorted.is_empty() {
        if !page.contains(UNSORTED) {
            lines.extend(["".to_owned(), UNSORTED.to_owned()]);
        }
        lines.extend(["".to_owned(), "```text".to_owned()]);
        lines.extend(unsorted);
        lines.push("```".to_owned());
    }
    lines.join("\n") + "\n"
}

/// Which part of the words of both texts they have in common; short words say nothing.
fn likeness(a: &str, b: &str) -> f64 {
    let words = |text: &str| -> Words {
        let words = text.split(|c: char| !c.is_alphanumeric());
        words.filter(|w| w.len() > 3).map(str::to_owned).collect()
    };
    let (a, b) = (words(a), words(b));
    let both = a.intersection(&b).count();
    both as f64 / a.union(&b).count().max(1) as f64
}

#[test]
fn messages_are_read_from_the_code_as_they_will_be_printed() {
    let code = Code::new(
        r#"
        const KEY: &str = "the-key";
        fn plain() -> Error {
            Error::new(Kind::Policy, "a \"quoted\" text \
                goes on").hint(format!("use {KEY} or {}", other))
        }
        fn by_call() {
            let refused = |why: String| Error::new(Kind::Policy, format!("it is refused: {why}"));
            refused("it is first".to_owned()).hint("leave it");
            refused(format!("it is {}", second));
        }
        fn system() {
            Error::new(Kind::Internal, format!("cannot read {}", path));
        }
        "#,
    );
    let constants = code.constants().into_iter().collect();
    let all: Vec<String> = code
        .all("Error::new(")
        .into_iter()
        .flat_map(|at| lines(&code, at, &constants))
        .collect();
    assert_eq!(
        all,
        [
            "a \"quoted\" text goes on; use the-key or …",
            "it is refused: it is first; leave it",
            "it is refused: it is …",
        ]
    );
}
