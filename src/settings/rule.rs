//! `[[rule]]`: what differs in some Kubernetes namespaces.

use std::borrow::Cow;

use crate::apparmor::name::ProfileName;
use crate::settings::entries::{
    Read, TomlEntry, WrongEntry, boolean, each, list, pattern, profile, table,
};
use crate::settings::{Pattern, Settings};

/// The keys that replace those of the node in some Kubernetes namespaces.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// The namespaces.
    pub namespaces: Vec<Pattern>,
    /// See [`Settings::allow`].
    pub allow: Option<Vec<Pattern>>,
    /// See [`Settings::deny`].
    pub deny: Option<Vec<Pattern>>,
    /// See [`Settings::allow_unconfined`].
    pub allow_unconfined: Option<bool>,
    /// See [`Settings::require_enforcing`].
    pub require_enforcing: Option<bool>,
    /// See [`Settings::default_profile`].
    pub default_profile: Option<ProfileName>,
    /// See [`Settings::floor`].
    pub floor: Option<ProfileName>,
}

impl Rule {
    /// Reads one of them.
    pub(super) fn read(entry: &TomlEntry<'_>) -> Read<Self> {
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
        let mut it = Self::default();
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
}

impl Settings {
    /// The settings for a container of this namespace: those of the node, with the keys of the
    /// first rule that matches. Without a namespace no rule matches.
    #[must_use]
    pub fn in_namespace(&self, namespace: Option<&str>) -> Cow<'_, Self> {
        let is_for = |rule: &&Rule| {
            namespace.is_some_and(|name| rule.namespaces.iter().any(|p| p.matches_text(name)))
        };
        let Some(rule) = self.rule.iter().find(is_for) else {
            return Cow::Borrowed(self);
        };
        let or =
            |own: &Option<ProfileName>, node: &Option<ProfileName>| own.clone().or(node.clone());
        Cow::Owned(Self {
            allow: rule.allow.clone().unwrap_or_else(|| self.allow.clone()),
            deny: rule.deny.clone().unwrap_or_else(|| self.deny.clone()),
            allow_unconfined: rule.allow_unconfined.unwrap_or(self.allow_unconfined),
            require_enforcing: rule.require_enforcing.unwrap_or(self.require_enforcing),
            default_profile: or(&rule.default_profile, &self.default_profile),
            floor: or(&rule.floor, &self.floor),
            ..self.clone()
        })
    }

    /// The profiles that the configuration names, each with its key.
    pub fn profiles(&self) -> impl Iterator<Item = (&'static str, &ProfileName)> {
        let own = [
            ("default_profile", &self.default_profile),
            ("floor", &self.floor),
            ("sandbox_profile", &self.sandbox_profile),
        ];
        let of_rules = self.rule.iter().flat_map(|rule| {
            [
                ("default_profile of a rule", &rule.default_profile),
                ("floor of a rule", &rule.floor),
            ]
        });
        own.into_iter()
            .chain(of_rules)
            .filter_map(|(key, name)| Some((key, name.as_ref()?)))
    }
}
