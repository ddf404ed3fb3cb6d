//! From a profile's name to that profile in the kernel. This room knows nothing of runtimes.

pub mod compile;
pub mod lock;
pub mod remembered;
pub mod source;
pub mod store;

use sha2::{Digest, Sha256};

pub use lock::Lock;
pub use source::{Source, disabled, forced_to_complain};
pub use store::drift::Drift;
pub use store::ensure::{Against, Change, Ensured, Store, Word};
pub use store::mode::{Linked, ModeSet};
pub use store::tidy::Tidied;

/// The first half of a SHA-256, in hexadecimal: a file name for any text.
#[must_use]
pub fn digest(text: impl AsRef<[u8]>) -> String {
    let hash: [u8; 32] = Sha256::digest(text.as_ref()).into();
    compile::cache::hexadecimal(hash.get(..16).unwrap_or_default())
}
