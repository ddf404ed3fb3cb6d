//! A profile that is missing, or does not enforce, is loaded before its container is made.

use crate::compiled_policy::{blob, blob_with, tagged};
use crate::create::ASKS;
use crate::node::{Node, node};

fn asks(profile: &str) -> String {
    ASKS.replace("\"p\"", &format!("\"{profile}\""))
}

#[test]
fn a_missing_profile_is_compiled_checked_and_loaded() {
    let Some(node) = node() else { return };
    node.source("k8s.io/q");
    node.bundle(asks("k8s.io/q"));
    node.done(&["create", "c1"]);
    assert_eq!(node.compilations(), ["-Q -K -S -j0"]);
    assert_eq!(node.loaded_blob(), blob("k8s.io/q"));
    let component = &node.record("c1")["components"][0];
    assert!(
        component["directory"]
            .as_str()
            .unwrap()
            .starts_with("k8s.io.q."),
        "{component}"
    );
    // The next container finds it.
    node.done(&["create", "c2"]);
    assert_eq!(node.compilations().len(), 1);
    // The temporary files of both are gone.
    assert_eq!(
        std::fs::read_dir(node.path("/run/oci-apparmor/tmp"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn compressed_policy_is_loaded_by_the_parser() {
    let Some(node) = node() else { return };
    node.compiles("q", "-r", b"\x28\xb5\x2f\xfdzstd");
    node.bundle(asks("q"));
    node.done(&["create", "c1"]);
    assert_eq!(
        node.parser_calls(),
        [
            "-Q -K -S -j0",
            "-Q -K -S --zstd-compress-level=0 -j0",
            "-N -j0",
            "-p -Q -K -j0",
            "-r -K -j0"
        ]
    );
    assert_eq!(node.loaded_blob(), b"");
    // Not if it declares something else.
    node.compiles("r", "-r", b"\x28\xb5\x2f\xfdzstd");
    for names in ["r\nother\n", "other\n", "", "r\nr\n"] {
        node.write("/run/parser/r/names", names);
        node.bundle(asks("r"));
        let line = node.refused(&["create", "c2"]);
        assert!(
            line.contains("/etc/oci-apparmor/profiles/r cannot be loaded"),
            "{line}"
        );
        assert_eq!(node.parser_calls().last().unwrap(), "-N -j0");
    }
}

#[test]
fn policy_behind_a_header_is_loaded_without_it() {
    let Some(node) = node() else { return };
    let behind = |header: [u8; 8], policy: &[u8]| [&header[..], policy].concat();
    node.compiles("q", "-Q", &behind([1, 0, 0, 0, 0, 0, 0, 0], &blob("q")));
    node.bundle(asks("q"));
    node.done(&["create", "c1"]);
    assert_eq!(node.compilations(), ["-Q -K -S -j0"]);
    assert_eq!(node.loaded_blob(), blob("q"));
    // It is looked at all the same.
    node.compiles("r", "-Q", &behind([1, 0, 0, 0, 0, 0, 0, 0], &blob("other")));
    node.bundle(asks("r"));
    let line = node.refused(&["create", "c2"]);
    assert!(line.contains("declares the profile \"other\""), "{line}");
}

#[test]
fn compressed_policy_is_compiled_again_without_compression() {
    let Some(node) = node() else { return };
    let compressed = b"\x01\x03\0\0\0\0\0\0\x28\xb5\x2f\xfdzstd";
    for (name, plain) in [
        ("q", blob("q")),
        ("r", [b"\x01\0\0\0\0\0\0\0".to_vec(), blob("r")].concat()),
    ] {
        node.compiles(name, "-Q", compressed);
        node.write(&format!("/run/parser/{name}/plain"), &plain);
        node.bundle(asks(name));
        node.done(&["create", name]);
        assert_eq!(node.loaded_blob(), blob(name));
        assert_eq!(
            node.compilations(),
            ["-Q -K -S -j0", "-Q -K -S --zstd-compress-level=0 -j0"]
        );
        node.remove("/run/parser/calls");
    }
}

#[test]
fn a_profile_that_complains_is_put_right_where_it_is_ours() {
    let Some(node) = node() else { return };
    node.load("q", "complain");
    node.source("q");
    node.bundle(asks("q"));
    node.done(&["create", "c1"]);
    assert_eq!(node.loaded_blob(), blob("q"));
    // A source of the distribution is not loaded again.
    node.load("r", "complain");
    node.write("/etc/apparmor.d/r", "profile r {}\n");
    node.bundle(asks("r"));
    let line = node.refused(&["create", "c2"]);
    assert!(
        line.contains("complain mode") && line.contains("/etc/apparmor.d/r"),
        "{line}"
    );
    assert_eq!(node.compilations().len(), 1);
}

#[test]
fn a_profile_that_the_node_lets_complain_may() {
    let Some(node) = node() else { return };
    node.compiles("q", "-Q", &blob_with("q", 1, b""));
    node.write("/etc/apparmor.d/force-complain/q", "");
    node.bundle(asks("q"));
    node.done(&["create", "c1"]);
    assert_eq!(node.compilations(), ["-Q -K -S -C -j0"]);
    assert_eq!(node.record("c1")["components"][0]["wanted"], "any");
    node.done(&["start", "c1"]);
    node.done(&["exec", "c1", "sh"]);
}

#[test]
fn a_mode_that_the_node_takes_back_is_not_remembered_by_the_container() {
    let Some(node) = node() else { return };
    let q = node.load("q", "enforce");
    let mode = format!("/sys/kernel/security/apparmor/policy/profiles/{q}/mode");
    let link = "/etc/apparmor.d/force-complain/q";
    node.write("/etc/apparmor.d/q", "profile q {}\n");
    node.bundle(asks("q"));
    node.done(&["create", "c1"]);
    node.write(link, "");
    node.write(&mode, "complain\n");
    node.done(&["exec", "c1", "sh"]);
    assert_eq!(node.record("c1")["components"][0]["wanted"], "enforcing");
    // Complain is what the node allows, and no less than that.
    node.write(&mode, "unconfined\n");
    assert!(
        node.refused(&["exec", "c1", "sh"])
            .contains("unconfined mode")
    );
    node.write(&mode, "complain\n");
    node.remove(link);
    assert!(
        node.refused(&["exec", "c1", "sh"])
            .contains("complain mode")
    );
}

/// What comes of `q` is refused, before a byte of it is in the kernel.
#[track_caller]
fn not_loaded(node: &Node, why: &str) {
    node.bundle(asks("q"));
    let line = node.create_refused(&["create", "c1"]);
    assert!(line.contains(why), "{line}");
    assert_eq!(node.loaded_blob(), b"");
    assert_eq!(node.text("/run/bundle/config.json"), asks("q"));
}

#[test]
fn only_the_wanted_profile_is_loaded() {
    let Some(node) = node() else { return };
    node.source("q");
    for (blob, why) in [
        (blob("other"), "declares the profile \"other\""),
        (
            [blob("q"), blob("other")].concat(),
            "declares the profile \"other\"",
        ),
        ([blob("q"), blob("q")].concat(), "twice"),
        (Vec::new(), "declares no profile"),
        (blob("q")[..20].to_vec(), "malformed"),
        ([blob("q"), vec![0]].concat(), "malformed"),
        (blob_with("q", 3, b""), "in unconfined mode"),
        (blob_with("q", 1, b""), "in complain mode"),
        (
            blob_with("q", 0, &[tagged(4, "attach"), tagged(5, "/bin/x")].concat()),
            "attaches to programs by path",
        ),
        (
            blob_with("q", 0, &[tagged(4, "rename"), tagged(5, "p")].concat()),
            "would replace the profile \"p\"",
        ),
    ] {
        // Whatever else it appears as; nothing of that is read back here.
        node.prepare_parser("q", "never", &blob);
        not_loaded(&node, why);
    }
}

#[test]
fn a_source_that_cannot_be_used_is_refused() {
    let Some(node) = node() else { return };
    let source = "/etc/oci-apparmor/profiles/q";
    node.source("q");
    node.write(
        "/run/parser/q/fails",
        "AppArmor parser error, line 1:\n No such file or directory",
    );
    not_loaded(
        &node,
        "apparmor_parser: AppArmor parser error, line 1: | missing file",
    );
    node.remove("/run/parser/q/fails");
    node.write("/run/parser/q/appears", "never");
    node.bundle(asks("q"));
    let line = node.refused(&["create", "c1"]);
    assert!(line.contains("has not loaded it"), "{line}");
    node.write("/sys/kernel/security/apparmor/.replace", "");

    node.write("/run/parser/q/appears", "-Q");
    node.chmod(source, 0o666);
    not_loaded(&node, "not trusted");
    node.chmod(source, 0o644);
    node.chown(source, 1000);
    not_loaded(&node, "belongs to uid 1000");
    node.chown(source, 0);
    node.write("/etc/apparmor.d/disable/q", "");
    not_loaded(&node, "is disabled on this node");
    node.remove("/etc/apparmor.d/disable/q");
    node.chmod("/run/bin/apparmor_parser", 0o777);
    not_loaded(&node, "/run/bin/apparmor_parser is not trusted");
    node.remove("/run/bin/apparmor_parser");
    not_loaded(&node, "/run/bin/apparmor_parser does not exist");
}

#[test]
fn a_parser_that_hangs_does_not_hang_the_container() {
    let Some(node) = node() else { return };
    node.source("q");
    node.settings("parser_timeout = 1");
    node.program("/run/bin/apparmor_parser", "#!/bin/sh\nexec sleep 60\n");
    not_loaded(&node, "did not finish within 1 s");
}

#[test]
fn a_parser_that_wants_too_much_is_stopped_and_the_limit_named() {
    let Some(node) = node() else { return };
    node.source("q");
    node.settings("parser_timeout = 20\nparser_memory = 100");
    // Its limits are set just after its start. A shell cannot be made to hit each of them.
    for (script, why) in [
        (
            "sleep 0.5; exec yes",
            "apparmor_parser: it wrote more than 32 MiB; simplify the profile",
        ),
        (
            "sleep 0.5; exec dd if=/bin/sh of=/run/out bs=200M count=1",
            "dd: memory exhausted",
        ),
        (
            "sleep 0.5; [ $(ulimit -t) = 20 ] && kill -XCPU $$",
            "it used more than 20 s of processor time; simplify the profile, or raise parser_timeout",
        ),
        (
            "sleep 0.5; [ $(ulimit -v) = 102400 ] && echo std::bad_alloc >&2; exit 1",
            "it needed more than 100 MiB of memory; simplify the profile, or raise parser_memory",
        ),
    ] {
        node.program(
            "/run/bin/apparmor_parser",
            &format!("#!/bin/sh\n{script}\n"),
        );
        not_loaded(&node, why);
    }
}

#[test]
fn many_containers_at_once_compile_once() {
    let Some(node) = node() else { return };
    node.source("q");
    node.bundle(asks("q"));
    let ids: Vec<_> = (0..8).map(|n| format!("c{n}")).collect();
    let bundles: Vec<_> = ids.iter().map(|id| format!("/run/{id}")).collect();
    for bundle in &bundles {
        node.write(&format!("{bundle}/config.json"), asks("q"));
    }
    let calls = ids.iter().zip(&bundles);
    let children: Vec<_> = calls
        .map(|(id, bundle)| node.call(&["create", "-b", bundle, id]).spawn())
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(node.compilations(), ["-Q -K -S -j0"]);
    assert_eq!(node.records().len(), 8);
}

/// The next directory has another profile of this name.
#[test]
fn a_source_that_cannot_be_looked_at_is_not_passed_over() {
    let Some(node) = node() else { return };
    let (ours, other) = ("/etc/oci-apparmor/profiles/q", "/etc/apparmor.d/q");
    node.source("q");
    node.write(other, node.text(ours));
    node.bundle(asks("q"));
    node.done(&["create", "c1"]);
    node.remove(ours);
    std::os::unix::fs::symlink("q", node.path(ours)).unwrap();
    let why = node.refused(&["create", "c2"]);
    let told = "cannot look at /etc/oci-apparmor/profiles/q: ";
    assert!(
        why.contains(told) && why.contains("; repair or remove that file"),
        "{why}"
    );
}
