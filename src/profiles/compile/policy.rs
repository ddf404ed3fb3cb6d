//! From a source to policy that may be loaded, from the cache or compiled. In both cases it is
//! checked what the policy declares.

use crate::apparmor::blob::{self, Declared};
use crate::apparmor::parser::Parser;
use crate::error::{Error, Kind, Result};
use crate::fs::digest::hex;
use crate::profiles::compile::build_info::BuildInfo;
use crate::profiles::compile::compiler::Compiler;
use crate::profiles::compile::declared::{check, check_names};
use crate::profiles::compile::dependencies::Dependencies;
use crate::profiles::compile::key::CacheKey;
use crate::profiles::compile::toolchain::Toolchain;
use crate::profiles::source::Source;
use crate::report;
use crate::wanted::Component;

/// How often a source is compiled if it changes meanwhile.
const ATTEMPTS: u32 = 3;

/// The policy of a source.
#[derive(Debug)]
pub(crate) struct CompiledPolicy {
    /// The policy. `None` if only the parser can load it (AppArmor 5 may compress it).
    pub blob: Option<Vec<u8>>,
    /// The profiles that it declares; none if it is compressed.
    pub declared: Vec<Declared>,
    /// The names of these profiles. If it is compressed, they come from the parser, which does not
    /// expand variables.
    pub names: Vec<String>,
    /// What it was compiled from.
    pub build: BuildInfo,
    /// Whether it was found in the cache.
    pub is_cached: bool,
    /// The text of the source; empty if it was not read.
    pub text: Vec<u8>,
}

impl CompiledPolicy {
    /// Whether the kernel will have profiles of exactly these names: no variables are left.
    pub(crate) fn names_are_expanded(&self) -> bool {
        self.names.iter().all(|name| !name.contains("@{"))
    }
}

/// Policy whose declarations have been checked.
struct Checked {
    blob: Option<Vec<u8>>,
    declared: Vec<Declared>,
    names: Vec<String>,
    is_cached: bool,
}

impl Checked {
    fn cached(blob: Vec<u8>, declared: Vec<Declared>) -> Self {
        Self {
            is_cached: true,
            ..Self::plain(blob, declared)
        }
    }

    fn plain(blob: Vec<u8>, declared: Vec<Declared>) -> Self {
        Self {
            blob: Some(blob),
            names: declared.iter().map(|d| d.name.clone()).collect(),
            declared,
            is_cached: false,
        }
    }

    fn with(self, build: BuildInfo, text: Vec<u8>) -> CompiledPolicy {
        CompiledPolicy {
            blob: self.blob,
            declared: self.declared,
            names: self.names,
            build,
            is_cached: self.is_cached,
            text,
        }
    }
}

impl Compiler<'_> {
    /// The policy of a source. It declares the profile of `component`, its children, and nothing
    /// else. `known` is what the profile was compiled from before.
    ///
    /// # Errors
    /// If the source does not compile, or if its policy may not be loaded.
    pub(crate) fn policy(
        &self,
        component: &Component,
        source: &Source,
        known: Option<&BuildInfo>,
    ) -> Result<CompiledPolicy> {
        let job = Job {
            compiler: *self,
            component,
            source,
        };
        match known.and_then(|build| job.unchanged(build)) {
            Some(policy) => Ok(policy),
            None => job.compile(&self.parser()?),
        }
    }

    /// Checks that a text may take the place of a source: it compiles, and declares the profile of
    /// `component`, its children, and nothing else. Whether this kernel can load it is not checked.
    ///
    /// # Errors
    /// As for [`Compiler::policy`].
    pub(crate) fn check_text(
        &self,
        component: &Component,
        source: &Source,
        text: &[u8],
    ) -> Result<()> {
        let job = Job {
            compiler: *self,
            component,
            source,
        };
        let parser = self.parser()?;
        let compiled = parser.compile(text, source.complain)?;
        if blob::compressed(&compiled.policy) {
            let names = parser.names(text)?;
            return check_names(&component.name, names.iter().map(String::as_str));
        }
        let policy = blob::plain(&compiled.policy).unwrap_or(&compiled.policy);
        job.declared(policy).map(drop)
    }
}

/// What a policy declares, if it may be loaded for the component.
///
/// # Errors
/// If it is malformed, or may not be loaded.
pub(super) fn declared_for(component: &Component, policy: &[u8]) -> Result<Vec<Declared>> {
    let declared = blob::walk(policy).map_err(|why| {
        Error::new(
            Kind::DoesNotCompile,
            format!("the compiled policy is malformed: {why}"),
        )
        .with_remedy("reinstall apparmor_parser")
    })?;
    check(component, &declared)?;
    Ok(declared)
}

