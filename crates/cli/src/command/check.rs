//! `check`: is this node able to do the job? Each part with a verdict and a remedy.

use std::fmt::Write;
use std::path::Path;

use crate::checks::engines;
use crate::checks::finding::{Finding, Status};
use crate::print;
use oci_apparmor::apparmor::blob;
use oci_apparmor::apparmor::kernel::{Enforcement, Kernel, may_load};
use oci_apparmor::apparmor::parser::Parser;
use oci_apparmor::error::{Error, Kind, Result, foreign};
use oci_apparmor::fs::{own, run, trusted};
use oci_apparmor::profiles::Source;
use oci_apparmor::profiles::source::listing;
use oci_apparmor::runtime::advisories;
use oci_apparmor::runtime::locate;
use oci_apparmor::settings::{self, RuntimeKind, RuntimeSettings, Settings};

pub(crate) fn run(config: Option<&Path>, json: bool) -> Result<u8> {
    let findings = findings(config);
    let text = match json {
        true => serde_json::to_string_pretty(&findings)
            .map_err(|e| Error::new(Kind::Internal, e.to_string()))?,
        false => table(&findings),
    };
    print(&text)?;
    if json {
        print("\n")?;
    }
    let worst = findings.iter().find(|f| f.status == Status::Failure);
    Ok(worst.map_or(0, |f| f.kind.exit_code()))
}

fn findings(config: Option<&Path>) -> Vec<Finding> {
    let path = config.unwrap_or(Path::new(settings::PATH));
    let mut found = kernel();
    let settings = match (Settings::load_from(path), config) {
        // A file that somebody names must be there.
        (Ok(_), Some(named)) if !named.exists() => {
            let missing = Error::new(
                Kind::Configuration,
                format!("{} does not exist", named.display()),
            );
            found.push(Finding::error(
                "configuration",
                &missing.with_remedy("name another file"),
            ));
            Settings::default()
        }
        (Ok(settings), _) => {
            let text = match path.exists() {
                true => format!("{} is well-formed and trusted", path.display()),
                false => format!("{} is absent; the defaults hold", path.display()),
            };
            found.push(Finding::ok("configuration", text));
            settings
        }
        (Err(e), _) => {
            found.push(Finding::error("configuration", &e));
            Settings::default()
        }
    };
    found.push(compiler(&settings));
    found.extend(sources(&settings));
    found.extend(low_level(&settings.runtimes));
    found.push(run_directory());
    found.push(cache(&settings));
    found.extend(engines::findings());
    found.extend(engines::preloading(&settings));
    found
}

fn kernel() -> Vec<Finding> {
    let enforcing = match Kernel::default().enforcement() {
        Enforcement::On => Finding::ok("kernel", "AppArmor is on and enforces"),
        Enforcement::Off(why) => {
            Finding::failure("kernel", Kind::KernelOff, why.to_string(), why.remedy())
        }
    };
    let loading = match may_load() {
        Ok(()) => Finding::ok("privilege", "this process may load profiles"),
        Err(why) => Finding::warning(
            "privilege",
            format!("{why}: profiles are used if they are loaded, and never loaded"),
            "run this command as root on the host to see what engines see",
        ),
    };
    vec![enforcing, loading]
}

fn compiler(settings: &Settings) -> Finding {
    let configured = settings.parser.as_ref().map(|p| p.as_path());
    let tried = Parser::find(configured, settings.parser_limits()).and_then(|parser| {
        // What a version cannot tell: whether its own configuration lets it compile.
        let compiled = parser.compile(b"profile oci-apparmor-check { }\n", false)?;
        let kind = if blob::compressed(&compiled.policy) {
            " (compressed policy)"
        } else {
            ""
        };
        Ok(format!(
            "{}, {}, compiles{kind}",
            parser.program().display(),
            parser.version()?
        ))
    });
    match tried {
        Ok(text) => Finding::ok("compiler", text),
        Err(e) => Finding::error("compiler", &e),
    }
}

