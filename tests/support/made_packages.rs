//! The packages that `tests/packages/prepare.sh` makes of this build's programs, for suites that
//! install them in a guest, where they cannot be made in good time.

use std::path::PathBuf;

use super::programs::program;

/// The path of one of its files; nothing where it was not run, or not since the programs were built.
pub(crate) fn made_package(name: &str) -> Option<PathBuf> {
    let programs = program("oci-apparmor").parent().unwrap().to_owned();
    let ready = programs.join("test-packages");
    let time = |path: PathBuf| path.metadata().and_then(|meta| meta.modified()).ok();
    let current = time(ready.join("made"))
        .is_some_and(|made| Some(made) > time(programs.join("oci-apparmor-runtime")));
    if !current {
        let must = std::env::var_os("OCI_APPARMOR_MUST_RUN").is_some_and(|v| v == "1");
        let why = "there are no packages of these programs; run: tests/packages/prepare.sh";
        assert!(!must, "OCI_APPARMOR_MUST_RUN=1, but {why}");
        eprintln!("not run: {why}");
        return None;
    }
    Some(ready.join(name))
}
