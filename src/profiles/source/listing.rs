//! Every profile that this node has a source of, for those who load or show all of them.
//!
//! A container names a profile, and its source is found by that name. This is the way back, which
//! the name of a file does not tell alone: the file `a.b` may hold the profile `a.b` or `a/b`. So
//! the text is asked, and where it does not say, the compiler. What is found here is believed
//! only to be tried: whoever loads it checks what the text compiles to.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::apparmor::name::ProfileName;
use crate::apparmor::parser::Parser;
use crate::apparmor::text::Text;
use crate::error::{Error, Kind, Result, quoted};
use crate::profiles::source::Source;
use crate::profiles::source::manifests::{Manifests, is_manifest};
use crate::settings::Settings;

/// The directory of the distribution, which `apparmor.service` loads at boot. Most of what it
/// holds confines programs of the host, and is none of our business.
pub const DISTRIBUTION: &str = "/etc/apparmor.d";

/// What apparmor_parser passes over when it loads a directory (`_aa_is_blacklisted()`,
/// libapparmor/src/private.c), besides files that begin with a dot.
const LEFT_OVER: [&str; 12] = [
    ".dpkg-new",
    ".dpkg-old",
    ".dpkg-dist",
    ".dpkg-bak",
    ".dpkg-remove",
    ".pacsave",
    ".pacnew",
    ".rpmnew",
    ".rpmsave",
    ".orig",
    ".rej",
    "~",
];

/// A profile with its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name of the profile.
    pub name: ProfileName,
    /// Its source.
    pub source: Source,
}

/// What was found in the directories of sources.
#[derive(Debug, Default)]
pub struct Listing {
    /// The profiles, each once, in the order of their names.
    pub profiles: Vec<Listed>,
    /// The files and directories that cannot be used, each with the reason.
    pub unusable: Vec<(PathBuf, Error)>,
}

/// All sources of this node, but for those of [`DISTRIBUTION`]: whoever wants one of them names
/// it. `default_profile`, `floor` and `sandbox_profile` are wanted, wherever their sources are.
#[must_use]
pub fn sources(settings: &Settings) -> Listing {
    let mut listing = Listing::default();
    let first = settings.profile_directories.first().map(|d| d.as_path());
    for directory in directories(settings) {
        match files(directory) {
            Ok(mut files) => {
                files.retain(|file| first != Some(directory) || !is_manifest(file));
                for file in files {
                    listing.add(&file, settings);
                }
            }
            Err(e) => listing.unusable.push((
                directory.to_owned(),
                Error::io("list", directory, &e)
                    .with_remedy("repair it, or correct profile_directories"),
            )),
        }
    }
    listing.add_manifests(settings);
    for name in named(settings) {
        listing.keep(&name.root(), settings);
    }
    listing.profiles.sort_by(|a, b| a.name.cmp(&b.name));
    listing
}

/// The directories whose sources are listed.
pub fn directories(settings: &Settings) -> impl Iterator<Item = &Path> {
    let all = settings.profile_directories.iter().map(|d| d.as_path());
    all.filter(|directory| *directory != Path::new(DISTRIBUTION))
}

/// The profiles that the settings name.
pub fn named(settings: &Settings) -> impl Iterator<Item = &ProfileName> {
    settings.profiles().map(|(_, name)| name)
}

impl Listing {
    fn add(&mut self, file: &Path, settings: &Settings) {
        let name = match name_in(file, settings) {
            Ok(name) => name,
            Err(e) => return self.unusable.push((file.to_owned(), e)),
        };
        self.keep(&name, settings);
    }

    /// Adds what manifests of the first directory stand for.
    fn add_manifests(&mut self, settings: &Settings) {
        let Some(directory) = settings.profile_directories.first() else {
            return;
        };
        match Manifests::of(directory.as_path()) {
            Ok(manifests) => {
                for name in manifests.names.keys() {
                    self.keep(name, settings);
                }
                for (path, why) in manifests.broken {
                    let why = Error::new(Kind::DoesNotCompile, why);
                    self.unusable.push((path, why));
                }
            }
            Err(e) => self.unusable.push((directory.as_path().to_owned(), e)),
        }
    }

    /// Adds a profile with the source that containers get it from: the first of its name.
    fn keep(&mut self, name: &ProfileName, settings: &Settings) {
        if self.profiles.iter().any(|known| known.name == *name) {
            return;
        }
        match Source::of(name, settings) {
            Ok(Some(source)) => self.profiles.push(Listed {
                name: name.clone(),
                source,
            }),
            Ok(None) => {}
            Err(e) => self.unusable.push((PathBuf::from(name.file_name()), e)),
        }
    }
}

