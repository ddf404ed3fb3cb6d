//! `oci-apparmor`: the command line for people.
//!
//! A module imports only modules that stand below it in this table, and never a file that imports
//! it.
//!
//! | module | what | touches the system |
//! |---|---|---|
//! | `command` | one file for each command: reads, asks the modules below, prints | yes |
//! | `checks` | what `check` looks at: engines, hooks, and what `configure` wrote | reads |
//! | `watch` | what `load --all --watch` waits for | reads |
//! | [`engine`] | the configuration of containerd, CRI-O, podman and docker | yes; its own table says which file |
//! | [`lint`] | problems in profiles for containers | no |

mod checks;
mod command;
pub mod engine;
mod lint;
mod watch;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::command::{
    check, configure, denials, explain, gc, lint as lint_command, living, load, mode, ps, render,
    status, unconfigure, unload, watch as watch_command,
};
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::report;

/// Containers run under the AppArmor profile they name, or they do not run.
#[derive(Debug, Parser)]
#[command(name = "oci-apparmor", version, disable_help_subcommand = true, after_help = AFTER)]
pub struct Arguments {
    /// Say what is being done (on standard error)
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "\
Exit codes: 0 done, 2 usage, 3 not found, 4 does not compile, 5 refused by policy, \
6 AppArmor is off, 7 configuration, 8 internal.
Containers are started through oci-apparmor-runtime; see oci-apparmor-runtime(8).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Show which profile a bundle would get, and which rules decide
    Explain {
        /// The bundle: a directory with a config.json
        bundle: PathBuf,
        /// The container's id, which tells a pod's sandbox from its containers
        #[arg(long, default_value = "")]
        id: String,
        /// The name of the configuration in the bundle
        #[arg(long, default_value = "config.json", value_name = "FILE")]
        config_json: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List containers with the label they must have, and the one each process has
    Ps {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what AppArmor refused or, in complain mode, would have refused, and to which containers
    Denials {
        /// Logs to look at instead of the kernel's; `-` is standard input
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a profile from the kernel; refused while anything runs or waits under it
    Unload {
        /// The profile
        name: String,
    },
    /// Remove what nobody needs any more: old records, locks, temporary files, compiled policy
    Gc {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print AppArmorProfile manifests (YAML or JSON) as text of AppArmor's language
    Render {
        /// The files; `-` is standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Compile profiles without loading them, and warn about what bites people
    Lint {
        /// Files with profiles
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Exit with 5 where there are warnings
        #[arg(long)]
        strict: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List profiles: source, mode, whether the kernel holds what the source says, who uses them
    Status {
        /// These profiles alone
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Also what else the kernel holds
        #[arg(long, conflicts_with = "names")]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Load profiles from their sources, where the kernel does not hold just that
    Load {
        /// The profiles
        #[arg(
            value_name = "NAME",
            required_unless_present = "all",
            conflicts_with = "all"
        )]
        names: Vec<String>,
        /// All sources of this node, but for those in /etc/apparmor.d itself
        #[arg(long)]
        all: bool,
        /// Stay, and load again whenever a source changes
        #[arg(long, requires = "all", conflicts_with_all = ["names", "json"])]
        watch: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a profile complain or enforce on this node, whatever its source says
    Mode {
        /// The profile
        name: String,
        /// What it is to do
        mode: mode::Wanted,
    },
    /// Let an engine call the wrapper: add it to the engine's configuration
    Configure(configure::Configure),
    /// Put an engine's configuration back as it was without the wrapper
    Unconfigure(unconfigure::Unconfigure),
    /// Print the containers that need the wrapper until they are deleted; for install.sh
    #[command(hide = true)]
    Living,
    /// Tell whether this node is able to do the job, and what is missing
    Check {
        /// Judge this configuration instead of the node's
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// The command line's definition, for the tests that compare it with the documentation.
#[must_use]
pub fn definition() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    report::on_panic();
    let arguments = match Arguments::try_parse() {
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
    let done = match &arguments.command {
        Command::Explain {
            bundle,
            id,
            config_json,
            json,
        } => explain::run(bundle, id, config_json, *json),
        Command::Ps { json } => ps::run(*json),
        Command::Denials { files, json } => denials::run(files, *json),
        Command::Unload { name } => unload::run(name),
        Command::Gc { json } => gc::run(*json),
        Command::Render { files, json } => render::run(files, *json),
        Command::Lint {
            files,
            strict,
            json,
        } => lint_command::run(files, *strict, *json),
        Command::Status { names, all, json } => status::run(names, *all, *json),
        Command::Load { watch: true, .. } => watch_command::run(),
        Command::Load { names, json, .. } => load::run(names, *json),
        Command::Mode { name, mode } => mode::run(name, *mode),
        Command::Configure(arguments) => configure::configure(arguments),
        Command::Unconfigure(arguments) => unconfigure::unconfigure(arguments),
        Command::Living => living::run(),
        Command::Check { config, json } => check::run(config.as_deref(), *json),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "oci-apparmor: {e}");
            ExitCode::from(e.kind().exit_code())
        }
    }
}

/// Prints; a reader that went away is no failure of ours.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::Internal, format!("cannot print: {e}")))
        }
        _ => Ok(()),
    }
}
