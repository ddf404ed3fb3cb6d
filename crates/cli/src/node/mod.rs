//! Installing on a node, through its root directory, and uninstalling, for `node`.
//!
//! The order is what keeps a node in service: programs before the engine's configuration, and the
//! engine's configuration back before programs go. Each step can be the last one: a second run
//! continues where the first was killed.
//!
//! | module | what | touches the system |
//! |---|---|---|
//! | `pod` | both from a pod, which stays | reads |
//! | `uninstall` | from the node's label to the programs | writes |
//! | `install` | from the programs to a handler that the engine serves | writes |
//! | `write` | writes what is to be installed | writes |
//! | `serve` | has the engine serve the handler, or takes the change back | writes |
//! | `wiring` | the engine of the node, its configuration, and taking that back | writes |
//! | `served` | waits until the engine serves the handler | reads |
//! | `cri_status` | asks an engine which handlers it serves, through its socket | reads |
//! | `restart` | makes an engine read its configuration | starts and signals |
//! | `handover` | the exchange with `oci-apparmor-agent confirm` | writes |
//! | `placed` | files, links and directories, each replaced in one step | writes |
//! | `record` | what was installed, for uninstalling | writes |
//! | `lock` | one installer at a time | locks |
//! | `files` | what is installed, and where. Pure | no |

mod cri_status;
mod files;
mod handover;
mod install;
mod lock;
mod placed;
mod pod;
mod record;
mod restart;
mod serve;
mod served;
mod uninstall;
mod wiring;
mod write;

pub(crate) use files::Programs;
pub(crate) use handover::Handover;
pub(crate) use install::install;
pub(crate) use pod::{install_and_stay, uninstall_and_stay};
pub(crate) use restart::Restart;
pub(crate) use serve::{InstallRequest, Installed};
pub(crate) use uninstall::{UninstallRequest, Uninstalled, uninstall};
