//! From a profile's text to compiled policy.

pub mod cache;
pub mod declared;
pub mod dependencies;
mod include;
pub mod policy;
pub mod toolchain;
