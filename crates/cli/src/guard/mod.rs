//! Puts something back when this process ends, also if it is killed.
//!
//! A guard is a child of this program, in a session of its own, that waits until a pipe from this
//! process is closed. The kernel closes it, however this process ends. If both are killed, what is
//! left behind is found by `check`.

mod audit_parameter;

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command};

use nix::sys::signal::SigSet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use oci_apparmor::apparmor::kernel::Kernel;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::child;
use oci_apparmor::containers::{in_use, learning};
use oci_apparmor::error::{Error, Kind, Result, foreign, reason};
use oci_apparmor::node::Node;
use oci_apparmor::profiles::{Lock, Store};

use audit_parameter::NoQuiet;
pub(crate) use audit_parameter::left_behind;

/// The hidden command that the child runs.
pub(crate) const COMMAND: &str = "restore-at-end";

/// What the child writes when this process may begin.
const READY: &str = "ready\n";

/// How long the child may take to be ready, and to restore, in seconds. A profile is compiled again.
const LIMIT: i64 = 120;

/// What a guard puts back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Restore {
    /// AppArmor's parameter `audit`. The guard itself sets it to `noquiet` when it is armed, and puts
    /// back the earlier value when the last command that needs it has ended.
    AuditParameter,
    /// The profile enforces again on this node, as its source and the node say
    /// (`oci-apparmor mode NAME enforce`).
    EnforceAgain(ProfileName),
    /// The profile is removed from the kernel. Only for a profile that no process can carry: processes
    /// of a removed profile become unconfined.
    RemoveProfile(ProfileName),
}

impl Restore {
    const AUDIT_PARAMETER: &str = "audit-parameter";
    const ENFORCE_AGAIN: &str = "enforce-again";
    const REMOVE_PROFILE: &str = "remove-profile";

    /// As words of a command line.
    fn words(&self) -> Vec<&str> {
        match self {
            Self::AuditParameter => vec![Self::AUDIT_PARAMETER],
            Self::EnforceAgain(name) => vec![Self::ENFORCE_AGAIN, name.as_str()],
            Self::RemoveProfile(name) => vec![Self::REMOVE_PROFILE, name.as_str()],
        }
    }

    /// From [`Restore::words`].
    ///
    /// # Errors
    /// [`Kind::Usage`] if these are other words.
    pub(crate) fn parse(words: &[String]) -> Result<Self> {
        let mut all = words.iter().map(String::as_str);
        match (all.next(), all.next(), all.next()) {
            (Some(Self::AUDIT_PARAMETER), None, None) => Ok(Self::AuditParameter),
            (Some(Self::ENFORCE_AGAIN), Some(name), None) => {
                ProfileName::parse(name).map(Self::EnforceAgain)
            }
            (Some(Self::REMOVE_PROFILE), Some(name), None) => {
                ProfileName::parse(name).map(Self::RemoveProfile)
            }
            _ => Err(Error::new(
                Kind::Usage,
                format!("{COMMAND} is only called by oci-apparmor itself"),
            )
            .with_remedy("run: oci-apparmor --help")),
        }
    }
}

/// A guard. When it is dropped, or this process ends in whatever way, it restores.
#[derive(Debug)]
pub(crate) struct Guard {
    /// `None` once it has restored.
    process: Option<GuardProcess>,
}

/// The child, which waits until `alive` is closed.
#[derive(Debug)]
struct GuardProcess {
    child: Child,
    alive: PipeWriter,
    answers: PipeReader,
}

impl Guard {
    /// Starts a guard. When this returns, the guard is at work, and the caller may change what it puts
    /// back.
    ///
    /// # Errors
    /// If the guard cannot be started; nothing may be changed then.
    pub(crate) fn arm(restore: &Restore) -> Result<Self> {
        let failed =
            |why: &str| Error::new(Kind::Internal, format!("cannot prepare to restore: {why}"));
        let io = |e: io::Error| failed(&reason(&e));
        let (stdin, alive) = io::pipe().map_err(io)?;
        let (answers, stdout) = io::pipe().map_err(io)?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg(COMMAND)
            .args(restore.words())
            .current_dir("/")
            .stdin(stdin)
            .stdout(stdout);
        let child = child::spawn(&mut command).map_err(io)?;
        // Closes this process's copies of the other ends.
        drop(command);
        let mut process = GuardProcess {
            child,
            alive,
            answers,
        };
        let said = answer(&mut process.answers, READY.len()).map_err(io)?;
        if said == READY {
            return Ok(Self {
                process: Some(process),
            });
        }
        // It has ended, and has nothing to restore.
        let more = answer(&mut process.answers, usize::MAX).unwrap_or_default();
        let _ = process.child.wait();
        Err(failed(&foreign(&(said + &more))))
    }

