//! `lint`: what would bite in these files, before a container is started under them.
//!
//! Nothing is loaded, and nothing needs to be root. Files are compiled as this host's parser would
//! for a container, from a copy, so that the lists that go by a file's name cannot hide anything.

use std::fmt::Write;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::lint::{self, Diagnostic, Input, Severity};
use crate::print;
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

/// Where the parser looks for `<abstractions/base>` and the like, unless its own configuration
/// says otherwise; then these are not looked at.
const BASE: &str = "/etc/apparmor.d";

/// What this kernel's AppArmor is able to enforce; the parser reads it.
const FEATURES: &str = "/sys/kernel/security/apparmor/features";

/// What is found in one file.
struct Report<'f> {
    file: &'f Path,
    found: Vec<Diagnostic>,
}

/// How files are looked at here.
struct Linter<'s> {
    settings: &'s Settings,
    parser: Parser,
    /// Where this kernel's features are not known: those that are assumed.
    features: Option<PathBuf>,
}

pub(crate) fn run(files: &[PathBuf], strict: bool, as_json: bool) -> Result<u8> {
    let settings = Settings::load()?;
    let known = Path::new(FEATURES).is_dir();
    let linter = Linter {
        parser: Parser::find(
            settings.parser.as_ref().map(|p| p.as_path()),
            settings.parser_limits(),
        )?,
        features: if known { None } else { newest_abi() },
        settings: &settings,
    };
    let note = (!known).then(|| unknown_features(linter.features.as_deref()));
    let reports: Vec<Report<'_>> = files
        .iter()
        .map(|file| Report {
            file,
            found: linter.look(file).unwrap_or_else(|finding| vec![finding]),
        })
        .collect();
    match as_json {
        true => print(&format!("{:#}\n", to_json(note.as_ref(), &reports)))?,
        false => print(&to_text(note.as_ref(), &reports))?,
    }
    let mut all = reports.iter().flat_map(|r| &r.found);
    let worst = all.clone().find(|f| f.severity == Severity::Error);
    let warned = all.any(|f| f.severity == Severity::Warning);
    Ok(match worst {
        Some(error) => error.kind.exit_code(),
        None if strict && warned => Kind::Policy.exit_code(),
        None => 0,
    })
}

impl Linter<'_> {
    /// All that is found in a file; the error is what keeps it from being looked at.
    fn look(&self, file: &Path) -> std::result::Result<Vec<Diagnostic>, Diagnostic> {
        if file.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            return Err(Diagnostic::note(
                "yaml",
                "it is not in AppArmor's language, and was not looked at",
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
                    "the parser compresses what it writes, so what the file declares was not \
                     looked at",
                    "look at: apparmor_parser -N FILE",
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

    /// What this node says about the file, whatever is in it.
    fn of_file(&self, path: &Path) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let mut directories = self.settings.profile_directories.iter();
        // Elsewhere it is a draft, and whose it is there does not matter.
        if directories.any(|d| path.parent() == Some(d.as_path()))
            && let Err(TrustError::Untrusted(why)) = trusted::read(path, MAX)
        {
            found.push(Diagnostic::error(
                "trust",
                Kind::Policy,
                format!("it is not trusted: {}", foreign(&why)),
                "profile sources must belong to root alone: chown root: and chmod go-w",
            ));
        }
        if disabled(path) {
            found.push(Diagnostic::error(
                "disabled",
                Kind::Policy,
                "its name is listed in /etc/apparmor.d/disable: this node does not load it",
                "remove it from there",
            ));
        }
        if forced_to_complain(path) {
            found.push(Diagnostic::warning(
                "force-complain",
                "its name is listed in /etc/apparmor.d/force-complain: it confines nothing on \
                 this node but for its deny rules",
                "remove it from there once the profile is complete",
            ));
        }
        found
    }

    /// Includes that somebody other than root can change: whoever can, writes the profile.
    ///
    /// One that does not exist is none of these: the parser refuses it, but for `if exists`.
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
            let remedy = "make it root's alone: chown root: and chmod go-w";
            found.push(Diagnostic::warning("include", text, remedy).at(line));
        }
        found
    }
}

/// Where an include leads.
fn resolve(target: &str) -> PathBuf {
    let inside = target.trim_matches(['<', '>', '"']);
    Path::new(BASE).join(inside)
}

/// Why a file, or what is in a directory, is not root's alone.
fn changeable(path: &Path) -> Option<String> {
    let refused = |refusal| match refusal {
        TrustError::Untrusted(why) => Some(why),
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

/// Reads a file that anybody may have written.
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
    // O_NONBLOCK: a FIFO must not hang us.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(|e| failed(&e))?;
    if !file.metadata().map_err(|e| failed(&e))?.is_file() {
        return Err(refused("it is not a regular file"));
    }
    let bytes = bounded::read(&file, MAX).map_err(|e| failed(&e))?;
    bytes.ok_or_else(|| refused("it is larger than 4 MiB, the most that is loaded"))
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

/// Without a kernel to ask, the parser compiles for one that knows nothing but files.
fn unknown_features(assumed: Option<&Path>) -> Diagnostic {
    let how = match assumed {
        Some(abi) => format!("files are looked at as if it had all of {}", abi.display()),
        None => "rules other than for files are taken to be unenforced".to_owned(),
    };
    Diagnostic::note(
        "kernel",
        format!("this kernel shows no AppArmor, so what it enforces is not known; {how}"),
        "run it again where the containers run",
    )
}

fn to_json(note: Option<&Diagnostic>, reports: &[Report<'_>]) -> Value {
    let one = |file: Option<&Path>, f: &Diagnostic| {
        json!({
            "file": file.map(Path::to_string_lossy),
            "line": f.line,
            "severity": f.severity,
            "rule": f.rule,
            "text": f.text,
            "remedy": f.remedy,
        })
    };
    let found = reports
        .iter()
        .flat_map(|r| r.found.iter().map(|f| one(Some(r.file), f)));
    note.map(|f| one(None, f))
        .into_iter()
        .chain(found)
        .collect()
}

fn to_text(note: Option<&Diagnostic>, reports: &[Report<'_>]) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if let Some(note) = note {
        let _ = writeln!(text, "note: {}; {}", note.text, note.remedy);
    }
    for report in reports {
        let file = foreign(&report.file.to_string_lossy());
        for f in &report.found {
            let line = f.line.map_or(String::new(), |n| format!("{n}:"));
            let severity = match f.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "note",
            };
            let _ = writeln!(text, "{file}:{line} {severity}: {}; {}", f.text, f.remedy);
        }
    }
    let count = |severity| {
        let all = reports.iter().flat_map(|r| &r.found);
        all.filter(|f| f.severity == severity).count()
    };
    let counted = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let _ = writeln!(
        text,
        "{}, {}, {}",
        counted(reports.len(), "file"),
        counted(count(Severity::Error), "error"),
        counted(count(Severity::Warning), "warning"),
    );
    text
}
