//! A profile that is loaded under another name, only to be asked: what would this text allow?

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::process;

use crate::guard::{Guard, Restore, remove_unused};
use crate::policy::access::LoadedPolicy;
use oci_apparmor::apparmor::blob::{self, Declared};
use oci_apparmor::apparmor::kernel::Kernel;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::apparmor::parser::Parser;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::node::Node;

/// A profile under a throw-away name, which is removed at the end. It attaches to no program, so no
/// process has it, and its removal leaves nothing unconfined.
#[derive(Debug)]
pub(crate) struct Trial<'n> {
    node: &'n Node,
    /// The name that it is loaded under.
    loaded: ProfileName,
    /// What the loaded policy declares.
    declared: Vec<Declared>,
    /// Removes it at the end, also if this process is killed.
    _guard: Guard,
}

impl<'n> Trial<'n> {
    /// Compiles the text, and loads its profile `name`, with the children, under another name. Other
    /// profiles of the text are ignored.
    ///
    /// The compiled policy gets the other name, not the text: so variables like `@{profile_name}`
    /// keep their value.
    ///
    /// # Errors
    /// [`Kind::DoesNotCompile`] if the text does not compile or has no such profile, and what
    /// [`Kernel::replace`] reports.
    pub(crate) fn load(node: &'n Node, text: &[u8], name: &ProfileName) -> Result<Self> {
        Self::load_as(node, text, |old, trial| {
            name.covers(old)
                .then(|| old.replacen(name.as_str(), trial.as_str(), 1))
        })
    }

    /// The same, with a choice of the profiles and their names: `rename` gets the name of a profile
    /// and that of the trial.
    ///
    /// # Errors
    /// As for [`Trial::load`].
    pub(super) fn load_as(
        node: &'n Node,
        text: &[u8],
        mut rename: impl FnMut(&str, &ProfileName) -> Option<String>,
    ) -> Result<Self> {
        // By the number of this process, what it leaves when it is killed can be found. The random
        // number cannot be guessed, so no container can name the profile as its own.
        let id = process::id();
        let random = RandomState::new().hash_one(id);
        let loaded = ProfileName::parse(&format!("{}{id}.{random:x}", ProfileName::TRIAL))?;
        let settings = &node.settings;
        let configured = settings.parser.as_ref().map(|parser| parser.as_path());
        let parser = Parser::find(configured, settings.parser_limits())?;
        let compiled = parser.compile(text, false).map_err(Error::from)?;
        let unusable = |why: &str, remedy: &str| {
            let why = format!("the compiled profile cannot be tried: {why}");
            Error::new(Kind::DoesNotCompile, why).with_remedy(remedy)
        };
        let policy = blob::plain(&compiled.policy).ok_or_else(|| {
            unusable(
                "it is compressed",
                "use an apparmor_parser that can write plain policy",
            )
        })?;
        let renamed = blob::renamed(policy, |old| rename(old, &loaded))
            .and_then(|renamed| Ok((blob::walk(&renamed)?, renamed)));
        let (declared, renamed) =
            renamed.map_err(|why| unusable(&why, "run: oci-apparmor lint FILE"))?;
        remove_left(&node.kernel);
        let guard = Guard::arm(&Restore::RemoveProfile(loaded.clone()))?;
        node.kernel.replace(&renamed)?;
        Ok(Self {
            node,
            loaded,
            declared,
            _guard: guard,
        })
    }

    /// The loaded profile, or its child if `child` is `//NAME`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the text has no such child.
    pub(crate) fn policy(&self, child: &str) -> Result<LoadedPolicy<'n>> {
        let name = format!("{}{child}", self.loaded);
        let declared = self.declared.iter().find(|declared| declared.name == name);
        let declared = declared.ok_or_else(|| {
            let why = format!("the profile has no child {child}");
            Error::new(Kind::NotFound, why)
        })?;
        LoadedPolicy::of_trial(self.node, declared.clone())
    }
}

/// Removes what is left of earlier trials, if both the process and its guard were killed.
pub(crate) fn remove_left(kernel: &Kernel) {
    for name in left_behind(kernel) {
        if let Err(e) = remove_unused(kernel, &name) {
            log::warn!("{name} is still loaded, from a trial that was killed: {e}");
        }
    }
}

/// What is left of trials of processes that have ended.
pub(crate) fn left_behind(kernel: &Kernel) -> BTreeSet<ProfileName> {
    let left = |name: &str| {
        let number = name.strip_prefix(ProfileName::TRIAL)?.split('.').next()?;
        let pid: u32 = number.parse().ok()?;
        let path = format!("/proc/{pid}");
        (!std::path::Path::new(&path).exists()).then(|| ProfileName::parse(name).ok())?
    };
    // Without privileges, nothing is listed.
    let all = kernel.all().unwrap_or_default();
    all.iter().filter_map(|(name, _)| left(name)).collect()
}
