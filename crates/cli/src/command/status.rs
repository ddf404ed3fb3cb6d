//! `status`: every profile that matters here, what the kernel has of it, and who uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::command::users::Users;
use crate::print;
use oci_apparmor::apparmor::loaded::Loaded;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::{Result, foreign};
use oci_apparmor::node::Node;
use oci_apparmor::profiles::source::listing::{self, Listing};
use oci_apparmor::profiles::{Drift, Source, Store};
use oci_apparmor::settings::Settings;

/// One profile, or one file that is none.
struct Row {
    name: Option<String>,
    path: Option<PathBuf>,
    source: Option<Source>,
    loaded: Option<Loaded>,
    drift: Drift,
    containers: Vec<String>,
    /// Those of them that run without it, since it was removed.
    lost: Vec<String>,
    processes: usize,
}

pub(crate) fn run(names: &[String], all: bool, as_json: bool) -> Result<u8> {
    let node = Node::load()?;
    let settings = &node.settings;
    let store = Store::new(&node);
    let users = Users::look();
    let rows = match names {
        [] => everything(&store, settings, &users, all)?,
        names => names
            .iter()
            .map(|name| profile(&store, settings, &users, &ProfileName::parse(name)?.root()))
            .collect::<Result<Vec<_>>>()?,
    };
    let text = match as_json {
        true => format!("{:#}\n", Value::from_iter(rows.iter().map(Row::to_json))),
        false => table(&rows),
    };
    print(&text)?;
    Ok(0)
}

/// Profiles with a source of this node, those that its settings name, and those that containers
/// need; with `all`, whatever else the kernel holds.
fn everything(
    store: &Store<'_>,
    settings: &Settings,
    users: &Users,
    all: bool,
) -> Result<Vec<Row>> {
    let Listing { profiles, unusable } = listing::sources(settings);
    let mut names: BTreeSet<ProfileName> = profiles.into_iter().map(|listed| listed.name).collect();
    names.extend(listing::named(settings).map(ProfileName::root));
    names.extend(users.profiles().filter_map(|n| ProfileName::parse(n).ok()));
    let mut others: BTreeMap<String, Loaded> = BTreeMap::new();
    if all {
        for (name, loaded) in store.kernel().all()? {
            match ProfileName::parse(&name) {
                Ok(name) => drop(names.insert(name)),
                // Nobody can ask for it, and it is there all the same.
                Err(_) => drop(others.insert(name, loaded)),
            }
        }
    }
    let mut rows = names
        .iter()
        .map(|name| profile(store, settings, users, name))
        .collect::<Result<Vec<_>>>()?;
    rows.extend(others.into_iter().map(|(name, loaded)| Row {
        processes: users.processes(&name),
        name: Some(name),
        path: None,
        source: None,
        loaded: Some(loaded),
        drift: Drift::None,
        containers: Vec::new(),
        lost: Vec::new(),
    }));
    rows.extend(unusable.into_iter().map(|(path, e)| Row {
        name: None,
        path: Some(path),
        source: None,
        loaded: None,
        drift: Drift::Unknown(e.to_string()),
        containers: Vec::new(),
        lost: Vec::new(),
        processes: 0,
    }));
    Ok(rows)
}

fn profile(
    store: &Store<'_>,
    settings: &Settings,
    users: &Users,
    name: &ProfileName,
) -> Result<Row> {
    let source = Source::of(name, settings)?;
    let loaded = store.loaded(name)?;
    let drift = match &source {
        Some(source) => store.drift(name, source, loaded.as_ref())?,
        None => Drift::None,
    };
    let owned = |ids: Vec<&str>| ids.into_iter().map(str::to_owned).collect();
    Ok(Row {
        name: Some(name.to_string()),
        path: source.as_ref().map(|s| s.path.clone()),
        source,
        loaded,
        drift,
        containers: owned(users.containers(name.as_str())),
        lost: owned(users.lost(name.as_str())),
        processes: users.processes(name.as_str()),
    })
}

impl Row {
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

    fn disabled(&self) -> Option<String> {
        Some(self.source.as_ref()?.disabled.as_ref()?.to_string())
    }

    fn used_by(&self) -> String {
        const SHOWN: usize = 3;
        let mut users: Vec<String> = self
            .containers
            .iter()
            .take(SHOWN)
            .map(|id| id.chars().take(12).collect())
            .collect();
        match self.containers.len().saturating_sub(SHOWN) {
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

    fn cells(&self) -> [String; 6] {
        let source = self.path.as_ref().map_or("-".to_owned(), |path| {
            let path = foreign(&path.display().to_string());
            match &self.source {
                Some(source) if source.disabled.is_some() => format!("{path} (disabled)"),
                Some(source) if source.complain => format!("{path} (force-complain)"),
                _ => path,
            }
        });
        [
            foreign(self.name.as_deref().unwrap_or("-")),
            source,
            if self.loaded.is_some() { "yes" } else { "no" }.to_owned(),
            self.loaded
                .as_ref()
                .map_or("-".to_owned(), |l| l.mode.to_string()),
            self.drift().0.unwrap_or("-").to_owned(),
            self.used_by(),
        ]
    }

    fn to_json(&self) -> Value {
        let (drift, why) = self.drift();
        json!({
            "name": self.name,
            "source": self.path,
            "disabled": self.disabled(),
            "force_complain": self.source.as_ref().is_some_and(|s| s.complain),
            "loaded": self.loaded.is_some(),
            "mode": self.loaded.as_ref().map(|l| l.mode),
            "drift": drift,
            "why": why,
            "containers": self.containers,
            "lost": self.lost,
            "processes": self.processes,
        })
    }
}

fn table(rows: &[Row]) -> String {
    let head = ["NAME", "SOURCE", "LOADED", "MODE", "DRIFT", "USED BY"].map(str::to_owned);
    let cells: Vec<[String; 6]> = [head]
        .into_iter()
        .chain(rows.iter().map(Row::cells))
        .collect();
    let width = |column: usize| {
        let widths = cells.iter().filter_map(|row| row.get(column));
        widths.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in &cells {
        let line: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line.join("  ").trim_end());
    }
    for row in rows {
        if let (_, Some(why)) = row.drift() {
            let what = row.cells().into_iter().next().unwrap_or_default();
            let what = match (&row.name, &row.path) {
                (None, Some(path)) => foreign(&path.display().to_string()),
                _ => what,
            };
            let _ = writeln!(text, "  !! {what}: {why}");
        }
        for id in &row.lost {
            let name = row.name.as_deref().unwrap_or_default();
            let _ = writeln!(
                text,
                "  !! {name}: it was removed while container {id} ran, which runs without it; \
                 restart the container"
            );
        }
    }
    text
}
