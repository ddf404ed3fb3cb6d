//! The mode of a profile on this node, whatever its source says: AppArmor's own list of profiles
//! that are to complain, `force-complain/`, which aa-complain(8) and the parser use as well.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use crate::apparmor::kernel;
use crate::apparmor::loaded::{Loaded, Mode};
use crate::apparmor::name::ProfileName;
use crate::apparmor::text::Text;
use crate::error::{Error, Kind, Result};
use crate::fs::trusted::{self, Refusal};
use crate::profiles::source::{FORCE_COMPLAIN, Source};
use crate::profiles::store::ensure::{Change, Store, Word};
use crate::wanted::missing;

/// What became of a change of mode.
#[derive(Debug)]
pub struct ModeSet {
    /// What became of the link that remembers it.
    pub linked: Linked,
    /// What the kernel holds now; nothing where it takes no policy, with the reason.
    pub loaded: std::result::Result<(Loaded, Change), Error>,
    /// How many `deny` rules the profile has, with what it includes, if it is to complain.
    pub denials: usize,
}

/// What became of a link in `force-complain/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linked {
    /// It was as it must be.
    Kept,
    /// It was made.
    Made(PathBuf),
    /// It was removed; it led to the second path.
    Removed(PathBuf, PathBuf),
}

impl Store<'_> {
    /// Sets a profile to complain or to enforce on this node, and loads it so.
    ///
    /// # Errors
    /// Where that is not possible; the link is then what it was.
    pub fn set_mode(&self, name: &ProfileName, complain: bool) -> Result<ModeSet> {
        kernel::may_load().map_err(|why| {
            Error::new(Kind::Policy, format!("the mode cannot be changed: {why}"))
                .with_remedy("run it as root on the host")
        })?;
        if *name != name.root() {
            return Err(Error::new(
                Kind::Policy,
                format!("{name} is a part of the profile {}", name.root()),
            )
            .with_remedy("set the mode of the whole"));
        }
        let source = Source::of(name, self.settings)?
            .ok_or_else(|| missing(name, "the command line", self.settings))?;
        source.may_be_loaded(name)?;
        let mut wanted = source;
        wanted.complain = complain;
        let off = self.takes_none();
        // Before anything is changed: what cannot be compiled, or does not get that mode, is left.
        let denials = match off {
            Some(_) => 0,
            None => self.try_mode(name, &wanted)?,
        };

        let link = Path::new(FORCE_COMPLAIN).join(name.file_name());
        let linked = match complain {
            true => make(&link, &wanted.path)?,
            false => remove(&link)?,
        };
        let loaded = match off {
            Some(off) => Err(off),
            None => match self.load_in_mode(name, complain) {
                Ok(done) => Ok(done),
                Err(e) => {
                    undo(&linked);
                    return Err(e);
                }
            },
        };
        Ok(ModeSet {
            linked,
            loaded,
            denials,
        })
    }

    /// Whether a source gets the mode that it is to have; and how many `deny` rules it has.
    fn try_mode(&self, name: &ProfileName, source: &Source) -> Result<usize> {
        let path = source.path.display();
        let policy = self
            .policy(name, source)
            .map_err(|e| e.about(&format!("{path} cannot be loaded")))?;
        let mode = policy.declared.iter().find(|d| d.name == name.as_str());
        if let Some(declared) = mode
            && !source.complain
            && !declared.mode.enforces()
        {
            return Err(Error::new(
                Kind::Policy,
                format!("{path} itself says flags=({})", declared.mode),
            )
            .with_remedy("take that out of the file"));
        }
        if !source.complain {
            return Ok(0);
        }
        let flattened = self
            .parser()?
            .flattened(&source.read()?.0)
            .unwrap_or_default();
        let text = Text::scan(&String::from_utf8_lossy(&flattened));
        Ok(text.rules.iter().filter(|rule| rule.deny).count())
    }

    fn load_in_mode(&self, name: &ProfileName, complain: bool) -> Result<(Loaded, Change)> {
        let (loaded, change) = self.load(name, Word::Person)?;
        let is_so = match complain {
            true => loaded.mode == Mode::Complain,
            false => loaded.mode.enforces(),
        };
        match is_so {
            true => Ok((loaded, change)),
            false => Err(Error::new(
                Kind::Internal,
                format!("the kernel holds {name} in {} mode", loaded.mode),
            )
            .with_remedy("is somebody else loading it? see: dmesg | grep apparmor")),
        }
    }
}

/// Makes the link, unless there is one, or a file, which says the same.
fn make(link: &Path, source: &Path) -> Result<Linked> {
    let directory = Path::new(FORCE_COMPLAIN);
    let failed = |e: &io::Error| {
        Error::io("make the link", link, e)
            .with_remedy("it remembers the mode; make its place writable")
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .map_err(|e| failed(&e))?;
    trusted::directory(directory).map_err(|refusal: Refusal| {
        refusal
            .about(directory, Kind::Policy)
            .with_remedy("make it root's alone: chown root: and chmod go-w")
    })?;
    match symlink(source, link) {
        Ok(()) => Ok(Linked::Made(link.to_owned())),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(Linked::Kept),
        Err(e) => Err(failed(&e)),
    }
}

/// Removes the link, if there is one. A file may be somebody's copy of the profile.
fn remove(link: &Path) -> Result<Linked> {
    let failed = |e: &io::Error| {
        Error::io("remove the link", link, e)
            .with_remedy("it remembers the mode; make its place writable")
    };
    match fs::read_link(link) {
        Ok(target) => {
            fs::remove_file(link).map_err(|e| failed(&e))?;
            Ok(Linked::Removed(link.to_owned(), target))
        }
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Linked::Kept)
        }
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Err(Error::new(
            Kind::Policy,
            format!("{} is not a link, and is left alone", link.display()),
        )
        .with_remedy("remove it yourself: while it is there, the profile complains")),
        Err(e) => Err(failed(&e)),
    }
}

/// Puts a link back as it was; best effort, on the way to an error.
fn undo(linked: &Linked) {
    let _ = match linked {
        Linked::Kept => Ok(()),
        Linked::Made(link) => fs::remove_file(link),
        Linked::Removed(link, target) => symlink(target, link),
    };
}
