//! `check`: whether this node can confine containers. Each part has a status, and a remedy.

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use serde::Serialize;

use crate::apparmor::blob;
use crate::apparmor::kernel::{Enforcement, Kernel, may_load};
use crate::apparmor::parser::Parser;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::table::{Cell, Fit, Row, Table, Tone};
use crate::cli::wiring;
use crate::error::{Error, Kind, Result, foreign};
use crate::profiles::{Source, listing};
use crate::runtime::{holes, locate};
use crate::settings::{self, LowLevel, LowLevelSettings, Settings};
use crate::{rundir, trusted};

/// Check whether this node can confine containers, and what to fix
///
/// Checks the kernel, the privilege to load profiles, the configuration, the parser, the
/// directories of profiles, the low-level runtimes, the directory of records and the cache. For
/// each installed engine, its configuration files tell whether it calls the wrapper: with an
/// existing program, with all annotations passed on, in the section that is in force, and as the
/// default runtime or not. Hooks that podman and CRI-O read are checked as well: their program must
/// exist, and their stages must be known to the engines that read them.
///
/// Each problem comes with a remedy.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 no check failed (warnings do not count); otherwise the code of the first failure.

Examples:
  oci-apparmor check
  # Check a new configuration before it is installed.
  oci-apparmor check --config ./config.toml")]
pub(super) struct Check {
    /// Check this configuration instead of the node's
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// The result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// As it must be.
    Ok,
    /// Not as it should be, or not in use.
    Warning,
    /// Containers that name a profile do not start, or run without it.
    Failure,
}

impl Status {
    fn cell(self) -> Cell {
        match self {
            Self::Ok => Cell::new("ok", Tone::Good),
            Self::Warning => Cell::new("warning", Tone::Warning),
            Self::Failure => Cell::new("failure", Tone::Bad),
        }
    }
}

/// One check.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    part: &'static str,
    status: Status,
    text: String,
    remedy: Option<String>,
    #[serde(skip)]
    kind: Kind,
}

impl Finding {
    pub(super) fn ok(part: &'static str, text: impl Into<String>) -> Self {
        let (status, kind) = (Status::Ok, Kind::Internal);
        Self {
            part,
            status,
            text: text.into(),
            remedy: None,
            kind,
        }
    }

    pub(super) fn warning(
        part: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let status = Status::Warning;
        Self {
            status,
            remedy: Some(remedy.into()),
            ..Self::ok(part, text)
        }
    }

    pub(super) fn failure(
        part: &'static str,
        kind: Kind,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::Failure,
            kind,
            ..Self::warning(part, text, remedy)
        }
    }

    /// An error, with its remedy.
    pub(super) fn error(part: &'static str, e: &Error) -> Self {
        let remedy = e.remedy();
        let remedy = remedy.unwrap_or_else(|| "see oci-apparmor(8)".to_owned());
        Self::failure(part, e.kind(), e.why(), remedy)
    }
}

pub(super) fn run(arguments: &Check, output: Output) -> Result<u8> {
    let progress = Progress::new();
    let findings = findings(arguments.config.as_deref(), &progress);
    drop(progress);
    match arguments.json {
        true => output.json(&findings)?,
        false => {
            output.table(&table(&findings))?;
            output.line(summary(&findings))?;
        }
    }
    let worst = findings.iter().find(|f| f.status == Status::Failure);
    Ok(worst.map_or(0, |f| f.kind.exit_code()))
}

