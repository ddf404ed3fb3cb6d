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
const FALLBACK: Duration = Duration::from_millis(100);

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
        let deadline = Instant::now().checked_add(limit);
        loop {
            let left = deadline.map_or(limit, |d| d.saturating_duration_since(Instant::now()));
            let inotify = self.inotify.as_ref().map(AsFd::as_fd);
            let ended = process.ends_within(Some(left), inotify);
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
        self.directory_watch = inotify.add_watch(&self.directory, changes).ok();
        if self.directory_watch.is_none() && self.root_watch.is_none() {
            let made = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_ONLYDIR;
            self.root_watch = inotify.add_watch(&self.root, made).ok();
            // It may have been made in between.
            self.directory_watch = inotify.add_watch(&self.directory, changes).ok();
        }
        // Other containers are made there.
        if self.directory_watch.is_some()
            && let Some(root) = self.root_watch.take()
        {
            let _ = inotify.rm_watch(root);
        }
    }

    /// Reads all events; whether one is about the state.
    fn read(&mut self) -> bool {
        let mut is_any = false;
        while let Some(Ok(events)) = self.inotify.as_ref().map(Inotify::read_events) {
            for event in events {
                is_any |= self.is_about_the_state(&event);
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    // The directory is gone.
                    self.directory_watch.take_if(|watch| *watch == event.wd);
                    self.root_watch.take_if(|watch| *watch == event.wd);
                }
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
