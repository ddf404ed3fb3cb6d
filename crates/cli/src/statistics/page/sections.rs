//! The sections of the page.

use maud::{Markup, html};

use super::chart;
use super::event::describe;
use super::parts::{
    badge, chip, class, code_or_dash, number, remedy, section, shown, table, text_or_dash,
};
use crate::report::table::Tone;
use crate::statistics::containers::{LabelState, ManagedContainer};
use crate::statistics::node_report::NodeReport;
use crate::statistics::profiles::ProfileStatus;
use crate::statistics::report_text;
use oci_apparmor::counters::Counter;
use oci_apparmor_audit::verdict::Verdict;

/// How many accesses are listed.
const MOST_ACCESSES: usize = 25;

/// The numbers at the top.
pub(super) fn numbers(report: &NodeReport) -> Markup {
    let in_state = |state| {
        let all = report.containers.iter();
        all.filter(|c| c.label_state() == state).count()
    };
    let confined = in_state(LabelState::Confined);
    let running = confined
        .saturating_add(in_state(LabelState::Violated))
        .saturating_add(in_state(LabelState::NoProfile));
    let loaded = report.profiles.iter().filter_map(|p| p.loaded.as_ref());
    let enforcing = loaded.clone().filter(|l| l.mode.enforces()).count();
    let drifted = report.profiles.iter().filter(|p| differs(p)).count();
    let refused = report.log.totals.refused();
    let violations = report.count(Counter::LabelViolation);
    let worst = |is_bad: bool, is_warning: bool| match (is_bad, is_warning) {
        (true, _) => Tone::Bad,
        (false, true) => Tone::Warning,
        (false, false) => Tone::Plain,
    };
    let of = |part: usize, all: usize| format!("{part} of {all}");
    let tiles = [
        (
            "Containers confined",
            of(confined, running),
            worst(in_state(LabelState::Violated) > 0, false),
        ),
        (
            "Profiles enforcing",
            of(enforcing, loaded.count()),
            Tone::Plain,
        ),
        (
            "Profiles that drifted",
            drifted.to_string(),
            worst(false, drifted > 0),
        ),
        ("Accesses denied", number(refused), Tone::Plain),
        ("Calls refused", number(report.refusals()), Tone::Plain),
        (
            "Label violations",
            number(violations),
            worst(violations > 0, false),
        ),
    ];
    html! {
        ul.numbers {
            @for (title, value, tone) in tiles {
                li.(class(tone)) { span.value { (value) } span.title { (title) } }
            }
        }
    }
}

fn differs(profile: &ProfileStatus) -> bool {
    let (drift, _) = profile.drift();
    drift.is_some_and(|drift| drift != "not loaded" && drift != "unknown")
}

/// Every container, with the label that it must have and has.
pub(super) fn containers(report: &NodeReport) -> Markup {
    let rows: Vec<_> = report.containers.iter().map(container).collect();
    let made = table(
        ["Container", "State", "Label", "Must have", "Has"],
        &rows,
        "No container was made through the wrapper.",
    );
    section("containers", "Containers", "", &made)
}

fn container(container: &ManagedContainer) -> [Markup; 5] {
    let state = container.label_state();
    let tone = match state {
        LabelState::Confined => Tone::Good,
        LabelState::Violated => Tone::Bad,
        LabelState::NoProfile | LabelState::Unknown => Tone::Warning,
        LabelState::Waiting | LabelState::Ended => Tone::Plain,
    };
    let id = shown(&container.record.id);
    let has = container.has();
    [
        html! {
            code title=(id) { (shown(container.short_id())) }
            @if let Some(pod) = container.pod() { span.under { (shown(&pod)) } }
        },
        html! {
            (container.state.as_str())
            span.under { (shown(&container.record.runtime)) }
        },
        badge(state.as_str(), tone),
        code_or_dash(container.must_have().as_deref()),
        html! {
            @if has.is_empty() { (code_or_dash(None)) }
            @for label in has { span.line { (code_or_dash(Some(label))) } }
            @for process in container.unconfined() {
                span.under.bad {
                    "process " (process.pid) " (" (shown(&process.comm)) ") runs as " (shown(&process.label))
                }
            }
        },
    ]
}

/// What AppArmor denied: charts, and the most frequent accesses.
pub(super) fn denials(report: &NodeReport) -> Markup {
    let log = &report.log;
    let by_profile = log.totals.by(|kind| &kind.profile);
    let by_operation = log.totals.by(|kind| &kind.operation);
    let mut accesses: Vec<_> = log
        .tally
        .iter()
        .filter(|(what, _)| what.verdict != Verdict::Audited)
        .collect();
    accesses.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.count));
    let more = accesses.len().saturating_sub(MOST_ACCESSES);
    let rows: Vec<_> = accesses
        .iter()
        .take(MOST_ACCESSES)
        .map(|(what, seen)| {
            let tone = match what.verdict {
                Verdict::Allowed => Tone::Warning,
                _ => Tone::Bad,
            };
            [
                html! { code { (what.profile) } },
                badge(what.verdict.as_str(), tone),
                html! { (number(seen.count)) },
                html! {
                    (text_or_dash(Some(&what.operation)))
                    @if !what.denied.is_empty() { " " span.mask { (shown(&what.denied)) } }
                },
                html! { code { (what.object) } },
            ]
        })
        .collect();
    let content = html! {
        @if by_profile.is_empty() {
            p.nothing { "Denials: " (shown(&report_text::no_denials(report))) "." }
        } @else {
            div.charts {
                (chart::bars("By profile", &by_profile))
                (chart::bars("By operation", &by_operation))
            }
            p.legend {
                span { span.key.refused {} "denied or killed" }
                span { span.key.allowed {} "allowed in complain mode" }
            }
            h3 { "Most frequent accesses" }
            (table(["Profile", "Verdict", "Count", "Operation", "Object"], &rows, ""))
            @if more > 0 {
                p.about { (number(u64::try_from(more).unwrap_or(u64::MAX))) " more: " code { "oci-apparmor denials" } }
            }
        }
        @if !log.sources.is_empty() {
            p.about { "Read from " (shown(&log.sources.join(", "))) ". What an explicit deny rule refuses is never logged." }
        }
        @for gap in log.gaps() { p.gap { (chip(crate::checks::finding::Status::Warning)) " " (shown(&gap)) } }
    };
    section("denials", "Denials", "", &content)
}

