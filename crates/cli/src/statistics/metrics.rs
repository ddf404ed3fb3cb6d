//! What is known of this node, as metrics for Prometheus.

use crate::checks::engines;
use crate::checks::wiring::{EngineWiring, WrapperCalls};
use crate::log::Gaps;
use crate::report::progress::Progress;
use crate::statistics::containers::{LabelState, ManagedContainer};
use crate::statistics::denial_file::CountedDenials;
use crate::statistics::exposition::{Exposition, FamilyKind, MetricFamily};
use crate::statistics::node_report;
use crate::statistics::profiles::ProfileStatus;
use oci_apparmor::apparmor::kernel::Enforcement;
use oci_apparmor::apparmor::loaded::Mode;
use oci_apparmor::counters::Counter;
use oci_apparmor::error::{Kind, Result};
use oci_apparmor::node::Node;
use oci_apparmor::settings::Settings;

/// What the metrics are made of.
#[derive(Debug)]
pub(crate) struct MetricSource {
    pub(crate) enforcing: bool,
    pub(crate) engines: Vec<EngineWiring>,
    pub(crate) containers: Vec<ManagedContainer>,
    pub(crate) profiles: Vec<ProfileStatus>,
    pub(crate) counters: Vec<(Counter, u64)>,
    pub(crate) denials: CountedDenials,
}

impl MetricSource {
    /// Looks at this node, and counts what is new in the log.
    ///
    /// # Errors
    /// If records, processes or the kernel's profiles cannot be read, or the counts cannot be kept.
    pub(crate) fn gather() -> Result<Self> {
        let progress = Progress::new();
        let node = Node::with(Settings::load().unwrap_or_default());
        let containers = ManagedContainer::all(&node)?;
        let profiles = node_report::profiles(&node, &progress)?;
        progress.show("reading the log");
        let is_known = |name: &str| profiles.iter().any(|p| p.name.as_deref() == Some(name));
        let denials = CountedDenials::update(is_known)?;
        Ok(Self {
            enforcing: node.kernel.enforcement() == Enforcement::On,
            engines: engines::look().engines,
            containers,
            counters: node_report::counted(),
            denials,
            profiles,
        })
    }

