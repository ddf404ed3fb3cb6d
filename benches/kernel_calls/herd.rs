//! A profile that many containers ask for at once.

use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use crate::samples::Samples;
use crate::support::containers::*;
use crate::times::{Times, command, configure_nothing, rounded, script, settle};

const HERD: &str = "bench-herd";
/// Where the compiler notes its calls.
const COMPILED: &str = "/var/lib/oci-apparmor-tests/bin/compiled";

/// How many containers are created at once.
const COUNTS: [usize; 3] = [1, 10, 100];

/// A bundle that names the profile, and words to create its container.
pub(crate) fn create(profile: &str) -> Vec<String> {
    let bundle = Bundle::annotated(
        profile,
        &["/bin/true"],
        &[("oci-apparmor/profile", profile)],
    );
    let bundle = bundle.path.to_str().unwrap().to_owned();
    let wrapper = wrapper("runc").to_str().unwrap().to_owned();
    vec![wrapper, "create".to_owned(), "--bundle".to_owned(), bundle]
}

/// Containers that are created at once, and what that took.
struct Herd {
    creates: usize,
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
            creates: count,
            milliseconds,
            compilations: fs::read_to_string(COMPILED).map_or(0, |text| text.lines().count()),
            loads: log.lines().filter(is_load).count(),
        }
    }

    fn add(&self, samples: &mut Samples, profile: &str) {
        for (what, number) in [
            ("ms", self.milliseconds),
            ("compilations", self.compilations as f64),
            ("loads", self.loads as f64),
        ] {
            samples.add(&name(self.creates, profile, what), number);
        }
    }
}

fn name(count: usize, profile: &str, what: &str) -> String {
    format!("herd/{count}/{profile}/{what}")
}

pub(crate) fn measure(samples: &mut Samples, rounds: usize) {
    source(HERD, &profile_text(HERD, ""));
    // A hundred processes that begin at once leave an emulated compiler little time.
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *' -S'*) echo \"$*\" >>{COMPILED} ;; esac\n\
         exec /sbin/apparmor_parser \"$@\"\n"
    );
    let parser = script("compiler", &text);
    configure_nothing(&format!("parser = {parser:?}\nparser_timeout = 200"));
    settle();
    while samples.count(&name(100, "loaded", "ms")) < rounds {
        for count in COUNTS {
            unload(HERD);
            let _ = fs::remove_dir_all("/var/cache/oci-apparmor");
            Herd::of(count).add(samples, "missing");
            settle();
            // It notes what it has seen.
            Herd::of(1);
            Herd::of(count).add(samples, "loaded");
        }
        samples.save();
    }
    unload(HERD);
}

pub(crate) fn summary(samples: &Samples) -> Value {
    println!(
        "{:>8} {:>9} {:>9} {:>9} {:>13} {:>6}",
        "creates", "profile", "minimum", "median", "compilations", "loads"
    );
    let (mut rows, mut medians) = (Vec::new(), Vec::new());
    for count in COUNTS {
        for profile in ["missing", "loaded"] {
            let of = |what| Times::of(samples, &name(count, profile, what));
            let (times, compilations, loads) = (of("ms"), of("compilations"), of("loads"));
            let (compilations, loads) = (compilations.maximum(), loads.maximum());
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
    json!({"rounds": samples.count(&name(COUNTS[0], "missing", "ms")), "rows": rows, "ratio": rounded(ratio)})
}
