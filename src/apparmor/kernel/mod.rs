//! The kernel's AppArmor: whether it enforces, which profiles are loaded, what they allow, and how to
//! load them.
//!
//! A successful write does not prove that a profile is loaded: callers must look it up again.

mod access;
mod audit_mode;
mod enforcement;
mod features;
mod listing;
mod load;
mod lookup;
mod permission;
mod raw_data;
mod revision;
mod securityfs;

pub use access::{AccessFile, AskedFor, Permissions};
pub use audit_mode::AuditMode;
pub use enforcement::{Enforcement, Off};
pub use features::digest;
pub use permission::{CannotLoad, may_load};
pub use revision::{Revision, revision_in};
pub use securityfs::Kernel;
