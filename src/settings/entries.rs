//! Values of TOML, read as what a key wants, with the place and the reason where they are not that.
//!
//! Deserializers that serde derives for each section have the same rules and messages, but take 80 KB
//! more of each program that runs on every container start.

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use crate::apparmor::name::ProfileName;
use crate::settings::values::{AbsolutePath, Pattern};

/// A value, and where it is.
pub(super) type Entry<'i> = Spanned<DeValue<'i>>;

/// What is wrong with a text.
#[derive(Debug)]
pub(super) struct WrongEntry {
    /// The offset in bytes; `None`: that of the value of the key.
    at: Option<usize>,
    why: String,
}

impl WrongEntry {
    /// The offset in the text, in bytes.
    pub(super) fn offset(&self) -> usize {
        self.at.unwrap_or(0)
    }

    pub(super) fn why(&self) -> &str {
        &self.why
    }

    fn at(entry: &Entry<'_>, why: String) -> Self {
        Self {
            at: Some(entry.span().start),
            why,
        }
    }

    /// Of a key that is required.
    pub(super) fn missing(key: &str, table: &Entry<'_>) -> Self {
        Self::at(table, format!("missing field `{key}`"))
    }
}

/// What is read, or why it cannot be.
pub(super) type Read<T> = Result<T, WrongEntry>;

/// The table that a text is.
pub(super) fn document(text: &str) -> Read<DeTable<'_>> {
    match DeTable::parse(text) {
        Ok(table) => Ok(table.into_inner()),
        Err(e) => Err(WrongEntry {
            at: e.span().map(|span| span.start),
            why: e.message().to_owned(),
        }),
    }
}

/// Calls `set` with each key and its value. It returns whether it knows the key; `known` are all that
/// it knows.
pub(super) fn each(
    table: &DeTable<'_>,
    known: &[&str],
    set: &mut dyn FnMut(&str, &Entry<'_>) -> Read<bool>,
) -> Read<()> {
    for (key, value) in table {
        match set(key.get_ref(), value) {
            Ok(true) => {}
            Ok(false) => {
                return Err(WrongEntry {
                    at: Some(key.span().start),
                    why: format!(
                        "unknown field `{}`, expected {}",
                        key.get_ref(),
                        one_of(known)
                    ),
                });
            }
            Err(wrong) => {
                let at = wrong.at.or(Some(value.span().start));
                return Err(WrongEntry { at, ..wrong });
            }
        }
    }
    Ok(())
}

/// The table of a section; `name` is for the message.
pub(super) fn table<'a, 'i>(entry: &'a Entry<'i>, name: &str) -> Read<&'a DeTable<'i>> {
    match entry.get_ref() {
        DeValue::Table(table) => Ok(table),
        _ => Err(mismatch(entry, &format!("struct {name}"))),
    }
}

pub(super) fn boolean(entry: &Entry<'_>) -> Read<bool> {
    match entry.get_ref() {
        DeValue::Boolean(value) => Ok(*value),
        _ => Err(mismatch(entry, "a boolean")),
    }
}

pub(super) fn number(entry: &Entry<'_>) -> Read<u64> {
    unsigned(entry, "u64")
}

pub(super) fn size(entry: &Entry<'_>) -> Read<usize> {
    let number = unsigned(entry, "usize")?;
    usize::try_from(number).map_err(|_| mismatch(entry, "usize"))
}

fn unsigned(entry: &Entry<'_>, wanted: &str) -> Read<u64> {
    let DeValue::Integer(integer) = entry.get_ref() else {
        return Err(mismatch(entry, wanted));
    };
    match u64::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(number) => Ok(number),
        Err(_) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(negative) => Err(WrongEntry::at(
                entry,
                format!("invalid value: integer `{negative}`, expected {wanted}"),
            )),
            Err(_) => Err(mismatch(entry, wanted)),
        },
    }
}

pub(super) fn string(entry: &Entry<'_>) -> Read<String> {
    text(entry, "a string").map(str::to_owned)
}

pub(super) fn profile(entry: &Entry<'_>) -> Read<ProfileName> {
    let name = text(entry, "a string")?;
    ProfileName::parse(name).map_err(|e| refused(e.to_string()))
}

pub(super) fn pattern(entry: &Entry<'_>) -> Read<Pattern> {
    Pattern::try_from(string(entry)?).map_err(refused)
}

pub(super) fn path(entry: &Entry<'_>) -> Read<AbsolutePath> {
    let path = text(entry, "path string")?;
    AbsolutePath::try_from(std::path::PathBuf::from(path)).map_err(refused)
}

/// One of these words.
pub(super) fn word<T: Copy>(entry: &Entry<'_>, words: &[(&str, T)]) -> Read<T> {
    let DeValue::String(word) = entry.get_ref() else {
        return Err(WrongEntry::at(entry, "wanted string".to_owned()));
    };
    let found = words.iter().find(|(known, _)| *known == word.as_ref());
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(known, _)| *known).collect();
        WrongEntry::at(
            entry,
            format!("unknown variant `{word}`, expected {}", one_of(&known)),
        )
    })
}

/// All elements of an array.
pub(super) fn list<T>(entry: &Entry<'_>, element: fn(&Entry<'_>) -> Read<T>) -> Read<Vec<T>> {
    match entry.get_ref() {
        DeValue::Array(elements) => elements.iter().map(element).collect(),
        _ => Err(mismatch(entry, "a sequence")),
    }
}

fn text<'a>(entry: &'a Entry<'_>, wanted: &str) -> Read<&'a str> {
    match entry.get_ref() {
        DeValue::String(text) => Ok(text),
        _ => Err(mismatch(entry, wanted)),
    }
}

/// Of a value that has the right type: what is said of its key.
fn refused(why: String) -> WrongEntry {
    WrongEntry { at: None, why }
}

/// Of a value that has another type.
#[cold]
fn mismatch(entry: &Entry<'_>, wanted: &str) -> WrongEntry {
    let found = match entry.get_ref() {
        DeValue::String(text) => format!("string {text:?}"),
        DeValue::Integer(integer) => match decimal(integer) {
            Some(decimal) => format!("integer `{decimal}`"),
            None => return WrongEntry::at(entry, "integer number overflowed".to_owned()),
        },
        DeValue::Float(float) => format!("floating point `{}`", float.as_str()),
        DeValue::Boolean(value) => format!("boolean `{value}`"),
        DeValue::Datetime(_) => "date".to_owned(),
        DeValue::Array(_) => "sequence".to_owned(),
        DeValue::Table(_) => "map".to_owned(),
    };
    WrongEntry::at(entry, format!("invalid type: {found}, expected {wanted}"))
}

fn decimal(integer: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

#[cold]
fn one_of(known: &[&str]) -> String {
    let quoted: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [first, second] => format!("{first} or {second}"),
        _ => format!("one of {}", quoted.join(", ")),
    }
}
