//! The programs as `install.sh` leaves them: files of root in a directory of root. Where cargo
//! put them they may not be trusted: a checkout lies in a home directory, or in `/tmp`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What cargo built, by the names that it is installed under.
const BUILT: [(&str, &str); 3] = [
    ("oci-apparmor", env!("CARGO_BIN_EXE_oci-apparmor")),
    ("oci-apparmor-hook", env!("CARGO_BIN_EXE_oci-apparmor-hook")),
    (
        "oci-apparmor-runtime",
        env!("CARGO_BIN_EXE_oci-apparmor-runtime"),
    ),
];

/// Installs all programs into `directory`, by a rename over what may be in use.
pub(crate) fn install(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    own(directory);
    for (name, built) in BUILT {
        let installed = directory.join(name);
        if is_newer(&installed, Path::new(built)) {
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

/// Makes it the caller's, who is root where anything is trusted at all.
fn own(path: &Path) {
    let me = nix::unistd::geteuid().as_raw();
    std::os::unix::fs::lchown(path, Some(me), Some(nix::unistd::getegid().as_raw())).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}
