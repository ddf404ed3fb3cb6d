//! Existing containers: their records, their processes, and the profiles that they use.

pub mod attr;
mod cgroup;
pub mod id;
pub mod in_use;
pub mod labels;
pub mod learning;
pub(crate) mod pidfd;
pub mod pods;
pub(crate) mod processes;
pub(crate) mod procfs;
pub mod record;
pub mod records;
mod records_lock;
pub mod removed;
pub mod runtime_state;
pub mod status;
