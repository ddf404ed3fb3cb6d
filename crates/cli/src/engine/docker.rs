//! docker: a runtime in `daemon.json`. Pure.

use std::path::Path;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::engine::seen::{Handler, Mistake, Seen};
use crate::engine::{Change, Text, Wish, free, json, low_level};
use oci_apparmor::error::{Error, Kind, Result, quoted};

const RUNTIMES: &str = "runtimes";
const DEFAULT: &str = "default-runtime";

/// What has to change.
pub(super) fn configure(path: &Path, file: Option<&Text>, wish: &Wish) -> Result<Change> {
    let text = file.map_or("", |file| file.text.as_str());
    let runtimes = json::members(path, text, RUNTIMES)?;
    let find = |name: &str| {
        runtimes
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| *value)
    };
    if let Some(existing) = find(&wish.name) {
        free(
            wish,
            Some(program(existing).as_deref().unwrap_or("a shim of its own")),
            path,
        )?;
    }
    let former = default(path, text)?;
    let wrapped = former
        .as_deref()
        .filter(|name| find(name).is_some_and(|r| !is_ours(r)));
    let found = wrapped.and_then(find);
    if let (Some(name), Some(found), true) = (wrapped, found, wish.default)
        && program(found).is_none()
    {
        return Err(Error::new(
            Kind::Policy,
            format!(
                "the default runtime {} is a shim, not a program that ours could stand for",
                quoted(name)
            ),
        )
        .with_remedy("leave out --set-default; containers then name ours by --runtime"));
    }
    let called = found.and_then(program);
    let low_level = low_level(wish, wrapped.unwrap_or_default(), called.as_deref())?;
    let ours = wish.programs.join(low_level.name());

    let quote = |value: &str| Value::from(value).to_string();
    // Arguments that the wrapped runtime gets, such as --debug, go to the low-level runtime.
    let arguments = found.and_then(|r| Some(parsed(r).get("runtimeArgs")?.to_string()));
    let arguments = arguments.filter(|_| {
        called
            .as_deref()
            .is_some_and(|p| p.ends_with(low_level.name()))
    });
    let arguments = arguments
        .map(|a| format!(", \"runtimeArgs\": {a}"))
        .unwrap_or_default();
    let runtime = format!(
        "{{ \"path\": {}{arguments} }}",
        quote(&ours.to_string_lossy())
    );
    let mut text = json::set_in(path, text, RUNTIMES, &wish.name, &runtime)?;
    if wish.default {
        text = json::set(path, &text, DEFAULT, &quote(&wish.name))?;
    }
    Ok(Change {
        file: Text {
            path: path.to_owned(),
            text,
        },
        program: ours,
        replaces: called,
        former_default: former.filter(|_| wish.default),
        notes: Vec::new(),
    })
}

fn parsed(value: &RawValue) -> Value {
    serde_json::from_str(value.get()).unwrap_or_default()
}

/// The program of a runtime that is none of docker's shims.
fn program(runtime: &RawValue) -> Option<String> {
    let path = parsed(runtime).get("path")?.as_str()?.to_owned();
    Some(path).filter(|path| !path.is_empty())
}

fn is_ours(runtime: &RawValue) -> bool {
    program(runtime).is_some_and(|p| super::is_ours(&p))
}

fn default(path: &Path, text: &str) -> Result<Option<String>> {
    let value = json::get(path, text, &[DEFAULT])?;
    Ok(value.and_then(|value| parsed(value).as_str().map(str::to_owned)))
}

/// The text without a runtime of ours; the default is what it was.
pub(super) fn without(file: &Text, name: &str, former: Option<&str>) -> Result<String> {
    let Text { path, text } = file;
    let mut left = json::take_in(path, text, RUNTIMES, name)?;
    if default(path, &left)?.as_deref() == Some(name) {
        left = match former {
            Some(former) => json::set(path, &left, DEFAULT, &Value::from(former).to_string())?,
            None => json::take(path, &left, DEFAULT)?,
        };
    }
    Ok(left)
}

/// Whether anything is said in a file.
pub(super) fn is_empty(file: &Text) -> bool {
    serde_json::from_str::<Value>(&file.text)
        .is_ok_and(|v| v.as_object().is_some_and(|o| o.is_empty()))
}

/// What the file says.
pub(super) fn seen(file: Option<&Text>, ours: &dyn Fn(&str) -> bool) -> Result<Seen> {
    let mut seen = Seen {
        default: Some("runc".to_owned()),
        ..Seen::default()
    };
    let Some(Text { path, text }) = file else {
        return Ok(seen);
    };
    if let Some(named) = default(path, text)? {
        seen.default = Some(named);
    }
    for (name, value) in json::members(path, text, RUNTIMES)? {
        let called = program(value);
        if called.is_none() {
            let text = value.get();
            if ours(text) {
                seen.mistakes.push(Mistake::failure(
                    format!(
                        "{}: the runtime {} names our program, but not as its path",
                        path.display(),
                        quoted(&name)
                    ),
                    "write it as { \"path\": \"PROGRAM\" }",
                ));
            }
        }
        seen.handlers.push(Handler {
            name,
            program: called,
            file: path.clone(),
        });
    }
    Ok(seen)
}
