//! What `configure` and `unconfigure` do to an engine's files: planned first, so that it can be
//! shown, and then carried out.

mod configure;
mod steps;
mod unconfigure;
mod undo;

pub(crate) use configure::configure;
pub(crate) use steps::Plan;
pub(crate) use unconfigure::unconfigure;
