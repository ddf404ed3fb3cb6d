//! Whether the engines of this node call the wrapper, as their configuration files say.

use std::fs;
use std::path::{Path, PathBuf};

use crate::checks::finding::{ENGINES, Finding, Status};
use crate::checks::hooks::Hooks;
use crate::checks::reverted;
use crate::checks::wiring::{EngineWiring, WrapperCalls};
use crate::engine::config_kind::main_file;
use crate::engine::distribution::Distribution;
use crate::engine::inspection::{Handler, Inspection, Problem};
use crate::engine::journal::Journal;
use crate::engine::kind::Engine;
use crate::engine::root::NodeRoot;
use crate::engine::wrapper::{is_meant, is_wrapper};
use crate::engine::{inspect, invocation, layout};
use oci_apparmor::error::{Kind, quoted};
use oci_apparmor::fs::trusted::{self, TrustError};
use oci_apparmor::profiles::source::listing;
use oci_apparmor::settings::Settings;

/// The engines of this node, and what was found about them.
#[derive(Debug, Default)]
pub(crate) struct EngineChecks {
    pub(crate) findings: Vec<Finding>,
    pub(crate) engines: Vec<EngineWiring>,
}

/// Looks at the configuration of each engine.
pub(crate) fn look() -> EngineChecks {
    let mut found = Vec::new();
    let mut engines = Vec::new();
    let mut hooks = Hooks::default();
    match NodeRoot::new(Path::new("/")) {
        Ok(node) => {
            let journals = remembered(&node, &mut found);
            let running: Vec<PathBuf> = match node.is_node() {
                true => invocation::containerds()
                    .into_iter()
                    .map(|(_, f)| f)
                    .collect(),
                false => Vec::new(),
            };
            for (engine, main) in configurations(&node, &journals, &running) {
                let journal = journals.iter().find(|journal| {
                    journal.engine == engine.name() && journal.configuration == main
                });
                let (calls, findings) = wired(engine, &node, &main, journal, &mut hooks);
                let concern = findings.iter().find(|f| f.status != Status::Ok);
                engines.extend(calls.map(|calls| EngineWiring {
                    engine: engine.name(),
                    title: title(engine, &main),
                    configuration: main.clone(),
                    calls,
                    concern: concern.map(|finding| finding.text.clone()),
                }));
                found.extend(findings);
                if let Some(journal) = journal {
                    found.extend(reverted::of(engine, &node, journal, &running, &is_meant));
                }
            }
        }
        Err(e) => found.push(Finding::error(ENGINES, &e)),
    }
    found.extend(hooks.findings());
    EngineChecks {
        findings: found,
        engines,
    }
}

/// The name of an engine for people.
fn title(engine: Engine, main: &Path) -> String {
    match distribution(engine, main) {
        Distribution::System => engine.title().to_owned(),
        other => format!("containerd of {}", other.title()),
    }
}

fn distribution(engine: Engine, main: &Path) -> Distribution {
    match engine {
        Engine::Containerd => Distribution::of(main, None),
        _ => Distribution::System,
    }
}

/// The unit that loads all sources at boot, and the directories in which systemd looks for what is
/// enabled (`systemd.unit(5)`).
const UNIT: &str = "oci-apparmor-preload.service";
const UNITS: [&str; 3] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
];

/// Whether there are sources that nothing loads at boot. The wrapper does not need that, but
/// containerd refuses a profile that is not loaded before it calls the wrapper.
pub(crate) fn preloading(settings: &Settings) -> Option<Finding> {
    // As sd_booted(3) tells.
    if !Path::new("/run/systemd/system").is_dir() || listing::sources(settings).profiles.is_empty()
    {
        return None;
    }
    let entries = UNITS.iter().filter_map(|d| fs::read_dir(d).ok()).flatten();
    let mut wanting = entries.flatten().map(|entry| entry.path()).filter(|path| {
        let kind = path.extension().unwrap_or_default();
        kind == "wants" || kind == "requires"
    });
    Some(
        match wanting.any(|d| d.join(UNIT).symlink_metadata().is_ok()) {
            true => Finding::ok("preload", format!("{UNIT} is enabled")),
            false => Finding::warning(
                "preload",
                format!(
                    "{UNIT} is not enabled: profiles are loaded when a container first needs them"
                ),
                format!("run: systemctl enable --now {UNIT}"),
            ),
        },
    )
}

