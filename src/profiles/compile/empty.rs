//! A child profile that allows nothing.

use sha2::{Digest, Sha256};

use crate::apparmor::blob::{self, Declared};
use crate::apparmor::parser::Parser;
use crate::error::{Error, Kind, Result};
use crate::profiles::compile::compiler::Compiler;
use crate::profiles::compile::key::CacheKey;

/// The compiled policy of a child that allows nothing.
#[derive(Debug)]
pub(crate) struct EmptyProfile {
    /// Its full name, `parent//child`.
    pub name: String,
    /// What the policy declares. `None` if it is compressed.
    pub declared: Option<Declared>,
    /// The policy. `None` if only the parser can load it (AppArmor 5 may compress it).
    pub blob: Option<Vec<u8>>,
    /// The text that it is compiled from.
    pub text: String,
}

impl Compiler<'_> {
    /// The empty profile of this name, from the cache or compiled.
    ///
    /// # Errors
    /// If the name cannot be written in a source, or if the policy does not compile.
    pub(crate) fn empty_profile(&self, name: &str, parser: &Parser) -> Result<EmptyProfile> {
        // Only a source that was loaded before can have declared such a name.
        if name.contains(|c: char| c == '"' || c == '\\' || c.is_control()) {
            let why = "its name contains a quote, a backslash or a control character";
            return Err(Error::new(Kind::Policy, why));
        }
        // With all rules that this kernel can enforce; the abi that the node pins may have fewer.
        let text = format!("abi <kernel>,\nprofile \"{name}\" {{ }}\n");
        let (blob, declared) = self.empty_policy(name, &text, parser)?;
        Ok(EmptyProfile {
            name: name.to_owned(),
            declared,
            blob,
            text,
        })
    }

    fn empty_policy(
        &self,
        name: &str,
        text: &str,
        parser: &Parser,
    ) -> Result<(Option<Vec<u8>>, Option<Declared>)> {
        let toolchain = || Ok::<_, Error>(self.toolchain(parser)?.digest);
        let cache = self.cache();
        let before = toolchain()?;
        let key = CacheKey::of(&Sha256::digest(text).into(), &before, false);
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
        // Only if the toolchain in the key compiled it.
        if toolchain()? == before
            && let Err(e) = cache.put(&key, blob)
        {
            log::debug!("{e}");
        }
        Ok((Some(blob.to_vec()), Some(declared)))
    }

    /// What a policy declares, if that is only this child, in enforce mode.
    fn only_child(&self, name: &str, policy: &[u8]) -> Result<Declared> {
        let malformed = |why: String| Error::new(Kind::DoesNotCompile, why);
        let declared = blob::walk(policy).map_err(malformed)?;
        self.check_version(&declared)?;
        match <[Declared; 1]>::try_from(declared) {
            Ok([child])
                if child.name == name
                    && child.mode.enforces()
                    && child.namespace.is_none()
                    && child.rename.is_none() =>
            {
                Ok(child)
            }
            _ => Err(malformed(
                "the compiled policy declares something else".to_owned(),
            )),
        }
    }
}
