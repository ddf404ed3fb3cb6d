//! Reading a source file.

use std::path::Path;

use crate::error::{Kind, Result};
use crate::fs::fingerprint::Fingerprint;
use crate::fs::trusted::{self, TrustError};

/// The largest source, in bytes; the largest of any distribution has less than 100 KiB.
pub(super) const MAX: u64 = 4 << 20;

/// What is wrong with the owner or the mode of a source.
pub(super) const OWNER_REMEDY: &str = "root must own profile sources, and only root may write them";

/// The bytes of a source file, and its fingerprint from before they were read.
///
/// # Errors
/// [`Kind::Policy`] if it is not trusted, [`Kind::NotFound`] if it does not exist.
pub(super) fn read(path: &Path) -> Result<(Vec<u8>, Fingerprint)> {
    match trusted::read_with_metadata(path, MAX) {
        Ok((text, meta)) => Ok((text, Fingerprint::of(&meta))),
        Err(e) => {
            let kind = match e {
                TrustError::Missing => Kind::NotFound,
                _ => Kind::Policy,
            };
            Err(e.about(path, kind).with_remedy(OWNER_REMEDY))
        }
    }
}
