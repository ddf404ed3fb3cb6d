//! What compiled policy depends on besides the text: the parser, its configuration, and the
//! features of the kernel.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::apparmor::kernel::{self, Kernel};
use crate::apparmor::parser::{self, Parser};
use crate::error::{Error, Kind, Result};
use crate::fs::fingerprint::Fingerprint;
use crate::fs::trusted::{self, TrustError};
use crate::profiles::compile::dependencies::SearchPath;
use crate::profiles::state;

/// The configuration of the parser and its base directory for includes (`apparmor_parser(8)`,
/// `--config-file`, `--base`).
const CONFIGURATION: &str = "/etc/apparmor/parser.conf";
const BASE: &str = "/etc/apparmor.d";

/// The largest file that the configuration refers to: a list of kernel features.
const MAX: u64 = 1 << 20;

/// The parser of this host, and everything that affects its output.
#[derive(Debug)]
pub(super) struct Toolchain {
    /// Where the parser looks for includes.
    pub search: SearchPath,
    /// The files of the parser and its configuration.
    pub files: Vec<(PathBuf, Fingerprint)>,
    /// A digest of these files and of the kernel's features.
    pub digest: [u8; 32],
}

impl Toolchain {
    /// The toolchain with this parser; `configured` is the path in the settings.
    pub(super) fn of(parser: &Parser, configured: Option<&Path>, kernel: &Kernel) -> Result<Self> {
        let mut digest = Sha256::new();
        let mut files = Vec::new();
        let fingerprint =
            |path: &Path| Fingerprint::at(path).map_err(|e| Error::io("look at", path, &e));

        for path in parser::candidates(configured) {
            files.push((path.to_owned(), fingerprint(path)?));
            // What comes after it is not looked at.
            if trusted::program(path).is_ok_and(|program| program == parser.program()) {
                break;
            }
        }
        digest.update(once("compiler", parser.program(), program)?);

        let configuration = Path::new(CONFIGURATION);
        let mut text = Vec::new();
        match trusted::read_with_metadata(configuration, MAX) {
            Ok((bytes, meta)) => {
                files.push((configuration.to_owned(), Fingerprint::of(&meta)));
                text = bytes;
            }
            Err(TrustError::Missing) => {
                files.push((configuration.to_owned(), Fingerprint::ABSENT));
            }
            Err(e) => {
                return Err(e.about(configuration, Kind::Policy).or_remedy(format!(
                    "run: chown root: {CONFIGURATION} && chmod go-w {CONFIGURATION}"
                )));
            }
        }
        digest.update(Sha256::digest(&text));
        let text = String::from_utf8_lossy(&text);
        for (_, value) in options(&text) {
            let path = PathBuf::from(&value);
            if !path.is_absolute() {
                continue;
            }
            if let Ok((bytes, meta)) = trusted::read_with_metadata(&path, MAX) {
                files.push((path, Fingerprint::of(&meta)));
                digest.update(Sha256::digest(&bytes));
            } else {
                files.push((path.clone(), fingerprint(&path)?));
            }
        }
        digest.update(once("features", &kernel.features(), kernel::digest)?);
        Ok(Self {
            search: SearchPath {
                directories: search(&text),
            },
            files,
            digest: digest.finalize().into(),
        })
    }
}

/// Where the parser of this host looks for `<…>` includes.
///
/// # Errors
/// [`Kind::Policy`] if its configuration is not trusted.
pub fn include_directories() -> Result<Vec<PathBuf>> {
    let path = Path::new(CONFIGURATION);
    match trusted::read(path, MAX) {
        Ok(text) => Ok(search(&String::from_utf8_lossy(&text))),
        Err(TrustError::Missing) => Ok(search("")),
        Err(e) => Err(e.about(path, Kind::Policy)),
    }
}

/// The directories for includes in a configuration, in the parser's order.
fn search(configuration: &str) -> Vec<PathBuf> {
    let mut directories = vec![PathBuf::from(BASE)];
    for (option, value) in options(configuration) {
        let path = PathBuf::from(value);
        match option.as_str() {
            "base" if path.is_absolute() => directories = vec![path],
            "Include" if path.is_absolute() => directories.push(path),
            _ => {}
        }
    }
    directories
}

/// The options of a configuration: each line is `name`, `name=value` or `name value`.
fn options(text: &str) -> Vec<(String, String)> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line
                .split_once(|c: char| c == '=' || c.is_whitespace())
                .unwrap_or((line, ""));
            let value = value.trim().trim_start_matches('=').trim();
            (name.to_owned(), value.trim_matches('"').to_owned())
        })
        .collect()
}

/// A digest in `/run`, valid until the file changes.
#[derive(Serialize, Deserialize)]
struct KnownDigest {
    path: PathBuf,
    #[serde(rename = "stamp")]
    fingerprint: Fingerprint,
    digest: [u8; 32],
}

/// The digest of a file or tree, which is computed once after each boot: the parser has megabytes,
/// and the kernel's features are a hundred files.
///
/// The kernel creates its tree of features when it boots, so the ctime of the tree differs after
/// each boot.
fn once(
    name: &str,
    path: &Path,
    digest: impl FnOnce(&Path) -> Result<[u8; 32]>,
) -> Result<[u8; 32]> {
    let fingerprint = Fingerprint::at(path).map_err(|e| Error::io("look at", path, &e))?;
    if let Some(known) = state::read::<KnownDigest>(name)
        && known.path == path
        && known.fingerprint == fingerprint
    {
        return Ok(known.digest);
    }
    let read = SystemTime::now();
    let digest = digest(path)?;
    let path = path.to_owned();
    if fingerprint.is_settled(read) {
        state::write(
            name,
            &KnownDigest {
                path,
                fingerprint,
                digest,
            },
        );
    }
    Ok(digest)
}

/// A digest of the parser's program: two builds of one version differ, and a package that is
/// installed again may have the same times.
fn program(path: &Path) -> Result<[u8; 32]> {
    let failed = |e: &io::Error| Error::io("read", path, e);
    let mut file = File::open(path).map_err(|e| failed(&e))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digest.finalize().into()),
            Ok(n) => digest.update(buffer.get(..n).unwrap_or_default()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(&e)),
        }
    }
}
