//! Installing and uninstalling from a pod. The pod stays, so that it is the same for the API whether
//! there was something to do or not, and so that no failure restarts an engine again and again.
//!
//! SIGTERM and SIGINT end the waiting, and nothing else: a pod that is deleted leaves the node as it is.

use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::engine::root::NodeRoot;
use crate::node::files::Programs;
use crate::node::handover::{Handover, Want};
use crate::node::install::install;
use crate::node::serve::{InstallRequest, Installed, confirmed, look_again, withdraw};
use crate::node::uninstall::{UninstallRequest, Uninstalled, uninstall};
use crate::report::output::Output;
use oci_apparmor::error::{Error, Kind, Result};

/// How often the other container's answer is looked for.
const ANSWER: Duration = Duration::from_secs(2);

/// How often it is looked whether others have done what is left.
const LOOK: Duration = Duration::from_secs(15);

/// The signals that end the waiting. Process 1 of a container has to ask for them.
struct EndSignals {
    file: SignalFd,
}

impl EndSignals {
    fn block() -> Result<Self> {
        let failed = |e: nix::errno::Errno| {
            Error::new(Kind::Internal, format!("cannot wait for signals: {e}"))
        };
        let mut set = SigSet::empty();
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGINT);
        set.thread_block().map_err(failed)?;
        let file = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC).map_err(failed)?;
        Ok(Self { file })
    }

    /// Waits; whether a signal came.
    fn come_within(&self, time: Duration) -> bool {
        let time = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
        poll(&mut fds, Some(&time)).is_ok_and(|count| count > 0)
    }

    fn wait(&self) {
        while !self.come_within(Duration::from_secs(3_600)) {}
    }
}

/// Installs, and waits until the pod ends.
///
/// # Errors
/// If it is refused with nothing changed: the container may start again.
pub(crate) fn install_and_stay(
    root: &NodeRoot,
    programs: Programs,
    request: &InstallRequest,
    handover: &Handover,
    output: Output,
) -> Result<()> {
    let signals = EndSignals::block()?;
    if has_given_up(handover, &signals, output) {
        return Ok(());
    }
    handover.ask(Want::Nothing)?;
    let mut installed = install(root, programs, request, output)?;
    let mut said = String::new();
    loop {
        let waits = match installed {
            Installed::Served => break,
            Installed::TakenBack(e) => return gives_up(handover, &signals, &e, output),
            Installed::Waits(command) => {
                format!("the engine has not read its configuration yet; to do that, run: {command}")
            }
            Installed::Stopped => "the engine does not run".to_owned(),
        };
        if waits != said {
            output.line(&waits)?;
            said = waits;
        }
        if signals.come_within(LOOK) {
            return Ok(());
        }
        installed = look_again(root, request)?;
    }
    output.line("the engine serves the handler; waiting for the API to show it")?;
    let id = handover.ask(Want::Served)?;
    let answer = loop {
        if let Some(answer) = handover.answer(&id) {
            break answer;
        }
        if signals.come_within(ANSWER) {
            return Ok(());
        }
    };
    if answer.done {
        confirmed(root)?;
        output.line("the node is labelled")?;
        signals.wait();
        return Ok(());
    }
    let e = Error::new(
        Kind::Internal,
        format!("the API does not show the handler: {}", answer.reason),
    );
    let e = match withdraw(root, request) {
        Ok(true) => e.with_remedy("the engine's configuration was taken back"),
        Ok(false) => e.with_remedy(
            "it was served before, so the engine's configuration stays; run on the node: \
             oci-apparmor check",
        ),
        Err(back) => e.with_remedy(format!(
            "its configuration could not be taken back: {}",
            back.without_remedy()
        )),
    };
    gives_up(handover, &signals, &e, output)
}

/// Whether an earlier container of this pod has given up; if so, waits until the pod ends.
fn has_given_up(handover: &Handover, signals: &EndSignals, output: Output) -> bool {
    let Some(why) = handover.given_up() else {
        return false;
    };
    output.note(format!("not tried again in this pod: {why}"));
    signals.wait();
    true
}

/// Says why, and waits until the pod ends: a container that ended would be started again, and restart
/// the engine again.
fn gives_up(handover: &Handover, signals: &EndSignals, e: &Error, output: Output) -> Result<()> {
    output.note(format!("oci-apparmor: {e}"));
    handover.give_up(&e.to_string())?;
    signals.wait();
    Ok(())
}

/// Takes the label away, uninstalls, and waits until the pod ends.
///
/// # Errors
/// If the exchange with the other container fails.
pub(crate) fn uninstall_and_stay(
    root: &NodeRoot,
    request: &UninstallRequest,
    handover: &Handover,
    output: Output,
) -> Result<()> {
    let signals = EndSignals::block()?;
    if has_given_up(handover, &signals, output) {
        return Ok(());
    }
    let id = handover.ask(Want::Unserved)?;
    output.line("waiting for the node's label to be removed")?;
    while handover.answer(&id).is_none_or(|answer| !answer.done) {
        if signals.come_within(ANSWER) {
            return Ok(());
        }
    }
    let mut said = String::new();
    loop {
        let left = match uninstall(root, request, output) {
            Ok(Uninstalled::Done) => break,
            Ok(Uninstalled::Left(what)) => what,
            Err(e) => return gives_up(handover, &signals, &e, output),
        };
        if left != said {
            output.line(format!("not uninstalled yet: {left}"))?;
            said = left;
        }
        if signals.come_within(LOOK) {
            return Ok(());
        }
    }
    output.line("uninstalled")?;
    signals.wait();
    Ok(())
}
