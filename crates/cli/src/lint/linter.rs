//! How `lint` checks one file: it is compiled from a copy, and judged with this node's lists.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::lint::{self, Diagnostic, Input};
use crate::report::remedies::ROOT_ONLY;
use oci_apparmor::apparmor::blob;
use oci_apparmor::apparmor::parser::Parser;
use oci_apparmor::apparmor::text::{Include, ProfileText};
use oci_apparmor::error::{Error, Kind, Result, foreign};
use oci_apparmor::fs::bounded;
use oci_apparmor::fs::trusted::{self, TrustError};
use oci_apparmor::profiles::{disabled, forced_to_complain};
use oci_apparmor::settings::Settings;

/// The largest source, as for those that are loaded.
const MAX: u64 = 4 << 20;

/// Where the parser looks for `<abstractions/base>` and the like, unless its configuration says
/// otherwise; includes from elsewhere are not checked.
const BASE: &str = "/etc/apparmor.d";

/// What this kernel's AppArmor can enforce; the parser reads it.
const FEATURES: &str = "/sys/kernel/security/apparmor/features";

/// How files are checked here.
pub(crate) struct Linter<'s> {
    settings: &'s Settings,
    parser: Parser,
    /// Whether this kernel says what it can enforce.
    known: bool,
    /// Where it does not: the features that are assumed.
    features: Option<PathBuf>,
}

impl<'s> Linter<'s> {
    /// Checks with this host's parser, for what its kernel enforces.
    pub(crate) fn new(settings: &'s Settings) -> Result<Self> {
        let known = Path::new(FEATURES).is_dir();
        Ok(Self {
            settings,
            parser: Parser::find(
                settings.parser.as_ref().map(|p| p.as_path()),
                settings.parser_limits(),
            )?,
            known,
            features: if known { None } else { newest_abi() },
        })
    }

    /// What is to be said about this kernel.
    pub(crate) fn note(&self) -> Option<Diagnostic> {
        (!self.known).then(|| unknown_features(self.features.as_deref()))
    }

    /// All that is found in a file; the error is what prevents it from being checked.
    pub(crate) fn look(&self, file: &Path) -> std::result::Result<Vec<Diagnostic>, Diagnostic> {
        if file.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            return Err(Diagnostic::note(
                "yaml",
                "it was not checked: it is not in AppArmor's language",
                "name files with profiles",
            ));
        }
        let bytes = read(file).map_err(|e| lint::of_error("read", &e))?;
        let source = String::from_utf8_lossy(&bytes);
        let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let mut found = self.of_file(&path);
        let complain = forced_to_complain(&path);
        let compiled = match self.parser.lint(&bytes, complain, self.features.as_deref()) {
            Ok(compiled) => compiled,
            Err(e) => {
                found.push(lint::does_not_compile(&e.into()));
                return Ok(found);
            }
        };
        let declared = match blob::plain(&compiled.policy) {
            None if !compiled.policy.is_empty() => {
                found.push(Diagnostic::note(
                    "compressed",
                    "the parser compresses its output, so what the file declares was not checked",
                    "see what it declares: apparmor_parser -N FILE",
                ));
                None
            }
            policy => Some(blob::walk(policy.unwrap_or_default()).map_err(|why| {
                let e = Error::new(
                    Kind::DoesNotCompile,
                    format!("the compiled policy is malformed: {why}"),
                );
                lint::of_error("compile", &e.with_remedy("reinstall apparmor_parser"))
            })?),
        };
        let flattened = self.parser.flattened(&bytes);
        let flattened = flattened.map_err(|e| lint::does_not_compile(&e.into()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        found.extend(lint::diagnose(&Input {
            file_name: &name,
            source: &source,
            flattened: &String::from_utf8_lossy(&flattened),
            declared: declared.as_deref(),
            warnings: &compiled.warnings,
            forced_to_complain: complain,
        }));
        found.extend(self.of_includes(&bytes, &ProfileText::scan(&source).includes));
        found.sort_by_key(|f| f.line);
        Ok(found)
    }

    /// What this node's lists and the file's owner mean for it, whatever its text is.
    fn of_file(&self, path: &Path) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let mut directories = self.settings.profile_directories.iter();
        // Elsewhere it is a draft, and its owner does not matter.
        if directories.any(|d| path.parent() == Some(d.as_path()))
            && let Err(TrustError::Untrusted(why)) = trusted::read(path, MAX)
        {
            found.push(Diagnostic::error(
                "trust",
                Kind::Policy,
                format!("it is not trusted: {}", foreign(&why.to_string())),
                why.remedy().unwrap_or(ROOT_ONLY),
            ));
        }
        if disabled(path) {
            found.push(Diagnostic::error(
                "disabled",
                Kind::Policy,
                "its name is listed in /etc/apparmor.d/disable, so this node does not load it",
                &unlisted("disable", path),
            ));
        }
        if forced_to_complain(path) {
            found.push(Diagnostic::warning(
                "force-complain",
                "its name is listed in /etc/apparmor.d/force-complain, so on this node it refuses \
                 nothing except by its deny rules",
                &format!(
                    "once the profile is complete, {}",
                    unlisted("force-complain", path)
                ),
            ));
        }
        found
    }

