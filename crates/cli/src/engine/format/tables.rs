//! TOML: reading it, and changing one entry without losing comments, order and white space.

use std::path::Path;

use toml_edit::{DocumentMut, Item, RawString, Table, TableLike, Value};

use oci_apparmor::error::{Error, Kind, Result, foreign};

/// Parses a file that is to be changed.
///
/// # Errors
/// [`Kind::Configuration`], with the line, if it is not TOML, or if writing it would change other
/// lines as well (it has `\r\n`, a byte order mark, or a key that is quoted in two ways).
pub(super) fn parse(path: &Path, text: &str) -> Result<DocumentMut> {
    let document = read(path, text)?;
    // A missing line end is added to the last line. The caller writes nothing if that is all.
    let printed = document.to_string();
    if printed != text && printed.strip_suffix('\n') != Some(text) {
        return Err(refused(
            path,
            "it has a byte order mark, line ends other than \\n, or a key that is quoted in two ways",
        )
        .with_remedy(
            "convert it with dos2unix, or quote the key in one way, so that other lines stay as \
             they are; nothing was changed",
        ));
    }
    Ok(document)
}

/// Parses a file.
///
/// # Errors
/// [`Kind::Configuration`], with the line, if it is not TOML.
pub(super) fn read(path: &Path, text: &str) -> Result<DocumentMut> {
    text.parse().map_err(|e: toml_edit::TomlError| {
        let before = e.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(0, |head| head.matches('\n').count());
        refused(
            path,
            &format!("line {}: {}", line.saturating_add(1), foreign(e.message())),
        )
        .with_remedy("correct it, or move it away; nothing was changed")
    })
}

fn refused(path: &Path, why: &str) -> Error {
    Error::new(
        Kind::Configuration,
        format!("{} cannot be used: {why}", path.display()),
    )
}

/// The item at a path of keys.
pub(super) fn at<'d>(document: &'d DocumentMut, path: &[&str]) -> Option<&'d Item> {
    let mut item = document.as_item();
    for key in path {
        item = item.as_table_like()?.get(key)?;
    }
    Some(item)
}

/// The text at a path of keys.
pub(super) fn text<'d>(document: &'d DocumentMut, path: &[&str]) -> Option<&'d str> {
    at(document, path)?.as_str()
}

/// The entries of the table at a path of keys.
pub(super) fn entries<'d>(
    document: &'d DocumentMut,
    path: &[&str],
) -> impl Iterator<Item = (&'d str, &'d Item)> + use<'d> {
    let table = at(document, path).and_then(Item::as_table_like);
    table.into_iter().flat_map(|table| table.iter())
}

/// The strings in a list; none if the item is no list.
pub(super) fn texts(item: Option<&Item>) -> Vec<String> {
    let array = item.and_then(Item::as_array);
    let values = array.into_iter().flat_map(|array| array.iter());
    values
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}

/// The table at a path of keys. Missing tables are created.
///
/// # Errors
/// [`Kind::Configuration`] if one of the keys has another value, or an inline table, in which no
/// section can be written.
pub(super) fn table<'d>(
    file: &Path,
    document: &'d mut DocumentMut,
    path: &[&str],
) -> Result<&'d mut Table> {
    let mut table = document.as_table_mut();
    for (depth, key) in path.iter().enumerate() {
        let item = table.entry(key).or_insert_with(|| {
            let mut new = Table::new();
            new.set_implicit(true);
            Item::Table(new)
        });
        let Some(next) = item.as_table_mut() else {
            let section = path.get(..=depth).unwrap_or_default().join(".");
            return Err(
                refused(file, &format!("{section} is not written as a section"))
                    .with_remedy(format!("write it as [{section}]; nothing was changed")),
            );
        };
        table = next;
    }
    Ok(table)
}

/// The white space before a table's header.
pub(super) fn indent(table: &Table) -> String {
    let prefix = table.decor().prefix().and_then(RawString::as_str);
    let line = prefix.and_then(|text| text.rsplit('\n').next());
    let line = line.unwrap_or_default();
    line.chars().take_while(|c| c.is_whitespace()).collect()
}

/// Sets a key of a table. A new key comes after the others, with the same indentation.
pub(super) fn set(table: &mut Table, key: &str, value: impl Into<Value>) {
    let mut value = value.into();
    if let Some(old) = table.get_mut(key).and_then(Item::as_value_mut) {
        *value.decor_mut() = old.decor().clone();
        *old = value;
        return;
    }
    let indent = match table.iter().find(|(_, item)| item.is_value()) {
        Some((first, _)) => {
            let decor = table.key(first).map(|key| key.leaf_decor());
            let prefix = decor.and_then(|decor| decor.prefix()?.as_str());
            let line = prefix.and_then(|text| text.rsplit('\n').next());
            line.unwrap_or_default().to_owned()
        }
        // Below an indented header.
        None => match indent(table) {
            header if header.is_empty() => header,
            header => format!("{header}  "),
        },
    };
    table.insert(key, Item::Value(value));
    if let Some(mut key) = table.key_mut(key) {
        key.leaf_decor_mut().set_prefix(indent);
    }
}

/// A new section after an empty line. `indent` is the white space before its header; before its
/// keys there is `inner` as well.
pub(super) fn section(
    indent: &str,
    inner: &str,
    entries: impl IntoIterator<Item = (String, Value)>,
) -> Table {
    let mut table = Table::new();
    table.decor_mut().set_prefix(format!("\n{indent}"));
    for (key, mut value) in entries {
        value.decor_mut().clear();
        table.insert(&key, Item::Value(value));
        if let Some(mut key) = table.key_mut(&key) {
            key.leaf_decor_mut().set_prefix(format!("{indent}{inner}"));
        }
    }
    table
}

/// A list of strings.
pub(super) fn list<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Value {
    texts
        .into_iter()
        .map(|text| text.as_ref().to_owned())
        .collect()
}

/// Removes an entry. Returns whether it existed.
pub(super) fn take(document: &mut DocumentMut, path: &[&str]) -> bool {
    let Some((last, parents)) = path.split_last() else {
        return false;
    };
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for key in parents {
        let Some(next) = table.get_mut(key).and_then(Item::as_table_like_mut) else {
            return false;
        };
        table = next;
    }
    table.remove(last).is_some()
}

/// Whether a table has no values: only comments and empty sections.
pub(super) fn is_empty(table: &dyn TableLike) -> bool {
    table
        .iter()
        .all(|(_, item)| item.as_table_like().is_some_and(is_empty))
}
