//! Waits for signals, for changes of the files that profiles are loaded from, and for changes of the
//! kernel's policy.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::watch::revision::PolicyRevision;
use crate::watch::wakeup::{Signals, Wakeup};
use oci_apparmor::error::{Error, Kind, Result, reason};
use oci_apparmor::profiles::source::listing;
use oci_apparmor::settings::{self, Settings};

/// An editor or a package writes several files. They are loaded together, once nothing has changed
/// for this long, but after `LONGEST` at the latest.
const QUIET: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(2);

/// The lists of files that this node does not load, or loads in complain mode.
const LISTS: [&str; 2] = ["/etc/apparmor.d/disable", "/etc/apparmor.d/force-complain"];

/// Changes of the files that profiles are loaded from.
pub(crate) struct SourceFiles {
    inotify: Option<Inotify>,
    /// Why not all of them can be watched.
    pub(crate) blind: Option<Error>,
}

impl SourceFiles {
    /// Watches the directories of sources, the lists of this node, and its configuration.
    pub(crate) fn watch(settings: Option<&Settings>) -> Self {
        let failed = |e: Errno| {
            let why = reason(&e.into());
            Error::new(
                Kind::Internal,
                format!("cannot watch the directories of profiles: {why}"),
            )
            .with_remedy(
                "run: sysctl fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=524288",
            )
        };
        let inotify = match Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC) {
            Ok(inotify) => inotify,
            Err(e) => {
                return Self {
                    inotify: None,
                    blind: Some(failed(e)),
                };
            }
        };
        let configuration = Path::new(settings::PATH).parent();
        let mut directories: Vec<&Path> = settings
            .into_iter()
            .flat_map(listing::directories)
            .collect();
        directories.extend(LISTS.iter().map(Path::new).chain(configuration));
        let mut blind = None;
        for directory in directories {
            // A link may be changed to another target.
            let parent = directory.parent().filter(|_| directory.is_symlink());
            for path in std::iter::once(directory).chain(parent) {
                if let Err(e) = watch(&inotify, path) {
                    blind = Some(failed(e));
                }
            }
        }
        Self {
            inotify: Some(inotify),
            blind,
        }
    }

    /// Waits for a signal, for a change of files, and of the kernel's policy if that is given; for
    /// `limit` at most.
    pub(crate) fn wait(
        &self,
        signals: &Signals,
        policy: Option<&mut PolicyRevision>,
        limit: Option<Duration>,
    ) -> Result<Wakeup> {
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let told = {
            let revision = policy.as_ref().and_then(|policy| policy.file.as_ref());
            let files = self.inotify.as_ref().map(AsFd::as_fd);
            let all = [
                Some(signals.caught.as_fd()),
                files,
                revision.map(AsFd::as_fd),
            ];
            let all: Vec<_> = all.into_iter().flatten().collect();
            let mut ready: Vec<_> = all
                .iter()
                .map(|fd| PollFd::new(fd, PollFlags::IN))
                .collect();
            match poll(&mut ready, limit.as_ref()) {
                Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Wakeup::Nothing),
                Ok(_) => {}
                Err(e) => return Err(Error::new(Kind::Internal, format!("cannot wait: {e}"))),
            }
            revision.is_some() && ready.last().is_some_and(|r| !r.revents().is_empty())
        };
        Ok(match signals.next() {
            Wakeup::Nothing if self.drain() => Wakeup::Files,
            Wakeup::Nothing => match policy {
                Some(policy) => policy.event(told),
                None => Wakeup::Nothing,
            },
            event => event,
        })
    }

    /// Waits until no more changes of files come after this event; what it was all in all.
    pub(crate) fn settle(&self, mut event: Wakeup, signals: &Signals) -> Result<Wakeup> {
        let begun = Instant::now();
        while event != Wakeup::End {
            match self.wait(signals, None, Some(QUIET))? {
                Wakeup::Nothing => break,
                more => event = more,
            }
            if begun.elapsed() >= LONGEST {
                break;
            }
        }
        Ok(event)
    }

    /// Reads all events; which files they are about does not matter.
    fn drain(&self) -> bool {
        let mut any = false;
        let Some(inotify) = &self.inotify else {
            return false;
        };
        while inotify.read_events().is_ok_and(|events| !events.is_empty()) {
            any = true;
        }
        any
    }
}

