//! From a profile's name to that profile in the kernel. This room knows nothing of runtimes.

mod ensure;
mod source;

pub(crate) use ensure::digest;
pub use ensure::{Ensured, Store};
pub use source::{find as source_of, forced_to_complain};
