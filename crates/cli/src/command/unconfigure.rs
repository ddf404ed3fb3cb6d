//! `unconfigure`: an engine does not call us any more.

use clap::Args;

use crate::command::configure::{Name, Where, finish, restart};
use crate::engine::journal::Journal;
use crate::engine::kind::Engine;
use crate::engine::live_containers::{self, LiveContainer};
use crate::engine::plan;
use crate::engine::requested::{DEFAULT_NAME, check_name};
use crate::engine::root::NodeRoot;
use crate::engine::target::Target;
use crate::print;
use oci_apparmor::error::{Error, Kind, Result};

#[derive(Debug, Args)]
pub(crate) struct Unconfigure {
    /// The engine
    #[arg(required_unless_present = "all")]
    engine: Option<Name>,
    /// Every engine that was configured
    #[arg(long, conflicts_with_all = ["engine", "config"])]
    all: bool,
    #[command(flatten)]
    place: Where,
    /// The runtime's name in the engine, where it was not `configure` that made it
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    runtime_name: String,
    /// Do it although containers live that were made through the wrapper
    #[arg(long)]
    force: bool,
}

pub(crate) fn unconfigure(arguments: &Unconfigure) -> Result<u8> {
    check_name(&arguments.runtime_name)?;
    let root = NodeRoot::new(&arguments.place.root)?;
    let named = arguments.engine.map(Name::engine);
    let config = arguments.place.config.as_deref();
    let mut todo: Vec<(Engine, Target)> = Vec::new();
    match named {
        Some(engine) => todo.push((engine, Target::for_unconfigure(engine, &root, config)?)),
        None => {
            for journal in Journal::all(&root)? {
                if let Some(engine) = Engine::named(&journal.engine) {
                    let target = Target::of(engine, &root, Some(&journal.configuration))?;
                    todo.push((engine, target));
                }
            }
        }
    }
    if todo.is_empty() {
        print("no engine is configured\n")?;
    }
    let dry_run = arguments.place.dry_run;
    for (engine, target) in todo {
        let main = &target.main;
        let journal = Journal::load(&root, engine, main)?;
        let name =
            journal.map_or_else(|| arguments.runtime_name.clone(), |journal| journal.runtime);
        let plan = plan::unconfigure(engine, &root, main, &name)?;
        if root.is_node() && !arguments.force && !dry_run && !plan.steps.is_empty() {
            nobody_lives(engine)?;
        }
        if finish(engine, &root, plan, dry_run)? && !dry_run {
            print(&restart(engine, &root, &target, true))?;
        }
    }
    Ok(0)
}

/// Refuses while an engine has containers that would lose the wrapper: engines call it by its path
/// until the last of them is deleted, whether they asked for a profile or not.
fn nobody_lives(engine: Engine) -> Result<()> {
    let ids: Vec<String> = live_containers::of(engine)?
        .iter()
        .map(LiveContainer::shown)
        .collect();
    match ids.is_empty() {
        true => Ok(()),
        false => Err(Error::new(
            Kind::Policy,
            format!(
                "containers live that were made through the wrapper, and {} would lose it: {}",
                engine.title(),
                ids.join(" ")
            ),
        )
        .with_remedy("remove them first, or give --force; nothing was changed")),
    }
}
