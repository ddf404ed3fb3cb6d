//! The annotations that CRI-O writes into a bundle, and their order. An annotation that is written
//! later replaces an earlier one of the same key, so the order decides which of CRI-O's own keys the
//! author of a pod, or of a checkpoint image, can write over.
//!
//! From cri-o/cri-o f954a17e, 1.37.0. `crio.rs` compares them with those of a real CRI-O.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value, json};

pub(crate) type Pairs = Vec<(String, String)>;

pub(crate) fn pairs(of: &[(&str, &str)]) -> Pairs {
    of.iter()
        .map(|&(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

/// A number and an id that nothing else has.
fn next() -> (usize, String) {
    static COUNT: AtomicUsize = AtomicUsize::new(1);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    (number, format!("{number:064x}"))
}

/// What a client of CRI-O says of a pod, and the id that CRI-O gives to its sandbox.
#[derive(Clone)]
pub(crate) struct OfPod {
    pub(crate) sandbox: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    /// `RuntimeHandler`.
    pub(crate) handler: String,
    pub(crate) annotations: Pairs,
    /// The pod's own; [`OfPod::labels`] are all.
    pub(crate) labels: Pairs,
    /// Whether the sandbox has a container of its own (`drop_infra_ctr`, `pid: POD`).
    pub(crate) has_infra: bool,
}

impl OfPod {
    /// Another pod each time, with a UID and an id of its own.
    pub(crate) fn new(annotations: &[(String, String)]) -> Self {
        let (number, sandbox) = next();
        Self {
            sandbox,
            name: "pod".to_owned(),
            namespace: "team".to_owned(),
            uid: format!("uid-{number}"),
            handler: String::new(),
            annotations: annotations.to_vec(),
            labels: Pairs::new(),
            has_infra: true,
        }
    }

    /// `k8s_POD_pod_team_uid-1_0`, and the same of each container.
    pub(crate) fn full_name(&self, container: &str) -> String {
        let (name, namespace, uid) = (&self.name, &self.namespace, &self.uid);
        format!("k8s_{container}_{name}_{namespace}_{uid}_0")
    }

    /// Without a container's name.
    fn sandbox_name(&self) -> String {
        self.full_name("").replacen("__", "_", 1)
    }

    /// What the kubelet says in each label of a pod and of its containers
    /// (`newPodLabels` and `newContainerLabels` in `pkg/kubelet/kuberuntime/labels.go`).
    pub(crate) fn of_kubelet(&self) -> Pairs {
        pairs(&[
            ("io.kubernetes.pod.name", &self.name),
            ("io.kubernetes.pod.namespace", &self.namespace),
            ("io.kubernetes.pod.uid", &self.uid),
        ])
    }

    /// The labels of the sandbox: those of the pod, the kubelet's over them; where a client has none
    /// of the latter, CRI-O writes them (`populateSandboxLabels` in `server/sandbox_run_linux.go`),
    /// and always the name (`prepareSandboxMetadataAndLabels`, ibid.).
    pub(crate) fn all_labels(&self) -> Map<String, Value> {
        let infra = pairs(&[("io.kubernetes.container.name", "POD")]);
        written(&[&self.labels, &self.of_kubelet(), &infra])
    }

    /// The annotations of the sandbox: `runPodSandbox` in `server/sandbox_run_linux.go`.
    pub(crate) fn sandbox(&self) -> Map<String, Value> {
        let metadata = json!({"name": self.name, "uid": self.uid, "namespace": self.namespace});
        let of_pod = written(&[&self.annotations]);
        let labels = self.all_labels();
        // `setupSandboxAnnotations`, `setupSandboxPortMappings`, `setupSandboxCgroupPath`,
        // `setupSandboxResources`.
        let own = pairs(&[
            (METADATA, &metadata.to_string()),
            ("io.kubernetes.cri-o.Labels", &text_of(&labels)),
            ("io.kubernetes.cri-o.Annotations", &text_of(&of_pod)),
            ("io.kubernetes.cri-o.LogPath", "/var/log/pods/s.log"),
            (NAME, &self.sandbox_name()),
            ("io.kubernetes.cri-o.SandboxName", &self.sandbox_name()),
            ("io.kubernetes.cri-o.Namespace", &self.namespace),
            (TYPE, "sandbox"),
            (SANDBOX_ID, &self.sandbox),
            ("io.kubernetes.cri-o.Image", PAUSE),
            ("io.kubernetes.cri-o.ImageName", PAUSE),
            ("io.kubernetes.cri-o.ContainerName", &self.full_name("POD")),
            (ID, &self.sandbox),
            ("io.kubernetes.cri-o.ShmPath", "/run/containers/shm"),
            // Whatever shares a namespace with the node (`privilegedSandbox` in `server/utils.go`).
            ("io.kubernetes.cri-o.PrivilegedRuntime", "true"),
            ("io.kubernetes.cri-o.RuntimeHandler", &self.handler),
            ("io.kubernetes.cri-o.ResolvPath", "/run/containers/resolv"),
            ("io.kubernetes.cri-o.HostName", "node"),
            ("io.kubernetes.cri-o.NamespaceOptions", "{\"network\":2}"),
            ("io.kubernetes.cri-o.KubeName", &self.name),
            ("io.kubernetes.cri-o.HostNetwork", "true"),
            (MANAGER, "cri-o"),
            ("io.kubernetes.cri-o.Created", CREATED),
            ("io.kubernetes.cri-o.PortMappings", "[]"),
            ("io.kubernetes.cri-o.CgroupParent", ""),
            ("pod-linux-overhead.crio.io", "null"),
            ("pod-linux-resources.crio.io", "null"),
        ]);
        // `for k, v := range kubeAnnotations`, `for k, v := range result.labels`: over all of these.
        // Then `setupSandboxStorage`, `setupHostnameFile` and the profile of seccomp; and
        // `setupInfraContainer`, where the sandbox has no container.
        let last = pairs(&[
            ("io.kubernetes.cri-o.MountPoint", "/var/lib/containers/s"),
            ("io.kubernetes.cri-o.HostnamePath", "/run/containers/host"),
            ("io.kubernetes.cri-o.SeccompProfilePath", "Unconfined"),
            ("spoofed.crio.io", "true"),
        ]);
        let last = &last[..last.len() - usize::from(self.has_infra)];
        written(&[&own, &self.annotations, &texts(&labels), last])
    }
}

/// What a client of CRI-O says of a container, and the id that CRI-O gives to it.
#[derive(Clone)]
pub(crate) struct OfContainer {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The kubelet's; of a restored container, those of the checkpoint image
    /// (`CRImportCheckpoint` in `server/container_restore.go`, `originalAnnotations`).
    pub(crate) annotations: Pairs,
    /// The kubelet's, also where the container is restored; other clients have none.
    pub(crate) labels: Pairs,
    /// Whether it is one from a checkpoint image.
    pub(crate) restored: bool,
}

impl OfContainer {
    /// As the kubelet has it.
    pub(crate) fn new(pod: &OfPod, name: &str) -> Self {
        let mut labels = pairs(&[("io.kubernetes.container.name", name)]);
        labels.extend(pod.of_kubelet());
        Self {
            id: next().1,
            name: name.to_owned(),
            annotations: pairs(&[("io.kubernetes.container.restartCount", "0")]),
            labels,
            restored: false,
        }
    }

    /// As a client without the kubelet's labels and annotations has it, such as crictl.
    pub(crate) fn of_crictl(pod: &OfPod, name: &str) -> Self {
        Self {
            annotations: Pairs::new(),
            labels: Pairs::new(),
            ..Self::new(pod, name)
        }
    }

    /// As the kubelet has it, of an image with these annotations in its `spec.dump`.
    pub(crate) fn restored(pod: &OfPod, name: &str, of_image: &[(&str, &str)]) -> Self {
        Self {
            annotations: pairs(of_image),
            restored: true,
            ..Self::new(pod, name)
        }
    }

    /// The annotations of the container: `SpecAddAnnotations` in
    /// `internal/factory/container/container.go`.
    pub(crate) fn annotations(&self, pod: &OfPod) -> Map<String, Value> {
        let own = pairs(&[
            ("io.kubernetes.cri-o.Image", IMAGE),
            ("io.kubernetes.cri-o.ImageName", IMAGE),
            ("io.kubernetes.cri-o.ImageRef", &"e".repeat(64)),
            ("io.kubernetes.cri-o.ImageRepoDigests", "busybox@sha256:0"),
            (NAME, &pod.full_name(&self.name)),
            (ID, &self.id),
            (SANDBOX_ID, &pod.sandbox),
            ("io.kubernetes.cri-o.SandboxName", &pod.sandbox_name()),
            (TYPE, "container"),
            ("io.kubernetes.cri-o.LogPath", "/var/log/pods/c.log"),
            ("io.kubernetes.cri-o.TTY", "false"),
            ("io.kubernetes.cri-o.Stdin", "false"),
            ("io.kubernetes.cri-o.StdinOnce", "false"),
            ("io.kubernetes.cri-o.ResolvPath", "/run/containers/resolv"),
            (MANAGER, "cri-o"),
            ("io.kubernetes.cri-o.MountPoint", "/var/lib/containers/c"),
            ("io.kubernetes.cri-o.SeccompProfilePath", "Unconfined"),
            ("io.kubernetes.cri-o.Created", CREATED),
            ("platform-runtime-path.crio.io", ""),
            (METADATA, &json!({"name": self.name}).to_string()),
            ("io.kubernetes.cri-o.Labels", &text_of_request(&self.labels)),
            ("io.kubernetes.cri-o.Volumes", "[]"),
            (
                "io.kubernetes.cri-o.Annotations",
                &text_of_request(&self.annotations),
            ),
        ]);
        // Of a restored container some are written once more, when it is started:
        // `ContainerRestore` in `internal/lib/restore.go`.
        let name = pod.full_name(&pod.full_name(&self.name));
        let again = pairs(&[
            ("io.kubernetes.cri-o.SandboxName", &pod.sandbox_name()),
            (SANDBOX_ID, &pod.sandbox),
            // `k8s_%s_%s_%s_%s0`: without the last underscore.
            (NAME, &format!("{}0", name.strip_suffix("_0").unwrap())),
        ]);
        let again: &[_] = if self.restored { &again } else { &[] };
        // Those of the pod stand first, those of the container behind CRI-O's own, and the labels
        // last.
        let of_pod = &pod.annotations;
        written(&[of_pod, &own, &self.annotations, &self.labels, again])
    }
}

pub(crate) const MANAGER: &str = "io.container.manager";
pub(crate) const ID: &str = "io.kubernetes.cri-o.ContainerID";
pub(crate) const TYPE: &str = "io.kubernetes.cri-o.ContainerType";
pub(crate) const SANDBOX_ID: &str = "io.kubernetes.cri-o.SandboxID";
pub(crate) const METADATA: &str = "io.kubernetes.cri-o.Metadata";
pub(crate) const NAME: &str = "io.kubernetes.cri-o.Name";
const PAUSE: &str = "localhost/pause:1";
const IMAGE: &str = "docker.io/library/busybox:1.36";
const CREATED: &str = "2026-08-21T15:09:13.000000000Z";

/// Writes annotations as CRI-O does (`AddAnnotation` of runtime-tools), each over what is there.
fn written(steps: &[&[(String, String)]]) -> Map<String, Value> {
    let mut all = Map::new();
    for step in steps {
        all.extend(step.iter().map(|(k, v)| (k.clone(), json!(v))));
    }
    all
}

fn texts(all: &Map<String, Value>) -> Pairs {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.iter().map(|(k, v)| (k.clone(), text(v))).collect()
}

fn text_of(all: &Map<String, Value>) -> String {
    Value::Object(all.clone()).to_string()
}

/// A map that may not have been in the request is no map in Go.
fn text_of_request(of: &Pairs) -> String {
    match of.is_empty() {
        true => "null".to_owned(),
        false => text_of(&written(&[of])),
    }
}
