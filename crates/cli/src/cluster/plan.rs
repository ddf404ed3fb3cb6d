//! Which files of the spool may become sources, and which sources go. Nothing here touches the
//! system.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::spool::{SpoolEntry, SpoolListing};
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::decision::is_default_of_engine;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::profiles::source::is_source;
use oci_apparmor::settings::ClusterSettings;

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct SyncPlan {
    /// The files that are examined, sorted by name.
    pub(super) candidates: Vec<(ProfileName, SpoolEntry)>,
    /// The profiles that are not taken whatever their files contain.
    pub(super) refused: BTreeMap<String, Error>,
    /// The sources that go.
    pub(super) removed: Vec<String>,
    /// The sources that stay although the spool has no file of them.
    pub(super) kept: Vec<ProfileName>,
}

/// What is to be done about a spool. `accepted` are the sources that there are already; `other` is a
/// source of this name that is not from the cluster.
pub(super) fn plan(
    listing: &SpoolListing,
    accepted: &BTreeSet<String>,
    settings: &ClusterSettings,
    other: impl Fn(&ProfileName) -> Result<Option<PathBuf>>,
) -> SyncPlan {
    let mut plan = SyncPlan::default();
    let in_spool: BTreeSet<&str> = listing.files.keys().map(|f| f.profile.as_str()).collect();
    let mut places = settings.max_profiles;
    let mut new = Vec::new();
    let all = accepted.iter().map(String::as_str);
    for name in BTreeSet::from_iter(all.chain(in_spool.iter().copied())) {
        let is_accepted = accepted.contains(name);
        let profile = match may_be_taken(name, settings, &other) {
            Ok(profile) => profile,
            Err(e) => {
                if is_accepted {
                    plan.removed.push(name.to_owned());
                }
                if in_spool.contains(name) {
                    plan.refused.insert(name.to_owned(), e);
                }
                continue;
            }
        };
        if !in_spool.contains(name) && listing.complete {
            plan.removed.push(name.to_owned());
            continue;
        }
        // Those that there are already have a place, so that a flood of others does not stop them.
        if is_accepted {
            places = places.saturating_sub(1);
        }
        if !in_spool.contains(name) {
            plan.kept.push(profile);
            continue;
        }
        let mut files = listing.files.keys().filter(|f| f.profile == name);
        match (files.next(), files.next()) {
            (Some(file), None) if is_accepted => plan.candidates.push((profile, file.clone())),
            (Some(file), None) => new.push((profile, file.clone())),
            _ => drop(plan.refused.insert(name.to_owned(), twice(name))),
        }
    }
    for (profile, file) in new {
        match places.checked_sub(1) {
            Some(left) => {
                places = left;
                plan.candidates.push((profile, file));
            }
            None => {
                let limit = too_many(settings.max_profiles);
                plan.refused.insert(file.profile, limit);
            }
        }
    }
    plan.candidates.sort();
    plan
}

/// Whether a profile of this name is taken from the cluster, whatever its text is.
fn may_be_taken(
    name: &str,
    settings: &ClusterSettings,
    other: impl Fn(&ProfileName) -> Result<Option<PathBuf>>,
) -> Result<ProfileName> {
    if !settings.allows(name) {
        let why = "allow of the section [cluster] has no pattern for its name";
        return Err(Error::new(Kind::Policy, why).with_remedy(
            "use another name, or change the section [cluster] of /etc/oci-apparmor/config.toml",
        ));
    }
    let profile = ProfileName::parse(name)?;
    if profile.is_trial() || profile.file_name() != name || !is_source(name.as_ref()) {
        let why = format!("no source can have the file name {name}");
        return Err(Error::new(Kind::Policy, why).with_remedy("use another name"));
    }
    if is_default_of_engine(&profile) {
        let why = format!("{name} is the default profile of an engine");
        return Err(Error::new(Kind::Policy, why).with_remedy("use another name"));
    }
    match other(&profile)? {
        None => Ok(profile),
        Some(path) => Err(Error::new(
            Kind::Policy,
            format!(
                "this node has a source of the same name, {}",
                path.display()
            ),
        )
        .with_remedy("use another name")),
    }
}

fn twice(name: &str) -> Error {
    Error::new(
        Kind::Policy,
        format!("both {name}.yaml and {name}.profile define it"),
    )
    .with_remedy("remove one of the two objects from the cluster, or rename its profile")
}

