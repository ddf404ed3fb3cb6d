//! When a runtime changes its state of a container, by inotify(7).

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use crate::containers::pidfd::PidFd;
use crate::containers::record::ContainerKey;
use crate::containers::runtime_state;

/// A look in any case: a file system may report nothing, and a directory may be replaced.
const FALLBACK: Duration = Duration::from_millis(200);

/// The pause between two looks where nothing is reported, at first and when it takes longer: the root
/// directory of the runtime does not exist yet, or the user has no more inotify instances.
const PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Changes of `ROOT/ID`, and of ROOT until that exists.
pub(super) struct StateEvents {
    container: String,
    root: PathBuf,
    directory: PathBuf,
    inotify: Option<Inotify>,
    root_watch: Option<WatchDescriptor>,
    directory_watch: Option<WatchDescriptor>,
    pause: Duration,
}

impl StateEvents {
    pub(super) fn of(container: ContainerKey<'_>) -> Self {
        let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
        let mut events = Self {
            container: container.id.to_owned(),
            root: container.root.to_owned(),
            directory: container.state_directory(),
            inotify: Inotify::init(flags).ok(),
            root_watch: None,
            directory_watch: None,
            pause: PAUSE,
        };
        events.watch();
        events
    }

    /// Waits until the state may have changed or `process` has ended; whether it has ended.
    pub(super) fn wait(&mut self, process: &PidFd) -> bool {
        let limit = self.next_limit();
        let started = Instant::now();
        let mut left = limit;
        loop {
            let inotify = self.inotify.as_ref().map(AsFd::as_fd);
            let ended = process.ends_within(Some(left), inotify);
            left = limit.saturating_sub(started.elapsed());
            if self.read() || ended || left.is_zero() {
                self.watch();
                return ended;
            }
        }
    }

    fn next_limit(&mut self) -> Duration {
        if self.directory_watch.is_some() || self.root_watch.is_some() {
            return FALLBACK;
        }
        // It grows by one hundredth of itself, so it is longer after about a second.
        let step = self.pause.checked_div(100).unwrap_or_default();
        let longer = self.pause.saturating_add(step).min(LONGEST_PAUSE);
        std::mem::replace(&mut self.pause, longer)
    }

    /// Watches the directory of the container, or the root directory until there is one.
    fn watch(&mut self) {
        let Some(inotify) = &self.inotify else {
            return;
        };
        if self.directory_watch.is_some() {
            return;
        }
        // What is complete is renamed or closed; `start` removes a file. See `runtime_state`.
        let changes = AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        // In this order: the directory may be made in between.
        if self.root_watch.is_none() {
            let made = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_ONLYDIR;
            self.root_watch = inotify.add_watch(&self.root, made).ok();
        }
        self.directory_watch = inotify.add_watch(&self.directory, changes).ok();
        // Other containers are made there.
        if self.directory_watch.is_some()
            && let Some(root) = self.root_watch.take()
        {
            let _ = inotify.rm_watch(root);
        }
    }

    /// Reads events; whether one is about the state. What is left is read at the next wait.
    fn read(&mut self) -> bool {
        let mut is_any = false;
        let events = self.inotify.as_ref().map(Inotify::read_events);
        for event in events.and_then(|events| events.ok()).unwrap_or_default() {
            is_any |= self.is_about_the_state(&event);
            if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                // The directory is gone.
                self.directory_watch.take_if(|watch| *watch == event.wd);
                self.root_watch.take_if(|watch| *watch == event.wd);
            }
        }
        is_any
    }

    fn is_about_the_state(&self, event: &InotifyEvent) -> bool {
        let name = event.name.as_deref();
        if self.root_watch == Some(event.wd) {
            return name.is_none_or(|name| name == self.container.as_str());
        }
        let is_state = |name: &OsStr| runtime_state::FILES.iter().any(|file| name == *file);
        if self.directory_watch == Some(event.wd) {
            return name.is_none_or(is_state);
        }
        event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn changes_of_the_state_end_a_wait_and_others_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let mut events = StateEvents::of(ContainerKey { root, id: "c" });
        // The kernel queues an event before the call that causes it returns.
        let mut is_told = |done: &dyn Fn(&Path)| {
            done(root);
            let told = events.read();
            events.watch();
            told
        };
        assert!(!is_told(&|_| ()));
        assert!(!is_told(&|root| fs::create_dir(root.join("other")).unwrap()));
        assert!(is_told(&|root| fs::create_dir(root.join("c")).unwrap()));
        // What is not complete yet.
        assert!(!is_told(
            &|root| fs::write(root.join("c/state-1"), "{").unwrap()
        ));
        assert!(is_told(&|root| {
            fs::rename(root.join("c/state-1"), root.join("c/state.json")).unwrap();
        }));
        assert!(is_told(
            &|root| fs::write(root.join("c/status"), "{}").unwrap()
        ));
        assert!(!is_told(&|root| {
            let mode = nix::sys::stat::Mode::S_IRWXU;
            nix::unistd::mkfifo(&root.join("c/exec.fifo"), mode).unwrap();
        }));
        assert!(is_told(
            &|root| fs::remove_file(root.join("c/exec.fifo")).unwrap()
        ));
        // Another container of this id.
        assert!(is_told(&|root| fs::remove_dir_all(root.join("c")).unwrap()));
        assert!(is_told(&|root| fs::create_dir(root.join("c")).unwrap()));
        assert!(is_told(
            &|root| fs::write(root.join("c/status"), "{}").unwrap()
        ));
    }

    #[test]
    fn a_root_that_does_not_exist_yet_is_looked_for_often() {
        let directory = tempfile::tempdir().unwrap();
        let root = &directory.path().join("root");
        let process = PidFd::of_this_process().unwrap();
        let mut events = StateEvents::of(ContainerKey { root, id: "c" });
        assert_eq!(events.next_limit(), PAUSE);
        assert!(!events.wait(&process));
        assert!((PAUSE..LONGEST_PAUSE).contains(&events.next_limit()));
        fs::create_dir(root).unwrap();
        assert!(!events.wait(&process));
        assert_eq!(events.next_limit(), FALLBACK);
        fs::create_dir(root.join("c")).unwrap();
        assert!(events.read());
    }
}
