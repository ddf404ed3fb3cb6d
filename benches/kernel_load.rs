//! Loading a profile just in time: ours against `apparmor_parser -r` with its own warm cache.
//!
//! ```text
//! cargo bench --bench kernel_load                          # 21 rounds on Linux 6.1
//! OCI_APPARMOR_VM_KERNEL=6.12 cargo bench --bench kernel_load -- --rounds 51
//! cargo bench --bench kernel_load -- -- oci-apparmor load @      # another command of ours
//! ```
//!
//! In every round each contender loads the same profile, which was removed just before: whole
//! processes first, then the load step alone, which is the one write to `.replace`. What is
//! printed are medians over all rounds, and how many times longer the parser takes. The sources are
//! in place, and every contender has loaded the profile once before, so that all caches are warm.
//!
//! After a second `--` stands a command that loads the profile whose name it gets for `@`; else it
//! is `oci-apparmor load @`. Like the suites `kernel_*`, this runs on a kernel with AppArmor
//! (tests/vm/README.md). Emulated times say nothing but how many times longer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout
)]
#![allow(missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oci_apparmor::apparmor::kernel::Kernel;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::node::Node;
use oci_apparmor::profiles::{Reload, Store};
use support::containers::{
    Bundle, CLI, CONFIG, loaded, profile_text, run, source, unload, world, wrapper,
};

const NAME: &str = "bench-load";
/// The parser's own copy: the same text, where its cache finds it by this name.
const FILE: &str = "/etc/apparmor.d/bench-load";

/// One way to get the profile into the kernel.
struct Contender<'a> {
    name: String,
    load: Box<dyn Fn() + 'a>,
    /// Whether the profile is there afterwards, and was not before.
    loads: bool,
    times: Vec<Duration>,
}

impl<'a> Contender<'a> {
    fn new(name: &str, load: impl Fn() + 'a) -> Self {
        Self {
            name: name.to_owned(),
            load: Box::new(load),
            loads: true,
            times: Vec::new(),
        }
    }

    fn process(words: Vec<String>) -> Self {
        let name = words.join(" ");
        Self::new(&name, move || {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).stdin(Stdio::null());
            let status = command.stdout(Stdio::null()).status().unwrap();
            assert!(status.success(), "{words:?}: {status}");
        })
    }

    fn once(&self) -> Duration {
        unload(NAME);
        assert_eq!(loaded(NAME), None);
        let start = Instant::now();
        (self.load)();
        let time = start.elapsed();
        assert_eq!(loaded(NAME).is_some(), self.loads, "{}", self.name);
        time
    }

    fn median(&mut self) -> Duration {
        self.times.sort();
        self.times[self.times.len() / 2]
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The number of rounds, and the command of ours.
fn arguments() -> (usize, Vec<String>) {
    let mut rounds = 21;
    // Cargo adds `--bench`.
    let mut given = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = given.next() {
        match word.as_str() {
            "--rounds" => rounds = given.next().and_then(|n| n.parse().ok()).unwrap(),
            "--" => break,
            _ => panic!("{word}? see the head of benches/kernel_load.rs"),
        }
    }
    let command: Vec<String> = given.map(|word| word.replace('@', NAME)).collect();
    (rounds, command)
}

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
    let text = profile_text(NAME, "");
    let body = text.strip_suffix("}\n").unwrap();
    format!("{body}{}}}\n", denied.concat())
}

fn main() {
    let (rounds, command) = arguments();
    // An emulator translates a program's code anew at each new address, which no machine does.
    // Processes that we start inherit it.
    nix::sys::personality::set(nix::sys::personality::Persona::ADDR_NO_RANDOMIZE).unwrap();
    let _world = world();
    let text = text();
    source(NAME, &text);
    fs::write(FILE, &text).unwrap();
    let nothing = wrapper("nothing");
    fs::write(&nothing, "#!/bin/busybox true\n").unwrap();
    fs::set_permissions(&nothing, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(CONFIG, format!("[low_level]\nrunc = {nothing:?}\n")).unwrap();
    let bundle = Bundle::annotated(NAME, &["/bin/true"], &[("oci-apparmor/profile", NAME)]);
    let blob = Path::new(FILE).with_file_name("bench-load.blob");
    let blob = blob.to_str().unwrap();
    run("apparmor_parser", ["-QK", "-o", blob, FILE]).ok();
    let policy = fs::read(blob).unwrap();
    fs::remove_file(blob).unwrap();

    let node = Node::load().unwrap();
    let name = ProfileName::parse(NAME).unwrap();
    let runc = wrapper("runc");
    let runc = runc.to_str().unwrap();
    let ours = CLI;
    let mut contenders = vec![
        Contender::process(words(&["apparmor_parser", "-r", "-W", FILE])),
        Contender::process(words(&[
            runc,
            "create",
            "--bundle",
            bundle.path.to_str().unwrap(),
            NAME,
        ])),
        Contender {
            loads: false,
            ..Contender::process(words(&[runc, "state", NAME]))
        },
        Contender {
            loads: false,
            ..Contender::process(words(&["/bin/busybox", "true"]))
        },
        Contender::new("the load step, in a process that runs", || {
            Store::new(&node).load(&name, Reload::Always).unwrap();
        }),
        Contender::new("the write alone", || {
            Kernel::default().replace(&policy).unwrap()
        }),
    ];
    if !command.is_empty() {
        contenders.push(Contender::process(command));
    } else if run(ours, ["load", "--help"]).code == 0 {
        contenders.push(Contender::process(words(&[ours, "load", NAME])));
    } else {
        println!("skipped: oci-apparmor has no command `load`");
    }

    for contender in &contenders {
        contender.once();
        // What was written within the last two seconds is not yet believed to be settled.
        std::thread::sleep(Duration::from_secs(3));
        contender.once();
    }
    let cached = run("apparmor_parser", ["-r", "-W", "--show-cache", FILE]).err;
    assert!(cached.contains("Cache hit"), "{cached}");
    for _ in 0..rounds {
        for contender in &mut contenders {
            let time = contender.once();
            contender.times.push(time);
        }
    }

    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    print!("{rounds} rounds, Linux {}, ", release.trim_end());
    print!("{} bytes of policy", policy.len());
    println!(
        "{}",
        if cfg!(debug_assertions) {
            ", NOT OPTIMISED"
        } else {
            ""
        }
    );
    println!("{:>10}  parser takes", "median");
    let parser = contenders[0].median();
    for contender in &mut contenders {
        let median = contender.median();
        let note = if contender.loads {
            ""
        } else {
            " (loads nothing)"
        };
        println!(
            "{:>7.2} ms  {:>5.1} x  {}{note}",
            median.as_secs_f64() * 1000.0,
            parser.div_duration_f64(median),
            contender.name,
        );
    }
    unload(NAME);
    fs::remove_file(FILE).unwrap();
    let _ = fs::remove_file(CONFIG);
}
