//! Which engine made a bundle, and what container it says this is. Pure.
//!
//! CRI-O and podman copy every annotation of a pod to its containers, so a pod can carry the keys
//! of another engine. The engine is identified from facts that a pod author cannot set, and only
//! its keys are read.

use std::path::Path;

use crate::bundle::Annotations;
use crate::error::Result;
use crate::request::crio;
use crate::request::types::{Caller, EngineFamily, Request, is_profile_key};

/// The directory of containerd's tasks.
const TASKS: &str = "io.containerd.runtime.v2.task";

/// What the engine says about a container: kind, pod, name.
pub(super) fn of(annotations: &Annotations, caller: Caller<'_>) -> Result<Request> {
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
        EngineFamily::CriO => crio::identify(&mut request, annotations, caller)?,
        // containerd writes these after the annotations that it passes on from the pod
        // (internal/cri/server/container_create.go, podsandbox/sandbox_run_linux.go).
        EngineFamily::Containerd => {
            request.sandbox = get("io.kubernetes.cri.sandbox-id");
            request.pod = get("io.kubernetes.cri.sandbox-name");
            // The namespace can exempt from default_profile and floor, and the UID identifies the
            // pod. A user of docker can write these annotations as well, so they count only in a
            // bundle of the CRI plugin.
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
        EngineFamily::Podman | EngineFamily::Other => {}
    }
    Ok(request)
}

/// The engine whose annotations are read.
fn engine(annotations: &Annotations, caller: Caller<'_>) -> Result<EngineFamily> {
    if crio::is_its_bundle(annotations, caller)? {
        return Ok(EngineFamily::CriO);
    }
    // podman keeps a value of io.container.manager that is already there, so any value means
    // podman. containerd may pass this annotation on from a pod; its bundles are known by their
    // path.
    if annotations.contains_key("io.container.manager") && !is_containerd_bundle(caller.bundle) {
        return Ok(EngineFamily::Podman);
    }
    if annotations.contains_key("io.kubernetes.cri.container-type") {
        return Ok(EngineFamily::Containerd);
    }
    Ok(EngineFamily::Other)
}

/// Whether the bundle is one of containerd:
/// `<state>/io.containerd.runtime.v2.task/<containerd namespace>/<id>`, since containerd 1.2.
fn is_containerd_bundle(bundle: &Path) -> bool {
    bundle.components().any(|c| c.as_os_str() == TASKS)
}

/// Whether the bundle is one of this containerd namespace; the CRI plugin uses `k8s.io`.
fn in_task(caller: Caller<'_>, namespace: &str) -> bool {
    let mut components = caller.bundle.components().map(|c| c.as_os_str());
    components.any(|c| c == TASKS) && components.next().is_some_and(|c| c == namespace)
}
