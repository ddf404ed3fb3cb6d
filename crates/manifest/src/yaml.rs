//! YAML, and so JSON, as a tree of values with their lines.
//!
//! A construct that readers of YAML understand differently (an alias, a tag, a key that occurs
//! twice) is [`Value::Refused`] in its place. A manifest is refused only if it has one in a field
//! that is read. Aliases are not followed, so a tree is never larger than its text.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Tag, options};

use crate::error::{Error, Result, Segment, cut, quoted};
use crate::scalar::plain;

/// How deep values may nest. Manifests have less than 20 levels.
const MAX_DEPTH: usize = 64;

/// The most values in a file. A list of all profiles of a large cluster has some ten thousand.
const MAX_VALUES: usize = 200_000;

/// One value, and the line on which it or its key starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false` without quotes.
    Flag(bool),
    /// A number without quotes. No field of a manifest is a number.
    Number(String),
    /// A word without quotes that is a boolean in YAML 1.1 and text in YAML 1.2.
    Ambiguous(String),
    Text(String),
    List(Vec<Node>),
    Object(BTreeMap<String, Node>),
    Refused(Refusal),
}

/// What is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    Alias,
    Tag(String),
    /// An object with this key twice. Readers differ in which of the two they take.
    Twice(String),
    /// An object with a key that is a list, an object or an alias.
    Key,
}

impl Node {
    /// The value of a key, if this is an object that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Object(entries) => entries.get(key),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The line of the value at this path, or of the last value on the way that is there.
    pub(crate) fn line_of(&self, path: &[Segment]) -> usize {
        let mut node = self;
        for segment in path {
            let next = match (segment, &node.value) {
                (Segment::Key(key), Value::Object(entries)) => entries.get(key),
                (Segment::Index(index), Value::List(items)) => items.get(*index),
                _ => None,
            };
            let Some(next) = next else { break };
            node = next;
        }
        node.line
    }
}

/// The documents of a file.
///
/// # Errors
/// Where the file is not YAML, nests too deep or has too many values.
pub(crate) fn documents(text: &str) -> Result<Vec<Node>> {
    let options = options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut documents = Documents::default();
    let mut values = 0_usize;
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|e| not_yaml(&e))?;
        if event.is_node() {
            values = values.saturating_add(1);
            if values > MAX_VALUES {
                return Err(Error::new(format!("more than {MAX_VALUES} values"))
                    .with_remedy("split the file"));
            }
        }
        documents.take(event, span.start.line());
    }
    Ok(documents.done)
}

fn not_yaml(e: &ScanError) -> Error {
    let error = match e.kind() {
        ErrorKind::RecursionLimitExceeded => {
            Error::new(format!("nests deeper than {MAX_DEPTH} levels"))
        }
        _ => Error::new(format!("not valid YAML: {}", cut(&e.info(), 300))),
    };
    error.with_line(e.marker().line())
}

/// The documents that are read so far.
#[derive(Default)]
struct Documents {
    done: Vec<Node>,
    /// The root of the current document, once it is complete.
    root: Option<Node>,
    /// The lists and objects that the next event is inside of, the innermost last.
    open: Vec<Open>,
}

/// A list or an object that is not complete.
struct Open {
    line: usize,
    items: Items,
    /// The first reason to refuse it as a whole, and its line.
    refused: Option<(Refusal, usize)>,
}

enum Items {
    List(Vec<Node>),
    Object {
        entries: BTreeMap<String, Node>,
        /// The key whose value is next, and its line.
        key: Option<(String, usize)>,
    },
}

impl Documents {
    fn take(&mut self, event: Event<'_>, line: usize) {
        match event {
            Event::DocumentStart(..) => self.root = None,
            Event::DocumentEnd => {
                let root = self.root.take();
                self.done.push(root.unwrap_or(Node {
                    line,
                    value: Value::Null,
                }));
            }
            Event::SequenceStart(_, _, tag) => {
                self.enter(Items::List(Vec::new()), line, tag.as_deref());
            }
            Event::MappingStart(_, _, tag) => {
                let (entries, key) = (BTreeMap::new(), None);
                self.enter(Items::Object { entries, key }, line, tag.as_deref());
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    self.add(open.close());
                }
            }
            Event::Scalar(text, style, _, tag) => self.scalar(&text, style, line, tag.as_deref()),
            Event::Alias(_) => self.add(Node {
                line,
                value: Value::Refused(Refusal::Alias),
            }),
            _ => {}
        }
    }

    fn enter(&mut self, items: Items, line: usize, tag: Option<&Tag>) {
        self.open.push(Open {
            line,
            items,
            refused: tag.map(|tag| (refused_tag(tag), line)),
        });
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, line: usize, tag: Option<&Tag>) {
        if let Some(open) = self.open.last_mut()
            && let Items::Object {
                key: key @ None, ..
            } = &mut open.items
        {
            *key = Some((text.to_owned(), line));
            if let Some(tag) = tag {
                open.refused.get_or_insert((refused_tag(tag), line));
            }
            return;
        }
        let value = match (tag, style) {
            (Some(tag), _) => Value::Refused(refused_tag(tag)),
            (None, ScalarStyle::Plain) => plain(text),
            (None, _) => Value::Text(text.to_owned()),
        };
        self.add(Node { line, value });
    }

    /// Puts a complete value where it belongs.
    fn add(&mut self, mut node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut open.items {
            Items::List(items) => items.push(node),
            Items::Object { entries, key } => match key.take() {
                Some((name, line)) => {
                    if !matches!(node.value, Value::Refused(_)) {
                        node.line = line;
                    }
                    match entries.entry(name) {
                        Entry::Vacant(place) => drop(place.insert(node)),
                        Entry::Occupied(place) => {
                            let twice = Refusal::Twice(place.key().clone());
                            open.refused.get_or_insert((twice, line));
                        }
                    }
                }
                // This value is the key; the next one is its value.
                None => {
                    *key = Some((String::new(), node.line));
                    open.refused.get_or_insert((Refusal::Key, node.line));
                }
            },
        }
    }
}

impl Open {
    fn close(self) -> Node {
        if let Some((refusal, line)) = self.refused {
            return Node {
                line,
                value: Value::Refused(refusal),
            };
        }
        let value = match self.items {
            Items::List(items) => Value::List(items),
            Items::Object { entries, .. } => Value::Object(entries),
        };
        Node {
            line: self.line,
            value,
        }
    }
}

fn refused_tag(tag: &Tag) -> Refusal {
    Refusal::Tag(tag.original())
}

impl Refusal {
    /// The error that a manifest with this value has.
    pub(crate) fn error(&self) -> Error {
        match self {
            Self::Alias => {
                Error::new("an alias is not followed").with_remedy("write the value here")
            }
            Self::Tag(tag) => Error::new(format!("the tag {} is not supported", quoted(tag)))
                .with_remedy("remove the tag"),
            Self::Twice(key) => Error::new(format!("the key {} occurs twice", quoted(key))),
            Self::Key => Error::new("a key is not a string"),
        }
    }
}
