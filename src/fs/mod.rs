//! Files: which of them can be trusted, how one is replaced, and `/run/oci-apparmor`.

pub mod bounded;
pub mod digest;
pub mod fingerprint;
pub mod own;
pub mod real_path;
pub mod replace;
pub mod run;
pub mod temporary;
pub mod tree;
pub mod trust;
pub mod trusted;
