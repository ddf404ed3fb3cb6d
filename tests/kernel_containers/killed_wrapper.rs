//! The wrapper killed on its way to the real runtime: what it leaves is old or new, and
//! does not disturb later calls. The process tests do so at each of its system calls; these at
//! every tenth.

use std::fs;
use std::path::Path;

use crate::support::containers::*;

/// How many system calls lie between two that are tried.
const STEP: usize = 10;
const LABEL: [&str; 2] = ["/bin/cat", "/proc/self/attr/apparmor/current"];
const HOLDS: &str = "killed (enforce)\n";

/// Every tenth system call of the wrapper before it becomes the runtime: its name, and its number
/// among those of that name, which is what strace counts.
fn system_calls(words: &[&str]) -> Vec<(String, usize)> {
    let trace = ["-qq", "-b", "execve", "-o", "/run/trace"];
    traced(&trace, words).ok();
    let text = fs::read_to_string("/run/trace").unwrap();
    let is_name = |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once('('))
        .map(|(name, _)| name)
        .filter(is_name)
        .collect();
    // strace's own, and that of the runtime.
    let names = &names[1..names.len() - 1];
    assert!(names.len() > 60 && !names.contains(&"execve"), "{names:?}");
    (0..names.len())
        .step_by(STEP)
        .map(|at| {
            let number = names[..=at].iter().filter(|n| **n == names[at]).count();
            (names[at].to_owned(), number)
        })
        .collect()
}

pub(crate) fn traced(options: &[&str], words: &[&str]) -> Done {
    let wrapper = wrapper("runc");
    let wrapper = [wrapper.to_str().unwrap()];
    run_detached(Path::new("strace"), [options, &wrapper, words].concat())
}

/// Waits until a source has rested long enough for its fingerprint to be remembered
/// (`src/profiles`): from then on each call of the wrapper makes the same system calls.
fn rest() {
    std::thread::sleep(std::time::Duration::from_secs(3));
}

/// Calls the wrapper, which is killed at this system call.
pub(crate) fn killed_at((name, number): &(String, usize), words: &[&str]) -> Done {
    let inject = format!("inject={name}:signal=KILL:when={number}");
    let options = ["-qq", "-b", "execve", "-o", "/run/trace", "-e", &inject];
    traced(&options, words)
}

#[test]
fn the_configuration_is_never_torn() {
    let _world = world();
    profile("killed");
    load(&profile_text("killed", ""));
    let bundle = Bundle::annotated(
        "killed",
        &["/bin/sleep", "1000"],
        &[("oci-apparmor/profile", "killed")],
    );
    let old = fs::read(bundle.config_json()).unwrap();
    let words = [
        "create",
        "--bundle",
        bundle.path.to_str().unwrap(),
        "killed",
    ];
    let container = Container {
        runtime: wrapper("runc"),
        id: "killed".into(),
    };
    let delete = || run(&container.runtime, ["delete", "--force", "killed"]).ok();
    // The first one remembers what those behind it need not look for.
    rest();
    run_detached(&container.runtime, words).ok();
    delete();
    fs::write(bundle.config_json(), &old).unwrap();
    let calls = system_calls(&words);
    assert_eq!(bundle.profile_on_disk().as_deref(), Some("killed"));
    delete();
    // A call of the wrapper may make one or two fewer than the one that was traced.
    let (mut seen_new, mut missed) = (0, 0);
    for call in &calls {
        fs::write(bundle.config_json(), &old).unwrap();
        if killed_at(call, &words).code == 0 {
            missed += 1;
            assert_eq!(bundle.profile_on_disk().as_deref(), Some("killed"));
            delete();
            continue;
        }
        assert!(!Path::new("/run/runc/killed").exists(), "{call:?}");
        if fs::read(bundle.config_json()).unwrap() != old {
            assert_eq!(bundle.profile_on_disk().as_deref(), Some("killed"));
            seen_new += 1;
        }
    }
    assert!(
        (1..calls.len()).contains(&seen_new) && missed * 10 <= calls.len(),
        "{seen_new}, {missed}: {calls:?}"
    );
    // What so many left behind does not disturb later calls.
    run_detached(&container.runtime, words).ok();
    container.call("start").ok();
    assert_eq!(container.label(), HOLDS.trim_end());
    let left = fs::read_dir(&bundle.path).unwrap().count();
    assert!(left < calls.len() / 2, "{left}");
}

#[test]
fn an_exec_that_is_killed_has_executed_nothing() {
    let _world = world();
    profile("killed");
    let bundle = Bundle::annotated(
        "killed",
        &["/bin/sleep", "1000"],
        &[("oci-apparmor/profile", "killed")],
    );
    rest();
    let container = Container::started("runc", &bundle, "killed");
    let mark = rootfs().join("tmp/execed");
    let args = ["/bin/touch", "/tmp/execed"];
    let _ = fs::remove_file(&mark);
    let fresh = || process_file("execed", &args, Some("a-default-of-the-engine"));
    let file = fresh();
    let words = ["exec", "--process", file.to_str().unwrap(), "killed"];
    let calls = system_calls(&words);
    fs::remove_file(&mark).unwrap();
    let mut missed = 0;
    for call in &calls {
        fresh();
        if killed_at(call, &words).code == 0 {
            missed += 1;
            fs::remove_file(&mark).unwrap();
        }
        assert!(!mark.exists(), "{call:?}");
    }
    assert!(missed * 10 <= calls.len(), "{missed}: {calls:?}");
    process_file("execed", &LABEL, Some("unconfined"));
    assert_eq!(run(&container.runtime, words).ok(), HOLDS);
    assert_eq!(container.exec(&LABEL).ok(), HOLDS);
}
