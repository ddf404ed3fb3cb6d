//! Low-level runtimes that do not do what they are told: whatever they make of the label, the
//! process ends under it or does not exist.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::containers::*;

const ENGINE_LOG: &str = "/run/sabotage.log";
const HOLDS: &str = "sabotaged (enforce)\n";

/// Puts a runtime in runc's place that does this before it becomes the real one. `$bundle` and
/// `$process` are the values of these options, `$call` is the subcommand.
pub(crate) fn sabotage(deed: &str, more: &str) {
    let program = wrapper("sabotage");
    let text = format!(
        r#"#!/bin/sh
option() {{ # name, words…
    name=$1
    shift
    while [ $# -gt 0 ]; do
        case $1 in
            --$name=*) echo "${{1#*=}}" ;;
            --$name) echo "$2" ;;
        esac
        shift
    done
}}
edit() {{ # file, jq's program
    jq "$2" "$1" >/run/edited && cat /run/edited >"$1"
}}
bundle=$(option bundle "$@")
process=$(option process "$@")
call=
for word; do
    case $word in create | run | start | exec | delete) call=$word && break ;; esac
done
{deed}
exec /usr/sbin/runc "$@"
"#
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!("{more}\n[runtimes]\nrunc = {program:?}\n");
    fs::write(CONFIG, config).unwrap();
}

fn bundle(args: &[&str]) -> Bundle {
    load(&profile_text("another", ""));
    load(&profile_text("lenient", ",complain"));
    let _ = fs::remove_file(ENGINE_LOG);
    asking(args)
}

fn asking(args: &[&str]) -> Bundle {
    profile("sabotaged");
    Bundle::annotated("sabotaged", args, &[("oci-apparmor/profile", "sabotaged")])
}

/// Nothing of the container is left: no process of its program, no state, no record.
fn gone(program: &str) {
    // A pattern that does not match the process that searches for it.
    assert!(program.starts_with('['));
    let is_gone = || {
        run("pgrep", ["-f", program]).code != 0
            && !Path::new("/run/runc/sabotaged").exists()
            && record_of("sabotaged").is_none()
    };
    wait_for(is_gone);
}

const DEEDS: [(&str, &str, &str); 4] = [
    ("drops it", "del(.process.apparmorProfile)", "unconfined"),
    (
        "takes another",
        ".process.apparmorProfile = \"another\"",
        "another (enforce)",
    ),
    (
        "takes one that complains",
        ".process.apparmorProfile = \"lenient\"",
        "lenient (complain)",
    ),
    (
        "sets it too late",
        "del(.process.apparmorProfile) | .process.args = [\"/bin/sh\", \"-c\", \
         \"sleep 2; echo exec sabotaged >/proc/self/attr/apparmor/exec; exec \" + \
         (.process.args | join(\" \"))]",
        "unconfined",
    ),
];

#[test]
fn a_runtime_that_sets_another_label_has_its_container_killed_and_deleted() {
    let _world = world();
    // A number that nothing else on this machine sleeps for.
    let program = ["/bin/sleep", "12345"];
    for (what, deed, found) in DEEDS {
        println!("a runtime that {what}");
        let bundle = bundle(&program);
        sabotage(
            &format!("case $call in create | run) edit \"$bundle/config.json\" '{deed}' ;; esac"),
            "",
        );
        let (container, created) = Container::create("runc", &bundle, "sabotaged");
        created.ok();
        let words = [
            "--log",
            ENGINE_LOG,
            "--log-format",
            "json",
            "start",
            "sabotaged",
        ];
        let started = run(&container.runtime, words);
        started.refused(&["start of container sabotaged", found, "sabotaged", "killed"]);
        let log = fs::read_to_string(ENGINE_LOG).unwrap();
        assert!(
            log.contains("start of container sabotaged refused"),
            "{log}"
        );
        gone("[s]leep 12345");

        // Detached, the runtime has ended by the time at which it is found out.
        for detach in [&["--detach"][..], &[]] {
            let _ = fs::remove_file(ENGINE_LOG);
            let path = bundle.path.to_str().unwrap();
            // What went before has written the label.
            bundle.write();
            let words = ["--log", ENGINE_LOG, "--log-format", "json", "run"];
            let rest = ["--bundle", path, "sabotaged"];
            let done = run_detached(&container.runtime, [&words, detach, &rest].concat());
            assert_eq!(done.code == 0, !detach.is_empty(), "{done:?}");
            let told = || fs::read_to_string(ENGINE_LOG).unwrap_or_default();
            wait_for(|| told().contains("run of container sabotaged refused"));
            assert!(told().contains(found), "{}", told());
            gone("[s]leep 12345");
        }
    }
}

