//! What a request consists of.

use std::path::Path;

use crate::apparmor::name::Label;
use crate::bundle::Annotations;

/// `container.oci-apparmor/<container>`: the profile of one container.
pub const CONTAINER_KEY: &str = "container.oci-apparmor/";
/// `oci-apparmor/profile`: the profile of every container that carries it.
pub const PLAIN_KEY: &str = "oci-apparmor/profile";
/// Kubernetes' beta annotation, the profile of one container (deprecated since 1.30).
pub const BETA_KEY: &str = "container.apparmor.security.beta.kubernetes.io/";
/// The field of `config.json` that names a profile.
pub const PROFILE_FIELD: &str = "process.apparmorProfile";

pub(super) const OUR_PREFIX: &str = "oci-apparmor/";

/// What the engine tells about a container besides its annotations.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The container's id on the command line; empty where a hook is not told it.
    pub id: &'a str,
    /// The bundle's directory.
    pub bundle: &'a Path,
}

/// The engine whose annotations say which pod and container this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineFamily {
    /// CRI-O.
    CriO,
    /// containerd under Kubernetes (CRI).
    Containerd,
    /// podman; it says neither kind nor namespace.
    Podman,
    /// Another one: docker, nerdctl, ctr, or a call by hand.
    Other,
}

/// The key that named the profile; the strongest comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// [`CONTAINER_KEY`] with this container's name; the whole key.
    Container(String),
    /// [`PLAIN_KEY`].
    Plain,
    /// [`BETA_KEY`] with this container's name; the whole key.
    Beta(String),
    /// [`PROFILE_FIELD`].
    Bundle,
}

impl Key {
    /// The key as it stands in the bundle.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Container(key) | Self::Beta(key) => key,
            Self::Plain => PLAIN_KEY,
            Self::Bundle => PROFILE_FIELD,
        }
    }
}

/// What a key requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestedLabel {
    /// This label; only [`Key::Bundle`] can name a stack.
    Label(Label),
    /// The choice of the engine (`runtime/default`).
    RuntimeDefault,
}

/// What one container requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The engine whose annotations were read.
    pub engine: EngineFamily,
    /// Whether this is the sandbox of a pod, not one of its containers.
    pub is_sandbox: bool,
    /// The pod's namespace.
    pub namespace: Option<String>,
    /// The pod's name.
    pub pod: Option<String>,
    /// The UID of the pod. A new pod of the same name has another one.
    pub uid: Option<String>,
    /// The name of the container in its pod.
    pub container: Option<String>,
    /// The id of the sandbox that this is, or that the container belongs to.
    pub sandbox: Option<String>,
    /// All annotations that name profiles, whether they are for this container or not.
    pub keys: Annotations,
    /// The strongest request, with its key.
    pub asked: Option<(Key, RequestedLabel)>,
    /// The label that the engine chose: `process.apparmorProfile` as it came.
    pub engine_label: Option<Label>,
}

/// Whether this annotation names a profile.
pub(super) fn is_profile_key(key: &str) -> bool {
    [CONTAINER_KEY, OUR_PREFIX, BETA_KEY]
        .iter()
        .any(|prefix| key.starts_with(prefix))
}
