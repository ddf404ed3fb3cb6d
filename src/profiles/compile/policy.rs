//! From a source to policy that may be written to the kernel: kept from before, or compiled now,
//! and in both cases walked.

use std::path::Path;

use crate::apparmor::blob::{self, Declared};
use crate::apparmor::kernel::Kernel;
use crate::apparmor::parser::Parser;
use crate::error::{Error, Kind, Result};
use crate::profiles::compile::cache::{Cache, Key, hexadecimal};
use crate::profiles::compile::declared::{check, only};
use crate::profiles::compile::dependencies::Closure;
use crate::profiles::compile::toolchain::Toolchain;
use crate::profiles::remembered::{Built, Remembered};
use crate::profiles::source::Source;
use crate::profiles::store::closing::Closed;
use crate::profiles::store::ensure::Store;
use crate::report;
use crate::wanted::Component;

/// How often a source may change while it is compiled.
const ATTEMPTS: u32 = 3;

/// What a source was made into.
pub(crate) struct Policy {
    /// The compiled policy; nothing where only the compiler's own loader understands it
    /// (AppArmor 5 may compress it).
    pub blob: Option<Vec<u8>>,
    /// What it declares; nothing where it cannot be walked.
    pub declared: Vec<Declared>,
    /// The names of the profiles that it declares. Where it cannot be walked, these are the
    /// compiler's words, in which a variable stands as it is written.
    pub names: Vec<String>,
    /// What it was made from.
    pub built: Built,
    /// The text, unless the policy was kept.
    pub text: Vec<u8>,
    /// What closes the children that the kernel has beyond these; nothing where they are not
    /// judged.
    pub closed: Option<Vec<Closed>>,
}

/// Everything that a policy is made from.
struct Workshop<'w> {
    component: &'w Component,
    source: &'w Source,
    kernel: &'w Kernel,
    configured: Option<&'w Path>,
    cache: Cache<'w>,
}

/// What the compiler made of a text.
struct Made {
    blob: Option<Vec<u8>>,
    declared: Vec<Declared>,
    names: Vec<String>,
}

impl Policy {
    fn new(made: Made, built: Built, text: Vec<u8>) -> Self {
        Self {
            blob: made.blob,
            declared: made.declared,
            names: made.names,
            built,
            text,
            closed: None,
        }
    }

    /// Whether its names are those that the kernel will have.
    pub(crate) fn names_are_final(&self) -> bool {
        self.names.iter().all(|name| !name.contains("@{"))
    }

    /// The policy of a source, which declares what `component` needs and nothing else.
    ///
    /// # Errors
    /// Where there is none that may be loaded.
    pub(crate) fn of(
        component: &Component,
        source: &Source,
        store: &Store<'_>,
        remembered: Option<&Remembered>,
    ) -> Result<Self> {
        let workshop = Workshop {
            component,
            source,
            kernel: store.kernel,
            configured: store.settings.parser.as_ref().map(|p| p.as_path()),
            cache: Cache::at(store.settings.cache_directory.as_path()),
        };
        let built = remembered.and_then(|r| r.built.as_ref());
        if let Some(kept) = built.and_then(|built| workshop.remembered(built)) {
            return Ok(kept);
        }
        workshop.policy(&store.parser()?)
    }
}