    /// The text for Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut made = Exposition::default();
        self.node(&mut made);
        self.containers(&mut made);
        self.profiles(&mut made);
        self.counters(&mut made);
        self.denials(&mut made);
        made.into_text()
    }

    fn node(&self, made: &mut Exposition) {
        gauge(
            made,
            "oci_apparmor_build_info",
            "The version of oci-apparmor, as a label.",
        )
        .series(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        let help = "Whether the kernel enforces AppArmor profiles.";
        gauge(made, "oci_apparmor_enforcing", help).series(&[], self.enforcing.into());
        let labels = |engine: &EngineWiring| engine.configuration.display().to_string();
        let help = "Whether the engine calls the wrapper, for all containers or for those that name its runtime.";
        let mut family = gauge(made, "oci_apparmor_engine_calls_wrapper", help);
        for engine in &self.engines {
            let calls = matches!(engine.calls, WrapperCalls::All | WrapperCalls::Named);
            let file = labels(engine);
            family.series(
                &[("engine", engine.engine), ("configuration", &file)],
                calls.into(),
            );
        }
        let help = "Whether the wrapper is the default runtime of the engine.";
        let mut family = gauge(made, "oci_apparmor_engine_default_runtime", help);
        for engine in &self.engines {
            let default = engine.calls == WrapperCalls::All;
            let file = labels(engine);
            family.series(
                &[("engine", engine.engine), ("configuration", &file)],
                default.into(),
            );
        }
    }

    fn containers(&self, made: &mut Exposition) {
        let help = "Containers that were made through the wrapper, by how the labels of their processes compare with the one they must have.";
        let mut family = gauge(made, "oci_apparmor_containers", help);
        for state in LabelState::ALL {
            let count = self.containers.iter().filter(|c| c.label_state() == state);
            let word = state.as_str().replace(' ', "_");
            family.series(&[("label_state", &word)], count_of(count));
        }
        let help = "Processes that run without the label of their container.";
        let unconfined = self
            .containers
            .iter()
            .flat_map(ManagedContainer::unconfined);
        gauge(made, "oci_apparmor_unconfined_processes", help).series(&[], count_of(unconfined));
    }

    fn profiles(&self, made: &mut Exposition) {
        let help = "Profiles of this node by their mode in the kernel; not_loaded if it does not have them.";
        let mut family = gauge(made, "oci_apparmor_profiles", help);
        let modes = [
            Mode::Enforce,
            Mode::Kill,
            Mode::Complain,
            Mode::Unconfined,
            Mode::User,
        ];
        for mode in modes.map(Some).into_iter().chain([None]) {
            let named = self.profiles.iter().filter(|p| p.name.is_some());
            let count = named.filter(|p| p.loaded.as_ref().map(|l| l.mode) == mode);
            let word = mode.map_or_else(|| "not_loaded".to_owned(), |mode| mode.to_string());
            family.series(&[("mode", &word)], count_of(count));
        }
        let help = "Loaded profiles that differ from their source, or cannot be compared with it.";
        let mut family = gauge(made, "oci_apparmor_drifted_profiles", help);
        for drift in ["mode", "content", "children", "unknown"] {
            let count = self.profiles.iter().filter(|p| p.drift().0 == Some(drift));
            family.series(&[("drift", drift)], count_of(count));
        }
    }

    fn counters(&self, made: &mut Exposition) {
        let mut single = |name, help, event| {
            counter(made, name, help).series(&[], self.count(event));
        };
        single(
            "oci_apparmor_profile_loads_total",
            "Profiles that were loaded because the kernel did not have them.",
            Counter::Load,
        );
        single(
            "oci_apparmor_profile_load_failures_total",
            "Profiles that could not be loaded from their source.",
            Counter::LoadFailure,
        );
        single(
            "oci_apparmor_compilations_total",
            "Sources of profiles that were compiled to be loaded.",
            Counter::Compile,
        );
        single(
            "oci_apparmor_cache_hits_total",
            "Sources of profiles whose compiled policy was found in the cache.",
            Counter::CacheHit,
        );
        single(
            "oci_apparmor_label_violations_total",
            "Containers, and processes of exec, that ran without their label and were killed.",
            Counter::LabelViolation,
        );
        let help = "Loaded profiles that were replaced: they differed from their source (drift), or the parser or the kernel has changed (toolchain).";
        let mut family = counter(made, "oci_apparmor_profile_reloads_total", help);
        for (reason, event) in [
            ("drift", Counter::ReloadDrift),
            ("toolchain", Counter::ReloadToolchain),
        ] {
            family.series(&[("reason", reason)], self.count(event));
        }
        let help = "Calls of the wrapper and the hook that were refused, by kind of reason.";
        let mut family = counter(made, "oci_apparmor_refusals_total", help);
        for (event, count) in &self.counters {
            if let Counter::Refusal(kind) = event {
                family.series(&[("kind", kind_label(*kind))], *count);
            }
        }
    }

    fn denials(&self, made: &mut Exposition) {
        let help = "Accesses that AppArmor denied (denied, killed), or would have denied in complain mode (allowed).";
        let mut family = counter(made, "oci_apparmor_denials_total", help);
        for (kind, count) in self.denials.totals.iter() {
            let labels = [
                ("profile", kind.profile.as_str()),
                ("operation", &kind.operation),
                ("verdict", &kind.verdict),
            ];
            family.series(&labels, count);
        }
        let help = "Whether the log has every event that was logged since the last run of metrics.";
        let complete = self.denials.is_complete;
        gauge(made, "oci_apparmor_log_complete", help).series(&[], complete.into());
        let help = "Audit records that the kernel dropped since boot, of AppArmor and others.";
        let mut family = counter(made, "oci_apparmor_audit_lost_records_total", help);
        let Some(gaps) = self.denials.gaps else {
            return;
        };
        let lost = gaps.lost_before.saturating_add(gaps.lost_by_kernel);
        family.series(&[], lost);
        let help = "Records that are known to be missing in the part of the log that the last run read, by cause.";
        let mut family = gauge(made, "oci_apparmor_log_gaps", help);
        for (cause, count) in causes(&gaps) {
            family.series(&[("cause", cause)], count);
        }
    }

    fn count(&self, event: Counter) -> u64 {
        let mut counters = self.counters.iter();
        counters.find(|(of, _)| *of == event).map_or(0, |(_, n)| *n)
    }
}

/// What can be missing in a log that is read to its end.
fn causes(gaps: &Gaps) -> [(&'static str, u64); 6] {
    [
        ("malformed", gaps.malformed),
        ("missed_by_journal", gaps.missed_by_journal),
        ("overwritten", gaps.overwritten),
        ("suppressed", gaps.suppressed),
        ("undated", gaps.undated),
        ("unknown_verdict", gaps.unknown_verdict),
    ]
}

fn kind_label(kind: Kind) -> &'static str {
    match kind {
        Kind::Usage => "usage",
        Kind::NotFound => "not_found",
        Kind::DoesNotCompile => "does_not_compile",
        Kind::Policy => "policy",
        Kind::KernelOff => "kernel_off",
        Kind::Configuration => "configuration",
        Kind::Internal => "internal",
    }
}

fn gauge<'m>(made: &'m mut Exposition, name: &'static str, help: &str) -> MetricFamily<'m> {
    made.family(FamilyKind::Gauge, name, help)
}

fn counter<'m>(made: &'m mut Exposition, name: &'static str, help: &str) -> MetricFamily<'m> {
    made.family(FamilyKind::Counter, name, help)
}

fn count_of<T>(all: impl Iterator<Item = T>) -> u64 {
    u64::try_from(all.count()).unwrap_or(u64::MAX)
}
