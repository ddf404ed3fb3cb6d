//! What a watcher does once the process that it watches has ended: the wrapper, killed by its
//! engine's deadline before it could look at the container, or the low-level runtime that it
//! became. A container that runs without its label is put down all the same.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::containers::members::Members;
use crate::containers::record::{self, Place, Record};
use crate::containers::{process, runtime_state};
use crate::error::{Error, Result};
use crate::node::Node;
use crate::report::{self, EngineLog};
use crate::runtime::locate::Located;
use crate::runtime::options::Subcommand;
use crate::runtime::restore::Restored;
use crate::runtime::verify::{self, LIMIT, NOT_PUT_DOWN, PUT_DOWN, Subject};
use crate::runtime::watch;
use crate::settings::{RuntimeKind, Settings, Verify};

/// How long between two looks: at first, and after a while, when something takes its time.
const PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How long a runtime whose caller was killed may go on with a `restore`; CRIU reads whole images.
const ORPHANED: Duration = Duration::from_secs(600);

/// How long no runtime must have been seen at work before it is taken for ended. A child of the
/// wrapper that is about to execute it looks like the wrapper, and for a moment within execve(2),
/// after vfork(2) has returned there, it has no command line at all.
const QUIET: Duration = Duration::from_millis(300);

/// No runtime's command line is longer.
const WORDS_MAX: u64 = 128 << 10;

/// What a watcher is told, on its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watch {
    pub(super) subcommand: Subcommand,
    pub(super) root: PathBuf,
    pub(super) id: String,
    /// Whose record it is, and of when: there may be a later one by the time it is read.
    pub(super) writer: String,
    pub(super) time: String,
    pub(super) program: PathBuf,
    pub(super) log: OsString,
    pub(super) log_format: OsString,
    /// What the low-level runtime is called with, by a wrapper that waits for it; otherwise none.
    pub(super) words: Vec<OsString>,
    /// What it must be called with to remove the container.
    pub(super) deletion: Vec<OsString>,
}

impl Watch {
    /// As words. The runtime's own are not the last: so this is no call of the runtime to those
    /// who look for one.
    pub(super) fn to_words(&self) -> Vec<OsString> {
        let mut words = vec![
            self.subcommand.name().into(),
            self.root.clone().into(),
            self.id.clone().into(),
            self.writer.clone().into(),
            self.time.clone().into(),
            self.program.clone().into(),
            self.log.clone(),
            self.log_format.clone(),
            self.words.len().to_string().into(),
        ];
        words.extend(self.words.iter().chain(&self.deletion).cloned());
        words
    }

    pub(super) fn from_words(words: &[OsString]) -> Option<Self> {
        let [subcommand, root, id, writer, time, rest @ ..] = words else {
            return None;
        };
        let [program, log, format, count, rest @ ..] = rest else {
            return None;
        };
        let subcommand = |one: &Subcommand| subcommand == one.name();
        let (words, deletion) = rest.split_at_checked(count.to_str()?.parse().ok()?)?;
        Some(Self {
            subcommand: Subcommand::ALL.into_iter().find(subcommand)?,
            root: root.into(),
            id: id.to_str()?.to_owned(),
            writer: writer.to_str()?.to_owned(),
            time: time.to_str()?.to_owned(),
            program: program.into(),
            log: log.clone(),
            log_format: format.clone(),
            words: words.to_vec(),
            deletion: deletion.to_vec(),
        })
    }
}

/// A watcher at work.
struct Watcher<'w> {
    watch: &'w Watch,
    record: Record,
    runtime: Located,
    /// The command line of the wrapper, which its children have until they execute a program.
    wrapper: Option<Vec<u8>>,
}

/// Watches. Whatever it cannot do without is there before it says that it is ready.
pub(super) fn watch(watch: &Watch) -> Option<()> {
    let place = Place {
        root: &watch.root,
        id: &watch.id,
    };
    let is_it = |r: &Record| r.writer.to_string() == watch.writer && r.time == watch.time;
    let record = record::read(place).filter(is_it)?;
    let runtime = Located {
        kind: RuntimeKind::named(&record.runtime)?,
        program: watch.program.clone(),
    };
    let watcher = Watcher {
        watch,
        record,
        runtime,
        // One that waits for the runtime is our parent.
        wrapper: match watch.words.is_empty() {
            true => None,
            false => wrapper(),
        },
    };
    match watch.subcommand {
        Subcommand::Run => watcher.run(),
        Subcommand::Start => watcher.start(),
        Subcommand::Restore => watcher.restore(),
        Subcommand::Create | Subcommand::Exec | Subcommand::Delete => None,
    }
}

