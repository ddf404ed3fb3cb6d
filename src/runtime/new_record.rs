//! The record of a container before its label is known.

use std::env;
use std::path::{Path, PathBuf};

use crate::bundle::Annotations;
use crate::containers::record::{ContainerKey, Record};
use crate::request::Request;
use crate::runtime::argv::RuntimeCommand;
use crate::runtime::locate::RuntimeProgram;

/// What the request and the command line say about the container.
pub(super) fn new_record(
    runtime: &RuntimeProgram,
    key: ContainerKey<'_>,
    bundle: &Path,
    request: &Request,
    line: &RuntimeCommand,
) -> Record {
    let pid_file = line.option("pid-file").map(|given| {
        let given = PathBuf::from(given);
        match given.is_absolute() {
            true => given,
            false => env::current_dir().unwrap_or_default().join(given),
        }
    });
    Record {
        key: request
            .asked
            .as_ref()
            .map(|(key, _)| key.as_str().to_owned()),
        namespace: request.namespace.clone(),
        pod: request.pod.clone(),
        uid: request.uid.clone(),
        container: request.container.clone(),
        sandbox: request.sandbox.clone(),
        pid_file,
        annotations: match request.is_sandbox {
            true => request.keys.clone(),
            false => Annotations::new(),
        },
        program: Some(runtime.program.clone()),
        ..Record::new(runtime.kind.name(), key, bundle)
    }
}
