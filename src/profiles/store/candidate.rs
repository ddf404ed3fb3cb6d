//! Checking a text before it becomes the source of a profile.

use crate::apparmor::name::ProfileName;
use crate::error::Result;
use crate::profiles::source::Source;
use crate::profiles::store::view::Store;
use crate::wanted::{Component, Wanted};

impl Store<'_> {
    /// Checks that a text may take the place of the text of a source. Nothing is written or loaded.
    ///
    /// # Errors
    /// If it does not compile, or if its policy may not be loaded.
    pub fn check_text(&self, name: &ProfileName, source: &Source, text: &[u8]) -> Result<()> {
        let component = Component {
            name: name.root(),
            wanted: Wanted::Any,
        };
        self.compiler().check_text(&component, source, text)
    }
}
