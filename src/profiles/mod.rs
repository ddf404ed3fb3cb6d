//! From the name of a profile to that profile in the kernel. Nothing here knows about runtimes.
//!
//! `source` finds the text of a profile, `compile` makes policy of it, and `store` compares that
//! with the kernel and loads it.

pub mod compile;
pub mod lock;
pub mod source;
mod state;
pub mod store;

pub use lock::Lock;
pub use source::{Disabled, Source, disabled, forced_to_complain};
pub use store::{
    Action, Check, Collected, Drift, Ensured, LinkChange, ModeChange, Reload, ReloadReason, Store,
};
