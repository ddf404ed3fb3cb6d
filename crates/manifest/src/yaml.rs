//! YAML, and so JSON, as a tree of values with their lines.
//!
//! A construct that readers of YAML understand differently (an alias, a tag, a key that occurs
//! twice) is [`Value::Refused`] in its place. A manifest is refused only if it has one in a field
//! that is read. Aliases are not followed, so a tree is never larger than its text.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Tag, options};

use crate::error::{Error, Result, cut, quoted};
use crate::scalar::plain;
use crate::tree::{Refusal, Value, YamlNode};

/// How deep values may nest. Manifests have less than 20 levels.
const MAX_DEPTH: usize = 64;

/// The most values in a file. A list of all profiles of a large cluster has some ten thousand.
const MAX_VALUES: usize = 200_000;

/// The documents of a file.
///
/// # Errors
/// Where the file is not YAML, nests too deep or has too many values.
pub(crate) fn documents(text: &str) -> Result<Vec<YamlNode>> {
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
    done: Vec<YamlNode>,
    /// The root of the current document, once it is complete.
    root: Option<YamlNode>,
    /// The lists and objects that the next event is inside of, the innermost last.
    open: Vec<Open>,
}

/// A list or an object that is not complete.
struct Open {
    line: usize,
    items: OpenCollection,
    /// The first reason to refuse it as a whole, and its line.
    refused: Option<(Refusal, usize)>,
}

enum OpenCollection {
    List(Vec<YamlNode>),
    Object {
        entries: BTreeMap<String, YamlNode>,
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
                self.done.push(root.unwrap_or(YamlNode {
                    line,
                    value: Value::Null,
                }));
            }
            Event::SequenceStart(_, _, tag) => {
                self.enter(OpenCollection::List(Vec::new()), line, tag.as_deref());
            }
            Event::MappingStart(_, _, tag) => {
                let (entries, key) = (BTreeMap::new(), None);
                self.enter(
                    OpenCollection::Object { entries, key },
                    line,
                    tag.as_deref(),
                );
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    self.add(open.close());
                }
            }
            Event::Scalar(text, style, _, tag) => self.scalar(&text, style, line, tag.as_deref()),
            Event::Alias(_) => self.add(YamlNode {
                line,
                value: Value::Refused(Refusal::Alias),
            }),
            _ => {}
        }
    }

    fn enter(&mut self, items: OpenCollection, line: usize, tag: Option<&Tag>) {
        self.open.push(Open {
            line,
            items,
            refused: tag.map(|tag| (refused_tag(tag), line)),
        });
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, line: usize, tag: Option<&Tag>) {
        if let Some(open) = self.open.last_mut()
            && let OpenCollection::Object {
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
        self.add(YamlNode { line, value });
    }

    /// Puts a complete value where it belongs.
    fn add(&mut self, mut node: YamlNode) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut open.items {
            OpenCollection::List(items) => items.push(node),
            OpenCollection::Object { entries, key } => match key.take() {
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
    fn close(self) -> YamlNode {
        if let Some((refusal, line)) = self.refused {
            return YamlNode {
                line,
                value: Value::Refused(refusal),
            };
        }
        let value = match self.items {
            OpenCollection::List(items) => Value::List(items),
            OpenCollection::Object { entries, .. } => Value::Object(entries),
        };
        YamlNode {
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