fn too_many(most: usize) -> Error {
    Error::new(
        Kind::Policy,
        format!("this node takes at most {most} profiles from the cluster"),
    )
    .with_remedy(
        "remove profiles, or raise max_profiles in the section [cluster] of \
         /etc/oci-apparmor/config.toml",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_apparmor::settings::Pattern;
    use proptest::prelude::*;
    use std::path::Path;

    fn listing(complete: bool, files: &[&str]) -> SpoolListing {
        let parsed = files.iter().map(|f| SpoolEntry::parse(f).unwrap());
        SpoolListing {
            complete,
            files: parsed.map(|f| (f, Default::default())).collect(),
            rejected: 0,
        }
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    fn settings(allow: &[&str], max_profiles: usize) -> ClusterSettings {
        let pattern = |p: &&str| Pattern::try_from((*p).to_owned()).unwrap();
        ClusterSettings {
            allow: allow.iter().map(pattern).collect(),
            max_profiles,
            ..ClusterSettings::default()
        }
    }

    fn none(_: &ProfileName) -> Result<Option<PathBuf>> {
        Ok(None)
    }

    fn candidates(plan: &SyncPlan) -> Vec<String> {
        plan.candidates.iter().map(|(_, f)| f.file_name()).collect()
    }

    fn refusal(plan: &SyncPlan, name: &str) -> String {
        plan.refused[name].to_string()
    }

    #[test]
    fn only_allowed_names_are_candidates() {
        let listed = listing(
            true,
            &[
                "cluster-a.yaml",
                "cluster-b.profile",
                "web.yaml",
                "docker-default.yaml",
            ],
        );
        let done = plan(&listed, &set(&[]), &ClusterSettings::default(), none);
        assert_eq!(candidates(&done), ["cluster-a.yaml", "cluster-b.profile"]);
        assert!(refusal(&done, "web").contains("has no pattern"));
        // Not even where everything is allowed.
        let names = [
            "docker-default.yaml",
            "containers-default-0.62.2.profile",
            "unconfined.yaml",
            "u.yaml",
            "README.profile",
            "x.dpkg-old.profile",
            "+x.yaml",
        ];
        let done = plan(
            &listing(true, &names),
            &set(&[]),
            &settings(&["*"], 9),
            none,
        );
        assert_eq!(candidates(&done), [""; 0]);
        assert_eq!(done.refused.len(), names.len());
    }

    #[test]
    fn sources_of_the_node_come_first() {
        let here = |name: &ProfileName| {
            let path = Path::new("/etc/apparmor.d").join(name.as_str());
            Ok((name.as_str() == "cluster-a").then_some(path))
        };
        let listed = listing(false, &["cluster-a.yaml", "cluster-b.yaml"]);
        let done = plan(
            &listed,
            &set(&["cluster-a"]),
            &ClusterSettings::default(),
            here,
        );
        assert_eq!(candidates(&done), ["cluster-b.yaml"]);
        assert!(refusal(&done, "cluster-a").contains("/etc/apparmor.d/cluster-a"));
        assert_eq!(done.removed, ["cluster-a"]);
        let failed = |_: &ProfileName| Err(Error::new(Kind::Internal, "unknown"));
        let done = plan(&listed, &set(&[]), &ClusterSettings::default(), failed);
        assert_eq!(done.refused.len(), 2);
    }

    #[test]
    fn sources_go_only_if_the_spool_is_complete_or_the_node_says_so() {
        let accepted = set(&["cluster-a", "cluster-b", "web"]);
        let of = |complete| {
            let listed = listing(complete, &["cluster-a.yaml"]);
            plan(&listed, &accepted, &ClusterSettings::default(), none)
        };
        assert_eq!(of(true).removed, ["cluster-b", "web"]);
        let partly = of(false);
        assert_eq!(partly.removed, ["web"]);
        assert_eq!(partly.kept.len(), 1);
        assert_eq!(candidates(&partly), ["cluster-a.yaml"]);
    }

    #[test]
    fn two_files_of_one_profile_are_refused_and_its_source_stays() {
        let listed = listing(true, &["cluster-a.yaml", "cluster-a.profile"]);
        let done = plan(
            &listed,
            &set(&["cluster-a"]),
            &ClusterSettings::default(),
            none,
        );
        assert!(candidates(&done).is_empty() && done.removed.is_empty());
        assert!(refusal(&done, "cluster-a").contains("both cluster-a.yaml and"));
    }

    #[test]
    fn a_flood_does_not_displace_what_was_accepted() {
        let files: Vec<String> = (0..100).map(|n| format!("cluster-{n:03}.yaml")).collect();
        let mut files: Vec<&str> = files.iter().map(String::as_str).collect();
        files.push("cluster-z.yaml");
        let done = plan(
            &listing(true, &files),
            &set(&["cluster-z"]),
            &settings(&["cluster-*"], 3),
            none,
        );
        assert_eq!(
            candidates(&done),
            ["cluster-000.yaml", "cluster-001.yaml", "cluster-z.yaml"]
        );
        assert_eq!(done.refused.len(), 98);
        assert!(refusal(&done, "cluster-002").contains("at most 3 profiles"));
    }

    proptest! {
        #[test]
        fn each_profile_has_one_fate(
            files in proptest::collection::btree_set("(cluster-)?[ab]{1,2}\\.(yaml|profile)", 0..12),
            accepted in proptest::collection::btree_set("(cluster-)?[ab]{1,2}", 0..8),
            complete in any::<bool>(),
            most in 0_usize..6,
        ) {
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            let listed = listing(complete, &files);
            let done = plan(&listed, &accepted, &settings(&["cluster-*"], most), none);
            let candidates: BTreeSet<&str> =
                done.candidates.iter().map(|(_, f)| f.profile.as_str()).collect();
            let new = candidates.iter().filter(|c| !accepted.contains(**c)).count();
            prop_assert!(new <= most);
            for file in listed.files.keys() {
                let name = file.profile.as_str();
                prop_assert!(candidates.contains(name) != done.refused.contains_key(name));
            }
            for name in &accepted {
                let in_spool = listed.files.keys().any(|f| f.profile == *name);
                let goes = done.removed.contains(name);
                prop_assert_eq!(goes, !name.starts_with("cluster-") || complete && !in_spool);
                let stays = done.kept.iter().any(|k| k.as_str() == name);
                prop_assert_eq!(stays, !goes && !in_spool);
            }
        }
    }
}
