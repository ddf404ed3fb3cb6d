//! Files: checked opens, one way to replace a file, and `/run/oci-apparmor`.

pub mod fingerprint;
pub mod run;
pub mod temporary;
pub mod trusted;
