//! Ensuring that a profile is in the kernel: look, else build, check, load, and look again.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::apparmor::blob::{self, Declared};
use crate::apparmor::kernel::{self, Kernel, Loaded, Mode};
use crate::apparmor::name::ProfileName;
use crate::apparmor::parser::Parser;
use crate::decision::{self, Component, Decision, Facts, ProfileFacts};
use crate::error::{Error, Kind, Result, quoted};
use crate::profiles::source::{self, Source};
use crate::request::Request;
use crate::settings::Settings;
use crate::{rundir, trusted};

/// The profiles of this node: in the kernel, and on disk.
#[derive(Debug)]
pub struct Store<'s> {
    settings: &'s Settings,
    kernel: Kernel,
    limit: Duration,
}

/// A profile that is in the kernel as it was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensured {
    /// The profile.
    pub component: Component,
    /// What the kernel holds.
    pub loaded: Loaded,
    /// Whether it had to be loaded.
    pub was_missing: bool,
}

impl<'s> Store<'s> {
    /// The store of a node with these settings.
    #[must_use]
    pub fn new(settings: &'s Settings) -> Self {
        Self {
            settings,
            kernel: Kernel::default(),
            limit: settings.parser_limit(),
        }
    }

    /// The same store, with less time for compiling one profile.
    #[must_use]
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The kernel.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Decides about a request, with the facts of this node.
    ///
    /// # Errors
    /// Those of [`decision::decide`], and of looking at the kernel.
    pub fn decide(&self, request: &Request) -> Result<Decision> {
        decision::decide(request, self.settings, &self.facts(request)?)
    }

    /// What is known about the profiles that the decision may come to.
    ///
    /// # Errors
    /// Where the kernel's tree cannot be read.
    pub fn facts(&self, request: &Request) -> Result<Facts> {
        let names = decision::candidates(request, self.settings);
        let enforcement = self.kernel.enforcement();
        let mut profiles = BTreeMap::new();
        for name in names {
            let source = source::find(&name, self.settings);
            let facts = ProfileFacts {
                loaded: self.kernel.loaded(&name)?.map(|l| l.mode),
                node_complains: source.as_deref().is_some_and(source::forced_to_complain),
                source,
            };
            profiles.insert(name, facts);
        }
        Ok(Facts {
            enforcement,
            profiles,
        })
    }

    /// Makes sure that the profile is in the kernel, in a mode that will do.
    ///
    /// # Errors
    /// Where it is not and cannot be brought there; nothing may then be started under it.
    pub fn ensure(&self, component: &Component) -> Result<Ensured> {
        let ensured = |loaded, was_missing| Ensured {
            component: component.clone(),
            loaded,
            was_missing,
        };
        if let Some(loaded) = self.right(component)? {
            return Ok(ensured(loaded, false));
        }
        if let Err(why) = kernel::may_load() {
            return Err(self.cannot_load(component, &why)?);
        }
        let _lock = lock(&component.name, self.limit)?;
        // Somebody else may have done it while we waited.
        if let Some(loaded) = self.right(component)? {
            return Ok(ensured(loaded, false));
        }
        let present = self.kernel.loaded(&component.name)?;
        let source = match source::load(&component.name, self.settings) {
            Err(e) if e.kind() == Kind::NotFound => None,
            other => Some(other?),
        };
        let source = match (source, present) {
            (None, Some(loaded)) => return Err(unfit(component, loaded.mode)),
            // The distribution's directories have other owners (apparmor.service, SPO): only what
            // is missing is loaded from them.
            (Some(source), Some(loaded)) if !source.ours => {
                return Err(unfit(component, loaded.mode).hint(format!(
                    "reload it: apparmor_parser -r {}",
                    source.path.display()
                )));
            }
            (Some(source), _) => source,
            (None, None) => {
                return Err(decision::nowhere(
                    &component.name,
                    "the container",
                    self.settings,
                ));
            }
        };
        self.load(component, &source)
            .map_err(|e| e.within(&format!("{} cannot be loaded", source.path.display())))?;
        match self.kernel.loaded(&component.name)? {
            Some(loaded) if component.wanted.met_by(loaded.mode) => Ok(ensured(loaded, true)),
            Some(loaded) => Err(unfit(component, loaded.mode)),
            None => Err(Error::new(
                Kind::Internal,
                format!(
                    "the kernel accepted {} but does not hold it",
                    component.name
                ),
            )
            .hint("see the kernel's log: dmesg | grep apparmor")),
        }
    }

