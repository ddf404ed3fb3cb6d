//! The two documents with an `apparmorProfile`: `config.json` and the process of `exec`. Pure.
//!
//! runc (Go) takes the last of several equal keys, and matches the names of fields in any case.
//! crun matches them exactly. A document in which they could find different labels is refused. Both
//! take the keys of a map, such as the annotations, as they are.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::apparmor::name::Label;
use crate::bundle::Annotations;
use crate::bundle::fields::{Fields, JsonText, folds_to, offset};
use crate::error::{Error, Kind, Result, quoted};

const PROFILE: &str = "apparmorProfile";

/// The fields of `config.json` that matter for the label. No other key may fold to one of them.
const OF_CONFIG: &[&str] = &["process", "annotations", "root", "mounts"];

/// The same in a process.
const OF_PROCESS: &[&str] = &[PROFILE, "cwd"];

/// No field: annotations are a map (`map[string]string`, runtime-spec specs-go/config.go).
const OF_ANNOTATIONS: &[&str] = &[];

/// A `config.json`, or a `process.json`.
#[derive(Debug)]
pub struct Document<'a> {
    text: &'a str,
    annotations: Annotations,
    profile: Option<String>,
    place: Place,
    cwd: Option<&'a RawValue>,
    root: Option<&'a RawValue>,
    mounts: Vec<&'a RawValue>,
}

/// Where the profile is, or has to be inserted.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// The value, from the first byte to the one behind the last.
    Value(usize, usize),
    /// Behind the brace that opens the object, or before its first key; whether the object is empty.
    Behind(usize, bool),
}

impl<'a> Document<'a> {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`Kind::Internal`]: it is not JSON, it has no `process`, or runtimes may read its keys
    /// differently.
    pub fn config(bytes: &'a [u8]) -> Result<Self> {
        let text = utf8(bytes)?;
        let ConfigFields {
            top,
            process,
            mounts,
        } = parsed(text, text)?;
        unambiguous(&top, OF_CONFIG)?;
        let process = process.ok_or_else(|| refused("it has no field \"process\""))?;
        let annotations = match top.get("annotations").filter(|value| value.get() != "null") {
            None => Annotations::new(),
            Some(value) => annotations(value.get())?,
        };
        let inserted = || match before_first(text, &process) {
            Some(place) => Ok(place),
            None => {
                let top: Fields<'_> = parsed(text, text)?;
                Ok(top.get("process").map_or(Place::Behind(0, true), |value| {
                    behind_brace(text, value.get(), &process)
                }))
            }
        };
        let mut document = Self::of(text, &process, inserted)?;
        document.annotations = annotations;
        document.root = top.get("root");
        document.mounts = mounts.unwrap_or_default();
        Ok(document)
    }

    /// Reads the process that `exec --process` names.
    ///
    /// # Errors
    /// As for [`Document::config`].
    pub fn process(bytes: &'a [u8]) -> Result<Self> {
        let text = utf8(bytes)?;
        let fields = parsed(text, text)?;
        Self::of(text, &fields, || Ok(behind_brace(text, text, &fields)))
    }

    /// The document `text` with the process that has these fields, and nothing else yet. `inserted` is
    /// where a profile is inserted if there is none.
    fn of(
        text: &'a str,
        process: &Fields<'a>,
        inserted: impl FnOnce() -> Result<Place>,
    ) -> Result<Self> {
        unambiguous(process, OF_PROCESS)?;
        let (profile, place) = match process.get(PROFILE) {
            None => (None, inserted()?),
            Some(value) => {
                let profile: Option<String> = serde_json::from_str(value.get())
                    .map_err(|_| refused(format!("its {PROFILE} is not a string")))?;
                let from = offset(text, value.get());
                let to = from.saturating_add(value.get().len());
                (profile, Place::Value(from, to))
            }
        };
        Ok(Self {
            text,
            annotations: Annotations::new(),
            profile,
            place,
            cwd: process.get("cwd"),
            root: None,
            mounts: Vec::new(),
        })
    }

    /// The working directory of the process, as it is written.
    pub(super) fn cwd(&self) -> Option<&'a RawValue> {
        self.cwd
    }

    /// The root of the image, as it is written. A process has none.
    pub(super) fn root(&self) -> Option<&'a RawValue> {
        self.root
    }

    /// The mounts, each as it is written. A process has none.
    pub(super) fn mounts(&self) -> &[&'a RawValue] {
        &self.mounts
    }

    /// The annotations. A process has none.
    #[must_use]
    pub fn annotations(&self) -> &Annotations {
        &self.annotations
    }

    /// The profile as it is written; `None` where it is absent or null. An empty one is no valid
    /// name: runc starts the container without a profile then, crun fails.
    #[must_use]
    pub fn profile(&self) -> Option<&str> {
        self.profile.as_deref()
    }

    /// The document with this label, every other byte unchanged; `None` where it already has it.
    #[must_use]
    pub fn with_label(&self, label: &Label) -> Option<String> {
        let same = |text: &str| Label::parse(text).is_ok_and(|has| has.same(label));
        if self.profile.as_deref().is_some_and(same) {
            return None;
        }
        // A label is printable ASCII without quotes and backslashes: it needs no escaping.
        let (from, to, new) = match self.place {
            Place::Value(from, to) => (from, to, format!("\"{label}\"")),
            Place::Behind(at, empty) => {
                let comma = if empty { "" } else { "," };
                (at, at, format!("\"{PROFILE}\":\"{label}\"{comma}"))
            }
        };
        let (head, tail) = (self.text.get(..from)?, self.text.get(to..)?);
        Some([head, &new, tail].concat())
    }
}

