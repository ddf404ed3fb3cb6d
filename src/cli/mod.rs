//! `oci-apparmor`: the command line for people, one file per command.

mod called;
mod changes;
mod check;
mod configure;
mod denials;
mod distribution;
mod explain;
mod finding;
mod gc;
mod help;
mod hooks;
mod lint;
mod linter;
mod living;
mod load;
mod lost;
mod mode;
mod node;
mod notify;
mod outcome;
mod output;
mod progress;
mod ps;
mod render;
mod status;
mod table;
mod target;
mod unconfigure;
mod unload;
mod users;
mod watch;
mod wiring;

use std::io::Write;
use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cli::output::Output;
use crate::error::Kind;
use crate::report;

/// Manage the AppArmor profiles of containers on this node
///
/// A container that names an AppArmor profile runs under exactly that profile, or it does not run.
/// oci-apparmor-runtime(8) does that work: container engines call it instead of runc, crun or
/// youki. Where an engine's runtime cannot be changed, oci-apparmor-hook(8) does part of it.
///
/// oci-apparmor is the command line for administrators. It starts no containers and restarts no
/// engines.
#[derive(Debug, Parser)]
#[command(
    name = "oci-apparmor",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = help::EXIT_CODES,
    after_long_help = help::LONG
)]
pub struct Arguments {
    /// Report what is being done, on standard error
    #[arg(short, long, global = true, display_order = 100)]
    verbose: bool,
    /// When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        global = true,
        display_order = 101,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    color: ColorChoice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(status::Status),
    Ps(ps::Ps),
    Check(check::Check),
    Explain(explain::Explain),
    Denials(denials::Denials),
    Load(load::Load),
    Unload(unload::Unload),
    Mode(mode::Mode),
    Gc(gc::Gc),
    Lint(lint::Lint),
    Render(render::Render),
    Configure(configure::Configure),
    Unconfigure(unconfigure::Unconfigure),
    Living(living::Living),
}

/// The definition of the command line, from which man pages and completions are generated.
#[must_use]
pub fn definition() -> clap::Command {
    help::grouped(Arguments::command())
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    report::on_panic();
    let parsed = definition().try_get_matches();
    let arguments = match parsed.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() {
                Kind::Usage.exit_code()
            } else {
                0
            });
        }
    };
    let mut logger = env_logger::Builder::from_default_env();
    if arguments.verbose {
        logger.filter_level(log::LevelFilter::Debug);
    }
    logger
        .format(|out, record| writeln!(out, "{}: {}", record.level(), record.args()))
        .init();
    let output = Output::new(arguments.color);
    let done = match &arguments.command {
        Command::Status(arguments) => status::run(arguments, output),
        Command::Ps(arguments) => ps::run(arguments, output),
        Command::Check(arguments) => check::run(arguments, output),
        Command::Explain(arguments) => explain::run(arguments, output),
        Command::Denials(arguments) => denials::run(arguments, output),
        Command::Load(arguments) if arguments.watches() => watch::run(output),
        Command::Load(arguments) => load::run(arguments, output),
        Command::Unload(arguments) => unload::run(arguments, output),
        Command::Mode(arguments) => mode::run(arguments, output),
        Command::Gc(arguments) => gc::run(arguments, output),
        Command::Lint(arguments) => lint::run(arguments, output),
        Command::Render(arguments) => render::run(arguments, output),
        Command::Configure(arguments) => configure::run(arguments, output),
        Command::Unconfigure(arguments) => unconfigure::run(arguments, output),
        Command::Living(_) => living::run(output),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "oci-apparmor: {e}");
            ExitCode::from(e.kind().exit_code())
        }
    }
}
