//! A profile that is loaded, among thousands; and a profile that many containers ask for at once.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::containers::*;
use crate::support::policy_files::{load_many, unload_many};
use crate::times::{Times, call, command, configure_nothing, in_turns, script, settle};

const ENSURED: &str = "bench-ensured";
const HERD: &str = "bench-herd";
/// Where the compiler notes its calls.
const COMPILED: &str = "/var/lib/oci-apparmor-tests/bin/compiled";

type Kind = (&'static str, fn(&Times) -> f64);

const KINDS: [Kind; 2] = [("minimum", Times::minimum), ("median", Times::median)];

/// A bundle that names the profile, and words to create its container.
fn create(profile: &str) -> Vec<String> {
    let bundle = Bundle::annotated(
        profile,
        &["/bin/true"],
        &[("oci-apparmor/profile", profile)],
    );
    let bundle = bundle.path.to_str().unwrap().to_owned();
    let wrapper = wrapper("runc").to_str().unwrap().to_owned();
    vec![wrapper, "create".to_owned(), "--bundle".to_owned(), bundle]
}

/// What ensuring adds is the difference of two calls of the same program, in turns. All processes take
/// longer among thousands of profiles, and the third shows by how much: for each execve(2) of an
/// unconfined process, the kernel goes through all of them (`find_attach()` in
/// security/apparmor/domain.c).
pub(crate) fn ensure(rounds: usize) -> Value {
    // These calls are short.
    let rounds = rounds * 8;
    // The oldest profile is the one that the kernel's own search finds last.
    profile(ENSURED);
    configure_nothing("");
    let (create, runc) = (create(ENSURED), wrapper("runc"));
    let mut words: Vec<&str> = create.iter().map(String::as_str).collect();
    words.push(ENSURED);
    let things: [Box<dyn Fn() -> Duration>; 3] = [
        Box::new(|| call(&words)),
        // Handed on at once.
        Box::new(|| call(&[runc.to_str().unwrap(), "state", ENSURED])),
        Box::new(|| call(&["/bin/busybox", "true"])),
    ];
    let (mut loaded, mut first, mut rows) = (0, [None; 2], Vec::new());
    println!("{rounds} rounds; ratios to 10 profiles");
    println!(
        "{:>8} {:>8} {:>8} {:>8} {:>8} {:>14} {:>6}",
        "profiles", "", "create", "state", "true", "create - state", "ratio"
    );
    for count in [10, 1_000, 5_000] {
        load_many(loaded..count - 1);
        loaded = count - 1;
        call(&words);
        settle();
        let times = in_turns(rounds, &things);
        let mut row = json!({"profiles": count, "create": times[0].json(),
            "state": times[1].json(), "true": times[2].json()});
        for (index, (what, of)) in KINDS.into_iter().enumerate() {
            let [create, state, nothing] = [0, 1, 2].map(|thing| of(&times[thing]));
            let added = create - state;
            let first = first[index].get_or_insert(added);
            let ratio = added / *first;
            println!(
                "{count:>8} {what:>8} {create:>8.2} {state:>8.2} {nothing:>8.2} {added:>14.2} {ratio:>6.2}"
            );
            row[format!("{what}_ratio")] = json!(ratio);
        }
        rows.push(row);
    }
    unload_many(0..loaded);
    unload(ENSURED);
    json!(rows)
}

/// Containers that are created at once, and what that took.
struct Herd {
    /// From the first call to the end of the last.
    milliseconds: f64,
    compilations: usize,
    /// What the kernel logged: also a load of what is loaded already.
    loads: usize,
}

impl Herd {
    fn of(count: usize) -> Self {
        let words = create(HERD);
        let ids: Vec<String> = (0..count).map(|n| format!("herd-{n}")).collect();
        run("dmesg", ["-C"]).ok();
        let _ = fs::remove_file(COMPILED);
        let start = Instant::now();
        let creates: Vec<_> = ids
            .iter()
            .map(|id| {
                let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
                words.push(id);
                command(&words).spawn().unwrap()
            })
            .collect();
        for mut create in creates {
            assert!(create.wait().unwrap().success());
        }
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        let log = run("dmesg", [""; 0]).ok();
        let is_load = |line: &&str| {
            line.contains("operation=\"profile_") && line.contains(&format!("name=\"{HERD}\""))
        };
        Self {
            milliseconds,
            compilations: fs::read_to_string(COMPILED).map_or(0, |text| text.lines().count()),
            loads: log.lines().filter(is_load).count(),
        }
    }
}

pub(crate) fn herd(rounds: usize) -> Value {
    source(HERD, &profile_text(HERD, ""));
    // A hundred processes that begin at once leave an emulated compiler little time.
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *' -S'*) echo \"$*\" >>{COMPILED} ;; esac\n\
         exec /sbin/apparmor_parser \"$@\"\n"
    );
    let parser = script("compiler", &text);
    configure_nothing(&format!("parser = {parser:?}\nparser_timeout = 200"));
    settle();
    let rounds = rounds.div_ceil(4);
    let (mut rows, mut medians) = (Vec::new(), Vec::new());
    println!("the same number of creates of each kind, {rounds} rounds");
    println!(
        "{:>8} {:>9} {:>9} {:>9} {:>13} {:>6}",
        "creates", "profile", "minimum", "median", "compilations", "loads"
    );
    for count in [1, 10, 100] {
        let (mut missing, mut loaded) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            unload(HERD);
            let _ = fs::remove_dir_all("/var/cache/oci-apparmor");
            missing.push(Herd::of(count));
            settle();
            // It notes what it has seen.
            Herd::of(1);
            loaded.push(Herd::of(count));
        }
        for (profile, herds) in [("missing", missing), ("loaded", loaded)] {
            let most = |of: fn(&Herd) -> usize| herds.iter().map(of).max().unwrap();
            let (compilations, loads) = (most(|herd| herd.compilations), most(|herd| herd.loads));
            let times = Times::new(herds.iter().map(|herd| herd.milliseconds));
            println!(
                "{count:>8} {profile:>9} {:>9.1} {:>9.1} {compilations:>13} {loads:>6}",
                times.minimum(),
                times.median()
            );
            rows.push(
                json!({"creates": count, "profile": profile, "last_done": times.json(),
                "most_compilations": compilations, "most_loads": loads}),
            );
            medians.push(times.median());
        }
    }
    let [one_missing, one_loaded, .., many_missing, many_loaded] = medians[..] else {
        unreachable!()
    };
    let compile = one_missing - one_loaded;
    let ratio = many_missing / (many_loaded + compile);
    println!("100 of a missing profile take {ratio:.2} x (100 of a loaded one, and loading it)");
    unload(HERD);
    json!({"rows": rows, "ratio": ratio})
}
