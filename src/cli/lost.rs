//! Whether what `configure` wrote is still there and in force: people edit these files, packages
//! replace them, and distributions write theirs anew at each start.

use std::path::{Path, PathBuf};

use crate::cli::configure::DEFAULT_NAME;
use crate::cli::finding::{ENGINES, Finding};
use crate::cli::target::Target;
use crate::engine::layout::{self, Owner};
use crate::engine::memory::Memory;
use crate::engine::place::Place;
use crate::engine::seen::Seen;
use crate::engine::{self, Engine};
use crate::error::{Kind, quoted};

/// What is missing in one engine's configuration. `running`: the files that containerds read.
pub(super) fn of(
    engine: Engine,
    node: &Place,
    memory: &Memory,
    running: &[PathBuf],
    ours: &dyn Fn(&str) -> bool,
) -> Vec<Finding> {
    let again = again(engine, memory);
    let file = memory.file.display();
    let failure = |text: String, remedy: &str| {
        vec![Finding::failure(ENGINES, Kind::Configuration, text, remedy)]
    };
    if matches!(node.read(&memory.file), Ok(None)) {
        let text = format!(
            "{file}, which configure changed, is gone: {} does not call the wrapper",
            engine.title()
        );
        return failure(text, &again);
    }
    let Ok(written) = engine::written(engine, node, &memory.configuration, ours) else {
        // That it cannot be read is reported already.
        return Vec::new();
    };
    if let Some(why) = missing(&written, memory) {
        return failure(
            format!("{file} differs from what configure wrote: {why}"),
            &again,
        );
    }
    if engine != Engine::Containerd {
        return Vec::new();
    }
    let reads = layout::read_by_it(&memory.configuration);
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
    if reads == memory.configuration || matches!(node.read(&reads), Ok(None)) {
        return Vec::new();
    }
    let Ok(read) = engine::look_at(node, &reads, ours) else {
        return Vec::new();
    };
    let Some(why) = missing(&read, memory) else {
        return Vec::new();
    };
    let target = Target::of(engine, node, Some(&memory.configuration)).ok();
    let restart = target.and_then(|target| {
        let restart = target.restart(engine, node, false)?;
        Some(format!("run: {restart}"))
    });
    let owner = Owner::of(&reads, None);
    failure(
        format!(
            "{}, which the containerd of {} reads, does not have what {file} says: {why}",
            reads.display(),
            owner.title()
        ),
        &restart.unwrap_or_else(|| "restart it; if that does not help, read its log".to_owned()),
    )
}

/// What is not there any more.
fn missing(seen: &Seen, memory: &Memory) -> Option<String> {
    let name = quoted(&memory.runtime);
    let mut all = seen.handlers.iter().rev();
    let Some(handler) = all.find(|handler| handler.name == memory.runtime) else {
        return Some(format!("it has no runtime {name}"));
    };
    let program = handler.program.as_deref().unwrap_or_default();
    if Path::new(program) != memory.program {
        return Some(format!(
            "its runtime {name} calls {}, not {}",
            quoted(program),
            memory.program.display()
        ));
    }
    if memory.default && seen.default.as_deref() != Some(&memory.runtime) {
        let default = seen.default.as_deref().unwrap_or_default();
        return Some(format!(
            "the default runtime is {}, not {name}",
            quoted(default)
        ));
    }
    None
}

/// The command that wrote it.
fn again(engine: Engine, memory: &Memory) -> String {
    let mut command = format!("run: oci-apparmor configure {}", engine.name());
    if memory.default {
        command.push_str(" --set-default");
    }
    if memory.runtime != DEFAULT_NAME {
        command.push_str(&format!(" --runtime-name {}", memory.runtime));
    }
    if memory.configuration != engine.configuration() {
        command.push_str(&format!(" --config {}", memory.configuration.display()));
    }
    command
}
