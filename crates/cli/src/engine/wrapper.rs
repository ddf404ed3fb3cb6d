//! Whether a program that an engine's configuration names is the wrapper.

use std::fs;
use std::path::Path;

use oci_apparmor::runtime::own_binary;

/// The file name of the wrapper, to which its links lead.
const FILE_NAME: &str = "oci-apparmor-runtime";

/// Whether a program's path names the wrapper, on any node: only the path is looked at.
#[must_use]
pub(crate) fn is_named(program: &str) -> bool {
    program.contains("oci-apparmor")
}

/// Whether a program is meant to be the wrapper. Its path decides if the file is missing or is
/// another program; otherwise the file that the path leads to.
#[must_use]
pub(crate) fn is_meant(program: &str) -> bool {
    is_named(program) || fs::canonicalize(program).is_ok_and(|real| is_wrapper(&real))
}

/// Whether the file at `real`, a path without links, is the wrapper.
#[must_use]
pub(crate) fn is_wrapper(real: &Path) -> bool {
    // Under another name it is a copy, as in an image that was made with `cp -L`.
    real.file_name().is_some_and(|name| name == FILE_NAME) || own_binary::is_wrapper(real)
}
