//! The compiled policy that a profile was loaded from.

use std::fs::File;
use std::io;

use crate::apparmor::kernel::securityfs::Kernel;
use crate::error::{Error, Result};
use crate::fs::bounded;

/// The largest policy that is read; those of distributions have less than 1 MiB.
const MAX: u64 = 64 << 20;

impl Kernel {
    /// The compiled policy that the profile in this directory was loaded with, as it was written to
    /// the kernel: it may declare other profiles, too. `None` if this kernel does not keep it
    /// (`CONFIG_SECURITY_APPARMOR_EXPORT_BINARY`, parameter `export_binary`).
    ///
    /// # Errors
    /// If it cannot be read; only root can.
    pub fn raw_data(&self, directory: &str) -> Result<Option<Vec<u8>>> {
        let path = self.profiles().join(directory).join("raw_data");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", &path, &e)),
        };
        bounded::read(&file, MAX).map_err(|e| Error::io("read", &path, &e))
    }
}
