//! Which pod and container a bundle of CRI-O belongs to. Pure.
//!
//! CRI-O writes what it knows into the same map as the annotations of the pod. What was written
//! last can be believed. CRI-O 1.37 writes in this order:
//!
//! - **A container** (`internal/factory/container/container.go`, `SpecAddAnnotations`): the pod's
//!   annotations, then CRI-O's own, then those of the CRI request for the container, then that
//!   request's labels. The kubelet gives the four labels `io.kubernetes.pod.{name,namespace,uid}`
//!   and `io.kubernetes.container.name` (its `kuberuntime/labels.go`, `newContainerLabels`);
//!   other clients may give none, and then an annotation of the pod can stand there.
//! - **A restored container** (`server/container_restore.go`, `CRImportCheckpoint`): the same, but
//!   with the annotations of the checkpoint image in place of those of the request. So an image
//!   can overwrite all that CRI-O wrote before. `internal/lib/restore.go`, `ContainerRestore`, then writes `Name`,
//!   `SandboxID` and `SandboxName` once more.
//! - **A sandbox** (`server/sandbox_run_linux.go`, `runPodSandbox`): CRI-O's own, then the pod's
//!   annotations, then the labels: those of the pod, with the kubelet's three over them
//!   (`newPodLabels`; CRI-O adds those that a client leaves out, `populateSandboxLabels`), and
//!   `io.kubernetes.container.name` as `POD` (`prepareSandboxMetadataAndLabels`).
//!
//! Two facts remain that no pod or image can forge. The id of a container is not known to its
//! author beforehand. And each name stands in several annotations, of which an author can never
//! overwrite all: where they differ, the container is refused.

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

/// Whether CRI-O made this bundle. It always writes the id of the container into it; podman and
/// containerd never do.
///
/// # Errors
/// [`Kind::Policy`] where it is another id: a pod or a checkpoint image has overwritten it.
pub(super) fn is_its_bundle(annotations: &Annotations, caller: Caller<'_>) -> Result<bool> {
    match annotations.get(CONTAINER_ID) {
        // Only podman calls a hook without the id.
        None => Ok(false),
        Some(_) if caller.id.is_empty() => Ok(false),
        Some(id) if id == caller.id => Ok(true),
        Some(id) => Err(forged(format!(
            "the annotation {CONTAINER_ID} names another container, {}",
            quoted(id)
        ))),
    }
}

/// Fills in the pod and the container of a bundle of CRI-O, as far as they can be believed.
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
    // In a container this annotation is never its own id: CRI-O writes it after all others.
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
            "this is the sandbox of a pod, but the annotation {SANDBOX_ID} names another one, {}",
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

/// What CRI-O writes of `ContainerMetadata`.
#[derive(Deserialize)]
struct Metadata {
    name: Option<String>,
}

/// Container, pod, namespace and uid in a container's full name: `k8s_CONTAINER_POD_NAMESPACE_UID_N`
/// (`SetNameAndID`), restored as `k8s_` that name `_POD_NAMESPACE_UID0` (`ContainerRestore`).
/// In Kubernetes none of them has an underscore. Where another client uses one, none is known.
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

/// The value that CRI-O wrote, if no other annotation for the same thing contradicts it.
fn agreed(what: &str, said: Option<&str>, others: &[Option<&str>]) -> Result<Option<String>> {
    let Some(said) = said.filter(|word| !word.is_empty()) else {
        return Ok(None);
    };
    match others.iter().flatten().find(|word| **word != said) {
        None => Ok(Some(said.to_owned())),
        Some(other) => Err(forged(format!(
            "the annotations contradict each other about the {what}: {} and {}",
            quoted(said),
            quoted(other)
        ))),
    }
}

fn forged(why: String) -> Error {
    Error::new(Kind::Policy, why).with_remedy(
        "remove the annotations that begin with io.kubernetes from the pod, or do not restore \
         this checkpoint",
    )
}

#[cfg(test)]
mod tests;
