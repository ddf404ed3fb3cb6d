//! The engine of a node, and its configuration.

use std::path::Path;

use crate::engine::change::{self, EngineChange};
use crate::engine::distribution::Distribution;
use crate::engine::journal::Journal;
use crate::engine::kind::Engine;
use crate::engine::layout;
use crate::engine::plan;
use crate::engine::requested::{DEFAULT_NAME, Requested};
use crate::engine::root::NodeRoot;
use crate::engine::target::Target;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::settings::RuntimeKind;

/// The name of the runtime in the engine: the handler of the RuntimeClass.
pub(super) const HANDLER: &str = DEFAULT_NAME;

/// An engine, and which of its files counts.
#[derive(Debug)]
pub(super) struct NodeEngine {
    pub(super) engine: Engine,
    pub(super) target: Target,
}

impl NodeEngine {
    /// The engine that this node has; `wanted` and `distribution` are what the caller says about it.
    ///
    /// # Errors
    /// If there is none, if there are several, or if the caller is wrong.
    pub(super) fn find(
        root: &NodeRoot,
        wanted: Option<Engine>,
        distribution: Option<Distribution>,
    ) -> Result<Self> {
        let engine = match wanted {
            Some(engine) => engine,
            None if distribution.is_some() => Engine::Containerd,
            None => only(root)?,
        };
        let target = match distribution {
            Some(named) => of_distribution(root, engine, named)?,
            None => Target::of(engine, root, None)?,
        };
        Ok(Self { engine, target })
    }

    /// The engine that a record names, as it is now.
    pub(super) fn again(root: &NodeRoot, engine: Engine, main: &Path) -> Result<Self> {
        let target = Target::of(engine, root, Some(main))?;
        Ok(Self { engine, target })
    }

    /// Its name in messages.
    pub(super) fn title(&self) -> &'static str {
        match self.engine {
            Engine::Containerd => self.target.distribution.title(),
            other => other.title(),
        }
    }

    /// The command that makes it read its files; none where it does that by itself.
    pub(super) fn command(&self, root: &NodeRoot) -> Option<String> {
        self.target.restart(self.engine, root, true)
    }

    /// What `configure` would change, with all reasons to refuse.
    pub(super) fn change(
        &self,
        root: &NodeRoot,
        libexec: &Path,
        default: bool,
    ) -> Result<EngineChange> {
        let requested = Requested {
            name: HANDLER.to_owned(),
            programs: libexec.to_owned(),
            low_level: None,
            usual: change::usual(self.engine, root),
            default,
        };
        EngineChange::plan(self.engine, root, &self.target, &requested)
    }

    /// What `configure` did here before.
    pub(super) fn journal(&self, root: &NodeRoot) -> Result<Option<Journal>> {
        Journal::load(root, self.engine, &self.target.main)
    }

    /// Makes the configuration what it was: as `former` says, or without the wrapper.
    pub(super) fn take_back(&self, root: &NodeRoot, former: Option<&Journal>) -> Result<bool> {
        let main = &self.target.main;
        let plan = match former {
            Some(former) => {
                let name = former.program.file_name().and_then(|name| name.to_str());
                let requested = Requested {
                    name: former.runtime.clone(),
                    programs: former.program.parent().unwrap_or(Path::new("/")).to_owned(),
                    low_level: name.and_then(RuntimeKind::named),
                    usual: change::usual(self.engine, root),
                    default: former.default,
                };
                plan::configure(self.engine, root, main, &requested)?
            }
            None => plan::unconfigure(self.engine, root, main, HANDLER)?,
        };
        let changes = !plan.steps.is_empty();
        plan.apply(root)?;
        Ok(changes)
    }
}

/// The only engine for Kubernetes that is installed.
fn only(root: &NodeRoot) -> Result<Engine> {
    let (distributions, system) = layout::on_disk(root);
    let containerd = system || !distributions.is_empty();
    let mut crio = Engine::Crio.programs().iter().map(Path::new);
    let crio = crio.any(|path| root.has(path)) || root.has(Path::new("/etc/crio"));
    match (containerd, crio) {
        (true, false) => Ok(Engine::Containerd),
        (false, true) => Ok(Engine::Crio),
        (true, true) => Err(
            Error::new(Kind::Usage, "this node has containerd and CRI-O")
                .with_remedy("give --engine the one that the kubelet uses; nothing was changed"),
        ),
        (false, false) => Err(Error::new(
            Kind::NotFound,
            "this node has neither containerd nor CRI-O",
        )
        .with_remedy("install the engine first, or name it with --engine; nothing was changed")),
    }
}

/// The containerd of a distribution.
fn of_distribution(root: &NodeRoot, engine: Engine, named: Distribution) -> Result<Target> {
    if engine != Engine::Containerd {
        return Err(Error::new(
            Kind::Usage,
            format!("{} does not run {}", named.title(), engine.title()),
        )
        .with_remedy("leave one of --engine and --distribution out; nothing was changed"));
    }
    let found = Target::of(engine, root, None);
    let is_not = |what: String| {
        Err(Error::new(
            Kind::Policy,
            format!("this node is not {}: {what}", named.title()),
        )
        .with_remedy(
            "give the distribution that it is, or leave --distribution out; nothing was \
                     changed",
        ))
    };
    match found {
        Ok(target) if target.distribution == named => return Ok(target),
        Ok(target) if target.daemon.is_some() => {
            return is_not(format!(
                "its containerd, which reads {}, is that of {}",
                target.reads.display(),
                target.distribution.title()
            ));
        }
        _ => {}
    }
    if !layout::on_disk(root).0.contains(&named) {
        let traces: Vec<&str> = named.traces().to_vec();
        return is_not(format!("it has none of {}", traces.join(", ")));
    }
    let main = layout::to_change(root, named.main_file())?;
    Target::of(engine, root, Some(&main))
}
