//! docker: a runtime in `daemon.json`.

use std::path::Path;

use serde_json::Value;
use serde_json::value::RawValue;

use super::json;
use crate::engine::edit::{Edit, TextFile};
use crate::engine::inspection::{Handler, Inspection, Problem};
use crate::engine::requested::Requested;
use crate::engine::wrapper;
use oci_apparmor::error::{Error, Kind, Result, quoted};

const RUNTIMES: &str = "runtimes";
const DEFAULT: &str = "default-runtime";

/// Adds the runtime to the file at `path`, which may be missing.
pub(super) fn configure(
    path: &Path,
    file: Option<&TextFile>,
    requested: &Requested,
) -> Result<Edit> {
    let text = file.map_or("", |file| file.text.as_str());
    let runtimes = json::members(path, text, RUNTIMES)?;
    let find = |name: &str| {
        runtimes
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| *value)
    };
    if let Some(existing) = find(&requested.name) {
        let program = program(existing);
        requested.check_unused(Some(program.as_deref().unwrap_or("another shim")), path)?;
    }
    let former = default(path, text)?;
    let replaced = former
        .as_deref()
        .filter(|name| find(name).is_some_and(|r| !calls_wrapper(r)));
    let found = replaced.and_then(find);
    if let (Some(name), Some(found), true) = (replaced, found, requested.default)
        && program(found).is_none()
    {
        return Err(Error::new(
            Kind::Policy,
            format!(
                "the default runtime {} is a shim of containerd, which the wrapper cannot call",
                quoted(name)
            ),
        )
        .with_remedy(format!(
            "leave out --set-default, and start containers with --runtime {}",
            requested.name
        )));
    }
    let called = found.and_then(program);
    let kind = requested.runtime_kind(replaced.unwrap_or_default(), called.as_deref())?;
    let ours = requested.programs.join(kind.name());

    let quote = |value: &str| Value::from(value).to_string();
    // The arguments of the replaced runtime, such as --debug, go on to the same OCI runtime.
    let arguments = found.and_then(|r| Some(parsed(r).get("runtimeArgs")?.to_string()));
    let arguments =
        arguments.filter(|_| called.as_deref().is_some_and(|p| p.ends_with(kind.name())));
    let arguments = arguments
        .map(|a| format!(", \"runtimeArgs\": {a}"))
        .unwrap_or_default();
    let runtime = format!(
        "{{ \"path\": {}{arguments} }}",
        quote(&ours.to_string_lossy())
    );
    let mut text = json::set_in(path, text, RUNTIMES, &requested.name, &runtime)?;
    if requested.default {
        text = json::set(path, &text, DEFAULT, &quote(&requested.name))?;
    }
    Ok(Edit {
        file: TextFile {
            path: path.to_owned(),
            text,
        },
        program: ours,
        replaces: called,
        former_default: former.filter(|_| requested.default),
        notes: Vec::new(),
    })
}

fn parsed(value: &RawValue) -> Value {
    serde_json::from_str(value.get()).unwrap_or_default()
}

/// The program of a runtime; `None` for a shim.
fn program(runtime: &RawValue) -> Option<String> {
    let path = parsed(runtime).get("path")?.as_str()?.to_owned();
    Some(path).filter(|path| !path.is_empty())
}

fn calls_wrapper(runtime: &RawValue) -> bool {
    program(runtime).is_some_and(|p| wrapper::is_named(&p))
}

fn default(path: &Path, text: &str) -> Result<Option<String>> {
    let value = json::get(path, text, &[DEFAULT])?;
    Ok(value.and_then(|value| parsed(value).as_str().map(str::to_owned)))
}

/// The text without the runtime `name`. If that is the default runtime, `former` becomes the
/// default again.
pub(super) fn without(file: &TextFile, name: &str, former: Option<&str>) -> Result<String> {
    let TextFile { path, text } = file;
    let mut left = json::take_in(path, text, RUNTIMES, name)?;
    if default(path, &left)?.as_deref() == Some(name) {
        left = match former {
            Some(former) => json::set(path, &left, DEFAULT, &Value::from(former).to_string())?,
            None => json::take(path, &left, DEFAULT)?,
        };
    }
    Ok(left)
}

/// Whether a file configures nothing.
pub(super) fn is_empty(file: &TextFile) -> bool {
    serde_json::from_str::<Value>(&file.text)
        .is_ok_and(|v| v.as_object().is_some_and(|o| o.is_empty()))
}

/// What the file says.
pub(super) fn inspect(file: Option<&TextFile>, ours: &dyn Fn(&str) -> bool) -> Result<Inspection> {
    let mut found = Inspection {
        default: Some("runc".to_owned()),
        ..Inspection::default()
    };
    let Some(TextFile { path, text }) = file else {
        return Ok(found);
    };
    if let Some(named) = default(path, text)? {
        found.default = Some(named);
    }
    for (name, value) in json::members(path, text, RUNTIMES)? {
        let called = program(value);
        if called.is_none() {
            let text = value.get();
            if ours(text) {
                found.problems.push(Problem::failure(
                    format!(
                        "{}: the runtime {} names the wrapper, but not as its path",
                        path.display(),
                        quoted(&name)
                    ),
                    "write it as { \"path\": \"PROGRAM\" }",
                ));
            }
        }
        found.handlers.push(Handler {
            name: name.into_owned(),
            program: called,
            file: path.clone(),
        });
    }
    Ok(found)
}
