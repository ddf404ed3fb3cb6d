//! `learn [NAME] -- COMMAND…`: complain mode for a time, and then a suggestion.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use clap::Args;

use crate::command::suggest::{Subject, SuggestionArguments, finish};
use crate::guard::{Guard, Restore};
use crate::learning::command::{ForwardedSignals, RunningCommand, exit_code};
use crate::learning::command_line;
use crate::learning::events::ProfileEvents;
use crate::learning::replacement::SourceTarget;
use crate::learning::starting_profile::{Observed, StartingProfile};
use crate::learning::suggestion::Evidence;
use crate::log::{Entry, EventLog, LogOptions, SourceKind};
use crate::policy::trial::Trial;
use crate::report::output::Output;
use crate::report::users::Users;
use oci_apparmor::apparmor::loaded::Mode;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::containers::learning;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::node::Node;
use oci_apparmor::profiles::{Reload, Source, Store};

/// Run a command while its profile only complains, and suggest the rules that it lacks
///
/// Listens to the kernel, sets the profile to complain mode, and runs COMMAND: podman, docker, a test
/// suite, whatever uses the containers as they are used later. When it ends, the profile enforces
/// again, and what was learnt is printed as oci-apparmor-suggest(8) does it. With --for, no command is
/// run: containers that run already are watched for that time.
///
/// Without NAME, the profile is the one that COMMAND gives to a container, by --security-opt
/// apparmor=NAME or --annotation oci-apparmor/profile=NAME. A profile without a source gets one that
/// allows little, as oci-apparmor-new(8) writes it.
///
/// WHILE IT LEARNS, NOTHING THAT RUNS UNDER THE PROFILE IS CONFINED, except by deny rules. The profile
/// enforces again when this command ends, also if it is killed. If the node itself stops meanwhile,
/// the profile is still in complain mode after the next boot: oci-apparmor check warns of it, and
/// oci-apparmor mode NAME enforce ends it.
///
/// Standard input, output and error are those of COMMAND, signals are passed on to it, and the exit
/// code is that of COMMAND.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
oci-apparmor learn [OPTIONS] [NAME] -- <COMMAND>...
       oci-apparmor learn [OPTIONS] --for <TIME> <NAME>",
    after_help = "\
Exit codes: that of COMMAND, or 128 and the number of the signal that ended it; where COMMAND was not \
run, as for all commands.

Examples:
  oci-apparmor learn -- podman run --rm --security-opt apparmor=web web-image
  oci-apparmor learn web --apply -- ./integration-tests.sh
  # Containers that run already.
  oci-apparmor learn web --for 10m"
)]
pub(crate) struct LearnArguments {
    /// The name of the profile
    name: Option<String>,
    /// Learn for this time, from containers that run already: 10m, 2h
    #[arg(
        long = "for",
        value_name = "TIME",
        value_parser = humantime::parse_duration,
        requires = "name",
        conflicts_with = "command"
    )]
    time: Option<Duration>,
    /// Where events are read from: auto, netlink, kmsg, journal, or a file that grows
    #[arg(
        long,
        value_name = "SOURCE",
        default_value = "auto",
        hide_default_value = true
    )]
    source: String,
    #[command(flatten)]
    how: SuggestionArguments,
    /// The command to run
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// How long one wait for events is. ForwardedSignals and the end of the command are looked at in between.
const TURN: Duration = Duration::from_millis(50);

/// How long to wait for the last events: the kernel sends them by a thread of its own.
const SILENCE: Duration = Duration::from_millis(300);

/// The longest wait for them.
const LAST: Duration = Duration::from_secs(3);

pub(crate) fn run(arguments: &LearnArguments, output: Output) -> Result<u8> {
    let node = Node::load()?;
    let store = Store::new(&node);
    let name = name_of(arguments)?;
    if let Some(off) = store.unavailable() {
        return Err(off);
    }
    if let Ok(other) = command_line::profile(&arguments.command)
        && other.root() != name
    {
        output.note(format!(
            "warning: the command names the profile {other}, so {name} may learn nothing of it"
        ));
    }
    let signals = ForwardedSignals::catch()?;
    let mut log = EventLog::open(&LogOptions {
        sources: vec![SourceKind::named(&arguments.source)],
        follow: true,
        since: None,
    })?;
    if Source::of(&name, &node.settings)?.is_none() {
        write_source(&name, &node, output)?;
    }
    let guard = complain(&store, &name, output)?;
    // A program that no rule allows to execute has no rules at all in complain mode, so its events
    // are also about what the profile allows.
    let known = Subject::of(&node, name.clone())?.text.policy;
    let known = Trial::load(&node, known.as_bytes(), &name)?;
    let mut events = ProfileEvents::new(&name, Some(&known));
    let begun = std::time::SystemTime::now();
    let watched = watch(arguments, &signals, &mut log, &mut events, output)
        .and_then(|code| drain(&mut log, &mut events).map(|()| code));
    let code = match watched {
        Ok(code) => code,
        Err(e) => {
            enforce(&store, &name, guard, output)?;
            return Err(e);
        }
    };
    let evidence = Evidence {
        events,
        gaps: log.gaps(),
        coverage: log.coverage(),
        since: Some(begun),
    };
    let subject = Subject::of(&node, name.clone());
    // A service that needs the new rules must not meet the old ones in enforce mode.
    let done = match arguments.how.apply {
        true => {
            let done = subject.and_then(|subject| {
                finish(
                    &arguments.how,
                    subject,
                    &evidence,
                    Some(&known),
                    code,
                    output,
                )
            });
            enforce(&store, &name, guard, output)?;
            done
        }
        false => {
            enforce(&store, &name, guard, output)?;
            finish(
                &arguments.how,
                subject?,
                &evidence,
                Some(&known),
                code,
                output,
            )
        }
    };
    done.map(|()| code.unwrap_or_default())
}

