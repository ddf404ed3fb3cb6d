//! The programs as `install.sh` leaves them: files of root in a directory of root. Where cargo
//! put them they may not be trusted: a checkout lies in a home directory, or in `/tmp`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::programs::{PROGRAMS, program};

/// Installs all programs into `directory`, by a rename over what may be in use.
pub(crate) fn install(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    own(directory);
    for name in PROGRAMS {
        let built = program(name);
        let installed = directory.join(name);
        if is_newer(&installed, &built) {
            continue;
        }
        let new = directory.join(format!(".{name}.{}", std::process::id()));
        fs::copy(built, &new).unwrap();
        own(&new);
        fs::rename(&new, installed).unwrap();
    }
}

/// Whether this file was installed after the other one was built.
fn is_newer(installed: &Path, built: &Path) -> bool {
    let (Ok(installed), Ok(built)) = (installed.metadata(), built.metadata()) else {
        return false;
    };
    installed.len() == built.len() && installed.modified().unwrap() > built.modified().unwrap()
}

/// Makes it the caller's: root's, where anything is trusted at all.
fn own(path: &Path) {
    let me = nix::unistd::geteuid().as_raw();
    std::os::unix::fs::lchown(path, Some(me), Some(nix::unistd::getegid().as_raw())).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}
