//! Which profile a container asks for, and who says so. Pure.
//!
//! Annotations are written by pod authors and are hostile; the container id and the bundle's path
//! come from the engine and are not. CRI-O and podman copy every annotation of a pod to its
//! containers, so a pod can carry the keys of another engine's family: which engine speaks is
//! decided once, by what a pod author cannot set, and only that engine's keys are read.

mod crio;

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
/// Where a bundle's configuration names a profile.
pub const SPEC_KEY: &str = "process.apparmorProfile";

/// The directory of containerd's tasks.
const TASKS: &str = "io.containerd.runtime.v2.task";

const OUR_PREFIX: &str = "oci-apparmor/";

/// What the engine tells about a container besides its annotations.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The container's id on the command line; empty where a hook is not told it.
    pub id: &'a str,
    /// The bundle's directory.
    pub bundle: &'a Path,
}

/// Whose words about pod, container and kind are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// CRI-O.
    CriO,
    /// containerd under Kubernetes (CRI).
    Containerd,
    /// podman; it tells neither kind nor namespace.
    Podman,
    /// Somebody else: docker, nerdctl, ctr, a person.
    Other,
}

/// Who named the profile, strongest first.
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

/// What a key asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// This label; only [`Key::Spec`] can name a stack.
    Label(Label),
    /// Whatever the engine chose.
    RuntimeDefault,
}

/// What one container asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whose annotations were read.
    pub engine: Engine,
    /// Whether this is a pod's sandbox rather than a container of it.
    pub is_sandbox: bool,
    /// The pod's namespace.
    pub namespace: Option<String>,
    /// The pod's name.
    pub pod: Option<String>,
    /// The pod's UID, which a pod that is made anew under the same name does not share.
    pub uid: Option<String>,
    /// The container's name within its pod.
    pub container: Option<String>,
    /// The id of the sandbox that the container belongs to, or is.
    pub sandbox: Option<String>,
    /// Every annotation of the three families that name profiles.
    pub keys: Annotations,
    /// The strongest request, and who made it.
    pub asked: Option<(Key, Wish)>,
    /// What the engine itself chose.
    pub engine_label: Option<Label>,
}

