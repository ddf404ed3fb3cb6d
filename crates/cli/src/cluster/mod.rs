//! The profiles that come from a cluster, for `sync`.
//!
//! A file of the spool may be written by an unprivileged agent, and its content by everyone who may
//! create objects in the cluster. So each file is opened without following links, read up to a
//! limit, and becomes a source only if its name is allowed and its text is that of one profile that
//! confines nothing but containers.
//!
//! | module | what |
//! |---|---|
//! | `run` | one synchronisation, from the spool to the kernel and back to the status file |
//! | `examine` | one file of the spool as the text of a source, or why not |
//! | `limits` | the texts that exceeded a limit, so that they are not compiled again |
//! | `sources` | the directory of the accepted sources |
//! | `status` | what the agent, and a person, is told |
//! | `plan` | which files become sources, which sources go. Pure |
//! | `spool` | the files of the spool |

mod examine;
mod limits;
mod plan;
mod run;
mod sources;
mod spool;
mod status;

pub(crate) use run::synchronise;
pub(crate) use sources::public_directory;
pub(crate) use status::{SyncState, SyncStatus, SyncedProfile};
