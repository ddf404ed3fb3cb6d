//! Which program a container keeps: the one that made it, whatever was installed since.
//!
//! A second runc in a directory that comes first, or a runc on a node of crun where the wrapper is
//! called by its own name, must not take over containers that live. What one kind of runtime made
//! no other can stop. All this is asked only where there is a choice.

use std::ffi::{OsStr, OsString};

use crate::containers::id;
use crate::containers::record::{self, Place};
use crate::containers::runtime_state;
use crate::runtime::argv::{self, Scanned};
use crate::runtime::locate::{self, Located};
use crate::runtime::options::Subcommand;
use crate::settings::{RuntimeKind, RuntimeSettings};

/// The runtime of the container that a call is about; `found` where it is about none that lives.
pub(super) fn runtime(
    found: Located,
    argv0: &OsStr,
    settings: &RuntimeSettings,
    words: &[OsString],
) -> Located {
    let others = locate::others(&found, argv0, settings);
    if others.is_empty() {
        return found;
    }
    let mut all = vec![found.clone()];
    all.extend(others);
    let mut asked: Vec<RuntimeKind> = Vec::new();
    for candidate in &all {
        let kind = candidate.kind;
        if asked.contains(&kind) {
            continue;
        }
        asked.push(kind);
        let scan = argv::scan(kind, words);
        let root = runtime_state::root(kind, scan.root.as_deref());
        let ids = match scan.result {
            Ok(Scanned::Ours(line)) if line.subcommand.makes_a_container() => continue,
            Ok(Scanned::Ours(line)) => vec![line.id],
            _ => ids(scan.behind),
        };
        for id in ids {
            let place = Place {
                root: &root,
                id: &id,
            };
            if !runtime_state::has(kind, place.root, place.id) {
                continue;
            }
            let kept = record::read(place).and_then(|record| record.program);
            let same = all.iter().find(|other| {
                other.kind == kind && kept.as_ref().is_some_and(|kept| *kept == other.program)
            });
            return same.unwrap_or(candidate).clone();
        }
    }
    found
}

/// The words that can be a container's id: a call that we do not read has it behind its options.
fn ids(words: Vec<OsString>) -> Vec<String> {
    let texts = words.into_iter().filter_map(|word| word.into_string().ok());
    texts
        .filter(|word| id::is_valid(word) && Subcommand::ALL.iter().all(|s| s.name() != word))
        .collect()
}
