//! `load --all --watch`: all sources, and again whenever they change, until SIGTERM.
//!
//! This is what oci-apparmor-preload.service runs. Nothing here ends it but a signal, or a system
//! that cannot watch: a source or a configuration that is broken is reported, and looked at again
//! when it changes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::apparmor::kernel;
use crate::cli::load::{self, Outcome, Progress, Row, Sum};
use crate::cli::{notify, print};
use crate::error::{Error, Kind, Result, reason};
use crate::profiles::{Store, Word, listing};
use crate::settings::{self, Settings};

/// An editor or a package writes several files; all of them are loaded at once, when nothing more
/// has come for this long, but after `LONGEST` in any case.
const QUIET: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(2);

/// Where this node says that a file is not to be loaded, or only to complain.
const LISTS: [&str; 2] = ["/etc/apparmor.d/disable", "/etc/apparmor.d/force-complain"];

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// Somebody wants us to end.
    End,
    /// Somebody wants us to look again, or something has changed.
    Again,
    /// Nothing, in the time that was given.
    Nothing,
}

pub(super) fn run() -> Result<u8> {
    if let Err(why) = kernel::may_load() {
        return Err(
            Error::new(Kind::Policy, format!("nothing can be loaded: {why}"))
                .hint("run it as root on the host"),
        );
    }
    let signals = Signals::catch()?;
    let mut known = Known::default();
    loop {
        // Before it is looked: what changes meanwhile is then seen.
        let settings = Settings::load();
        let changes = Changes::watch(settings.as_ref().ok())?;
        let sum = match &settings {
            Ok(settings) => known.load(settings, &signals)?,
            Err(e) => {
                known.failed(&e.to_string());
                e.to_string()
            }
        };
        // Those who wait for this wait no longer, whatever failed: a profile that is needed is
        // tried again when its container is made. Later ones only change the status.
        notify::tell(&format!("READY=1\nSTATUS={sum}"));
        let mut event = signals.next();
        while event == Event::Nothing {
            event = changes.wait(&signals, None)?;
        }
        if event == Event::End || changes.settle(&signals)? == Event::End {
            notify::tell("STOPPING=1");
            return Ok(0);
        }
    }
}

/// What was said, so that it is said again only when there is a reason.
#[derive(Debug, Default)]
struct Known {
    /// Of each profile that failed, how.
    failed: BTreeMap<String, Failure>,
    sum: Option<String>,
    configuration: Option<String>,
}

impl Known {
    /// Loads all, and tells what is new. Returns the counts.
    fn load(&mut self, settings: &Settings, signals: &Signals) -> Result<String> {
        self.configuration = None;
        if let Some(off) = Store::new(settings).takes_none() {
            return Err(off);
        }
        let before = std::mem::take(&mut self.failed);
        let tell = |row: &Row| match &row.outcome {
            Outcome::Right | Outcome::Disabled(_) => Ok(()),
            Outcome::Loaded | Outcome::Reloaded(_) => print(&format!("{}\n", row.line())),
            Outcome::Failed(_) if before.get(&row.name) == Some(&failure(row)) => Ok(()),
            Outcome::Failed(_) => {
                complain(&row.line());
                Ok(())
            }
        };
        // Nobody looks at what it does, so it may do no more than the start of a container.
        let (word, progress) = (Word::Settings, Progress::default());
        let rows = load::all(settings, word, &progress, || !signals.ends(), tell)?;
        let failed = rows
            .iter()
            .filter(|r| matches!(r.outcome, Outcome::Failed(_)));
        self.failed = failed.map(|row| (row.name.clone(), failure(row))).collect();
        let sum = Sum::of(&rows).to_string();
        if self.sum.as_ref() != Some(&sum) {
            print(&format!("{sum}\n"))?;
        }
        self.sum = Some(sum.clone());
        Ok(sum)
    }

    fn failed(&mut self, configuration: &str) {
        if self.configuration.as_deref() != Some(configuration) {
            complain(configuration);
            self.configuration = Some(configuration.to_owned());
        }
    }
}

/// What was said of a failure, and the inode and the time of change of its file then.
type Failure = (String, Option<(u64, i64, i64)>);

fn failure(row: &Row) -> Failure {
    let meta = row.source.as_ref().and_then(|path| fs::metadata(path).ok());
    let stamp = meta.map(|m| (m.ino(), m.ctime(), m.ctime_nsec()));
    (row.line(), stamp)
}

/// Says it on standard error; to the journal as an error (sd-daemon(3)).
fn complain(line: &str) {
    let priority = match env::var_os("JOURNAL_STREAM") {
        Some(_) => "<3>",
        None => "",
    };
    let _ = std::io::stderr().write_all(format!("{priority}oci-apparmor: {line}\n").as_bytes());
}

