//! What a node is: its kernel, its parser, its configuration.

use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::log::boot;
use oci_apparmor::apparmor::kernel::Enforcement;
use oci_apparmor::apparmor::parser::Parser;
use oci_apparmor::fs::{bounded, digest, trusted};
use oci_apparmor::node::Node;
use oci_apparmor::settings;

/// More than any of the files that are read here.
const MAX: u64 = 1 << 20;

/// The facts about a node.
#[derive(Debug, Serialize)]
pub(crate) struct NodeFacts {
    /// Its name.
    pub(crate) hostname: Option<String>,
    /// Its operating system, as it calls itself (`os-release(5)`).
    pub(crate) os: Option<String>,
    /// The release of its kernel.
    pub(crate) kernel: Option<String>,
    pub(crate) architecture: &'static str,
    /// When it was booted, RFC 3339.
    pub(crate) booted: Option<String>,
    /// Whether its kernel enforces profiles.
    pub(crate) enforcing: bool,
    /// Why it does not.
    pub(crate) why_not: Option<String>,
    /// The first line of `apparmor_parser --version`.
    pub(crate) parser: Option<String>,
    /// The version of this program.
    pub(crate) version: &'static str,
    /// The configuration, if there is one.
    pub(crate) settings: Option<SettingsFile>,
}

/// The file of the configuration.
#[derive(Debug, Serialize)]
pub(crate) struct SettingsFile {
    pub(crate) path: &'static str,
    /// The SHA-256 of its content.
    pub(crate) sha256: String,
}

impl NodeFacts {
    /// Those of this node.
    pub(crate) fn of(node: &Node) -> Self {
        let why_not = match node.kernel.enforcement() {
            Enforcement::On => None,
            Enforcement::Off(why) => Some(why.to_string()),
        };
        Self {
            hostname: line("/proc/sys/kernel/hostname"),
            os: os(),
            kernel: line("/proc/sys/kernel/osrelease"),
            architecture: std::env::consts::ARCH,
            booted: boot().map(rfc3339),
            enforcing: why_not.is_none(),
            why_not,
            parser: parser(node),
            version: env!("CARGO_PKG_VERSION"),
            settings: settings_file(),
        }
    }
}

/// A time for people and programs.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

fn text(path: &str) -> Option<String> {
    let file = File::open(path).ok()?;
    let bytes = bounded::read(&file, MAX).ok()??;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn line(path: &str) -> Option<String> {
    Some(text(path)?.trim().to_owned()).filter(|text| !text.is_empty())
}

fn os() -> Option<String> {
    let release = text("/etc/os-release").or_else(|| text("/usr/lib/os-release"))?;
    let mut lines = release.lines();
    let name = lines.find_map(|l| l.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches(['"', '\'']).to_owned())
}

fn parser(node: &Node) -> Option<String> {
    let configured = node.settings.parser.as_ref().map(|p| p.as_path());
    let parser = Parser::find(configured, node.settings.parser_limits()).ok()?;
    parser.version().ok()
}

fn settings_file() -> Option<SettingsFile> {
    let bytes = trusted::read(Path::new(settings::PATH), MAX).ok()?;
    let hash: [u8; 32] = Sha256::digest(&bytes).into();
    Some(SettingsFile {
        path: settings::PATH,
        sha256: digest::hex(&hash),
    })
}