    /// The profile, if the kernel has it in a mode that will do.
    fn right(&self, component: &Component) -> Result<Option<Loaded>> {
        let loaded = self.kernel.loaded(&component.name)?;
        Ok(loaded.filter(|l| component.wanted.met_by(l.mode)))
    }

    /// Compiles, checks and loads one source.
    fn load(&self, component: &Component, source: &Source) -> Result<()> {
        let name = &component.name;
        let parser = Parser::find(
            self.settings.parser.as_ref().map(|p| p.as_path()),
            self.limit,
        )?;
        log::debug!(
            "compiling {} with {}",
            source.path.display(),
            parser.program().display()
        );
        let compiled = parser.compile(&source.text, source.complain).map_err(|e| {
            e.hint(format!(
                "try: apparmor_parser -Q -K {}",
                source.path.display()
            ))
        })?;
        // AppArmor 5 may compress what it writes; then only its own loader understands it.
        if !compiled.is_empty() && !blob::is_plain(&compiled) {
            let names = parser.names(&source.text)?;
            only(name, names.iter().map(String::as_str))?;
            return parser.replace(&source.text, source.complain);
        }
        let declared = blob::walk(&compiled).map_err(|why| {
            Error::new(
                Kind::DoesNotCompile,
                format!("the compiled policy is malformed: {why}"),
            )
            .hint("reinstall apparmor_parser")
        })?;
        check(component, &declared)?;
        self.kernel.replace(&compiled)
    }

    /// The error for a process that may not load what is missing.
    fn cannot_load(&self, component: &Component, why: &str) -> Result<Error> {
        let name = &component.name;
        let state = match self.kernel.loaded(name)? {
            Some(loaded) => format!("is loaded in {} mode", loaded.mode),
            None => "is not loaded".to_owned(),
        };
        let source = source::find(name, self.settings);
        let command = match source {
            Some(path) => format!("apparmor_parser -r {}", path.display()),
            None => format!("apparmor_parser -r <the source of {name}>"),
        };
        Ok(Error::new(
            Kind::Policy,
            format!("the profile {name} {state}, and {why}"),
        )
        .hint(format!("an administrator must run: {command}")))
    }
}

/// Checks what a compiled policy declares: the wanted profile, its children, and nothing else.
fn check(component: &Component, declared: &[Declared]) -> Result<()> {
    let name = &component.name;
    only(name, declared.iter().map(|d| d.name.as_str()))?;
    let refused = |why: String| {
        Err(Error::new(Kind::Policy, why).hint("give the profile a file and a name of its own"))
    };
    for profile in declared {
        if let Some(namespace) = &profile.namespace {
            return refused(format!(
                "it loads into the policy namespace {}",
                quoted(namespace)
            ));
        }
        if let Some(other) = &profile.rename {
            return refused(format!(
                "it would replace the profile {} as well",
                quoted(other)
            ));
        }
        if profile.attaches && profile.name == name.root().as_str() {
            return refused(format!(
                "the profile {} attaches to programs by path and would confine the host's too",
                profile.name
            ));
        }
        // Before it is loaded: where it is loaded already, others run under it, and would be
        // relaxed with it.
        if profile.name == name.as_str() && !component.wanted.met_by(profile.mode) {
            return Err(unfit(component, profile.mode));
        }
    }
    Ok(())
}

