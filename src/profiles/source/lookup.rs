//! Finding the source of a profile.

use std::path::{Path, PathBuf};

use crate::apparmor::name::ProfileName;
use crate::error::{Error, Kind, Result};
use crate::fs::fingerprint::Fingerprint;
use crate::profiles::source::directory::is_distribution;
use crate::profiles::source::manifest::{ManifestProfile, is_manifest};
use crate::profiles::source::manifests::Manifests;
use crate::profiles::source::overrides::{Disabled, disable_entry, is_forced_to_complain};
use crate::profiles::source::text_file;
use crate::settings::{CLUSTER_PROFILES, Settings};

/// The source of a profile, and what this node has decided about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Whether the loaded profile must have the content of this source: it is in the first profile
    /// directory, or comes from the cluster. Other programs own the profiles of the other
    /// directories.
    pub ours: bool,
    /// Whether this node wants the profile in complain mode.
    pub complain: bool,
    /// Why this node does not load it, if so.
    pub disabled: Option<Disabled>,
    /// The profile in the manifest, if the file is one.
    manifest: Option<ManifestProfile>,
    /// The fingerprint of the file.
    fingerprint: Fingerprint,
    /// The first profile directory, if it has no manifest.
    manifest_free: Option<Fingerprint>,
}

impl Source {
    /// The source of a profile, if there is one. Does not read its text.
    ///
    /// # Errors
    /// If a profile directory or its manifests cannot be read.
    pub fn of(name: &ProfileName, settings: &Settings) -> Result<Option<Self>> {
        Self::of_with(name, settings, None)
    }

    /// Like [`Source::of`]. With `manifest_free`, the first profile directory when it had no manifest,
    /// manifests are looked for only if the directory has changed.
    ///
    /// # Errors
    /// As for [`Source::of`].
    pub(crate) fn of_with(
        name: &ProfileName,
        settings: &Settings,
        manifest_free: Option<&Fingerprint>,
    ) -> Result<Option<Self>> {
        let name = name.root();
        let file = name.file_name();
        let first = text_file_of(&file, settings)?.map(|(index, fingerprint, path)| Self {
            ours: index == 0 || is_from_cluster(&path),
            complain: is_forced_to_complain(&file),
            disabled: disable_entry(&file),
            path,
            manifest: None,
            fingerprint,
            manifest_free: None,
        });
        let Some(directory) = settings.profile_directories.first() else {
            return Ok(first);
        };
        let manifests = Manifests::of(directory.as_path(), manifest_free)?;
        let Some(mut manifest) = manifests.profile(&name) else {
            return Ok(first.map(|source| Self {
                manifest_free: manifests.none_in(),
                ..source
            }));
        };
        let beside = |source: &Self| source.path.parent() == Some(directory.as_path());
        if let Some(text) = first.filter(beside) {
            // Neither of them can be preferred.
            manifest.text = Err(format!("{} defines the same profile", text.path.display()));
        }
        let disabled = match manifest.disabled {
            true => Some(Disabled::Manifest(manifest.path.clone())),
            false => disable_entry(&file),
        };
        Ok(Some(Self {
            path: manifest.path.clone(),
            ours: true,
            complain: manifest.complain || is_forced_to_complain(&file),
            disabled,
            fingerprint: manifest.fingerprint.clone(),
            manifest: Some(manifest),
            manifest_free: None,
        }))
    }

    /// Whether the source is in a directory for containers: any profile directory except
    /// `/etc/apparmor.d` itself, which has the profiles of the host's programs.
    ///
    /// Outside of the first directory, a name that starts with `/` does not count: such a profile
    /// attaches to a program, and its file name is not unique (`usr.bin.x` may hold the profile
    /// `/usr/bin/x` or `usr.bin.x`).
    #[must_use]
    pub fn is_for_containers(&self, name: &ProfileName) -> bool {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let known = self
            .manifest_free
            .as_ref()
            .filter(|_| self.ours && !self.is_from_cluster());
        (self.ours || !name.as_str().starts_with('/')) && !is_distribution(directory, known)
    }

