//! Containers that exist: their records, their processes, and the profiles that they use.

pub mod id;
pub mod in_use;
pub mod labels;
pub mod lost;
pub mod members;
pub mod pods;
pub mod process;
pub mod record;
pub mod runtime_state;
