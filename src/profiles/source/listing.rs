//! All profiles that this node has sources for, for commands that load or list them.
//!
//! A container names a profile, and the name leads to its file. The other way is ambiguous: the
//! file `a.b` may hold the profile `a.b` or `a/b`. So the text is read, and if it does not tell,
//! the parser is asked. A wrong answer is harmless: what the source compiles to is checked before
//! it is loaded.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::apparmor::name::ProfileName;
use crate::apparmor::parser::Parser;
use crate::apparmor::text::ProfileText;
use crate::error::{Error, Kind, Result, quoted};
use crate::profiles::source::directory::{DISTRIBUTION, files};
use crate::profiles::source::lookup::Source;
use crate::profiles::source::manifest::is_manifest;
use crate::profiles::source::manifests::Manifests;
use crate::profiles::source::text_file;
use crate::settings::{self, Settings};

/// A profile with its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name of the profile.
    pub name: ProfileName,
    /// Its source.
    pub source: Source,
}

/// The sources in the profile directories.
#[derive(Debug, Default)]
pub struct Listing {
    /// The profiles, sorted by name, without duplicates.
    pub profiles: Vec<Listed>,
    /// Files and directories that cannot be used, each with the reason.
    pub unusable: Vec<(PathBuf, Error)>,
}

/// All sources of this node, except those in [`DISTRIBUTION`]. The profiles that the settings
/// name (`default_profile`, `floor`, `sandbox_profile`) are included wherever their sources are.
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
                    .with_remedy(format!("correct profile_directories in {}", settings::PATH)),
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

    /// Adds the profiles in the manifests of the first directory.
    fn add_manifests(&mut self, settings: &Settings) {
        let Some(directory) = settings.profile_directories.first() else {
            return;
        };
        match Manifests::of(directory.as_path(), None) {
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

    /// Adds a profile, with the source that containers would get: the first of its name.
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

/// The name of the profile in a file: from its text, or else from the name of the file.
fn name_in(file: &Path, settings: &Settings) -> Result<ProfileName> {
    let file_name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
    // A file that cannot be read is listed by its name, and loading it reports the error.
    let text = text_file::read(file).map_or_else(|_| Vec::new(), |(text, _)| text);
    let fits = |name: &String| {
        ProfileName::parse(name)
            .ok()
            .filter(|name| name.root() == *name && name.file_name() == file_name)
    };
    let found = ProfileText::scan(&String::from_utf8_lossy(&text));
    let written = found.profiles.iter().flat_map(|p| found.expand(&p.name));
    let declared = || {
        // A file name without a dot stands for one profile only.
        let configured = settings.parser.as_ref().map(|p| p.as_path());
        let asks = file_name.contains('.') && !text.is_empty();
        asks.then(|| Parser::find(configured, settings.parser_limits()).ok())
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
                format!("the file name {} is not a profile name", quoted(file_name)),
            )
            .with_remedy("name the file after its profile, with \".\" for each \"/\"")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    struct Fixture {
        base: tempfile::TempDir,
        settings: Settings,
    }

    impl Fixture {
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
        let node = Fixture::new();
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
    fn the_first_directory_wins_and_backups_are_skipped() {
        let node = Fixture::new();
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
        // What cannot be looked at may be the file of the profile.
        let first = node.base.path().join("ours/q");
        std::os::unix::fs::symlink("q", &first).unwrap();
        let refused = Source::of(&ProfileName::parse("q").unwrap(), &node.settings).unwrap_err();
        assert!(refused.to_string().contains("ours/q"), "{refused}");
        let refused: Vec<_> = sources(&node.settings).unusable;
        assert!(refused.iter().all(|(file, _)| file == Path::new("q")) && !refused.is_empty());
    }

    #[test]
    fn unusable_files_are_reported() {
        let node = Fixture::new();
        node.put("ours/good", "profile good { }\n");
        node.put("ours/not a name", "profile good { }\n");
        node.put("more", "no directory");
        let ours = node.base.path().join("ours");
        for (name, target) in [("c.loop", "c.loop"), ("nowhere", "none")] {
            std::os::unix::fs::symlink(target, ours.join(name)).unwrap();
        }
        let listing = sources(&node.settings);
        assert_eq!(listing.profiles.len(), 1, "{:?}", listing.profiles);
        let said: Vec<_> = listing
            .unusable
            .iter()
            .map(|(_, e)| e.to_string())
            .collect();
        assert!(said[0].contains("c.loop"), "{said:?}");
        assert!(said[1].contains("is not a profile name"), "{said:?}");
        assert!(said[2].contains("cannot list"), "{said:?}");
        assert_eq!(said.len(), 3);
    }
}