    /// Includes that a user other than root can change, and with them the profile.
    ///
    /// An include that does not exist is no problem here: the parser refuses it, unless it says
    /// `if exists`.
    fn of_includes(&self, source: &[u8], own: &[Include]) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for target in self.parser.includes(source).unwrap_or_default() {
            let Some(why) = changeable(&resolve(&target)) else {
                continue;
            };
            let line = own.iter().find(|i| i.target == target).map(|i| i.line);
            let text = format!(
                "the include {} is not trusted: {}",
                foreign(&target),
                foreign(&why)
            );
            found.push(Diagnostic::warning("include", text, ROOT_ONLY).at(line));
        }
        found
    }
}

/// The command that takes a file off one of AppArmor's lists.
fn unlisted(list: &str, path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("run: rm {BASE}/{list}/{}", foreign(&name))
}

/// The path of an include.
fn resolve(target: &str) -> PathBuf {
    let inside = target.trim_matches(['<', '>', '"']);
    Path::new(BASE).join(inside)
}

/// Why users other than root can change a file, or the files of a directory.
fn changeable(path: &Path) -> Option<String> {
    let refused = |refusal| match refusal {
        TrustError::Untrusted(why) => Some(why.to_string()),
        TrustError::Missing | TrustError::Io(_) => None,
    };
    if !path.is_dir() {
        return trusted::read(path, MAX).err().and_then(refused);
    }
    if let Err(refusal) = trusted::directory(path) {
        return refused(refusal);
    }
    let entries = fs::read_dir(path).ok()?.flatten().map(|entry| entry.path());
    entries
        .filter(|entry| entry.is_file())
        .find_map(|entry| trusted::read(&entry, MAX).err().and_then(refused))
}

/// Reads a file of any owner.
fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |e: &std::io::Error| {
        let kind = match e.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::Internal,
        };
        let why = format!("it cannot be read: {}", oci_apparmor::error::reason(e));
        Error::new(kind, why).with_remedy("name a file with a profile")
    };
    let refused = |why: &str| {
        Error::new(Kind::Policy, why.to_owned()).with_remedy("name a file with a profile")
    };
    // O_NONBLOCK: opening a FIFO must not block.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(|e| failed(&e))?;
    if !file.metadata().map_err(|e| failed(&e))?.is_file() {
        return Err(refused("it is not a regular file"));
    }
    let bytes = bounded::read(&file, MAX).map_err(|e| failed(&e))?;
    bytes.ok_or_else(|| refused("it is larger than 4 MiB, the limit for profiles"))
}

/// The newest abi that this host has a description of: `3.0`, `4.0`, ….
fn newest_abi() -> Option<PathBuf> {
    let version = |path: &Path| -> Option<(u32, u32)> {
        let (major, minor) = path.file_name()?.to_str()?.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let entries = fs::read_dir(Path::new(BASE).join("abi")).ok()?.flatten();
    entries
        .filter_map(|entry| Some((version(&entry.path())?, entry.path())))
        .max()
        .map(|(_, path)| path)
}

/// Without AppArmor in the kernel, the parser compiles for one that only knows rules for files.
fn unknown_features(assumed: Option<&Path>) -> Diagnostic {
    let how = match assumed {
        Some(abi) => format!("files are checked as if it had all of {}", abi.display()),
        None => "only rules for files are taken to be enforced".to_owned(),
    };
    Diagnostic::note(
        "kernel",
        format!("this kernel has no AppArmor, so what it enforces is not known; {how}"),
        "run lint where the containers run",
    )
}
