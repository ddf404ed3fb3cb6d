//! `oci-apparmor`: the command line for people.
//!
//! A module imports only modules that stand below it in this table, and never a file that imports
//! it.
//!
//! | module | what | touches the system |
//! |---|---|---|
//! | `command` | one file for each command: reads, asks the modules below, prints | yes |
//! | `help` | the parts of the help that belong to no single command | no |
//! | `statistics` | what is known of this node: containers, profiles, denials, counts | reads; counts in `/run` |
//! | `checks` | what `check` looks at: the node, engines, hooks, and what `configure` wrote | reads |
//! | `cluster` | the profiles that come from a cluster | yes |
//! | `watch` | what `load --all --watch` waits for | reads |
//! | [`engine`] | the configuration of containerd, CRI-O, podman and docker | yes; its own table says which file |
//! | [`lint`] | problems in profiles for containers | reads |
//! | `learning` | profiles from what is known of containers and from what was seen | yes |
//! | `policy` | what a loaded profile allows, asked from the kernel | yes |
//! | `log` | where events of AppArmor come from, what is missing, and whose they are | reads |
//! | `guard` | puts something back when this process ends, also if it is killed | yes |
//! | `report` | tables, JSON, colours and progress, for all commands | prints |

mod checks;
mod cluster;
mod command;
pub mod engine;
mod guard;
mod help;
mod learning;
pub mod lint;
mod log;
mod policy;
mod report;
mod statistics;
mod watch;

use std::io::Write;
use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::command::{
    check, configure, denials, explain, gc, learn, lint as lint_command, living, load, metrics,
    mode, new, node, ps, render, report as report_command, restore_at_end, status, suggest, sync,
    unconfigure, unload, watch as watch_command, why,
};
use crate::report::output::Output;
use oci_apparmor::error::Kind;

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
    Status(status::StatusArguments),
    Ps(ps::PsArguments),
    Check(check::CheckArguments),
    Explain(explain::ExplainArguments),
    Denials(denials::DenialsArguments),
    Why(Box<why::WhyArguments>),
    Report(report_command::ReportArguments),
    Metrics(metrics::MetricsArguments),
    Load(load::LoadArguments),
    Unload(unload::UnloadArguments),
    Mode(mode::ModeArguments),
    Gc(gc::GcArguments),
    Lint(lint_command::LintArguments),
    Render(render::RenderArguments),
    Sync(sync::SyncArguments),
    Node(node::NodeArguments),
    Configure(configure::ConfigureArguments),
    Unconfigure(unconfigure::UnconfigureArguments),
    New(new::NewArguments),
    Suggest(suggest::SuggestArguments),
    Learn(learn::LearnArguments),
    Living(living::LivingArguments),
    RestoreAtEnd(restore_at_end::RestoreAtEndArguments),
}

/// The definition of the command line, from which man pages and completions are generated.
#[must_use]
pub fn definition() -> clap::Command {
    help::grouped(Arguments::command())
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    oci_apparmor::report::on_panic();
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
        logger.filter_level(::log::LevelFilter::Debug);
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
        Command::Why(arguments) => why::run(arguments, output),
        Command::Report(arguments) => report_command::run(arguments, output),
        Command::Metrics(arguments) => metrics::run(arguments, output),
        Command::Load(arguments) if arguments.watches() => watch_command::run(output),
        Command::Load(arguments) => load::run(arguments, output),
        Command::Unload(arguments) => unload::run(arguments, output),
        Command::Mode(arguments) => mode::run(arguments, output),
        Command::Gc(arguments) => gc::run(arguments, output),
        Command::Lint(arguments) => lint_command::run(arguments, output),
        Command::Render(arguments) => render::run(arguments, output),
        Command::Sync(arguments) => sync::run(arguments, output),
        Command::Node(arguments) => node::run(arguments, output),
        Command::Configure(arguments) => configure::run(arguments, output),
        Command::Unconfigure(arguments) => unconfigure::run(arguments, output),
        Command::New(arguments) => new::run(arguments, output),
        Command::Suggest(arguments) => suggest::run(arguments, output),
        Command::Learn(arguments) => learn::run(arguments, output),
        Command::Living(_) => living::run(output),
        Command::RestoreAtEnd(arguments) => restore_at_end::run(arguments),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "oci-apparmor: {e}");
            ExitCode::from(e.kind().exit_code())
        }
    }
}