/// The profiles of this node.
pub(super) fn profiles(report: &NodeReport) -> Markup {
    let rows: Vec<_> = report.profiles.iter().map(profile).collect();
    let made = table(
        ["Profile", "Mode", "Drift", "Used by", "Source"],
        &rows,
        "This node has no profiles for containers.",
    );
    section("profiles", "Profiles", "", &made)
}

fn profile(profile: &ProfileStatus) -> [Markup; 5] {
    let (drift, why) = profile.drift();
    let mode = profile.loaded.as_ref().map(|loaded| loaded.mode);
    let path = profile.path.as_ref().map(|path| path.display().to_string());
    let note = match &profile.source {
        Some(source) if source.disabled.is_some() => Some("disabled on this node"),
        Some(source) if source.complain => Some("forced to complain mode on this node"),
        _ => None,
    };
    let processes = match profile.processes {
        1 => "1 process".to_owned(),
        n => format!("{n} processes"),
    };
    [
        code_or_dash(profile.name.as_deref()),
        match mode {
            Some(mode) if mode.enforces() => badge(&mode.to_string(), Tone::Good),
            Some(mode) => badge(&mode.to_string(), Tone::Warning),
            None => badge("not loaded", Tone::Plain),
        },
        html! {
            @match drift {
                Some("not loaded") | None => (code_or_dash(None)),
                Some(word) => (badge(word, Tone::Warning)),
            }
            @if let Some(why) = why { span.under { (shown(why)) } }
        },
        html! {
            @match profile.containers.len() {
                0 => (code_or_dash(None)),
                1 => span.whole { "1 container" },
                n => span.whole { (n) " containers" },
            }
            @if profile.processes > 0 { span.under.whole { (processes) } }
            @if !profile.lost.is_empty() {
                span.under.bad { (profile.lost.len()) " run without it: it was removed meanwhile" }
            }
        },
        html! {
            (code_or_dash(path.as_deref()))
            @if let Some(note) = note { span.under { (note) } }
        },
    ]
}

/// The engines, and for which containers they call the wrapper.
pub(super) fn engines(report: &NodeReport) -> Markup {
    let row = |engine: &crate::checks::wiring::EngineWiring| {
        let (words, tone) = report_text::calls(engine.calls);
        [
            html! { (shown(&engine.title)) },
            badge(words, tone),
            code_or_dash(Some(&engine.configuration.display().to_string())),
        ]
    };
    let rows: Vec<_> = report.engines.iter().map(row).collect();
    let made = table(
        ["Engine", "Calls the wrapper for", "Configuration"],
        &rows,
        "No engine is installed.",
    );
    section("engines", "Engines", "", &made)
}

/// What was refused and loaded since boot.
pub(super) fn counters(report: &NodeReport) -> Markup {
    let happened = report.counters.iter().filter(|(_, count)| *count > 0);
    let row = |(event, count): &(Counter, u64)| {
        let tone = match event {
            Counter::LabelViolation => Tone::Bad,
            Counter::Refusal(_) | Counter::LoadFailure => Tone::Warning,
            _ => Tone::Plain,
        };
        [
            badge(event.file_name(), tone),
            html! { (describe(*event)) },
            html! { (number(*count)) },
        ]
    };
    let rows: Vec<_> = happened.map(row).collect();
    let made = table(
        ["Event", "What", "Count"],
        &rows,
        "Nothing was refused or loaded.",
    );
    section("events", "Refusals and loads", "", &made)
}

/// What `check` finds.
pub(super) fn checks(report: &NodeReport) -> Markup {
    let rows: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            [
                chip(finding.status),
                html! { (finding.part) },
                html! {
                    (shown(&finding.text))
                    @if let Some(text) = &finding.remedy { (remedy(text)) }
                },
            ]
        })
        .collect();
    let made = table(["Status", "Part", "Result"], &rows, "");
    section("checks", "Checks", "", &made)
}

/// What the node is.
pub(super) fn node(report: &NodeReport) -> Markup {
    let facts = &report.facts;
    let apparmor = facts.why_not.as_deref().unwrap_or("enforces profiles");
    let settings = match &facts.settings {
        Some(file) => format!("{} (SHA-256 {})", file.path, file.sha256),
        None => "the defaults".to_owned(),
    };
    let kernel = facts
        .kernel
        .as_ref()
        .map(|k| format!("{k} ({})", facts.architecture));
    let list = [
        ("Name", facts.hostname.as_deref()),
        ("System", facts.os.as_deref()),
        ("Kernel", kernel.as_deref()),
        ("Booted", facts.booted.as_deref()),
        ("AppArmor", Some(apparmor)),
        ("Parser", facts.parser.as_deref()),
        ("oci-apparmor", Some(facts.version)),
        ("Settings", Some(&settings)),
    ];
    let content = html! {
        dl.facts {
            @for (key, value) in list {
                dt { (key) }
                dd { (text_or_dash(value)) }
            }
        }
    };
    section("node", "Node", "", &content)
}
