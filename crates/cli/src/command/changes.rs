//! What the watch waits for: signals, changes of the files that profiles are loaded from, and
//! changes of the kernel's policy.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use oci_apparmor::apparmor::kernel::{self, Kernel};
use oci_apparmor::error::{Error, Kind, Result, reason};
use oci_apparmor::profiles::source::listing;
use oci_apparmor::settings::{self, Settings};

/// An editor or a package writes several files. They are loaded together, once nothing has changed
/// for this long, but after `LONGEST` at the latest.
const QUIET: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(2);

/// The lists of files that this node does not load, or loads in complain mode.
const LISTS: [&str; 2] = ["/etc/apparmor.d/disable", "/etc/apparmor.d/force-complain"];

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A signal asks to end.
    End,
    /// Files have changed, or a signal asks to check everything.
    Files,
    /// The kernel's policy has changed.
    Kernel,
    /// Nothing, in the time that was given.
    Nothing,
}

/// Signals, read when there is time for them.
pub(crate) struct Signals {
    caught: SignalFd,
    /// A signal to end was seen; it comes only once.
    ended: Cell<bool>,
}

impl Signals {
    pub(crate) fn catch() -> Result<Self> {
        let failed = |e: Errno| Error::new(Kind::Internal, format!("cannot wait for signals: {e}"));
        let mask: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]
            .into_iter()
            .collect();
        mask.thread_block().map_err(failed)?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let caught = SignalFd::with_flags(&mask, flags).map_err(failed)?;
        let ended = Cell::new(false);
        Ok(Self { caught, ended })
    }

    /// The next one that has come.
    pub(crate) fn next(&self) -> Event {
        match self.caught.read_signal() {
            _ if self.ended.get() => Event::End,
            Ok(Some(signal)) if signal.ssi_signo == Signal::SIGHUP as u32 => Event::Files,
            Ok(Some(_)) => {
                self.ended.set(true);
                Event::End
            }
            Ok(None) | Err(_) => Event::Nothing,
        }
    }

    /// Whether to end now. A SIGHUP is ignored here: everything is being checked already.
    pub(crate) fn ends(&self) -> bool {
        self.next() == Event::End
    }
}

/// The kernel's policy, by its revision.
pub(crate) struct Policy {
    file: Option<File>,
    seen: Option<u64>,
}

impl Policy {
    pub(crate) fn of(kernel: &Kernel) -> Self {
        Self {
            file: kernel.revision_file(),
            seen: None,
        }
    }

    /// Whether it has changed since the last call.
    pub(crate) fn has_changed(&mut self) -> bool {
        let now = self.file.as_ref().and_then(kernel::revision_in);
        let changed = now.is_some() && now != self.seen;
        if changed {
            self.seen = now;
        }
        changed
    }

    /// What has happened; `told`: the file is readable.
    fn event(&mut self, told: bool) -> Event {
        if self.has_changed() {
            return Event::Kernel;
        }
        if told {
            // It is readable although nothing has changed, so it would be forever.
            self.file = None;
        }
        Event::Nothing
    }

    /// Whether the kernel reports changes by itself.
    pub(crate) fn tells(&self) -> bool {
        self.file.is_some()
    }
}

/// Changes of the files that profiles are loaded from.
pub(crate) struct Files {
    inotify: Option<Inotify>,
    /// Why not all of them can be watched.
    pub(crate) blind: Option<Error>,
}

impl Files {
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
        policy: Option<&mut Policy>,
        limit: Option<Duration>,
    ) -> Result<Event> {
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
                Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Event::Nothing),
                Ok(_) => {}
                Err(e) => return Err(Error::new(Kind::Internal, format!("cannot wait: {e}"))),
            }
            revision.is_some() && ready.last().is_some_and(|r| !r.revents().is_empty())
        };
        Ok(match signals.next() {
            Event::Nothing if self.drain() => Event::Files,
            Event::Nothing => match policy {
                Some(policy) => policy.event(told),
                None => Event::Nothing,
            },
            event => event,
        })
    }

    /// Waits until no more changes of files come after this event; what it was all in all.
    pub(crate) fn settle(&self, mut event: Event, signals: &Signals) -> Result<Event> {
        let begun = Instant::now();
        while event != Event::End {
            match self.wait(signals, None, Some(QUIET))? {
                Event::Nothing => break,
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

    fn changes(directory: &Path) -> (Signals, Files) {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).unwrap();
        watch(&inotify, directory).unwrap();
        let files = Files {
            inotify: Some(inotify),
            blind: None,
        };
        (Signals::catch().unwrap(), files)
    }

    fn next((signals, changes): &(Signals, Files)) -> Event {
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
            assert_eq!(next(&seen), Event::Files, "{number}");
            assert_eq!(next(&seen), Event::Nothing, "{number}");
            fs::read_dir(dir.path()).unwrap().count();
            let _ = fs::read(at("p"));
            assert_eq!(next(&seen), Event::Nothing, "{number}");
        }
        fs::remove_file(at("l")).unwrap();
        fs::remove_dir(dir.path()).unwrap();
        assert_eq!(next(&seen), Event::Files);
    }

    #[test]
    fn a_directory_that_is_missing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let seen = changes(&dir.path().join("a/b"));
        fs::create_dir(dir.path().join("a")).unwrap();
        assert_eq!(next(&seen), Event::Files);
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
            changes.settle(Event::Kernel, &signals).unwrap(),
            Event::Files
        );
        assert!(begun.elapsed() >= LONGEST && begun.elapsed() < LONGEST * 2);
        writer.join().unwrap();
        // What came since.
        changes.settle(Event::Files, &signals).unwrap();
        assert_eq!(
            changes.settle(Event::Kernel, &signals).unwrap(),
            Event::Kernel
        );
    }

    /// A file that is always readable, as no revision of the kernel is.
    #[test]
    fn a_revision_that_only_seems_to_change_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let kernel = Kernel::below(dir.path());
        assert!(!Policy::of(&kernel).tells());
        let revision = dir.path().join("kernel/security/apparmor/revision");
        fs::create_dir_all(revision.parent().unwrap()).unwrap();
        fs::write(&revision, "7\n").unwrap();
        let (signals, files) = changes(dir.path());
        let mut policy = Policy::of(&kernel);
        let wait = |policy: &mut Policy| files.wait(&signals, Some(policy), None).unwrap();
        assert_eq!(wait(&mut policy), Event::Kernel);
        fs::write(&revision, "8\n").unwrap();
        assert_eq!(wait(&mut policy), Event::Kernel);
        assert!(policy.tells());
        assert_eq!(wait(&mut policy), Event::Nothing);
        assert!(!policy.tells() && !policy.has_changed());
    }
}
