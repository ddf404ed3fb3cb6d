//! Loading a profile just in time: ours against `apparmor_parser -r` with its own warm cache.
//!
//! Each of them loads the same profile, which was removed just before: whole processes, then the load
//! step alone, and the one write to `.replace`. The sources are in place, and every one has loaded the
//! profile once before, so that all caches are warm.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use oci_apparmor::apparmor::kernel::Kernel;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::node::Node;
use oci_apparmor::profiles::{Reload, Store};
use serde_json::{Value, json};

use crate::herd::create;
use crate::samples::{Samples, Thing};
use crate::support::containers::{CLI, full_profile_text, loaded, run, source, unload, wrapper};
use crate::times::{Times, call, configure_nothing, rounded, settle};

const NAME: &str = "bench-load";
/// The parser's own copy: the same text, where its cache finds it by this name.
const FILE: &str = "/etc/apparmor.d/bench-load";

/// What is measured, the one to compare with first. `state` and `true` load nothing.
const PARSER: &str = "apparmor_parser -r";
const CREATE: &str = "create";
const LOAD: &str = "oci-apparmor load";
const STATE: &str = "state (loads nothing)";
const TRUE: &str = "true (loads nothing)";
const STEP: &str = "the load step, in a process that runs";
const WRITE: &str = "the write alone";
const ALL: [&str; 7] = [PARSER, CREATE, LOAD, STATE, TRUE, STEP, WRITE];

/// One of [`ALL`].
type Load<'l> = (&'static str, Box<dyn Fn() + 'l>);

/// A profile of the size of the engines' own ones.
fn text() -> String {
    let denied = [
        "@{PROC}/* w",
        "@{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w",
        "@{PROC}/sys/[^k]** w",
        "@{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w",
        "@{PROC}/sysrq-trigger rwklx",
        "@{PROC}/kcore rwklx",
        "/sys/[^f]*/** wklx",
        "/sys/f[^s]*/** wklx",
        "/sys/fs/[^c]*/** wklx",
        "/sys/fs/c[^g]*/** wklx",
        "/sys/fs/cg[^r]*/** wklx",
        "/sys/firmware/** rwklx",
        "/sys/kernel/security/** rwklx",
    ];
    let denied: Vec<String> = denied
        .iter()
        .map(|rule| format!("deny {rule},\n"))
        .collect();
    let text = full_profile_text(NAME);
    let body = text.strip_suffix("}\n").unwrap();
    format!("{body}{}}}\n", denied.concat())
}

/// Runs it while the profile is missing.
fn once(what: &str, load: &dyn Fn()) -> Duration {
    unload(NAME);
    assert_eq!(loaded(NAME), None);
    let start = Instant::now();
    load();
    let time = start.elapsed();
    let loads = what != STATE && what != TRUE;
    assert_eq!(loaded(NAME).is_some(), loads, "{what}");
    time
}

fn name(what: &str) -> String {
    format!("load/{what}")
}

pub(crate) fn measure(samples: &mut Samples, rounds: usize) {
    let text = text();
    source(NAME, &text);
    fs::write(FILE, &text).unwrap();
    configure_nothing("");
    let blob = Path::new(FILE).with_file_name("bench-load.blob");
    let blob = blob.to_str().unwrap();
    run("apparmor_parser", ["-QK", "-o", blob, FILE]).ok();
    let policy = fs::read(blob).unwrap();
    fs::remove_file(blob).unwrap();

    let node = Node::load().unwrap();
    let profile = ProfileName::parse(NAME).unwrap();
    let runc = wrapper("runc");
    let runc = runc.to_str().unwrap();
    let create = create(NAME);
    let mut create: Vec<&str> = create.iter().map(String::as_str).collect();
    create.push(NAME);
    let step = || {
        Store::new(&node).load(&profile, Reload::Always).unwrap();
    };
    let command = |words: Vec<&'static str>| -> Box<dyn Fn() + '_> {
        Box::new(move || {
            call(&words);
        })
    };
    let loads: [Load<'_>; 7] = [
        (PARSER, command(vec!["apparmor_parser", "-r", "-W", FILE])),
        (
            CREATE,
            Box::new(|| {
                call(&create);
            }),
        ),
        (LOAD, command(vec![CLI, "load", NAME])),
        (
            STATE,
            Box::new(|| {
                call(&[runc, "state", NAME]);
            }),
        ),
        (TRUE, command(vec!["/bin/busybox", "true"])),
        (STEP, Box::new(step)),
        (
            WRITE,
            Box::new(|| Kernel::default().replace(&policy).unwrap()),
        ),
    ];
    for (what, load) in &loads {
        once(what, load);
        // What was written within the last two seconds is not yet believed to be settled.
        settle();
        once(what, load);
    }
    let cached = run("apparmor_parser", ["-r", "-W", "--show-cache", FILE]).err;
    assert!(cached.contains("Cache hit"), "{cached}");
    let things: Vec<Thing<'_>> = loads
        .iter()
        .map(|(what, load)| -> Thing<'_> { (name(what), Box::new(|| once(what, load))) })
        .collect();
    samples.in_turns(rounds, &things);
    unload(NAME);
    fs::remove_file(FILE).unwrap();
}

pub(crate) fn summary(samples: &Samples) -> Value {
    println!("how many times longer the parser takes: of minima, of medians");
    println!("{:>8} {:>8} {:>6} {:>6}", "minimum", "median", "", "");
    let parser = Times::of(samples, &name(PARSER));
    let mut rows = Vec::new();
    for what in ALL {
        let times = Times::of(samples, &name(what));
        let ratios = (
            parser.minimum() / times.minimum(),
            parser.median() / times.median(),
        );
        println!(
            "{:>8.2} {:>8.2} {:>6.1} {:>6.1}  {what}",
            times.minimum(),
            times.median(),
            ratios.0,
            ratios.1
        );
        rows.push(
            json!({"what": what, "times": times.json(), "parser_minimum_ratio": rounded(ratios.0),
            "parser_median_ratio": rounded(ratios.1)}),
        );
    }
    json!({"rounds": samples.count(&name(PARSER)), "rows": rows})
}
