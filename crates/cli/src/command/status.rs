//! `status`: the profiles of this node, what the kernel has of each, and what uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::report::output::Output;
use crate::report::progress::Progress;
use crate::report::table::{Cell, Fit, Row, Table, Tone};
use crate::report::users::Users;
use oci_apparmor::apparmor::loaded::{Loaded, Mode};
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::Result;
use oci_apparmor::node::Node;
use oci_apparmor::profiles::source::listing::{self, Listing};
use oci_apparmor::profiles::{Drift, Source, Store};
use oci_apparmor::settings::Settings;

/// List profiles: source, mode, differences from the source, and users
///
/// Lists the profiles that have a source in one of the profile_directories, that the configuration
/// names, or that containers need. Of the sources in /etc/apparmor.d itself, only those are listed
/// that the configuration or a container names.
///
/// DRIFT says how the kernel differs from the source: not loaded; mode (whatever the content is);
/// content; children (the kernel has children that the source does not declare, and that allow
/// something); or unknown, with the reason below the row. Only sources in the first of the
/// profile_directories are compared, with everything they include, and only root can compare them.
///
/// USED BY names the containers that were made through the wrapper with the profile, and counts the
/// processes that run under it, in stacks and under its children too. Containers that run without
/// the profile, because it was removed while they ran, are named below the row; restart them.
///
/// Nothing is loaded or changed, but policy that is compiled for the comparison stays in the cache.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oci-apparmor status
  # One profile.
  oci-apparmor status web
  # The profiles that differ from their sources.
  oci-apparmor status --json | jq '.[] | select(.drift)'")]
pub(crate) struct StatusArguments {
    /// Only these profiles
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Also list everything else that the kernel holds
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// One profile, or one file that cannot be used.
#[derive(Debug)]
struct ProfileStatus {
    name: Option<String>,
    path: Option<PathBuf>,
    source: Option<Source>,
    loaded: Option<Loaded>,
    drift: Drift,
    containers: Vec<String>,
    /// The containers that run without it, because it was removed.
    lost: Vec<String>,
    processes: usize,
}

pub(crate) fn run(arguments: &StatusArguments, output: Output) -> Result<u8> {
    let node = Node::load()?;
    let store = Store::new(&node);
    let users = Users::look(store.kernel());
    let progress = Progress::new();
    let look = Look {
        store: &store,
        settings: &node.settings,
        users: &users,
    };
    let profiles = match arguments.names.as_slice() {
        [] => look.everything(arguments.all, &progress)?,
        names => {
            let names: Result<Vec<_>> = names.iter().map(|n| ProfileName::parse(n)).collect();
            let names = names?.into_iter().map(|name| name.root());
            look.all(&Vec::from_iter(names), &progress)?
        }
    };
    drop(progress);
    match arguments.json {
        true => output.json(&Vec::from_iter(profiles.iter().map(ProfileStatus::shown)))?,
        false => output.table(&table(&profiles, output))?,
    }
    Ok(0)
}

/// What profiles are looked up in.
struct Look<'a> {
    store: &'a Store<'a>,
    settings: &'a Settings,
    users: &'a Users,
}

impl Look<'_> {
    /// Profiles with a source of this node, those that its settings name, and those that containers
    /// need; with `all`, everything else that the kernel holds.
    fn everything(&self, all: bool, progress: &Progress) -> Result<Vec<ProfileStatus>> {
        let Listing { profiles, unusable } = listing::sources(self.settings);
        let mut names: BTreeSet<ProfileName> =
            profiles.into_iter().map(|listed| listed.name).collect();
        names.extend(listing::named(self.settings).map(ProfileName::root));
        let used = self.users.profiles();
        names.extend(used.filter_map(|name| ProfileName::parse(name).ok()));
        let mut others: BTreeMap<String, Loaded> = BTreeMap::new();
        if all {
            for (name, loaded) in self.store.kernel().all()? {
                match ProfileName::parse(&name) {
                    Ok(name) => drop(names.insert(name)),
                    // No container can ask for it, but it is loaded.
                    Err(_) => drop(others.insert(name, loaded)),
                }
            }
        }
        let mut found = self.all(&Vec::from_iter(names), progress)?;
        found.extend(others.into_iter().map(|(name, loaded)| ProfileStatus {
            processes: self.users.processes(&name),
            name: Some(name),
            loaded: Some(loaded),
            ..ProfileStatus::nothing()
        }));
        found.extend(unusable.into_iter().map(|(path, e)| ProfileStatus {
            path: Some(path),
            drift: Drift::Unknown(e.to_string()),
            ..ProfileStatus::nothing()
        }));
        Ok(found)
    }

    fn all(&self, names: &[ProfileName], progress: &Progress) -> Result<Vec<ProfileStatus>> {
        let mut found = Vec::with_capacity(names.len());
        for (done, name) in names.iter().enumerate() {
            progress.step(done, names.len(), name.as_str());
            found.push(self.one(name)?);
        }
        Ok(found)
    }

    fn one(&self, name: &ProfileName) -> Result<ProfileStatus> {
        let source = Source::of(name, self.settings)?;
        let loaded = self.store.loaded(name)?;
        let drift = match &source {
            Some(source) => self.store.drift(name, source, loaded.as_ref())?,
            None => Drift::None,
        };
        let owned = |ids: Vec<&str>| ids.into_iter().map(str::to_owned).collect();
        Ok(ProfileStatus {
            name: Some(name.to_string()),
            path: source.as_ref().map(|s| s.path.clone()),
            source,
            loaded,
            drift,
            containers: owned(self.users.containers(name.as_str())),
            lost: owned(self.users.lost(name.as_str())),
            processes: self.users.processes(name.as_str()),
        })
    }
}

