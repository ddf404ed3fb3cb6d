//! The long way: from a source to a profile in the kernel that is what the source says.

use crate::apparmor::blob::Declared;
use crate::apparmor::loaded::Loaded;
use crate::apparmor::name::ProfileName;
use crate::apparmor::parser::Parser;
use crate::child::Limits;
use crate::error::{Error, Kind, Result, foreign};
use crate::profiles::compile::declared::unfit;
use crate::profiles::compile::policy::Policy;
use crate::profiles::remembered::{Built, Held, Remembered};
use crate::profiles::source::Source;
use crate::profiles::store::closing::Closed;
use crate::profiles::store::ensure::{Change, Store, View};
use crate::settings::OnDrift;
use crate::wanted::{Component, missing};

/// What the kernel holds of what a policy declares.
pub(crate) struct Present {
    /// What was found, the top-level profile first.
    held: Vec<Held>,
    /// Whether it is just that; `None` where the kernel keeps no hashes that would tell.
    pub(crate) same: Option<bool>,
    /// The children beyond it that allow something, by their names.
    pub(crate) undeclared: Vec<String>,
}

impl Store<'_> {
    /// Brings the kernel to what the source says, where that is allowed. The caller has the
    /// profile's lock alone.
    pub(crate) fn put_right(&self, component: &Component, view: View) -> Result<(Loaded, Change)> {
        let name = &component.name;
        let source = match (view.source.clone(), &view.loaded) {
            (None, Some(loaded)) => return Err(unfit(component, loaded.mode)),
            // The distribution's directories have other owners (apparmor.service, SPO): only what
            // is missing is loaded from them.
            (Some(source), Some(loaded)) if !source.ours => {
                return Err(unfit(component, loaded.mode).with_remedy(format!(
                    "reload it: apparmor_parser -r {}",
                    source.path.display()
                )));
            }
            (Some(source), _) => source,
            (None, None) => return Err(missing(name, "the container", self.settings)),
        };
        let may_reload = |why: &str| self.may_reload(&source, why);
        let (loaded, change) = self.load_from(component, &source, view, may_reload)?;
        match component.wanted.met_by(loaded.mode) {
            true => Ok((loaded, change)),
            false => Err(unfit(component, loaded.mode)),
        }
    }

    /// The compiler, within the limits of this store.
    pub(crate) fn parser(&self) -> Result<Parser> {
        Parser::find(
            self.settings.parser.as_ref().map(|p| p.as_path()),
            Limits {
                time: self.limit,
                ..self.settings.parser_limits()
            },
        )
    }

    /// Whether a profile that is there may be replaced by what its source says.
    pub(crate) fn may_reload(&self, source: &Source, why: &str) -> Result<()> {
        match self.settings.on_drift {
            OnDrift::Reload => Ok(()),
            OnDrift::Refuse => Err(Error::new(
                Kind::Policy,
                format!("the kernel holds another profile than it says: {why}"),
            )
            .with_remedy(format!(
                "on_drift is \"refuse\": look at {} and run: oci-apparmor load NAME",
                source.path.display()
            ))),
        }
    }

    /// Compiles and checks a source, and loads it unless the kernel has just that already.
    /// `may_replace` is asked, with the reason, where it has something else of that name.
    pub(crate) fn load_from(
        &self,
        component: &Component,
        source: &Source,
        view: View,
        may_replace: impl Fn(&str) -> Result<()>,
    ) -> Result<(Loaded, Change)> {
        let work = || {
            source.may_be_loaded(&component.name)?;
            let before = view.remembered.as_ref();
            let mut policy = Policy::of(component, source, self, before)?;
            self.add_closing(&component.name, source, &mut policy, &view)?;
            let change = self.necessary(component, &policy, &view, may_replace)?;
            if change != Change::Nothing {
                match &policy.blob {
                    Some(blob) => self.kernel.replace(blob)?,
                    None => self.parser()?.replace(&policy.text, source.complain)?,
                }
                for child in policy.closed.iter().flatten() {
                    self.close(child)?;
                }
            }
            Ok((self.read_back(component, policy)?, change))
        };
        work().map_err(|e: Error| e.about(&format!("{} cannot be loaded", source.path.display())))
    }

    /// What has to be done to have this policy in the kernel, if it may be done.
    fn necessary(
        &self,
        component: &Component,
        policy: &Policy,
        view: &View,
        may_replace: impl Fn(&str) -> Result<()>,
    ) -> Result<Change> {
        let Some(loaded) = &view.loaded else {
            return Ok(Change::Loaded);
        };
        let before = view.remembered.as_ref();
        let present = self.present(&component.name, policy, before, view.revision)?;
        let edited = || changed(before?.built.as_ref()?, &policy.built);
        let is_ours = |r: &Remembered| r.built.is_some() && r.is_held(self.kernel);
        let why = match present.same {
            Some(true) if present.undeclared.is_empty() => return Ok(Change::Nothing),
            Some(true) => Some(undeclared(&present.undeclared)),
            // Without hashes it cannot be told what others did meanwhile.
            None => edited(),
            Some(false) if before.is_some_and(is_ours) => edited(),
            Some(false) => Some(format!(
                "somebody else has loaded it, in {} mode",
                loaded.mode
            )),
        };
        match (why, present.same) {
            (Some(why), _) => {
                may_replace(&why)?;
                Ok(Change::Reloaded(why))
            }
            // It is made to be what it must be, even if it is.
            (None, None) => Ok(Change::Loaded),
            // Where nothing changed but the compiler, nobody has to be asked.
            (None, _) => Ok(Change::Reloaded("what compiles it has changed".to_owned())),
        }
    }

    /// Makes sure that the kernel holds a policy now, and remembers it.
    fn read_back(&self, component: &Component, policy: Policy) -> Result<Loaded> {
        let name = &component.name;
        // The revision first: whatever changes from here on is then noticed.
        let revision = self.kernel.revision();
        let present = self.present(name, &policy, None, revision)?;
        let held = present.held.iter().find(|held| held.name == name.as_str());
        let (Some(held), Some(true) | None, []) = (held, present.same, &*present.undeclared) else {
            return Err(Error::new(
                Kind::Internal,
                format!("the kernel accepted {name} but does not hold it"),
            )
            .with_remedy("see the kernel's log: dmesg | grep apparmor"));
        };
        let loaded = held.loaded();
        Remembered::new(name, present.held, revision, Some(policy.built)).keep();
        Ok(loaded)
    }

    /// Compares what a policy declares with what the kernel holds.
    pub(crate) fn present(
        &self,
        name: &ProfileName,
        policy: &Policy,
        remembered: Option<&Remembered>,
        revision: Option<u64>,
    ) -> Result<Present> {
        let mut present = Present {
            held: Vec::new(),
            same: Some(true),
            undeclared: Vec::new(),
        };
        let find = |name: &str| {
            let known = remembered
                .and_then(|r| r.directory(name))
                .and_then(|directory| self.kernel.at(directory, name));
            known.map_or_else(
                || self.kernel.named_at(name, revision),
                |loaded| Ok(Some(loaded)),
            )
        };
        for declared in &policy.declared {
            let loaded = find(&declared.name)?;
            present.add(&declared.name, loaded.as_ref(), |loaded| {
                is_what_is_declared(loaded, declared)
            });
        }
        if policy.declared.is_empty() {
            // Where names stand with their variables, those that are needed must do.
            let needed = [name.root().to_string(), name.to_string()];
            let names: &[String] = if policy.names_are_final() {
                &policy.names
            } else {
                &needed
            };
            for name in names {
                present.add(name, find(name)?.as_ref(), |_| None);
            }
        }
        if let Some(closed) = &policy.closed {
            self.add_children(&mut present, name, closed)?;
        }
        Ok(present)
    }

    /// Looks at the children beyond those that were found.
    fn add_children(
        &self,
        present: &mut Present,
        name: &ProfileName,
        closed: &[Closed],
    ) -> Result<()> {
        let root = name.root();
        let root = present.held.iter().find(|held| held.name == root.as_str());
        let Some(root) = root else { return Ok(()) };
        let mut children = self.kernel.children(&root.directory)?;
        children.retain(|child| present.held.iter().all(|held| held.directory != *child));
        for directory in children {
            // One that is gone by now is none.
            let Some(name) = self.kernel.name_at(&directory) else {
                continue;
            };
            let Some(loaded) = self.kernel.described(&directory) else {
                continue;
            };
            let closed = closed.iter().find(|closed| closed.name == name);
            let is_closed = closed.map(|closed| match &closed.declared {
                Some(declared) => is_what_is_declared(&loaded, declared),
                None => None,
            });
            match is_closed {
                None | Some(Some(false)) => present.undeclared.push(name),
                Some(is_closed) => {
                    present.add(&name, Some(&loaded), |_| is_closed);
                    if let Some(held) = present.held.last_mut() {
                        held.closed = true;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether a loaded profile is the one that a policy declares; `None` where that cannot be told.
fn is_what_is_declared(loaded: &Loaded, declared: &Declared) -> Option<bool> {
    match &loaded.hash {
        Some(hash) => Some(declared.is(hash)),
        None => (loaded.mode != declared.mode).then_some(false),
    }
}

impl Present {
    fn add(
        &mut self,
        name: &str,
        loaded: Option<&Loaded>,
        is_same: impl Fn(&Loaded) -> Option<bool>,
    ) {
        self.same = match (self.same, loaded.map_or(Some(false), is_same)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (None, _) | (_, None) => None,
            (Some(true), same) => same,
        };
        self.held
            .extend(loaded.map(|loaded| Held::of(name, loaded)));
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

/// What is wrong with children that a source does not declare.
pub(crate) fn undeclared(names: &[String]) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    format!(
        "its source does not declare what the kernel holds besides: {}",
        foreign(&names.join(", "))
    )
}
