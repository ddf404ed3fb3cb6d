//! `unconfigure`: takes the wrapper out of an engine's configuration.

use clap::Args;

use crate::command::configure::{DEFAULT_NAME, Name, Where, finish, restart};
use crate::command::living::{self, Container};
use crate::command::output::Output;
use crate::command::target::Target;
use crate::engine::memory::Memory;
use crate::engine::place::Place;
use crate::engine::{self, Engine};
use oci_apparmor::error::{Error, Kind, Result};

/// Take the wrapper out of an engine's configuration
///
/// Puts the configuration back as it was, byte for byte. If the file was changed since, only the
/// wrapper's entries are taken out, and the default runtime is what it was before, unless another one
/// was chosen meanwhile. If nothing is remembered (it was configured by hand, or
/// /etc/oci-apparmor/engines/ was lost), the runtime with the given name is taken out.
///
/// It is refused while containers of the engine exist that were made through the wrapper, with a
/// profile or without: the engine could not stop or remove them any more. The program stays
/// installed; engines keep its path for the containers that they have.
#[derive(Debug, Args)]
#[command(override_usage = "\
oci-apparmor unconfigure [OPTIONS] <ENGINE>
       oci-apparmor unconfigure [OPTIONS] --all")]
#[command(after_help = "\
Examples:
  oci-apparmor unconfigure containerd
  # Every engine that was configured.
  oci-apparmor unconfigure --all")]
pub(crate) struct Unconfigure {
    /// The engine
    #[arg(required_unless_present = "all")]
    engine: Option<Name>,
    /// Every engine that was configured
    #[arg(long, conflicts_with_all = ["engine", "config"])]
    all: bool,
    #[command(flatten)]
    place: Where,
    /// The runtime's name in the engine, if configure did not add it
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    runtime_name: String,
    /// Do it even if containers exist that were made through the wrapper
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(arguments: &Unconfigure, output: Output) -> Result<u8> {
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
        output.line("no engine is configured")?;
    }
    let dry_run = arguments.place.dry_run;
    for (engine, target) in todo {
        let main = &target.main;
        let memory = Memory::load(&place, engine, main)?;
        let name = memory.map_or_else(|| arguments.runtime_name.clone(), |memory| memory.runtime);
        let outcome = engine::unconfigure(engine, &place, main, &name)?;
        if place.is_node() && !arguments.force && !dry_run && !outcome.steps.is_empty() {
            no_containers(engine)?;
        }
        if finish(engine, &place, outcome, dry_run, output)? && !dry_run {
            output.text(&restart(engine, &place, &target, true))?;
        }
    }
    Ok(0)
}

/// Refuses while an engine has containers that were made through the wrapper: it calls the wrapper
/// by its path until the last of them is deleted, whether they asked for a profile or not.
fn no_containers(engine: Engine) -> Result<()> {
    let ids: Vec<String> = living::of(engine)?.iter().map(Container::shown).collect();
    match ids.is_empty() {
        true => Ok(()),
        false => Err(Error::new(
            Kind::Policy,
            format!(
                "{} has containers that were made through the wrapper: {}",
                engine.title(),
                ids.join(" ")
            ),
        )
        .with_remedy("remove them first, or give --force; nothing was changed")),
    }
}
