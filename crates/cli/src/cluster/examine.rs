//! One file of the spool as the text of a source.

use super::limits::KnownLimits;
use super::sources::origin;
use super::spool::SpoolKind;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::{Error, Kind, Result, foreign, quoted};
use oci_apparmor::profiles::compile::Objection;
use oci_apparmor::profiles::source::{RenderedManifest, render_bytes};
use oci_apparmor::profiles::{Store, forced_to_complain};

/// The text of a source.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Examined {
    /// This text may become the source.
    Text(Vec<u8>),
    /// The manifest says that the profile is not to be loaded.
    Disabled,
}

/// The text that a file stands for, if it may become the source of this profile.
///
/// # Errors
/// Why not.
pub(super) fn examine(
    store: &Store<'_>,
    profile: &ProfileName,
    kind: SpoolKind,
    bytes: &[u8],
    known: &mut KnownLimits,
) -> std::result::Result<Examined, Objection> {
    let origin = origin(kind, bytes);
    if let Some(why) = known.of(&origin) {
        return Err(Objection::Refused(why));
    }
    let mut text = match kind {
        SpoolKind::Text => bytes.to_vec(),
        SpoolKind::Manifest => {
            let manifests = render_bytes(bytes).map_err(|e| not_rendered(&e))?;
            match of_manifest(profile, manifests)? {
                Some(text) => text.into_bytes(),
                None => return Ok(Examined::Disabled),
            }
        }
    };
    text.extend_from_slice(format!("\n{origin}\n").as_bytes());
    let complain = forced_to_complain(profile.file_name().as_ref());
    store.check_cluster_text(profile, &text, complain)?;
    Ok(Examined::Text(text))
}

/// Why bytes cannot be rendered, without the names that the program that renders them has for itself
/// and for its input.
fn not_rendered(e: &Error) -> Error {
    let why = e.without_remedy();
    let known = ["oci-apparmor: ", "oci-apparmor: ", "standard input: "];
    let why = known.iter().fold(why.as_str(), |why, prefix| {
        why.strip_prefix(prefix).unwrap_or(why)
    });
    Error::new(e.kind(), why).with_remedy("correct the object in the cluster")
}

/// The text of the only manifest; `None` if it disables the profile.
fn of_manifest(profile: &ProfileName, manifests: Vec<RenderedManifest>) -> Result<Option<String>> {
    let refused = |why: String| {
        Err(Error::new(Kind::DoesNotCompile, why)
            .with_remedy("put one AppArmorProfile with the name of the file into it"))
    };
    let count = manifests.len();
    let mut manifests = manifests.into_iter();
    let (Some(manifest), None) = (manifests.next(), manifests.next()) else {
        return refused(format!("it has {count} manifests"));
    };
    if let Some(why) = manifest.refused {
        return Err(Error::new(Kind::DoesNotCompile, foreign(&why))
            .with_remedy("correct the object in the cluster"));
    }
    match (manifest.name, manifest.text) {
        (Some(name), _) if name != profile.as_str() => {
            refused(format!("its manifest is that of {}", quoted(&name)))
        }
        (Some(_), Some(_)) if manifest.disabled == Some(true) => Ok(None),
        (Some(_), Some(text)) => Ok(Some(text)),
        _ => refused("its manifest has no name".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: Option<&str>, refused: Option<&str>) -> RenderedManifest {
        RenderedManifest {
            place: "document 1".to_owned(),
            name: name.map(str::to_owned),
            complain: Some(false),
            disabled: Some(false),
            text: Some("profile cluster-a { }".to_owned()),
            refused: refused.map(str::to_owned),
        }
    }

    #[test]
    fn a_program_that_fails_is_not_named() {
        let e = "oci-apparmor: oci-apparmor: standard input: line 1: not valid YAML";
        let e = not_rendered(&Error::new(Kind::DoesNotCompile, e));
        assert_eq!(
            e.to_string(),
            "line 1: not valid YAML; correct the object in the cluster"
        );
    }

    #[test]
    fn a_file_has_one_manifest_of_its_name() {
        let profile = ProfileName::parse("cluster-a").unwrap();
        let one = |m| of_manifest(&profile, vec![m]);
        let good = || manifest(Some("cluster-a"), None);
        assert!(one(good()).unwrap().is_some());
        let disabled = RenderedManifest {
            disabled: Some(true),
            ..good()
        };
        assert_eq!(one(disabled).unwrap(), None);
        assert!(of_manifest(&profile, vec![]).is_err());
        assert!(of_manifest(&profile, vec![good(), good()]).is_err());
        for bad in [
            manifest(Some("cluster-b"), None),
            manifest(None, None),
            manifest(Some("cluster-a"), Some("spec.abstract is missing")),
        ] {
            assert!(one(bad).is_err());
        }
    }
}
