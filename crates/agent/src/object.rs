//! Objects of the API, reduced to the files that they stand for. Pure.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::file::{Content, MAX_NAME, SpoolFile};
use crate::pieces::MAX_OBJECT;

/// The API group of `AppArmorProfile`.
pub const GROUP: &str = "security-profiles-operator.x-k8s.io";

/// The label of ConfigMaps whose entries are profiles.
pub const LABEL: &str = "oci-apparmor/profile=true";

/// The largest file, in bytes.
pub const MAX_FILE: usize = 512 * 1024;

/// The most files of one object.
pub const MAX_FILES: usize = 256;

/// The most rejected entries of one object that are remembered.
const MAX_REJECTS: usize = 8;

/// What objects of one kind come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feed {
    /// `AppArmorProfile` objects.
    Profiles,
    /// ConfigMaps with [`LABEL`].
    ConfigMaps,
}

impl Feed {
    /// What is in the files of its objects.
    #[must_use]
    pub fn content(self) -> Content {
        match self {
            Self::Profiles => Content::Manifest,
            Self::ConfigMaps => Content::ProfileText,
        }
    }

    /// The feed that files of a content come from.
    #[must_use]
    pub fn of(content: Content) -> Self {
        match content {
            Content::Manifest => Self::Profiles,
            Content::ProfileText => Self::ConfigMaps,
        }
    }
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Profiles => "AppArmorProfile",
            Self::ConfigMaps => "ConfigMap",
        })
    }
}

/// Which object of the API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId {
    /// Its kind.
    pub feed: Feed,
    /// Its namespace; empty for an object of the cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.feed, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.feed, self.name),
        }
    }
}

/// Why an object, or an entry of it, is not written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RejectReason {
    /// The name cannot be that of a file.
    BadName,
    /// More than [`MAX_FILE`] bytes.
    TooLarge,
    /// The object has more than [`MAX_OBJECT`] bytes.
    ObjectTooLarge,
    /// More than [`MAX_FILES`] entries.
    TooManyEntries,
    /// An entry of `binaryData`.
    Binary,
    /// An older object has a profile of this name.
    NameTaken(ObjectId),
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName => write!(
                f,
                "the name of a profile may have only letters, digits, '_', '.', '+' and '-', at \
                 most {MAX_NAME} of them, and may not begin with '.'"
            ),
            Self::TooLarge => write!(f, "a profile may have at most {MAX_FILE} bytes"),
            Self::ObjectTooLarge => write!(
                f,
                "its object has more than {MAX_OBJECT} bytes of JSON; while it exists, no file is \
                 removed"
            ),
            Self::TooManyEntries => write!(f, "an object may have at most {MAX_FILES} profiles"),
            Self::Binary => f.write_str("an entry of binaryData is not the text of a profile"),
            Self::NameTaken(older) => {
                write!(f, "the older {older} has a profile of the same name")
            }
        }
    }
}

/// One file that an object stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFile {
    /// Its name.
    pub file: SpoolFile,
    /// What is in it.
    pub bytes: Arc<[u8]>,
    /// The SHA-256 of that.
    pub digest: [u8; 32],
}

/// The SHA-256 of a file's bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// What is kept of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiObject {
    /// Which one.
    pub id: ObjectId,
    /// `metadata.creationTimestamp` in seconds since 1970. The API server sets it, not the author.
    pub created: i64,
    /// Its files; each name once.
    pub files: Vec<ObjectFile>,
    /// Entries that are not written.
    pub rejects: Vec<(String, RejectReason)>,
}

impl ApiObject {
    fn new(id: ObjectId, created: i64) -> Self {
        Self {
            id,
            created,
            files: Vec::new(),
            rejects: Vec::new(),
        }
    }

    /// An `AppArmorProfile`: of `data`, only `spec` is kept.
    #[must_use]
    pub fn profile(id: ObjectId, created: i64, api_version: &str, mut data: Value) -> Self {
        let mut manifest = Map::new();
        manifest.insert("apiVersion".to_owned(), json!(api_version));
        manifest.insert("kind".to_owned(), json!("AppArmorProfile"));
        manifest.insert("metadata".to_owned(), json!({ "name": id.name }));
        if let Some(spec) = data.get_mut("spec") {
            manifest.insert("spec".to_owned(), spec.take());
        }
        let name = id.name.clone();
        let mut object = Self::new(id, created);
        // On several lines: refusals of the manifest name the line.
        if let Ok(mut text) = serde_json::to_string_pretty(&manifest) {
            text.push('\n');
            object.add(&name, text.as_bytes());
        }
        object
    }

    /// A ConfigMap: each entry of `data` is a profile, and its key is the name of the file.
    #[must_use]
    pub fn config_map(id: ObjectId, created: i64, data: &Value) -> Self {
        let mut object = Self::new(id, created);
        let entries = |key: &str| data.get(key).and_then(Value::as_object);
        let texts = entries("data").into_iter().flatten();
        if entries("data").is_some_and(|entries| entries.len() > MAX_FILES) {
            let name = object.id.name.clone();
            object.reject(&name, RejectReason::TooManyEntries);
            return object;
        }
        for (name, text) in texts {
            object.add(name, text.as_str().unwrap_or_default().as_bytes());
        }
        for name in entries("binaryData")
            .into_iter()
            .flatten()
            .map(|(key, _)| key)
        {
            object.reject(name, RejectReason::Binary);
        }
        object
    }

    fn add(&mut self, name: &str, bytes: &[u8]) {
        match SpoolFile::new(name, self.id.feed.content()) {
            None => self.reject(name, RejectReason::BadName),
            Some(_) if bytes.len() > MAX_FILE => self.reject(name, RejectReason::TooLarge),
            Some(file) => self.files.push(ObjectFile {
                file,
                bytes: bytes.into(),
                digest: digest(bytes),
            }),
        }
    }

    fn reject(&mut self, name: &str, reason: RejectReason) {
        if self.rejects.len() < MAX_REJECTS {
            self.rejects.push((name.to_owned(), reason));
        }
    }

    /// The bytes of all its files.
    #[must_use]
    pub fn size(&self) -> usize {
        let sizes = self.files.iter().map(|file| file.bytes.len());
        sizes.fold(0, usize::saturating_add)
    }
}

#[cfg(test)]
mod tests;
