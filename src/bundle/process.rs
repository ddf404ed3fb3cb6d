//! The file that `exec --process` names: rewritten in place, or replaced by a copy.
//!
//! Engines write a new file for each exec. People also pass a pipe (`<(…)`), `/dev/stdin` or a
//! symbolic link, and runc reads all of these. A pipe can be read only once, and the target of a
//! link can change before the runtime opens it. So the runtime gets a copy without a name: a memory
//! file that it inherits and opens below /proc/self/fd. A memory file needs no clean-up, for which
//! no process would be left: this one becomes the runtime by execve(2).

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::bundle::files::{BundleFile, MAX, cannot_read, too_large};
use crate::error::{Error, Kind, Result};
use crate::fs::bounded;
use crate::user_namespace;

/// How long reading a pipe may take. The process that writes it is started together with this one.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process file, with its bytes.
#[derive(Debug)]
pub struct ProcessFile {
    path: PathBuf,
    source: Contents,
}

#[derive(Debug)]
enum Contents {
    /// A file that only the caller can write. It is rewritten in place: the engine removes it by its
    /// name, and its directory may belong to another user.
    InPlace(Box<BundleFile>),
    /// The bytes that were read from a pipe, or through a link.
    Read(Vec<u8>),
}

impl ProcessFile {
    /// Reads the file that `exec --process` names.
    ///
    /// # Errors
    /// [`Kind::Internal`] where it cannot be read, does not end in time, or where another user could
    /// change the file before the runtime reads it.
    pub fn open(path: &Path) -> Result<Self> {
        let meta = fs::symlink_metadata(path).map_err(|e| cannot_read(path, &e))?;
        let source = if meta.is_file() {
            let file = BundleFile::process(path)?;
            let meta = file.metadata();
            if meta.nlink() != 1 {
                return Err(unfit(path, "it has a second hard link"));
            }
            changeable(path, meta)?;
            Contents::InPlace(Box::new(file))
        } else {
            Contents::Read(elsewhere(path)?)
        };
        Ok(Self {
            path: path.to_owned(),
            source,
        })
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.source {
            Contents::InPlace(file) => file.bytes(),
            Contents::Read(bytes) => bytes,
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the runtime read `text`, or the same bytes as before if there is none. Returns the path
    /// for the runtime's command line if that changes: that of a descriptor, `lowest` or higher,
    /// which stays open across execve(2).
    ///
    /// # Errors
    /// [`Kind::Internal`]; the process must not be started then.
    pub fn hand_on(&self, text: Option<&str>, lowest: i32) -> Result<Option<OsString>> {
        match (&self.source, text) {
            (Contents::InPlace(_), None) => Ok(None),
            (Contents::InPlace(file), Some(text)) => file.rewrite(text).map(|()| None),
            (Contents::Read(bytes), text) => copy(text.map_or(bytes, str::as_bytes), lowest)
                .map(|path| Some(path.into()))
                .map_err(|e| Error::io("copy", &self.path, &e)),
        }
    }
}

fn unfit(path: &Path, why: &str) -> Error {
    Error::new(
        Kind::Internal,
        format!("cannot rewrite {}: {why}", path.display()),
    )
    .with_remedy("pass it by --process /dev/stdin, or as a file that only the caller can write")
}

/// Refuses a file that another user could change.
fn changeable(path: &Path, meta: &Metadata) -> Result<()> {
    if meta.uid() != user_namespace::effective_uid() {
        return Err(unfit(path, &format!("it belongs to uid {}", meta.uid())));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(unfit(path, "other users can write it"));
    }
    Ok(())
}

/// Reads a pipe, a device, or the target of a link.
fn elsewhere(path: &Path) -> Result<Vec<u8>> {
    let failed = |e: io::Error| {
        cannot_read(path, &e).with_remedy("pass the process as a file, or write all of it at once")
    };
    // O_NONBLOCK: a named pipe without a writer must not block this process. The flag applies to
    // this open file description only, not to a descriptor of the caller that the path leads to.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    let kind = meta.file_type();
    let bytes = if kind.is_file() {
        changeable(path, &meta)?;
        bounded::read(&file, MAX)
    } else if kind.is_fifo() || kind.is_char_device() {
        until_its_end(file, kind.is_fifo())
    } else {
        Err(io::Error::other("it is neither a regular file nor a pipe"))
    };
    bytes.map_err(failed)?.ok_or_else(|| failed(too_large()))
}

/// Reads a pipe or a terminal until its end; `None` where that is too much.
fn until_its_end(mut file: File, is_pipe: bool) -> io::Result<Option<Vec<u8>>> {
    let began = Instant::now();
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    let mut over = !is_pipe;
    loop {
        match file.read(&mut chunk) {
            // A pipe ends when its last writer has closed it. Before the first writer opens it, a
            // read returns 0 as well.
            Ok(0) if over || !bytes.is_empty() => return Ok(Some(bytes)),
            Ok(0) => {}
            Ok(count) => {
                bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
                if bytes.len() as u64 > MAX {
                    return Ok(None);
                }
                continue;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
        let left = PATIENCE.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(io::Error::other(format!(
                "it did not end within {} s",
                PATIENCE.as_secs()
            )));
        }
        let limit = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or_default(),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut waiting = [PollFd::new(&file, PollFlags::IN)];
        match poll(&mut waiting, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let [waiting] = waiting;
        over |= waiting.revents().contains(PollFlags::HUP);
    }
}

/// Copies the bytes to a sealed memory file. Returns its path, which is valid in this process and
/// in the program that it executes.
fn copy(bytes: &[u8], lowest: i32) -> io::Result<String> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create("process.json", flags)?);
    file.write_all(bytes)?;
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    // It stays open across execve(2). The runtime closes it for the process that it starts, unless it
    // is one of the first `--preserve-fds` descriptors.
    let number = fcntl(&file, FcntlArg::F_DUPFD(lowest))?;
    Ok(format!("/proc/self/fd/{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    /// What the runtime would read, and whether that is a copy.
    fn handed_on(path: &Path, text: Option<&str>) -> (String, bool) {
        let file = ProcessFile::open(path).unwrap();
        let copy = file.hand_on(text, 40).unwrap();
        let read = copy.as_ref().map_or(path, |copy| Path::new(copy));
        (fs::read_to_string(read).unwrap(), copy.is_some())
    }

    #[test]
    fn a_file_of_the_caller_is_rewritten_in_place_unless_another_user_can_write_it() {
        let dir = directory();
        let path = dir.path().join("process.json");
        fs::write(&path, "something long").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        assert_eq!(handed_on(&path, None), ("something long".into(), false));
        assert_eq!(handed_on(&path, Some("short")), ("short".into(), false));
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
        let refused = |path: &Path, why: &str| {
            let said = ProcessFile::open(path).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        };
        fs::hard_link(&path, dir.path().join("second")).unwrap();
        refused(&path, "second hard link");
        fs::remove_file(dir.path().join("second")).unwrap();
        // Through a link, too.
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mode = |mode| {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0o666);
        refused(&path, "other users can write it");
        refused(&link, "other users can write it");
        mode(0o600);
        std::os::unix::fs::chown(&path, Some(12), None).unwrap();
        refused(&path, "belongs to uid 12");
        refused(&link, "belongs to uid 12");
        refused(dir.path(), "neither a regular file nor a pipe");
        refused(&dir.path().join("none"), "does not exist");
    }

    #[test]
    fn what_a_link_leads_to_is_copied_and_stays_as_it_is() {
        let dir = directory();
        let (path, link) = (dir.path().join("process.json"), dir.path().join("link"));
        fs::write(&path, "theirs").unwrap();
        std::os::unix::fs::symlink("process.json", &link).unwrap();
        assert_eq!(handed_on(&link, None), ("theirs".into(), true));
        assert_eq!(handed_on(&link, Some("ours")), ("ours".into(), true));
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");

        let file = ProcessFile::open(&link).unwrap();
        let copy = file.hand_on(Some("ours"), 40).unwrap().unwrap();
        let number = Path::new(&copy).file_name().unwrap().to_str().unwrap();
        assert!(number.parse::<i32>().unwrap() >= 40, "{number}");
        // A process that gets hold of it cannot change it.
        let opened = OpenOptions::new().write(true).open(&copy).unwrap();
        assert!((&opened).write_all(b"x").is_err() && opened.set_len(0).is_err());
    }

    #[test]
    fn a_pipe_is_read_to_its_end_whenever_that_comes() {
        let dir = directory();
        let path = dir.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let writer = |path: PathBuf, parts: &'static [&'static str]| {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                let mut pipe = OpenOptions::new().write(true).open(path).unwrap();
                for part in parts {
                    pipe.write_all(part.as_bytes()).unwrap();
                    std::thread::sleep(Duration::from_millis(50));
                }
            })
        };
        for (parts, all) in [(&["a", "b"][..], "ab"), (&["a"], "a"), (&[], "")] {
            let writing = writer(path.clone(), parts);
            assert_eq!(handed_on(&path, None), (all.into(), true));
            writing.join().unwrap();
        }
        // One whose writer has gone already, as a shell's `<(…)` may have.
        let (read, write) = nix::unistd::pipe().unwrap();
        File::from(write).write_all(b"gone").unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&read));
        assert_eq!(handed_on(Path::new(&path), None), ("gone".into(), true));
    }

    #[test]
    fn a_pipe_without_an_end_is_refused_and_so_is_an_endless_one() {
        let (read, write) = nix::unistd::pipe().unwrap();
        File::from(write.try_clone().unwrap())
            .write_all(b"{}")
            .unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&read));
        let began = Instant::now();
        let said = ProcessFile::open(Path::new(&path)).unwrap_err().to_string();
        assert!(said.contains("it did not end within 10 s"), "{said}");
        assert!(began.elapsed() < PATIENCE * 2);
        let said = ProcessFile::open(Path::new("/dev/zero")).unwrap_err();
        assert!(said.to_string().contains("larger than 16 MiB"), "{said}");
    }
}
