//! Our annotations of each pod, as they were when the pod was created. Its containers must have the
//! same ones.
//!
//! Annotations can be edited while a pod runs, and that must not remove a profile. The record of the
//! sandbox has the annotations, but a pod can outlive its sandbox: if containers share a process
//! namespace, one of them can end the sandbox's process, and the kubelet then creates another sandbox
//! from the current annotations. So they are also stored under the pod's UID.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::bundle::Annotations;
use crate::bundle::document::Document;
use crate::bundle::files::BundleFile;
use crate::containers::id;
use crate::containers::record::{ContainerKey, Record};
use crate::containers::{records, records_lock};
use crate::error::{Error, Kind, Result, quoted};
use crate::fs::digest;
use crate::fs::run;
use crate::request::{self, Caller, EngineFamily, Request};

/// The version of the format.
const VERSION: u32 = 1;

/// Kubernetes limits annotations to 256 KiB.
const MAX: u64 = 1 << 20;

/// How long a pod without containers is kept since it was last used. After its sandbox has ended, the
/// engine may fail to create the next one for a while.
const KEPT: Duration = Duration::from_hours(24);

const RECREATE: &str = "delete the pod and create it again";

/// A stored pod; `docs/formats.md` describes each field.
#[derive(Debug, Serialize, Deserialize)]
struct StoredPod {
    version: u32,
    namespace: String,
    pod: String,
    uid: String,
    annotations: Annotations,
}

/// Refuses a container or a sandbox if our annotations in it differ from those of its pod.
///
/// # Errors
/// [`Kind::Policy`], also if the pod is stored and the file cannot be used.
pub(crate) fn check(
    request: &Request,
    root: &Path,
    caller: Caller<'_>,
    restored: bool,
) -> Result<()> {
    // Without a run-time directory nothing is stored.
    let file = file(
        request.namespace.as_deref(),
        request.pod.as_deref(),
        request.uid.as_deref(),
    )
    .unwrap_or_default();
    let by_uid = file.as_deref().map_or(Ok(None), by_uid)?;
    let known = match (by_uid, &request.sandbox) {
        (Some(known), _) => Some(known),
        (None, Some(sandbox)) if !request.is_sandbox && id::is_valid(sandbox) => {
            match by_sandbox(ContainerKey { root, id: sandbox })? {
                None if request.engine == EngineFamily::CriO => by_bundle(caller, sandbox)?,
                known => known,
            }
        }
        _ => None,
    };
    let Some(known) = known else {
        // CRI-O adds the annotations of a checkpoint image to those of the pod (see `request/crio.rs`).
        return match request.keys.keys().next() {
            Some(key) if restored && request.engine == EngineFamily::CriO => Err(Error::new(
                Kind::Policy,
                format!(
                    "cannot tell whether the annotation {} is from the pod or from the checkpoint",
                    quoted(key)
                ),
            )
            .with_remedy("create the container from its image instead of restoring it")),
            _ => Ok(()),
        };
    };
    let mut keys = known.keys().chain(request.keys.keys());
    let Some(key) = keys.find(|key| known.get(*key) != request.keys.get(*key)) else {
        return Ok(());
    };
    // The pod stays stored while the engine tries again.
    if let Some(file) = &file {
        touch(file);
    }
    Err(Error::new(
        Kind::Policy,
        format!(
            "the annotation {} has changed since the pod was created",
            quoted(key)
        ),
    )
    .with_remedy(match request.is_sandbox {
        // A pod made with crictl has the UID in its file, and keeps it.
        true => format!("{RECREATE}, with another UID"),
        false => RECREATE.to_owned(),
    }))
}

/// Stores the pod of a sandbox that is about to be created.
///
/// # Errors
/// If it cannot be written. The sandbox must then not be created.
pub(crate) fn store(request: &Request) -> Result<()> {
    let (Some(namespace), Some(pod), Some(uid)) = (
        request.namespace.clone(),
        request.pod.clone(),
        request.uid.clone(),
    ) else {
        return Ok(());
    };
    let Some(path) = file(Some(&namespace), Some(&pod), Some(&uid))? else {
        return Ok(());
    };
    let pod = StoredPod {
        version: VERSION,
        namespace,
        pod,
        uid,
        annotations: request.keys.clone(),
    };
    let text = serde_json::to_vec(&pod).map_err(|e| Error::io("write", &path, &e.into()))?;
    let _lock = records_lock::shared()?;
    run::replace(&path, &text).map_err(|e| {
        e.about("the annotations of the pod")
            .with_remedy("free space in /run, or make it writable")
    })
}

/// Keeps the pod of a container that was deleted: it may have no container for a while.
pub(crate) fn container_deleted(record: &Record) {
    if let Ok(Some(path)) = of(record) {
        touch(&path);
    }
}