    /// Restores now.
    ///
    /// # Errors
    /// If that is not possible. What is left then is found by `check`.
    pub(crate) fn disarm(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let Some(process) = self.process.take() else {
            return Ok(());
        };
        let GuardProcess {
            mut child,
            alive,
            mut answers,
        } = process;
        drop(alive);
        let failed = |why: &str| Error::new(Kind::Internal, format!("cannot restore: {why}"));
        let io = |e: io::Error| failed(&reason(&e));
        let said = answer(&mut answers, usize::MAX).map_err(io)?;
        let status = child.wait().map_err(io)?;
        match said.is_empty() {
            true if status.success() => Ok(()),
            true => Err(failed(&format!("the guard ended with {status}"))),
            false => Err(failed(&foreign(&said))),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(e) = self.end() {
            let _ = writeln!(io::stderr(), "oci-apparmor: {e}");
        }
    }
}

/// At most `length` bytes of what the child says until it closes its output.
fn answer(output: &mut PipeReader, length: usize) -> io::Result<String> {
    let limit = Timespec {
        tv_sec: LIMIT,
        tv_nsec: 0,
    };
    let mut said = Vec::new();
    while said.len() < length {
        let mut fds = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&limit)) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
            Ok(0) => return Err(io::Error::other(format!("no answer within {LIMIT} s"))),
            Ok(_) => {}
        }
        let mut bytes = [0; 512];
        let room = bytes.len().min(length.saturating_sub(said.len()));
        let count = output.read(bytes.get_mut(..room).unwrap_or_default())?;
        if count == 0 || said.len() > 4096 {
            break;
        }
        said.extend_from_slice(bytes.get(..count).unwrap_or_default());
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// The child: says that it is ready, waits until its standard input is closed, and restores. A failure
/// is written to standard output, or to standard error if the parent is gone.
///
/// # Errors
/// None that the parent has not read already.
pub(crate) fn serve(restore: &Restore) -> Result<u8> {
    // What ends the parent must not end this process: a signal to the group or the terminal.
    let _ = nix::unistd::setsid();
    let _ = SigSet::all().thread_block();
    let undo = match Undo::prepare(restore) {
        Ok(undo) => undo,
        Err(e) => return Ok(report(&e)),
    };
    let mut output = io::stdout();
    let _ = output
        .write_all(READY.as_bytes())
        .and_then(|()| output.flush());
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    Ok(match undo.run() {
        Ok(()) => 0,
        Err(e) => report(&e),
    })
}

/// What the child does at the end, and what it holds until then.
enum Undo {
    PutBack(NoQuiet),
    Enforce(ProfileName, Lock),
    Remove(ProfileName),
}

impl Undo {
    fn prepare(restore: &Restore) -> Result<Self> {
        Ok(match restore {
            Restore::AuditParameter => Self::PutBack(NoQuiet::set(Kernel::default())?),
            Restore::EnforceAgain(name) => Self::Enforce(name.clone(), learning::lock(name)?),
            Restore::RemoveProfile(name) => Self::Remove(name.clone()),
        })
    }

    fn run(self) -> Result<()> {
        match self {
            Self::PutBack(held) => held.put_back(),
            Self::Enforce(name, _lock) => enforce(&name),
            Self::Remove(name) => remove(&name),
        }
    }
}

fn report(e: &Error) -> u8 {
    let text = format!("{e}\n");
    let mut output = io::stdout();
    let written = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
    if written.is_err() {
        let _ = write!(io::stderr(), "oci-apparmor: cannot restore: {text}");
    }
    e.kind().exit_code()
}

fn enforce(name: &ProfileName) -> Result<()> {
    let node = Node::load()?;
    let store = Store::new(&node);
    store.set_mode(name, false)?.loaded?;
    learning::set_mode(&store, name, false).map(drop)
}

fn remove(name: &ProfileName) -> Result<()> {
    let kernel = Kernel::default();
    match kernel.loaded(name)? {
        Some(_) => remove_unused(&kernel, name),
        None => Ok(()),
    }
}

/// Removes a profile from the kernel that no process should have. One that a process has stays: if it
/// was removed, the process would be unconfined.
///
/// # Errors
/// If a process has it, and those of the kernel.
pub(crate) fn remove_unused(kernel: &Kernel, name: &ProfileName) -> Result<()> {
    if in_use::by(name)?.is_empty() {
        return kernel.remove(name);
    }
    let why = format!("the profile {name} is in use, and stays loaded");
    Err(Error::new(Kind::Policy, why).with_remedy("run: oci-apparmor status"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        let name = ProfileName::parse("web").unwrap();
        for restore in [
            Restore::AuditParameter,
            Restore::EnforceAgain(name.clone()),
            Restore::RemoveProfile(name),
        ] {
            let words: Vec<String> = restore.words().into_iter().map(str::to_owned).collect();
            assert_eq!(Restore::parse(&words).unwrap(), restore);
        }
        for words in [
            &["audit-parameter", "x"][..],
            &["remove-profile"],
            &["x"],
            &[],
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert!(Restore::parse(&words).is_err(), "{words:?}");
        }
    }
}
