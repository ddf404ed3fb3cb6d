//! The kernel's AppArmor and its compiler. This room knows nothing of containers.

pub mod blob;
pub mod confinement;
pub mod kernel;
pub mod loaded;
pub mod name;
pub mod parser;
pub mod text;
