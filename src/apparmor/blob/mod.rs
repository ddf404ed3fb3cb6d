//! Compiled policy, checked before the kernel gets it.
//!
//! The exit status of the parser is not enough: it is 0 for an empty file, for a disabled profile
//! and for a profile that is forced into complain mode, and a source can declare several profiles
//! or one with another name. The blob itself says what it declares.

mod declared;
mod header;
mod renamed;
mod values;

pub use declared::{CapabilityMasks, Declared, walk};
pub use header::{compressed, plain};
pub use renamed::renamed;
