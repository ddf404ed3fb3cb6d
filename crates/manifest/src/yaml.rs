//! YAML (and so JSON) as a tree, as far as a manifest needs it.
//!
//! Read by Kubernetes' rules where readers of YAML disagree, and not at all where a wrong guess
//! could change a policy: such a value is [`Node::Unusable`], with the reason, and a manifest that
//! has one where it matters is refused. Aliases are among them. So no value is ever larger than
//! its own text, and the "billion laughs" of YAML cannot be told here.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use granit_parser::{Event, Parser, ScalarStyle, Tag, options};

use crate::error::{Error, Result, cut, quoted};

/// How deep values may stand in each other; manifests need less than 20 levels.
const MAX_DEPTH: usize = 64;

/// The most values in a file. A list of every profile of a big cluster has some ten thousands.
const MAX_VALUES: usize = 200_000;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// An object.
    Object(BTreeMap<String, Node>),
    /// What is not used here, and why.
    Unusable(String),
}

/// A list or an object whose end was not seen yet.
enum Open {
    List(Vec<Node>, Option<String>),
    Object {
        entries: BTreeMap<String, Node>,
        key: Option<String>,
        /// Why the object as a whole cannot be used.
        bad: Option<String>,
    },
}

/// The documents of a file.
///
/// # Errors
/// Where it is no YAML, nests too deep or holds too much.
pub(crate) fn documents(text: &str) -> Result<Vec<Node>> {
    let options = options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut documents = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    let mut values = 0_usize;
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, _) = event.map_err(|e| no_yaml(&cut(&e.to_string(), 300)))?;
        if event.is_node() {
            values = values.saturating_add(1);
            if values > MAX_VALUES {
                return Err(no_yaml(&format!("it has more than {MAX_VALUES} values")));
            }
        }
        let done = match event {
            Event::DocumentStart(..) => {
                root = None;
                continue;
            }
            Event::DocumentEnd => {
                documents.push(root.take().unwrap_or(Node::Null));
                continue;
            }
            Event::SequenceStart(_, _, tag) => {
                open.push(Open::List(Vec::new(), tagged(tag.as_deref())));
                continue;
            }
            Event::MappingStart(_, _, tag) => {
                open.push(Open::Object {
                    entries: BTreeMap::new(),
                    key: None,
                    bad: tagged(tag.as_deref()),
                });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(open) => closed(open),
                None => continue,
            },
            Event::Scalar(text, style, _, tag) => match (open.last_mut(), tagged(tag.as_deref())) {
                (
                    Some(Open::Object {
                        key: key @ None,
                        bad,
                        ..
                    }),
                    tagged,
                ) => {
                    if tagged.is_some() {
                        *bad = tagged;
                    }
                    *key = Some(text.into_owned());
                    continue;
                }
                (_, Some(bad)) => Node::Unusable(bad),
                (_, None) if style == ScalarStyle::Plain => plain(&text),
                (_, None) => Node::Text(text.into_owned()),
            },
            Event::Alias(_) => {
                Node::Unusable("it is an alias (*NAME), which is not followed here".to_owned())
            }
            _ => continue,
        };
        match open.last_mut() {
            None => root = Some(done),
            Some(Open::List(items, _)) => items.push(done),
            Some(Open::Object { entries, key, bad }) => match key.take() {
                Some(name) => match entries.entry(name) {
                    Entry::Vacant(place) => {
                        place.insert(done);
                    }
                    // Readers differ in which one they take.
                    Entry::Occupied(place) => {
                        *bad = Some(format!("it has {} twice", quoted(place.key())));
                    }
                },
                // An alias, a list or an object in the place of a key; its value follows.
                None => {
                    *key = Some(String::new());
                    *bad = Some("it has a key that is no text".to_owned());
                }
            },
        }
    }
    Ok(documents)
}

fn no_yaml(why: &str) -> Error {
    Error::new(format!("it cannot be read as YAML: {why}"))
}

fn closed(open: Open) -> Node {
    match open {
        Open::List(_, Some(bad)) | Open::Object { bad: Some(bad), .. } => Node::Unusable(bad),
        Open::List(items, None) => Node::List(items),
        Open::Object { entries, .. } => Node::Object(entries),
    }
}

/// Why a tagged value is not used: what `!!binary` or `!x` make of it is the reader's affair.
fn tagged(tag: Option<&Tag>) -> Option<String> {
    tag.map(|tag| format!("it has the tag {}", quoted(&tag.original())))
}

/// What a word without quotes is to Kubernetes, which reads YAML 1.1, and to readers of YAML 1.2.
fn plain(word: &str) -> Node {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => Node::Null,
        "true" | "True" | "TRUE" => Node::Flag(true),
        "false" | "False" | "FALSE" => Node::Flag(false),
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "n" | "N" | "no" | "No" | "NO"
        | "off" | "Off" | "OFF" => Node::Unusable(format!(
            "{word}, without quotes, is a boolean to some readers of YAML and a word to others"
        )),
        _ if is_number(word) => {
            Node::Unusable(format!("{} has no quotes and is a number", quoted(word)))
        }
        _ => Node::Text(word.to_owned()),
    }
}

/// Whether any reader takes the word for a number.
fn is_number(word: &str) -> bool {
    let unsigned = word.trim_start_matches(['+', '-']);
    if matches!(unsigned.to_ascii_lowercase().as_str(), ".inf" | ".nan") {
        return true;
    }
    let digits: String = unsigned.chars().filter(|c| *c != '_').collect();
    let of_base = |prefix: &str, base: u32| {
        digits
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(base)))
    };
    if of_base("0x", 16) || of_base("0o", 8) || of_base("0b", 2) {
        return true;
    }
    // Rust's grammar of floats is that of YAML, with words that must not count.
    let floats = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.parse::<f64>().is_ok();
    // 1:30 is ninety to YAML 1.1.
    let sexagesimal = digits.contains(':')
        && digits
            .split(':')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    floats || sexagesimal
}
