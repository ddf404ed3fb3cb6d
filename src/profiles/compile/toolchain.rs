//! What turns text into policy on this host, besides the text: the compiler, its configuration,
//! and what the kernel says it can enforce. Compiled policy is good for just these.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::apparmor::kernel::{self, Kernel};
use crate::apparmor::parser::{self, Parser};
use crate::error::{Error, Kind, Result};
use crate::fs::fingerprint::Stamp;
use crate::fs::trusted::{self, Refusal};
use crate::profiles::compile::dependencies::Search;
use crate::profiles::remembered;

/// The compiler's own configuration, and where it looks for what is included
/// (`apparmor_parser(8)`, `--config-file`, `--base`).
const CONFIGURATION: &str = "/etc/apparmor/parser.conf";
const BASE: &str = "/etc/apparmor.d";

/// The largest file that the configuration names: a dump of kernel features.
const MAX: u64 = 1 << 20;

/// The compiler of this host, with all that decides what it makes of a text.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// Where it looks for what is included.
    pub search: Search,
    /// Every file that it consists of.
    pub stamps: Vec<(PathBuf, Stamp)>,
    /// A digest of all of it, the kernel's features included.
    pub digest: [u8; 32],
}

impl Toolchain {
    pub(crate) fn of(parser: &Parser, configured: Option<&Path>, kernel: &Kernel) -> Result<Self> {
        let mut digest = Sha256::new();
        let mut stamps = Vec::new();
        let mut search = Search {
            directories: vec![PathBuf::from(BASE)],
        };
        let stamp = |path: &Path| Stamp::at(path).map_err(|e| Error::io("look at", path, &e));

        for path in parser::candidates(configured) {
            stamps.push((path.to_owned(), stamp(path)?));
        }
        digest.update(once("compiler", parser.program(), program)?);

        let configuration = Path::new(CONFIGURATION);
        let mut text = Vec::new();
        match trusted::read_with(configuration, MAX) {
            Ok((bytes, meta)) => {
                stamps.push((configuration.to_owned(), Stamp::of(&meta)));
                text = bytes;
            }
            Err(Refusal::Missing) => stamps.push((configuration.to_owned(), Stamp::ABSENT)),
            Err(refusal) => {
                return Err(refusal
                    .about(configuration, Kind::Policy)
                    .with_remedy("it must belong to root alone"));
            }
        }
        digest.update(Sha256::digest(&text));
        for (option, value) in options(&String::from_utf8_lossy(&text)) {
            let path = PathBuf::from(&value);
            if !path.is_absolute() {
                continue;
            }
            match option.as_str() {
                "base" => search.directories = vec![path.clone()],
                "Include" => search.directories.push(path.clone()),
                _ => {}
            }
            if let Ok((bytes, meta)) = trusted::read_with(&path, MAX) {
                stamps.push((path, Stamp::of(&meta)));
                digest.update(Sha256::digest(&bytes));
            } else {
                stamps.push((path.clone(), stamp(&path)?));
            }
        }
        digest.update(once("features", &kernel.features(), kernel::digest)?);
        Ok(Self {
            search,
            stamps,
            digest: digest.finalize().into(),
        })
    }
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

/// A digest that is remembered until what it is of changes, or the node boots.
#[derive(Serialize, Deserialize)]
struct Known {
    path: PathBuf,
    stamp: Stamp,
    digest: [u8; 32],
}

/// The digest of what is at `path`, which is read once in a boot: the compiler is megabytes, and
/// the kernel's features are a hundred files.
///
/// The kernel makes its tree of features when it boots, so the tree's ctime tells boots apart.
fn once(
    remembered: &str,
    path: &Path,
    digest: impl FnOnce(&Path) -> Result<[u8; 32]>,
) -> Result<[u8; 32]> {
    let stamp = Stamp::at(path).map_err(|e| Error::io("look at", path, &e))?;
    if let Some(known) = remembered::read_file::<Known>(remembered)
        && known.path == path
        && known.stamp == stamp
    {
        return Ok(known.digest);
    }
    let read = SystemTime::now();
    let digest = digest(path)?;
    let path = path.to_owned();
    if stamp.is_settled(read) {
        remembered::write_file(
            remembered,
            &Known {
                path,
                stamp,
                digest,
            },
        );
    }
    Ok(digest)
}

/// A digest of the compiler itself: two builds of one version differ, and a package that is
/// installed again may keep its times.
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
