//! Rendering a manifest by a run of `oci-apparmor render`, so that the wrapper and the hook need
//! no YAML parser.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::apparmor::name::ProfileName;
use crate::child::{self, Limits};
use crate::error::{Error, Kind, Result, foreign, quoted};
use crate::fs::fingerprint::Fingerprint;
use crate::profiles::source::manifest::ManifestProfile;
use crate::profiles::source::text_file;
use crate::report;

/// The limits of one run.
pub(super) const LIMITS: Limits = Limits {
    time: Duration::from_secs(10),
    memory: 1 << 30,
};

/// One manifest in the output of `oci-apparmor render --json` (docs/formats.md).
#[derive(Debug, Deserialize)]
pub struct RenderedManifest {
    /// Where it is in the file.
    pub place: String,
    /// The profile's name, if it could be read.
    pub name: Option<String>,
    /// Whether it has `mode: Complain`.
    pub complain: Option<bool>,
    /// Whether it has `state: Disabled`.
    pub disabled: Option<bool>,
    /// The text of the profile.
    pub text: Option<String>,
    /// Why it has no text.
    pub refused: Option<String>,
}

/// The profiles in a manifest file, and the fingerprint of the file.
///
/// # Errors
/// If the file is not trusted, or cannot be rendered at all.
pub(super) fn render(path: &Path) -> Result<(Fingerprint, Vec<(ProfileName, ManifestProfile)>)> {
    let (bytes, fingerprint) = text_file::read(path).map_err(|e| e.of(Kind::Policy))?;
    let mut found = Vec::new();
    for manifest in render_bytes(&bytes)? {
        let name = manifest.name.as_deref().map(ProfileName::parse);
        let Some(Ok(name)) = name else {
            let why = manifest.refused.unwrap_or_default();
            report::notice(&format!(
                "{}, {}: {}",
                path.display(),
                manifest.place,
                foreign(&why)
            ));
            continue;
        };
        let text = match (manifest.text, manifest.refused) {
            (Some(text), None) => Ok(text),
            (_, why) => Err(format!("{}: {}", manifest.place, why.unwrap_or_default())),
        };
        let profile = ManifestProfile {
            path: path.to_owned(),
            fingerprint: fingerprint.clone(),
            complain: manifest.complain.unwrap_or_default(),
            disabled: manifest.disabled.unwrap_or_default(),
            text,
        };
        found.push((name, profile));
    }
    Ok((fingerprint, found))
}

/// The manifests in these bytes. They may come from anywhere: another process reads them, under
/// limits.
///
/// # Errors
/// If they cannot be rendered at all.
pub fn render_bytes(bytes: &[u8]) -> Result<Vec<RenderedManifest>> {
    let output = child::run(&program()?, &["render", "--json", "-"], bytes, LIMITS)?;
    serde_json::from_slice(&output.stdout)
        .map_err(|e| Error::new(Kind::Internal, format!("oci-apparmor render: {e}")))
}

/// The path of `oci-apparmor`. It is installed with this program and is not checked: a user who
/// can replace it can replace this program as well.
fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(|e| {
        Error::new(
            Kind::Internal,
            format!("cannot find the path of this program: {e}"),
        )
    })?;
    let directory = own.parent().unwrap_or(Path::new("/"));
    let beside = directory.join("oci-apparmor");
    // The hook is in PREFIX/libexec/oci-apparmor, the command line in PREFIX/bin.
    let above = directory.join("../../bin/oci-apparmor");
    [&beside, &above]
        .into_iter()
        .find(|path| path.is_file())
        .cloned()
        .ok_or_else(|| {
            let why = format!(
                "no program oci-apparmor, which renders manifests, in {}",
                quoted(&directory.to_string_lossy())
            );
            Error::new(Kind::NotFound, why).with_remedy("install it there")
        })
}
