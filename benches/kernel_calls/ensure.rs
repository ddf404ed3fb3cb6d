//! A profile that is loaded, among thousands.

use serde_json::{Value, json};

use crate::herd::create;
use crate::samples::{Samples, Thing};
use crate::support::containers::*;
use crate::support::policy_files::{load_many, unload_many};
use crate::times::{Times, call, configure_nothing, rounded, settle};

const ENSURED: &str = "bench-ensured";

/// How many profiles are loaded.
const COUNTS: [usize; 3] = [10, 1_000, 5_000];

fn name(count: usize, thing: &str) -> String {
    format!("ensure/{count}/{thing}")
}

/// What ensuring adds is the difference of two calls of the same program, in turns. All processes take
/// longer among thousands of profiles, and the third shows by how much: for each execve(2) of an
/// unconfined process, the kernel goes through all of them (`find_attach()` in
/// security/apparmor/domain.c).
pub(crate) fn measure(samples: &mut Samples, rounds: usize) {
    // The oldest profile is the one that the kernel's own search finds last.
    profile(ENSURED);
    configure_nothing("");
    let (create, runc) = (create(ENSURED), wrapper("runc"));
    let mut words: Vec<&str> = create.iter().map(String::as_str).collect();
    words.push(ENSURED);
    let mut loaded = 0;
    for count in COUNTS {
        let things: [Thing<'_>; 3] = [
            (name(count, "create"), Box::new(|| call(&words))),
            // Handed on at once.
            (
                name(count, "state"),
                Box::new(|| call(&[runc.to_str().unwrap(), "state", ENSURED])),
            ),
            (
                name(count, "true"),
                Box::new(|| call(&["/bin/busybox", "true"])),
            ),
        ];
        load_many(loaded..count - 1);
        loaded = count - 1;
        call(&words);
        settle();
        samples.in_turns(rounds, &things);
    }
    unload_many(0..loaded);
    unload(ENSURED);
}

pub(crate) fn summary(samples: &Samples) -> Value {
    let (mut first, mut rows) = (None, Vec::new());
    println!("ratios of create - state to that with 10 profiles: of minima, of medians");
    println!(
        "{:>8} {:>17} {:>17} {:>17} {:>6} {:>6}",
        "profiles", "create", "state", "true", "ratio", "ratio"
    );
    for count in COUNTS {
        let [create, state, nothing] =
            ["create", "state", "true"].map(|thing| Times::of(samples, &name(count, thing)));
        let added = (
            create.minimum() - state.minimum(),
            create.median() - state.median(),
        );
        let first = first.get_or_insert(added);
        let ratios = (added.0 / first.0, added.1 / first.1);
        print!("{count:>8}");
        for times in [&create, &state, &nothing] {
            print!(" {:>8.2} {:>8.2}", times.minimum(), times.median());
        }
        println!(" {:>6.2} {:>6.2}", ratios.0, ratios.1);
        rows.push(
            json!({"profiles": count, "create": create.json(), "state": state.json(),
            "true": nothing.json(), "minimum_ratio": rounded(ratios.0), "median_ratio": rounded(ratios.1)}),
        );
    }
    json!({"rounds": samples.count(&name(COUNTS[0], "create")), "rows": rows})
}