/// The compilation of one source.
struct Job<'j> {
    compiler: Compiler<'j>,
    component: &'j Component,
    source: &'j Source,
}

impl Job<'_> {
    /// The policy in the cache, if nothing has changed since it was compiled. No file is read. The
    /// version is not checked again: the kernel is still the same.
    fn unchanged(&self, build: &BuildInfo) -> Option<CompiledPolicy> {
        let key = CacheKey::parse(&build.key).filter(|_| build.is_current(self.source))?;
        let blob = self.compiler.cache().get(&key)?;
        let declared = self.declared(&blob).ok()?;
        Some(Checked::cached(blob, declared).with(build.clone(), Vec::new()))
    }

    fn compile(&self, parser: &Parser) -> Result<CompiledPolicy> {
        let cache = self.compiler.cache();
        for _ in 0..ATTEMPTS {
            let toolchain = self.compiler.toolchain(parser)?;
            let (text, fingerprint) = self.source.read()?;
            let mut dependencies = Dependencies::of(&text, &toolchain.search)?;
            let file = (self.source.path.clone(), fingerprint);
            dependencies.files.push(file);
            let content = dependencies.digest();
            let key = CacheKey::of(&content, &toolchain.digest, self.source.complain);
            if let Some(blob) = cache.get(&key) {
                match self.loadable(&blob) {
                    Ok(declared) => {
                        let build = self.build_info(&key, dependencies, toolchain, true);
                        return Ok(Checked::cached(blob, declared).with(build, text));
                    }
                    // Compiling it again would give the same policy.
                    Err(e) if e.kind() == Kind::Policy => return Err(e),
                    Err(e) => log::debug!("compiling again: {e}"),
                }
            }
            let checked = self.run_parser(parser, &text)?;
            // The key must be that of the files that were compiled, and of the parser that
            // compiled them.
            if Dependencies::of(&text, &toolchain.search)?.digest() != content
                || self.compiler.toolchain(parser)?.digest != toolchain.digest
            {
                continue;
            }
            let is_complete = dependencies.contains_all(&parser.includes(&text)?);
            if !is_complete {
                report::notice(&format!(
                    "cannot find all files that {} includes; it is compiled for every container",
                    self.source.path.display()
                ));
            } else if let Some(blob) = &checked.blob
                && let Err(e) = cache.put(&key, blob)
            {
                report::notice(&format!("cannot cache compiled policy: {e}"));
            }
            let build = self.build_info(&key, dependencies, toolchain, is_complete);
            return Ok(checked.with(build, text));
        }
        Err(Error::new(
            Kind::Internal,
            format!(
                "the source or the parser changed in each of {ATTEMPTS} attempts to compile it"
            ),
        )
        .with_remedy("try again"))
    }

    /// Compiles the text, and checks what the policy declares.
    fn run_parser(&self, parser: &Parser, text: &[u8]) -> Result<Checked> {
        let path = self.source.path.display();
        log::debug!("compiling {path} with {}", parser.program().display());
        let compiled = parser
            .compile(text, self.source.complain)
            .map_err(|e| Error::from(e).or_remedy(format!("run: oci-apparmor lint {path}")))?;
        if blob::compressed(&compiled.policy) {
            let names = parser.names(text)?;
            check_names(&self.component.name, names.iter().map(String::as_str))?;
            return Ok(Checked {
                blob: None,
                declared: Vec::new(),
                names,
                is_cached: false,
            });
        }
        let blob = blob::plain(&compiled.policy).unwrap_or(&compiled.policy);
        Ok(Checked::plain(blob.to_vec(), self.loadable(blob)?))
    }

    fn declared(&self, policy: &[u8]) -> Result<Vec<Declared>> {
        declared_for(self.component, policy)
    }

    /// What a policy declares, if it may be loaded and this kernel can load it.
    fn loadable(&self, policy: &[u8]) -> Result<Vec<Declared>> {
        let declared = self.declared(policy)?;
        self.compiler.check_version(&declared)?;
        Ok(declared)
    }

    fn build_info(
        &self,
        key: &CacheKey,
        dependencies: Dependencies,
        toolchain: Toolchain,
        is_complete: bool,
    ) -> BuildInfo {
        let mut files = dependencies.files.iter().chain(&toolchain.files);
        let settled = is_complete && files.all(|(_, file)| file.is_settled(dependencies.read));
        BuildInfo {
            source: self.source.path.clone(),
            complain: self.source.complain,
            content: hex(&dependencies.digest()),
            key: key.file_name(),
            files: dependencies.files,
            toolchain: toolchain.files,
            settled,
        }
    }
}