/// Programs that take the label for one of another file, or of another process; and what the node
/// does while the runtime is at it: what it does, when, and what is then said.
const ELSEWHERE: [(&str, &str, &str, &str); 6] = [
    (
        "writes it to a file",
        "create",
        "edit \"$bundle/config.json\" 'del(.process.apparmorProfile) | .process.args = \
         [\"/bin/sh\", \"-c\", \"echo exec sabotaged >/tmp/exec; exec \" + \
         (.process.args | join(\" \"))]'",
        "unconfined",
    ),
    (
        "writes it to another process",
        "create",
        "edit \"$bundle/config.json\" 'del(.process.apparmorProfile) | .process.args = \
         [\"/bin/sh\", \"-c\", \"sleep 3 & echo exec sabotaged >/proc/$!/attr/apparmor/exec; \
         exec \" + (.process.args | join(\" \"))]'",
        "unconfined",
    ),
    (
        "removes the profile",
        "start",
        "printf sabotaged >/sys/kernel/security/apparmor/.remove",
        "unconfined",
    ),
    (
        "lets it complain",
        "start",
        "echo 'profile sabotaged flags=(complain) { file, }' | apparmor_parser -rK",
        "sabotaged (complain)",
    ),
    (
        "lets it confine nothing",
        "start",
        "echo 'profile sabotaged flags=(unconfined) { file, }' | apparmor_parser -rK",
        "sabotaged (unconfined)",
    ),
    (
        "lets the kernel enforce nothing",
        "start",
        "printf complain >/sys/module/apparmor/parameters/mode",
        "global mode",
    ),
];

#[test]
fn a_label_that_is_lost_during_start_ends_the_container() {
    let _world = world();
    for (what, call, deed, found) in ELSEWHERE {
        println!("a runtime that {what}");
        let bundle = asking(&["/bin/sleep", "34567"]);
        sabotage(&format!("if [ \"$call\" = {call} ]; then {deed}; fi"), "");
        let (container, created) = Container::create("runc", &bundle, "sabotaged");
        created.ok();
        let started = container.call("start");
        fs::write("/sys/module/apparmor/parameters/mode", "enforce").unwrap();
        started.refused(&["start of container sabotaged", found, "killed"]);
        gone("[s]leep 34567");
    }
}

#[test]
fn a_bundle_that_is_changed_after_create_changes_nothing() {
    let _world = world();
    const STRIP: &str = "del(.process.apparmorProfile) | del(.annotations)";
    let label = ["/bin/cat", "/proc/self/attr/apparmor/current"];
    for by_the_runtime in [true, false] {
        let bundle = asking(&["/bin/sleep", "1000"]);
        let deed = format!(
            "if [ $call = create ]; then /usr/sbin/runc \"$@\" || exit; \
             edit \"$bundle/config.json\" '{STRIP}'; exit; fi"
        );
        sabotage(if by_the_runtime { &deed } else { "" }, "");
        let (container, created) = Container::create("runc", &bundle, "sabotaged");
        created.ok();
        let path = bundle.config_json();
        if !by_the_runtime {
            let stripped = run("jq", [STRIP, path.to_str().unwrap()]).ok();
            fs::write(&path, stripped).unwrap();
        }
        assert_eq!(bundle.profile_on_disk(), None);
        container.call("start").ok();
        assert_eq!(container.label(), HOLDS.trim_end());
        assert_eq!(container.exec(&label).ok(), HOLDS);
    }
}

