//! `oci-apparmor lint` with the real parser: what it tells of a profile before it bites, and that
//! it does bite as it tells.

use std::fs;

use serde_json::Value;

use crate::support::containers::*;

/// Lints a file of this name among the profiles; its code, and the line and rule of what is found.
fn lint(name: &str, text: &str) -> (i32, Vec<(Value, String)>) {
    source(name, text);
    let path = format!("{PROFILES}/{name}");
    let done = run(CLI, ["lint", "--json", &path]);
    let all: Vec<Value> =
        serde_json::from_str(&done.out).unwrap_or_else(|e| panic!("{e} {done:?}"));
    let one = |f: &Value| (f["line"].clone(), f["rule"].as_str().unwrap().to_owned());
    (done.code, all.iter().map(one).collect())
}

fn is(found: &[(Value, String)], expected: &[(usize, &str)]) {
    let found: Vec<_> = found
        .iter()
        .map(|(line, rule)| (line.as_u64().unwrap_or(0), rule.as_str()))
        .collect();
    let expected: Vec<_> = expected.iter().map(|(l, r)| (*l as u64, *r)).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_shipped_example_is_clean() {
    let _world = world();
    let demo = include_str!("../../examples/oci-apparmor-demo");
    let (code, found) = lint("oci-apparmor-demo", demo);
    is(&found, &[]);
    assert_eq!((code, loaded("oci-apparmor-demo")), (0, None));
}

#[test]
fn what_the_parser_accepts_and_the_node_refuses_is_told() {
    let _world = world();
    let head = "abi <abi/3.0>,\ninclude <tunables/global>\n";
    let tail = "{\n  include <abstractions/base>\n  signal,\n}\n";
    for (profile, code, expected) in [
        (format!("profile lint {tail}"), 0, &[][..]),
        (String::new(), 5, &[(0, "empty")]),
        (format!("profile other {tail}"), 5, &[(3, "name")]),
        (
            format!("profile lint /bin/lint {tail}"),
            5,
            &[(3, "attachment")],
        ),
        (format!("profile :ns:lint {tail}"), 5, &[(0, "namespace")]),
        (
            format!("profile lint {tail}profile lint2 {tail}"),
            5,
            &[(7, "several")],
        ),
        (
            format!("profile lint flags=(complain) {tail}"),
            5,
            &[(3, "mode")],
        ),
        (
            "profile lint {\n  file\n}\n".to_owned(),
            4,
            &[(5, "compile")],
        ),
        (
            "profile lint {\n  include <abstractions/none>\n}\n".to_owned(),
            4,
            &[(4, "compile")],
        ),
    ] {
        let (is_code, found) = lint("lint", &format!("{head}{profile}"));
        println!("{profile}: {found:?}");
        is(&found, expected);
        assert_eq!(is_code, code, "{profile}");
    }
    let (_, found) = lint(
        "lint",
        &format!("include <tunables/global>\nprofile lint {tail}"),
    );
    assert!(found.contains(&(2.into(), "abi".to_owned())), "{found:?}");
    let dbus = format!("{head}profile lint {{\n  signal,\n  dbus,\n}}\n");
    // No kernel of these tests mediates dbus (6.1, 6.12).
    let (_, found) = lint("lint", &dbus);
    is(&found, &[(5, "not-enforced")]);
    assert_eq!(loaded("lint"), None);
}

#[test]
fn a_labelled_runtime_cannot_stop_what_lint_warned_of() {
    let _world = world();
    // A runtime with a label, as distributions ship it since AppArmor 4.
    load("profile crun flags=(unconfined) { }\n");
    let head = "abi <abi/3.0>,\ninclude <tunables/global>\nprofile lint {\n  file,\n  capability,\n\
                \x20 network,\n  umount,\n  signal (receive) peer=unconfined,\n";
    for (more, warned) in [
        ("", true),
        ("  signal (receive) peer={runc,crun,podman},\n", false),
    ] {
        let (code, found) = lint("lint", &format!("{head}{more}}}\n"));
        is(&found, if warned { &[(3, "signal")] } else { &[] });
        assert_eq!(code, 0);
        load(&fs::read_to_string(format!("{PROFILES}/lint")).unwrap());
        let script = "exec_as() { echo exec $1 >/proc/self/attr/exec; shift; exec \"$@\"; }\n\
             (exec_as lint /bin/busybox sleep 100) & victim=$!\n\
             sleep 2; cat /proc/$victim/attr/current\n\
             (exec_as crun /bin/busybox kill $victim) && echo sent\n\
             kill -9 $victim\n";
        let done = run("/bin/sh", ["-c", script]);
        assert!(done.out.contains("lint (enforce)"), "{done:?}");
        assert_eq!(done.out.contains("sent"), !warned, "{done:?}");
    }
    unload("crun");
}

#[test]
fn denials_of_what_complains_are_told_and_still_deny() {
    let _world = world();
    let text = "abi <abi/3.0>,\ninclude <tunables/global>\n\
                profile lint flags=(complain) {\n  signal,\n  deny /etc/hostname r,\n}\n";
    let (code, found) = lint("lint", text);
    is(&found, &[(3, "mode"), (5, "deny-in-complain")]);
    assert_eq!(code, 5);
    load(text);
    let read = |file: &str| {
        let script = "echo exec lint >/proc/self/attr/exec; exec /bin/busybox cat $0";
        run("/bin/sh", ["-c", script, file]).code
    };
    fs::write("/etc/hostname", "h\n").unwrap();
    assert_eq!(read("/etc/passwd"), 0);
    assert_ne!(read("/etc/hostname"), 0);
}

#[test]
fn the_parser_is_stopped_at_its_limits() {
    let _world = world();
    source("lint", "profile lint {\n  /**a???????????????? r,\n}\n");
    let path = format!("{PROFILES}/lint");
    for (setting, why) in [
        (
            "parser_memory = 50\n",
            "it needed more than 50 MiB of memory; simplify the profile, or raise parser_memory",
        ),
        (
            "parser_timeout = 3\n",
            "it did not finish within 3 s; simplify the profile, or raise parser_timeout",
        ),
    ] {
        fs::write(CONFIG, setting).unwrap();
        let done = run(CLI, ["lint", &path]);
        assert_eq!(done.code, 4, "{done:?}");
        let (reason, remedy) = why.split_once("; ").unwrap();
        let told = done.out.contains(reason) && done.out.contains(remedy);
        assert!(told, "{done:?}");
        let bundle = Bundle::annotated("lint", &["/bin/true"], &[("oci-apparmor/profile", "lint")]);
        let words = ["run", "--bundle", bundle.path.to_str().unwrap(), "lint"];
        run(wrapper("crun"), words).refused(&[why]);
    }
}
