//! Unloading a profile. Only this removes a profile from the kernel.

use std::time::Duration;

use crate::apparmor::kernel;
use crate::apparmor::name::ProfileName;
use crate::error::{Error, Kind, Result};
use crate::profiles::lock::LockFile;
use crate::profiles::store::remembered;
use crate::profiles::store::view::Store;

/// How long to wait while containers start under the profile.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

impl Store<'_> {
    /// Removes a profile and its children from the kernel. `check` is called under the lock: while
    /// it runs, no container can start under the profile.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if it is not loaded; the errors of `check`, and those of the kernel.
    pub fn unload(&self, name: &ProfileName, check: impl FnOnce() -> Result<()>) -> Result<()> {
        let refused =
            |why: String, remedy: String| Err(Error::new(Kind::Policy, why).with_remedy(remedy));
        let root = name.root();
        if *name != root {
            return refused(
                format!("{name} is a child, and is unloaded together with its parent"),
                format!("run: oci-apparmor unload {root}"),
            );
        }
        if let Err(why) = kernel::may_load() {
            return refused(
                format!("{name} cannot be unloaded: {why}"),
                format!("run as root on the host: oci-apparmor unload {name}"),
            );
        }
        let is_loaded = || match self.kernel.loaded(name)? {
            Some(_) => Ok(()),
            None => {
                let why = format!("the profile {name} is not loaded");
                Err(Error::new(Kind::NotFound, why).with_remedy("run: oci-apparmor status"))
            }
        };
        is_loaded()?;
        let _lock = LockFile::of(name, LOCK_LIMIT)?.exclusive()?;
        is_loaded()?;
        check()?;
        self.kernel.remove(name)?;
        remembered::forget(name);
        match self.kernel.loaded(name)? {
            None => Ok(()),
            Some(_) => Err(Error::new(
                Kind::Internal,
                format!("the kernel removed {name}, but another program loaded it again"),
            )
            .with_remedy("run: oci-apparmor status")),
        }
    }
}
