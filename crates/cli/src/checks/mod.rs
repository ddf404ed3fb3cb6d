//! What `check` looks at, apart from the node itself: the engines, their hooks, and what `configure`
//! wrote.

pub(crate) mod engines;
pub(crate) mod finding;
mod hooks;
mod reverted;