fn name_of(arguments: &LearnArguments) -> Result<ProfileName> {
    if arguments.time.is_none() && arguments.command.is_empty() {
        return Err(Error::new(
            Kind::Usage,
            "there is neither a command to run nor a time to learn for",
        )
        .with_remedy(
            "run: oci-apparmor learn NAME -- COMMAND, or: oci-apparmor learn NAME --for 10m",
        ));
    }
    match &arguments.name {
        Some(name) => Ok(ProfileName::parse(name)?.root()),
        None => Ok(command_line::profile(&arguments.command)?.root()),
    }
}

/// Writes a source that allows what every container needs. It enforces until complain mode begins.
fn write_source(name: &ProfileName, node: &Node, output: Output) -> Result<()> {
    let nothing = Observed::default();
    let text = StartingProfile::new(name, None, &nothing, None)?.text();
    let target = SourceTarget::new(name, &node.settings)?;
    let written = target.replace(name, text.as_bytes())?;
    output.note(format!(
        "{name} had no source: wrote {}, which allows little; to remove it, run: {}",
        target.path.display(),
        written.undo
    ));
    Ok(())
}

/// Begins complain mode. `None` if the profile complains anyway: it is left as it is.
fn complain(store: &Store<'_>, name: &ProfileName, output: Output) -> Result<Option<Guard>> {
    // The guard takes it again, and holds it.
    drop(learning::lock(name)?);
    let (loaded, _) = store.load(name, Reload::Always)?;
    if loaded.mode == Mode::Complain {
        output.note(format!(
            "{name} is in complain mode already, and stays so; to end that, run: oci-apparmor mode \
             {name} enforce"
        ));
        learning::set_mode(store, name, true)?;
        return Ok(None);
    }
    let guard = Guard::arm(&Restore::EnforceAgain(name.clone()))?;
    let changed = store.set_mode(name, true)?;
    changed.loaded?;
    learning::set_mode(store, name, true)?;
    let users = Users::look(store.kernel());
    let containers: Vec<&str> = users.containers(name.as_str());
    let containers: Vec<&str> = containers.into_iter().map(|id| output.id(id)).collect();
    output.note(format!(
        "warning: from now on {name} refuses nothing: containers under it are not confined{}",
        match containers.is_empty() {
            true => String::new(),
            false => format!(": {}", containers.join(", ")),
        }
    ));
    if changed.deny_rules > 0 {
        output.note(format!(
            "deny rules of {name} and its includes still refuse, without a log entry: {}",
            changed.deny_rules
        ));
    }
    Ok(Some(guard))
}

/// Reads events until the command or the time ends. Returns the exit code of the command.
fn watch(
    arguments: &LearnArguments,
    signals: &ForwardedSignals,
    log: &mut EventLog,
    events: &mut ProfileEvents<'_>,
    output: Output,
) -> Result<Option<u8>> {
    let end = arguments
        .time
        .and_then(|time| Instant::now().checked_add(time));
    let mut command = match arguments.time {
        Some(time) => {
            let time = humantime::format_duration(time);
            output.note(format!("learning for {time}; Ctrl-C ends it early"));
            None
        }
        None => Some(RunningCommand::start(&arguments.command, signals)?),
    };
    let mut looked = Instant::now();
    loop {
        let entry = log.next(Some(TURN))?;
        let is_quiet = entry.is_none();
        if let Some(Entry::Event(event)) = entry {
            events.add(&event);
        }
        if !is_quiet && looked.elapsed() < TURN {
            continue;
        }
        looked = Instant::now();
        match &mut command {
            Some(command) => {
                if let Some(status) = command.look()? {
                    let code = exit_code(status);
                    if !status.success() {
                        output.note(format!("the command ended with {status}"));
                    }
                    return Ok(Some(code));
                }
            }
            None if signals.any() || end.is_some_and(|end| Instant::now() >= end) => {
                return Ok(None);
            }
            None => {}
        }
        if is_quiet && log.is_at_end() {
            std::thread::sleep(TURN);
        }
    }
}

/// Reads the last events.
fn drain(log: &mut EventLog, events: &mut ProfileEvents<'_>) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < LAST {
        match log.next(Some(SILENCE))? {
            Some(Entry::Event(event)) => events.add(&event),
            Some(Entry::Unread(_)) => {}
            None => break,
        }
    }
    Ok(())
}

/// Ends complain mode.
fn enforce(
    store: &Store<'_>,
    name: &ProfileName,
    guard: Option<Guard>,
    output: Output,
) -> Result<()> {
    let Some(guard) = guard else {
        return Ok(());
    };
    let remedy = format!("run: oci-apparmor mode {name} enforce");
    guard.disarm().map_err(|e| {
        e.about(&format!("{name} is still in complain mode"))
            .or_remedy(remedy)
    })?;
    output.note(format!("{name} enforces again"));
    for (label, pids) in learning::set_mode(store, name, false)?.left {
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        output.note(format!(
            "warning: processes that run under {label} are not confined until they end: {}; restart \
             their containers",
            pids.join(", ")
        ));
    }
    Ok(())
}
