//! Setting the mode of a profile on this node, whatever its source says.

use std::path::Path;

use crate::apparmor::kernel;
use crate::apparmor::loaded::{Loaded, Mode};
use crate::apparmor::name::ProfileName;
use crate::apparmor::text::ProfileText;
use crate::error::{Error, Kind, Result};
use crate::profiles::source::{FORCE_COMPLAIN, Source};
use crate::profiles::store::action::Action;
use crate::profiles::store::complain_link::{self, LinkChange};
use crate::profiles::store::load::Reload;
use crate::profiles::store::view::Store;
use crate::wanted::missing;

/// The result of setting a mode.
#[derive(Debug)]
pub struct ModeChange {
    /// What was done with the link that stores the mode.
    pub link: LinkChange,
    /// The loaded profile; or, if no profile can be loaded into this kernel, why.
    pub loaded: std::result::Result<(Loaded, Action), Error>,
    /// In complain mode, the number of `deny` rules of the profile and its includes: they still
    /// deny.
    pub deny_rules: usize,
}

impl Store<'_> {
    /// Sets a profile to complain or to enforce mode on this node, and loads it.
    ///
    /// # Errors
    /// If that is not possible. The link is then as it was.
    pub fn set_mode(&self, name: &ProfileName, complain: bool) -> Result<ModeChange> {
        kernel::may_load().map_err(|why| {
            Error::new(Kind::Policy, format!("cannot change the mode: {why}"))
                .with_remedy("run this command as root on the host")
        })?;
        let root = name.root();
        if *name != root {
            let mode = if complain { "complain" } else { "enforce" };
            return Err(Error::new(
                Kind::Policy,
                format!("{name} is a child of the profile {root} and has no mode of its own"),
            )
            .with_remedy(format!("run: oci-apparmor mode {root} {mode}")));
        }
        let source = Source::of(name, self.settings)?
            .ok_or_else(|| missing(name, "the command line", self.settings))?;
        source.may_be_loaded(name)?;
        let mut wanted = source;
        wanted.complain = complain;
        let unavailable = self.unavailable();
        // Compiled before the link is changed, so that a failure changes nothing.
        let deny_rules = match unavailable {
            Some(_) => 0,
            None => self.try_mode(name, &wanted)?,
        };

        let link = Path::new(FORCE_COMPLAIN).join(name.file_name());
        let link = match complain {
            true => complain_link::create(&link, &wanted.path)?,
            false => complain_link::remove(&link)?,
        };
        let loaded = match unavailable {
            Some(why) => Err(why),
            None => match self.load_in_mode(name, complain) {
                Ok(done) => Ok(done),
                Err(e) => {
                    complain_link::undo(&link);
                    return Err(e);
                }
            },
        };
        Ok(ModeChange {
            link,
            loaded,
            deny_rules,
        })
    }

    /// Checks that the source compiles to the wanted mode. Returns the number of its `deny` rules
    /// if that is complain mode.
    fn try_mode(&self, name: &ProfileName, source: &Source) -> Result<usize> {
        let path = source.path.display();
        let policy = self
            .policy(name, source)
            .map_err(|e| e.about(&format!("{path} cannot be loaded")))?;
        let declared = policy.declared.iter().find(|d| d.name == name.as_str());
        if let Some(declared) = declared
            && !source.complain
            && !declared.mode.enforces()
        {
            let flags = format!("flags=({})", declared.mode);
            return Err(
                Error::new(Kind::Policy, format!("{path} itself sets {flags}"))
                    .with_remedy(format!("remove {flags} from that file")),
            );
        }
        if !source.complain {
            return Ok(0);
        }
        let flattened = self
            .compiler()
            .parser()?
            .flattened(&source.read()?.0)
            .unwrap_or_default();
        let text = ProfileText::scan(&String::from_utf8_lossy(&flattened));
        Ok(text.rules.iter().filter(|rule| rule.deny).count())
    }

    fn load_in_mode(&self, name: &ProfileName, complain: bool) -> Result<(Loaded, Action)> {
        let (loaded, action) = self.load(name, Reload::Always)?;
        let is_wanted = match complain {
            true => loaded.mode == Mode::Complain,
            false => loaded.mode.enforces(),
        };
        match is_wanted {
            true => Ok((loaded, action)),
            false => Err(Error::new(
                Kind::Internal,
                format!(
                    "{name} is loaded in {} mode; another program may have loaded it",
                    loaded.mode
                ),
            )
            .with_remedy("run: dmesg | grep apparmor")),
        }
    }
}
