//! Whether an engine would accept the change, before it is made.

use std::path::Path;
use std::time::Duration;

use crate::engine::config_kind::ConfigKind;
use crate::engine::distribution::Distribution;
use crate::engine::edit::TextFile;
use crate::engine::kind::Engine;
use crate::engine::plan::Plan;
use crate::engine::root::NodeRoot;
use crate::engine::target::Target;
use crate::engine::{invocation, validate};
use oci_apparmor::child::{self, Limits};
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::fs::trusted;

/// The first releases of k3s and RKE2 whose templates can include the built-in one: minor version
/// and patch, of version 1 (docs.k3s.io, "Base template").
const WITH_BASE: [(u32, u32); 5] = [(24, 17), (25, 13), (26, 8), (27, 5), (28, 1)];

const LIMITS: Limits = Limits {
    time: Duration::from_secs(20),
    memory: 64 << 30,
};

/// Refuses a template of ours for a k3s or RKE2 that would not start with it.
///
/// # Errors
/// [`Kind::Policy`] with its version.
pub(crate) fn knows_our_template(root: &NodeRoot, target: &Target) -> Result<()> {
    if !root.is_node()
        || ConfigKind::of(&target.main) != ConfigKind::Template
        || root.has(&target.main)
    {
        return Ok(());
    }
    let name = target.distribution.title().to_lowercase();
    let directories = ["/usr/local/bin", "/usr/bin", "/opt/bin", "/opt/rke2/bin"];
    let mut programs = directories.iter().map(|d| Path::new(d).join(&name));
    let program = programs.find_map(|path| trusted::program(&path).ok());
    let Some(program) = program else {
        return Ok(());
    };
    let said = child::run(&program, &["--version"], b"", LIMITS);
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match said.ok().as_deref().and_then(version) {
        Some((minor, patch)) if !has_base(minor, patch) => Err(Error::new(
            Kind::Policy,
            format!(
                "{} v1.{minor}.{patch} would not start: it cannot include its own configuration in \
                 a template",
                target.distribution.title()
            ),
        )
        .with_remedy(format!(
            "update it (v1.24.17, v1.25.13, v1.26.8, v1.27.5, v1.28.1 and later can), or put its \
             whole template into {} first; nothing was changed",
            target.main.display()
        ))),
        _ => Ok(()),
    }
}

/// `k3s version v1.30.4+k3s1 (98262b5d)`: minor version and patch.
fn version(said: &str) -> Option<(u32, u32)> {
    let (_, version) = said.split_once(" v1.")?;
    let (minor, rest) = version.split_once('.')?;
    let patch: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((minor.parse().ok()?, patch.parse().ok()?))
}

fn has_base(minor: u32, patch: u32) -> bool {
    let first = WITH_BASE.iter().find(|(known, _)| *known == minor);
    first.map_or(minor > 28, |(_, least)| patch >= *least)
}

/// Refuses a change that the engine would not start with: its own program checks the file, and
/// docker's command line must not contradict it.
///
/// # Errors
/// [`Kind::Policy`] and [`Kind::Configuration`].
pub(crate) fn accepted(
    engine: Engine,
    root: &NodeRoot,
    target: &Target,
    plan: &Plan,
    default: bool,
) -> Result<()> {
    if engine == Engine::Docker {
        invocation::no_conflict(&invocation::dockerd(root), &target.main, default)?;
    }
    let changed = plan.steps.iter().find_map(|step| {
        let text = step.new.clone()?;
        let path = step.path.clone();
        Some(TextFile { path, text })
    });
    let Some(changed) = changed.filter(|_| root.is_node()) else {
        return Ok(());
    };
    let usual = engine.programs().iter().map(Path::new);
    let running = target.daemon.iter().map(|daemon| daemon.program.as_path());
    // k3s is one program for everything; called by its path it does not act as containerd.
    let is = |path: &&Path| {
        path.file_name()
            .is_some_and(|n| n == "containerd" || n == "dockerd")
    };
    let all = match target.distribution {
        Distribution::System => running.chain(usual).filter(is).collect::<Vec<_>>(),
        _ => running.filter(is).collect(),
    };
    let Some(program) = all.into_iter().find_map(|path| trusted::program(path).ok()) else {
        return Ok(());
    };
    match engine {
        Engine::Docker => validate::docker(&program, &changed),
        Engine::Containerd
            if ConfigKind::of(&target.main) != ConfigKind::Template
                && target.distribution != Distribution::Microk8s =>
        {
            validate::containerd(&program, root, &target.reads, &changed)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_that_can_include_their_own_template_are_known() {
        for (said, can) in [
            (
                "k3s version v1.30.4+k3s1 (98262b5d)\ngo version go1.22.5\n",
                true,
            ),
            ("rke2 version v1.28.1+rke2r1 (abc)\n", true),
            ("k3s version v1.28.0+k3s1 (abc)\n", false),
            ("k3s version v1.26.7+k3s1 (abc)\n", false),
            ("k3s version v1.26.8+k3s1 (abc)\n", true),
            ("k3s version v1.23.17+k3s1 (abc)\n", false),
        ] {
            let (minor, patch) = version(said).unwrap();
            assert_eq!(has_base(minor, patch), can, "{said}");
        }
        assert_eq!(version("no version"), None);
    }
}
