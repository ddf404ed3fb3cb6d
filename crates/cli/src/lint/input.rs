//! What is known of a file with profiles.

use oci_apparmor::apparmor::blob::Declared;

/// A file with profiles, and what the parser made of it.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    /// The name of the file, without its directory.
    pub(crate) file_name: &'a str,
    /// Its text.
    pub(crate) source: &'a str,
    /// Its text with all includes.
    pub(crate) flattened: &'a str,
    /// The profiles in the compiled policy; `None` if that is compressed.
    pub(crate) declared: Option<&'a [Declared]>,
    /// The warnings of the parser.
    pub(crate) warnings: &'a str,
    /// Whether the file is listed in `force-complain/`.
    pub(crate) forced_to_complain: bool,
}
