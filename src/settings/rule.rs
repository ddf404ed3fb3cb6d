//! `[[rule]]`: what differs in some Kubernetes namespaces.

use std::borrow::Cow;

use crate::apparmor::name::ProfileName;
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
