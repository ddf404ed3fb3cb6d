//! Whether what `configure` wrote is still there and in force: people edit these files, packages
//! replace them, and distributions write theirs anew at each start.

use std::path::{Path, PathBuf};

use crate::checks::finding::{ENGINES, Finding};
use crate::engine::config_kind::main_file;
use crate::engine::distribution::Distribution;
use crate::engine::inspect;
use crate::engine::inspection::Inspection;
use crate::engine::journal::Journal;
use crate::engine::kind::Engine;
use crate::engine::requested::DEFAULT_NAME;
use crate::engine::root::NodeRoot;
use crate::engine::target::Target;
use oci_apparmor::error::{Kind, quoted};

/// What is missing in one engine's configuration. `running`: the files that containerds read.
pub(crate) fn of(
    engine: Engine,
    node: &NodeRoot,
    journal: &Journal,
    running: &[PathBuf],
    ours: &dyn Fn(&str) -> bool,
) -> Vec<Finding> {
    let again = again(engine, journal);
    let file = journal.file.display();
    let failure = |text: String, remedy: &str| {
        vec![Finding::failure(ENGINES, Kind::Configuration, text, remedy)]
    };
    if matches!(node.read(&journal.file), Ok(None)) {
        let text = format!(
            "{file}, which configure changed, is gone: {} does not call the wrapper",
            engine.title()
        );
        return failure(text, &again);
    }
    let Ok(written) = inspect::written(engine, node, &journal.configuration, ours) else {
        // That it cannot be read is reported already.
        return Vec::new();
    };
    if let Some(why) = missing(&written, journal) {
        return failure(
            format!("{file} differs from what configure wrote: {why}"),
            &again,
        );
    }
    if engine != Engine::Containerd {
        return Vec::new();
    }
    let reads = main_file(&journal.configuration);
    if !running.is_empty() && !running.contains(&reads) {
        let others: Vec<String> = running.iter().map(|p| p.display().to_string()).collect();
        return failure(
            format!(
                "configure changed {file}, but the containerd that runs here reads {}",
                others.join(" and ")
            ),
            "run: oci-apparmor unconfigure containerd && oci-apparmor configure containerd",
        );
    }
    if reads == journal.configuration || matches!(node.read(&reads), Ok(None)) {
        return Vec::new();
    }
    let Ok(read) = inspect::containerd(node, &reads, ours) else {
        return Vec::new();
    };
    let Some(why) = missing(&read, journal) else {
        return Vec::new();
    };
    let target = Target::of(engine, node, Some(&journal.configuration)).ok();
    let restart = target.and_then(|target| {
        let restart = target.restart(engine, node, false)?;
        Some(format!("run: {restart}"))
    });
    let distribution = Distribution::of(&reads, None);
    failure(
        format!(
            "{}, which the containerd of {} reads, does not have what {file} says: {why}",
            reads.display(),
            distribution.title()
        ),
        &restart.unwrap_or_else(|| "restart it; if that does not help, read its log".to_owned()),
    )
}

/// What is not there any more.
fn missing(seen: &Inspection, journal: &Journal) -> Option<String> {
    let name = quoted(&journal.runtime);
    let mut all = seen.handlers.iter().rev();
    let Some(handler) = all.find(|handler| handler.name == journal.runtime) else {
        return Some(format!("it has no runtime {name}"));
    };
    let program = handler.program.as_deref().unwrap_or_default();
    if Path::new(program) != journal.program {
        return Some(format!(
            "its runtime {name} calls {}, not {}",
            quoted(program),
            journal.program.display()
        ));
    }
    if journal.default && seen.default.as_deref() != Some(&journal.runtime) {
        let default = seen.default.as_deref().unwrap_or_default();
        return Some(format!(
            "the default runtime is {}, not {name}",
            quoted(default)
        ));
    }
    None
}

/// The command that wrote it.
fn again(engine: Engine, journal: &Journal) -> String {
    let mut command = format!("run: oci-apparmor configure {}", engine.name());
    if journal.default {
        command.push_str(" --set-default");
    }
    if journal.runtime != DEFAULT_NAME {
        command.push_str(&format!(" --runtime-name {}", journal.runtime));
    }
    if journal.configuration != engine.configuration() {
        command.push_str(&format!(" --config {}", journal.configuration.display()));
    }
    command
}
