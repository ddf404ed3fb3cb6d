//! What AppArmor reports: refusals, and what complain mode would have refused, as the kernel
//! writes them to its log. Pure.

pub mod event;
pub mod tally;