/// Watches a directory; as long as there is none, the one in which it, or its parent, may appear.
fn watch(inotify: &Inotify, directory: &Path) -> nix::Result<()> {
    let flags = AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVE
        | AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF;
    let mut missing = Errno::ENOENT;
    for path in directory.ancestors().map(PathBuf::from) {
        match inotify.add_watch(&path, flags) {
            Ok(_) => return Ok(()),
            Err(e @ (Errno::ENOENT | Errno::ENOTDIR)) => missing = e,
            Err(e) => return Err(e),
        }
    }
    Err(missing)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use oci_apparmor::apparmor::kernel::Kernel;

    fn changes(directory: &Path) -> (Signals, SourceFiles) {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).unwrap();
        watch(&inotify, directory).unwrap();
        let files = SourceFiles {
            inotify: Some(inotify),
            blind: None,
        };
        (Signals::catch().unwrap(), files)
    }

    fn next((signals, changes): &(Signals, SourceFiles)) -> Wakeup {
        changes
            .wait(signals, None, Some(Duration::from_millis(100)))
            .unwrap()
    }

    #[test]
    fn each_way_to_change_a_directory_is_seen_and_reading_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("p"), "1").unwrap();
        let seen = changes(dir.path());
        let steps: [&dyn Fn(); 6] = [
            &|| fs::write(at("p"), "2").unwrap(),
            &|| fs::write(at("q"), "1").unwrap(),
            &|| fs::rename(at("q"), at("p")).unwrap(),
            &|| std::os::unix::fs::symlink("p", at("l")).unwrap(),
            &|| std::os::unix::fs::chown(at("p"), Some(0), None).unwrap(),
            &|| fs::remove_file(at("p")).unwrap(),
        ];
        for (number, step) in steps.iter().enumerate() {
            step();
            assert_eq!(next(&seen), Wakeup::Files, "{number}");
            assert_eq!(next(&seen), Wakeup::Nothing, "{number}");
            fs::read_dir(dir.path()).unwrap().count();
            let _ = fs::read(at("p"));
            assert_eq!(next(&seen), Wakeup::Nothing, "{number}");
        }
        fs::remove_file(at("l")).unwrap();
        fs::remove_dir(dir.path()).unwrap();
        assert_eq!(next(&seen), Wakeup::Files);
    }

    #[test]
    fn a_directory_that_is_missing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let seen = changes(&dir.path().join("a/b"));
        fs::create_dir(dir.path().join("a")).unwrap();
        assert_eq!(next(&seen), Wakeup::Files);
    }

    #[test]
    fn a_burst_is_one_change_and_an_endless_one_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (signals, changes) = changes(dir.path());
        let path = dir.path().join("p");
        let writer = std::thread::spawn(move || {
            let end = Instant::now() + Duration::from_secs(4);
            while Instant::now() < end {
                fs::write(&path, "x").unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let begun = Instant::now();
        assert_eq!(
            changes.settle(Wakeup::Kernel, &signals).unwrap(),
            Wakeup::Files
        );
        assert!(begun.elapsed() >= LONGEST && begun.elapsed() < LONGEST * 2);
        writer.join().unwrap();
        // What came since.
        changes.settle(Wakeup::Files, &signals).unwrap();
        assert_eq!(
            changes.settle(Wakeup::Kernel, &signals).unwrap(),
            Wakeup::Kernel
        );
    }

    /// A file that is always readable, as no revision of the kernel is.
    #[test]
    fn a_revision_that_only_seems_to_change_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let kernel = Kernel::below(dir.path());
        assert!(!PolicyRevision::of(&kernel).tells());
        let revision = dir.path().join("kernel/security/apparmor/revision");
        fs::create_dir_all(revision.parent().unwrap()).unwrap();
        fs::write(&revision, "7\n").unwrap();
        let (signals, files) = changes(dir.path());
        let mut policy = PolicyRevision::of(&kernel);
        let wait = |policy: &mut PolicyRevision| files.wait(&signals, Some(policy), None).unwrap();
        assert_eq!(wait(&mut policy), Wakeup::Kernel);
        fs::write(&revision, "8\n").unwrap();
        assert_eq!(wait(&mut policy), Wakeup::Kernel);
        assert!(policy.tells());
        assert_eq!(wait(&mut policy), Wakeup::Nothing);
        assert!(!policy.tells() && !policy.has_changed());
    }
}
