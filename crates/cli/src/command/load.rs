//! `load NAME… | --all`: brings the kernel to what the sources say.

use clap::Args;

use crate::report::outcome::{Outcome, ProfileOutcome, Sum, table};
use crate::report::output::Output;
use crate::report::progress::Progress;
use oci_apparmor::apparmor::kernel;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::node::Node;
use oci_apparmor::profiles::source::listing::{self, Listed};
use oci_apparmor::profiles::{Action, Reload, Source, Store};
use oci_apparmor::settings::{self, Settings};

/// Load profiles from their sources, where the kernel differs from them
///
/// Brings the kernel to what the source of each NAME says: content, mode and children. Processes
/// that run under a profile run under the new one at once. A profile that cannot be loaded does not
/// stop the others.
#[derive(Debug, Args)]
#[command(override_usage = "\
oci-apparmor load [OPTIONS] <NAME>...
       oci-apparmor load [OPTIONS] --all [--watch]")]
#[command(after_help = "\
Exit codes: 0 all are loaded; otherwise the code of the first failure.

Examples:
  oci-apparmor load web
  oci-apparmor load --all
  # Follow the sources from boot on, as a service.
  systemctl enable --now oci-apparmor-preload.service")]
pub(crate) struct LoadArguments {
    /// The names of the profiles
    #[arg(
        value_name = "NAME",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    names: Vec<String>,
    /// Load all sources of this node, except those in /etc/apparmor.d itself
    ///
    /// These are the sources in the profile_directories and the profiles that the configuration
    /// names, wherever their sources are. apparmor.service loads those in /etc/apparmor.d. From
    /// other directories than the first, only missing profiles are loaded. Skipped are disabled
    /// profiles and the files that apparmor_parser(8) skips in a directory: those whose name begins
    /// with a dot, and what package managers and editors leave.
    #[arg(long)]
    all: bool,
    /// Stay, and load again whenever a source changes
    ///
    /// Loads again when a file in these directories, in /etc/apparmor.d/disable or force-complain,
    /// or the configuration changes, and at SIGHUP. Files that the sources include, or that they
    /// are links to, are not watched. Changes within 200 ms are loaded together.
    ///
    /// Reports what is loaded on standard output and failures on standard error, a failure again
    /// only when its file or the reason changes. A profile whose source is removed stays loaded.
    /// With on_drift = "refuse", loaded profiles are not replaced; the difference is reported.
    ///
    /// It also follows the kernel's policy: profiles that are removed are loaded again, and
    /// containers that ran under them are reported on standard error, because they run without the
    /// profile from then on. Where files cannot be watched, that is reported, and everything is
    /// checked every 30 seconds.
    ///
    /// Ends with exit code 0 at SIGTERM or SIGINT. It notifies the service manager once everything
    /// was loaded (sd_notify(3)), so that oci-apparmor-preload.service is done before container
    /// engines start.
    #[arg(long, requires = "all", conflicts_with_all = ["names", "json"])]
    watch: bool,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

impl LoadArguments {
    /// Whether to stay, and follow the sources.
    pub(crate) fn watches(&self) -> bool {
        self.watch
    }
}

/// Refuses where this process may not load profiles.
pub(crate) fn may_load() -> Result<()> {
    kernel::may_load().map_err(|why| {
        Error::new(Kind::Policy, format!("profiles cannot be loaded: {why}"))
            .with_remedy("run it as root on the host")
    })
}

pub(crate) fn run(arguments: &LoadArguments, output: Output) -> Result<u8> {
    may_load()?;
    let node = Node::load()?;
    let store = Store::new(&node);
    if let Some(off) = store.unavailable() {
        return Err(off);
    }
    let progress = Progress::new();
    let step = |done: usize, total: usize, name: &str| {
        progress.step(done, total, &format!("loading {name}"));
        true
    };
    let rows = match arguments.names.as_slice() {
        [] => all(&store, &node.settings, Reload::Always, step, |_| Ok(()))?,
        names => named(&store, &node.settings, names, step),
    };
    drop(progress);
    match arguments.json {
        true => output.json(&Vec::from_iter(rows.iter().map(ProfileOutcome::shown)))?,
        false => {
            output.table(&table(&rows))?;
            output.line(Sum::of(&rows))?;
        }
    }
    let failed = rows.iter().find_map(|row| match &row.outcome {
        Outcome::Failed(e) => Some(e.kind().exit_code()),
        _ => None,
    });
    Ok(failed.unwrap_or(0))
}

/// Loads the profiles of these names, whatever the kernel holds.
fn named(
    store: &Store<'_>,
    settings: &Settings,
    names: &[String],
    step: impl Fn(usize, usize, &str) -> bool,
) -> Vec<ProfileOutcome> {
    let one = |(done, text): (usize, &String)| {
        step(done, names.len(), text);
        match ProfileName::parse(text) {
            Ok(name) => {
                let source = Source::of(&name, settings).ok().flatten().map(|s| s.path);
                let done = store.load(&name, Reload::Always);
                ProfileOutcome::of(
                    text,
                    source,
                    done.map(|(loaded, change)| (loaded.mode, change)),
                )
            }
            Err(e) => ProfileOutcome::of(text, None, Err(e)),
        }
    };
    names.iter().enumerate().map(one).collect()
}

/// Loads all sources of the first directory, and from the others what is missing. `step` is told
/// before each, and can end it; `tell` after each.
pub(crate) fn all(
    store: &Store<'_>,
    settings: &Settings,
    reload: Reload,
    step: impl Fn(usize, usize, &str) -> bool,
    tell: impl Fn(&ProfileOutcome) -> Result<()>,
) -> Result<Vec<ProfileOutcome>> {
    let listing = listing::sources(settings);
    let mut rows = Vec::new();
    let mut keep = |row: ProfileOutcome| {
        tell(&row)?;
        rows.push(row);
        Ok::<(), Error>(())
    };
    for (path, e) in listing.unusable {
        keep(ProfileOutcome::of(
            &path.display().to_string(),
            Some(path),
            Err(e),
        ))?;
    }
    let total = listing.profiles.len();
    for (done, listed) in listing.profiles.iter().enumerate() {
        if !step(done, total, listed.name.as_str()) {
            return Ok(rows);
        }
        keep(one(store, listed, reload))?;
    }
    // What the settings name must be loaded, wherever it came from.
    for name in listing::named(settings) {
        if matches!(Source::of(name, settings), Ok(None)) {
            let here = store.loaded(name).and_then(|loaded| match loaded {
                Some(loaded) => Ok((loaded.mode, Action::None)),
                None => Err(oci_apparmor::wanted::missing(
                    name,
                    settings::PATH,
                    settings,
                )),
            });
            keep(ProfileOutcome::of(name.as_str(), None, here))?;
        }
    }
    Ok(rows)
}

/// Loads the `wanted` profiles that are not in the kernel. Those that are there are not compared.
pub(crate) fn missing(
    store: &Store<'_>,
    settings: &Settings,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<ProfileOutcome>> {
    let mut rows = Vec::new();
    for listed in &listing::sources(settings).profiles {
        let Listed { name, source } = listed;
        if source.disabled.is_none() && !store.is_complete(name)? && wanted(name.as_str()) {
            rows.push(one(store, listed, Reload::AsConfigured));
        }
    }
    Ok(rows)
}

/// Loads one source. A profile that was loaded from another directory than the first is left alone.
fn one(store: &Store<'_>, listed: &Listed, reload: Reload) -> ProfileOutcome {
    let Listed { name, source } = listed;
    let path = Some(source.path.clone());
    if let Some(why) = &source.disabled {
        return ProfileOutcome::disabled(name.as_str(), path, &why.to_string());
    }
    let left = match !source.ours || store.is_up_to_date(name, source) {
        true => store.loaded(name),
        false => Ok(None),
    };
    let done = left.and_then(|left| match left {
        Some(loaded) => Ok((loaded.mode, Action::None)),
        None => store
            .load(name, reload)
            .map(|(loaded, change)| (loaded.mode, change)),
    });
    ProfileOutcome::of(name.as_str(), path, done)
}