/// The signals that are for us, taken when there is time for them.
struct Signals {
    caught: SignalFd,
    /// One that ends us was seen; it comes but once.
    ended: Cell<bool>,
}

impl Signals {
    fn catch() -> Result<Self> {
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
    fn next(&self) -> Event {
        match self.caught.read_signal() {
            _ if self.ended.get() => Event::End,
            Ok(Some(signal)) if signal.ssi_signo == Signal::SIGHUP as u32 => Event::Again,
            Ok(Some(_)) => {
                self.ended.set(true);
                Event::End
            }
            Ok(None) | Err(_) => Event::Nothing,
        }
    }

    /// Whether it is to end now. A SIGHUP that is taken here changes nothing: all is being
    /// looked at.
    fn ends(&self) -> bool {
        self.next() == Event::End
    }
}

/// Changes of what is loaded from.
struct Changes(Inotify);

impl Changes {
    /// Watches the directories of sources, the lists of this node, and its configuration.
    fn watch(settings: Option<&Settings>) -> Result<Self> {
        let failed = |e: Errno| {
            let why = reason(&e.into());
            Error::new(
                Kind::Internal,
                format!("cannot watch the directories of profiles: {why}"),
            )
            .hint("raise fs.inotify.max_user_instances and max_user_watches")
        };
        let inotify =
            Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).map_err(failed)?;
        let configuration = Path::new(settings::PATH).parent();
        let mut directories: Vec<&Path> = settings
            .into_iter()
            .flat_map(listing::directories)
            .collect();
        directories.extend(LISTS.iter().map(Path::new).chain(configuration));
        for directory in directories {
            watch(&inotify, directory).map_err(failed)?;
            // A link that is made to lead elsewhere.
            if directory.is_symlink()
                && let Some(parent) = directory.parent()
            {
                watch(&inotify, parent).map_err(failed)?;
            }
        }
        Ok(Self(inotify))
    }

    /// Waits for a change or a signal; for `limit` at most.
    fn wait(&self, signals: &Signals, limit: Option<Duration>) -> Result<Event> {
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let (signal, change) = (signals.caught.as_fd(), self.0.as_fd());
        let mut ready = [
            PollFd::new(&signal, PollFlags::IN),
            PollFd::new(&change, PollFlags::IN),
        ];
        match poll(&mut ready, limit.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Event::Nothing),
            Ok(_) => {}
            Err(e) => return Err(Error::new(Kind::Internal, format!("cannot wait: {e}"))),
        }
        match signals.next() {
            Event::Nothing => Ok(if self.drain() {
                Event::Again
            } else {
                Event::Nothing
            }),
            event => Ok(event),
        }
    }

    /// Waits until no more changes come.
    fn settle(&self, signals: &Signals) -> Result<Event> {
        let begun = Instant::now();
        loop {
            match self.wait(signals, Some(QUIET))? {
                Event::Again if begun.elapsed() < LONGEST => {}
                event => return Ok(event),
            }
        }
    }

    /// Takes all that was reported; which it was does not matter.
    fn drain(&self) -> bool {
        let mut any = false;
        while self.0.read_events().is_ok_and(|events| !events.is_empty()) {
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
    use super::*;

    fn changes(directory: &Path) -> (Signals, Changes) {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).unwrap();
        watch(&inotify, directory).unwrap();
        (Signals::catch().unwrap(), Changes(inotify))
    }

    fn next((signals, changes): &(Signals, Changes)) -> Event {
        changes
            .wait(signals, Some(Duration::from_millis(100)))
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
            assert_eq!(next(&seen), Event::Again, "{number}");
            assert_eq!(next(&seen), Event::Nothing, "{number}");
            fs::read_dir(dir.path()).unwrap().count();
            let _ = fs::read(at("p"));
            assert_eq!(next(&seen), Event::Nothing, "{number}");
        }
        fs::remove_file(at("l")).unwrap();
        fs::remove_dir(dir.path()).unwrap();
        assert_eq!(next(&seen), Event::Again);
    }

    #[test]
    fn a_directory_that_is_missing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let seen = changes(&dir.path().join("a/b"));
        fs::create_dir(dir.path().join("a")).unwrap();
        assert_eq!(next(&seen), Event::Again);
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
        assert_eq!(changes.settle(&signals).unwrap(), Event::Again);
        assert!(begun.elapsed() >= LONGEST && begun.elapsed() < LONGEST * 2);
        writer.join().unwrap();
        assert_eq!(changes.settle(&signals).unwrap(), Event::Nothing);
    }
}
