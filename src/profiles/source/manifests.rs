//! The profiles that `AppArmorProfile` manifests of the first directory stand for.
//!
//! One file may hold many, under any name, so what is in them is remembered in `/run`: it holds
//! as long as neither the directory nor a manifest has changed, by stat(2). To read YAML is the
//! command line's business (`oci-apparmor render`); it is called once for each file that changed,
//! so that neither the wrapper nor the hook has to know how.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::apparmor::name::ProfileName;
use crate::child::{self, Limits};
use crate::error::{Error, Kind, Result, foreign, quoted};
use crate::fs::fingerprint::Stamp;
use crate::fs::trusted;
use crate::profiles::digest;
use crate::profiles::lock::Locks;
use crate::profiles::remembered;
use crate::report;

/// The largest file, as for other sources.
const MAX: u64 = 4 << 20;

/// The version of the format; another one counts as nothing remembered.
const VERSION: u32 = 1;

/// What one reading of a manifest may use.
const LIMITS: Limits = Limits {
    time: Duration::from_secs(10),
    memory: 1 << 30,
};

/// How the names of manifests end; JSON is YAML.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// The name under which all of this is remembered.
const REMEMBERED: &str = "manifests";

/// Whether a file of this name holds manifests, and not text of AppArmor's language.
pub(crate) fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str());
    extension.is_some_and(|e| EXTENSIONS.contains(&e))
}

/// One profile that a manifest stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The file.
    pub path: PathBuf,
    /// That file's stamp when it was read.
    pub stamp: Stamp,
    /// `mode: Complain`.
    pub complain: bool,
    /// `state: Disabled`.
    pub disabled: bool,
    /// The text, or why there is none.
    pub text: std::result::Result<String, String>,
}

/// All that manifests of a directory stand for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifests {
    version: u32,
    directory: PathBuf,
    stamp: Stamp,
    files: Vec<(PathBuf, Stamp)>,
    /// Whether these stamps prove that nothing changed.
    settled: bool,
    /// The profiles, each with the file that it is in.
    pub names: BTreeMap<ProfileName, PathBuf>,
    /// Files that cannot be read as a whole, and why.
    pub broken: BTreeMap<PathBuf, String>,
    /// Whether a profile stands in two files: what is kept of it is not what either says.
    clash: bool,
    /// What was just read; otherwise each profile has a file of its own, since one container
    /// needs one of them.
    #[serde(skip)]
    entries: BTreeMap<ProfileName, Entry>,
}

/// What the command line prints of one manifest (docs/formats.md, "render --json").
#[derive(Deserialize)]
struct Printed {
    place: String,
    name: Option<String>,
    complain: Option<bool>,
    disabled: Option<bool>,
    text: Option<String>,
    refused: Option<String>,
}

impl Manifests {
    /// What the manifests of `directory` stand for at this moment.
    ///
    /// # Errors
    /// Where the directory cannot be looked at, or another process keeps reading it.
    pub(crate) fn of(directory: &Path) -> Result<Self> {
        let failed = |e: &std::io::Error| Error::io("look at", directory, e);
        let stamp = Stamp::at(directory).map_err(|e| failed(&e))?;
        let nothing = Self {
            version: VERSION,
            directory: directory.to_owned(),
            settled: stamp.is_settled(SystemTime::now()),
            stamp: stamp.clone(),
            files: Vec::new(),
            names: BTreeMap::new(),
            entries: BTreeMap::new(),
            broken: BTreeMap::new(),
            clash: false,
        };
        if stamp == Stamp::ABSENT {
            return Ok(nothing);
        }
        let known = |stamp: &Stamp| {
            remembered::read_file::<Self>(REMEMBERED).filter(|m| m.is_current(directory, stamp))
        };
        if let Some(known) = known(&stamp) {
            return Ok(known);
        }
        let files = manifests_in(directory).map_err(|e| failed(&e))?;
        if files.is_empty() {
            if nothing.settled {
                remembered::write_file(REMEMBERED, &nothing);
            }
            return Ok(nothing);
        }
        // Many containers may start at once, and one reading is enough for all.
        let _alone = Locks::named(REMEMBERED, LIMITS.time.saturating_mul(3))?.alone()?;
        if let Some(known) = known(&stamp) {
            return Ok(known);
        }
        Ok(nothing.read(files))
    }

    fn is_current(&self, directory: &Path, stamp: &Stamp) -> bool {
        self.version == VERSION
            && self.settled
            && self.directory == directory
            && self.stamp == *stamp
            && self
                .files
                .iter()
                .all(|(path, stamp)| Stamp::at(path).is_ok_and(|now| now == *stamp))
    }

    /// Reads all files, but for those that are as they were; and remembers it.
    fn read(mut self, files: Vec<PathBuf>) -> Self {
        let read = SystemTime::now();
        let before = remembered::read_file::<Self>(REMEMBERED)
            .filter(|m| m.version == VERSION && m.directory == self.directory);
        for path in files {
            let (stamp, found) = match before.as_ref().and_then(|b| b.unchanged(&path)) {
                Some(unchanged) => unchanged,
                None => match Self::render(&path) {
                    Ok(rendered) => rendered,
                    Err(e) => {
                        report::notice(&format!("{} cannot be read: {e}", path.display()));
                        let stamp = Stamp::at(&path).unwrap_or(Stamp::ABSENT);
                        let old = before.as_ref().map(|b| b.refused(&path, &stamp, &e));
                        self.broken.insert(path.clone(), e.to_string());
                        (stamp, old.unwrap_or_default())
                    }
                },
            };
            self.settled &= stamp.is_settled(read);
            self.files.push((path, stamp));
            for (name, entry) in found {
                self.add(name, entry);
            }
        }
        for (name, entry) in &self.entries {
            self.names.insert(name.clone(), entry.path.clone());
            remembered::write_file(&file_of(name), entry);
        }
        for (name, _) in before.into_iter().flat_map(|b| b.names) {
            if !self.names.contains_key(&name) {
                remembered::remove_file(&file_of(&name));
            }
        }
        remembered::write_file(REMEMBERED, &self);
        self
    }