fn findings(config: Option<&Path>, progress: &Progress) -> Vec<Finding> {
    let path = config.unwrap_or(Path::new(settings::PATH));
    let node = Kernel::default();
    let mut found = kernel(&node);
    let settings = match (Settings::load_from(path), config) {
        // A file that is named must exist.
        (Ok(_), Some(named)) if !named.exists() => {
            let missing = Error::new(
                Kind::Configuration,
                format!("{} does not exist", named.display()),
            );
            found.push(Finding::error(
                "configuration",
                &missing.hint("name another file"),
            ));
            Settings::default()
        }
        (Ok(settings), _) => {
            let text = match path.exists() {
                true => format!("{} is well-formed and trusted", path.display()),
                false => format!("{} does not exist; the defaults apply", path.display()),
            };
            found.push(Finding::ok("configuration", text));
            settings
        }
        (Err(e), _) => {
            found.push(Finding::error("configuration", &e));
            Settings::default()
        }
    };
    progress.show("checking the parser");
    found.push(parser(&settings));
    progress.show("checking the profiles");
    found.extend(sources(&settings, &node));
    progress.show("checking the low-level runtimes");
    found.extend(runtimes(&settings.low_level));
    found.push(run_directory());
    found.push(cache(&settings));
    progress.show("checking the engines");
    found.extend(wiring::findings());
    found.extend(wiring::preloading(&settings));
    found
}

fn kernel(node: &Kernel) -> Vec<Finding> {
    let enforcing = match node.enforcement() {
        Enforcement::On => Finding::ok("kernel", "AppArmor is on and enforces profiles"),
        Enforcement::Off(why) => {
            let remedy = if why.contains("global mode") {
                "run: printf enforce > /sys/module/apparmor/parameters/mode"
            } else if why.contains("securityfs") {
                "run: mount -t securityfs securityfs /sys/kernel/security"
            } else {
                "boot a kernel that has AppArmor, with apparmor=1 security=apparmor"
            };
            Finding::failure("kernel", Kind::KernelOff, why, remedy)
        }
    };
    let loading = match may_load() {
        Ok(()) => Finding::ok("privilege", "this process may load profiles"),
        Err(why) => Finding::warning(
            "privilege",
            format!("{why}; loaded profiles are used, missing ones are not loaded"),
            "run this command as root on the host, as engines do",
        ),
    };
    vec![enforcing, loading]
}

fn parser(settings: &Settings) -> Finding {
    let configured = settings.parser.as_ref().map(|p| p.as_path());
    let tried = Parser::find(configured, settings.parser_limits()).and_then(|parser| {
        // Only compiling shows whether /etc/apparmor/parser.conf lets it compile.
        let compiled = parser.compile(b"profile oci-apparmor-check { }\n", false)?;
        let kind = if blob::compressed(&compiled.policy) {
            " (compressed policy)"
        } else {
            ""
        };
        Ok(format!(
            "{}, {}, compiles profiles{kind}",
            parser.program().display(),
            parser.version()?
        ))
    });
    match tried {
        Ok(text) => Finding::ok("parser", text),
        Err(e) => Finding::error("parser", &e),
    }
}

fn sources(settings: &Settings, node: &Kernel) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, directory) in settings.profile_directories.iter().enumerate() {
        let directory = directory.as_path();
        match trusted::directory(directory) {
            Ok(()) => found.push(Finding::ok(
                "profiles",
                format!("{} is trusted", directory.display()),
            )),
            // The others are the distribution's, which may lack them.
            Err(trusted::Refusal::Missing) if index > 0 => {}
            Err(trusted::Refusal::Missing) => found.push(Finding::warning(
                "profiles",
                format!("{} does not exist", directory.display()),
                format!("run: mkdir -p {}", directory.display()),
            )),
            Err(refusal) => found.push(Finding::error(
                "profiles",
                &refusal
                    .about(directory, Kind::Policy)
                    .hint(root_only(directory)),
            )),
        }
    }
    for (path, e) in listing::sources(settings).unusable {
        found.push(Finding::warning(
            "profiles",
            format!("{} is not used: {}", path.display(), e.why()),
            e.remedy()
                .unwrap_or_else(|| "correct it, or remove it".to_owned()),
        ));
    }
    for (key, name) in settings.profiles() {
        let loaded = node.loaded(name).ok().flatten();
        if loaded.is_none() && matches!(Source::of(name, settings), Ok(None)) {
            found.push(Finding::failure(
                "profiles",
                Kind::NotFound,
                format!("{key} is {name}, which is neither loaded nor found"),
                format!(
                    "put the profile into {}",
                    settings.profile_directories.first().map_or_else(
                        || name.root().file_name(),
                        |d| d
                            .as_path()
                            .join(name.root().file_name())
                            .display()
                            .to_string()
                    )
                ),
            ));
        }
    }
    found
}

