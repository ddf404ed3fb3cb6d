//! Removing files that are no longer needed from `/run` and from the cache.

use std::fs;

use crate::apparmor::kernel;
use crate::error::Result;
use crate::fs::{run, temporary};
use crate::profiles::compile::Cache;
use crate::profiles::lock;
use crate::profiles::store::remembered;
use crate::profiles::store::view::Store;

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Lock files that no process holds.
    pub locks: u64,
    /// Files about profiles that are not loaded.
    pub remembered: u64,
    /// Temporary files that were left behind.
    pub temporary: u64,
    /// Files of the cache.
    pub cached: u64,
    /// Bytes of the cache.
    pub cached_bytes: u64,
}

impl Store<'_> {
    /// Removes files that are no longer needed. Never unloads a profile.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn gc(&self) -> Result<Collected> {
        let mut collected = Collected {
            locks: lock::gc()?,
            remembered: remembered::gc(self.kernel)?,
            temporary: remove_temporary()?,
            ..Collected::default()
        };
        // Only root has a cache.
        if kernel::may_load().is_ok() {
            let limit = self.settings.cache_limit.saturating_mul(1 << 20);
            let cache = Cache::at(self.settings.cache_directory.as_path());
            (collected.cached, collected.cached_bytes) = cache.shrink(limit)?;
        }
        Ok(collected)
    }
}

/// Removes temporary files of processes that were killed. Returns how many.
fn remove_temporary() -> Result<u64> {
    let directory = run::path()?.join("tmp");
    let mut count: u64 = 0;
    for path in run::list(&directory)? {
        let mark = path.file_name().unwrap_or_default().to_string_lossy();
        let Ok(meta) = path.symlink_metadata() else {
            continue;
        };
        if temporary::is_left_over(&mark, &meta) && fs::remove_file(&path).is_ok() {
            count = count.saturating_add(1);
        }
    }
    Ok(count)
}
