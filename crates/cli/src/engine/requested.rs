//! What `configure` was asked for.

use std::path::{Path, PathBuf};

use crate::engine::wrapper;
use oci_apparmor::error::{Error, Kind, Result, quoted};
use oci_apparmor::settings::RuntimeKind;

/// The runtime to add to an engine's configuration.
#[derive(Debug, Clone)]
pub(crate) struct Requested {
    /// The runtime's name in the engine.
    pub(crate) name: String,
    /// The directory of the wrapper's links, as the engine will see it.
    pub(crate) programs: PathBuf,
    /// The OCI runtime that the wrapper is to call; `None` for the one that the engine's default
    /// runtime calls now.
    pub(crate) low_level: Option<RuntimeKind>,
    /// The OCI runtime that the engine calls where nothing is configured.
    pub(crate) usual: RuntimeKind,
    /// Whether to make it the engine's default runtime.
    pub(crate) default: bool,
}

/// The name of the runtime unless `--runtime-name` gives another.
pub(crate) const DEFAULT_NAME: &str = "oci-apparmor";

/// The longest name of a runtime: a Kubernetes `RuntimeClass` handler is a DNS label.
const MAX_NAME: usize = 63;

/// Checks that a runtime of this name can be configured in every engine.
///
/// # Errors
/// [`Kind::Usage`].
pub(crate) fn check_name(name: &str) -> Result<()> {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let refused = |why: &str| {
        Err(Error::new(
            Kind::Usage,
            format!("the runtime name {} {why}", quoted(name)),
        )
        .with_remedy("give another, such as --runtime-name oci-apparmor"))
    };
    if name.is_empty()
        || name.len() > MAX_NAME
        || !name.starts_with(letter)
        || !name.ends_with(letter)
        || !name.chars().all(|c| letter(c) || c == '-')
    {
        return refused(
            "is not valid in a RuntimeClass: it must consist of lower-case letters, digits and -",
        );
    }
    if RuntimeKind::named(name).is_some() {
        return refused("is the name of an OCI runtime, which engines search for by themselves");
    }
    Ok(())
}

impl Requested {
    /// The OCI runtime that the wrapper is to call instead of `program`, which the engine's runtime
    /// `runtime` calls now.
    ///
    /// # Errors
    /// [`Kind::Policy`] if `program` is not an OCI runtime that the wrapper can call, and all
    /// containers would be started without it.
    pub(crate) fn runtime_kind(&self, runtime: &str, program: Option<&str>) -> Result<RuntimeKind> {
        if let Some(chosen) = self.low_level {
            return Ok(chosen);
        }
        let Some(program) = program.filter(|p| !p.is_empty()) else {
            return Ok(self.usual);
        };
        let known = Path::new(program).file_name().and_then(|n| n.to_str());
        match known.and_then(RuntimeKind::named) {
            Some(known) => Ok(known),
            None if self.default => Err(Error::new(
                Kind::Policy,
                format!(
                    "the default runtime {} calls {}, which would no longer start any container",
                    quoted(runtime),
                    quoted(program)
                ),
            )
            .with_remedy(format!(
                "configure that program to call the wrapper as its OCI runtime, or give \
                 --low-level {} to replace it",
                self.usual.name()
            ))),
            None => Ok(self.usual),
        }
    }

    /// Refuses the name if the engine already has a runtime of this name that calls `program`,
    /// which is not the wrapper. `path` is the file that defines it.
    pub(crate) fn check_unused(&self, program: Option<&str>, path: &Path) -> Result<()> {
        match program {
            Some(program) if !wrapper::is_named(program) => Err(Error::new(
                Kind::Policy,
                format!(
                    "{} already has a runtime {}, which calls {}",
                    path.display(),
                    quoted(&self.name),
                    quoted(program)
                ),
            )
            .with_remedy("give another --runtime-name; nothing was changed")),
            _ => Ok(()),
        }
    }
}
