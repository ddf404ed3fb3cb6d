//! Many containers at once: each profile is compiled and loaded once, and no
//! start waits for another's profile, or for a process that is gone.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::loaded_profiles::*;
use crate::support::containers::*;

/// How many are created at once, and every which of them for real: emulated, `crun create` takes
/// half a second, and a hundred of them would take longer than all other tests.
const HERD: usize = 200;
const REAL: usize = 16;

/// A process that goes on without us, and is killed with all that it started.
struct Going(Child);

impl Going {
    fn create(runtime: &str, bundle: &Path, id: &str) -> Self {
        let child = Command::new(wrapper(runtime))
            .args(["create", "--bundle", bundle.to_str().unwrap(), id])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(bundle.join("stderr")).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        Self(child)
    }

    fn of(name: &str, id: &str) -> Self {
        Self::create("runc", &Asking::for_profile(name).0, id)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().try_into().unwrap())
    }

    fn goes_on(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    fn succeeds(&mut self) -> bool {
        self.0.wait().unwrap().success()
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

fn runtime_of(n: usize) -> &'static str {
    if n.is_multiple_of(REAL) {
        "crun"
    } else {
        "runc"
    }
}

/// How long it takes to create a container of each bundle, all at once.
#[track_caller]
fn takes(bundles: &[PathBuf]) -> Duration {
    let start = Instant::now();
    let creates: Vec<_> = bundles
        .iter()
        .enumerate()
        .map(|(n, bundle)| Going::create(runtime_of(n), bundle, &format!("herd-{n}")))
        .collect();
    let failed: Vec<_> = creates
        .into_iter()
        .zip(bundles)
        .filter_map(|(mut create, bundle)| {
            let said = || fs::read_to_string(bundle.join("stderr")).unwrap();
            let done = create.succeeds();
            // What it made lives in its process group, and goes on.
            std::mem::forget(create);
            (!done).then(said)
        })
        .collect();
    assert!(
        failed.is_empty(),
        "{}, the first: {}",
        failed.len(),
        failed[0]
    );
    start.elapsed()
}

#[test]
fn one_missing_profile_is_compiled_once_and_loaded_once() {
    let _world = world();
    // Two hundred processes that begin at once leave an emulated compiler little time.
    fresh("parser_timeout = 200");
    let name = "herd";
    source(name, &profile_text(name, ""));
    let bundles = bundles(name, HERD, &["/bin/sleep", "1000"]);
    let real: Vec<_> = (0..HERD)
        .step_by(REAL)
        .map(|n| Container {
            runtime: wrapper("crun"),
            id: format!("herd-{n}"),
        })
        .collect();

    empty_log();
    let missing = takes(&bundles);
    assert_eq!((compilations(), loads(name)), (1, 1));
    assert_eq!(records().len(), HERD);
    for bundle in &bundles {
        let config = fs::read_to_string(bundle.join("config.json")).unwrap();
        assert!(config.contains("\"apparmorProfile\":\"herd\""), "{config}");
    }
    for container in &real {
        run("crun", ["start", &container.id]).ok();
    }
    for container in real {
        assert_eq!(container.label(), "herd (enforce)");
        run("crun", ["delete", "--force", &container.id]).ok();
        std::mem::forget(container);
    }

    // As if it were loaded first, and then they were created; a quarter is enough to know.
    unload(name);
    let _ = fs::remove_dir_all(CACHE);
    let start = Instant::now();
    Asking::for_profile(name).created();
    let loading = start.elapsed();
    let quarter = takes(&bundles[..HERD / 4]);
    for n in (0..HERD / 4).step_by(REAL) {
        run("crun", ["delete", "--force", &format!("herd-{n}")]).ok();
    }
    println!(
        "missing: {missing:?}; loading it: {loading:?}; a quarter of them, loaded: {quarter:?}"
    );
    assert_eq!(compilations(), 2);
    assert!(missing < 2 * (loading + 4 * quarter));
}

/// A compiler that works on one of these profiles for as long as it may.
fn compiler_hangs_on(name: &str) {
    compiler(&format!(
        "text=$(cat)\n\
         case $text in *'profile {name} '*) : >{AREA}/hangs; exec sleep 1000 ;; esac\n\
         printf '%s\\n' \"$text\" | /sbin/apparmor_parser \"$@\""
    ));
}

fn hangs() -> bool {
    Path::new(AREA).join("hangs").exists()
}

#[test]
fn a_load_does_not_wait_for_another_profile_or_for_a_dead_process() {
    let _world = world();
    fresh("parser_timeout = 100");
    for name in ["slow", "quick"] {
        source(name, &reads(name, "/probe"));
    }
    compiler_hangs_on("slow");
    let mut holder = Going::of("slow", "slow-1");
    wait_for(hangs);
    let mut others: Vec<_> = (2..5)
        .map(|n| Going::of("slow", &format!("slow-{n}")))
        .collect();
    Asking::for_profile("quick").created();
    assert!(holder.goes_on() && others.iter_mut().all(Going::goes_on));
    assert!(may_read("quick", "/probe") && !may_read("slow", "/probe"));

    // The compiler of the killed one lives on.
    compiler("exec /sbin/apparmor_parser \"$@\"");
    kill(holder.pid(), Signal::SIGKILL).unwrap();
    let start = Instant::now();
    assert!(others.iter_mut().all(Going::succeeds));
    assert!(start.elapsed() < Duration::from_secs(20));
    assert!(may_read("slow", "/probe"));
    // The one that hung, one for all that waited for it, and the other profile's.
    assert_eq!(compilations(), 3);
}

#[test]
fn a_wait_for_a_stopped_process_ends_with_a_refusal() {
    let _world = world();
    fresh("parser_timeout = 2");
    for name in ["stop", "quick"] {
        source(name, &reads(name, "/probe"));
    }
    compiler_hangs_on("stop");
    let holder = Going::of("stop", "stop-1");
    wait_for(hangs);
    kill(holder.pid(), Signal::SIGSTOP).unwrap();
    compiler("exec /sbin/apparmor_parser \"$@\"");
    let start = Instant::now();
    let asking = Asking::for_profile("stop");
    asking.refused(&["cannot lock", "another process holds the lock", "fuser"]);
    let waited = start.elapsed().as_secs();
    assert!((6..20).contains(&waited), "{waited} s");
    assert!(!may_read("stop", "/probe"));
    Asking::for_profile("quick").created();
    drop(holder);
    asking.created();
    assert!(may_read("stop", "/probe"));
}

/// A process that uses a profile for a long time, as a container does that is being created on
/// a disk that hangs.
#[test]
fn use_of_a_profile_does_not_block_loading_it() {
    let _world = world();
    fresh("parser_timeout = 2");
    source("rely", &reads("rely", "/probe/a"));
    let asking = Asking::for_profile("rely");
    asking.created();
    let locks = fs::read_dir(Path::new(STATE).join("locks")).unwrap();
    let held: Vec<_> = locks
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.to_str().unwrap().ends_with("-load"))
        .map(|path| {
            let file = File::open(path).unwrap();
            file.lock_shared().unwrap();
            file
        })
        .collect();
    assert_eq!(held.len(), 1);
    write(source_of("rely"), &reads("rely", "/probe/b"));
    asking.created();
    assert_eq!(readable("rely", &["/probe/a", "/probe/b"]), ["/probe/b"]);
}

/// As when a node boots, and thousands are loaded while the first containers start.
#[test]
fn a_missing_profile_is_found_missing_while_others_come_and_go() {
    let _world = world();
    fresh("");
    source("calm", &reads("calm", "/probe"));
    let one = compiled(&reads("crowd-0000", "/probe"), &[]);
    let named = |n: usize| {
        let text = String::from_utf8_lossy(&one);
        assert_eq!(text.matches("crowd-0000").count(), 1);
        let at = one.windows(10).position(|w| w == b"crowd-0000").unwrap();
        let mut blob = one.clone();
        blob[at..at + 10].copy_from_slice(format!("crowd-{n:04}").as_bytes());
        blob
    };
    for n in 0..500 {
        replace(&named(n));
    }
    let over = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                replace(&one);
            }
        });
        let done = Asking::for_profile("calm").create();
        let absent = Asking::for_profile("absent").create();
        over.store(true, Ordering::Relaxed);
        (done, absent)
    });
    done.1
        .refused(&["absent", "is not loaded, and there is no file"]);
    done.0.ok();
    assert!(may_read("calm", "/probe"));
    for n in 0..500 {
        unload(&format!("crowd-{n:04}"));
    }
}
