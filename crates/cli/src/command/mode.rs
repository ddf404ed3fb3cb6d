//! `mode NAME enforce|complain`: the mode of a profile on this node, which survives a reboot.

use clap::{Args, ValueEnum};

use crate::report::output::Output;
use crate::report::progress::Progress;
use crate::report::users::Users;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::containers::learning;
use oci_apparmor::error::Result;
use oci_apparmor::node::Node;
use oci_apparmor::profiles::{Action, LinkChange, Store};

/// Set a profile to enforce or complain mode on this node
///
/// The mode is remembered by a link in /etc/apparmor.d/force-complain/, as aa-complain(8) does it,
/// and holds for every profile whose source has that file name. It is in force at once, also for
/// processes that run under the profile. Containers that ask for the profile by an annotation are
/// accepted although it complains, because the node has chosen that. Where AppArmor is off, the mode
/// is only remembered.
///
/// enforce is refused where the source itself has flags=(complain), or where something other than
/// a link is in force-complain. If the profile cannot be compiled or loaded, nothing changes.
///
/// complain warns about deny rules, included ones too: they refuse in this mode as well, and nothing
/// is logged.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oci-apparmor mode web complain
  # Back again.
  oci-apparmor mode web enforce")]
pub(crate) struct ModeArguments {
    /// The name of the profile
    name: String,
    /// The mode that it gets on this node
    mode: NewMode,
}

/// A mode that a profile can be set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NewMode {
    /// What the profile does not allow is refused
    Enforce,
    /// What the profile does not allow is logged and allowed
    Complain,
}

pub(crate) fn run(arguments: &ModeArguments, output: Output) -> Result<u8> {
    let node = Node::load()?;
    let name = ProfileName::parse(&arguments.name)?;
    let store = Store::new(&node);
    let complain = arguments.mode == NewMode::Complain;
    let progress = Progress::new();
    progress.show(&format!("loading {name}"));
    let done = store.set_mode(&name, complain);
    drop(progress);
    let done = done?;
    match &done.link {
        LinkChange::Unchanged if complain => {
            output.line(format!("{name} was already set to complain"))?
        }
        LinkChange::Unchanged => {}
        LinkChange::Created(link) => output.line(format!("made {}", link.display()))?,
        LinkChange::Removed(link, _) => output.line(format!("removed {}", link.display()))?,
    }
    let (loaded, change) = match &done.loaded {
        Ok(done) => done,
        Err(off) => {
            output.line(format!("{name} is not loaded now: {off}"))?;
            return Ok(0);
        }
    };
    let mode = loaded.mode;
    output.line(match change {
        Action::None => format!("{name} was already in {mode} mode"),
        Action::Loaded => format!("{name} is loaded, in {mode} mode"),
        Action::Reloaded(_) => format!("{name} is now in {mode} mode"),
    })?;
    let created = learning::set_mode(&store, &name, complain)?;
    let running = Users::look(store.kernel()).processes(name.as_str());
    if *change != Action::None {
        match running {
            0 => {}
            1 => output.line("1 running process has changed to that mode, without a restart")?,
            n => output.line(format!(
                "{n} running processes have changed to that mode, without a restart"
            ))?,
        }
    }
    for (label, pids) in &created.left {
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        output.line(format!(
            "warning: processes that run under {label} are not confined until they end: {}",
            pids.join(", ")
        ))?;
    }
    match done.deny_rules {
        0 => {}
        1 => {
            output.line("warning: 1 deny rule refuses in complain mode too, without a log entry")?
        }
        n => output.line(format!(
            "warning: {n} deny rules refuse in complain mode too, without a log entry"
        ))?,
    }
    Ok(0)
}
