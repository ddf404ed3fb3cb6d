//! serde's view of a YAML tree: strict where serde's own formats are lenient.
//!
//! A string is never taken for a boolean, nor a number for a string. A field of a struct that is
//! null is absent, as in Kubernetes; an item of a list that is null is refused.

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::error::{Error, Result, Segment, or, quoted};
use crate::tree::{Value, YamlNode};

const STRING: &str = "a string";
const FLAG: &str = "true or false";
const LIST: &str = "a list";
const OBJECT: &str = "an object";

/// Reads a value of a manifest.
///
/// # Errors
/// The first field that does not fit, with its path from `node` and its line.
pub(crate) fn from_node<'de, T: Deserialize<'de>>(node: &'de YamlNode) -> Result<T> {
    T::deserialize(node).map_err(|e| e.located(node))
}

impl YamlNode {
    /// The error of a value that is not what it has to be.
    fn must_be(&self, wanted: &str) -> Error {
        let what = match &self.value {
            Value::Refused(refusal) => return refusal.error(),
            Value::Null => "null".to_owned(),
            Value::Flag(flag) => flag.to_string(),
            Value::Number(number) => format!("the number {number}"),
            Value::Ambiguous(word) if wanted == STRING => {
                format!("{word}, which YAML 1.1 reads as a boolean")
            }
            Value::Ambiguous(word) => word.clone(),
            Value::Text(text) => format!("the string {}", quoted(text)),
            Value::List(_) => LIST.to_owned(),
            Value::Object(_) => OBJECT.to_owned(),
        };
        let error = Error::new(format!("must be {wanted}, not {what}"));
        match self.value {
            Value::Flag(_) | Value::Number(_) | Value::Ambiguous(_) if wanted == STRING => {
                error.with_remedy("put it in quotes")
            }
            _ => error,
        }
    }

    fn as_text(&self, wanted: &str) -> Result<&str> {
        self.text().ok_or_else(|| self.must_be(wanted))
    }
}

impl<'de> Deserializer<'de> for &'de YamlNode {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Flag(flag) => visitor.visit_bool(*flag),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Object(_) => self.deserialize_map(visitor),
            Value::Number(_) | Value::Ambiguous(_) | Value::Refused(_) => Err(self.must_be(STRING)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match &self.value {
            Value::Flag(flag) => visitor.visit_bool(*flag),
            _ => Err(self.must_be(FLAG)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_str(self.as_text(STRING)?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match &self.value {
            Value::List(items) => visitor.visit_seq(Items {
                rest: items.iter().enumerate(),
            }),
            _ => Err(self.must_be(LIST)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_struct("", &[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match &self.value {
            Value::Object(entries) => visitor.visit_map(Entries {
                rest: entries.iter(),
                fields,
                value: None,
            }),
            _ => Err(self.must_be(OBJECT)),
        }
    }

    /// An enum of words.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let word: StrDeserializer<'de, Error> = self.as_text(&or(variants))?.into_deserializer();
        visitor.visit_enum(word)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match &self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// What is not read may be anything.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        tuple tuple_struct identifier
    }
}

/// The items of a list.
struct Items<I> {
    rest: I,
}

impl<'de, I: Iterator<Item = (usize, &'de YamlNode)>> SeqAccess<'de> for Items<I> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some((index, node)) = self.rest.next() else {
            return Ok(None);
        };
        let item = seed.deserialize(node);
        item.map(Some).map_err(|e| e.below(Segment::Index(index)))
    }
}

/// The entries of an object.
struct Entries<I, V> {
    rest: I,
    /// The fields that the object may have; a null in one of them is left out.
    fields: &'static [&'static str],
    /// The entry whose value is next.
    value: Option<V>,
}

impl<'de, I: Iterator<Item = (&'de String, &'de YamlNode)>> MapAccess<'de>
    for Entries<I, (&'de String, &'de YamlNode)>
{
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let fields = self.fields;
        let absent = |(key, node): &(&String, &YamlNode)| {
            node.value == Value::Null && fields.contains(&key.as_str())
        };
        self.value = self.rest.find(|entry| !absent(entry));
        match self.value {
            Some((key, _)) => seed
                .deserialize(BorrowedStrDeserializer::new(key))
                .map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value> {
        let Some((key, node)) = self.value.take() else {
            // serde asks for a value only after its key.
            return Err(Error::new("a value without a key"));
        };
        let value = seed.deserialize(node);
        value.map_err(|e| e.below(Segment::Key(key.clone())))
    }
}
