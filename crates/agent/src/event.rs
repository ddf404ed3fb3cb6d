//! What one line of a watch, or one object of a list, says. Pure.

use std::fmt;

use kube::api::DynamicObject;
use kube::core::{Status, WatchEvent};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::{Deserializer, Value};

use crate::object::{Feed, ObjectId};
use crate::pieces::Piece;

/// A line of a watch.
#[derive(Debug)]
pub(crate) enum WatchLine {
    Applied(DynamicObject),
    Deleted(DynamicObject),
    /// All before this version was sent.
    Bookmark {
        version: String,
        /// Whether the list that began the stream ends here.
        ends_list: bool,
    },
    Failed(Box<Status>),
    TooLarge(LargeObject),
}

/// What is known of an object that is larger than [`MAX_OBJECT`](crate::pieces::MAX_OBJECT). The API
/// server writes `metadata` before `data` and `spec`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LargeObject {
    /// Only in a watch: what happened to it.
    kind: String,
    name: String,
    namespace: String,
    pub version: String,
}

impl LargeObject {
    /// Nothing, if the beginning of an object does not have its name.
    fn read(piece: &Piece, is_event: bool) -> Option<Self> {
        let mut found = Self::default();
        let mut text = Deserializer::from_slice(&piece.text);
        // Ends with an error, at the latest where the text was cut.
        let _ = match is_event {
            true => LargeFields(&mut found, Level::Event).deserialize(&mut text),
            false => LargeFields(&mut found, Level::Object).deserialize(&mut text),
        };
        (!found.name.is_empty()).then_some(found)
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.kind == "DELETED"
    }

    pub(crate) fn id(&self, feed: Feed) -> ObjectId {
        ObjectId {
            feed,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

#[derive(Clone, Copy)]
enum Level {
    Event,
    Object,
}

/// Reads a map whose end is missing: what was found before counts.
struct LargeFields<'f>(&'f mut LargeObject, Level);

impl<'de> DeserializeSeed<'de> for LargeFields<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for LargeFields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let Self(found, level) = self;
        while let Some(key) = map.next_key::<String>()? {
            match (level, key.as_str()) {
                (Level::Event, "type") => found.kind = map.next_value()?,
                (Level::Event, "object") => {
                    map.next_value_seed(LargeFields(found, Level::Object))?
                }
                (Level::Object, "metadata") => {
                    let metadata: Value = map.next_value()?;
                    found.name = text(&metadata, "name");
                    found.namespace = text(&metadata, "namespace");
                    found.version = text(&metadata, "resourceVersion");
                }
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

fn text(value: &Value, key: &str) -> String {
    let text = value.get(key).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// Reads a line of a watch.
///
/// # Errors
/// Why it is not an event.
pub(crate) fn read_line(piece: &Piece) -> Result<WatchLine, String> {
    if piece.is_cut {
        let found = LargeObject::read(piece, true).filter(|found| !found.version.is_empty());
        return found.map(WatchLine::TooLarge).ok_or_else(too_large);
    }
    match serde_json::from_slice(&piece.text) {
        Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
            Ok(WatchLine::Applied(object))
        }
        Ok(WatchEvent::Deleted(object)) => Ok(WatchLine::Deleted(object)),
        Ok(WatchEvent::Bookmark(bookmark)) => Ok(WatchLine::Bookmark {
            ends_list: (bookmark.metadata.annotations).contains_key("k8s.io/initial-events-end"),
            version: bookmark.metadata.resource_version,
        }),
        Ok(WatchEvent::Error(status)) => Ok(WatchLine::Failed(status)),
        Err(e) => match serde_json::from_slice::<Status>(&piece.text) {
            Ok(status) if status.code != 0 => Ok(WatchLine::Failed(Box::new(status))),
            _ => Err(format!("a line of a watch is not an event: {e}")),
        },
    }
}

/// Reads an object of a list; a large one is the error within.
///
/// # Errors
/// Why it is not an object.
pub(crate) fn read_item(piece: &Piece) -> Result<Result<DynamicObject, LargeObject>, String> {
    if piece.is_cut {
        return LargeObject::read(piece, false)
            .map(Err)
            .ok_or_else(too_large);
    }
    let object = serde_json::from_slice(&piece.text);
    object
        .map(Ok)
        .map_err(|e| format!("an object of a list cannot be read: {e}"))
}

fn too_large() -> String {
    let most = crate::pieces::MAX_OBJECT;
    format!("an answer has an object of more than {most} bytes, without its name at the beginning")
}

/// What a list says of itself: its version, and how its next page is asked for.
///
/// # Errors
/// Why it is not a list.
pub(crate) fn read_envelope(text: Option<&[u8]>) -> Result<(String, Option<String>), String> {
    let list: Option<Value> = text.and_then(|text| serde_json::from_slice(text).ok());
    let metadata = list.as_ref().and_then(|list| list.get("metadata"));
    let metadata = metadata.ok_or("the answer is not a whole list")?;
    let (version, next) = (
        text_of(metadata, "resourceVersion"),
        text_of(metadata, "continue"),
    );
    match version {
        Some(version) => Ok((version, next)),
        None => Err("a list has no resourceVersion".to_owned()),
    }
}

fn text_of(value: &Value, key: &str) -> Option<String> {
    Some(text(value, key)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pieces::{MAX_OBJECT, Split, WatchLines};

    fn cut(text: &str) -> Piece {
        Piece {
            text: text.as_bytes().to_vec(),
            is_cut: true,
        }
    }

    #[test]
    fn of_a_large_object_its_name_is_known() {
        let object = r#"{"kind":"ConfigMap","metadata":{"name":"c","namespace":"n","resourceVersion":"9","annotations":{"a":"b"}},"data":{"x":"yyy"#;
        let found = LargeObject::read(&cut(object), false).unwrap();
        assert_eq!(found.id(Feed::ConfigMaps).to_string(), "ConfigMap n/c");
        let event = format!(r#"{{"type":"DELETED","object":{object}"#);
        match read_line(&cut(&event)).unwrap() {
            WatchLine::TooLarge(found) => {
                assert!(found.is_deleted());
                assert_eq!(found.version, "9");
            }
            other => panic!("{other:?}"),
        }
        for text in [
            "",
            "{",
            r#"{"metadata":{"name":"c""#,
            r#"{"data":{"metadata":{"name":"c"}}"#,
        ] {
            assert!(read_item(&cut(text)).is_err(), "{text}");
            assert!(read_line(&cut(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn deep_and_large_objects_are_errors_and_end() {
        let mut line = vec![b'['; MAX_OBJECT * 2];
        line.push(b'\n');
        let piece = WatchLines::default().take(&mut line.as_slice()).unwrap();
        assert!(read_line(&piece).is_err());
        line.truncate(100_000);
        let text = Piece {
            text: line,
            is_cut: false,
        };
        assert!(read_line(&text).is_err() && read_item(&text).is_err());
    }

    #[test]
    fn a_list_says_its_version() {
        let read = |text: &str| read_envelope(Some(text.as_bytes()));
        let whole = read(r#"{"metadata":{"resourceVersion":"3","continue":""},"items":[]}"#);
        assert_eq!(whole, Ok(("3".to_owned(), None)));
        let page = read(r#"{"metadata":{"resourceVersion":"3","continue":"t"},"items":[]}"#);
        assert_eq!(page.unwrap().1.as_deref(), Some("t"));
        for text in [
            "",
            "{}",
            "<html>",
            r#"{"metadata":{}}"#,
            r#"{"metadata":7}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read_envelope(None).is_err());
    }
}
