//! One synchronisation: what the spool says becomes sources, and these are loaded.
//!
//! It can be killed at any point: a source is replaced in one step, and the next run finds the same
//! differences again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::examine::{Examined, examine};
use super::limits::KnownLimits;
use super::plan::plan;
use super::sources::{ClusterSources, origin};
use super::spool::{SpoolDirectory, SpoolEntry, SpoolListing};
use super::status::{Outcomes, SyncState, SyncStatus};
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::node::Node;
use oci_apparmor::profiles::compile::Objection;
use oci_apparmor::profiles::{Drift, Reload, Source, Store, lock};
use oci_apparmor::settings::ClusterSettings;

/// How long each new text may be compiled at first, so that a slow one does not stop the others.
const SHORT: Duration = Duration::from_secs(5);

/// How many times the limit of one text all slow texts may take together.
const SLOW: u32 = 10;

/// How often the spool is looked at again, if it has changed meanwhile: systemd does not start a
/// service again that is active.
const ROUNDS: usize = 5;

/// Brings the sources of the cluster, and the kernel, to what the spool says.
///
/// # Errors
/// If this node takes no profiles from a cluster, or if its own directories cannot be used.
pub(crate) fn synchronise(node: &Node) -> Result<SyncStatus> {
    let cluster = node.settings.cluster.as_ref().ok_or_else(|| {
        Error::new(
            Kind::Configuration,
            "this node takes no profiles from a cluster",
        )
        .with_remedy("add the section [cluster] to /etc/oci-apparmor/config.toml")
    })?;
    let _lock = lock::of_sync()?;
    let mut removed = BTreeSet::new();
    let mut rounds: usize = 0;
    loop {
        rounds = rounds.saturating_add(1);
        let before = open_and_list(cluster);
        let mut round = Round::new(node, cluster)?;
        let mut status = round.carry_out(&before)?;
        removed.extend(status.removed.iter().cloned());
        status.removed = removed.iter().cloned().collect();
        status.write()?;
        let is_same = match (&before, &open_and_list(cluster)) {
            (Ok((_, before)), Ok((_, now))) => before == now,
            _ => true,
        };
        if is_same || rounds == ROUNDS {
            return Ok(status);
        }
    }
}

/// The spool, and what is in it.
type OpenSpool = (Option<SpoolDirectory>, SpoolListing);

/// Opens the spool and lists it. One that does not exist is empty, and not complete.
fn open_and_list(cluster: &ClusterSettings) -> Result<OpenSpool> {
    let spool = SpoolDirectory::open(cluster.spool.as_path())?;
    let listing = spool.as_ref().map(|s| s.list(cluster.max_profiles));
    let listing = listing.transpose()?.unwrap_or_default();
    Ok((spool, listing))
}

struct Round<'n> {
    node: &'n Node,
    cluster: &'n ClusterSettings,
    sources: ClusterSources,
    known: KnownLimits,
    outcomes: Outcomes,
    failure: Option<u8>,
}

impl<'n> Round<'n> {
    fn new(node: &'n Node, cluster: &'n ClusterSettings) -> Result<Self> {
        Ok(Self {
            node,
            cluster,
            sources: ClusterSources::open()?,
            known: KnownLimits::load(&node.settings),
            outcomes: Outcomes::default(),
            failure: None,
        })
    }

    fn carry_out(&mut self, spool: &Result<OpenSpool>) -> Result<SyncStatus> {
        // A spool that cannot be used changes nothing.
        let unusable = (None, SpoolListing::default());
        let (directory, listing) = spool.as_ref().unwrap_or(&unusable);
        let other = |name: &ProfileName| self.source_of_the_node(name);
        let plan = plan(listing, &self.sources.names(), self.cluster, other);
        let mut removed = Vec::new();
        for name in plan.removed {
            match self.sources.remove(&name) {
                Ok(()) => removed.push(name),
                Err(e) => self.failed(&name, SyncState::Ready, &e),
            }
        }
        for (name, e) in &plan.refused {
            self.refused(name, e);
        }
        for name in &plan.kept {
            self.load(name);
        }
        if let Some(directory) = directory {
            self.files(directory, &plan.candidates);
        }
        self.known.keep();
        let mut status = self.outcomes.status();
        status.complete = listing.complete;
        status.rejected = listing.rejected;
        status.removed = removed;
        status.failure = self.failure;
        if let Err(e) = spool {
            status.refused = Some(e.to_string());
            status.failure = Some(e.kind().exit_code());
        }
        Ok(status)
    }

    /// The source of this name that is not from the cluster.
    fn source_of_the_node(&self, name: &ProfileName) -> Result<Option<PathBuf>> {
        let source = Source::of(name, &self.node.settings)?;
        Ok(source.filter(|s| !s.is_from_cluster()).map(|s| s.path))
    }

