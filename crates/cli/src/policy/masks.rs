//! The compiled policy of a loaded profile, and what of it the kernel does not answer questions
//! about.

use oci_apparmor::apparmor::blob::{self, Declared};
use oci_apparmor::apparmor::loaded::Loaded;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::apparmor::parser::Parser;
use oci_apparmor::error::{Error, Result};
use oci_apparmor::node::Node;
use oci_apparmor::profiles::Source;

/// What the compiled policy of a loaded profile declares, from the kernel itself, or else from the
/// source of the profile if that has the same content.
///
/// # Errors
/// A clause that says why neither can be had.
pub(super) fn declared(
    node: &Node,
    name: &str,
    loaded: &Loaded,
) -> std::result::Result<Declared, String> {
    let raw = node.kernel.raw_data(&loaded.directory);
    if let Some(raw) = raw.map_err(|e| e.without_remedy())? {
        return one(&raw, name, loaded).ok_or_else(|| {
            format!("the policy that the kernel keeps of {name} is not what is loaded")
        });
    }
    let compiled = compiled(node, name).map_err(|e| {
        format!(
            "this kernel does not keep the compiled policy, and {}",
            e.without_remedy()
        )
    })?;
    compiled
        .and_then(|compiled| one(&compiled, name, loaded))
        .ok_or_else(|| {
            format!(
                "this kernel does not keep the compiled policy, and no source of {name} has the \
                 content that is loaded"
            )
        })
}

/// The compiled source of a profile.
fn compiled(node: &Node, name: &str) -> Result<Option<Vec<u8>>> {
    let name = ProfileName::parse(name)?;
    let settings = &node.settings;
    let Some(source) = Source::of(&name, settings)? else {
        return Ok(None);
    };
    let configured = settings.parser.as_ref().map(|parser| parser.as_path());
    let parser = Parser::find(configured, settings.parser_limits())?;
    let compiled = parser.compile(&source.text()?, source.complain);
    Ok(Some(compiled.map_err(Error::from)?.policy))
}

/// The declaration of the loaded profile in a blob. If the kernel has a hash of it, it must agree.
fn one(policy: &[u8], name: &str, loaded: &Loaded) -> Option<Declared> {
    let declared = blob::walk(blob::plain(policy)?).ok()?;
    let mut declared = declared.into_iter();
    declared.find(|d| d.name == name && loaded.hash.as_ref().is_none_or(|hash| d.is(hash)))
}
