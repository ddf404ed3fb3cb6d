//! The profiles of this node in the kernel: comparing them with their sources, loading and
//! unloading them.

mod action;
mod candidate;
mod check;
mod comparison;
mod complain_link;
mod drift;
mod ensure;
mod gc;
mod load;
mod mode;
mod remembered;
mod undeclared;
mod unload;
mod view;

pub use action::{Action, ReloadReason};
pub use check::Check;
pub use complain_link::LinkChange;
pub use drift::Drift;
pub use ensure::Ensured;
pub use gc::Collected;
pub use load::Reload;
pub use mode::ModeChange;
pub use view::Store;