fn sources(settings: &Settings) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, directory) in settings.profile_directories.iter().enumerate() {
        let directory = directory.as_path();
        match trusted::directory(directory) {
            Ok(()) => found.push(Finding::ok(
                "profiles",
                format!("{} is trusted", directory.display()),
            )),
            // The others are the distribution's; it may not have them.
            Err(trusted::TrustError::Missing) if index > 0 => {}
            Err(trusted::TrustError::Missing) => found.push(Finding::warning(
                "profiles",
                format!("{} does not exist", directory.display()),
                format!("mkdir -p {}", directory.display()),
            )),
            Err(refusal) => found.push(Finding::error(
                "profiles",
                &refusal
                    .about(directory, Kind::Policy)
                    .with_remedy("make it root's alone: chown root: and chmod go-w"),
            )),
        }
    }
    for (path, e) in listing::sources(settings).unusable {
        found.push(Finding::warning(
            "profiles",
            format!("{} cannot be used: {e}", path.display()),
            "correct it or remove it",
        ));
    }
    for (key, name) in settings.profiles() {
        let loaded = Kernel::default().loaded(name).ok().flatten();
        if loaded.is_none() && matches!(Source::of(name, settings), Ok(None)) {
            found.push(Finding::failure(
                "profiles",
                Kind::NotFound,
                format!("{key} is {name}, which is neither loaded nor found"),
                format!(
                    "put its source into a profile directory as {}",
                    name.root().file_name()
                ),
            ));
        }
    }
    found
}

fn low_level(settings: &RuntimeSettings) -> Vec<Finding> {
    let mut found = Vec::new();
    for kind in RuntimeKind::ALL {
        match locate::program(kind, settings) {
            Ok(Some(located)) => {
                let text = advisories::version(&located);
                let version = foreign(text.lines().next().unwrap_or("does not run"));
                found.push(Finding::ok(
                    "low-level",
                    format!("{}, {version}", located.program.display()),
                ));
                found.extend(advisories::of(kind, &text).iter().map(|advisory| {
                    Finding::warning(
                        "low-level",
                        format!(
                            "{version} has a known hole, {}, unless your distribution has mended \
                             it: {}",
                            advisory.name, advisory.effect
                        ),
                        format!("update it; it is mended in {}", advisory.fixed),
                    )
                }));
            }
            Ok(None) => {}
            Err(e) => found.push(Finding::error("low-level", &e)),
        }
    }
    if let Err(e) = locate::locate("oci-apparmor-runtime".as_ref(), settings)
        && found.is_empty()
    {
        found.push(Finding::error("low-level", &e));
    }
    found
}

fn run_directory() -> Finding {
    let path = match run::path() {
        Ok(path) => path,
        Err(e) => return Finding::error("records", &e),
    };
    // Looking changes nothing, so it is not made here.
    if path.symlink_metadata().is_err() {
        return Finding::ok(
            "records",
            format!("{} is made when it is needed", path.display()),
        );
    }
    match own::directory(&path, 0o700) {
        Ok(()) => Finding::ok("records", format!("{} is ours alone", path.display())),
        Err(e) => Finding::error("records", &e),
    }
}

/// Where compiled policy is kept; nothing depends on it but the time that a start takes.
fn cache(settings: &Settings) -> Finding {
    let path = settings.cache_directory.as_path();
    if path.symlink_metadata().is_err() {
        let text = format!("{} is made when it is needed", path.display());
        return Finding::ok("cache", text);
    }
    match own::check_directory(path) {
        Ok(()) => Finding::ok("cache", format!("{} is ours alone", path.display())),
        Err(e) => Finding::warning(
            "cache",
            format!("compiled policy is not kept: {e}"),
            "make it root's alone, or name another cache_directory",
        ),
    }
}

fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let status = match finding.status {
            Status::Ok => "ok",
            Status::Warning => "WARN",
            Status::Failure => "FAIL",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{status:<5}{:<15}{}", finding.part, finding.text);
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(text, "{:20}-> {remedy}", "");
        }
    }
    let count = |v| findings.iter().filter(|f| f.status == v).count();
    let _ = match (count(Status::Failure), count(Status::Warning)) {
        (0, 0) => writeln!(text, "This node is able to do the job."),
        (0, n) => writeln!(text, "This node is able to do the job; {n} warning(s)."),
        (n, _) => writeln!(text, "This node is NOT able to do the job: {n} failure(s)."),
    };
    text
}