fn refused(why: impl fmt::Display) -> Error {
    Error::new(Kind::Internal, why.to_string()).with_remedy(
        "create the container again; if that fails, report it to the engine's developers",
    )
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| refused("it is not UTF-8"))
}

/// The fields of a `config.json`, those of its process, and its mounts. They are read together:
/// scanning the document is most of the work.
struct ConfigFields<'a> {
    /// Without the values of the two others.
    top: Fields<'a>,
    process: Option<Fields<'a>>,
    mounts: Option<Vec<&'a RawValue>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for ConfigFields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = ConfigFields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<ConfigFields<'de>, A::Error> {
                let (mut top, mut process, mut mounts) = (Vec::new(), None, None);
                while let Some(JsonText(key)) = map.next_key()? {
                    let value = match &*key {
                        "process" => {
                            process = map.next_value()?;
                            RawValue::NULL
                        }
                        "mounts" => {
                            mounts = map.next_value()?;
                            RawValue::NULL
                        }
                        _ => map.next_value()?,
                    };
                    top.push((key, value));
                }
                Ok(ConfigFields {
                    top: Fields(top),
                    process,
                    mounts,
                })
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Before the first key of an object; `None` if that cannot be told.
fn before_first(text: &str, fields: &Fields<'_>) -> Option<Place> {
    let (Cow::Borrowed(key), _) = fields.0.first()? else {
        return None;
    };
    let quote = offset(text, key).checked_sub(1)?;
    let is_quote = text.as_bytes().get(quote) == Some(&b'"');
    is_quote.then_some(Place::Behind(quote, false))
}

/// Behind the brace of the object `part`, which has these fields.
fn behind_brace(text: &str, part: &str, fields: &Fields<'_>) -> Place {
    // It was deserialized as an object, so a brace follows the white space.
    let brace = part.find('{').unwrap_or_default();
    let at = offset(text, part).saturating_add(brace).saturating_add(1);
    Place::Behind(at, fields.0.is_empty())
}

fn annotations(text: &str) -> Result<Annotations> {
    let about = |e: Error| e.about("annotations");
    let fields: Fields<'_> = parsed(text, text).map_err(about)?;
    unambiguous(&fields, OF_ANNOTATIONS).map_err(about)?;
    let mut read = Annotations::new();
    for (key, value) in fields.0 {
        let value: Option<JsonText<'_>> = serde_json::from_str(value.get())
            .map_err(|_| refused(format!("its annotation {} is not a string", quoted(&key))))?;
        let value = value.map_or(String::new(), |JsonText(value)| value.into_owned());
        read.insert(key.into_owned(), value);
    }
    Ok(read)
}

/// Reads `part` of a document.
fn parsed<'a, T: Deserialize<'a>>(whole: &str, part: &'a str) -> Result<T> {
    serde_json::from_str(part).map_err(|e| {
        let line = whole
            .get(..offset(whole, part))
            .map_or(0, |head| head.matches('\n').count());
        refused(format!(
            "unexpected JSON at line {}: {e}",
            line.saturating_add(e.line())
        ))
    })
}

/// Checks that every runtime finds the same values for the fields `ours` of an object.
fn unambiguous(fields: &Fields<'_>, ours: &[&str]) -> Result<()> {
    if let Some(twice) = fields.twice() {
        return Err(refused(format!("it has the key {} twice", quoted(twice))));
    }
    for (key, _) in &fields.0 {
        if let Some(ours) = ours
            .iter()
            .find(|ours| key != **ours && folds_to(key, ours))
        {
            return Err(refused(format!(
                "runc would read its key {} as {ours}",
                quoted(key)
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(text: &str) -> Result<(Option<String>, Option<String>)> {
        let document = Document::config(text.as_bytes())?;
        let label = Label::parse("new").unwrap();
        Ok((
            document.profile().map(str::to_owned),
            document.with_label(&label),
        ))
    }

    #[test]
    fn the_value_is_replaced_where_it_stands() {
        for (before, had, after) in [
            (
                r#"{"process":{"apparmorProfile":"old","x":1e400}}"#,
                Some("old"),
                Some(r#"{"process":{"apparmorProfile":"new","x":1e400}}"#),
            ),
            (
                r#"{ "process" : { "x":1, "apparmorProfile" : null } }"#,
                None,
                Some(r#"{ "process" : { "x":1, "apparmorProfile" : "new" } }"#),
            ),
            (
                r#"{"process":{}}"#,
                None,
                Some(r#"{"process":{"apparmorProfile":"new"}}"#),
            ),
            (
                "{\"process\":\n {\n }}",
                None,
                Some("{\"process\":\n {\"apparmorProfile\":\"new\"\n }}"),
            ),
            (
                r#"{"a":{"apparmorProfile":"x"},"process":{"b":{"apparmorProfile":"y"}}}"#,
                None,
                Some(
                    r#"{"a":{"apparmorProfile":"x"},"process":{"apparmorProfile":"new","b":{"apparmorProfile":"y"}}}"#,
                ),
            ),
            (
                r#"{"pr\u006fcess":{"apparmorProfil\u0065":"\u006fld"}}"#,
                Some("old"),
                Some(r#"{"pr\u006fcess":{"apparmorProfil\u0065":"new"}}"#),
            ),
            (
                r#"{"process":{"apparmorProfile":"new"}}"#,
                Some("new"),
                None,
            ),
            (
                r#"{"process":{"apparmorProfile":"n\u0065w"}}"#,
                Some("new"),
                None,
            ),
        ] {
            assert_eq!(
                config(before).unwrap(),
                (had.map(str::to_owned), after.map(str::to_owned)),
                "{before}"
            );
        }
    }

    #[test]
    fn what_runtimes_may_read_differently_is_refused() {
        for text in [
            "",
            "{",
            "[]",
            "null",
            "{}",
            r#"{"process":null}"#,
            r#"{"process":[]}"#,
            r#"{"process":"x"}"#,
            r#"{"process":{}}x"#,
            "\u{feff}{\"process\":{}}",
            r#"{"process":{}"#,
            r#"{"process":{},"process":{}}"#,
            r#"{"process":{},"Process":{}}"#,
            r#"{"process":{},"proce\u017f\u017f":{}}"#,
            "{\"process\":{},\"proceſſ\":{}}",
            r#"{"Process":{}}"#,
            r#"{"process":{"apparmorProfile":"a","apparmorProfile":"b"}}"#,
            r#"{"process":{"apparmorProfile":"a","ApparmorProfile":""}}"#,
            r#"{"process":{"APPARMORPROFILE":"a"}}"#,
            r#"{"process":{"apparmorProfile":1}}"#,
            r#"{"process":{},"annotations":{"a":"1","a":"2"}}"#,
            r#"{"process":{},"annotations":{"a":"1","\u0061":"2"}}"#,
            r#"{"process":{},"Annotations":{}}"#,
            r#"{"process":{},"annotations":{"a":1}}"#,
            r#"{"process":{},"annotations":[]}"#,
        ] {
            assert!(Document::config(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Document::config(b"{\"process\":{\"a\":\"\xff\"}}").is_err());
        for text in [
            "null",
            "[]",
            r#"{"apparmorProfile":"a","apparmorprofile":"b"}"#,
        ] {
            assert!(Document::process(text.as_bytes()).is_err(), "{text}");
        }
    }

    /// Go folds the names of a struct's fields, and nothing else (`decodeState.object`,
    /// encoding/json/decode.go).
    #[test]
    fn keys_that_no_runtime_folds_are_left_alone() {
        for text in [
            r#"{"process":{},"annotations":{"Process":"1","ANNOTATIONS":"2","apparmorprofile":"3"}}"#,
            r#"{"process":{},"annotations":{"process":"1","Process":"2","annotations":"3"}}"#,
            r#"{"process":{"Process":1,"Annotations":2}}"#,
            r#"{"process":{},"ApparmorProfile":"x"}"#,
            r#"{"process":{},"linux":{"Process":1}}"#,
        ] {
            let document = Document::config(text.as_bytes()).unwrap();
            assert_eq!(document.profile(), None, "{text}");
            let label = Label::parse("new").unwrap();
            let after = document.with_label(&label).unwrap();
            let after = Document::config(after.as_bytes()).unwrap();
            assert_eq!(after.profile(), Some("new"), "{text}");
        }
        let text = r#"{"process":{},"annotations":{"Process":"1","process":"2"}}"#;
        let document = Document::config(text.as_bytes()).unwrap();
        assert_eq!(document.annotations()["Process"], "1");
        assert_eq!(document.annotations()["process"], "2");
        let process = r#"{"Process":1,"Annotations":{},"annotations":[]}"#;
        assert!(Document::process(process.as_bytes()).is_ok());
    }

    #[test]
    fn annotations_are_read_decoded() {
        let text = r#"{"annotations":{"a\u002fb":"x\ny","c":null},"process":{}}"#;
        let document = Document::config(text.as_bytes()).unwrap();
        let read: Vec<_> = document
            .annotations()
            .iter()
            .map(|(k, v)| (&**k, &**v))
            .collect();
        assert_eq!(read, [("a/b", "x\ny"), ("c", "")]);
    }

    /// The typed model of the specification is the oracle: it sees the new profile, and nothing
    /// else has changed for it.
    #[test]
    fn the_typed_model_sees_one_change() {
        use oci_spec::runtime::Spec;
        let before = Spec::default();
        let text = serde_json::to_string(&before).unwrap();
        let label = Label::parse("a//&b").unwrap();
        let after = Document::config(text.as_bytes())
            .unwrap()
            .with_label(&label)
            .unwrap();
        let after: Spec = serde_json::from_str(&after).unwrap();
        let mut expected = before;
        let mut process = expected.process().clone().unwrap();
        process.set_apparmor_profile(Some("a//&b".to_owned()));
        expected.set_process(Some(process));
        assert_eq!(after, expected);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-z\"\\\\/ü]{0,6}", inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// After the splice exactly one pointer of the document has changed.
        #[test]
        fn one_pointer_changes(mut process in json(), other in json(), pretty: bool) {
            if !process.is_object() { process = serde_json::json!({"args": process}); }
            let before = serde_json::json!({"x": other, "process": process, "annotations": {"k": "v"}});
            let text = if pretty { serde_json::to_string_pretty(&before) } else { serde_json::to_string(&before) }.unwrap();
            let label = Label::parse("a//&b").unwrap();
            let after = Document::config(text.as_bytes()).unwrap().with_label(&label).unwrap();
            let mut expected = before;
            expected["process"]["apparmorProfile"] = "a//&b".into();
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&after).unwrap(), expected);
            prop_assert!(Document::config(after.as_bytes()).unwrap().with_label(&label).is_none());
        }

        #[test]
        fn no_text_makes_it_panic(text in "[{}\\[\\]\":,a-z ſK\\\\u01]{0,60}") {
            let _ = Document::config(text.as_bytes());
            let _ = Document::process(text.as_bytes());
        }
    }
}