/// The node. A watcher that never has to judge anything does not read it.
fn node() -> Node {
    Node::with(Settings::load().unwrap_or_default())
}

impl Watcher<'_> {
    /// A `run` in the foreground is its container's parent until that ends, and deletes it itself,
    /// after we have become it.
    fn run(&self) -> Option<()> {
        watch::ready()?;
        let node = node();
        let verifies = !self.record.components.is_empty() && node.settings.verify != Verify::Off;
        if !verifies || !self.verify_the_first(&node) {
            ends(None);
        }
        self.forget_what_is_gone()
    }

    /// Verifies the container's process as soon as there is one; `false` if the runtime may still
    /// be there.
    fn verify_the_first(&self, node: &Node) -> bool {
        let mut subject: Option<Subject> = None;
        let mut pause = PAUSE;
        loop {
            let ended = ends(Some(pause));
            pause = longer(pause);
            let origin = match self.origin() {
                Ok(origin) => origin,
                // While the runtime writes its state, it may be half there; not any more by now.
                Err(why) if ended && subject.is_none() => {
                    if record::is_outdated(&self.record) {
                        return true;
                    }
                    self.refuse(why, Ok(Members::default()));
                    return true;
                }
                Err(_) => None,
            };
            let waits = origin.as_ref().is_some_and(|origin| origin.waits);
            if let (None, Some(pid)) = (&subject, origin.and_then(|origin| origin.pid)) {
                // A later container of this id is not ours to judge.
                if record::is_outdated(&self.record) {
                    return ended;
                }
                subject = match Subject::of(pid) {
                    Ok(found) => found,
                    Err(why) => {
                        self.refuse(why, Members::of(pid, &self.record.id));
                        return ended;
                    }
                };
            }
            match &subject {
                Some(subject) if !waits || !subject.is_the_runtimes() => {
                    self.verify(subject, node);
                    return ended;
                }
                Some(subject) if ended => {
                    self.until_its_gate_opens(subject, node);
                    return true;
                }
                None if ended => return true,
                _ => {}
            }
        }
    }

    /// The wrapper waits for the runtime's `start`, and then looks itself.
    fn start(&self) -> Option<()> {
        let pid = self.origin().ok()?.and_then(|origin| origin.pid);
        // What has ended meanwhile needs no watcher.
        let subject = pid.map(Subject::of).transpose().ok()?.flatten();
        watch::ready()?;
        let subject = subject?;
        ends(None);
        self.until_its_gate_opens(&subject, &node());
        self.forget_what_is_gone()
    }

    /// Verifies a container that waited for its start when the runtime was last heard of. The gate
    /// may be open although the runtime's state says that it is not: the runtime may have been
    /// killed in between; and one whose caller was killed may open it yet.
    fn until_its_gate_opens(&self, subject: &Subject, node: &Node) {
        let mut pause = PAUSE;
        let mut at_work = Instant::now();
        while !subject.has_ended() {
            let waits = self.origin().is_ok_and(|o| o.is_some_and(|o| o.waits));
            if !waits || !subject.is_the_runtimes() {
                return self.verify(subject, node);
            }
            if self.runtime_is_at_work() {
                at_work = Instant::now();
            } else if at_work.elapsed() > LIMIT {
                // It waits: another `start` has its own watcher.
                return;
            }
            std::thread::sleep(pause);
            pause = longer(pause);
        }
    }

    /// The wrapper waits for the runtime's `restore`, and then looks at every thread.
    fn restore(&self) -> Option<()> {
        let restored = Restored::expected(&self.runtime, &self.watch.deletion, &self.record);
        let restored = restored.ok()?;
        watch::ready()?;
        ends(None);
        let (mut pause, orphaned) = (PAUSE, Instant::now());
        let mut at_work = orphaned;
        while at_work.elapsed() < QUIET && orphaned.elapsed() < ORPHANED {
            if self.runtime_is_at_work() {
                at_work = Instant::now();
            }
            std::thread::sleep(pause);
            pause = longer(pause);
        }
        if let Err(why) = restored.settle(&node()) {
            self.report(&why);
        }
        Some(())
    }

    fn origin(&self) -> Result<Option<runtime_state::Origin>> {
        runtime_state::origin(self.runtime.kind, &self.record.root, &self.record.id)
    }

    /// Whether a runtime that was called with our words lives on without its caller.
    fn runtime_is_at_work(&self) -> bool {
        let mut tail = vec![0];
        for word in &self.watch.words {
            tail.extend(word.as_bytes());
            tail.push(0);
        }
        let namespace = |process: &Path| fs::read_link(process.join("ns/pid")).ok();
        let ours = namespace(Path::new("/proc/self"));
        let is_one = |process: &PathBuf| {
            let Some(words) = words_of(process) else {
                return false;
            };
            let is_called = words.ends_with(&tail)
                || Some(&words) == self.wrapper.as_ref()
                || (words.is_empty() && executes(process, &self.runtime.program));
            // What runs in a container may call itself anything.
            is_called && namespace(process) == ours
        };
        !self.watch.words.is_empty()
            && process::everything().is_ok_and(|all| all.iter().any(is_one))
    }

    fn verify(&self, subject: &Subject, node: &Node) {
        if let Err(why) = subject.verify(&self.record, node) {
            let gone = subject.put_down(&self.runtime, &self.watch.deletion, &self.record);
            self.report(&why.with_remedy(if gone { PUT_DOWN } else { NOT_PUT_DOWN }));
        }
    }

    /// Puts down what cannot be looked at.
    fn refuse(&self, why: Error, members: io::Result<Members>) {
        let deletion = &self.watch.deletion;
        let gone = verify::put_down(&self.runtime, deletion, members, &self.record);
        self.report(&why.with_remedy(if gone { PUT_DOWN } else { NOT_PUT_DOWN }));
    }

    fn report(&self, why: &Error) {
        let what = format!(
            "{} of container {}",
            self.watch.subcommand.name(),
            self.record.id
        );
        let log = EngineLog {
            log: Some(self.watch.log.clone()),
            format: Some(self.watch.log_format.clone()),
        };
        report::refusal(&what, why, &log);
    }

    fn forget_what_is_gone(&self) -> Option<()> {
        let is_there =
            runtime_state::exists(&self.record.root.join(&self.record.id)).unwrap_or(true);
        match is_there {
            true => Some(()),
            false => record::forget(&self.record).ok(),
        }
    }
}

