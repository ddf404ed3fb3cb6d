//! Where cargo puts the programs that are tested.

use std::path::{Path, PathBuf};

/// The command line, the hook and the runtime wrapper.
pub(crate) const PROGRAMS: [&str; 3] =
    ["oci-apparmor", "oci-apparmor-hook", "oci-apparmor-runtime"];

/// The path of one of the [`PROGRAMS`], as cargo built it.
///
/// Cargo tells a test only where the programs of its own package are, and `oci-apparmor` may
/// belong to another package of the workspace. They are all in one directory.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_oci-apparmor-runtime")).with_file_name(name);
    assert!(
        path.exists(),
        "{} is not built; run: cargo build --workspace",
        path.display()
    );
    path
}
