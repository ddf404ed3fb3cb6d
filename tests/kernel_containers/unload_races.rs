//! `unload` and `gc` in a loop, while containers start and stop: nothing ever turns unconfined.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::containers::*;

const NAME: &str = "raced";
const STAND_IN: &str = "/usr/local/bin/oci-apparmor-race";

/// What runc does that matters here: the container's directory, then the label that waits, and
/// after a while, in which anything may happen, the program under it.
const RUN: &str = r#"#!/bin/busybox sh
for id; do :; done
case $1 in
run)
    mkdir -p /run/runc/$id
    printf 'exec raced' >/proc/self/attr/apparmor/exec || { rmdir /run/runc/$id; exit 1; }
    busybox sleep 0.0$(( $$ % 10 ))
    exec /bin/busybox sh -c 'cat /proc/self/attr/apparmor/current; rmdir /run/runc/'$id
    ;;
esac
"#;

/// What became of the containers of one worker.
#[derive(Debug, Default)]
struct Tally {
    confined: u32,
    refused: Vec<String>,
    unconfined: Vec<String>,
}

impl Tally {
    fn add(&mut self, done: &Done) {
        match done.out.trim() {
            "raced (enforce)" => self.confined += 1,
            "" if done.code != 0 => self.refused.push(done.err.clone()),
            _ => self.unconfined.push(format!("{done:?}")),
        }
    }
}

fn worker(words: impl Fn(u32) -> Vec<String>, program: &Path, until: Instant) -> Tally {
    let mut tally = Tally::default();
    for number in 0.. {
        if Instant::now() > until {
            break;
        }
        let output = Command::new(program).args(words(number)).output().unwrap();
        tally.add(&done(&output));
        // Now and then no process carries the profile, and it is removed.
        thread::sleep(Duration::from_millis(u64::from(number % 7) * 60));
    }
    tally
}

/// Runs `unload` or `gc` in a loop; how often it did what it should.
fn disturber(words: &[&str], stop: &AtomicBool, done: &AtomicU32) {
    while !stop.load(Ordering::Relaxed) {
        let output = Command::new(CLI).args(words).output().unwrap();
        if output.status.success() {
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Starts containers for `time`, by `workers`, with both disturbers at work.
fn race(workers: Vec<Box<dyn Fn(Instant) -> Tally + Send + Sync>>, time: Duration) -> Tally {
    let (stop, unloaded, tidied) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let mut all = Tally::default();
    thread::scope(|scope| {
        scope.spawn(|| disturber(&["unload", NAME], &stop, &unloaded));
        scope.spawn(|| disturber(&["gc"], &stop, &tidied));
        let until = Instant::now() + time;
        let running: Vec<_> = workers
            .iter()
            .map(|work| scope.spawn(move || work(until)))
            .collect();
        for worker in running {
            let tally = worker.join().unwrap();
            all.confined += tally.confined;
            all.refused.extend(tally.refused);
            all.unconfined.extend(tally.unconfined);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(all.unconfined.is_empty(), "{:?}", all.unconfined);
    assert!(unloaded.into_inner() > 0, "unload never succeeded");
    assert!(tidied.into_inner() > 0, "gc never succeeded");
    all
}

#[test]
fn runs_stay_confined_while_their_profile_is_unloaded() {
    let _world = world();
    profile(NAME);
    fs::write(STAND_IN, RUN).unwrap();
    fs::set_permissions(STAND_IN, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(CONFIG, format!("[runtimes]\nrunc = {STAND_IN:?}\n")).unwrap();
    let worker = |worker: u32| -> Box<dyn Fn(Instant) -> Tally + Send + Sync> {
        let asks = [("oci-apparmor/profile", NAME)];
        let bundle = Bundle::annotated(&format!("raced{worker}"), &["/bin/true"], &asks);
        let bundle = bundle.path.to_str().unwrap().to_owned();
        Box::new(move |until| {
            let words = |n: u32| {
                ["run", "--bundle", &bundle, &format!("raced-{worker}-{n}")]
                    .map(str::to_owned)
                    .to_vec()
            };
            self::worker(words, &wrapper("runc"), until)
        })
    };
    let tally = race((0..2).map(worker).collect(), Duration::from_secs(25));
    // A busy machine makes few of them.
    assert!(tally.confined > 8, "{tally:?}");
    // A runtime that came too late to be seen failed to apply a removed profile; most were seen.
    assert!(
        tally.refused.len() * 4 < tally.confined as usize,
        "{tally:?}"
    );
    // Nothing is left behind but what the next gc takes.
    run(CLI, ["gc"]).ok();
    assert!(records().is_empty(), "{:?}", records());
    unload(NAME);
}

#[test]
fn real_containers_stay_confined_while_their_profile_is_unloaded() {
    let _world = world();
    profile(NAME);
    let worker = |runtime: &'static str| -> Box<dyn Fn(Instant) -> Tally + Send + Sync> {
        let asks = [("oci-apparmor/profile", NAME)];
        let name = format!("raced-{runtime}");
        let bundle = Bundle::annotated(&name, &["/bin/cat", "/proc/self/attr/current"], &asks);
        Box::new(move |until| {
            let mut tally = Tally::default();
            for number in 0.. {
                if Instant::now() > until {
                    return tally;
                }
                let id = format!("raced-{runtime}-{number}");
                // In one step, or in two with time in between.
                if number % 2 == 0 {
                    let bundle = bundle.path.to_str().unwrap();
                    tally.add(&run(wrapper(runtime), ["run", "--bundle", bundle, &id]));
                } else {
                    let path = bundle.path.join(format!("out-{number}"));
                    let output = Command::new(wrapper(runtime))
                        .args(["create", "--bundle", bundle.path.to_str().unwrap(), &id])
                        .stdout(fs::File::create(&path).unwrap())
                        .status()
                        .unwrap();
                    let started = run(wrapper(runtime), ["start", &id]);
                    let code = if output.success() { started.code } else { 1 };
                    let text = || fs::read_to_string(&path).unwrap();
                    if code == 0 {
                        wait_for(|| !text().is_empty());
                    }
                    let (out, err) = (text(), started.err);
                    tally.add(&Done { code, out, err });
                    run(wrapper(runtime), ["delete", "--force", &id]);
                }
            }
            tally
        })
    };
    let tally = race(
        RUNTIMES.into_iter().map(worker).collect(),
        Duration::from_secs(30),
    );
    assert!(tally.confined > 5, "{tally:?}");
    unload(NAME);
}