/// What was configured. Where that cannot be read, it is a finding.
fn remembered(node: &NodeRoot, found: &mut Vec<Finding>) -> Vec<Journal> {
    Journal::all(node).unwrap_or_else(|e| {
        found.push(Finding::error(ENGINES, &e));
        Vec::new()
    })
}

/// The configurations that engines read on this node, and those that were configured elsewhere.
fn configurations(
    node: &NodeRoot,
    journals: &[Journal],
    running: &[PathBuf],
) -> Vec<(Engine, PathBuf)> {
    let mut all = Vec::new();
    for engine in Engine::ALL {
        match engine {
            Engine::Containerd => {
                let reads = match running.is_empty() {
                    true => on_disk(node),
                    false => running.to_vec(),
                };
                let known = |reads: &PathBuf| {
                    let mut known = journals.iter().filter(|m| m.engine == engine.name());
                    let known = known.find(|m| main_file(&m.configuration) == *reads);
                    known.map(|journal| journal.configuration.clone())
                };
                let main = |reads: &PathBuf| {
                    let main = known(reads).or_else(|| layout::to_change(node, reads).ok());
                    main.unwrap_or_else(|| reads.clone())
                };
                all.extend(reads.iter().map(|reads| (engine, main(reads))));
            }
            Engine::Docker => {
                let starts = invocation::dockerd(node);
                let named = invocation::docker_configuration(&starts);
                all.push((
                    engine,
                    named.unwrap_or_else(|| engine.configuration().to_owned()),
                ));
            }
            Engine::Crio | Engine::Podman => all.push((engine, engine.configuration().to_owned())),
        }
    }
    for journal in journals {
        if let Some(engine) = Engine::named(&journal.engine) {
            all.push((engine, journal.configuration.clone()));
        }
    }
    let mut unique: Vec<(Engine, PathBuf)> = Vec::new();
    for one in all {
        if !unique.contains(&one) {
            unique.push(one);
        }
    }
    unique
}

/// The files that the containerds of this node would read, where none runs.
fn on_disk(node: &NodeRoot) -> Vec<PathBuf> {
    let (distributions, system) = layout::on_disk(node);
    let mut all: Vec<PathBuf> = distributions
        .iter()
        .map(|distribution| distribution.main_file().to_owned())
        .collect();
    if system || all.is_empty() {
        all.push(Engine::Containerd.configuration().to_owned());
    }
    all
}

