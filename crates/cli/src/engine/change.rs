//! What `configure` would change, with all its reasons to refuse: nothing is written here.

use std::path::Path;

use crate::engine::acceptance;
use crate::engine::current_runtime::CurrentRuntime;
use crate::engine::kind::Engine;
use crate::engine::plan::{self, Plan};
use crate::engine::requested::Requested;
use crate::engine::root::NodeRoot;
use crate::engine::target::Target;
use oci_apparmor::error::Result;
use oci_apparmor::settings::RuntimeKind;

/// A change that the engine would start with.
#[derive(Debug)]
pub(crate) struct EngineChange {
    /// What is to be written.
    pub(crate) plan: Plan,
    /// What a person should know about the runtime that it calls, besides the notes of the plan.
    pub(crate) notes: Vec<String>,
}

impl EngineChange {
    /// Plans it. The wrapper need not be installed yet.
    ///
    /// # Errors
    /// If the request contradicts the engine's files, if the wrapper would call another runtime than
    /// the engine, or if the engine's own program rejects the new text.
    pub(crate) fn plan(
        engine: Engine,
        root: &NodeRoot,
        target: &Target,
        requested: &Requested,
    ) -> Result<Self> {
        acceptance::knows_our_template(root, target)?;
        let plan = plan::configure(engine, root, &target.main, requested)?;
        let mut notes = Vec::new();
        if let Some(program) = &plan.program {
            let current = CurrentRuntime {
                engine,
                target,
                configured: plan.replaces.as_deref(),
            };
            notes.extend(current.same_program(root, program)?);
        }
        acceptance::accepted(engine, root, target, &plan, requested.default)?;
        Ok(Self { plan, notes })
    }
}

/// The low-level runtime that an engine takes where nothing is configured.
#[must_use]
pub(crate) fn usual(engine: Engine, root: &NodeRoot) -> RuntimeKind {
    let has = |kind: RuntimeKind| {
        let directories = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
        directories
            .iter()
            .any(|d| root.has(&Path::new(d).join(kind.name())))
    };
    match engine {
        Engine::Podman if has(RuntimeKind::Crun) || !has(RuntimeKind::Runc) => RuntimeKind::Crun,
        Engine::Crio if has(RuntimeKind::Crun) && !has(RuntimeKind::Runc) => RuntimeKind::Crun,
        _ => RuntimeKind::Runc,
    }
}