/// The command line of a process, as `/proc/PID/cmdline` has it.
fn words_of(process: &Path) -> Option<Vec<u8>> {
    let mut words = Vec::new();
    File::open(process.join("cmdline"))
        .and_then(|file| file.take(WORDS_MAX).read_to_end(&mut words))
        .ok()?;
    Some(words)
}

/// The command line of the wrapper that has started us, if it is still there.
fn wrapper() -> Option<Vec<u8>> {
    let parent = nix::unistd::getppid().to_string();
    let words = words_of(&Path::new("/proc").join(parent));
    // As long as it lives, our parent is no other process.
    words.filter(|words| !words.is_empty() && !ends(Some(Duration::ZERO)))
}

/// Whether a process executes this program.
fn executes(process: &Path, program: &Path) -> bool {
    match (fs::metadata(process.join("exe")), fs::metadata(program)) {
        (Ok(own), Ok(other)) => (own.dev(), own.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

fn longer(pause: Duration) -> Duration {
    // In steps of one in a hundred it has grown after a second or so.
    let step = pause.checked_div(100).unwrap_or_default();
    pause.saturating_add(step).min(LONGEST_PAUSE)
}

/// Waits until the process that we watch, our standard input, has ended, or for some time; whether
/// it has.
fn ends(limit: Option<Duration>) -> bool {
    let limit = limit.map(|limit| Timespec {
        tv_sec: 0,
        tv_nsec: limit.subsec_nanos().into(),
    });
    let stdin = std::io::stdin();
    loop {
        let mut fds = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)];
        match poll(&mut fds, limit.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(0) => return false,
            _ => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_watcher_is_told_comes_through_its_words() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let watch = Watch {
            subcommand: Subcommand::Restore,
            root: "/r".into(),
            id: "c".to_owned(),
            writer: "7".to_owned(),
            time: "1970-01-01T00:00:00Z".to_owned(),
            program: "/usr/sbin/runc".into(),
            log: "".into(),
            log_format: "json".into(),
            words: words("--root /r restore c"),
            deletion: words("--root /r delete --force c"),
        };
        assert_eq!(Watch::from_words(&watch.to_words()), Some(watch.clone()));
        for cut in 0..9 {
            assert_eq!(
                Watch::from_words(watch.to_words().get(..cut).unwrap()),
                None
            );
        }
        let too_few = words("run / c 7 t /p l f 3 a b");
        assert_eq!(Watch::from_words(&too_few), None);
    }
}