/// Whether an engine calls the wrapper, and the findings about it; nothing about one that is neither
/// installed nor configured to call it.
fn wired(
    engine: Engine,
    node: &NodeRoot,
    main: &Path,
    journal: Option<&Journal>,
    hooks: &mut Hooks,
) -> (Option<WrapperCalls>, Vec<Finding>) {
    let name = engine.name();
    let title = title(engine, main);
    let title = title.as_str();
    let here = distribution(engine, main) != Distribution::System
        || engine.programs().iter().any(|p| Path::new(p).exists());
    let seen = match inspect::all(engine, node, main, &is_meant) {
        Ok(seen) => seen,
        Err(e) if here => {
            let unreadable = vec![Finding::error(ENGINES, &e)];
            return (Some(WrapperCalls::Unknown), unreadable);
        }
        Err(_) => return (None, Vec::new()),
    };
    let hooked = hooks.read(engine, &seen.hooks);
    let ours = |handler: &&Handler| handler.program.as_deref().is_some_and(is_meant);
    let handlers: Vec<&Handler> = seen.handlers.iter().filter(ours).collect();
    let mut found: Vec<Finding> = handlers
        .iter()
        .filter_map(|h| unusable(engine, title, h))
        .collect();
    if engine == Engine::Docker {
        let default = seen
            .default
            .as_deref()
            .is_some_and(|default| default != "runc");
        let conflict = invocation::no_conflict(&invocation::dockerd(node), main, default);
        found.extend(conflict.err().map(|e| Finding::error(ENGINES, &e)));
    }
    // What `configure` wrote was needed, so it is a failure if it is gone.
    let lost = |problem: &Problem| engine == Engine::Podman && journal.is_some() && !problem.fails;
    found.extend(
        seen.problems
            .iter()
            .map(|problem| match problem.fails || lost(problem) {
                true => {
                    Finding::failure(ENGINES, Kind::Configuration, &problem.text, &problem.remedy)
                }
                false => Finding::warning(ENGINES, &problem.text, &problem.remedy),
            }),
    );
    // An entry of ours that does not work is reported already.
    if handlers.is_empty() && (!here || seen.problems.iter().any(|problem| problem.fails)) {
        return (here.then_some(WrapperCalls::None), found);
    }
    if journal.is_some() && handlers.is_empty() {
        return (Some(WrapperCalls::None), found);
    }
    if handlers.is_empty() {
        let (calls, text) = match hooked {
            true => (
                WrapperCalls::Hook,
                format!(
                    "{title} calls oci-apparmor-hook, not the wrapper: exec, floor and \
                     default_profile are not covered"
                ),
            ),
            false => (
                WrapperCalls::None,
                format!("{title} does not call the wrapper"),
            ),
        };
        found.push(Finding::warning(
            ENGINES,
            text,
            format!("run: oci-apparmor configure {name}"),
        ));
        return (Some(calls), found);
    }
    let fails = found.iter().any(|f| f.status == Status::Failure);
    if found.is_empty() {
        let text = format!("{title} is configured to call the wrapper");
        found.push(Finding::ok(ENGINES, text));
    }
    let not_default = not_default(engine, &seen, &handlers);
    let calls = match not_default {
        _ if fails => WrapperCalls::Unknown,
        Some(_) => WrapperCalls::Named,
        None => WrapperCalls::All,
    };
    if journal.is_none_or(|journal| !journal.default) {
        found.extend(not_default);
    }
    (Some(calls), found)
}

/// Why an engine cannot call a program.
fn unusable(engine: Engine, title: &str, handler: &Handler) -> Option<Finding> {
    let program = handler.program.as_deref().unwrap_or_default();
    let why = match trusted::program(Path::new(program)) {
        Ok(real) if is_wrapper(&real) => return None,
        Ok(real) => format!("is {}, not the wrapper", real.display()),
        Err(TrustError::Missing) => "does not exist".to_owned(),
        Err(TrustError::Untrusted(why)) => format!("is not trusted: {why}"),
        Err(TrustError::Io(e)) => format!("cannot be read: {}", oci_apparmor::error::reason(&e)),
    };
    Some(Finding::failure(
        ENGINES,
        Kind::Configuration,
        format!(
            "{title}'s runtime {} in {} is {program}, which {why}",
            quoted(&handler.name),
            handler.file.display()
        ),
        format!(
            "install it with ./install.sh, or run: oci-apparmor configure {}",
            engine.name()
        ),
    ))
}

/// Whether the engine calls the wrapper only for containers that name its runtime.
fn not_default(engine: Engine, seen: &Inspection, ours: &[&Handler]) -> Option<Finding> {
    let default = seen.default.as_deref();
    if ours.iter().any(|h| Some(h.name.as_str()) == default) {
        return None;
    }
    let name = ours.first()?.name.as_str();
    let title = engine.title();
    let (which, how) = match engine {
        Engine::Containerd | Engine::Crio => (
            "pods",
            format!("name it in a RuntimeClass with the handler {name}"),
        ),
        Engine::Podman | Engine::Docker => ("containers", format!("name it with --runtime {name}")),
    };
    Some(Finding::warning(
        ENGINES,
        format!(
            "{title}'s default runtime is {}: it calls the wrapper only for {which} that name {}",
            default.map_or_else(|| "not the wrapper".to_owned(), quoted),
            quoted(name)
        ),
        format!(
            "{how}; for all {which}, run: oci-apparmor configure {} --set-default",
            engine.name()
        ),
    ))
}
