//! `unconfigure`: an engine does not call us any more.

use clap::Args;

use crate::command::configure::{DEFAULT_NAME, Name, Where, finish, restart};
use crate::command::living::{self, Living};
use crate::command::target::Target;
use crate::engine::memory::Memory;
use crate::engine::place::Place;
use crate::engine::{self, Engine};
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
    engine::check_name(&arguments.runtime_name)?;
    let place = Place::new(&arguments.place.root)?;
    let named = arguments.engine.map(Name::engine);
    let config = arguments.place.config.as_deref();
    let mut todo: Vec<(Engine, Target)> = Vec::new();
    match named {
        Some(engine) => todo.push((engine, Target::to_take_back(engine, &place, config)?)),
        None => {
            for memory in Memory::all(&place)? {
                if let Some(engine) = Engine::named(&memory.engine) {
                    let target = Target::of(engine, &place, Some(&memory.configuration))?;
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
        let memory = Memory::load(&place, engine, main)?;
        let name = memory.map_or_else(|| arguments.runtime_name.clone(), |memory| memory.runtime);
        let outcome = engine::unconfigure(engine, &place, main, &name)?;
        if place.is_node() && !arguments.force && !dry_run && !outcome.steps.is_empty() {
            nobody_lives(engine)?;
        }
        if finish(engine, &place, outcome, dry_run)? && !dry_run {
            print(&restart(engine, &place, &target, true))?;
        }
    }
    Ok(0)
}

/// Refuses while an engine has containers that would lose the wrapper: engines call it by its path
/// until the last of them is deleted, whether they asked for a profile or not.
fn nobody_lives(engine: Engine) -> Result<()> {
    let ids: Vec<String> = living::of(engine)?.iter().map(Living::shown).collect();
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
