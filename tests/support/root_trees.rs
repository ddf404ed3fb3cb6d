//! Engines and runtimes of this machine, of the root trees of other releases that `tests/vm/setup`
//! makes, and of those named in `OCI_APPARMOR_ENGINE_ROOTS` (`:` between them), into which packages
//! may just be unpacked.

use std::fs;
use std::path::{Path, PathBuf};

/// The programs of this name on this machine and in the trees; a test that finds none says so.
pub(crate) fn programs(names: &[&str], needs: &str, able: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut roots = vec![PathBuf::from("/")];
    let named = std::env::var("OCI_APPARMOR_ENGINE_ROOTS").unwrap_or_default();
    roots.extend(
        named
            .split(':')
            .filter(|r| !r.is_empty())
            .map(PathBuf::from),
    );
    let cache = std::env::var_os("OCI_APPARMOR_VM_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/vm"));
    let trees = fs::read_dir(cache).into_iter().flatten().flatten();
    let trees = trees.filter(|e| e.file_name().to_string_lossy().starts_with("root-"));
    roots.extend(trees.map(|entry| entry.path()));
    let mut found: Vec<PathBuf> = roots
        .iter()
        .flat_map(|root| names.iter().map(move |name| root.join(name)))
        .filter(|path| path.exists() && able(path))
        .collect();
    found.dedup();
    if found.is_empty() {
        let why = format!(
            "there is no {needs} here, in a tree of tests/vm/setup or in OCI_APPARMOR_ENGINE_ROOTS"
        );
        let must = std::env::var_os("OCI_APPARMOR_MUST_RUN").is_some_and(|v| v == "1");
        assert!(!must, "OCI_APPARMOR_MUST_RUN=1, but {why}");
        eprintln!("not run: {why}");
    }
    found
}