fn runtimes(settings: &LowLevelSettings) -> Vec<Finding> {
    let mut found = Vec::new();
    for kind in LowLevel::ALL {
        match locate::program(kind, settings) {
            Ok(Some(located)) => {
                let text = holes::version(&located);
                let version = foreign(text.lines().next().unwrap_or("does not run"));
                found.push(Finding::ok(
                    "runtimes",
                    format!("{}, {version}", located.program.display()),
                ));
                found.extend(holes::of(kind, &text).iter().map(|hole| {
                    Finding::warning(
                        "runtimes",
                        format!(
                            "{version} has the vulnerability {}, unless your distribution has \
                             fixed it: {}",
                            hole.name, hole.effect
                        ),
                        format!("update {}; it is fixed in {}", kind.name(), hole.mended),
                    )
                }));
            }
            Ok(None) => {}
            Err(e) => found.push(Finding::error("runtimes", &e)),
        }
    }
    if let Err(e) = locate::locate("oci-apparmor-runtime".as_ref(), settings)
        && found.is_empty()
    {
        found.push(Finding::error("runtimes", &e));
    }
    found
}

fn run_directory() -> Finding {
    let path = match rundir::path() {
        Ok(path) => path,
        Err(e) => return Finding::error("records", &e),
    };
    // A check changes nothing, so the directory is not made here.
    if path.symlink_metadata().is_err() {
        return Finding::ok(
            "records",
            format!("{} will be made when it is needed", path.display()),
        );
    }
    match trusted::own_directory(&path, 0o700) {
        Ok(()) => Finding::ok(
            "records",
            format!("{} belongs to root alone", path.display()),
        ),
        Err(e) => Finding::error("records", &e),
    }
}

/// Where compiled policy is kept. Only the time that a start takes depends on it.
fn cache(settings: &Settings) -> Finding {
    let path = settings.cache_directory.as_path();
    if path.symlink_metadata().is_err() {
        let text = format!("{} will be made when it is needed", path.display());
        return Finding::ok("cache", text);
    }
    match trusted::own_directory_as_it_is(path) {
        Ok(()) => Finding::ok("cache", format!("{} belongs to root alone", path.display())),
        Err(e) => Finding::warning(
            "cache",
            format!("compiled policy is not kept: {}", e.why()),
            e.remedy().unwrap_or_else(|| root_only(path)),
        ),
    }
}

/// The commands that make a directory trusted.
fn root_only(path: &Path) -> String {
    let path = path.display();
    format!("run: chown root: {path} && chmod go-w {path}")
}

fn table(findings: &[Finding]) -> Table {
    let mut table = Table::new(&[
        ("STATUS", Fit::Whole),
        ("PART", Fit::Whole),
        ("RESULT", Fit::Wrap),
    ])
    .notes_under(2);
    for finding in findings {
        let part = Cell::from(finding.part);
        let mut row = Row::new([finding.status.cell(), part, Cell::from(&finding.text)]);
        if let Some(remedy) = &finding.remedy {
            row.remedy(remedy);
        }
        table.push(row);
    }
    table
}

fn summary(findings: &[Finding]) -> String {
    let count = |status| findings.iter().filter(|f| f.status == status).count();
    match (count(Status::Failure), count(Status::Warning)) {
        (0, 0) => "All checks passed.".to_owned(),
        (0, 1) => "No check failed; there is 1 warning.".to_owned(),
        (0, n) => format!("No check failed; there are {n} warnings."),
        (n, _) => format!(
            "{n} check{} failed: containers that name a profile will not start, or will run \
             without it.",
            if n == 1 { "" } else { "s" }
        ),
    }
}
