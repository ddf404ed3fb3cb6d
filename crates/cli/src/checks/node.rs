//! What `check` says of the node itself: kernel, parser, profiles, runtimes and directories.

use std::path::Path;

use crate::checks::finding::Finding;
use crate::guard;
use crate::policy::trial;
use crate::report::remedies::ROOT_ONLY;
use oci_apparmor::apparmor::blob;
use oci_apparmor::apparmor::kernel::{AuditMode, Enforcement, Kernel, may_load};
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::apparmor::parser::Parser;
use oci_apparmor::error::{Kind, foreign};
use oci_apparmor::fs::{own, run, trusted};
use oci_apparmor::profiles::Source;
use oci_apparmor::profiles::source::{forced_to_complain, listing};
use oci_apparmor::runtime::{advisories, locate};
use oci_apparmor::settings::{RuntimeKind, RuntimeSettings, Settings};

/// Whether the kernel enforces profiles, and whether this process may load them.
pub(crate) fn kernel(kernel: &Kernel) -> Vec<Finding> {
    let enforcing = match kernel.enforcement() {
        Enforcement::On => Finding::ok("kernel", "AppArmor is on and enforces profiles"),
        Enforcement::Off(why) => {
            Finding::failure("kernel", Kind::KernelOff, why.to_string(), why.remedy())
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

/// Whether denials are logged: the parameter `audit` of AppArmor.
pub(crate) fn logging(kernel: &Kernel) -> Option<Finding> {
    let put = |mode: AuditMode| {
        let path = kernel.audit_parameter();
        format!("run: printf {} > {}", mode.as_str(), path.display())
    };
    if let Some(before) = guard::left_behind(kernel) {
        return Some(Finding::warning(
            "logging",
            "a killed command left AppArmor's parameter audit at noquiet: what explicit deny rules \
             refuse is logged, too",
            put(before),
        ));
    }
    // Only root can read it.
    let mode = kernel.audit_mode().ok()?;
    Some(match mode.hides_denials() {
        true => Finding::warning(
            "logging",
            format!(
                "AppArmor's parameter audit is {}: what profiles refuse is in no log",
                mode.as_str()
            ),
            put(AuditMode::Normal),
        ),
        false => Finding::ok(
            "logging",
            format!("AppArmor's parameter audit is {}", mode.as_str()),
        ),
    })
}

/// Whether the parser compiles.
pub(crate) fn parser(settings: &Settings) -> Finding {
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
        Err(e) => {
            let remedy = e.remedy();
            let remedy = remedy.unwrap_or_else(|| "reinstall the package apparmor".to_owned());
            Finding::failure("parser", e.kind(), e.without_remedy(), remedy)
        }
    }
}

/// The directories of profiles, and the profiles that the configuration names.
pub(crate) fn sources(settings: &Settings, kernel: &Kernel) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, directory) in settings.profile_directories.iter().enumerate() {
        let directory = directory.as_path();
        match trusted::directory(directory) {
            Ok(()) => found.push(Finding::ok(
                "profiles",
                format!("{} is trusted", directory.display()),
            )),
            // The others are the distribution's, which may lack them.
            Err(trusted::TrustError::Missing) if index > 0 => {}
            Err(trusted::TrustError::Missing) => found.push(Finding::warning(
                "profiles",
                format!("{} does not exist", directory.display()),
                format!("run: mkdir -p {}", directory.display()),
            )),
            Err(refusal) => found.push(Finding::error(
                "profiles",
                &refusal.about(directory, Kind::Policy).or_remedy(ROOT_ONLY),
            )),
        }
    }
    let listing = listing::sources(settings);
    // Also what `learn` leaves, if the node stops meanwhile.
    let is_linked = |name: &ProfileName| forced_to_complain(Path::new(&name.file_name()));
    // A manifest can say so itself.
    let forced =
        |l: &&listing::Listed| l.source.complain && (!l.source.is_manifest() || is_linked(&l.name));
    for listed in listing.profiles.iter().filter(forced) {
        let name = &listed.name;
        found.push(Finding::warning(
            "profiles",
            format!(
                "this node has set {name} to complain mode: containers under it are not confined"
            ),
            format!("to end that, run: oci-apparmor mode {name} enforce"),
        ));
    }
    for name in trial::left_behind(kernel) {
        found.push(Finding::warning(
            "profiles",
            format!("{name} was loaded only to be asked about, and left by a killed command"),
            format!("run: oci-apparmor unload {name}"),
        ));
    }
    for (path, e) in listing.unusable {
        found.push(Finding::warning(
            "profiles",
            format!("{} is not used: {}", path.display(), e.without_remedy()),
            e.remedy()
                .unwrap_or_else(|| "correct it, or remove it".to_owned()),
        ));
    }
    for (key, name) in settings.profiles() {
        let loaded = kernel.loaded(name).ok().flatten();
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

/// The low-level runtimes, and their known vulnerabilities.
pub(crate) fn runtimes(settings: &RuntimeSettings) -> Vec<Finding> {
    let mut found = Vec::new();
    for kind in RuntimeKind::ALL {
        match locate::program(kind, settings) {
            Ok(Some(located)) => {
                let text = advisories::version(&located);
                let version = foreign(text.lines().next().unwrap_or("does not run"));
                found.push(Finding::ok(
                    "runtimes",
                    format!("{}, {version}", located.program.display()),
                ));
                found.extend(advisories::of(kind, &text).iter().map(|advisory| {
                    Finding::warning(
                        "runtimes",
                        format!(
                            "{version} has the vulnerability {}, unless your distribution has \
                             fixed it: {}",
                            advisory.name, advisory.effect
                        ),
                        format!("update {}; it is fixed in {}", kind.name(), advisory.fixed),
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

/// The directory of records.
pub(crate) fn run_directory() -> Finding {
    let path = match run::path() {
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
    match own::directory(&path, 0o700) {
        Ok(()) => Finding::ok(
            "records",
            format!("{} belongs to root alone", path.display()),
        ),
        Err(e) => Finding::error("records", &e),
    }
}

/// Where compiled policy is kept. Only the time that a start takes depends on it.
pub(crate) fn cache(settings: &Settings) -> Finding {
    let path = settings.cache_directory.as_path();
    if path.symlink_metadata().is_err() {
        let text = format!("{} will be made when it is needed", path.display());
        return Finding::ok("cache", text);
    }
    match own::check_directory(path) {
        Ok(()) => Finding::ok("cache", format!("{} belongs to root alone", path.display())),
        Err(e) => Finding::warning(
            "cache",
            format!("compiled policy is not kept: {}", e.without_remedy()),
            e.remedy().unwrap_or_else(|| ROOT_ONLY.to_owned()),
        ),
    }
}
