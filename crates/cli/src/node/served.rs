//! Waits until an engine serves the handler, or does not serve it any more.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::engine::daemon::Daemon;
use crate::engine::distribution::Distribution;
use crate::engine::kind::Engine;
use crate::engine::root::NodeRoot;
use crate::node::cri_status::handlers;
use crate::node::restart::{identity, process};
use crate::node::wiring::{HANDLER, NodeEngine};
use oci_apparmor::error::Result;

/// How often it is asked.
const EVERY: Duration = Duration::from_millis(500);

/// What an engine serves now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Serving {
    /// It does not run.
    Nothing,
    /// The process that has not read the changed file yet.
    Former,
    /// It does not answer, for this reason.
    Silent(String),
    /// These handlers.
    Handlers(Vec<String>),
}

impl Serving {
    /// Looks. `before`: the process that ran when the file was changed.
    pub(super) fn look(root: &NodeRoot, engine: &NodeEngine, before: Option<&str>) -> Result<Self> {
        // It may have been started again since.
        let now = NodeEngine::again(root, engine.engine, &engine.target.main)?;
        let Some(daemon) = process(now.engine, root, &now.target) else {
            return Ok(Self::Nothing);
        };
        let identity = identity(&daemon);
        if engine.engine != Engine::Crio && before.is_some() && identity.as_deref() == before {
            return Ok(Self::Former);
        }
        let socket = socket(&now, &daemon);
        Ok(match handlers(engine.engine, &root.on_host(&socket)) {
            // CRI-O can read its runtimes again without a new process.
            Ok(names) if before.is_some() && identity.as_deref() == before => {
                match names.iter().any(|name| name == HANDLER) {
                    true => Self::Handlers(names),
                    false => Self::Former,
                }
            }
            Ok(names) => Self::Handlers(names),
            Err(why) => Self::Silent(format!("{} does not answer: {why}", socket.display())),
        })
    }

    pub(super) fn has_handler(&self) -> bool {
        matches!(self, Self::Handlers(names) if names.iter().any(|name| name == HANDLER))
    }

    /// For a message.
    pub(super) fn why_not(&self, title: &str) -> String {
        match self {
            Self::Nothing => format!("{title} did not start"),
            Self::Former => format!("{title} has not read its configuration again"),
            Self::Silent(why) => format!("{title} does not work: {why}"),
            Self::Handlers(names) => {
                format!("{title} serves {}, and not {HANDLER}", names.join(", "))
            }
        }
    }
}

/// Waits at most so long until the engine serves the handler; what it served at the end.
pub(super) fn wait(
    root: &NodeRoot,
    engine: &NodeEngine,
    before: Option<&str>,
    time: Duration,
) -> Result<Serving> {
    wait_until(root, engine, before, time, Serving::has_handler)
}

/// Waits at most so long until the engine works without the handler; what it served at the end.
pub(super) fn wait_without(
    root: &NodeRoot,
    engine: &NodeEngine,
    before: Option<&str>,
    time: Duration,
) -> Result<Serving> {
    // An engine that serves other handlers has read the file, whether it is a new process or not.
    let is_without =
        |serving: &Serving| matches!(serving, Serving::Handlers(_)) && !serving.has_handler();
    wait_until(root, engine, before, time, is_without)
}

fn wait_until(
    root: &NodeRoot,
    engine: &NodeEngine,
    before: Option<&str>,
    time: Duration,
    is_done: impl Fn(&Serving) -> bool,
) -> Result<Serving> {
    let begin = Instant::now();
    loop {
        let serving = Serving::look(root, engine, before)?;
        if is_done(&serving) || begin.elapsed() >= time {
            return Ok(serving);
        }
        sleep(EVERY);
    }
}

/// Where the engine listens.
fn socket(engine: &NodeEngine, daemon: &Daemon) -> PathBuf {
    let names: &[&str] = match engine.engine {
        Engine::Crio => &["listen"],
        _ => &["a", "address"],
    };
    let usual = match (engine.engine, engine.target.distribution) {
        (Engine::Crio, _) => "/run/crio/crio.sock",
        (_, Distribution::K3s | Distribution::Rke2) => "/run/k3s/containerd/containerd.sock",
        (_, Distribution::K0s) => "/run/k0s/containerd.sock",
        (_, Distribution::Microk8s) => "/var/snap/microk8s/common/run/containerd.sock",
        (_, Distribution::System) => "/run/containerd/containerd.sock",
    };
    daemon.file(names).unwrap_or_else(|| PathBuf::from(usual))
}
