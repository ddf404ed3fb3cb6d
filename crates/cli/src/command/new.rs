//! `new NAME`: a profile to start from.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};

use crate::learning::bundle::KnownContainer;
use crate::learning::starting_profile::{Observed, StartedBy, StartingProfile, Workload};
use crate::report::output::Output;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::fs::replace::{self, Options};
use oci_apparmor::fs::temporary;
use oci_apparmor::request::{CONTAINER_KEY, PLAIN_KEY};
use oci_apparmor::settings::Settings;

/// Standard output, as a file.
const STDOUT: &str = "-";

/// Write a profile to start from, made from the configuration of a container
///
/// The profile allows what config.json of the container says that it has: its program, its mounts as
/// they are mounted, its devices, its capabilities, and its network if that is not the node's; and
/// what every container needs under runc and crun. --image-like adds what a well-known program needs,
/// and keeps only the capabilities and sockets that it needs.
///
/// What the container has but should not get unasked is written as a comment with the reason: the
/// socket of an engine, directories of the node, the credentials of a service account, disks, and
/// capabilities such as sys_admin. The profile has no deny rules. What else the program needs is not
/// known yet, and is denied until it is learnt.
///
/// The file is written where this node looks for profiles. Nothing is loaded, and no container is
/// changed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oci-apparmor new web --container $(podman inspect --format '{{.Id}}' web)
  # From a bundle, to standard output.
  oci-apparmor new web --bundle /run/bundles/web --output -
  # Without a container.
  oci-apparmor new web --image-like nginx")]
pub(crate) struct NewArguments {
    /// The name of the new profile
    name: String,
    /// A container that exists: its id, the beginning of it, or its name if it was made through the
    /// wrapper
    #[arg(long, value_name = "ID|NAME")]
    container: Option<String>,
    /// The bundle of a container: a directory with a config.json
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "container")]
    bundle: Option<PathBuf>,
    /// Add what a well-known kind of program needs
    #[arg(long, value_name = "PROGRAM")]
    image_like: Option<Workload>,
    /// Write this file instead; - is standard output
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(arguments: &NewArguments, output: Output) -> Result<u8> {
    let name = ProfileName::parse(&arguments.name)?;
    let container = match (&arguments.container, &arguments.bundle) {
        (Some(id), _) => Some(KnownContainer::with_id(id)?),
        (None, Some(bundle)) => Some(KnownContainer::in_bundle(bundle)?),
        (None, None) => None,
    };
    let nothing = Observed::default();
    let profile = StartingProfile::new(
        &name,
        container.as_ref().map(|c| &c.spec),
        container.as_ref().map_or(&nothing, |c| &c.observed),
        arguments.image_like,
    )?;
    let text = profile.text();
    let path = match &arguments.output {
        Some(path) if path == Path::new(STDOUT) => {
            output.text(&text)?;
            return Ok(0);
        }
        Some(path) => std::path::absolute(path).map_err(|e| Error::io("find", path, &e))?,
        None => source(&name)?,
    };
    write(&path, &text, arguments.force)?;
    output.line(format!(
        "wrote {} ({} rules)",
        path.display(),
        profile.count()
    ))?;
    let started_by = container.as_ref().and_then(|c| c.spec.started_by());
    output.text(&next(&name, started_by))?;
    Ok(0)
}

/// Where the source of a profile of this node belongs.
fn source(name: &ProfileName) -> Result<PathBuf> {
    let settings = Settings::load()?;
    let first = settings.profile_directories.first();
    let directory = first.map_or(Path::new("/etc/oci-apparmor/profiles"), |d| d.as_path());
    Ok(directory.join(name.file_name()))
}

fn write(path: &Path, text: &str, force: bool) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) if !force => {
            return Err(
                Error::new(Kind::Usage, format!("{} exists already", path.display()))
                    .with_remedy("to replace it, add: --force"),
            );
        }
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io("look at", path, &e)),
        _ => {}
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", temporary::mark()));
    let options = Options::with_mode(0o644).durable();
    replace::replace(path, &temporary, text.as_bytes(), options).map_err(|e| {
        Error::io("write", path, &e).with_remedy("to print it instead, add: --output -")
    })
}

/// The two commands that follow.
fn next(name: &ProfileName, started_by: Option<StartedBy>) -> String {
    let (before, command) = match started_by {
        None | Some(StartedBy::Podman) => (
            String::new(),
            format!(
                " -- podman run --rm --runtime oci-apparmor --annotation {PLAIN_KEY}={name} IMAGE"
            ),
        ),
        Some(StartedBy::Docker) => (
            String::new(),
            format!(
                " -- docker run --rm --runtime oci-apparmor --security-opt apparmor={name} IMAGE"
            ),
        ),
        Some(StartedBy::Kubernetes) => (
            format!("Create the pod again, with {CONTAINER_KEY}CONTAINER: localhost/{name}\n"),
            " --for 10m".to_owned(),
        ),
    };
    format!(
        "\n{before}Learn what its programs need, while they do all that they have to. Nothing is \
         denied meanwhile:\n  \
         oci-apparmor learn {name}{command}\n\
         If the rules that it prints are right, add them:\n  \
         oci-apparmor learn {name} --apply{command}\n"
    )
}
