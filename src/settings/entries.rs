//! Values of TOML, read as what a key wants, with the place and the reason where they are not that.
//!
//! Deserializers that serde derives for each section have the same rules and messages, but take 80 KB
//! more of each program that runs on every container start.

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use crate::apparmor::name::ProfileName;
use crate::settings::values::{AbsolutePath, Pattern};

/// A value, and where it is.
pub(super) type TomlEntry<'i> = Spanned<DeValue<'i>>;

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

    fn at(entry: &TomlEntry<'_>, why: String) -> Self {
        Self {
            at: Some(entry.span().start),
            why,
        }
    }

    /// Of a key that is required.
    pub(super) fn missing(key: &str, table: &TomlEntry<'_>) -> Self {
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
    set: &mut dyn FnMut(&str, &TomlEntry<'_>) -> Read<bool>,
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
pub(super) fn table<'a, 'i>(entry: &'a TomlEntry<'i>, name: &str) -> Read<&'a DeTable<'i>> {
    match entry.get_ref() {
        DeValue::Table(table) => Ok(table),
        _ => Err(mismatch(entry, &format!("struct {name}"))),
    }
}

pub(super) fn boolean(entry: &TomlEntry<'_>) -> Read<bool> {
    match entry.get_ref() {
        DeValue::Boolean(value) => Ok(*value),
        _ => Err(mismatch(entry, "a boolean")),
    }
}

pub(super) fn number(entry: &TomlEntry<'_>) -> Read<u64> {
    unsigned(entry, "u64")
}

pub(super) fn size(entry: &TomlEntry<'_>) -> Read<usize> {
    let number = unsigned(entry, "usize")?;
    usize::try_from(number).map_err(|_| mismatch(entry, "usize"))
}

fn unsigned(entry: &TomlEntry<'_>, wanted: &str) -> Read<u64> {
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

pub(super) fn string(entry: &TomlEntry<'_>) -> Read<String> {
    text(entry, "a string").map(str::to_owned)
}

pub(super) fn profile(entry: &TomlEntry<'_>) -> Read<ProfileName> {
    let name = text(entry, "a string")?;
    ProfileName::parse(name).map_err(|e| refused(e.to_string()))
}

pub(super) fn pattern(entry: &TomlEntry<'_>) -> Read<Pattern> {
    Pattern::try_from(string(entry)?).map_err(refused)
}

pub(super) fn path(entry: &TomlEntry<'_>) -> Read<AbsolutePath> {
    let path = text(entry, "path string")?;
    AbsolutePath::try_from(std::path::PathBuf::from(path)).map_err(refused)
}

/// One of these words.
pub(super) fn word<T: Copy>(entry: &TomlEntry<'_>, words: &[(&str, T)]) -> Read<T> {
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
pub(super) fn list<T>(
    entry: &TomlEntry<'_>,
    element: fn(&TomlEntry<'_>) -> Read<T>,
) -> Read<Vec<T>> {
    match entry.get_ref() {
        DeValue::Array(elements) => elements.iter().map(element).collect(),
        _ => Err(mismatch(entry, "a sequence")),
    }
}

fn text<'a>(entry: &'a TomlEntry<'_>, wanted: &str) -> Read<&'a str> {
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
fn mismatch(entry: &TomlEntry<'_>, wanted: &str) -> WrongEntry {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::settings::Settings;

    #[test]
    fn every_spelling_of_toml_is_read() {
        let read = |text: &str| Settings::parse(Path::new("f"), text.as_bytes()).unwrap();
        for (number, value) in [
            ("1_000", 1000),
            ("+5", 5),
            ("0x1F", 31),
            ("0o17", 15),
            ("0b101", 5),
        ] {
            let settings = read(&format!("cache_limit = {number}"));
            assert_eq!(settings.cache_limit, value, "{number}");
        }
        for runtimes in [
            "[runtimes]\nrunc = '/r'\ndirectories = [\n'/a', # first\n\"/b\",\n]",
            "runtimes = { runc = \"/r\", directories = [\"/a\", '/b'] }",
            "runtimes.runc = \"\\u002fr\"\n\"runtimes\".directories = ['/a', \"\"\"\n/b\"\"\"]",
        ] {
            let settings = read(runtimes).runtimes;
            assert_eq!(
                settings.runc.unwrap().as_path(),
                Path::new("/r"),
                "{runtimes}"
            );
            let directories = settings.directories.iter().map(|d| d.as_path());
            assert!(directories.eq(["/a", "/b"].map(Path::new)), "{runtimes}");
        }
        for rules in [
            "[[rule]]\nnamespaces = ['a']\n[[rule]]\nnamespaces = ['b']\nfloor = 'f'",
            "rule = [{namespaces = ['a']}, {namespaces = ['b'], floor = 'f'}]",
        ] {
            let rules = read(rules).rule;
            assert_eq!(rules.len(), 2);
            assert_eq!(rules[1].floor.as_ref().unwrap().as_str(), "f");
        }
        for sequence in ["runtimes = []", "cluster = []", "rule = [[]]"] {
            let refused = Settings::parse(Path::new("f"), sequence.as_bytes()).unwrap_err();
            assert!(refused.to_string().contains("sequence"), "{refused}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, wanted) in [
            (
                "x = 1",
                "line 1: unknown field `x`, expected one of `allow`, `deny`, `allow_unconfined`, `require_enforcing`, `default_profile`, `floor`, `sandbox_profile`, `exempt_namespaces`, `profile_directories`, `on_drift`, `verify`, `cache_directory`, `cache_limit`, `parser`, `parser_timeout`, `parser_memory`, `runtimes`, `cluster`, `rule`",
            ),
            (
                "floor = true\n",
                "line 1: invalid type: boolean `true`, expected a string",
            ),
            (
                "\nallow = 'a'",
                "line 2: invalid type: string \"a\", expected a sequence",
            ),
            (
                "allow = ['a',\n 2]",
                "line 2: invalid type: integer `2`, expected a string",
            ),
            ("allow = ['a',\n '']", "line 1: a pattern must not be empty"),
            (
                "cache_limit = -1",
                "line 1: invalid value: integer `-1`, expected u64",
            ),
            (
                "cache_limit = 18446744073709551616",
                "line 1: invalid type: integer `18446744073709551616`, expected u64",
            ),
            (
                "cache_limit = 1979-05-27",
                "line 1: invalid type: date, expected u64",
            ),
            (
                "cache_limit = []",
                "line 1: invalid type: sequence, expected u64",
            ),
            (
                "cache_limit = 340282366920938463463374607431768211456",
                "line 1: integer number overflowed",
            ),
            (
                "on_drift = 'x'",
                "line 1: unknown variant `x`, expected `reload` or `refuse`",
            ),
            ("on_drift = 1", "line 1: wanted string"),
            ("on_drift = []", "line 1: wanted string"),
            (
                "verify = 'on'",
                "line 1: unknown variant `on`, expected one of `off`, `start`, `all`",
            ),
            ("verify = {}", "line 1: wanted string"),
            (
                "runtimes = 1",
                "line 1: invalid type: integer `1`, expected struct RuntimeSettings",
            ),
            (
                "runtimes = 'x'",
                "line 1: invalid type: string \"x\", expected struct RuntimeSettings",
            ),
            (
                "[runtimes]\ndefault = 'kata'",
                "line 2: unknown variant `kata`, expected one of `runc`, `crun`, `youki`",
            ),
            (
                "[runtimes]\n\nx = 1",
                "line 3: unknown field `x`, expected one of `default`, `directories`, `refuse_vulnerable`, `runc`, `crun`, `youki`",
            ),
            (
                "[runtimes]\nrunc = 1",
                "line 2: invalid type: integer `1`, expected path string",
            ),
            (
                "[runtimes]\nrunc = 'x'",
                "line 2: the path \"x\" must be absolute",
            ),
            (
                "[runtimes]\ndirectories = ['/a',\n'b']",
                "line 2: the path \"b\" must be absolute",
            ),
            (
                "[runtimes]\ndirectories = ['/a',\n1]",
                "line 3: invalid type: integer `1`, expected path string",
            ),
            (
                "[cluster]\nx = 1",
                "line 2: unknown field `x`, expected one of `allow`, `max_profiles`, `max_size`, `spool`",
            ),
            (
                "cluster = true",
                "line 1: invalid type: boolean `true`, expected struct ClusterSettings",
            ),
            (
                "[cluster]\nmax_profiles = -1",
                "line 2: invalid value: integer `-1`, expected usize",
            ),
            (
                "[cluster]\nmax_profiles = 'a'",
                "line 2: invalid type: string \"a\", expected usize",
            ),
            (
                "[cluster]\nspool = 'a'",
                "line 2: the path \"a\" must be absolute",
            ),
            (
                "rule = 1",
                "line 1: invalid type: integer `1`, expected a sequence",
            ),
            (
                "[rule]\nallow = []",
                "line 1: invalid type: map, expected a sequence",
            ),
            ("[[rule]]\nallow = []", "line 1: missing field `namespaces`"),
            (
                "\n[[rule]]\nnamespaces = ['a']\n\n[[rule]]\nfloor = 'a'",
                "line 5: missing field `namespaces`",
            ),
            (
                "rule = [1]",
                "line 1: invalid type: integer `1`, expected struct Rule",
            ),
            ("rule = [{}]", "line 1: missing field `namespaces`"),
            (
                "[[rule]]\nnamespaces = ['a']\nx = 1",
                "line 3: unknown field `x`, expected one of `namespaces`, `allow`, `deny`, `allow_unconfined`, `require_enforcing`, `default_profile`, `floor`",
            ),
            (
                "[[rule]]\nnamespaces = ['a']\nallow_unconfined = 1",
                "line 3: invalid type: integer `1`, expected a boolean",
            ),
            (
                "[[rule]]\nnamespaces = ['a']\nfloor = 'a b'",
                "line 3: the profile name \"a b\" is refused: it contains white space; use the exact name of one profile",
            ),
            ("parser = 'x'", "line 1: the path \"x\" must be absolute"),
            (
                "parser = {}",
                "line 1: invalid type: map, expected path string",
            ),
            (
                "parser = 1.0",
                "line 1: invalid type: floating point `1.0`, expected path string",
            ),
            (
                "profile_directories = ['x']",
                "line 1: the path \"x\" must be absolute",
            ),
            (
                "exempt_namespaces = [1]",
                "line 1: invalid type: integer `1`, expected a string",
            ),
            (
                "exempt_namespaces = 1",
                "line 1: invalid type: integer `1`, expected a sequence",
            ),
            (
                "floor = \"a\nb\"",
                "line 2: key with no value, expected `=`",
            ),
            ("a", "line 1: key with no value, expected `=`"),
            ("a = 1\na = 2", "line 2: duplicate key"),
            ("[runtimes]\n[runtimes]", "line 2: duplicate key"),
            (
                "floor = ['a']",
                "line 1: invalid type: sequence, expected a string",
            ),
            (
                "floor = { a = 1 }",
                "line 1: invalid type: map, expected a string",
            ),
            (
                "default_profile = 'unconfined'",
                "line 1: the profile name \"unconfined\" is refused: the kernel takes every prefix of \"unconfined\" for unconfined; use the exact name of one profile",
            ),
            (
                "verify = \"All\"",
                "line 1: unknown variant `All`, expected one of `off`, `start`, `all`",
            ),
            (
                "cache_limit = true",
                "line 1: invalid type: boolean `true`, expected u64",
            ),
            (
                "allow_unconfined = 0xff",
                "line 1: invalid type: integer `255`, expected a boolean",
            ),
            (
                "allow_unconfined = {}",
                "line 1: invalid type: map, expected a boolean",
            ),
            (
                "allow_unconfined = 1e3",
                "line 1: invalid type: floating point `1e3`, expected a boolean",
            ),
        ] {
            let refused = Settings::parse(Path::new("/c"), text.as_bytes()).unwrap_err();
            let said = refused.to_string();
            let said = said.strip_prefix("/c ").unwrap();
            let said = said.strip_suffix("; correct it and run: oci-apparmor check --config /c");
            assert_eq!(said.unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn numbers_have_the_range_of_their_type() {
        let limit = |text: &str| {
            Settings::parse(Path::new("/c"), text.as_bytes())
                .unwrap()
                .cache_limit
        };
        assert_eq!(limit("cache_limit = 0x10"), 16);
        assert_eq!(
            limit("cache_limit = 9_223_372_036_854_775_807"),
            i64::MAX as u64
        );
        assert_eq!(limit("cache_limit = 18446744073709551615"), u64::MAX);
    }
}
