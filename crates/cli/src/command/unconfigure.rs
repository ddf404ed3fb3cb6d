//! `unconfigure`: takes the wrapper out of an engine's configuration.

use clap::Args;

use crate::command::configure::{Name, Where, finish, restart};
use crate::engine::journal::Journal;
use crate::engine::kind::Engine;
use crate::engine::live_containers::{self, LiveContainer};
use crate::engine::plan;
use crate::engine::requested::{DEFAULT_NAME, check_name};
use crate::engine::root::NodeRoot;
use crate::engine::target::Target;
use crate::report::output::Output;
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
pub(crate) struct UnconfigureArguments {
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
    /// Exit with 75 if an engine must be restarted before the wrapper can be removed; for
    /// install.sh
    #[arg(long, hide = true)]
    before_uninstall: bool,
}

/// What is left to be done is not done by this program: EX_TEMPFAIL of sysexits(3).
const RESTART_FIRST: u8 = 75;

pub(crate) fn run(arguments: &UnconfigureArguments, output: Output) -> Result<u8> {
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
        output.line("no engine is configured")?;
    }
    let dry_run = arguments.place.dry_run;
    let mut must_restart = false;
    for (engine, target) in todo {
        let main = &target.main;
        let journal = Journal::load(&root, engine, main)?;
        let name =
            journal.map_or_else(|| arguments.runtime_name.clone(), |journal| journal.runtime);
        let plan = plan::unconfigure(engine, &root, main, &name)?;
        if root.is_node() && !arguments.force && !dry_run && !plan.steps.is_empty() {
            no_containers(&root, engine)?;
        }
        if finish(engine, &root, plan, dry_run, output)? && !dry_run {
            output.text(&restart(engine, &root, &target, true))?;
            must_restart |= root.is_node() && target.restart(engine, &root, true).is_some();
        }
    }
    match arguments.before_uninstall && must_restart {
        true => Ok(RESTART_FIRST),
        false => Ok(0),
    }
}

/// Refuses while an engine has containers that were made through the wrapper: it calls the wrapper
/// by its path until the last of them is deleted, whether they asked for a profile or not.
fn no_containers(root: &NodeRoot, engine: Engine) -> Result<()> {
    let ids: Vec<String> = live_containers::of(root, engine)?
        .iter()
        .map(LiveContainer::shown)
        .collect();
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