/// Removes pods that have had no container for a day; returns their number. `before` are the records
/// as they were before those of deleted containers were removed.
///
/// # Errors
/// If pods or records cannot be listed or locked.
pub fn tidy(before: &[Record]) -> Result<u64> {
    let files = |records: &[Record]| -> BTreeSet<PathBuf> {
        records.iter().filter_map(|r| of(r).ok()?).collect()
    };
    let (before, living) = (files(before), files(&records::all()?));
    let mut count: u64 = 0;
    for path in run::list(&directory()?)? {
        if living.contains(&path) {
            continue;
        }
        records_lock::exclusive(|| {
            if before.contains(&path) {
                touch(&path);
            // A sandbox that is being created has just been stored, so it is not old.
            } else if is_old(&path) && fs::remove_file(&path).is_ok() {
                count = count.saturating_add(1);
            }
        })?;
    }
    Ok(count)
}

fn directory() -> Result<PathBuf> {
    Ok(run::path()?.join("pods"))
}

/// The file of a pod, if its UID is known. Its name depends on namespace and pod name as well, so that
/// a forged UID matches no pod of another name.
fn file(namespace: Option<&str>, pod: Option<&str>, uid: Option<&str>) -> Result<Option<PathBuf>> {
    let (Some(namespace), Some(pod), Some(uid)) = (namespace, pod, uid) else {
        return Ok(None);
    };
    let name = digest::short(format!("{namespace}\0{pod}\0{uid}").as_bytes());
    Ok(Some(directory()?.join(name)))
}

fn of(record: &Record) -> Result<Option<PathBuf>> {
    file(
        record.namespace.as_deref(),
        record.pod.as_deref(),
        record.uid.as_deref(),
    )
}

/// Sets the time of the last use. If this fails, the pod is removed earlier.
fn touch(path: &Path) {
    let file = File::options()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
}

fn is_old(path: &Path) -> bool {
    let modified = path.symlink_metadata().and_then(|meta| meta.modified());
    let age = modified.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
    age.is_ok_and(|age| age > KEPT)
}

/// The annotations that are stored under a pod's UID.
fn by_uid(path: &Path) -> Result<Option<Annotations>> {
    let pod =
        run::read(path, MAX).and_then(|bytes| serde_json::from_slice::<StoredPod>(&bytes).ok());
    match pod.filter(|pod| pod.version == VERSION) {
        Some(pod) => Ok(Some(pod.annotations)),
        None => match path.symlink_metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => Err(unusable("it cannot be read or is not trusted")),
        },
    }
}

/// The annotations in the record of the sandbox. A sandbox that is older than the wrapper has none.
fn by_sandbox(sandbox: ContainerKey<'_>) -> Result<Option<Annotations>> {
    if let Some(record) = records::read(sandbox) {
        return Ok(Some(record.annotations));
    }
    if let Some(version) = records::newer_version(sandbox) {
        let why = format!("it has version {version}, which this oci-apparmor does not support");
        return Err(unusable(&why).with_remedy(format!("update oci-apparmor, or {RECREATE}")));
    }
    match records::exists(sandbox) {
        false => Ok(None),
        true => Err(unusable("it cannot be read or is not trusted")),
    }
}

fn unusable(why: &str) -> Error {
    let why = format!("the record of the pod cannot be used: {why}");
    Error::new(Kind::Policy, why).with_remedy(RECREATE)
}

/// The annotations in the configuration of a CRI-O sandbox. Usually nothing runs in such a sandbox
/// (`drop_infra_ctr`), so no runtime was called for it. CRI-O still writes its `config.json`
/// (`server/sandbox_run_linux.go`, `configureAndSaveInfraContainer`), beside those of its
/// containers, in `overlay-containers/ID/userdata`. Containers get the annotations that CRI-O has in
/// memory; after a restart it reads them from values that a pod may have forged (`LoadSandbox`).
fn by_bundle(caller: Caller<'_>, sandbox: &str) -> Result<Option<Annotations>> {
    let own = Path::new(caller.id).join("userdata");
    let all = caller.bundle.ancestors().nth(2);
    let Some(all) = all.filter(|all| all.join(&own) == caller.bundle) else {
        return Ok(None);
    };
    let bundle = all.join(sandbox).join("userdata");
    let path = bundle.join("config.json");
    if path
        .symlink_metadata()
        .is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
    {
        return Ok(None);
    }
    let file = BundleFile::config(&path)?;
    let document = Document::config(file.bytes())
        .map_err(|e| e.about(&format!("{} is refused", path.display())))?;
    let caller = Caller {
        id: sandbox,
        bundle: &bundle,
    };
    let of_sandbox = request::read(document.annotations(), None, caller)
        .map_err(|e| e.about("the sandbox of its pod"))?;
    match of_sandbox.is_sandbox {
        true => Ok(Some(of_sandbox.keys)),
        false => {
            let why = format!("{} is not the configuration of a sandbox", path.display());
            Err(unusable(&why))
        }
    }
}
