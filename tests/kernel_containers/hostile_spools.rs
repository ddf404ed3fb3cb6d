//! Spools that try to be more than profiles of containers, all in one: what is accepted becomes a
//! source, the rest is reported with a reason and changes nothing.

use std::fs::{self, File};
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::Value;

use crate::cluster_spool::{AGENT, SOURCES, SPOOL, end, node_of_a_cluster, put, state, sync};
use crate::support::containers::*;

/// What becomes of a file.
#[derive(Clone, Copy)]
enum Fate {
    /// It is refused, and the reason has this.
    Refused(&'static str),
    Accepted,
    /// It depends on the version of AppArmor.
    Either,
}
use Fate::{Accepted, Either, Refused};

/// Texts, by the profile's name without `cluster-`.
fn texts() -> Vec<(&'static str, String, Fate)> {
    const RULES: &str = "{\n file,\n}\n";
    let whole = |text: &str| text.replace("RULES", RULES);
    let with = |name: &str, rule: &str| format!("profile cluster-{name} {{\n file,\n {rule}\n}}\n");
    let flags = |name: &str, flags: &str| format!("profile cluster-{name} flags=({flags}) {RULES}");
    let slow = format!("/**a{}b r,", "?".repeat(40));
    vec![
        // Programs of the host.
        (
            "attached",
            whole("profile cluster-attached /usr/bin/sleep RULES"),
            Refused("attaches"),
        ),
        (
            "every",
            whole("profile cluster-every /** RULES"),
            Refused("attaches"),
        ),
        (
            "path",
            whole("/usr/bin/sleep RULES"),
            Refused("it declares the profile"),
        ),
        // Profiles of others.
        (
            "other",
            whole("profile cluster-victim RULES"),
            Refused("it declares the profile"),
        ),
        (
            "second",
            whole("profile cluster-second RULES profile cluster-victim RULES"),
            Refused("it declares the profile \\\"cluster-victim\\\""),
        ),
        (
            "child",
            whole("profile cluster-child RULES profile cluster-victim//c RULES"),
            Refused("it declares the profile"),
        ),
        (
            "hat",
            whole("profile cluster-hat RULES profile cluster-victim { ^c RULES }"),
            Refused("it declares the profile"),
        ),
        (
            "variable",
            whole("@{n}=cluster-victim\nprofile @{n} RULES"),
            Refused("it declares"),
        ),
        (
            "several",
            whole("profile {cluster-several,cluster-victim} RULES"),
            Refused("declare"),
        ),
        (
            "namespace",
            whole("profile :other:cluster-namespace RULES"),
            Refused("namespace"),
        ),
        (
            "inside",
            whole("profile cluster-inside { profile :other:c RULES }"),
            Refused(""),
        ),
        // Modes.
        (
            "complain",
            flags("complain", "complain"),
            Refused("must enforce"),
        ),
        (
            "unconfined",
            flags("unconfined", "unconfined"),
            Refused("must enforce"),
        ),
        ("prompt", flags("prompt", "prompt"), Refused("")),
        ("default", flags("default", "default_allow"), Either),
        ("kill", flags("kill", "kill"), Accepted),
        // Files of the node.
        (
            "reads",
            whole("include \"/etc/shadow\"\nprofile cluster-reads RULES"),
            Refused("may not include"),
        ),
        (
            "within",
            with("within", "#include \"/etc/shadow\""),
            Refused("may not include"),
        ),
        (
            "folded",
            with("folded", "include\\\n \"/etc/shadow\""),
            Refused(""),
        ),
        (
            "dots",
            with("dots", "include <abstractions/../../shadow>"),
            Refused("may not include"),
        ),
        (
            "exists",
            with("exists", "include if exists \"/etc/shadow\""),
            Refused("may not include"),
        ),
        (
            "host",
            with("host", "include <usr.sbin.sshd>"),
            Refused("may not include"),
        ),
        (
            "abi",
            "abi \"/etc/shadow\",\n".to_owned() + &with("abi", ""),
            Refused("may not include"),
        ),
        // Texts that are none.
        (
            "broken",
            "profile cluster-broken {".to_owned(),
            Refused("apparmor_parser"),
        ),
        ("empty", String::new(), Refused("")),
        ("nul", with("nul", "/a\0 r,"), Refused("control characters")),
        (
            "escape",
            with("escape", "/a\x1b[2J r,"),
            Refused("control characters"),
        ),
        ("slow", with("slow", &slow), Refused("")),
        // What a profile may do. It allows no more than a profile that allows everything.
        (
            "abis",
            "abi <abi/3.0>,\n".to_owned() + &with("abis", ""),
            Accepted,
        ),
        ("leaves", with("leaves", "change_profile,"), Accepted),
        (
            "limits",
            with("limits", "set rlimit nofile <= 4096,"),
            Accepted,
        ),
        (
            "hats",
            with("hats", "^hat {\n  file,\n }\n profile c {\n  file,\n }"),
            Accepted,
        ),
        // The language of AppArmor 4.
        ("userns", with("userns", "userns,"), Either),
        ("io", with("io", "io_uring,"), Either),
        ("queue", with("queue", "mqueue,"), Either),
        ("all", with("all", "all,"), Either),
    ]
}

/// Files that are no texts, and names. Without `.profile`.
fn files() -> Vec<(&'static str, Fate)> {
    let at = |name: &str| Path::new(SPOOL).join(format!("{name}.profile"));
    symlink("/etc/shadow", at("cluster-link")).unwrap();
    // A hard link to a file of the node's, where the spool is on its file system.
    fs::write("/var/lib/oci-apparmor/secret", "root:x\n").unwrap();
    fs::hard_link("/var/lib/oci-apparmor/secret", at("cluster-hard")).unwrap();
    nix::unistd::mkfifo(&at("cluster-fifo"), Mode::S_IRWXU).unwrap();
    let console = makedev(5, 1);
    mknod(
        &at("cluster-device"),
        SFlag::S_IFCHR,
        Mode::S_IRWXU,
        console,
    )
    .unwrap();
    fs::create_dir(at("cluster-directory")).unwrap();
    std::os::unix::net::UnixListener::bind(at("cluster-socket")).unwrap();
    for (name, size) in [("cluster-large", 16 << 20), ("cluster-sparse", 1 << 40)] {
        let file = File::create(at(name)).unwrap();
        // The limit of a file in memory may be lower.
        if file.set_len(size).is_err() {
            file.set_len(1 << 30).unwrap();
        }
        chown(at(name), Some(AGENT), None).unwrap();
    }
    fs::write(at("cluster-root"), "x").unwrap();
    put("cluster-foreign.profile", "x");
    chown(at("cluster-foreign"), Some(4321), None).unwrap();
    let own = [
        ("cluster-link", Refused("not a regular file")),
        ("cluster-hard", Refused("more than one name")),
        ("cluster-fifo", Refused("not a regular file")),
        ("cluster-device", Refused("not a regular file")),
        ("cluster-directory", Refused("not a regular file")),
        ("cluster-socket", Refused("not a regular file")),
        ("cluster-large", Refused("larger than")),
        ("cluster-sparse", Refused("larger than")),
        ("cluster-root", Refused("")),
        ("cluster-foreign", Refused("another user")),
    ];
    let named = [
        // The node's, the distribution's, and those that other programs have loaded.
        (
            "of-the-node",
            Refused("/etc/oci-apparmor/profiles/of-the-node"),
        ),
        ("of-the-host", Refused("/etc/apparmor.d/of-the-host")),
        ("only-loaded", Refused("oci-apparmor did not load it")),
        ("docker-default", Refused("default profile of an engine")),
        (
            "containers-default-0.50.1",
            Refused("default profile of an engine"),
        ),
        // What the kernel would understand otherwise.
        ("unconfined", Refused("")),
        ("unconf", Refused("")),
        ("u", Refused("")),
        ("oci-apparmor.trial.1.a", Refused("no source can have")),
        // Files that AppArmor's own programs leave out.
        ("x.dpkg-old", Refused("no source can have")),
        ("x.rpmsave", Refused("no source can have")),
        // Another case is another name.
        ("Of-The-Node", Accepted),
    ];
    for (name, _) in named {
        put(&format!("{name}.profile"), &profile_text(name, ""));
    }
    own.into_iter().chain(named).collect()
}

/// Names that no file of the spool has; they are counted.
const NO_NAMES: [&str; 8] = [
    "cluster-a",
    "cluster-a.profile.tmp",
    "cluster-\u{1b}[2J.profile",
    "cluster-a\nb.profile",
    "cluster a.profile",
    "&cluster-a.profile",
    "cluster-\u{e9}.profile",
    "cluster-b.yml",
];

/// What must stay as it is: the files below `/etc` with their times, and the kernel's profiles.
fn seen(except: &[String]) -> (String, Vec<String>) {
    let format = "%p %y %s %u %m %T@ %l\\n";
    let etc = run("find", ["/etc", "-printf", format]).ok();
    let list = fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap();
    let mut names: Vec<String> = list
        .lines()
        .filter(|line| {
            !except.iter().any(|name| {
                line.starts_with(&format!("{name} (")) || line.starts_with(&format!("{name}//"))
            })
        })
        .map(str::to_owned)
        .collect();
    names.sort();
    (etc, names)
}

fn sources() -> Vec<String> {
    let names = fs::read_dir(SOURCES).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn hostile_spools_change_nothing_and_are_reported() {
    let _world = world();
    node_of_a_cluster("allow = [\"*\"]");
    let host = PathBuf::from("/etc/apparmor.d/of-the-host");
    profile("of-the-node");
    fs::write(&host, profile_text("of-the-host", "")).unwrap();
    for name in ["cluster-victim", "only-loaded", "of-the-host"] {
        load(&profile_text(name, ""));
    }
    let mut fates: Vec<(String, Fate)> = Vec::new();
    for (name, text, fate) in texts() {
        put(&format!("cluster-{name}.profile"), &text);
        fates.push((format!("cluster-{name}"), fate));
    }
    fs::write(
        Path::new(SPOOL).join("cluster-bytes.profile"),
        b"profile cluster-bytes {\xff}",
    )
    .unwrap();
    chown(
        Path::new(SPOOL).join("cluster-bytes.profile"),
        Some(AGENT),
        None,
    )
    .unwrap();
    fates.push(("cluster-bytes".to_owned(), Refused("not UTF-8")));
    let files = files().into_iter();
    fates.extend(files.map(|(name, fate)| (name.to_owned(), fate)));
    for name in NO_NAMES {
        put(name, "");
    }
    put("cluster-zebra.profile", &profile_text("cluster-zebra", ""));
    fates.push(("cluster-zebra".to_owned(), Accepted));
    let before = seen(&[]);

    let status = sync();
    let mut accepted = Vec::new();
    for (name, fate) in &fates {
        let state = state(&status, name);
        println!("{name}: {state}");
        let is_accepted = state == "\"Loaded\" null";
        let why = match fate {
            Accepted => {
                assert!(is_accepted, "{name}: {state}");
                ""
            }
            Refused(why) => {
                assert!(!is_accepted, "{name}: {state}");
                why
            }
            Either => "",
        };
        match is_accepted {
            true => accepted.push(name.clone()),
            false => assert!(
                state.starts_with("\"Refused\" \"") && state.contains(why),
                "{name}: {state}"
            ),
        }
        assert!(!state.contains("root:"), "{state}");
    }
    accepted.sort();
    assert_eq!(status["rejected"], NO_NAMES.len());
    assert_eq!(status["refused"], Value::Null);
    assert_eq!(status["profiles"].as_array().unwrap().len(), fates.len());
    assert_eq!(sources(), accepted);
    assert_eq!(seen(&accepted), before);

    // A spool that cannot be used changes nothing either.
    let kept = Path::new("/var/lib/oci-apparmor/kept");
    fs::rename(SPOOL, kept).unwrap();
    let unusable: [fn(); 3] = [
        || symlink("/var/lib/oci-apparmor/kept", SPOOL).unwrap(),
        || fs::write(SPOOL, "").unwrap(),
        || nix::unistd::mkfifo(SPOOL, Mode::S_IRWXU).unwrap(),
    ];
    for make in unusable {
        make();
        let done = run(CLI, ["sync", "--json"]);
        let status: Value = serde_json::from_str(&done.out).unwrap();
        assert!(done.code != 0 && status["refused"].is_string(), "{done:?}");
        assert_eq!(sources(), accepted);
        fs::remove_file(SPOOL).unwrap();
    }
    fs::remove_dir_all(kept).unwrap();
    for name in &accepted {
        unload(name);
    }
    files_that_change();
    for name in ["cluster-victim", "only-loaded", "of-the-host"] {
        unload(name);
    }
    for file in [
        host,
        Path::new(PROFILES).join("of-the-node"),
        "/var/lib/oci-apparmor/secret".into(),
    ] {
        fs::remove_file(file).unwrap();
    }
    end();
}

/// What is examined is what becomes the source, however often the file changes meanwhile.
fn files_that_change() {
    node_of_a_cluster("");
    let good = profile_text("cluster-flips", "");
    let bad = good.replace(
        "profile cluster-flips",
        "include \"/etc/shadow\"\nprofile cluster-victim",
    );
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for text in [&good, &bad] {
                    // The same file, written again, and another one in its place.
                    put("cluster-flips.profile", text);
                    put(".new", text);
                    let to = Path::new(SPOOL).join("cluster-flips.profile");
                    fs::rename(Path::new(SPOOL).join(".new"), to).unwrap();
                }
            }
        });
        let status = sync();
        println!("{}", state(&status, "cluster-flips"));
        stop.store(true, Ordering::Relaxed);
    });
    for name in sources() {
        let text = fs::read_to_string(Path::new(SOURCES).join(&name)).unwrap();
        assert!(text.starts_with(&good), "{name}: {text}");
    }
    unload("cluster-flips");
}
