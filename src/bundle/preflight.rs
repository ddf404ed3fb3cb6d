//! Bundles in which a runtime could write the label to another file than the kernel's.
//!
//! Current runtimes refuse these bundles themselves; old versions are still in use. A runtime
//! writes the label through `/proc` as the container sees it, so that must be procfs
//! (CVE-2019-16884, CVE-2023-27561, CVE-2023-28642), and no process may start in a directory that
//! is an open descriptor of the runtime (CVE-2024-21626).

use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{SFlag, fstatat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::bundle::document::Document;
use crate::bundle::fields::JsonText;
use crate::error::{Error, Kind, Result, quoted, reason};
use crate::fs::real_path::RealDirectory;

/// Directories of the image that are mount points. A symbolic link in their place would redirect
/// the mount.
const MOUNT_POINTS: [&str; 3] = ["proc", "sys", "dev"];

#[derive(Deserialize)]
struct Root {
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Mount<'a> {
    #[serde(borrow)]
    destination: Option<JsonText<'a>>,
    #[serde(borrow)]
    r#type: Option<JsonText<'a>>,
    #[serde(borrow)]
    source: Option<JsonText<'a>>,
    #[serde(borrow)]
    options: Option<&'a RawValue>,
}

impl Mount<'_> {
    /// Whether it is a bind mount. An option makes it one whatever its type says: runc's
    /// `createLibcontainerMount()` (libcontainer/specconv/spec_linux.go) and crun's `do_mounts()`
    /// (src/libcrun/linux.c) then forget the type.
    fn is_bind(&self) -> Result<bool> {
        let options: Vec<JsonText<'_>> = part(self.options)?.unwrap_or_default();
        let mut options = options.iter().map(|JsonText(option)| &**option);
        Ok(matches!(self.kind(), None | Some("bind"))
            || options.any(|option| matches!(option, "bind" | "rbind")))
    }

    fn kind(&self) -> Option<&str> {
        self.r#type.as_ref().map(|JsonText(kind)| &**kind)
    }
}

/// Refuses a bundle whose label a runtime might write to another file.
///
/// # Errors
/// [`Kind::Policy`] with the reason; [`Kind::Internal`] where the bundle cannot be examined.
pub fn bundle(config: &Document<'_>, bundle: &RealDirectory) -> Result<()> {
    process(config)?;
    for written in config.mounts() {
        if may_be_below_proc(written.get())
            && let Some(mount) = part(Some(written))?
        {
            mounts(&mount, bundle.path())?;
        }
    }
    match part::<Root>(config.root())?.and_then(|root| root.path) {
        Some(path) => root(bundle, &path),
        None => Ok(()),
    }
}

/// Refuses a process that may start outside its container.
///
/// # Errors
/// As for [`starts_in`]; [`Kind::Internal`] where it is not an OCI process.
pub fn process(document: &Document<'_>) -> Result<()> {
    part::<JsonText<'_>>(document.cwd())?.map_or(Ok(()), |JsonText(cwd)| starts_in(&cwd))
}

/// A part of a configuration; `None` where it is absent or null.
fn part<'a, T: Deserialize<'a>>(written: Option<&'a RawValue>) -> Result<Option<T>> {
    let Some(written) = written else {
        return Ok(None);
    };
    serde_json::from_str(written.get()).map_err(|e| {
        let why = format!("it is not an OCI runtime configuration: {e}");
        Error::new(Kind::Internal, why).with_remedy(
            "create the container again; if that fails, report it to the engine's developers",
        )
    })
}

/// Refuses a working directory that leads through an open descriptor of the runtime: it could be a
/// directory of the host.
///
/// # Errors
/// [`Kind::Policy`] where it does.
pub fn starts_in(cwd: &str) -> Result<()> {
    // `..` leads back out of the target of a link, so every step of the path is looked at.
    let is_link = |steps: &Path| match below_proc(steps).as_deref() {
        Some([process, "fd" | "cwd" | "root" | "task", ..]) => is_process(process),
        _ => false,
    };
    match Path::new(cwd).ancestors().any(is_link) {
        true => Err(refused(format!("its working directory is {}", quoted(cwd)))),
        false => Ok(()),
    }
}

/// Whether a mount, as it is written, may have a destination below `/proc`. Usually there are many that
/// do not, and then it is not parsed.
fn may_be_below_proc(mount: &str) -> bool {
    mount.contains("proc") || mount.contains('\\')
}