/// Reads what a container asks for.
///
/// # Errors
/// [`Kind::Policy`]: a value that names no single profile, a key that nobody reads, keys of which
/// cannot be told whether they mean this container, or words on who it is that are forged.
pub fn read(
    annotations: &Annotations,
    spec_profile: Option<&str>,
    caller: Caller<'_>,
) -> Result<Request> {
    let engine_label = spec_profile
        .map(|text| Label::parse(text).map_err(|e| e.about(SPEC_KEY)))
        .transpose()?;
    let mut request = identity(annotations, caller)?;
    request.engine_label = engine_label;
    if !request.is_sandbox {
        if let Some(unknown) = request
            .keys
            .keys()
            .find(|k| k.starts_with(OUR_PREFIX) && *k != PLAIN_KEY)
        {
            return Err(Error::new(
                Kind::Policy,
                format!("the annotation {} is unknown", quoted(unknown)),
            )
            .with_remedy(format!(
                "the keys are {PLAIN_KEY} and {CONTAINER_KEY}<container name>"
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

/// The profiles that a sandbox's annotations name for its containers, at most `max`; names that
/// break a rule are left to the containers' own refusal.
#[must_use]
pub fn named_by_sandbox(request: &Request, max: usize) -> Vec<ProfileName> {
    let mut names: Vec<ProfileName> = Vec::new();
    for (key, value) in &request.keys {
        let plain_allowed = !key.starts_with(BETA_KEY);
        let Ok(Some(Wish::Label(label))) = wish(key, value, plain_allowed) else {
            continue;
        };
        for name in label.components() {
            if !names.contains(name) && names.len() < max {
                names.push(name.clone());
            }
        }
    }
    names
}

/// Whether `key` names a profile.
fn is_profile_key(key: &str) -> bool {
    [CONTAINER_KEY, OUR_PREFIX, BETA_KEY]
        .iter()
        .any(|prefix| key.starts_with(prefix))
}

/// Who the container is, in the words of the engine that speaks.
fn identity(annotations: &Annotations, caller: Caller<'_>) -> Result<Request> {
    let get = |key: &str| annotations.get(key).filter(|v| !v.is_empty()).cloned();
    let keys = annotations.iter().filter(|(k, _)| is_profile_key(k));
    let mut request = Request {
        engine: engine(annotations, caller)?,
        is_sandbox: false,
        namespace: None,
        pod: None,
        uid: None,
        container: None,
        sandbox: None,
        keys: keys.map(|(k, v)| (k.clone(), v.clone())).collect(),
        asked: None,
        engine_label: None,
    };
    match request.engine {
        Engine::CriO => crio::identify(&mut request, annotations, caller)?,
        // Written after what is passed on of the pod's annotations (containerd's
        // internal/cri/server/container_create.go and podsandbox/sandbox_run_linux.go).
        Engine::Containerd => {
            request.sandbox = get("io.kubernetes.cri.sandbox-id");
            request.pod = get("io.kubernetes.cri.sandbox-name");
            // The namespace exempts from the node's demands, and the UID tells pods apart; docker's
            // users can write annotations too.
            let by_cri = in_task(caller, "k8s.io");
            request.namespace = get("io.kubernetes.cri.sandbox-namespace").filter(|_| by_cri);
            request.uid = get("io.kubernetes.cri.sandbox-uid").filter(|_| by_cri);
            request.is_sandbox = get("io.kubernetes.cri.container-type").as_deref()
                == Some("sandbox")
                && !caller.id.is_empty()
                && request.sandbox.as_deref() == Some(caller.id);
            if !request.is_sandbox {
                request.container = get("io.kubernetes.cri.container-name");
            }
        }
        Engine::Podman | Engine::Other => {}
    }
    Ok(request)
}

/// Which engine speaks.
fn engine(annotations: &Annotations, caller: Caller<'_>) -> Result<Engine> {
    if crio::made_it(annotations, caller)? {
        return Ok(Engine::CriO);
    }
    // podman leaves a manager that is already there, so any value means podman, unless the bundle
    // is where only containerd puts it; there a pod's annotation may have been passed through.
    if annotations.contains_key("io.container.manager") && !is_containerd_bundle(caller.bundle) {
        return Ok(Engine::Podman);
    }
    if annotations.contains_key("io.kubernetes.cri.container-type") {
        return Ok(Engine::Containerd);
    }
    Ok(Engine::Other)
}

/// Whether the bundle is where only containerd puts it:
/// `<state>/io.containerd.runtime.v2.task/<containerd namespace>/<id>`, since containerd 1.2.
fn is_containerd_bundle(bundle: &Path) -> bool {
    bundle.components().any(|c| c.as_os_str() == TASKS)
}

/// Whether the bundle is one of this namespace of containerd; `k8s.io` is Kubernetes' own.
fn in_task(caller: Caller<'_>, namespace: &str) -> bool {
    let mut components = caller.bundle.components().map(|c| c.as_os_str());
    components.any(|c| c == TASKS) && components.next().is_some_and(|c| c == namespace)
}

/// The strongest of keys 1 to 3.
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

/// The key of one family that means this container.
fn for_this_container<'a>(
    request: &'a Request,
    annotations: &Annotations,
    family: &str,
) -> Result<Option<(String, &'a String)>> {
    if let Some(container) = &request.container {
        let key = format!("{family}{container}");
        return Ok(request.keys.get(&key).map(|value| (key, value)));
    }
    let mut all = request
        .keys
        .iter()
        .filter(|(key, _)| key.starts_with(family));
    let Some((key, value)) = all.next() else {
        return Ok(None);
    };
    // podman kube play gives the whole pod's annotations to each container, and no name.
    if annotations.contains_key("io.kubernetes.cri-o.SandboxID") {
        return Err(Error::new(
            Kind::Policy,
            format!(
                "the annotation {} cannot be matched: this engine tells no container names",
                quoted(key)
            ),
        )
        .with_remedy(format!(
            "use {PLAIN_KEY}, which means every container of the pod"
        )));
    }
    if let Some((other, _)) = all.next() {
        return Err(Error::new(
            Kind::Policy,
            format!(
                "the annotations {} and {} cannot be matched: this engine tells no container names",
                quoted(key),
                quoted(other)
            ),
        )
        .with_remedy(format!("keep one of them, or use {PLAIN_KEY}")));
    }
    Ok(Some((key.clone(), value)))
}

/// What the value of one annotation asks for; `None` where it counts as unset.
fn wish(key: &str, value: &str, plain_allowed: bool) -> Result<Option<Wish>> {
    match value {
        "unconfined" | "localhost/unconfined" => Ok(Some(Wish::Label(Label::unconfined()))),
        "runtime/default" => Ok(Some(Wish::RuntimeDefault)),
        // Kubernetes: an empty beta annotation is no annotation.
        "" if key.starts_with(BETA_KEY) => Ok(None),
        _ => {
            let name = match value.strip_prefix("localhost/") {
                Some(name) => name,
                None if plain_allowed => value,
                None => {
                    return Err(Error::new(
                        Kind::Policy,
                        format!(
                            "the annotation {} has the value {}",
                            quoted(key),
                            quoted(value)
                        ),
                    )
                    .with_remedy("it takes localhost/<profile>, runtime/default or unconfined"));
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
