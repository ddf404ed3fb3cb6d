//! `mode NAME enforce|complain`: what a profile does on this node, remembered over boots.

use clap::ValueEnum;

use crate::command::users::Users;
use crate::print;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::Result;
use oci_apparmor::node::Node;
use oci_apparmor::profiles::{Action, LinkChange, Store};

/// What a profile can be set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wanted {
    /// What the profile does not allow is refused
    Enforce,
    /// What the profile does not allow is logged, and happens
    Complain,
}

pub(crate) fn run(name: &str, wanted: Wanted) -> Result<u8> {
    let node = Node::load()?;
    let name = ProfileName::parse(name)?;
    let store = Store::new(&node);
    let complain = wanted == Wanted::Complain;
    let done = store.set_mode(&name, complain)?;
    match &done.link {
        LinkChange::Unchanged if complain => {
            print(&format!("{name} is remembered to complain already\n"))?
        }
        LinkChange::Unchanged => {}
        LinkChange::Created(link) => print(&format!("made {}\n", link.display()))?,
        LinkChange::Removed(link, _) => print(&format!("removed {}\n", link.display()))?,
    }
    let (loaded, action) = match &done.loaded {
        Ok(done) => done,
        Err(off) => {
            return print(&format!("{name} is not loaded now: {off}\n")).map(|()| 0);
        }
    };
    let mode = loaded.mode;
    print(&match action {
        Action::None => format!("{name} is in {mode} mode already\n"),
        Action::Loaded => format!("{name} is loaded, in {mode} mode\n"),
        Action::Reloaded(_) => format!("{name} is in {mode} mode now\n"),
    })?;
    let running = Users::look().processes(name.as_str());
    if *action != Action::None && running > 0 {
        print(&format!(
            "{running} running process(es) are in that mode, too, without a restart\n"
        ))?;
    }
    if done.deny_rules > 0 {
        print(&format!(
            "warning: {} deny rule(s) of it refuse in complain mode as well, and nothing is logged\n",
            done.deny_rules
        ))?;
    }
    Ok(0)
}
