//! From a profile's name to that profile in the kernel. This room knows nothing of runtimes.

mod cache;
mod closing;
mod closure;
mod declared;
mod drift;
mod ensure;
mod include;
pub mod lint;
pub mod listing;
mod load;
mod lock;
mod manifests;
mod mode;
mod policy;
mod remembered;
mod source;
mod stamp;
mod tidy;
mod toolchain;

use sha2::{Digest, Sha256};

pub use drift::Drift;
pub use ensure::{Against, Change, Ensured, Store, Word};
pub use lock::Lock;
pub use mode::{Linked, ModeSet};
pub use source::{Source, disabled, forced_to_complain};
pub use tidy::Tidied;

/// The first half of a SHA-256, in hexadecimal: a file name for any text.
#[must_use]
pub(crate) fn digest(text: impl AsRef<[u8]>) -> String {
    let hash: [u8; 32] = Sha256::digest(text.as_ref()).into();
    cache::hexadecimal(hash.get(..16).unwrap_or_default())
}
