//! Who a bundle of CRI-O's is. Pure.
//!
//! CRI-O keeps what it knows in annotations, among those of the pod, so which of them can be
//! believed is a question of who writes last. As CRI-O 1.37 does it:
//!
//! - **A container** (`internal/factory/container/container.go`, `SpecAddAnnotations`): the pod's
//!   annotations, then CRI-O's own, then those of the CRI request for the container, then that
//!   request's labels. The kubelet gives the four labels `io.kubernetes.pod.{name,namespace,uid}`
//!   and `io.kubernetes.container.name` (its `kuberuntime/labels.go`, `newContainerLabels`);
//!   other clients may give none, and then a pod's annotation of that name stands there.
//! - **A restored container** (`server/container_restore.go`, `CRImportCheckpoint`): the same,
//!   but the request's annotations are those of the checkpoint image, so an image overwrites all
//!   that CRI-O wrote before. `internal/lib/restore.go`, `ContainerRestore`, then writes `Name`,
//!   `SandboxID` and `SandboxName` once more.
//! - **A sandbox** (`server/sandbox_run_linux.go`, `runPodSandbox`): CRI-O's own, then the pod's
//!   annotations, then the labels: those of the pod, with the kubelet's three over them
//!   (`newPodLabels`; CRI-O adds those that a client leaves out, `populateSandboxLabels`), and
//!   `io.kubernetes.container.name` as `POD` (`prepareSandboxMetadataAndLabels`).
//!
//! What is left is little: the id of a container, which none of these authors knows beforehand;
//! and that of several words for one thing at least one is not theirs. So words that differ are
//! refused, and nothing is gained by forging one.

use serde::Deserialize;

use crate::bundle::Annotations;
use crate::error::{Error, Kind, Result, quoted};
use crate::request::{Caller, Request};

const CONTAINER_ID: &str = "io.kubernetes.cri-o.ContainerID";
const SANDBOX_ID: &str = "io.kubernetes.cri-o.SandboxID";
const NAME: &str = "io.kubernetes.cri-o.Name";
const METADATA: &str = "io.kubernetes.cri-o.Metadata";

const CONTAINER_NAME: &str = "io.kubernetes.container.name";
const POD_NAME: &str = "io.kubernetes.pod.name";
const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
const POD_UID: &str = "io.kubernetes.pod.uid";

/// The container name of a sandbox (`internal/oci/oci.go`, `InfraContainerName`). No container
/// of Kubernetes has capitals in its name.
const INFRA: &str = "POD";

/// Whether CRI-O made this bundle. It alone writes a container's id into it, and always; podman
/// and containerd never do.
///
/// # Errors
/// [`Kind::Policy`] where another id stands there: a pod or a checkpoint image has overwritten it.
pub(super) fn made_it(annotations: &Annotations, caller: Caller<'_>) -> Result<bool> {
    match annotations.get(CONTAINER_ID) {
        // A hook that is not told the id is podman's.
        None => Ok(false),
        Some(_) if caller.id.is_empty() => Ok(false),
        Some(id) if id == caller.id => Ok(true),
        Some(id) => Err(forged(format!(
            "the annotation {CONTAINER_ID} names another container, {}",
            quoted(id)
        ))),
    }
}

/// Puts into `request` who a bundle of CRI-O's is, as far as that can be believed.
///
/// # Errors
/// [`Kind::Policy`] where its annotations contradict each other.
pub(super) fn identify(
    request: &mut Request,
    annotations: &Annotations,
    caller: Caller<'_>,
) -> Result<()> {
    let get = |key: &str| {
        let value = annotations.get(key).map(String::as_str);
        value.filter(|value| !value.is_empty())
    };
    let owned = |value: Option<&str>| value.map(str::to_owned);
    let sandbox = get(SANDBOX_ID);
    request.sandbox = owned(sandbox);
    // A container's own id never stands there: what does is written after all that others write.
    if sandbox == Some(caller.id) {
        request.is_sandbox = true;
        request.namespace = owned(get(POD_NAMESPACE));
        request.pod = owned(get(POD_NAME));
        request.uid = owned(get(POD_UID));
        return Ok(());
    }
    // A pod can overwrite the id in its sandbox, but not this label.
    if get(CONTAINER_NAME) == Some(INFRA) {
        return Err(forged(format!(
            "it is a pod's sandbox, but the annotation {SANDBOX_ID} names another one, {}",
            quoted(sandbox.unwrap_or_default())
        )));
    }
    let [container, pod, namespace, uid] = get(NAME).map_or([None; 4], parts);
    let metadata = get(METADATA).and_then(|json| serde_json::from_str::<Metadata>(json).ok());
    let metadata = metadata.as_ref().and_then(|m| m.name.as_deref());
    // A label alone proves nothing: it may be an annotation of the pod.
    request.namespace = agreed("namespace", namespace, &[get(POD_NAMESPACE)])?;
    request.pod = agreed("pod", pod, &[get(POD_NAME)])?;
    request.uid = agreed("pod's UID", uid, &[get(POD_UID)])?;
    request.container = agreed(
        "container's name",
        container.or(metadata),
        &[metadata, get(CONTAINER_NAME)],
    )?;
    Ok(())
}

/// What CRI-O keeps of a container's `ContainerMetadata`.
#[derive(Deserialize)]
struct Metadata {
    name: Option<String>,
}

/// Container, pod, namespace and uid in a container's full name: `k8s_CONTAINER_POD_NAMESPACE_UID_N`
/// (`SetNameAndID`), restored as `k8s_` that name `_POD_NAMESPACE_UID0` (`ContainerRestore`).
/// None of them has an underscore in Kubernetes; where another client's has, nothing is told.
fn parts(name: &str) -> [Option<&str>; 4] {
    let parts: Vec<&str> = name.split('_').collect();
    let told = match *parts.as_slice() {
        ["k8s", container, pod, namespace, uid, _] => Some([container, pod, namespace, uid]),
        [
            "k8s",
            "k8s",
            container,
            pod,
            namespace,
            uid,
            _,
            again_pod,
            again_namespace,
            again_uid,
        ] => Some([container, pod, namespace, uid]).filter(|_| {
            (again_pod, again_namespace, again_uid.strip_suffix('0')) == (pod, namespace, Some(uid))
        }),
        _ => None,
    };
    told.map_or([None; 4], |told| told.map(Some))
}

/// What CRI-O says, if no other word for the same thing contradicts it.
fn agreed(what: &str, said: Option<&str>, others: &[Option<&str>]) -> Result<Option<String>> {
    let Some(said) = said.filter(|word| !word.is_empty()) else {
        return Ok(None);
    };
    match others.iter().flatten().find(|word| **word != said) {
        None => Ok(Some(said.to_owned())),
        Some(other) => Err(forged(format!(
            "its annotations contradict each other on the {what}: {} and {}",
            quoted(said),
            quoted(other)
        ))),
    }
}

fn forged(why: String) -> Error {
    Error::new(Kind::Policy, why).with_remedy(
        "take annotations that begin with io.kubernetes out of the pod, or do not restore this \
         checkpoint",
    )
}

#[cfg(test)]
mod tests;
