//! Loading and removing profiles.

use std::fs::File;
use std::io::{self, Write};

use crate::apparmor::kernel::securityfs::Kernel;
use crate::apparmor::name::ProfileName;
use crate::error::{Error, Kind, Result, reason};

impl Kernel {
    /// Loads compiled policy, and replaces loaded profiles of the same names.
    ///
    /// The kernel needs the whole policy in one write (security/apparmor/apparmorfs.c).
    ///
    /// # Errors
    /// [`Kind::Internal`] with the kernel's answer.
    pub fn replace(&self, blob: &[u8]) -> Result<()> {
        self.write_policy(".replace", "load the profile", blob)
    }

    /// Removes a profile and its children. Every process that runs under it becomes unconfined,
    /// and stays so.
    ///
    /// # Errors
    /// [`Kind::Internal`] with the kernel's answer.
    pub fn remove(&self, name: &ProfileName) -> Result<()> {
        self.write_policy(".remove", "remove the profile", name.as_str().as_bytes())
    }

    fn write_policy(&self, file: &str, what: &str, bytes: &[u8]) -> Result<()> {
        let path = self.securityfs.join(file);
        let refused = |e: &io::Error| {
            let why = match e.raw_os_error() {
                Some(libc::EPROTO | libc::EPROTONOSUPPORT) => {
                    "it does not understand the compiled policy".to_owned()
                }
                Some(libc::EACCES | libc::EPERM) => {
                    "policy is locked, or CAP_MAC_ADMIN is missing".to_owned()
                }
                _ => reason(e),
            };
            Error::new(
                Kind::Internal,
                format!("the kernel refused to {what}: {why}"),
            )
            .with_remedy("run: oci-apparmor check")
        };
        // The same credentials must open and write the file: the kernel compares them
        // (aa_may_manage_policy(), the fix of CVE-2026-23268).
        let mut file = File::options()
            .write(true)
            .open(&path)
            .map_err(|e| refused(&e))?;
        match file.write(bytes) {
            Ok(n) if n == bytes.len() && n > 0 => Ok(()),
            Ok(n) => Err(refused(&io::Error::other(format!(
                "it accepted {n} of {} bytes",
                bytes.len()
            )))),
            Err(e) => Err(refused(&e)),
        }
    }
}