/// Refuses a mount that hides procfs, or the part of it that receives the label.
fn mounts(mount: &Mount<'_>, bundle: &Path) -> Result<()> {
    let destination = mount.destination.as_ref().map_or("", |JsonText(text)| text);
    // A relative source is relative to the bundle.
    let source = || {
        mount
            .source
            .as_ref()
            .map(|JsonText(source)| bundle.join(&**source))
    };
    let hides = match below_proc(Path::new(destination)).as_deref() {
        None => false,
        Some([]) if mount.is_bind()? => !shows_proc(source().as_deref()),
        Some([]) => mount.kind() != Some("proc"),
        Some([first, ..]) => is_process(first),
    };
    match hides {
        false => Ok(()),
        true => Err(refused(format!(
            "a mount other than procfs hides {}",
            quoted(destination)
        ))),
    }
}

/// Whether the source of a bind mount is procfs, as rootless engines mount it.
fn shows_proc(source: Option<&Path>) -> bool {
    source
        .and_then(|source| statfs(source).ok())
        .is_some_and(|found| found.filesystem_type() == PROC_SUPER_MAGIC)
}

/// Refuses an image in which one of the mount points is a symbolic link. `root` is relative to the
/// bundle.
fn root(bundle: &RealDirectory, root: &Path) -> Result<()> {
    let root = bundle.relative(root);
    for name in MOUNT_POINTS {
        let path = root.join(name);
        match fstatat(bundle, &path, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) if SFlag::S_IFMT.bits() & found.st_mode == SFlag::S_IFLNK.bits() => {
                return Err(refused(format!("/{name} of the image is a symbolic link")));
            }
            Ok(_) => {}
            // The runtime creates it, or reports that the image is missing.
            Err(Errno::ENOENT) => {}
            Err(e) => {
                let path = bundle.path().join(path);
                let why = format!("cannot look at {}: {}", path.display(), reason(&e.into()));
                return Err(Error::new(Kind::Internal, why)
                    .with_remedy("repair the root directory of the image"));
            }
        }
    }
    Ok(())
}

/// The parts of a path below `/proc`; `None` for other paths. Runtimes take a relative path from
/// the root.
fn below_proc(path: &Path) -> Option<Vec<&str>> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => drop(parts.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    match parts.split_first() {
        Some((&"proc", rest)) => Some(rest.to_vec()),
        _ => None,
    }
}

/// Whether a name in `/proc` is that of a process.
fn is_process(name: &str) -> bool {
    matches!(name, "self" | "thread-self") || name.bytes().all(|byte| byte.is_ascii_digit())
}

