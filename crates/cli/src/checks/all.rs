//! All checks of this node, in their order.

use std::path::Path;

use crate::checks::engines::EngineChecks;
use crate::checks::finding::Finding;
use crate::checks::{engines, node};
use crate::report::progress::Progress;
use oci_apparmor::apparmor::kernel::Kernel;
use oci_apparmor::error::{Error, Kind};
use oci_apparmor::settings::{self, Settings};

/// Runs them, with this configuration or the node's.
pub(crate) fn run(config: Option<&Path>, progress: &Progress) -> EngineChecks {
    let path = config.unwrap_or(Path::new(settings::PATH));
    let kernel = Kernel::default();
    let mut found = node::kernel(&kernel);
    found.extend(node::logging(&kernel));
    let settings = match (Settings::load_from(path), config) {
        // A file that is named must exist.
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
    found.push(node::parser(&settings));
    progress.show("checking the profiles");
    found.extend(node::sources(&settings, &kernel));
    progress.show("checking the low-level runtimes");
    found.extend(node::runtimes(&settings.runtimes));
    found.push(node::run_directory());
    found.push(node::cache(&settings));
    progress.show("checking the engines");
    let of_engines = engines::look();
    found.extend(of_engines.findings);
    found.extend(engines::preloading(&settings));
    EngineChecks {
        findings: found,
        engines: of_engines.engines,
    }
}
