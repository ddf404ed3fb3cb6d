//! The kernel's AppArmor: whether it enforces, which profiles are loaded, and how to load them.
//!
//! A successful write does not prove that a profile is loaded: callers must look it up again.

mod audit_mode;
mod enforcement;
mod features;
mod listing;
mod load;
mod lookup;
mod permission;
mod securityfs;

pub use audit_mode::AuditMode;
pub use enforcement::{Enforcement, Off};
pub use features::digest;
pub use permission::{CannotLoad, may_load};
pub use securityfs::{Kernel, revision_in};
