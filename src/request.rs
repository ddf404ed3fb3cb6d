//! Which profile a container requests, and by which key. Pure.
//!
//! Pod authors write the annotations, so they are hostile. The container id and the path of the
//! bundle come from the engine; they are trusted.

mod crio;
mod identity;

use std::path::Path;

use crate::apparmor::name::{Label, ProfileName};
use crate::bundle::Annotations;
use crate::error::{Error, Kind, Result, quoted};

/// `container.oci-apparmor/<container>`: the profile of one container.
pub const CONTAINER_KEY: &str = "container.oci-apparmor/";
/// `oci-apparmor/profile`: the profile of every container that carries it.
pub const PLAIN_KEY: &str = "oci-apparmor/profile";
/// Kubernetes' beta annotation, the profile of one container (deprecated since 1.30).
pub const BETA_KEY: &str = "container.apparmor.security.beta.kubernetes.io/";
/// The field of `config.json` that names a profile.
pub const SPEC_KEY: &str = "process.apparmorProfile";

const OUR_PREFIX: &str = "oci-apparmor/";

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
pub enum Engine {
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
    /// [`SPEC_KEY`].
    Spec,
}

impl Key {
    /// The key as it stands in the bundle.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Container(key) | Self::Beta(key) => key,
            Self::Plain => PLAIN_KEY,
            Self::Spec => SPEC_KEY,
        }
    }
}

/// What a key requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// This label; only [`Key::Spec`] can name a stack.
    Label(Label),
    /// The choice of the engine (`runtime/default`).
    RuntimeDefault,
}

/// What one container requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The engine whose annotations were read.
    pub engine: Engine,
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
    pub asked: Option<(Key, Wish)>,
    /// The label that the engine chose: `process.apparmorProfile` as it came.
    pub engine_label: Option<Label>,
}

/// Reads what a container requests.
///
/// # Errors
/// [`Kind::Policy`]: a value that does not name one profile, an unknown key with our prefix, keys
/// that cannot be matched with this container, or a forged identity.
pub fn read(
    annotations: &Annotations,
    spec_profile: Option<&str>,
    caller: Caller<'_>,
) -> Result<Request> {
    let engine_label = spec_profile
        .map(|text| Label::parse(text).map_err(|e| e.about(SPEC_KEY)))
        .transpose()?;
    let mut request = identity::of(annotations, caller)?;
    request.engine_label = engine_label;
    if !request.is_sandbox {
        if let Some(unknown) = request
            .keys
            .keys()
            .find(|k| k.starts_with(OUR_PREFIX) && *k != PLAIN_KEY)
        {
            return Err(Error::new(
                Kind::Policy,
                format!("unknown annotation {}", quoted(unknown)),
            )
            .with_remedy(format!(
                "use {PLAIN_KEY} or {CONTAINER_KEY}<container name>"
            )));
        }
        request.asked = annotated(&request, annotations)?;
    }
    if request.asked.is_none() {
        request.asked = request
            .engine_label
            .clone()
            .map(|l| (Key::Spec, Wish::Label(l)));
    }
    Ok(request)
}

/// The profiles that the annotations of a sandbox name for its containers, each with its key, at
/// most `max`. Names
/// that break a rule are left out; the containers are refused for them.
#[must_use]
pub fn named_by_sandbox(request: &Request, max: usize) -> Vec<(&str, ProfileName)> {
    let mut names: Vec<(&str, ProfileName)> = Vec::new();
    for (key, value) in &request.keys {
        let without_prefix = !key.starts_with(BETA_KEY);
        let Ok(Some(Wish::Label(label))) = wish(key, value, without_prefix) else {
            continue;
        };
        for name in label.components() {
            if names.len() < max && names.iter().all(|(_, known)| known != name) {
                names.push((key, name.clone()));
            }
        }
    }
    names
}

/// Whether this annotation names a profile.
fn is_profile_key(key: &str) -> bool {
    [CONTAINER_KEY, OUR_PREFIX, BETA_KEY]
        .iter()
        .any(|prefix| key.starts_with(prefix))
}

/// The strongest annotation that is for this container.
fn annotated(request: &Request, annotations: &Annotations) -> Result<Option<(Key, Wish)>> {
    if let Some((key, value)) = for_this_container(request, annotations, CONTAINER_KEY)?
        && let Some(wish) = wish(&key, value, true)?
    {
        return Ok(Some((Key::Container(key), wish)));
    }
    if let Some(value) = request.keys.get(PLAIN_KEY)
        && let Some(wish) = wish(PLAIN_KEY, value, true)?
    {
        return Ok(Some((Key::Plain, wish)));
    }
    if let Some((key, value)) = for_this_container(request, annotations, BETA_KEY)?
        && let Some(wish) = wish(&key, value, false)?
    {
        return Ok(Some((Key::Beta(key), wish)));
    }
    Ok(None)
}

/// The annotation with this prefix that is for this container.
fn for_this_container<'a>(
    request: &'a Request,
    annotations: &Annotations,
    prefix: &str,
) -> Result<Option<(String, &'a String)>> {
    if let Some(container) = &request.container {
        let key = format!("{prefix}{container}");
        return Ok(request.keys.get(&key).map(|value| (key, value)));
    }
    let mut all = request
        .keys
        .iter()
        .filter(|(key, _)| key.starts_with(prefix));
    let Some((key, value)) = all.next() else {
        return Ok(None);
    };
    // podman kube play gives all annotations of the pod to each container, and no container name.
    if annotations.contains_key("io.kubernetes.cri-o.SandboxID") {
        return Err(Error::new(
            Kind::Policy,
            format!(
                "cannot tell whether the annotation {} is for this container: the engine gives no \
                 container names",
                quoted(key)
            ),
        )
        .with_remedy(format!(
            "use {PLAIN_KEY}, which applies to every container of the pod"
        )));
    }
    if let Some((other, _)) = all.next() {
        return Err(Error::new(
            Kind::Policy,
            format!(
                "cannot tell which of the annotations {} and {} is for this container: the engine gives \
                 no container names",
                quoted(key),
                quoted(other)
            ),
        )
        .with_remedy(format!("keep one of them, or use {PLAIN_KEY}")));
    }
    Ok(Some((key.clone(), value)))
}

/// What the value of an annotation requests; `None` where it counts as unset.
fn wish(key: &str, value: &str, without_prefix: bool) -> Result<Option<Wish>> {
    match value {
        "unconfined" | "localhost/unconfined" => Ok(Some(Wish::Label(Label::unconfined()))),
        "runtime/default" => Ok(Some(Wish::RuntimeDefault)),
        // In Kubernetes an empty beta annotation counts as none.
        "" if key.starts_with(BETA_KEY) => Ok(None),
        _ => {
            let name = match value.strip_prefix("localhost/") {
                Some(name) => name,
                None if without_prefix => value,
                None => {
                    return Err(Error::new(
                        Kind::Policy,
                        format!(
                            "the annotation {} has the invalid value {}",
                            quoted(key),
                            quoted(value)
                        ),
                    )
                    .with_remedy("use localhost/<profile>, runtime/default or unconfined"));
                }
            };
            let name = ProfileName::parse(name)
                .map_err(|e| e.about(&format!("the annotation {}", quoted(key))))?;
            Ok(Some(Wish::Label(Label::of([name]))))
        }
    }
}

#[cfg(test)]
mod tests;