/// The files of a directory that may be sources; none where there is no such directory.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if is_source(&entry.file_name()) && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a file of this name is one that apparmor_parser would load.
fn is_source(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    !name.starts_with('.') && name != "README" && !LEFT_OVER.iter().any(|end| name.ends_with(end))
}

/// The profile that a file holds, by its text; where that says nothing, by the file's name.
fn name_in(file: &Path, settings: &Settings) -> Result<ProfileName> {
    let file_name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
    // A text that cannot be read is tried under the file's name, and refused then.
    let text = Source::text(file).unwrap_or_default();
    let fits = |name: &String| {
        ProfileName::parse(name)
            .ok()
            .filter(|name| name.root() == *name && name.file_name() == file_name)
    };
    let found = Text::scan(&String::from_utf8_lossy(&text));
    let written = found.profiles.iter().flat_map(|p| found.expand(&p.name));
    let declared = || {
        // Without a dot in it, a file's name stands for one profile alone.
        let configured = settings.parser.as_ref().map(|p| p.as_path());
        let asked = file_name.contains('.') && !text.is_empty();
        asked
            .then(|| Parser::find(configured, settings.parser_limits()).ok())
            .flatten()
            .and_then(|parser| parser.names(&text).ok())
            .unwrap_or_default()
    };
    let name = written
        .into_iter()
        .find_map(|name| fits(&name))
        .or_else(|| declared().iter().find_map(fits));
    match name {
        Some(name) => Ok(name),
        None => ProfileName::parse(file_name).map_err(|_| {
            Error::new(
                Kind::Policy,
                format!("{} is not named as a profile", quoted(file_name)),
            )
            .with_remedy("name the file as its profile, with \"/\" as \".\"")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Node {
        base: tempfile::TempDir,
        settings: Settings,
    }

    impl Node {
        fn new() -> Self {
            let base = tempfile::Builder::new()
                .permissions(fs::Permissions::from_mode(0o755))
                .tempdir_in("/run")
                .unwrap();
            let at = base.path().display();
            let text = format!(
                "profile_directories = ['{at}/ours', '/etc/apparmor.d', '{at}/more', '{at}/none']\n\
                 parser = '{at}/none'\n"
            );
            let settings = Settings::parse(Path::new("c"), text.as_bytes()).unwrap();
            Self { base, settings }
        }

        fn put(&self, file: &str, text: &str) {
            let path = self.base.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        }

        fn names(&self) -> Vec<String> {
            let listing = sources(&self.settings);
            listing
                .profiles
                .iter()
                .map(|l| l.name.to_string())
                .collect()
        }
    }

    #[test]
    fn the_name_is_the_one_in_the_text() {
        let node = Node::new();
        node.put("ours/a.b", "# profile a.b {\nprofile a/b { }\n");
        node.put(
            "ours/c.d",
            "abi <abi/3.0>,\nprofile \"c.d\" flags=(complain) { }\n",
        );
        node.put("ours/usr.bin.x", "/usr/bin/x { }\n");
        node.put("ours/v.w", "@{v}=v\nprofile @{v}/w { profile v.w { } }\n");
        node.put("ours/e.f", "profile other { }\n");
        node.put("ours/plain", "");
        assert_eq!(
            node.names(),
            ["/usr/bin/x", "a/b", "c.d", "e.f", "plain", "v/w"]
        );
    }

    #[test]
    fn the_first_directory_wins_and_what_is_left_over_is_passed_over() {
        let node = Node::new();
        node.put("ours/p", "profile p { }\n");
        node.put("more/p", "profile p { }\n");
        node.put("more/q", "profile q { }\n");
        for name in [
            ".hidden",
            "README",
            "p~",
            "p.dpkg-old",
            "p.orig",
            "p.rpmsave",
        ] {
            node.put(&format!("ours/{name}"), "profile p { }\n");
        }
        fs::create_dir(node.base.path().join("ours/local")).unwrap();
        let listing = sources(&node.settings);
        let found: Vec<_> = listing
            .profiles
            .iter()
            .map(|l| (l.name.as_str(), l.source.ours))
            .collect();
        assert_eq!(found, [("p", true), ("q", false)]);
        assert!(listing.unusable.is_empty());
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        let node = Node::new();
        node.put("ours/good", "profile good { }\n");
        node.put("ours/not a name", "profile good { }\n");
        node.put("more", "no directory");
        let listing = sources(&node.settings);
        assert_eq!(listing.profiles.len(), 1);
        let said: Vec<_> = listing
            .unusable
            .iter()
            .map(|(_, e)| e.to_string())
            .collect();
        assert!(said[0].contains("is not named as a profile"), "{said:?}");
        assert!(said[1].contains("cannot list"), "{said:?}");
        assert_eq!(said.len(), 2);
    }
}
