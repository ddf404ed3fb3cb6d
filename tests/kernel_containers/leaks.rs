//! A hundred real containers, one after the other and many at a time under a memory limit: what is
//! left is what was there before. `leftovers.rs` of the suite `process` has nine hundred more, with a stand-in.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::containers::*;

const NAME: &str = "leaks";
const IN_A_ROW: usize = 50;
const AT_A_TIME: usize = 50;
/// For all that is started at a time, but what is in the containers.
const LIMIT: u64 = 64 << 20;
const CGROUP: &str = "/sys/fs/cgroup/oci-apparmor-leaks";

/// What there is on the node, and how often.
fn all() -> BTreeMap<String, usize> {
    fn below(directory: &Path, only_directories: bool, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let is_directory = entry.file_type().unwrap().is_dir();
            if is_directory {
                below(&entry.path(), only_directories, found);
            }
            if is_directory || !only_directories {
                found.push(entry.path().display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    let bundles = rootfs().with_file_name("bundles");
    for place in ["/run", "/tmp", "/dev/shm", "/var/cache/oci-apparmor"] {
        below(Path::new(place), false, &mut found);
    }
    below(&bundles, false, &mut found);
    below(Path::new("/sys/fs/cgroup"), true, &mut found);
    let lines = |file: &str, what: &str| -> Vec<String> {
        let text = fs::read_to_string(file).unwrap();
        text.lines().map(|line| format!("{what} {line}")).collect()
    };
    found.extend(lines("/sys/kernel/security/apparmor/profiles", "profile"));
    // The numbers at the beginning are new at each reading.
    let locks = lines("/proc/locks", "lock");
    found.extend(
        locks
            .iter()
            .map(|l| l.split(": ").last().unwrap().to_owned()),
    );
    found.extend(lines("/proc/self/mountinfo", "mount"));
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let is_process = process.file_name().to_string_lossy().parse::<u32>().is_ok();
        // A kernel thread has no command line; one that has just ended, no file.
        let line = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        if is_process && !line.is_empty() {
            found.push(format!("process {}", line.replace('\0', " ")));
        }
    }
    let own = fs::read_dir("/proc/self/fd").unwrap().count();
    found.extend((0..own).map(|_| "descriptor".to_owned()));
    let mut all = BTreeMap::new();
    for one in found {
        *all.entry(one).or_default() += 1;
    }
    all
}

/// Nothing is left over; watchers may need a moment to see that their container is gone.
#[track_caller]
fn nothing_new_since(before: &BTreeMap<String, usize>) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let mut new = all();
        new.retain(|what, count| *count > before.get(what).copied().unwrap_or_default());
        if new.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "left over: {new:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn id(number: usize) -> String {
    format!("leaks-{number}")
}

/// A call of the wrapper that counts towards the limit.
fn limited(words: &[&str]) -> Child {
    Command::new("sh")
        .args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\"", CGROUP])
        .arg(wrapper("crun"))
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Makes them all at a time.
#[track_caller]
fn all_at_a_time(words: impl Fn(&str) -> Vec<String>) {
    let calls: Vec<_> = (0..AT_A_TIME)
        .map(|number| {
            let words = words(&id(number));
            limited(&words.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .collect();
    for (number, mut call) in calls.into_iter().enumerate() {
        assert!(call.wait().unwrap().success(), "{}", id(number));
    }
}

#[test]
fn nothing_is_left_of_a_hundred_containers() {
    let _world = world();
    profile(NAME);
    let asks = [("oci-apparmor/profile", NAME)];
    let label = Bundle::annotated(
        "leaks-label",
        &["/bin/cat", "/proc/self/attr/current"],
        &asks,
    );
    let sleep = Bundle::annotated("leaks-sleep", &["/bin/sleep", "1000"], &asks);
    let in_a_row = |number: usize| {
        let bundle = label.path.to_str().unwrap();
        match number % 25 {
            // As an engine does it: in two steps, and never started.
            23 => drop(Container::started("crun", &sleep, &id(number))),
            24 => drop(Container::create("crun", &sleep, &id(number)).1.ok()),
            _ => {
                let out = run(wrapper("crun"), ["run", "--bundle", bundle, &id(number)]).ok();
                assert_eq!(out.trim(), shown("crun", NAME));
            }
        }
    };
    // What is there once for all: the loaded profile, its locks and, when it has rested for two
    // seconds, what is remembered of it; and that the labels are in the configurations.
    (22..25).for_each(in_a_row);
    std::thread::sleep(Duration::from_secs(3));
    (22..25).for_each(in_a_row);
    let before = all();
    assert!(before.contains_key(&format!("profile {NAME} (enforce)")));

    let start = Instant::now();
    (0..IN_A_ROW).for_each(in_a_row);
    let row = start.elapsed();
    nothing_new_since(&before);
    println!("{IN_A_ROW} in a row: {row:?}");

    fs::create_dir(CGROUP).unwrap();
    fs::write(format!("{CGROUP}/memory.max"), LIMIT.to_string()).unwrap();
    let start = Instant::now();
    let bundle = sleep.path.to_str().unwrap();
    all_at_a_time(|id| {
        ["run", "--detach", "--bundle", bundle, id]
            .map(str::to_owned)
            .into()
    });
    assert_eq!(records().len(), AT_A_TIME);
    println!("{AT_A_TIME} at a time: {:?}", start.elapsed());
    for number in 0..AT_A_TIME {
        let status = fs::read(format!("/run/crun/{}/status", id(number))).unwrap();
        let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
        let process = format!("/proc/{}", status["pid"]);
        let comm = || fs::read_to_string(format!("{process}/comm")).unwrap();
        wait_for(|| comm() == "sleep\n");
        let label = fs::read_to_string(format!("{process}/attr/apparmor/current")).unwrap();
        assert_eq!(label.trim(), shown("crun", NAME));
    }
    all_at_a_time(|id| ["delete", "--force", id].map(str::to_owned).into());
    let events = fs::read_to_string(format!("{CGROUP}/memory.events")).unwrap();
    assert!(events.contains("oom_kill 0\n"), "{events}");
    let peak = fs::read_to_string(format!("{CGROUP}/memory.peak")).unwrap_or_default();
    let time = start.elapsed();
    println!("made and removed: {time:?}, with {} bytes", peak.trim());
    wait_for(|| fs::remove_dir(CGROUP).is_ok());
    nothing_new_since(&before);
    unload(NAME);
}
