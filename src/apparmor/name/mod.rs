//! Names of profiles, and labels of processes.

mod label;
mod profile;

pub use label::Label;
pub use profile::ProfileName;
