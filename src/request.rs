//! Which profile a container requests, and by which key. Pure.
//!
//! Pod authors write the annotations, so they are hostile. The container id and the path of the
//! bundle come from the engine; they are trusted.

mod crio;
mod identity;
mod types;

use crate::apparmor::name::{Label, ProfileName};
use crate::bundle::Annotations;
use crate::error::{Error, Kind, Result, quoted};
use types::OUR_PREFIX;

pub use types::{
    BETA_KEY, CONTAINER_KEY, Caller, EngineFamily, Key, PLAIN_KEY, PROFILE_FIELD, Request,
    RequestedLabel,
};

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
        .map(|text| Label::parse(text).map_err(|e| e.about(PROFILE_FIELD)))
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
            .map(|l| (Key::Bundle, RequestedLabel::Label(l)));
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
        let Ok(Some(RequestedLabel::Label(label))) = requested(key, value, without_prefix) else {
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

/// The strongest annotation that is for this container.
fn annotated(
    request: &Request,
    annotations: &Annotations,
) -> Result<Option<(Key, RequestedLabel)>> {
    if let Some((key, value)) = for_this_container(request, annotations, CONTAINER_KEY)?
        && let Some(label) = requested(&key, value, true)?
    {
        return Ok(Some((Key::Container(key), label)));
    }
    if let Some(value) = request.keys.get(PLAIN_KEY)
        && let Some(label) = requested(PLAIN_KEY, value, true)?
    {
        return Ok(Some((Key::Plain, label)));
    }
    if let Some((key, value)) = for_this_container(request, annotations, BETA_KEY)?
        && let Some(label) = requested(&key, value, false)?
    {
        return Ok(Some((Key::Beta(key), label)));
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
fn requested(key: &str, value: &str, without_prefix: bool) -> Result<Option<RequestedLabel>> {
    match value {
        "unconfined" | "localhost/unconfined" => {
            Ok(Some(RequestedLabel::Label(Label::unconfined())))
        }
        "runtime/default" => Ok(Some(RequestedLabel::RuntimeDefault)),
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
            Ok(Some(RequestedLabel::Label(Label::of([name]))))
        }
    }
}

#[cfg(test)]
mod tests;