    /// The profile of this name, if a manifest stands for it.
    pub(crate) fn entry(&self, name: &ProfileName) -> Option<Entry> {
        let path = self.names.get(name)?;
        if let Some(entry) = self.entries.get(name) {
            return Some(entry.clone());
        }
        let (_, stamp) = self.files.iter().find(|(known, _)| known == path)?;
        let kept = remembered::read_file::<Entry>(&file_of(name));
        match kept.filter(|entry| entry.path == *path && entry.stamp == *stamp) {
            Some(entry) => Some(entry),
            // Somebody emptied /run; what is in the file is all that counts. That there should be
            // one is known, so it must not look as if there were none.
            None => {
                let why = match Self::render(path) {
                    Ok((_, found)) => match found.into_iter().find(|(found, _)| found == name) {
                        Some((_, entry)) => return Some(entry),
                        None => "it is not in there any more".to_owned(),
                    },
                    Err(e) => e.to_string(),
                };
                Some(Entry {
                    path: path.clone(),
                    stamp: stamp.clone(),
                    complain: false,
                    disabled: false,
                    text: Err(why),
                })
            }
        }
    }

    fn add(&mut self, name: ProfileName, entry: Entry) {
        if let Some(other) = self.entries.get_mut(&name) {
            let both = format!(
                "{} and {} define it",
                other.path.display(),
                entry.path.display()
            );
            other.text = Err(both);
            self.clash = true;
            return;
        }
        self.entries.insert(name, entry);
    }

    /// What an earlier reading found in a file that is still what it was.
    fn unchanged(&self, path: &Path) -> Option<(Stamp, Vec<(ProfileName, Entry)>)> {
        let (_, stamp) = self.files.iter().find(|(known, _)| known == path)?;
        let same = Stamp::at(path).is_ok_and(|now| now == *stamp);
        if !(self.settled && same) || self.clash || self.broken.contains_key(path) {
            return None;
        }
        Some((stamp.clone(), self.from(path)))
    }

    fn from(&self, path: &Path) -> Vec<(ProfileName, Entry)> {
        let of_it = self.names.iter().filter(|(_, of)| *of == path);
        of_it
            .filter_map(|(name, _)| Some((name.clone(), self.entry(name)?)))
            .collect()
    }

    /// What was in a file that cannot be read any more: nobody may run under what it once said.
    fn refused(&self, path: &Path, stamp: &Stamp, why: &Error) -> Vec<(ProfileName, Entry)> {
        let mut old = self.from(path);
        for (_, entry) in &mut old {
            entry.text = Err(why.to_string());
            entry.stamp = stamp.clone();
        }
        old
    }

    /// Reads one file.
    fn render(path: &Path) -> Result<(Stamp, Vec<(ProfileName, Entry)>)> {
        let (bytes, meta) = trusted::read_with(path, MAX).map_err(|refusal| {
            refusal
                .about(path, Kind::Policy)
                .with_remedy("profile sources must belong to root alone")
        })?;
        let stamp = Stamp::of(&meta);
        let output = child::run(&program()?, &["render", "--json", "-"], &bytes, LIMITS)?;
        let printed: Vec<Printed> = serde_json::from_slice(&output.stdout)
            .map_err(|e| Error::new(Kind::Internal, format!("oci-apparmor render: {e}")))?;
        let mut found = Vec::new();
        for manifest in printed {
            let name = manifest.name.as_deref().map(ProfileName::parse);
            let Some(Ok(name)) = name else {
                let why = manifest.refused.unwrap_or_default();
                report::notice(&format!(
                    "{}, {}: {}",
                    path.display(),
                    manifest.place,
                    foreign(&why)
                ));
                continue;
            };
            let text = match (manifest.text, manifest.refused) {
                (Some(text), None) => Ok(text),
                (_, why) => Err(format!("{}: {}", manifest.place, why.unwrap_or_default())),
            };
            let entry = Entry {
                path: path.to_owned(),
                stamp: stamp.clone(),
                complain: manifest.complain.unwrap_or_default(),
                disabled: manifest.disabled.unwrap_or_default(),
                text,
            };
            found.push((name, entry));
        }
        Ok((stamp, found))
    }
}

/// Where the profile of a manifest is kept.
fn file_of(name: &ProfileName) -> String {
    format!("manifest-{}", digest(name.as_str()))
}

/// The files of a directory that hold manifests, sorted.
fn manifests_in(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_hidden = path
            .file_name()
            .is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        if is_manifest(&path) && !is_hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The command line, which is installed along with us. Whoever could put another program there
/// could put one in our own place.
fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(|e| {
        Error::new(
            Kind::Internal,
            format!("cannot tell where this program is: {e}"),
        )
    })?;
    let directory = own.parent().unwrap_or(Path::new("/"));
    let beside = directory.join("oci-apparmor");
    // The hook is in PREFIX/libexec/oci-apparmor, the command line in PREFIX/bin.
    let above = directory.join("../../bin/oci-apparmor");
    [&beside, &above]
        .into_iter()
        .find(|path| path.is_file())
        .cloned()
        .ok_or_else(|| {
            let why = format!(
                "the program oci-apparmor, which reads manifests, is not in {}",
                quoted(&directory.to_string_lossy())
            );
            Error::new(Kind::NotFound, why).with_remedy("install it there")
        })
}