    /// Whether it comes from the cluster: `oci-apparmor sync` writes it, and nothing else may.
    #[must_use]
    pub fn is_from_cluster(&self) -> bool {
        is_from_cluster(&self.path)
    }

    /// Whether this node wants a profile in complain mode.
    #[must_use]
    pub fn complains(name: &ProfileName, settings: &Settings) -> bool {
        matches!(Self::of(name, settings), Ok(Some(source)) if source.complain)
    }

    /// Whether the file is a manifest. Its text is then not what is in the file.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        self.manifest.is_some()
    }

    /// The fingerprint of the file, from when it was found.
    pub(crate) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The first profile directory, if it is known to have no manifest.
    pub(crate) fn manifest_free(&self) -> Option<&Fingerprint> {
        self.manifest_free.as_ref()
    }

    /// Whether it is a manifest that cannot be rendered.
    pub(crate) fn is_unusable(&self) -> bool {
        self.manifest.as_ref().is_some_and(|m| m.text.is_err())
    }

    /// The text of the profile, and the fingerprint of the file.
    ///
    /// # Errors
    /// [`Kind::Policy`] if the file is not trusted, [`Kind::NotFound`] if it does not exist,
    /// [`Kind::DoesNotCompile`] if a manifest cannot be rendered.
    pub(crate) fn read(&self) -> Result<(Vec<u8>, Fingerprint)> {
        if let Some(manifest) = &self.manifest {
            return match &manifest.text {
                Ok(text) => Ok((text.clone().into_bytes(), manifest.fingerprint.clone())),
                Err(why) => Err(Error::new(Kind::DoesNotCompile, why.clone())
                    .with_remedy(format!("run: oci-apparmor render {}", self.path.display()))),
            };
        }
        text_file::read(&self.path)
    }

    /// The text of the profile.
    ///
    /// # Errors
    /// [`Kind::Policy`] if the file is not trusted, [`Kind::NotFound`] if it does not exist,
    /// [`Kind::DoesNotCompile`] if a manifest cannot be rendered.
    pub fn text(&self) -> Result<Vec<u8>> {
        Ok(self.read()?.0)
    }

    /// Checks that this node has not disabled the profile.
    ///
    /// # Errors
    /// [`Kind::Policy`], with what disables it.
    pub fn may_be_loaded(&self, name: &ProfileName) -> Result<()> {
        match &self.disabled {
            None => Ok(()),
            Some(disabled) => Err(Error::new(
                Kind::Policy,
                format!("the profile {name} is disabled on this node: {disabled}"),
            )
            .with_remedy(disabled.remedy())),
        }
    }
}

/// The first file of this name in the profile directories, with the number of its directory. A file
/// that cannot be looked at is not passed over: the next directory has another profile.
fn text_file_of(file: &str, settings: &Settings) -> Result<Option<(usize, Fingerprint, PathBuf)>> {
    for (index, directory) in settings.profile_directories.iter().enumerate() {
        let path = directory.as_path().join(file);
        let fingerprint = Fingerprint::of_file(&path).map_err(|e| {
            Error::io("look at", &path, &e).with_remedy("repair or remove that file")
        })?;
        match fingerprint {
            Some(found) if index > 0 || !is_manifest(&path) => {
                return Ok(Some((index, found, path)));
            }
            _ => {}
        }
    }
    Ok(None)
}

fn is_from_cluster(path: &Path) -> bool {
    path.parent() == Some(Path::new(CLUSTER_PROFILES))
}

/// A manifest of the first profile directory that cannot be read, and why.
pub(crate) fn broken_manifest(settings: &Settings) -> Option<String> {
    let directory = settings.profile_directories.first()?;
    let manifests = Manifests::of(directory.as_path(), None).ok()?;
    let (path, why) = manifests.broken.first_key_value()?;
    Some(format!("cannot read {}: {why}", path.display()))
}
