//! The compiler of this node, with the settings and the kernel that it works for.

use std::path::Path;
use std::time::Duration;

use crate::apparmor::blob::Declared;
use crate::apparmor::kernel::Kernel;
use crate::apparmor::parser::Parser;
use crate::child::Limits;
use crate::error::{Error, Kind, Result};
use crate::profiles::compile::cache::Cache;
use crate::profiles::compile::toolchain::Toolchain;
use crate::settings::Settings;

/// The compiler of this node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compiler<'s> {
    pub(super) settings: &'s Settings,
    pub(super) kernel: &'s Kernel,
    /// How long one run of the parser may take.
    time_limit: Duration,
}

impl<'s> Compiler<'s> {
    pub(crate) fn new(settings: &'s Settings, kernel: &'s Kernel, time_limit: Duration) -> Self {
        Self {
            settings,
            kernel,
            time_limit,
        }
    }

    /// The parser, within the limits of the settings.
    ///
    /// # Errors
    /// As for [`Parser::find`].
    pub(crate) fn parser(&self) -> Result<Parser> {
        let limits = Limits {
            time: self.time_limit,
            ..self.settings.parser_limits()
        };
        Parser::find(self.configured(), limits)
    }

    pub(super) fn toolchain(&self, parser: &Parser) -> Result<Toolchain> {
        Toolchain::of(parser, self.configured(), self.kernel)
    }

    pub(super) fn cache(&self) -> Cache<'s> {
        Cache::at(self.settings.cache_directory.as_path())
    }

    /// Checks that this kernel can load policy with these profiles, and enforces all of their
    /// rules.
    pub(super) fn check_version(&self, declared: &[Declared]) -> Result<()> {
        // If the parser does not know the kernel's features, it writes version 5, which every
        // kernel accepts and which has no network, mount, signal and ptrace rules.
        let unsuitable = declared
            .iter()
            .find(|d| d.version <= 5 || !self.kernel.reads_policy_version(d.version));
        match unsuitable {
            None => Ok(()),
            Some(profile) => Err(Error::new(
                Kind::DoesNotCompile,
                format!(
                    "the compiled policy has version {}, which is not this kernel's",
                    profile.version
                ),
            )
            .with_remedy(
                "check the features options in /etc/apparmor/parser.conf, or reinstall \
                 apparmor_parser",
            )),
        }
    }

    fn configured(&self) -> Option<&'s Path> {
        self.settings.parser.as_ref().map(|p| p.as_path())
    }
}
