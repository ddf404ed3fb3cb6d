//! From the text of a profile to compiled policy that may be loaded.

mod build_info;
mod cache;
mod compiler;
pub mod declared;
mod dependencies;
mod empty;
mod foreign;
mod include;
mod key;
mod policy;
mod toolchain;

pub(super) use build_info::BuildInfo;
pub(super) use cache::Cache;
pub(super) use compiler::Compiler;
pub(super) use empty::EmptyProfile;
pub use foreign::Objection;
pub(super) use policy::CompiledPolicy;
pub use toolchain::include_directories;
