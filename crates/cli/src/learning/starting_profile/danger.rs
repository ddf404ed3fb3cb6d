//! What a starting profile does not allow, although the container has it.

/// Sockets through which a process controls the node.
const SOCKETS: [&str; 7] = [
    "docker.sock",
    "containerd.sock",
    "crio.sock",
    "podman.sock",
    "cri-dockerd.sock",
    "buildkitd.sock",
    "kubelet.sock",
];

/// Directories of the node that hold its keys, its programs or its configuration.
const DIRECTORIES: [&str; 18] = [
    "",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var",
    "/var/lib",
    "/var/lib/kubelet",
    "/var/run",
    "/etc/kubernetes",
];

/// Where Kubernetes mounts the credentials of a pod's service account.
const TOKEN: &str = "/secrets/kubernetes.io/serviceaccount";

/// Why a bind mount is not allowed unasked.
pub(super) fn of_bind(source: &str, destination: &str) -> Option<&'static str> {
    let name = source.rsplit('/').next().unwrap_or_default();
    if SOCKETS.contains(&name) {
        return Some("this socket gives the rights of root on the node");
    }
    if DIRECTORIES.contains(&source.trim_end_matches('/')) {
        return Some("this is a directory of the node; allow the files that the program needs");
    }
    if destination.trim_end_matches('/').ends_with(TOKEN) {
        return Some("these are the credentials of the pod's service account");
    }
    None
}

/// Why a device node is not allowed unasked.
pub(super) fn of_device(path: &str, kind: &str) -> Option<&'static str> {
    match path {
        "/dev/mem" | "/dev/kmem" | "/dev/port" => Some("this is the memory of the node"),
        "/dev/kmsg" => Some("this is the log of the kernel"),
        _ if kind == "b" => Some("this is a disk of the node"),
        _ => None,
    }
}
