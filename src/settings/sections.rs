//! The keys of each section of `config.toml`, and what they set.

use toml::de::DeTable;

use crate::settings::cluster::ClusterSettings;
use crate::settings::entries::{
    Entry, Read, WrongEntry, boolean, document, each, list, number, path, pattern, profile, size,
    string, table, word,
};
use crate::settings::rule::Rule;
use crate::settings::runtimes::{RuntimeKind, RuntimeSettings};
use crate::settings::{OnDrift, Settings, Verify};

/// All of a text.
pub(super) fn settings(text: &str) -> Read<Settings> {
    let known = [
        "allow",
        "deny",
        "allow_unconfined",
        "require_enforcing",
        "default_profile",
        "floor",
        "sandbox_profile",
        "exempt_namespaces",
        "profile_directories",
        "on_drift",
        "verify",
        "cache_directory",
        "cache_limit",
        "parser",
        "parser_timeout",
        "parser_memory",
        "runtimes",
        "cluster",
        "rule",
    ];
    let drift = [("reload", OnDrift::Reload), ("refuse", OnDrift::Refuse)];
    let verify = [
        ("off", Verify::Off),
        ("start", Verify::Start),
        ("all", Verify::All),
    ];
    let mut it = Settings::default();
    each(&document(text)?, &known, &mut |key, value| {
        match key {
            "allow" => it.allow = list(value, pattern)?,
            "deny" => it.deny = list(value, pattern)?,
            "allow_unconfined" => it.allow_unconfined = boolean(value)?,
            "require_enforcing" => it.require_enforcing = boolean(value)?,
            "default_profile" => it.default_profile = Some(profile(value)?),
            "floor" => it.floor = Some(profile(value)?),
            "sandbox_profile" => it.sandbox_profile = Some(profile(value)?),
            "exempt_namespaces" => it.exempt_namespaces = list(value, string)?,
            "profile_directories" => it.profile_directories = list(value, path)?,
            "on_drift" => it.on_drift = word(value, &drift)?,
            "verify" => it.verify = word(value, &verify)?,
            "cache_directory" => it.cache_directory = path(value)?,
            "cache_limit" => it.cache_limit = number(value)?,
            "parser" => it.parser = Some(path(value)?),
            "parser_timeout" => it.parser_timeout = number(value)?,
            "parser_memory" => it.parser_memory = number(value)?,
            "runtimes" => it.runtimes = runtimes(table(value, "RuntimeSettings")?)?,
            "cluster" => it.cluster = Some(cluster(table(value, "ClusterSettings")?)?),
            "rule" => it.rule = list(value, rule)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(it)
}

/// The section `[runtimes]` of a text, whatever else is in it.
pub(super) fn only_runtimes(text: &str) -> Read<RuntimeSettings> {
    let document = document(text)?;
    let section = document.iter().find(|(key, _)| key.get_ref() == "runtimes");
    match section {
        Some((_, value)) => runtimes(table(value, "RuntimeSettings")?),
        None => Ok(RuntimeSettings::default()),
    }
}

fn runtimes(section: &DeTable<'_>) -> Read<RuntimeSettings> {
    let known = [
        "default",
        "directories",
        "refuse_vulnerable",
        "runc",
        "crun",
        "youki",
    ];
    let kinds = RuntimeKind::ALL.map(|kind| (kind.name(), kind));
    let mut it = RuntimeSettings::default();
    each(section, &known, &mut |key, value| {
        match key {
            "default" => it.default = Some(word(value, &kinds)?),
            "directories" => it.directories = list(value, path)?,
            "refuse_vulnerable" => it.refuse_vulnerable = boolean(value)?,
            "runc" => it.runc = Some(path(value)?),
            "crun" => it.crun = Some(path(value)?),
            "youki" => it.youki = Some(path(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(it)
}

fn cluster(section: &DeTable<'_>) -> Read<ClusterSettings> {
    let known = ["allow", "max_profiles", "max_size", "spool"];
    let mut it = ClusterSettings::default();
    each(section, &known, &mut |key, value| {
        match key {
            "allow" => it.allow = list(value, pattern)?,
            "max_profiles" => it.max_profiles = size(value)?,
            "max_size" => it.max_size = number(value)?,
            "spool" => it.spool = path(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(it)
}

fn rule(entry: &Entry<'_>) -> Read<Rule> {
    let known = [
        "namespaces",
        "allow",
        "deny",
        "allow_unconfined",
        "require_enforcing",
        "default_profile",
        "floor",
    ];
    let mut namespaces = None;
    let mut it = Rule::default();
    each(table(entry, "Rule")?, &known, &mut |key, value| {
        match key {
            "namespaces" => namespaces = Some(list(value, pattern)?),
            "allow" => it.allow = Some(list(value, pattern)?),
            "deny" => it.deny = Some(list(value, pattern)?),
            "allow_unconfined" => it.allow_unconfined = Some(boolean(value)?),
            "require_enforcing" => it.require_enforcing = Some(boolean(value)?),
            "default_profile" => it.default_profile = Some(profile(value)?),
            "floor" => it.floor = Some(profile(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    it.namespaces = namespaces.ok_or_else(|| WrongEntry::missing("namespaces", entry))?;
    Ok(it)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::settings::Settings;

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