/// What `--json` prints of a profile.
#[derive(Debug, Serialize)]
struct ProfileJson<'p> {
    name: Option<&'p str>,
    source: Option<&'p Path>,
    disabled: Option<String>,
    force_complain: bool,
    loaded: bool,
    mode: Option<Mode>,
    drift: Option<&'static str>,
    why: Option<&'p str>,
    containers: &'p [String],
    lost: &'p [String],
    processes: usize,
}

impl ProfileStatus {
    fn nothing() -> Self {
        Self {
            name: None,
            path: None,
            source: None,
            loaded: None,
            drift: Drift::None,
            containers: Vec::new(),
            lost: Vec::new(),
            processes: 0,
        }
    }

    /// The drift in one word, and why it is not known.
    fn drift(&self) -> (Option<&'static str>, Option<&str>) {
        match &self.drift {
            Drift::None => (None, None),
            Drift::NotLoaded => (Some("not loaded"), None),
            Drift::Mode => (Some("mode"), None),
            Drift::Content => (Some("content"), None),
            Drift::Children(which) => (Some("children"), Some(which)),
            Drift::Unknown(why) => (Some("unknown"), Some(why)),
        }
    }

    fn used_by(&self, output: Output) -> String {
        let shown = match output.is_terminal() {
            true => 3,
            false => usize::MAX,
        };
        let ids = self.containers.iter().take(shown);
        let mut users: Vec<String> = ids.map(|id| output.id(id).to_owned()).collect();
        match self.containers.len().saturating_sub(shown) {
            0 => {}
            more => users.push(format!("{more} more")),
        }
        match self.processes {
            0 => {}
            1 => users.push("1 process".to_owned()),
            n => users.push(format!("{n} processes")),
        }
        users.join(", ")
    }

    fn row(&self, output: Output) -> Row {
        let source = self.path.as_ref().map(|path| {
            let path = path.display();
            match &self.source {
                Some(source) if source.disabled.is_some() => format!("{path} (disabled)"),
                Some(source) if source.complain => format!("{path} (force-complain)"),
                _ => path.to_string(),
            }
        });
        let (drift, why) = self.drift();
        let mut row = Row::new([
            Cell::or_dash(self.name.as_deref()),
            match &self.loaded {
                Some(loaded) if loaded.mode.enforces() => {
                    Cell::new(loaded.mode.to_string(), Tone::Good)
                }
                Some(loaded) => Cell::new(loaded.mode.to_string(), Tone::Warning),
                None => Cell::from("-"),
            },
            drift.map_or_else(|| Cell::from("-"), |word| Cell::new(word, Tone::Warning)),
            Cell::or_dash(source),
            Cell::from(self.used_by(output)),
        ]);
        if let Some(why) = why {
            row.note(why);
        }
        for id in &self.lost {
            row.warning(format!(
                "container {id} runs without it, because it was removed meanwhile; restart the \
                 container"
            ));
        }
        row
    }

    /// Why the profile is not to be loaded.
    fn disabled(&self) -> Option<String> {
        Some(self.source.as_ref()?.disabled.as_ref()?.to_string())
    }

    fn shown(&self) -> ProfileJson<'_> {
        let (drift, why) = self.drift();
        ProfileJson {
            name: self.name.as_deref(),
            source: self.path.as_deref(),
            disabled: self.disabled(),
            force_complain: self.source.as_ref().is_some_and(|s| s.complain),
            loaded: self.loaded.is_some(),
            mode: self.loaded.as_ref().map(|l| l.mode),
            drift,
            why,
            containers: &self.containers,
            lost: &self.lost,
            processes: self.processes,
        }
    }
}

fn table(profiles: &[ProfileStatus], output: Output) -> Table {
    let mut table = Table::new(&[
        ("PROFILE", Fit::Wrap),
        ("MODE", Fit::Whole),
        ("DRIFT", Fit::Whole),
        ("SOURCE", Fit::CutStart),
        ("USED BY", Fit::Wrap),
    ]);
    for profile in profiles {
        table.push(profile.row(output));
    }
    table
}