    /// Examines the files, first each for a short time, then the slow ones for as long as a profile
    /// of this node may take.
    fn files(&mut self, spool: &SpoolDirectory, candidates: &[(ProfileName, SpoolEntry)]) {
        let whole = self.node.settings.parser_limits().time;
        let first = whole.min(SHORT);
        let mut slow = Vec::new();
        for (name, file) in candidates {
            match self.file(spool, name, file, first) {
                Some(exceeded) if first == whole => self.exceeded(name, &exceeded),
                Some((_, e)) => {
                    self.refused(name.as_str(), &e);
                    slow.push((name, file));
                }
                None => {}
            }
        }
        let started = Instant::now();
        for (name, file) in slow {
            if started.elapsed() >= whole.saturating_mul(SLOW) {
                let why = "other slow profiles have taken all the time for compiling";
                let e = Error::new(Kind::DoesNotCompile, why).with_remedy("run: oci-apparmor sync");
                self.refused(name.as_str(), &e);
            } else if let Some(exceeded) = self.file(spool, name, file, whole) {
                self.exceeded(name, &exceeded);
            }
        }
    }

    /// A file with this content exceeds a limit, and will do so again.
    fn exceeded(&mut self, name: &ProfileName, (origin, e): &(String, Error)) {
        self.refused(name.as_str(), e);
        self.known.add(origin, e);
    }

    /// Makes a source of a file, and loads it. Returns its content's origin and the limit that
    /// it exceeds, if it does.
    fn file(
        &mut self,
        spool: &SpoolDirectory,
        name: &ProfileName,
        file: &SpoolEntry,
        time: Duration,
    ) -> Option<(String, Error)> {
        let bytes = match spool.read(file, self.cluster.max_bytes()) {
            Ok(bytes) => bytes,
            Err(e) => {
                self.refused(name.as_str(), &e);
                return None;
            }
        };
        let origin = origin(file.kind, &bytes);
        if self.sources.is_from(name.as_str(), &origin) {
            self.load(name);
            return None;
        }
        if let Err(e) = self.may_replace(name) {
            self.refused(name.as_str(), &e);
            return None;
        }
        let store = Store::new(self.node).with_limit(time);
        match examine(&store, name, file.kind, &bytes, &mut self.known) {
            Ok(Examined::Text(text)) => {
                match self.sources.write(name.as_str(), &text, &origin) {
                    Ok(()) => self.load(name),
                    Err(e) => self.refused(name.as_str(), &e),
                }
                None
            }
            Ok(Examined::Disabled) => {
                if let Err(e) = self.sources.remove(name.as_str()) {
                    self.failed(name.as_str(), SyncState::Ready, &e);
                    return None;
                }
                let reason = "its manifest has state: Disabled".to_owned();
                self.outcomes
                    .set(name.as_str(), SyncState::Disabled, Some(reason));
                None
            }
            Err(Objection::Refused(e)) => {
                self.refused(name.as_str(), &e);
                None
            }
            Err(Objection::Limit(e)) => Some((origin, e)),
        }
    }

    /// Checks that a new source does not replace a profile of other programs: the file of a profile
    /// in `/etc/apparmor.d` may have another name than the profile.
    fn may_replace(&self, name: &ProfileName) -> Result<()> {
        let is_new = !self.sources.contains(name.as_str());
        match is_new && Store::new(self.node).is_loaded_by_another(name)? {
            false => Ok(()),
            true => {
                let why = "a profile of this name is loaded, and oci-apparmor did not load it";
                Err(Error::new(Kind::Policy, why).with_remedy("use another name"))
            }
        }
    }

    /// Loads an accepted source, unless the kernel has it already.
    fn load(&mut self, name: &ProfileName) {
        let state = self.loaded(name);
        match state {
            Ok((state, reason)) => self.outcomes.set(name.as_str(), state, reason),
            Err(e) => self.failed(name.as_str(), SyncState::Ready, &e),
        }
    }

    fn loaded(&self, name: &ProfileName) -> Result<(SyncState, Option<String>)> {
        let store = Store::new(self.node);
        let source = Source::of(name, &self.node.settings)?.ok_or_else(|| {
            Error::new(Kind::Internal, format!("the source of {name} is gone"))
                .with_remedy("run: oci-apparmor sync")
        })?;
        if let Some(why) = &source.disabled {
            return Ok((SyncState::Disabled, Some(why.to_string())));
        }
        let note = "this node has set it to complain mode";
        let note = source.complain.then(|| note.to_owned());
        if store.is_up_to_date(name, &source) {
            return Ok((SyncState::Loaded, note));
        }
        match store.load(name, Reload::AsConfigured) {
            Ok(_) => Ok((SyncState::Loaded, note)),
            Err(e) => {
                let loaded = store.loaded(name)?;
                match store.drift(name, &source, loaded.as_ref()) {
                    Ok(Drift::Mode | Drift::Content | Drift::Children(_)) => {
                        Ok((SyncState::Drift, Some(e.to_string())))
                    }
                    _ => Err(e),
                }
            }
        }
    }

    /// The file of a profile is not used.
    fn refused(&mut self, name: &str, e: &Error) {
        let reason = match self.sources.contains(name) {
            true => format!(
                "{}; the source that was accepted before stays",
                e.without_remedy()
            ),
            false => e.to_string(),
        };
        self.outcomes.set(name, SyncState::Refused, Some(reason));
    }

    /// This node fails to do what it should.
    fn failed(&mut self, name: &str, state: SyncState, e: &Error) {
        self.failure.get_or_insert(e.kind().exit_code());
        self.outcomes.set(name, state, Some(e.to_string()));
    }
}
