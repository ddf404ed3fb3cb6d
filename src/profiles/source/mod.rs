//! Where the text of a profile is: in a file that is named after the profile, or in an
//! `AppArmorProfile` manifest of the first profile directory.

mod directory;
pub mod listing;
mod lookup;
mod manifest;
mod manifests;
mod overrides;
mod render;
mod text_file;

pub use directory::{DISTRIBUTION, is_source};
pub use lookup::Source;
pub(crate) use lookup::broken_manifest;
pub use overrides::{Disabled, FORCE_COMPLAIN, disabled, forced_to_complain};
pub use render::{RenderedManifest, render_bytes};
