//! What is none of the wrapper's business reaches the low-level runtime as it came.

use std::fs;
use std::time::SystemTime;

use crate::call::{Call, Recorded};
use crate::node::{BUNDLE, Node, node};

/// A container that asks for nothing, in a spelling that nothing would write twice.
const PLAIN: &str =
    "{ \"process\" : {\"args\":[ \"sh\"],\n\t\"x\":1.50} ,\"annotations\":{\"a\":\"b\"}}\n";

#[test]
fn a_container_that_asks_for_nothing() {
    let Some(node) = node() else { return };
    node.bundle(PLAIN);
    let before = (node.inode("/run/bundle/config.json"), modified(&node));
    for words in [
        ["create", "--bundle", BUNDLE, "--pid-file=/run/pid", "c1"],
        ["create", "c2", "-bundle", "/run/./bundle", "--no-pivot"],
    ] {
        let environment = ["B=2", "A=1 \u{e9}\n", "PATH=/nowhere", "EMPTY="];
        let outcome = node.call(&words).environment(&environment).outcome();
        outcome.silent_success();
        let call = node.last_call();
        assert_eq!(call.words, words);
        assert_eq!(
            call.environment,
            environment.map(|v| format!("{v}\0")).concat()
        );
        assert_eq!(call.pid, outcome.pid);
        assert_eq!(call.config_text(), PLAIN);
        assert_eq!((call.inode.unwrap(), modified(&node)), before);
    }
    // AppArmor is not needed for that either.
    node.write("/sys/module/apparmor/parameters/enabled", "N\n");
    node.done(&["create", "c3"]);
    node.remove("/sys/module/apparmor");
    node.done(&["create", "c4"]);
    // Nor is anything remembered or said.
    assert_eq!(node.records(), [""; 0]);
    assert_eq!(node.syslog(), [""; 0]);
}

/// When the bundle's configuration was written, and how many files are beside it.
fn modified(node: &Node) -> (SystemTime, usize) {
    let files = fs::read_dir(node.path(BUNDLE)).unwrap().count();
    let meta = fs::metadata(node.path("/run/bundle/config.json")).unwrap();
    (meta.modified().unwrap(), files)
}

#[test]
fn a_container_that_says_it_has_no_profile() {
    let Some(node) = node() else { return };
    for (number, json) in [
        r#"{"process":{"apparmorProfile":null}}"#,
        r#"{"process":{"apparmorProfile":"unconfined"}}"#,
        r#"{"annotations":null,"process":{}}"#,
        r#"{"annotations":{"oci-apparmor/profile":"unconfined"},"process":{}}"#,
    ]
    .into_iter()
    .enumerate()
    {
        node.bundle(json);
        node.done(&["create", &format!("c{number}")]);
        assert_eq!(node.last_call().config_text(), json);
    }
}

/// Lines that start nothing in a container, or cannot be ours.
const LINES: &[&[&str]] = &[
    &[],
    &["--version"],
    &["-v"],
    &["--help"],
    &["--root"],
    &["state", "c1"],
    &["--root", "/r", "kill", "c1", "9"],
    &["kill", "--all", "c1", "KILL"],
    &["list", "--unknown", "-xyz=", "", " a  b ", "--", "\u{e9}\n"],
    &["features"],
    &["checkpoint", "--help"],
    &["restore", "--lsm-mount-context"],
    &["create", "--help"],
    &["create", "--bundle"],
    &["exec", "--process"],
    &["create"],
    &["--unknown", "state", "c1"],
    &["start", "unknown"],
    &["exec", "unknown", "sh"],
    &["exec", "--process=/run/none", "unknown"],
    &["delete", "--force", "unknown"],
    &["delete", "--unknown", "c1"],
];

#[test]
fn all_other_calls_are_handed_on_unchanged() {
    let Some(node) = node() else { return };
    for settings in ["", "floor = "] {
        node.settings(settings);
        for words in LINES {
            // The stand-in has no such container, so what it says is passed on, too.
            node.write("/run/stand-in/exit", "42");
            let outcome = node.run(words);
            let said = (outcome.code, &*outcome.stdout, &*outcome.stderr);
            assert_eq!(said, (Some(42), "", "runc: told to fail\n"), "{words:?}");
            let call = node.last_call();
            assert_eq!(call.words, *words);
            assert_eq!(call.pid, outcome.pid);
        }
    }
    assert_eq!(node.syslog(), [""; 0]);
}

