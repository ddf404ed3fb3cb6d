//! The text of a source, and the same text with what was learnt. A manifest stays a manifest.

use std::path::Path;

use crate::learning::draft::Draft;
use crate::learning::edit;
use crate::learning::manifest;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::fs::trusted;
use oci_apparmor::profiles::Source;
use oci_apparmor_manifest::{self as manifests, Rendered};

/// The largest source.
const MAX: u64 = 4 << 20;

/// What a source contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceText {
    /// The file.
    pub file: String,
    /// The text of the profile: the file, or what its manifest is rendered to.
    pub policy: String,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Text of AppArmor's language.
    Text,
    /// A manifest with such a text.
    ManifestText,
    /// A manifest with lists.
    ManifestLists,
}

/// A changed source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewText {
    /// The file.
    pub file: String,
    /// The text of the profile.
    pub policy: String,
    /// Profiles that were to be changed and that the text does not declare.
    pub missing: Vec<String>,
    /// Rules that a manifest of this form cannot express.
    pub inexpressible: Vec<String>,
    /// Rules that allow more in such a manifest: `RULE becomes RULE`.
    pub broader: Vec<String>,
}

impl SourceText {
    /// Reads the source of a profile.
    ///
    /// # Errors
    /// If it is not trusted, or cannot be edited.
    pub(crate) fn read(source: &Source, name: &ProfileName) -> Result<Self> {
        let path = &source.path;
        let bytes = trusted::read(path, MAX).map_err(|e| e.about(path, Kind::Policy))?;
        let file = String::from_utf8(bytes).map_err(|_| {
            let why = format!("{} cannot be edited: it is not UTF-8", path.display());
            Error::new(Kind::Policy, why).with_remedy("write it in UTF-8")
        })?;
        if !source.is_manifest() {
            return Ok(Self::of_profile(file));
        }
        let rendered = rendered(&file, name, path)?;
        Ok(Self {
            file,
            form: match rendered.has_policy {
                true => Form::ManifestText,
                false => Form::ManifestLists,
            },
            policy: rendered.text,
        })
    }

    /// The text of a profile.
    pub(crate) fn of_profile(text: String) -> Self {
        Self {
            policy: text.clone(),
            file: text,
            form: Form::Text,
        }
    }

    /// Whether the file is a manifest.
    pub(crate) fn is_manifest(&self) -> bool {
        self.form != Form::Text
    }

    /// The same with what was learnt. `marker` is the comment above new rules.
    ///
    /// # Errors
    /// If a manifest cannot be edited.
    pub(crate) fn with(&self, draft: &Draft, name: &ProfileName, marker: &str) -> Result<NewText> {
        let failed = |e: manifests::Error| refused(&e);
        if self.form == Form::ManifestLists {
            let expressed = manifest::express(draft);
            let file =
                manifests::add(&self.file, name.as_str(), &expressed.additions).map_err(failed)?;
            return Ok(NewText {
                policy: rendered(&file, name, Path::new("the manifest"))?.text,
                file,
                missing: Vec::new(),
                inexpressible: expressed.inexpressible,
                broader: expressed.broader,
            });
        }
        let edited = edit::add(&self.policy, &draft.additions(), marker);
        let file = match self.form {
            Form::ManifestText => {
                manifests::replace_policy(&self.file, name.as_str(), &edited.text)
                    .map_err(failed)?
            }
            Form::Text | Form::ManifestLists => edited.text.clone(),
        };
        Ok(NewText {
            file,
            policy: edited.text,
            missing: edited.missing,
            inexpressible: Vec::new(),
            broader: Vec::new(),
        })
    }
}

/// A text as a manifest.
///
/// # Errors
/// If it cannot be one.
pub(crate) fn as_manifest(text: &NewText, name: &ProfileName) -> Result<String> {
    manifests::with_policy(name.as_str(), &text.policy).map_err(|e| refused(&e))
}

fn refused(e: &manifests::Error) -> Error {
    let why = format!("the manifest cannot be edited: {}", e.reason());
    let error = Error::new(Kind::Policy, why);
    error.with_remedy(e.remedy().unwrap_or("edit the manifest by hand"))
}

fn rendered(file: &str, name: &ProfileName, path: &Path) -> Result<Rendered> {
    let unreadable = |why: String| {
        let why = format!("cannot read {}: {why}", path.display());
        Error::new(Kind::DoesNotCompile, why)
            .with_remedy(format!("run: oci-apparmor render {}", path.display()))
    };
    let all = manifests::read(file.as_bytes()).map_err(|e| unreadable(e.reason()))?;
    let mut named = all
        .into_iter()
        .filter(|m| m.name.as_deref() == Some(name.as_str()));
    let manifest = named.next();
    let manifest =
        manifest.ok_or_else(|| unreadable(format!("it has no manifest named {name}")))?;
    manifest.rendered.map_err(|e| unreadable(e.reason()))
}
