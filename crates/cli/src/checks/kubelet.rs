//! Which engine of this node is the kubelet's.

use std::path::{Path, PathBuf};

use crate::checks::wiring::EngineWiring;
use crate::engine::daemon::{daemons, value};
use oci_apparmor::fs::trusted;

/// Where kubeadm has the kubelet's configuration.
const CONFIGURATION: &str = "/var/lib/kubelet/config.yaml";

/// The largest configuration that is read.
const MAX: u64 = 1 << 20;

/// The key of the endpoint in the configuration; the option has precedence (`kubelet --help`).
const KEY: &str = "containerRuntimeEndpoint:";

/// Where the running kubelet finds its engine. k3s and its like have the kubelet in a program of
/// their own, with an endpoint of their own.
pub(crate) fn endpoint() -> Option<String> {
    let kubelet = daemons(&["kubelet"]).into_iter().next()?;
    if let Some(endpoint) = value(&kubelet.words, &["container-runtime-endpoint"]) {
        return Some(endpoint.to_owned());
    }
    let file = kubelet.file(&["config"]);
    let file = file.unwrap_or_else(|| PathBuf::from(CONFIGURATION));
    in_configuration(&String::from_utf8_lossy(&read(&file)?))
}

fn read(path: &Path) -> Option<Vec<u8>> {
    trusted::read(path, MAX).ok()
}

/// The value of the key, which stands at the beginning of a line.
fn in_configuration(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(KEY))?;
    let value = value.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

/// Puts the engine of the kubelet first, and engines that no kubelet uses last.
pub(crate) fn sort(engines: &mut [EngineWiring], endpoint: Option<&str>) {
    engines.sort_by_key(|engine| rank(engine, endpoint));
}

fn rank(engine: &EngineWiring, endpoint: Option<&str>) -> u8 {
    let of_distribution = engine.title != "containerd";
    let is_named = endpoint.is_some_and(|endpoint| {
        let mut distributions = ["k3s", "rke2", "k0s", "microk8s"].into_iter();
        match engine.engine {
            "crio" => endpoint.contains("crio"),
            "docker" => endpoint.contains("dockerd"),
            "containerd" => {
                let named = distributions.any(|name| endpoint.contains(name));
                endpoint.contains("containerd") && named == of_distribution
            }
            _ => false,
        }
    });
    match engine.engine {
        _ if is_named => 0,
        "containerd" if of_distribution => 1,
        "containerd" => 2,
        "crio" => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::wiring::WrapperCalls;

    fn sorted(endpoint: Option<&str>) -> Vec<String> {
        let engine = |engine, title: &str| EngineWiring {
            engine,
            title: title.to_owned(),
            configuration: PathBuf::new(),
            calls: WrapperCalls::All,
            concern: None,
        };
        let mut all = [
            engine("docker", "docker"),
            engine("podman", "podman"),
            engine("containerd", "containerd"),
            engine("crio", "CRI-O"),
            engine("containerd", "containerd of k3s"),
        ];
        sort(&mut all, endpoint);
        all.into_iter().map(|engine| engine.title).collect()
    }

    #[test]
    fn the_engine_of_the_kubelet_is_the_first() {
        let first = |endpoint: &str| sorted(Some(endpoint)).remove(0);
        assert_eq!(first("unix:///var/run/crio/crio.sock"), "CRI-O");
        let system = first("unix:///run/containerd/containerd.sock");
        assert_eq!(system, "containerd");
        let k3s = first("/run/k3s/containerd/containerd.sock");
        assert_eq!(k3s, "containerd of k3s");
        assert_eq!(first("unix:///run/cri-dockerd.sock"), "docker");
        let unknown = sorted(None);
        assert_eq!(
            unknown,
            [
                "containerd of k3s",
                "containerd",
                "CRI-O",
                "docker",
                "podman"
            ]
        );
    }

    #[test]
    fn the_endpoint_is_read_from_the_configuration() {
        let of = |text: &str| in_configuration(text);
        let text = "kind: KubeletConfiguration\ncontainerRuntimeEndpoint: \"unix:///run/crio/crio.sock\"\n";
        assert_eq!(of(text).as_deref(), Some("unix:///run/crio/crio.sock"));
        assert_eq!(of("a: 1\n  containerRuntimeEndpoint: x\n"), None);
        assert_eq!(of("containerRuntimeEndpoint: ''\n"), None);
    }
}