#[test]
fn the_process_becomes_the_runtime_with_all_that_it_has() {
    let Some(node) = node() else { return };
    node.settings("");
    node.bundle(r#"{"process":{},"annotations":{"oci-apparmor/profile":"p"}}"#);
    let environment = ["LISTEN_FDS=2", "A=\u{e9} \n", "XDG_RUNTIME_DIR=/run/user"];
    let call = |call: Call<'_>| {
        let outcome = call
            .environment(&environment)
            .prelude("exec 3</run/bundle/config.json 5>>/run/five 7<&3")
            .through(&["env", "--block-signal=USR1", "--ignore-signal=USR2"])
            .outcome();
        outcome.silent_success();
        let call = node.last_call();
        assert_eq!(call.pid, outcome.pid);
        call
    };
    let ours = call(node.call(&["create", "--preserve-fds", "2", "c1"]));
    let direct = call(node.call_program("/run/bin/runc", &["create", "--preserve-fds=2", "c2"]));
    assert_eq!(ours.words, ["create", "--preserve-fds=2", "c1"]);
    assert_eq!(
        ours.environment,
        environment.map(|v| format!("{v}\0")).concat()
    );
    assert_eq!(ours.environment, direct.environment);
    assert_eq!(ours.signals, direct.signals);
    let numbers = |call: &Recorded| {
        let numbers = call
            .descriptors
            .iter()
            .map(|d| d.split(' ').next().unwrap().to_owned());
        numbers.collect::<Vec<_>>()
    };
    assert_eq!(numbers(&ours), numbers(&direct), "{ours:?} {direct:?}");
    for kept in ["3 /run/bundle/config.json (deleted)", "5 /run/five"] {
        assert!(ours.descriptors.iter().any(|d| d == kept), "{ours:?}");
    }
}

#[test]
fn the_name_decides_which_runtime_it_becomes() {
    let Some(node) = node() else { return };
    for (name, program) in [
        ("runc", "/run/bin/runc"),
        ("crun", "/run/bin/crun"),
        ("youki", "/run/bin/youki"),
        ("oci-apparmor-runtime", "/run/bin/runc"),
    ] {
        node.called(name).done(&["--version"]);
        assert_eq!(node.last_call().program, program);
    }
    node.write(
        "/etc/oci-apparmor/config.toml",
        "[runtimes]\ndefault = 'youki'\ndirectories = ['/run/none', '/run/bin']\n",
    );
    for (name, program) in [
        ("oci-apparmor-runtime", "/run/bin/youki"),
        ("crun", "/run/bin/crun"),
    ] {
        node.called(name).done(&["--version"]);
        assert_eq!(node.last_call().program, program);
    }
}

#[test]
fn a_runtime_of_another_file_name_is_called_by_its_own() {
    let Some(node) = node() else { return };
    // crun looks at its name (krun, wasm). A script cannot tell its own; cat can.
    fs::copy("/bin/cat", node.path("/run/bin/cat")).unwrap();
    node.link("cat", "/run/bin/link");
    for program in ["/run/bin/cat", "/run/bin/link"] {
        node.write(
            "/etc/oci-apparmor/config.toml",
            format!("[runtimes]\ncrun = '{program}'\n"),
        );
        let outcome = node.called("crun").run(&["/proc/self/cmdline"]);
        assert_eq!(outcome.stdout, "crun\0/proc/self/cmdline\0");
    }
}

/// The cgroup driver is the engine's and the runtime's affair, also where we read the line.
#[test]
fn systemds_cgroups_whether_a_profile_is_asked_for_or_not() {
    let Some(node) = node() else { return };
    let cgroups = r#""linux":{"cgroupsPath":"machine.slice:libpod:c1"}"#;
    let process = "/run/process.json";
    for (runtime, option) in [
        ("runc", "--systemd-cgroup"),
        ("crun", "--systemd-cgroup"),
        ("crun", "--cgroup-manager=systemd"),
    ] {
        node.called(runtime);
        for (id, asks) in [("plain", ""), ("asks", r#""oci-apparmor/profile":"p""#)] {
            let bundle = format!(r#"{{"process":{{}},"annotations":{{{asks}}},{cgroups}}}"#);
            node.bundle(&bundle);
            node.done(&[option, "create", "--bundle", BUNDLE, id]);
            let call = node.last_call();
            let spelled = match id {
                "plain" => vec![option, "create", "--bundle", BUNDLE, id],
                _ => vec![option, "create", "--bundle=/run/bundle", id],
            };
            assert_eq!(call.words, spelled);
            let label = match id {
                "plain" => "{}",
                _ => r#"{"apparmorProfile":"p"}"#,
            };
            let changed = bundle.replacen("{}", label, 1);
            assert_eq!(call.config_text(), changed);
            node.write(process, "{}");
            node.done(&[option, "exec", "--process=/run/process.json", id]);
            let call = node.last_call();
            assert_eq!(
                call.words,
                [option, "exec", "--process=/run/process.json", id]
            );
            assert_eq!(call.process.as_deref(), Some(label.as_bytes()));
            node.done(&[option, "delete", "--force", id]);
            assert_eq!(node.last_call().words, [option, "delete", "--force", id]);
        }
    }
}
