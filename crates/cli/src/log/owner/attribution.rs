//! A container, and how it is known that an event is its own.

use std::sync::Arc;

use serde::Serialize;

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Owner {
    /// Its id.
    pub(crate) id: String,
    /// Its name: in its pod, or as its engine has it.
    pub(crate) name: Option<String>,
    /// Its pod.
    pub(crate) pod: Option<String>,
    /// The namespace of the pod.
    pub(crate) namespace: Option<String>,
    /// Its image.
    pub(crate) image: Option<String>,
}

/// How the container of an event is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KnownBy {
    /// By the process.
    Process,
    /// By the profile: no other container has it.
    Profile,
}

/// Whose an event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attribution {
    /// A container's.
    Container(Arc<Owner>, KnownBy),
    /// One of these containers', or of a process outside of containers.
    Candidates(Vec<Arc<Owner>>),
    /// A process outside of containers.
    Host,
    /// Unknown; no container that is known has the profile.
    Unknown,
}

impl Owner {
    /// Whether this is meant: by its id, at least four digits of the beginning of an id that an engine
    /// made, or its name.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.id == word || self.begins_with(word) || self.name.as_deref() == Some(word)
    }

    fn begins_with(&self, word: &str) -> bool {
        // containerd's clients choose ids themselves: `web` is not the beginning of `web-2`.
        let is_made = self.id.len() == 64 && self.id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_made && word.len() >= 4 && self.id.starts_with(word)
    }

    /// Whether it is of this pod.
    pub(crate) fn is_of_pod(&self, namespace: &str, pod: &str) -> bool {
        self.namespace.as_deref() == Some(namespace) && self.pod.as_deref() == Some(pod)
    }
}