/// Refuses a source that declares another profile than `wanted` and its children, or one twice:
/// two of one name in one blob can make the kernel hang.
fn only<'a>(wanted: &ProfileName, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let refused = |why: String| {
        Err(Error::new(Kind::Policy, why).hint("a file holds one profile, named as the file"))
    };
    let root = wanted.root();
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if !root.covers(name) {
            return refused(format!(
                "it declares the profile {}, not only {root}",
                quoted(name)
            ));
        }
        if seen.contains(&name) {
            return refused(format!("it declares the profile {name} twice"));
        }
        seen.push(name);
    }
    if seen.is_empty() {
        return refused("it declares no profile".to_owned());
    }
    if !seen.contains(&root.as_str()) || !seen.contains(&wanted.as_str()) {
        return refused(format!("it does not declare the profile {wanted}"));
    }
    Ok(())
}

fn unfit(component: &Component, mode: Mode) -> Error {
    decision::not_enforcing(&component.name, mode, "the container")
}

/// Waits for whoever works on the same profile; a dead holder's lock is free at once, and one
/// that hangs (each has the time of two runs of the compiler) does not hang the node.
fn lock(name: &ProfileName, limit: Duration) -> Result<File> {
    let directory = rundir::path()?.join("locks");
    trusted::own_directory(&directory, 0o700)?;
    let path = directory.join(digest(name.root().as_str()));
    let failed = |e: &std::io::Error| Error::io("lock", &path, e);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .map_err(|e| failed(&e))?;
    let deadline = Instant::now().checked_add(limit.saturating_mul(2));
    let mut pause = Duration::from_millis(1);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(e)) => return Err(failed(&e)),
            Err(TryLockError::WouldBlock) if deadline.is_none_or(|d| Instant::now() > d) => {
                return Err(
                    failed(&std::io::Error::other("another process keeps loading it"))
                        .hint(format!("find it: fuser {}", path.display())),
                );
            }
            Err(TryLockError::WouldBlock) => {
                std::thread::sleep(pause);
                pause = pause.saturating_mul(2).min(Duration::from_millis(20));
            }
        }
    }
}

/// The first half of a SHA-256, in hexadecimal: a file name for any text.
#[must_use]
pub(crate) fn digest(text: impl AsRef<[u8]>) -> String {
    let hash = Sha256::digest(text.as_ref());
    hash.iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Wanted;

    fn declared(names: &[&str]) -> Vec<Declared> {
        names
            .iter()
            .map(|name| Declared {
                name: (*name).to_owned(),
                mode: Mode::Enforce,
                namespace: None,
                rename: None,
                attaches: false,
            })
            .collect()
    }

    fn wanted(name: &str) -> Component {
        let name = ProfileName::parse(name).unwrap();
        Component {
            name,
            wanted: Wanted::Enforcing,
        }
    }

    fn checked(names: &[&str]) -> bool {
        check(&wanted("p"), &declared(names)).is_ok()
    }

    #[test]
    fn only_the_profile_and_its_children_may_be_declared() {
        assert!(checked(&["p"]) && checked(&["p", "p//a", "p//a//b"]));
        for names in [
            &[][..],
            &["q"],
            &["p", "q"],
            &["p//a"],
            &["p", "p"],
            &["p", "pp"],
            &["p", "p/a"],
        ] {
            assert!(!checked(names), "{names:?}");
        }
        assert!(check(&wanted("p//a"), &declared(&["p", "p//a"])).is_ok());
        assert!(check(&wanted("p//a"), &declared(&["p"])).is_err());
    }

    #[test]
    fn attachments_renames_namespaces_and_weak_modes_are_refused() {
        let bad: [fn(&mut Declared); 5] = [
            |d| d.attaches = true,
            |d| d.rename = Some("docker-default".into()),
            |d| d.namespace = Some("ns".into()),
            |d| d.mode = Mode::Unconfined,
            |d| d.mode = Mode::Complain,
        ];
        for change in bad {
            let mut profiles = declared(&["p"]);
            change(&mut profiles[0]);
            assert!(check(&wanted("p"), &profiles).is_err());
        }
        let mut profiles = declared(&["p"]);
        profiles[0].mode = Mode::Complain;
        let any = Component {
            wanted: Wanted::Any,
            ..wanted("p")
        };
        assert!(check(&any, &profiles).is_ok());
    }
}
