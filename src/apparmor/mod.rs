//! AppArmor: names and labels, the kernel's interface, compiled policy, and the parser. Nothing
//! here knows about containers.

pub mod blob;
pub mod confinement;
pub mod kernel;
pub mod loaded;
pub mod name;
pub mod parser;
pub mod text;
