//! Which events are wanted: `--container`, `--pod` and `--profile`.

use crate::log::{Attribution, Owner, Owners};
use oci_apparmor::apparmor::confinement::Confinement;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor_audit::event::Event;

/// `NAMESPACE/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodName {
    namespace: String,
    name: String,
}

impl PodName {
    /// Reads the value of `--pod`.
    pub(super) fn parse(text: &str) -> std::result::Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(Self {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err("write NAMESPACE/NAME".to_owned()),
        }
    }
}

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub(super) container: Option<String>,
    pub(super) pod: Option<PodName>,
    pub(super) profile: Option<String>,
}

impl Filter {
    /// Checks that what is named exists.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub(super) fn check(&self, owners: &Owners) -> Result<()> {
        let all = owners.all();
        let unknown = |what: &str| {
            Error::new(Kind::NotFound, format!("there is no {what}"))
                .with_remedy("run: oci-apparmor ps")
        };
        if let Some(name) = &self.container
            && !all.iter().any(|owner| owner.is(name))
        {
            return Err(unknown(&format!("container {name}")));
        }
        if let Some(pod) = &self.pod
            && !all
                .iter()
                .any(|owner| owner.is_of_pod(&pod.namespace, &pod.name))
        {
            return Err(unknown(&format!(
                "container of a pod {}/{}",
                pod.namespace, pod.name
            )));
        }
        Ok(())
    }

    /// Whether only some containers are wanted.
    pub(super) fn is_about_containers(&self) -> bool {
        self.container.is_some() || self.pod.is_some()
    }

    /// Whether an event is of the wanted profile.
    pub(super) fn wants_profile(&self, event: &Event) -> bool {
        let Some(wanted) = &self.profile else {
            return true;
        };
        let name = event.profile().and_then(|name| name.utf8());
        let label = Confinement::new(name.unwrap_or_default());
        let is_it = |component: &str| {
            let child = component.strip_prefix(wanted.as_str());
            child.is_some_and(|child| child.is_empty() || child.starts_with("//"))
        };
        label.components().any(is_it)
    }

    /// Whether an event is, or may be, of a wanted container.
    pub(super) fn wants_owner(&self, attribution: &Attribution) -> bool {
        match attribution {
            _ if !self.is_about_containers() => true,
            Attribution::Container(owner, _) => self.wants(owner),
            Attribution::Candidates(owners) => owners.iter().any(|owner| self.wants(owner)),
            Attribution::Host | Attribution::Unknown => false,
        }
    }

    fn wants(&self, owner: &Owner) -> bool {
        let container = self.container.as_ref();
        let pod = self.pod.as_ref();
        container.is_none_or(|name| owner.is(name))
            && pod.is_none_or(|pod| owner.is_of_pod(&pod.namespace, &pod.name))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::log::KnownBy;

    fn owner(id: &str, name: &str, pod: &str) -> Arc<Owner> {
        Arc::new(Owner {
            id: id.to_owned(),
            name: Some(name.to_owned()),
            pod: Some(pod.to_owned()),
            namespace: Some("shop".to_owned()),
            image: None,
        })
    }

    #[test]
    fn containers_by_id_and_name_and_pods() {
        let id = "0123456789ab".to_owned() + &"f".repeat(52);
        let web = owner(&id, "main", "web-0");
        let other = owner("other", "side", "web-1");
        let is = Attribution::Container(web.clone(), KnownBy::Process);
        let may_be = Attribution::Candidates(vec![other.clone(), web]);
        let is_not = Attribution::Container(other, KnownBy::Profile);
        let container = |name: &str| Filter {
            container: Some(name.to_owned()),
            ..Filter::default()
        };
        let pod = Filter {
            pod: Some(PodName::parse("shop/web-0").unwrap()),
            ..Filter::default()
        };
        for filter in [
            container(&id),
            container("0123456789ab"),
            container("main"),
            pod,
        ] {
            assert!(
                filter.wants_owner(&is) && filter.wants_owner(&may_be),
                "{filter:?}"
            );
            for other in [&is_not, &Attribution::Host, &Attribution::Unknown] {
                assert!(!filter.wants_owner(other), "{filter:?} {other:?}");
                assert!(Filter::default().wants_owner(other));
            }
        }
        assert!(container("0123").wants_owner(&is));
        assert!(!container("012").wants_owner(&is), "too short to be an id");
        assert!(!container("othe").wants_owner(&is_not));
        for text in ["", "x", "/x", "x/"] {
            assert!(PodName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn profiles_with_their_children_and_in_stacks() {
        let filter = Filter {
            profile: Some("web".to_owned()),
            ..Filter::default()
        };
        for (profile, is_wanted) in [
            ("web", true),
            ("web//null-/bin/sh", true),
            ("floor//&web//child", true),
            ("web2", false),
            ("other//web", false),
        ] {
            let line = format!(
                "audit(1.002:3): apparmor=\"DENIED\" operation=\"open\" profile=\"{profile}\" \
                 name=\"/\" pid=1 comm=\"c\""
            );
            let event = Event::parse(line.as_bytes()).unwrap();
            assert_eq!(filter.wants_profile(&event), is_wanted, "{profile}");
        }
    }
}