#[test]
fn an_exec_that_brings_a_profile_of_its_own_gets_its_containers() {
    let _world = world();
    let label = ["/bin/cat", "/proc/self/attr/apparmor/current"];
    load(&profile_text("another", ""));
    for (number, runtime) in RUNTIMES.into_iter().enumerate() {
        let bundle = asking(&["/bin/sleep", "1000"]);
        let container = Container::started(runtime, &bundle, "sabotaged");
        let file = process_file("execed", &label, Some("another"));
        let text = fs::read_to_string(&file).unwrap();
        let words = ["exec", "--process", file.to_str().unwrap(), "sabotaged"];
        let key = "\"apparmorProfile\":\"another\"";
        assert!(text.contains(key));
        for (instead, is_refused) in [
            (key, false),
            ("\"apparmorProfile\":\"unconfined\"", false),
            ("\"apparmorProfile\":\"\"", false),
            ("\"apparmorProfile\":null", false),
            // Go's decoder takes any case, and of two the last.
            ("\"ApparmorProfile\":\"another\"", true),
            ("\"apparmorprofile\":\"unconfined\"", true),
            ("\"apparmorProﬁle\":\"unconfined\"", false),
            (
                "\"apparmorProfile\":\"sabotaged\",\"APPARMORPROFILE\":\"another\"",
                true,
            ),
            (
                "\"apparmorProfile\":\"sabotaged\",\"apparmorProfile\":\"unconfined\"",
                true,
            ),
        ]
        .into_iter()
        // Each of them sees every other one; the process tests have them all.
        .skip(number)
        .step_by(2)
        {
            fs::write(&file, text.replace(key, instead)).unwrap();
            let done = run(&container.runtime, words);
            if is_refused {
                done.refused(&["exec of container sabotaged", "pparmor"]);
            } else {
                assert_eq!(done.ok(), HOLDS, "{runtime}: {instead}");
            }
        }
        for option in ["another", "unconfined"] {
            let words = ["exec", "--apparmor", option, "sabotaged", "/bin/true"];
            run(&container.runtime, words).refused(&["conflicts", "sabotaged"]);
        }
    }
}

#[test]
fn what_is_execed_without_its_label_is_killed_where_the_node_wants_that_verified() {
    let _world = world();
    let bundle = bundle(&["/bin/sleep", "1000"]);
    let deed = "case $call in exec) edit \"$process\" 'del(.apparmorProfile)' ;; esac";
    for (verify, is_killed) in [("all", true), ("start", false)] {
        sabotage(deed, &format!("verify = \"{verify}\""));
        let container = Container::started("runc", &bundle, "sabotaged");
        let file = process_file("execed", &["/bin/sleep", "23456"], None);
        let words = [
            "exec",
            "--detach",
            "--pid-file",
            "/run/execed.pid",
            "--process",
            file.to_str().unwrap(),
            "sabotaged",
        ];
        let done = run_detached(&container.runtime, words);
        let runs = || run("pgrep", ["-f", "[s]leep 23456"]).code == 0;
        if is_killed {
            done.refused(&["exec of container sabotaged", "unconfined", "killed"]);
            wait_for(|| !runs());
        } else {
            done.ok();
            assert!(runs());
            // An auditor sees it at any time.
            let ps = run(CLI, ["ps"]);
            assert_ne!(ps.code, 0, "{ps:?}");
            assert!(ps.out.contains("runs as unconfined"), "{ps:?}");
        }
        // The container itself is not touched.
        assert_eq!(container.label(), HOLDS.trim_end());
    }
}

#[test]
fn a_slow_runtime_is_waited_for() {
    let _world = world();
    let bundle = bundle(&["/bin/cat", "/proc/self/attr/apparmor/current"]);
    sabotage("case $call in create | run | start) sleep 1 ;; esac", "");
    let (container, created) = Container::create("runc", &bundle, "sabotaged");
    created.ok();
    container.call("start").ok();
    drop(container);
    let path = bundle.path.to_str().unwrap();
    let done = run_detached(&wrapper("runc"), ["run", "--bundle", path, "sabotaged"]);
    assert_eq!(done.ok(), HOLDS);
    wait_for(|| record_of("sabotaged").is_none());
}

#[test]
fn verify_off_verifies_nothing() {
    let _world = world();
    let bundle = bundle(&["/bin/cat", "/proc/self/attr/apparmor/current"]);
    sabotage(
        "case $call in run) edit \"$bundle/config.json\" 'del(.process.apparmorProfile)' ;; esac",
        "verify = \"off\"",
    );
    let path = bundle.path.to_str().unwrap();
    let done = run_detached(&wrapper("runc"), ["run", "--bundle", path, "sabotaged"]);
    assert_eq!(done.ok(), "unconfined\n");
    wait_for(|| record_of("sabotaged").is_none());
}
