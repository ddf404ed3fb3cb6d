//! Whether the engines of this node call us, as far as their configuration files tell.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::check::Finding;
use crate::cli::hooks::Hooks;
use crate::engine::memory::Memory;
use crate::engine::place::Place;
use crate::engine::seen::{Handler, Seen};
use crate::engine::{self, Engine};
use crate::error::{Kind, quoted};
use crate::profiles::listing;
use crate::runtime::marker;
use crate::settings::Settings;
use crate::trusted::{self, Refusal};

/// The wrapper's file, whatever links lead to it.
const WRAPPER: &str = "oci-apparmor-runtime";

pub(super) fn findings() -> Vec<Finding> {
    let mut found = Vec::new();
    let mut hooks = Hooks::default();
    match Place::new(Path::new("/")) {
        Ok(node) => {
            for (engine, main) in configurations(&node, &mut found) {
                found.extend(wired(engine, &node, &main, &mut hooks));
            }
        }
        Err(e) => found.push(Finding::error("wiring", &e)),
    }
    found.extend(hooks.findings());
    found
}

/// The unit that loads all sources at boot, and the directories in which systemd looks for what is
/// enabled (`systemd.unit(5)`).
const UNIT: &str = "oci-apparmor-preload.service";
const UNITS: [&str; 3] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
];

/// Whether there are sources that nothing loads at boot. Containers of ours do not need that, but
/// containerd refuses a profile that is not loaded before it calls us.
pub(super) fn preloading(settings: &Settings) -> Option<Finding> {
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
                format!("systemctl enable --now {UNIT}"),
            ),
        },
    )
}

/// The engines' usual configurations, and those that were configured elsewhere.
fn configurations(node: &Place, found: &mut Vec<Finding>) -> Vec<(Engine, PathBuf)> {
    let usual = Engine::ALL.map(|engine| (engine, engine.configuration().to_owned()));
    let mut all = usual.to_vec();
    match Memory::all(node) {
        Ok(remembered) => {
            for memory in remembered {
                let one =
                    Engine::named(&memory.engine).map(|engine| (engine, memory.configuration));
                all.extend(one.filter(|one| !usual.contains(one)));
            }
        }
        Err(e) => found.push(Finding::error("wiring", &e)),
    }
    all
}

/// What is to be said about an engine that is installed, or that is told to call us.
fn wired(engine: Engine, node: &Place, main: &Path, hooks: &mut Hooks) -> Vec<Finding> {
    let (title, name) = (engine.title(), engine.name());
    let here = engine.programs().iter().any(|p| Path::new(p).exists());
    let seen = match engine::look(engine, node, main, &is_ours) {
        Ok(seen) => seen,
        Err(e) if here => return vec![Finding::error("wiring", &e)],
        Err(_) => return Vec::new(),
    };
    let hooked = hooks.read(engine, &seen.hooks);
    let ours = |handler: &&Handler| handler.program.as_deref().is_some_and(is_ours);
    let handlers: Vec<&Handler> = seen.handlers.iter().filter(ours).collect();
    let mut found: Vec<Finding> = handlers.iter().filter_map(|h| unusable(title, h)).collect();
    found.extend(seen.mistakes.iter().map(|mistake| match mistake.fails {
        true => Finding::failure(
            "wiring",
            Kind::Configuration,
            &mistake.text,
            &mistake.remedy,
        ),
        false => Finding::warning("wiring", &mistake.text, &mistake.remedy),
    }));
    // What was meant for us, and does not work, is said already.
    if handlers.is_empty() && (!here || seen.mistakes.iter().any(|mistake| mistake.fails)) {
        return found;
    }
    if handlers.is_empty() {
        let text = match hooked {
            true => format!(
                "{title} calls our hook, and not the wrapper: exec, floor and default_profile are \
                 not covered"
            ),
            false => format!("{title} does not call us"),
        };
        found.push(Finding::warning(
            "wiring",
            text,
            format!("oci-apparmor configure {name}"),
        ));
        return found;
    }
    if found.is_empty() {
        let text = format!("{title} is configured to call us");
        found.push(Finding::ok("wiring", text));
    }
    found.extend(not_default(engine, &seen, &handlers));
    found
}

/// Why an engine cannot call a program.
fn unusable(title: &str, handler: &Handler) -> Option<Finding> {
    let program = handler.program.as_deref().unwrap_or_default();
    let why = match trusted::program(Path::new(program)) {
        Ok(real) if is_wrapper(&real) => return None,
        Ok(real) => format!("is not the wrapper, but {}", real.display()),
        Err(Refusal::Missing) => "does not exist".to_owned(),
        Err(Refusal::Untrusted(why)) => format!("is not trusted: {why}"),
        Err(Refusal::Io(e)) => format!("cannot be looked at: {}", crate::error::reason(&e)),
    };
    Some(Finding::failure(
        "wiring",
        Kind::Configuration,
        format!(
            "{title}'s runtime {} in {} is {program}, which {why}",
            quoted(&handler.name),
            handler.file.display()
        ),
        "install it there (install.sh), or run oci-apparmor configure again",
    ))
}

/// Whether containers come to us only if they ask for it.
fn not_default(engine: Engine, seen: &Seen, ours: &[&Handler]) -> Option<Finding> {
    let default = seen.default.as_deref();
    if ours.iter().any(|h| Some(h.name.as_str()) == default) {
        return None;
    }
    let name = ours.first()?.name.as_str();
    let title = engine.title();
    let (who, how) = match engine {
        Engine::Containerd | Engine::Crio => (
            "pods",
            format!("name it in a RuntimeClass with the handler {name}"),
        ),
        Engine::Podman | Engine::Docker => ("containers", format!("name it with --runtime {name}")),
    };
    Some(Finding::warning(
        "wiring",
        format!(
            "{title}'s default runtime is not ours{}: only {who} that name {} come to us",
            default
                .map(|d| format!(" but {}", quoted(d)))
                .unwrap_or_default(),
            quoted(name)
        ),
        format!(
            "{how}, or: oci-apparmor configure {} --set-default",
            engine.name()
        ),
    ))
}

/// Whether a program is meant to be the wrapper: by where it leads, or by its name, since it may
/// be missing, or not what its name says.
fn is_ours(program: &str) -> bool {
    engine::is_ours(program) || fs::canonicalize(program).is_ok_and(|real| is_wrapper(&real))
}

fn is_wrapper(real: &Path) -> bool {
    // By another name it is a copy, as an image that was made with `cp -L` has it.
    real.file_name().is_some_and(|name| name == WRAPPER) || marker::is_wrapper(real)
}
