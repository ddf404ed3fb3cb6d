//! The names of a container, for people: from its bundle, and from what engines store.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use oci_apparmor::containers::record::Record;
use oci_apparmor_audit::text::OutsideText;

use super::attribution::Owner;

/// The largest file that is read: what is larger has no names that are worth the memory.
const MAX: u64 = 2 << 20;

/// What podman stores for root, without a bundle that says where.
const PODMAN: &str = "/var/lib/containers/storage/overlay-containers";

/// Where docker stores containers.
const DOCKER: &str = "/var/lib/docker/containers";

/// Annotations with the image, of containerd and CRI-O.
const IMAGE: [&str; 2] = [
    "io.kubernetes.cri.image-name",
    "io.kubernetes.cri-o.ImageName",
];

/// Annotations with the container's name: of containerd, of CRI-O and of nerdctl.
const NAME: [&str; 3] = [
    "io.kubernetes.cri.container-name",
    "io.kubernetes.container.name",
    "nerdctl/name",
];

/// The names of a container. An author of pods or images chooses some of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Description {
    pub(super) name: Option<String>,
    pub(super) image: Option<String>,
}

/// A container with a record.
pub(super) fn owner_of(record: &Record) -> Owner {
    let Description { name, image } = Description::of(record);
    Owner {
        id: record.id.clone(),
        name,
        pod: record.pod.clone(),
        namespace: record.namespace.clone(),
        image,
    }
}

impl Description {
    /// The names of a container with a record.
    fn of(record: &Record) -> Self {
        #[derive(Deserialize)]
        struct Config {
            #[serde(default)]
            annotations: BTreeMap<String, String>,
        }
        let config: Option<Config> = read(&record.bundle.join("config.json"));
        let annotations = config.map(|config| config.annotations).unwrap_or_default();
        let first = |keys: &[&str]| keys.iter().find_map(|key| annotations.get(*key)).cloned();
        let annotated = Self {
            name: record.container.clone().or_else(|| first(&NAME)),
            image: first(&IMAGE),
        };
        if annotated.name.is_some() && annotated.image.is_some() {
            return annotated.shown();
        }
        // podman's bundle is STORAGE/overlay-containers/ID/userdata.
        let storage = record.bundle.parent().and_then(Path::parent);
        let stored = storage.and_then(|storage| podman(storage, &record.id));
        let stored = stored.or_else(|| docker(&record.id)).unwrap_or_default();
        Self {
            name: annotated.name.or(stored.name),
            image: annotated.image.or(stored.image),
        }
        .shown()
    }

    /// The names of a container that only its control group is known of.
    pub(super) fn of_id(id: &str) -> Self {
        let stored = docker(id).or_else(|| podman(Path::new(PODMAN), id));
        stored.unwrap_or_default().shown()
    }

    /// As one line each.
    fn shown(self) -> Self {
        let shown = |text: String| OutsideText::new(text.into_bytes()).to_string();
        Self {
            name: self.name.map(shown),
            image: self.image.map(shown),
        }
    }
}

/// What podman stores (containers.json of containers/storage).
fn podman(storage: &Path, id: &str) -> Option<Description> {
    #[derive(Deserialize)]
    struct Stored {
        id: String,
        #[serde(default)]
        names: Vec<String>,
        #[serde(default)]
        metadata: String,
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "image-name")]
        image: Option<String>,
    }
    let all: Vec<Stored> = read(&storage.join("containers.json"))?;
    let stored = all.into_iter().find(|stored| stored.id == id)?;
    let metadata = serde_json::from_str::<Metadata>(&stored.metadata).ok();
    Some(Description {
        name: stored.names.into_iter().next(),
        image: metadata.and_then(|metadata| metadata.image),
    })
}

/// What docker stores.
fn docker(id: &str) -> Option<Description> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Stored {
        name: Option<String>,
        config: Option<Configuration>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Configuration {
        image: Option<String>,
    }
    if !oci_apparmor::containers::id::is_valid(id) {
        return None;
    }
    let stored: Stored = read(&Path::new(DOCKER).join(id).join("config.v2.json"))?;
    Some(Description {
        name: stored
            .name
            .map(|name| name.trim_start_matches('/').to_owned()),
        image: stored.config.and_then(|config| config.image),
    })
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let file = File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use oci_apparmor::containers::record::ContainerKey;

    use super::*;

    #[test]
    fn names_come_from_annotations_and_from_the_storage_of_podman() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = dir.path().join("overlay-containers/c1/userdata");
        fs::create_dir_all(&bundle).unwrap();
        let key = ContainerKey {
            root: Path::new("/r"),
            id: "c1",
        };
        let record = Record::new("crun", key, &bundle);
        let described = || Description::of(&record);
        let is = |name: Option<&str>, image: Option<&str>| Description {
            name: name.map(str::to_owned),
            image: image.map(str::to_owned),
        };
        assert_eq!(described(), Description::default());
        let containers = r#"[{"id":"c0","names":["x"]},
            {"id":"c1","names":["web\n"],"metadata":"{\"image-name\":\"localhost/web:1\"}"}]"#;
        fs::write(
            dir.path().join("overlay-containers/containers.json"),
            containers,
        )
        .unwrap();
        fs::write(bundle.join("config.json"), "{}").unwrap();
        assert_eq!(described(), is(Some(r"web\x0a"), Some("localhost/web:1")));
        let config = r#"{"annotations":{"io.kubernetes.cri.image-name":"nginx",
            "io.kubernetes.cri.container-name":"main"}}"#;
        fs::write(bundle.join("config.json"), config).unwrap();
        assert_eq!(described(), is(Some("main"), Some("nginx")));
    }
}
