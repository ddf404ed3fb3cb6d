//! Whether the engines of this node call us, as far as their configuration files tell.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::check::Finding;
use crate::error::Kind;
use crate::profiles::listing;
use crate::settings::Settings;

/// What our programs and annotations have in common.
const OURS: &str = "oci-apparmor";

/// An engine, the programs that show that it is here, and where it is configured.
struct Engine {
    name: &'static str,
    programs: &'static [&'static str],
    configuration: &'static [&'static str],
    remedy: &'static str,
}

const ENGINES: [Engine; 4] = [
    Engine {
        name: "containerd",
        programs: &["/usr/bin/containerd", "/usr/local/bin/containerd"],
        configuration: &["/etc/containerd/config.toml", "/etc/containerd/conf.d"],
        remedy: "set BinaryName of a runtime to oci-apparmor-runtime; see the README",
    },
    Engine {
        name: "CRI-O",
        programs: &["/usr/bin/crio", "/usr/local/bin/crio"],
        configuration: &["/etc/crio/crio.conf", "/etc/crio/crio.conf.d"],
        remedy: "set runtime_path of a runtime to oci-apparmor-runtime; see the README",
    },
    Engine {
        name: "podman",
        programs: &["/usr/bin/podman", "/usr/local/bin/podman"],
        configuration: &[
            "/etc/containers/containers.conf",
            "/etc/containers/containers.conf.d",
        ],
        remedy: "call podman with --runtime, or add a runtime to containers.conf; see the README",
    },
    Engine {
        name: "docker",
        programs: &[
            "/usr/bin/dockerd",
            "/usr/sbin/dockerd",
            "/usr/local/bin/dockerd",
        ],
        configuration: &["/etc/docker/daemon.json"],
        remedy: "add a runtime to /etc/docker/daemon.json; see the README",
    },
];

/// The directory that podman, CRI-O and `podman build` share. The last two refuse to start or to
/// build when a file in it names podman's own stage.
const SHARED_HOOKS: [&str; 2] = [
    "/usr/share/containers/oci/hooks.d",
    "/etc/containers/oci/hooks.d",
];

pub(super) fn findings() -> Vec<Finding> {
    let here = |e: &&Engine| e.programs.iter().any(|p| Path::new(p).exists());
    let mut found: Vec<Finding> = ENGINES.iter().filter(here).map(wired).collect();
    for file in SHARED_HOOKS.iter().flat_map(|d| files(Path::new(d))) {
        let text = read(&file);
        if text.contains(OURS) && text.contains("\"precreate\"") {
            found.push(Finding::failure(
                "wiring",
                Kind::Configuration,
                format!(
                    "{} names the stage precreate, which CRI-O and podman build refuse",
                    file.display()
                ),
                "move it to a directory that only podman reads (--hooks-dir)",
            ));
        }
    }
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

fn wired(engine: &Engine) -> Finding {
    let text: String = engine
        .configuration
        .iter()
        .flat_map(|p| files(Path::new(p)))
        .map(|p| read(&p))
        .collect();
    if !text.contains(OURS) {
        return Finding::warning(
            "wiring",
            format!("{} does not call us", engine.name),
            engine.remedy,
        );
    }
    if engine.name == "containerd" && !text.contains("oci-apparmor/*") {
        return Finding::failure(
            "wiring",
            Kind::Configuration,
            "containerd calls us, but does not pass our annotations on",
            "add \"oci-apparmor/*\" and \"container.oci-apparmor/*\" to the runtime's pod_annotations",
        );
    }
    Finding::ok(
        "wiring",
        format!("{} is configured to call us", engine.name),
    )
}

/// The file, or the files of the directory.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|f| f.is_file());
    files.sort();
    files
}

/// The lines of a configuration that are in force.
fn read(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter(|l| !l.trim_start().starts_with('#'))
        .flat_map(|l| [l, "\n"])
        .collect()
}
