//! Values of a manifest with their place in it. Nothing is taken for something else, and nothing
//! is passed over: a misspelled field would be a rule that is silently missing.

use std::collections::BTreeMap;

use crate::error::{Error, Result, quoted};
use crate::yaml::Node;

/// A value, and where it stands: `spec.abstract.network`.
#[derive(Debug, Clone)]
pub(crate) struct Field<'n> {
    place: String,
    node: &'n Node,
}

/// An object whose fields are all known.
#[derive(Debug)]
pub(crate) struct Object<'n> {
    place: String,
    entries: &'n BTreeMap<String, Node>,
}

impl<'n> Field<'n> {
    pub(crate) fn new(place: impl Into<String>, node: &'n Node) -> Self {
        Self {
            place: place.into(),
            node,
        }
    }

    /// Refuses this value.
    pub(crate) fn refuse(&self, why: impl Into<String>) -> Error {
        Error::new(why).at(&self.place)
    }

    /// As an object that has no other fields than `known`.
    pub(crate) fn object(&self, known: &[&str]) -> Result<Object<'n>> {
        let Node::Object(entries) = self.node else {
            return Err(self.is_not("an object"));
        };
        let object = Object {
            place: self.place.clone(),
            entries,
        };
        match entries.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(object),
            Some(key) => Err(Error::new(format!(
                "{} is not a field of this version",
                object.at(key)
            ))
            .with_remedy(format!("what may stand there: {}", known.join(", ")))),
        }
    }

    pub(crate) fn text(&self) -> Result<&'n str> {
        match self.node {
            Node::Text(text) => Ok(text),
            _ => Err(self.is_not("a string")),
        }
    }

    pub(crate) fn flag(&self) -> Result<bool> {
        match self.node {
            Node::Flag(flag) => Ok(*flag),
            _ => Err(self.is_not("true or false")),
        }
    }

    pub(crate) fn list(&self) -> Result<Vec<Field<'n>>> {
        let Node::List(items) = self.node else {
            return Err(self.is_not("a list"));
        };
        let item = |(index, node)| Field::new(format!("{}[{index}]", self.place), node);
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// One field of an object whose other fields do not matter.
    pub(crate) fn entry(&self, name: &str) -> Result<Option<Field<'n>>> {
        let Node::Object(entries) = self.node else {
            return Err(self.is_not("an object"));
        };
        let place = self.place.clone();
        Ok(Object { place, entries }.get(name))
    }

    fn is_not(&self, wanted: &str) -> Error {
        let why = match self.node {
            Node::Unusable(why) => return self.refuse(why),
            Node::Null => "it is empty".to_owned(),
            Node::Flag(flag) => format!("it is {flag}"),
            Node::Text(text) => format!("it is the string {}", quoted(text)),
            Node::List(_) => "it is a list".to_owned(),
            Node::Object(_) => "it is an object".to_owned(),
        };
        self.refuse(format!("{why}, not {wanted}"))
    }
}

impl<'n> Object<'n> {
    /// The field of this name, unless it is missing or null, which is the same to Kubernetes.
    pub(crate) fn get(&self, name: &str) -> Option<Field<'n>> {
        match self.entries.get(name)? {
            Node::Null => None,
            node => Some(Field::new(self.at(name), node)),
        }
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>> {
        self.get(name).map(|field| field.flag()).transpose()
    }

    pub(crate) fn list(&self, name: &str) -> Result<Vec<Field<'n>>> {
        self.get(name).map_or(Ok(Vec::new()), |field| field.list())
    }

    fn at(&self, name: &str) -> String {
        // A field's name is as hostile as its value.
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
        let name = if plain { name.to_owned() } else { quoted(name) };
        match self.place.as_str() {
            "" => name,
            place => format!("{place}.{name}"),
        }
    }
}
