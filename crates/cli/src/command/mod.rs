//! One file for each command.

pub(crate) mod check;
pub(crate) mod configure;
pub(crate) mod denials;
pub(crate) mod explain;
pub(crate) mod gc;
pub(crate) mod learn;
pub(crate) mod lint;
pub(crate) mod living;
pub(crate) mod load;
pub(crate) mod metrics;
pub(crate) mod mode;
pub(crate) mod new;
pub(crate) mod node;
mod node_status;
pub(crate) mod ps;
pub(crate) mod render;
pub(crate) mod report;
pub(crate) mod restore_at_end;
pub(crate) mod status;
pub(crate) mod suggest;
pub(crate) mod sync;
pub(crate) mod unconfigure;
pub(crate) mod unload;
pub(crate) mod watch;
pub(crate) mod why;
