//! Children that the kernel has of a profile, and that its source does not declare.
//!
//! When a profile is replaced, the kernel hands on the children that the new one lacks
//! (`__replace_profile()`, security/apparmor/policy.c), and processes of the profile can still
//! change to them; a hat needs no rule for that. They are not removed, since a process under them
//! would turn unconfined. Each is replaced by a profile of its name that allows nothing.

use sha2::{Digest, Sha256};

use crate::apparmor::blob::{self, Declared};
use crate::apparmor::name::ProfileName;
use crate::apparmor::parser::Parser;
use crate::error::{Error, Kind, Result, quoted};
use crate::profiles::compile::cache::{Cache, Key};
use crate::profiles::compile::policy::{Policy, readable};
use crate::profiles::compile::toolchain::Toolchain;
use crate::profiles::source::Source;
use crate::profiles::store::ensure::{Store, View};

/// The policy of a child that allows nothing.
#[derive(Debug)]
pub(crate) struct Closed {
    /// The full name, `parent//child`.
    pub name: String,
    /// What the kernel will hold; nothing where the policy cannot be walked.
    pub declared: Option<Declared>,
    /// As for [`Policy`].
    blob: Option<Vec<u8>>,
    text: String,
}

impl Store<'_> {
    /// Adds to a policy what closes the children that the kernel has beyond those that it
    /// declares. What is loaded from a source that is not ours is its owner's.
    ///
    /// # Errors
    /// Where the kernel's tree cannot be read, or one of them cannot be closed.
    pub(crate) fn add_closing(
        &self,
        name: &ProfileName,
        source: &Source,
        policy: &mut Policy,
        view: &View,
    ) -> Result<()> {
        if source.ours && policy.names_are_final() {
            policy.closed = Some(self.closing(name, policy, view)?);
        }
        Ok(())
    }

    fn closing(&self, name: &ProfileName, policy: &Policy, view: &View) -> Result<Vec<Closed>> {
        let root = self.look(&name.root(), view.remembered.as_ref(), view.revision)?;
        let Some(root) = root else {
            return Ok(Vec::new());
        };
        // One that is gone by now needs nothing.
        let children = self.kernel.children(&root.directory)?;
        let names = children.iter().filter_map(|at| self.kernel.name_at(at));
        let undeclared: Vec<String> = names.filter(|name| !policy.names.contains(name)).collect();
        if undeclared.is_empty() {
            return Ok(Vec::new());
        }
        let parser = self.parser()?;
        undeclared
            .into_iter()
            .map(|child| self.closed(child, &parser))
            .collect()
    }

    fn closed(&self, name: String, parser: &Parser) -> Result<Closed> {
        let failed = |e: Error| {
            let what = format!(
                "its child {}, which it does not declare, cannot be closed",
                quoted(&name)
            );
            e.about(&what).or_remedy(
                "declare it in the source; or stop the containers that use the profile, and \
                 unload it",
            )
        };
        let compiled = || {
            // Such a name can only come from a source that was loaded before.
            if name.contains(|c: char| c == '"' || c == '\\' || c.is_control()) {
                let why = "its name cannot be written down".to_owned();
                return Err(Error::new(Kind::Policy, why));
            }
            // Whatever this kernel can refuse; the node's own pin may know less.
            let text = format!("abi <kernel>,\nprofile \"{name}\" {{ }}\n");
            let (blob, declared) = self.closed_policy(&name, &text, parser)?;
            Ok((blob, declared, text))
        };
        let (blob, declared, text) = compiled().map_err(failed)?;
        Ok(Closed {
            name,
            declared,
            blob,
            text,
        })
    }

    /// The policy of this text: kept from before, or compiled now.
    fn closed_policy(
        &self,
        name: &str,
        text: &str,
        parser: &Parser,
    ) -> Result<(Option<Vec<u8>>, Option<Declared>)> {
        let configured = self.settings.parser.as_ref().map(|p| p.as_path());
        let tools = || Ok::<_, Error>(Toolchain::of(parser, configured, self.kernel)?.digest);
        let cache = Cache::at(self.settings.cache_directory.as_path());
        let before = tools()?;
        let key = Key::of(&Sha256::digest(text).into(), &before, false);
        if let Some(blob) = cache.get(&key)
            && let Ok(declared) = self.only_child(name, &blob)
        {
            return Ok((Some(blob), Some(declared)));
        }
        let policy = parser.compile(text.as_bytes(), false)?.policy;
        if blob::compressed(&policy) {
            return Ok((None, None));
        }
        let blob = blob::plain(&policy).unwrap_or(&policy);
        let declared = self.only_child(name, blob)?;
        // It was compiled with what the key says. Where it cannot be kept, it is compiled again.
        if tools()? == before
            && let Err(e) = cache.put(&key, blob)
        {
            log::debug!("{e}");
        }
        Ok((Some(blob.to_vec()), Some(declared)))
    }

    /// What a policy declares, if that is just this child, and enforces.
    fn only_child(&self, name: &str, policy: &[u8]) -> Result<Declared> {
        let malformed = |why: String| Error::new(Kind::DoesNotCompile, why);
        let declared = blob::walk(policy).map_err(malformed)?;
        readable(self.kernel, &declared)?;
        match <[Declared; 1]>::try_from(declared) {
            Ok([child])
                if child.name == name
                    && child.mode.enforces()
                    && child.namespace.is_none()
                    && child.rename.is_none() =>
            {
                Ok(child)
            }
            _ => Err(malformed("it compiles to something else".to_owned())),
        }
    }

    /// Replaces what the kernel has of this name.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub(crate) fn close(&self, child: &Closed) -> Result<()> {
        match &child.blob {
            Some(blob) => self.kernel.replace(blob),
            None => Ok(self.parser()?.replace(child.text.as_bytes(), false)?),
        }
    }
}
