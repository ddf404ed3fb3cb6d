//! The configuration of a container on this node, and what its file system adds to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::learning::rootfs::RootDirectory;
use crate::learning::starting_profile::{ContainerSpec, Observed, Point, SpecMount};
use crate::log::recorded;
use oci_apparmor::bundle::files::BundleFile;
use oci_apparmor::containers::record::ContainerKey;
use oci_apparmor::containers::{records, runtime_state};
use oci_apparmor::error::{Error, Kind, Result, quoted};
use oci_apparmor::settings::RuntimeKind;

/// A container, as its bundle describes it.
#[derive(Debug)]
pub(crate) struct KnownContainer {
    /// Its configuration.
    pub(crate) spec: ContainerSpec,
    /// What its file system says.
    pub(crate) observed: Observed,
}

/// Where podman and CRI-O keep the bundles of containers, also of those that do not run
/// (containers/storage).
const STORAGE: &str = "/var/lib/containers/storage/overlay-containers";

/// Directories with the state of containers, and directories of such directories: the roots that
/// engines give to their runtimes (docs/engines.md).
const ROOTS: [&str; 3] = ["/run/runc", "/run/crun", "/run/youki"];
const ROOTS_BELOW: [&str; 2] = ["/run/containerd/runc", "/run/docker/runtime-runc"];

impl KnownContainer {
    /// Reads a bundle.
    ///
    /// # Errors
    /// If its `config.json` cannot be read.
    pub(crate) fn in_bundle(bundle: &Path) -> Result<Self> {
        let configuration = bundle.join("config.json");
        if !configuration.exists() {
            let why = format!("{} is no bundle: it has no config.json", bundle.display());
            return Err(Error::new(Kind::NotFound, why)
                .with_remedy("name the directory of a bundle, or a container: --container ID"));
        }
        Self::read(&configuration, bundle)
    }

    /// Finds a container by its id, by the beginning of it, or by its name if it has a record.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none, [`Kind::Usage`] if there are several, and the errors of
    /// reading its bundle.
    pub(crate) fn with_id(id: &str) -> Result<Self> {
        let mut found = BTreeMap::new();
        for (root, full) in with_prefix(id) {
            for runtime in RuntimeKind::ALL {
                let key = ContainerKey {
                    root: &root,
                    id: &full,
                };
                if runtime_state::is_created_by(runtime, key)
                    && let Some(state) = runtime_state::read(runtime, key)?
                {
                    found.insert(full.clone(), (state.configuration, state.bundle));
                    break;
                }
            }
        }
        for full in names(Path::new(STORAGE), id) {
            let bundle = Path::new(STORAGE).join(&full).join("userdata");
            let configuration = bundle.join("config.json");
            if configuration.is_file() {
                found.entry(full).or_insert((configuration, bundle));
            }
        }
        // An exact id is meant, even if others begin with it.
        let exact = found.remove(id);
        let one = match exact {
            Some(exact) => Some(exact),
            None if found.len() > 1 => {
                return Err(Error::new(
                    Kind::Usage,
                    format!(
                        "several containers have an id that begins with {}",
                        quoted(id)
                    ),
                )
                .with_remedy("give more of the id"));
            }
            None => found.into_values().next(),
        };
        if let Some((configuration, bundle)) = one {
            return Self::read(&configuration, &bundle);
        }
        match recorded(id) {
            Ok(record) => Self::in_bundle(&record.bundle),
            Err(e) if e.kind() == Kind::NotFound => Err(Error::new(
                Kind::NotFound,
                format!("no runtime has a container with the id {}", quoted(id)),
            )
            .with_remedy("start it, and give its id as the engine prints it, not its name")),
            Err(e) => Err(e),
        }
    }

    fn read(configuration: &Path, bundle: &Path) -> Result<Self> {
        let bundle =
            fs::canonicalize(bundle).map_err(|e| Error::io("find the bundle", bundle, &e))?;
        let file = BundleFile::config(configuration)?;
        let spec = ContainerSpec::parse(file.bytes())
            .map_err(|e| e.about(&configuration.display().to_string()))?;
        let root = spec.root().map(|root| bundle.join(root));
        let root = root.and_then(|root| RootDirectory::open(&root));
        let observed = observed(&spec, root.as_ref());
        Ok(Self { spec, observed })
    }
}

/// The runtime's root and the id of each container whose id begins with `id`.
fn with_prefix(id: &str) -> Vec<(PathBuf, String)> {
    let mut roots: Vec<PathBuf> = ROOTS.map(PathBuf::from).into();
    for above in ROOTS_BELOW {
        let entries = fs::read_dir(above).into_iter().flatten().flatten();
        roots.extend(entries.map(|entry| entry.path()));
    }
    // Roots that an engine was given with an option.
    let records = records::all().unwrap_or_default();
    roots.extend(records.into_iter().map(|record| record.root));
    roots.sort();
    roots.dedup();
    let in_root = |root: PathBuf| names(&root, id).into_iter().map(move |n| (root.clone(), n));
    roots.into_iter().flat_map(in_root).collect()
}

/// The entries of a directory that begin with `id`.
fn names(directory: &Path, id: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| !id.is_empty() && name.starts_with(id))
        .collect()
}

fn observed(spec: &ContainerSpec, root: Option<&RootDirectory>) -> Observed {
    let mut observed = Observed::default();
    if let Some(root) = root {
        for candidates in spec.programs() {
            let mut real = candidates.iter().filter_map(|path| root.resolve(path));
            observed.programs.extend(real.next().map(|(path, _)| path));
        }
    }
    for mount in spec.mounts() {
        let destination = mount.destination();
        let point = Point {
            path: match root {
                Some(root) => root.resolve_part(destination),
                None => continue,
            },
            is_directory: is_directory(mount),
        };
        observed.points.insert(destination.to_owned(), point);
    }
    observed
}

/// Whether a mount is a directory: only a bind mount can be of a file.
fn is_directory(mount: &SpecMount) -> Option<bool> {
    match mount.is_bind() {
        false => Some(true),
        true => fs::metadata(mount.source()).ok().map(|meta| meta.is_dir()),
    }
}
