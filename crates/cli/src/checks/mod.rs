//! What `check` looks at, the node itself, the engines, their hooks, and what `configure` wrote.

pub(crate) mod all;
pub(crate) mod engines;
pub(crate) mod finding;
mod hooks;
pub(crate) mod kubelet;
pub(crate) mod node;
mod reverted;
pub(crate) mod wiring;
