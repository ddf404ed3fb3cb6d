//! Unloading, and tidying up. Unloading is the only way in which anything here removes a profile
//! from the kernel; tidying never does.

use std::fs;
use std::time::Duration;

use crate::apparmor::kernel;
use crate::apparmor::name::ProfileName;
use crate::error::{Error, Kind, Result};
use crate::fs::{run, temporary};
use crate::profiles::compile::cache::Cache;
use crate::profiles::lock::{self, Locks};
use crate::profiles::remembered;
use crate::profiles::store::ensure::Store;

/// How long unloading waits for those who rely on the profile at the moment.
const PATIENCE: Duration = Duration::from_secs(5);

/// What tidying up removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Locks that nobody held.
    pub locks: u64,
    /// What was remembered of profiles that are not loaded any more.
    pub remembered: u64,
    /// Temporary files of processes that have ended.
    pub temporary: u64,
    /// Compiled policy, in files.
    pub cached: u64,
    /// Compiled policy, in bytes.
    pub cached_bytes: u64,
}

impl Store<'_> {
    /// Removes a profile and its children from the kernel. `may` is asked while nobody can begin
    /// to rely on it through us.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where it is not loaded, those of `may`, and the kernel's.
    pub fn unload(&self, name: &ProfileName, may: impl FnOnce() -> Result<()>) -> Result<()> {
        let refused =
            |why: String, hint: &str| Err(Error::new(Kind::Policy, why).with_remedy(hint));
        if *name != name.root() {
            let why = format!("{name} is a child and goes with its parent");
            return refused(why, &format!("name {}", name.root()));
        }
        if let Err(why) = kernel::may_load() {
            return refused(
                format!("{name} cannot be unloaded: {why}"),
                "run it as root on the host",
            );
        }
        let is_loaded = || match self.kernel.loaded(name)? {
            Some(_) => Ok(()),
            None => {
                let why = format!("the profile {name} is not loaded");
                Err(Error::new(Kind::NotFound, why).with_remedy("look: oci-apparmor status"))
            }
        };
        is_loaded()?;
        let _alone = Locks::of(name, PATIENCE)?.alone()?;
        is_loaded()?;
        may()?;
        self.kernel.remove(name)?;
        remembered::forget(name);
        match self.kernel.loaded(name)? {
            None => Ok(()),
            Some(_) => Err(Error::new(
                Kind::Internal,
                format!("the kernel removed {name}, and somebody loaded it again"),
            )
            .with_remedy("look: oci-apparmor status")),
        }
    }

    /// Removes what nobody needs any more from `/run` and from the cache.
    ///
    /// # Errors
    /// Where something cannot be listed.
    pub fn tidy(&self) -> Result<Tidied> {
        let mut tidied = Tidied {
            locks: lock::tidy()?,
            remembered: remembered::tidy(self.kernel)?,
            temporary: temporary()?,
            ..Tidied::default()
        };
        // The cache is the node's; other users have none.
        if kernel::may_load().is_ok() {
            let limit = self.settings.cache_limit.saturating_mul(1 << 20);
            let cache = Cache::at(self.settings.cache_directory.as_path());
            (tidied.cached, tidied.cached_bytes) = cache.shrink(limit)?;
        }
        Ok(tidied)
    }
}

/// Removes what killed processes left half written.
fn temporary() -> Result<u64> {
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
