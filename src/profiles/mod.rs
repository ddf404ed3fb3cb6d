//! From a profile's name to that profile in the kernel. This room knows nothing of runtimes.

mod declared;
mod ensure;
mod lock;
mod source;

pub use ensure::{Ensured, Store};
pub(crate) use lock::digest;
pub use source::{find as source_of, forced_to_complain};