fn refused(why: String) -> Error {
    Error::new(
        Kind::Policy,
        format!("the container could evade its profile: {why}"),
    )
    .with_remedy("use another image or another mount")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;

    fn check(config: &serde_json::Value, dir: &Path) -> std::result::Result<(), String> {
        let mut config = config.clone();
        if config.get("process").is_none() {
            config["process"] = json!({});
        }
        let config = config.to_string();
        let config = Document::config(config.as_bytes()).unwrap();
        bundle(&config, &RealDirectory::open(dir).unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_process_that_is_execed_starts_inside() {
        let process = |text: &str| process(&Document::process(text.as_bytes()).unwrap());
        for good in [r#"{"cwd":"/work"}"#, r#"{"cwd":null}"#, "{}"] {
            assert!(process(good).is_ok(), "{good}");
        }
        let e = process(r#"{"cwd":"/proc/self/fd/7/.."}"#).unwrap_err();
        assert!(e.to_string().contains("its working directory is"), "{e}");
        assert!(process(r#"{"cwd":1}"#).is_err());
    }

    #[test]
    fn proc_must_be_the_kernels() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("proc")).unwrap();
        let mount = |mount: serde_json::Value| check(&json!({"mounts": [mount]}), dir.path());
        for good in [
            json!({"destination": "/proc", "type": "proc", "source": "proc"}),
            json!({"destination": "proc/", "type": "proc", "source": "proc"}),
            json!({"destination": "/proc", "type": "bind", "source": "/proc"}),
            json!({"destination": "/proc", "source": "/proc", "options": ["rbind"]}),
            json!({"destination": "/proc", "type": "none", "source": "/proc", "options": ["ro", "bind"]}),
            json!({"destination": "/proc", "type": "proc", "source": "/proc", "options": ["bind"]}),
            json!({"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "nodev"]}),
            json!({"destination": "/proc/sys/x", "type": "bind", "source": "/x"}),
            json!({"destination": "/proc/cpuinfo", "type": "bind", "source": "/x"}),
            json!({"destination": "/data", "type": "bind", "source": "/data"}),
            json!({"destination": "/data/proc", "type": "tmpfs", "source": "tmpfs"}),
        ] {
            assert_eq!(mount(good.clone()), Ok(()), "{good}");
        }
        for bad in [
            json!({"destination": "/proc", "type": "tmpfs", "source": "tmpfs"}),
            json!({"destination": "/proc", "type": "bind", "source": dir.path()}),
            json!({"destination": "/proc", "source": "/nowhere"}),
            json!({"destination": "/proc", "type": "proc", "source": dir.path(), "options": ["bind"]}),
            json!({"destination": "/proc", "type": "proc", "source": dir.path(), "options": ["ro", "rbind"]}),
            json!({"destination": "/proc", "type": "proc", "source": "proc", "options": ["bind"]}),
            json!({"destination": "/proc", "type": "proc", "options": ["bind"]}),
            json!({"destination": "/proc", "type": "tmpfs", "source": "/proc"}),
            json!({"destination": "/proc", "type": "none", "source": dir.path(), "options": ["bind"]}),
            json!({"destination": "/proc"}),
            json!({"destination": "//x/..//proc/.", "type": "tmpfs"}),
            json!({"destination": "proc", "type": "bind", "source": "/"}),
            json!({"destination": "/proc/self/attr", "type": "tmpfs"}),
            json!({"destination": "/proc/thread-self", "type": "proc"}),
            json!({"destination": "/proc/1/attr/exec", "type": "bind", "source": "/proc/1/comm"}),
        ] {
            let why = mount(bad.clone()).unwrap_err();
            assert!(why.contains("other than procfs"), "{bad}: {why}");
        }
        for escaped in [
            r#"{"destination":"/\u0070ro\u0063","type":"tmpfs"}"#,
            r#"{"destination":"\/pr\u006fc"}"#,
        ] {
            let config = format!(r#"{{"process":{{}},"mounts":[{escaped}]}}"#);
            let config = Document::config(config.as_bytes()).unwrap();
            let dir = RealDirectory::open(dir.path()).unwrap();
            assert!(bundle(&config, &dir).is_err(), "{escaped}");
        }
    }

    #[test]
    fn no_process_starts_in_a_descriptor() {
        for cwd in [
            "/",
            "",
            "/proc",
            "/proc/self",
            "/proc/fd/7",
            "/data/proc/self/fd/7",
            "/fd/../proc/self",
        ] {
            assert!(starts_in(cwd).is_ok(), "{cwd}");
        }
        for cwd in [
            "/proc/self/fd/7",
            "/proc/self/fd/7/../../../x",
            "/proc/1/fd/3/",
            "//proc/./thread-self/fd/8",
            "/x/../proc/self/cwd",
            "/proc/self/task/1/fd/7",
        ] {
            assert!(starts_in(cwd).is_err(), "{cwd}");
        }
    }

    #[test]
    fn mount_points_of_the_image_are_not_links() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("rootfs");
        let config = json!({"root": {"path": "rootfs"}, "process": {"cwd": "/"}});
        assert_eq!(check(&config, dir.path()), Ok(()));
        for name in MOUNT_POINTS {
            fs::create_dir_all(image.join(name)).unwrap();
        }
        assert_eq!(check(&config, dir.path()), Ok(()));
        for name in MOUNT_POINTS {
            fs::remove_dir(image.join(name)).unwrap();
            std::os::unix::fs::symlink("data", image.join(name)).unwrap();
            let why = check(&config, dir.path()).unwrap_err();
            assert!(
                why.contains(&format!("/{name} of the image is a symbolic link")),
                "{why}"
            );
            fs::remove_file(image.join(name)).unwrap();
            fs::create_dir(image.join(name)).unwrap();
        }
        // What cannot be looked at may be a link.
        let config = json!({"root": {"path": "file"}});
        fs::write(dir.path().join("file"), "").unwrap();
        let why = check(&config, dir.path()).unwrap_err();
        assert!(why.contains("cannot look at"), "{why}");
    }
}
