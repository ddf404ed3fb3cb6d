//! Finds the runtime that created a container. Later calls for the container must use the same one.
//!
//! A node may get a second runc in an earlier directory, or a runc beside its crun while the wrapper is
//! called by its own name. One kind of runtime cannot manage the containers of another. All this is
//! only looked at if there is more than one candidate.

use std::ffi::{OsStr, OsString};

use crate::containers::record::ContainerKey;
use crate::containers::{id, records, runtime_state};
use crate::runtime::argv::subcommand::Subcommand;
use crate::runtime::argv::{self, Scanned};
use crate::runtime::locate::{self, RuntimeProgram};
use crate::settings::{RuntimeKind, RuntimeSettings};

/// The runtime that created the container of this call; `found` if the call is for no existing
/// container.
pub(super) fn of_container(
    found: RuntimeProgram,
    argv0: &OsStr,
    settings: &RuntimeSettings,
    words: &[OsString],
) -> RuntimeProgram {
    let others = locate::others(&found, argv0, settings);
    if others.is_empty() {
        return found;
    }
    let mut all = vec![found.clone()];
    all.extend(others);
    let mut seen: Vec<RuntimeKind> = Vec::new();
    for candidate in &all {
        let kind = candidate.kind;
        if seen.contains(&kind) {
            continue;
        }
        seen.push(kind);
        let scan = argv::scan(kind, words);
        let root = runtime_state::root(kind, scan.root.as_deref());
        let ids = match scan.result {
            Ok(Scanned::Handled(line)) if line.subcommand.creates_a_container() => continue,
            Ok(Scanned::Handled(line)) => vec![line.id],
            _ => ids(scan.rest),
        };
        for id in ids {
            let key = ContainerKey {
                root: &root,
                id: &id,
            };
            if !runtime_state::is_created_by(kind, key) {
                continue;
            }
            let recorded = records::read(key).and_then(|record| record.program);
            let same = all.iter().find(|other| {
                other.kind == kind && recorded.as_ref().is_some_and(|p| *p == other.program)
            });
            return same.unwrap_or(candidate).clone();
        }
    }
    found
}

/// The words that may be a container's id, for a subcommand that is passed on.
fn ids(words: Vec<OsString>) -> Vec<String> {
    let texts = words.into_iter().filter_map(|word| word.into_string().ok());
    texts
        .filter(|word| id::is_valid(word) && Subcommand::ALL.iter().all(|s| s.name() != word))
        .collect()
}