impl Workshop<'_> {
    /// The policy that was kept of a making that still holds, of which nothing is read again. That
    /// was on this boot, so the kernel reads its version.
    fn remembered(&self, built: &Built) -> Option<Policy> {
        let key = Key::parse(&built.key).filter(|_| built.is_current(self.source))?;
        let blob = self.cache.get(&key)?;
        let declared = self.declared(&blob).ok()?;
        Some(Policy::new(
            Made::walked(blob, declared),
            built.clone(),
            Vec::new(),
        ))
    }

    fn policy(&self, parser: &Parser) -> Result<Policy> {
        let tools = || Toolchain::of(parser, self.configured, self.kernel);
        for _ in 0..ATTEMPTS {
            let toolchain = tools()?;
            let (text, stamp) = self.source.read()?;
            let mut closure = Closure::of(&text, &toolchain.search)?;
            closure.stamps.push((self.source.path.clone(), stamp));
            let key = Key::of(&closure.digest(), &toolchain.digest, self.source.complain);
            if let Some(blob) = self.cache.get(&key) {
                match self.walked(&blob) {
                    Ok(declared) => {
                        let built = self.built(&key, closure, toolchain, true);
                        return Ok(Policy::new(Made::walked(blob, declared), built, text));
                    }
                    // To compile it again would make the same of it.
                    Err(e) if e.kind() == Kind::Policy => return Err(e),
                    Err(e) => log::debug!("compiled anew: {e}"),
                }
            }
            let made = self.compiled(parser, &text)?;
            // What was hashed must be what was compiled, and what it was compiled with.
            if Closure::of(&text, &toolchain.search)?.digest() != closure.digest()
                || tools()?.digest != toolchain.digest
            {
                continue;
            }
            let is_known = closure.knows(&parser.includes(&text)?);
            if !is_known {
                report::notice(&format!(
                    "{} includes in a way that cannot be followed; it is compiled anew for \
                     every container",
                    self.source.path.display()
                ));
            } else if let Some(blob) = &made.blob
                && let Err(e) = self.cache.put(&key, blob)
            {
                report::notice(&format!("compiled policy cannot be kept: {e}"));
            }
            let built = self.built(&key, closure, toolchain, is_known);
            return Ok(Policy::new(made, built, text));
        }
        Err(Error::new(
            Kind::Internal,
            "its source or the compiler keeps changing while it is compiled",
        )
        .with_remedy("try again"))
    }

    /// Compiles the text: the policy, if it can be walked, and what it declares.
    fn compiled(&self, parser: &Parser, text: &[u8]) -> Result<Made> {
        let path = self.source.path.display();
        log::debug!("compiling {path} with {}", parser.program().display());
        let compiled = parser
            .compile(text, self.source.complain)
            .map_err(|e| Error::from(e).or_remedy(format!("run: oci-apparmor lint {path}")))?;
        if blob::compressed(&compiled.policy) {
            let names = parser.names(text)?;
            only(&self.component.name, names.iter().map(String::as_str))?;
            return Ok(Made {
                blob: None,
                declared: Vec::new(),
                names,
            });
        }
        let blob = blob::plain(&compiled.policy).unwrap_or(&compiled.policy);
        Ok(Made::walked(blob.to_vec(), self.walked(blob)?))
    }

    /// What a policy declares, if it may be loaded for the component.
    fn declared(&self, policy: &[u8]) -> Result<Vec<Declared>> {
        let declared = blob::walk(policy).map_err(|why| {
            Error::new(
                Kind::DoesNotCompile,
                format!("the compiled policy is malformed: {why}"),
            )
            .with_remedy("reinstall apparmor_parser")
        })?;
        check(self.component, &declared)?;
        Ok(declared)
    }

    /// The same, if this kernel reads it, too.
    fn walked(&self, policy: &[u8]) -> Result<Vec<Declared>> {
        let declared = self.declared(policy)?;
        readable(self.kernel, &declared)?;
        Ok(declared)
    }

    fn built(&self, key: &Key, closure: Closure, toolchain: Toolchain, is_known: bool) -> Built {
        let mut stamps = closure.stamps.iter().chain(&toolchain.stamps);
        let settled = is_known && stamps.all(|(_, stamp)| stamp.is_settled(closure.read));
        Built {
            source: self.source.path.clone(),
            complain: self.source.complain,
            content: hexadecimal(&closure.digest()),
            key: key.file_name(),
            files: closure.stamps,
            toolchain: toolchain.stamps,
            settled,
        }
    }
}

impl Made {
    fn walked(blob: Vec<u8>, declared: Vec<Declared>) -> Self {
        Self {
            blob: Some(blob),
            names: declared.iter().map(|d| d.name.clone()).collect(),
            declared,
        }
    }
}

/// Refuses policy that this kernel would not read, or not as it is meant.
pub(crate) fn readable(kernel: &Kernel, declared: &[Declared]) -> Result<()> {
    // Without the kernel's features the compiler writes version 5, which every kernel takes and
    // which leaves out network, mount, signal and ptrace rules.
    let unreadable = declared
        .iter()
        .find(|d| d.version <= 5 || !kernel.reads_policy_version(d.version));
    match unreadable {
        None => Ok(()),
        Some(profile) => Err(Error::new(
            Kind::DoesNotCompile,
            format!(
                "the compiled policy has version {}, which is not this kernel's",
                profile.version
            ),
        )
        .with_remedy("look for features in /etc/apparmor/parser.conf; reinstall apparmor_parser")),
    }
}
