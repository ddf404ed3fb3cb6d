//! `render`: manifests as profile text.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use oci_apparmor_manifest::{self as manifest, ErrorKind};
use serde::Serialize;

use crate::report::output::Output;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::{Error, Kind, Result, foreign};

/// The largest file; that of a profile's source.
const MAX: u64 = 4 << 20;

/// Standard input, as a file.
const STDIN: &str = "-";

/// One manifest of a file, with a name that a profile may have.
#[derive(Debug)]
struct NamedManifest {
    place: String,
    name: Option<ProfileName>,
    rendered: Result<manifest::Rendered>,
}

impl NamedManifest {
    fn of(read: manifest::Manifest) -> Self {
        let name = read
            .name
            .as_deref()
            .map(|name| ProfileName::parse(name).map_err(|e| e.about("metadata.name")));
        let (name, rendered) = match name.transpose() {
            Ok(name) => (name, read.rendered.map_err(|e| refused(&e))),
            Err(e) => (None, Err(e)),
        };
        Self {
            place: read.place,
            name,
            rendered,
        }
    }
}

/// Why a manifest is refused, as an error of this program.
fn refused(e: &manifest::Error) -> Error {
    let kind = match e.kind() {
        ErrorKind::Invalid => Kind::DoesNotCompile,
        ErrorKind::Name => Kind::Policy,
    };
    let error = Error::new(kind, e.reason());
    match e.remedy() {
        Some(remedy) => error.with_remedy(remedy),
        None => error,
    }
}

/// Print AppArmorProfile manifests as AppArmor profiles
///
/// Prints the profiles of manifests (YAML or JSON) in AppArmor's language. A manifest means what it
/// means to the Security Profiles Operator: the same rules in the same order, in complain mode
/// without deny rules. Documents of other kinds are skipped.
///
/// If there are several profiles, each follows a comment line with its name and place; so does one
/// that its manifest disables.
///
/// A manifest is refused, in one line on standard error, if it cannot be read with certainty, would
/// not compile, or would become anything else than the rules that its fields stand for. Two
/// manifests of one name in a file are both refused. The others are printed. Nothing is compiled or
/// loaded.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 everything was printed; otherwise the code of the first refusal. With --json, 0 \
unless a file cannot be read or has no manifest.

Examples:
  oci-apparmor render web.yaml
  # The manifests of a cluster.
  kubectl get apparmorprofiles -o yaml | oci-apparmor render -")]
pub(crate) struct RenderArguments {
    /// Files with manifests; - is standard input
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// Print a JSON list, refusals included
    #[arg(long)]
    json: bool,
}

/// One manifest, as other programs see it.
#[derive(Debug, Serialize)]
struct ManifestJson<'m> {
    file: String,
    place: &'m str,
    name: Option<&'m ProfileName>,
    complain: Option<bool>,
    disabled: Option<bool>,
    text: Option<&'m str>,
    refused: Option<String>,
}

impl<'m> ManifestJson<'m> {
    fn of(file: &Path, manifest: &'m NamedManifest) -> Self {
        let rendered = manifest.rendered.as_ref();
        Self {
            file: shown(file),
            place: &manifest.place,
            name: manifest.name.as_ref(),
            complain: rendered.ok().map(|r| r.complain),
            disabled: rendered.ok().map(|r| r.disabled),
            text: rendered.ok().map(|r| r.text.as_str()),
            refused: rendered.err().map(Error::to_string),
        }
    }
}

pub(crate) fn run(arguments: &RenderArguments, output: Output) -> Result<u8> {
    let mut read = Vec::new();
    let mut failures = Vec::new();
    for file in &arguments.files {
        match manifests(file) {
            Ok(manifests) => read.extend(manifests.into_iter().map(|m| (file.as_path(), m))),
            Err(e) => failures.push(e.about(&shown(file))),
        }
    }
    if arguments.json {
        let rows: Vec<ManifestJson<'_>> = read
            .iter()
            .map(|(file, m)| ManifestJson::of(file, m))
            .collect();
        output.json(&rows)?;
    } else {
        output.text(&texts(&read))?;
        failures.extend(read.iter().filter_map(|(file, m)| refusal(file, m)));
    }
    for failure in &failures {
        let _ = writeln!(io::stderr(), "oci-apparmor: {failure}");
    }
    Ok(failures.first().map_or(0, |e| e.kind().exit_code()))
}

/// The texts, each under a line that says whose it is, unless one plain profile is all there is.
fn texts(read: &[(&Path, NamedManifest)]) -> String {
    let mut texts = String::new();
    for (file, manifest) in read {
        let Ok(rendered) = &manifest.rendered else {
            continue;
        };
        if read.len() > 1 || rendered.disabled {
            let gap = if texts.is_empty() { "" } else { "\n" };
            let disabled = if rendered.disabled { ", disabled" } else { "" };
            let (name, file, place) = (&rendered.name, shown(file), &manifest.place);
            texts.push_str(&format!("{gap}# {name} ({file}, {place}){disabled}\n"));
        }
        texts.push_str(&rendered.text);
    }
    texts
}

fn refusal(file: &Path, manifest: &NamedManifest) -> Option<Error> {
    let e = manifest.rendered.as_ref().err()?;
    let profile = manifest
        .name
        .as_ref()
        .map_or(String::new(), |name| format!(": {name}"));
    let file = shown(file);
    Some(
        e.clone()
            .about(&format!("{file}, {}{profile} refused", manifest.place)),
    )
}

fn manifests(file: &Path) -> Result<Vec<NamedManifest>> {
    let found = manifest::read(&content(file)?).map_err(|e| refused(&e))?;
    match found.is_empty() {
        false => Ok(found.into_iter().map(NamedManifest::of).collect()),
        true => Err(Error::new(Kind::NotFound, "it holds no AppArmorProfile")),
    }
}

fn content(file: &Path) -> Result<Vec<u8>> {
    let unreadable = |e: &io::Error| {
        let why = Error::new(
            Kind::Internal,
            format!("cannot be read: {}", oci_apparmor::error::reason(e)),
        );
        match e.kind() {
            io::ErrorKind::NotFound => why.of(Kind::NotFound),
            _ => why,
        }
    };
    let mut bytes = Vec::new();
    let beyond = MAX.saturating_add(1);
    match file == Path::new(STDIN) {
        true => io::stdin().lock().take(beyond).read_to_end(&mut bytes),
        false => File::open(file).and_then(|file| file.take(beyond).read_to_end(&mut bytes)),
    }
    .map_err(|e| unreadable(&e))?;
    match u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX) {
        true => Ok(bytes),
        false => Err(Error::new(Kind::DoesNotCompile, "it is larger than 4 MiB")),
    }
}

/// A file's name as it was given, on one line.
fn shown(file: &Path) -> String {
    match file == Path::new(STDIN) {
        true => "standard input".to_owned(),
        false => foreign(&file.display().to_string()),
    }
}
