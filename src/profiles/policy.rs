//! From a source to policy that may be written to the kernel: kept from before, or compiled now,
//! and in both cases walked.

use crate::apparmor::blob::{self, Declared};
use crate::apparmor::kernel::Kernel;
use crate::apparmor::parser::Parser;
use crate::decision::Component;
use crate::error::{Error, Kind, Result};
use crate::profiles::cache::{Cache, Key, hexadecimal};
use crate::profiles::closure::Closure;
use crate::profiles::declared::{check, only};
use crate::profiles::remembered::Built;
use crate::profiles::source::Source;
use crate::profiles::toolchain::Toolchain;
use crate::report;
use crate::settings::Settings;

/// How often a source may change while it is compiled.
const ATTEMPTS: u32 = 3;

/// What a source was made into.
pub(super) struct Policy {
    /// The compiled policy; nothing where only the compiler's own loader understands it
    /// (AppArmor 5 may compress it).
    pub blob: Option<Vec<u8>>,
    /// What it declares; nothing where it cannot be walked.
    pub declared: Vec<Declared>,
    /// What it was made from.
    pub built: Built,
    /// The text.
    pub text: Vec<u8>,
}

/// Everything that a policy is made from.
struct Workshop<'w> {
    component: &'w Component,
    source: &'w Source,
    kernel: &'w Kernel,
    parser: &'w Parser,
    toolchain: Toolchain,
    cache: Cache<'w>,
}

impl Policy {
    /// The policy of a source, which declares what `component` needs and nothing else.
    ///
    /// # Errors
    /// Where there is none that may be loaded.
    pub(super) fn of(
        component: &Component,
        source: &Source,
        settings: &Settings,
        parser: &Parser,
        kernel: &Kernel,
    ) -> Result<Self> {
        let configured = settings.parser.as_ref().map(|p| p.as_path());
        Workshop {
            component,
            source,
            kernel,
            parser,
            toolchain: Toolchain::of(parser, configured, kernel)?,
            cache: Cache::at(settings.cache_directory.as_path()),
        }
        .policy()
    }
}

impl Workshop<'_> {
    fn policy(self) -> Result<Policy> {
        for _ in 0..ATTEMPTS {
            let (text, stamp) = self.source.read()?;
            let mut closure = Closure::of(&text, &self.toolchain.search)?;
            closure.stamps.push((self.source.path.clone(), stamp));
            let key = Key::of(
                &closure.digest(),
                &self.toolchain.digest,
                self.source.complain,
            );
            if let Some(blob) = self.cache.get(&key)
                && let Ok(declared) = self.walked(&blob)
            {
                return self.made(Some(blob), declared, text, closure, true);
            }
            let (blob, declared) = self.compiled(&text)?;
            // What was hashed must be what was compiled.
            if Closure::of(&text, &self.toolchain.search)?.digest() != closure.digest() {
                continue;
            }
            let is_known = closure.knows(&self.parser.includes(&text)?);
            if !is_known {
                report::notice(&format!(
                    "{} includes in a way that cannot be followed; it is compiled anew for \
                     every container",
                    self.source.path.display()
                ));
            } else if let Some(blob) = &blob
                && let Err(e) = self.cache.put(&key, blob)
            {
                report::notice(&format!("compiled policy cannot be kept: {e}"));
            }
            return self.made(blob, declared, text, closure, is_known);
        }
        Err(Error::new(
            Kind::Internal,
            "its source keeps changing while it is compiled",
        )
        .hint("try again"))
    }

    /// Compiles the text: the policy, if it can be walked, and what it declares.
    fn compiled(&self, text: &[u8]) -> Result<(Option<Vec<u8>>, Vec<Declared>)> {
        let path = self.source.path.display();
        log::debug!("compiling {path} with {}", self.parser.program().display());
        let compiled = self
            .parser
            .compile(text, self.source.complain)
            .map_err(|e| {
                // Where a limit was met, it says which one.
                match e.has_hint() {
                    true => e,
                    false => e.hint(format!("try: oci-apparmor lint {path}")),
                }
            })?;
        if blob::compressed(&compiled.policy) {
            let names = self.parser.names(text)?;
            only(&self.component.name, names.iter().map(String::as_str))?;
            return Ok((None, Vec::new()));
        }
        let blob = blob::plain(&compiled.policy).unwrap_or(&compiled.policy);
        Ok((Some(blob.to_vec()), self.walked(blob)?))
    }

    /// What a policy declares, if it may be loaded for the component.
    fn walked(&self, policy: &[u8]) -> Result<Vec<Declared>> {
        let declared = blob::walk(policy).map_err(|why| {
            Error::new(
                Kind::DoesNotCompile,
                format!("the compiled policy is malformed: {why}"),
            )
            .hint("reinstall apparmor_parser")
        })?;
        check(self.component, &declared)?;
        // Without the kernel's features the compiler writes version 5, which every kernel takes
        // and which leaves out network, mount, signal and ptrace rules.
        let unreadable = declared
            .iter()
            .find(|d| d.version <= 5 || !self.kernel.reads_policy_version(d.version));
        match unreadable {
            None => Ok(declared),
            Some(profile) => Err(Error::new(
                Kind::DoesNotCompile,
                format!(
                    "the compiled policy has version {}, which is not this kernel's",
                    profile.version
                ),
            )
            .hint("look for features in /etc/apparmor/parser.conf; reinstall apparmor_parser")),
        }
    }

    fn made(
        self,
        blob: Option<Vec<u8>>,
        declared: Vec<Declared>,
        text: Vec<u8>,
        closure: Closure,
        is_known: bool,
    ) -> Result<Policy> {
        let stamps = closure.stamps.iter().chain(&self.toolchain.stamps);
        let settled = is_known && stamps.into_iter().all(|(_, s)| s.is_settled(closure.read));
        let built = Built {
            source: self.source.path.clone(),
            complain: self.source.complain,
            content: hexadecimal(&closure.digest()),
            files: closure.stamps,
            toolchain: self.toolchain.stamps,
            settled,
        };
        Ok(Policy {
            blob,
            declared,
            built,
            text,
        })
    }
}
