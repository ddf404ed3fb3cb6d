//! Makes an engine read its configuration, where the caller allows that.
//!
//! `systemctl` of the node asks systemd, on its private socket if there is no bus; it waits for the
//! job and knows all dependencies. Signals are for nodes without systemd: CRI-O reads its runtimes
//! again on SIGHUP (`ReloadRuntimes`), containerd has no such signal (`handledSignals` in its
//! `main_unix.go`) and is ended, so that its supervisor starts it again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::engine::daemon::{Daemon, daemons};
use crate::engine::kind::Engine;
use crate::engine::root::NodeRoot;
use crate::engine::target::Target;
use oci_apparmor::child::{self, Limits};
use oci_apparmor::error::{Error, Kind, Result, foreign};
use oci_apparmor::fs::trusted;

/// A Kubernetes distribution takes minutes to start.
const LIMITS: Limits = Limits {
    time: Duration::from_secs(600),
    memory: 64 << 30,
};

/// How an engine is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    /// Not at all.
    No,
    /// By systemd.
    Systemd,
    /// By a signal.
    Signal,
}

/// The engine's process; `None` if it does not run.
pub(super) fn process(engine: Engine, root: &NodeRoot, target: &Target) -> Option<Daemon> {
    match engine {
        Engine::Crio if root.is_node() => daemons(root, &["crio"]).into_iter().next(),
        _ => target.daemon.clone(),
    }
}

/// What tells this process from the next one of the same program: the boot, its id, and when it was
/// started (`proc_pid_stat(5)`).
pub(super) fn identity(daemon: &Daemon) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid)).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let started = fields.split(' ').nth(19)?;
    Some(format!("{} {} {started}", boot.trim(), daemon.pid))
}

/// Refuses a way that cannot work here.
///
/// # Errors
/// [`Kind::Usage`].
pub(super) fn possible(root: &NodeRoot, how: Restart) -> Result<()> {
    let refused = |why: &str, remedy: &str| Err(Error::new(Kind::Usage, why).with_remedy(remedy));
    match how {
        Restart::No => Ok(()),
        _ if !root.is_node() => refused(
            "no engine runs in the tree of an image",
            "leave --restart out; nothing was changed",
        ),
        Restart::Signal => {
            let own = fs::read_link("/proc/self/ns/pid").ok();
            match own.is_some() && own == root.namespace("pid") {
                true => Ok(()),
                false => refused(
                    "a signal cannot be sent from the process namespace of this container",
                    "give the pod hostPID, or use --restart=systemd; nothing was changed",
                ),
            }
        }
        Restart::Systemd => systemctl(root, &["--version"]).map(|_| ()),
    }
}

/// Restarts the engine; it may take some time until it serves again.
///
/// # Errors
/// If it cannot be restarted, with the reason.
pub(super) fn restart(
    engine: Engine,
    root: &NodeRoot,
    target: &Target,
    how: Restart,
) -> Result<()> {
    match how {
        Restart::No => Ok(()),
        Restart::Systemd => {
            let unit = target.unit(engine, root);
            systemctl(root, &["restart", &unit]).map(|_| ())
        }
        Restart::Signal => match process(engine, root, target) {
            Some(daemon) => signal(engine, &daemon),
            None => Ok(()),
        },
    }
}

fn signal(engine: Engine, daemon: &Daemon) -> Result<()> {
    let failed = |e: rustix::io::Errno| {
        let path = format!("/proc/{}", daemon.pid);
        Error::io("send a signal to", Path::new(&path), &e.into())
    };
    let before = identity(daemon);
    let pid = i32::try_from(daemon.pid).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else { return Ok(()) };
    let opened = pidfd_open(pid, PidfdFlags::empty()).map_err(failed)?;
    // The id may have been reused before it was opened.
    if identity(daemon) != before {
        return Ok(());
    }
    let which = match engine {
        Engine::Crio => Signal::HUP,
        _ => Signal::TERM,
    };
    pidfd_send_signal(&opened, which).map_err(failed)
}

/// Makes systemd read units again and start some, or stop them. Without systemd, nothing happens.
///
/// # Errors
/// If systemd refuses.
pub(super) fn units(root: &NodeRoot, verb: &str, units: &[&str]) -> Result<()> {
    // As sd_booted(3) looks for it.
    if !root.is_node() || !root.on_host(Path::new("/run/systemd/system")).is_dir() {
        return Ok(());
    }
    systemctl(root, &["daemon-reload"])?;
    match units {
        [] => Ok(()),
        units => systemctl(root, &[&[verb], units].concat()).map(|_| ()),
    }
}

fn systemctl(root: &NodeRoot, words: &[&str]) -> Result<()> {
    let missing = |what: &str| {
        Error::new(Kind::NotFound, format!("this node has no {what}"))
            .with_remedy("restart the engine in its own way, or use --restart=signal")
    };
    let find = |places: [&'static str; 2]| {
        let found = |place: &&str| root.is_node() && trusted::program(Path::new(place)).is_ok();
        places.into_iter().find(found)
    };
    let program = find(["/usr/bin/systemctl", "/bin/systemctl"]);
    let program = program.ok_or_else(|| missing("systemctl"))?;
    let env = find(["/usr/bin/env", "/bin/env"]).ok_or_else(|| missing("env"))?;
    // It does nothing in a chroot, except if told that this one is the node's own root directory.
    let words = [
        &["SYSTEMD_IGNORE_CHROOT=1", program, "--no-ask-password"],
        words,
    ]
    .concat();
    match child::run(Path::new(env), &words, b"", LIMITS) {
        Ok(_) => Ok(()),
        Err(e) => {
            let said = foreign(&Error::from(e).to_string());
            let what = words.get(3..).unwrap_or_default().join(" ");
            Err(
                Error::new(Kind::Internal, format!("systemctl {what} failed: {said}"))
                    .with_remedy(format!("run: systemctl {what}")),
            )
        }
    }
}
