//! What a pod's annotations of ours were when it was made; its containers must carry the same.
//!
//! Annotations of a pod can be edited while it runs, and that must not be a way out of a profile.
//! The record of a sandbox has them, but a pod can outlive its sandbox: where containers share a
//! process namespace, one of them can end the sandbox's process, and the kubelet then makes
//! another sandbox of the same pod, with the annotations of that day. So they are kept under the
//! pod's UID as well, beyond the sandbox.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::bundle::Annotations;
use crate::bundle::document::Document;
use crate::bundle::files::SpecFile;
use crate::containers::id;
use crate::containers::record::{self, Place, Record};
use crate::error::{Error, Kind, Result, quoted};
use crate::fs::digest;
use crate::fs::run;
use crate::request::{self, Caller, Engine, Request};

/// The version of the format.
const VERSION: u32 = 1;

/// As for records: annotations are bounded by Kubernetes at 256 KiB.
const MAX: u64 = 1 << 20;

/// How long a pod is remembered of which no container is left, since it was last heard of: its
/// sandbox may have ended, and the next one fail again and again before it comes to us.
const KEPT: Duration = Duration::from_hours(24);

const ANEW: &str = "delete the pod and make it anew";

/// What is remembered of one pod; `docs/formats.md` describes each field.
#[derive(Debug, Serialize, Deserialize)]
struct Pod {
    version: u32,
    namespace: String,
    pod: String,
    uid: String,
    annotations: Annotations,
}

/// Refuses a container or a sandbox whose annotations of ours are not those of its pod.
///
/// # Errors
/// [`Kind::Policy`]; also where what is remembered of the pod is there and cannot be relied on.
pub(crate) fn check(
    request: &Request,
    root: &Path,
    caller: Caller<'_>,
    restored: bool,
) -> Result<()> {
    // Where there is no place for what is remembered, nothing is.
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
            match by_sandbox(Place { root, id: sandbox })? {
                None if request.engine == Engine::CriO => by_bundle(caller, sandbox)?,
                known => known,
            }
        }
        _ => None,
    };
    let Some(known) = known else {
        // Keys of a checkpoint image come to stand among those of the pod (see `request/crio.rs`).
        return match request.keys.keys().next() {
            Some(key) if restored && request.engine == Engine::CriO => Err(Error::new(
                Kind::Policy,
                format!(
                    "nothing tells whether the annotation {} is its pod's or the checkpoint's",
                    quoted(key)
                ),
            )
            .with_remedy("start the container from its image instead of restoring it")),
            _ => Ok(()),
        };
    };
    let mut keys = known.keys().chain(request.keys.keys());
    let Some(key) = keys.find(|key| known.get(*key) != request.keys.get(*key)) else {
        return Ok(());
    };
    // While it is tried again, it is not forgotten.
    if let Some(file) = &file {
        heard_of(file);
    }
    Err(Error::new(
        Kind::Policy,
        format!(
            "the annotation {} is not what it was when the pod was made",
            quoted(key)
        ),
    )
    .with_remedy(match request.is_sandbox {
        // What crictl makes has the UID that its file says.
        true => format!("{ANEW}, under another UID"),
        false => ANEW.to_owned(),
    }))
}

/// Remembers the pod of a sandbox that is about to be made.
///
/// # Errors
/// Where that cannot be written; the sandbox must then not be made.
pub(crate) fn remember(request: &Request) -> Result<()> {
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
    let pod = Pod {
        version: VERSION,
        namespace,
        pod,
        uid,
        annotations: request.keys.clone(),
    };
    let text = serde_json::to_vec(&pod).map_err(|e| Error::io("write", &path, &e.into()))?;
    let _together = record::together()?;
    run::replace(&path, &text).map_err(|e| {
        e.about("what is remembered of the pod")
            .with_remedy("free or repair /run")
    })
}

/// A container of this record has gone: its pod may go on without one for a while.
pub(crate) fn outlives(record: &Record) {
    if let Ok(Some(path)) = of(record) {
        heard_of(&path);
    }
}

/// Forgets pods of which no container is left and nothing was heard for long; returns how many.
/// `before` are the records from before those of containers that are gone were removed.
///
/// # Errors
/// Where they cannot be listed or locked.
pub fn tidy(before: &[Record]) -> Result<u64> {
    let files = |records: &[Record]| -> BTreeSet<PathBuf> {
        records.iter().filter_map(|r| of(r).ok()?).collect()
    };
    let (before, living) = (files(before), files(&record::all()?));
    let mut count: u64 = 0;
    for path in run::list(&directory()?)? {
        if living.contains(&path) {
            continue;
        }
        record::alone(|| {
            if before.contains(&path) {
                heard_of(&path);
            // What makes a sandbox writes it anew first, so an old one has none.
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

/// Where a pod is remembered, if the engine tells its UID. The names are in it so that a UID which
/// a pod might get past an old engine reaches no pod of another name.
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

/// Keeps it for another while; that this fails costs at most the while.
fn heard_of(path: &Path) {
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

/// What is remembered under a pod's UID.
fn by_uid(path: &Path) -> Result<Option<Annotations>> {
    let pod = run::read(path, MAX).and_then(|bytes| serde_json::from_slice::<Pod>(&bytes).ok());
    match pod.filter(|pod| pod.version == VERSION) {
        Some(pod) => Ok(Some(pod.annotations)),
        None => match path.symlink_metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => Err(unreliable("cannot be read or relied on".to_owned()).with_remedy(ANEW)),
        },
    }
}

/// What is recorded of its sandbox. Only one that was made before us has no record.
fn by_sandbox(place: Place<'_>) -> Result<Option<Annotations>> {
    if let Some(record) = record::read(place) {
        return Ok(Some(record.annotations));
    }
    if let Some(version) = record::newer(place) {
        let why = format!("is of the newer version {version}, which this program does not know");
        return Err(unreliable(why).with_remedy(format!("update oci-apparmor, or {ANEW}")));
    }
    match record::is_there(place) {
        false => Ok(None),
        true => Err(unreliable("cannot be read or relied on".to_owned()).with_remedy(ANEW)),
    }
}

fn unreliable(why: String) -> Error {
    Error::new(Kind::Policy, format!("what was recorded of its pod {why}"))
}

/// What a sandbox of CRI-O's has in its configuration. Usually nothing runs in it
/// (`drop_infra_ctr`), so no runtime was ever called for it; CRI-O writes its `config.json` all
/// the same (`server/sandbox_run_linux.go`, `configureAndSaveInfraContainer`), beside those of its
/// containers, in `overlay-containers/ID/userdata`. Containers get the annotations from CRI-O's
/// memory, which a restart fills from words that a pod may have forged (`LoadSandbox`).
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
    let file = SpecFile::config(&path)?;
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
        false => Err(unreliable(format!("is not in {}", path.display())).with_remedy(ANEW)),
    }
}
