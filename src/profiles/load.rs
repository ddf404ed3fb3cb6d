//! The long way: from a source to a profile in the kernel that is what the source says.

use crate::apparmor::kernel::Kernel;
use crate::apparmor::loaded::Loaded;
use crate::apparmor::name::ProfileName;
use crate::apparmor::parser::Parser;
use crate::child::Limits;
use crate::decision::{self, Component};
use crate::error::{Error, Kind, Result};
use crate::profiles::declared::unfit;
use crate::profiles::ensure::{Change, Store};
use crate::profiles::policy::Policy;
use crate::profiles::remembered::{Built, Held, Remembered};
use crate::profiles::source::Source;
use crate::settings::OnDrift;

/// What the kernel holds of what a policy declares.
struct Present {
    /// What was found, the top-level profile first.
    held: Vec<Held>,
    /// Whether it is just that; `None` where the kernel keeps no hashes that would tell.
    same: Option<bool>,
}

impl Store<'_> {
    /// Brings the kernel to what the source says, where that is allowed. The caller has the
    /// profile's lock alone.
    pub(super) fn put_right(&self, component: &Component) -> Result<(Loaded, Change)> {
        let name = &component.name;
        let source = match (Source::of(name, self.settings)?, self.loaded(name)?) {
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
            (None, None) => return Err(decision::nowhere(name, "the container", self.settings)),
        };
        let (loaded, change) = self
            .load_from(component, &source, |why| self.may_reload(&source, why))
            .map_err(|e| e.within(&format!("{} cannot be loaded", source.path.display())))?;
        match component.wanted.met_by(loaded.mode) {
            true => Ok((loaded, change)),
            false => Err(unfit(component, loaded.mode)),
        }
    }

    /// Whether a profile that is there may be replaced by what its source says.
    fn may_reload(&self, source: &Source, why: &str) -> Result<()> {
        match self.settings.on_drift {
            OnDrift::Reload => Ok(()),
            OnDrift::Refuse => Err(Error::new(
                Kind::Policy,
                format!("the kernel holds another profile than it says: {why}"),
            )
            .hint(format!(
                "on_drift is \"refuse\": look at {} and run: oci-apparmor load NAME",
                source.path.display()
            ))),
        }
    }

    /// Compiles and checks a source, and loads it unless the kernel has just that already.
    /// `may_replace` is asked, with the reason, where it has something else of that name.
    pub(super) fn load_from(
        &self,
        component: &Component,
        source: &Source,
        may_replace: impl Fn(&str) -> Result<()>,
    ) -> Result<(Loaded, Change)> {
        let name = &component.name;
        source.may_be_loaded(name)?;
        let parser = Parser::find(
            self.settings.parser.as_ref().map(|p| p.as_path()),
            Limits {
                time: self.limit,
                ..self.settings.parser_limits()
            },
        )?;
        let policy = Policy::of(component, source, self.settings, &parser, &self.kernel)?;
        let before = Remembered::of(name);
        let change = match self.look(&name.root(), before.as_ref())? {
            None => Change::Loaded,
            Some(loaded) => match self.present(name, &policy)?.same {
                Some(true) => Change::Nothing,
                Some(false) => {
                    let why = match before.filter(|r| r.is_held(&self.kernel)) {
                        Some(Remembered {
                            built: Some(built), ..
                        }) => changed(&built, &policy.built),
                        _ => Some(format!(
                            "somebody else has loaded it, in {} mode",
                            loaded.mode
                        )),
                    };
                    // Where nobody changed anything but the compiler, nobody has to be asked.
                    if let Some(why) = &why {
                        may_replace(why)?;
                    }
                    Change::Reloaded(why.unwrap_or_else(|| "the compiler has changed".to_owned()))
                }
                // It cannot be told, so it is made to be so.
                None => Change::Loaded,
            },
        };
        if change != Change::Nothing {
            match &policy.blob {
                Some(blob) => self.kernel.replace(blob)?,
                None => parser.replace(&policy.text, source.complain)?,
            }
        }
        // The revision first: whatever changes from here on is then noticed.
        let revision = self.kernel.revision();
        let present = self.present(name, &policy)?;
        let loaded = self.loaded(name)?;
        let (Some(loaded), Some(true) | None) = (loaded, present.same) else {
            return Err(Error::new(
                Kind::Internal,
                format!("the kernel accepted {name} but does not hold it"),
            )
            .hint("see the kernel's log: dmesg | grep apparmor"));
        };
        Remembered::new(name, present.held, revision, Some(policy.built)).keep();
        Ok((loaded, change))
    }

    /// Compares what a policy declares with what the kernel holds.
    fn present(&self, name: &ProfileName, policy: &Policy) -> Result<Present> {
        let mut present = Present {
            held: Vec::new(),
            same: Some(true),
        };
        for declared in &policy.declared {
            present.add(&self.kernel, &declared.name, |loaded| match &loaded.hash {
                Some(hash) => Some(declared.is(hash)),
                None => (loaded.mode != declared.mode).then_some(false),
            })?;
        }
        if policy.declared.is_empty() {
            present.add(&self.kernel, name.root().as_str(), |_| None)?;
        }
        Ok(present)
    }
}

impl Present {
    fn add(
        &mut self,
        kernel: &Kernel,
        name: &str,
        is_same: impl Fn(&Loaded) -> Option<bool>,
    ) -> Result<()> {
        let loaded = kernel.named(name)?;
        self.same = match (self.same, loaded.as_ref().map_or(Some(false), is_same)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (None, _) | (_, None) => None,
            (Some(true), same) => same,
        };
        self.held
            .extend(loaded.map(|loaded| Held::of(name, &loaded)));
        Ok(())
    }
}

/// What has changed between two makings of a profile; nothing where only the compiler did.
fn changed(then: &Built, now: &Built) -> Option<String> {
    if then.source != now.source {
        return Some(format!("it was loaded from {}", then.source.display()));
    }
    match (then.complain, now.complain) {
        (true, false) => return Some("it complains, and is to enforce now".to_owned()),
        (false, true) => return Some("it enforces, and is to complain now".to_owned()),
        _ => {}
    }
    (then.content != now.content).then(|| "the file has changed since it was loaded".to_owned())
}
