//! `exec`: what runs in a container later gets the label of what ran in it first.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::create::ASKS;
use crate::node::{Node, node};

const PROCESS: &str = "/run/process.json";
const EXEC: &[&str] = &["exec", "--process", PROCESS, "c1"];

/// A node on which `c1` runs under `p`.
fn running() -> Option<Node> {
    let node = node()?;
    node.bundle(ASKS);
    node.done(&["create", "c1"]);
    Some(node)
}

/// With which label something is exec'ed into `c1`; `None` where the line is handed on.
#[track_caller]
fn label(node: &Node) -> Option<String> {
    node.done(&["exec", "c1", "sh"]);
    let words = node.last_call().words;
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["exec", "c1", "sh"] => None,
        ["exec", option, "c1", "sh"] => {
            Some(option.strip_prefix("--apparmor=").unwrap().to_owned())
        }
        _ => panic!("{words:?}"),
    }
}

#[test]
fn the_process_is_rewritten_in_place() {
    let Some(node) = running() else { return };
    for (before, after) in [
        (
            r#"{"args":["sh"]}"#,
            r#"{"apparmorProfile":"p","args":["sh"]}"#,
        ),
        (
            "{ \"apparmorProfile\" : \"docker-default\", \"x\":1.0 }\n",
            "{ \"apparmorProfile\" : \"p\", \"x\":1.0 }\n",
        ),
        (
            r#"{"apparmorProfile":"unconfined"}"#,
            r#"{"apparmorProfile":"p"}"#,
        ),
        (r#"{"apparmorProfile":""}"#, r#"{"apparmorProfile":"p"}"#),
        (r#"{"apparmorProfile":null}"#, r#"{"apparmorProfile":"p"}"#),
        (r#"{"apparmorProfile":"p"}"#, r#"{"apparmorProfile":"p"}"#),
    ] {
        node.write(PROCESS, before);
        let inode = node.inode(PROCESS);
        node.done(&["exec", "-d", "-p", PROCESS, "--pid-file", "/run/pid", "c1"]);
        let call = node.last_call();
        let process = format!("--process={PROCESS}");
        assert_eq!(
            call.words,
            ["exec", "--detach", &process, "--pid-file=/run/pid", "c1"]
        );
        assert_eq!(String::from_utf8(call.process.unwrap()).unwrap(), after);
        assert_eq!(
            (node.text(PROCESS).as_str(), node.inode(PROCESS)),
            (after, inode)
        );
    }
    assert_eq!(node.syslog(), [""; 0]);
}

#[test]
fn a_command_gets_an_option() {
    let Some(node) = running() else { return };
    node.done(&[
        "exec",
        "-t",
        "c1",
        "sh",
        "--apparmor",
        "x",
        "-c",
        " a\n",
        "",
    ]);
    let words = node.last_call().words;
    let behind = ["c1", "sh", "--apparmor", "x", "-c", " a\n", ""];
    assert_eq!(
        words,
        [&["exec", "--tty", "--apparmor=p"][..], &behind].concat()
    );
    for given in ["--apparmor=p", "-apparmor=p"] {
        node.done(&["exec", given, "c1", "sh"]);
        assert_eq!(node.last_call().words, ["exec", "--apparmor=p", "c1", "sh"]);
    }
    node.done(&["exec", "--apparmor", "q", "--apparmor", "p", "c1", "sh"]);
    assert_eq!(node.last_call().words, ["exec", "--apparmor=p", "c1", "sh"]);
}

#[test]
fn another_label_is_refused() {
    let Some(node) = running() else { return };
    node.write(PROCESS, "{}");
    for other in ["q", "unconfined", "p//&q", "&p", " p"] {
        for words in [&["c1", "sh"][..], &["-p", PROCESS, "c1"]] {
            let words = [&["exec", "--apparmor", other], words].concat();
            let line = node.refused(&words);
            assert!(
                line.contains("exec of container c1 refused") || other == " p",
                "{line}"
            );
        }
    }
    assert_eq!(node.text(PROCESS), "{}");
    // Both orders of a stack are one label.
    let q = node.load("q", "enforce");
    node.bundle(r#"{"process":{"apparmorProfile":"p//&q"}}"#);
    node.done(&["create", "c2"]);
    node.done(&["exec", "--apparmor=q//&p", "c2", "sh"]);
    assert_eq!(
        node.last_call().words,
        ["exec", "--apparmor=p//&q", "c2", "sh"]
    );
    node.unload(&q);
    let line = node.refused(&["exec", "c2", "sh"]);
    assert!(line.contains("the profile q"), "{line}");
}

#[test]
fn a_process_that_others_could_change_or_misread_is_refused() {
    let Some(node) = running() else { return };
    let refused = |why: &str| {
        let line = node.refused(EXEC);
        assert!(line.contains("exec of container c1 refused"), "{line}");
        assert!(line.contains(PROCESS) && line.contains(why), "{line}");
    };
    let fresh = |text: &str| {
        if node.exists(PROCESS) {
            node.remove(PROCESS);
        }
        node.write(PROCESS, text);
    };
    refused("it does not exist");
    for (text, why) in [
        ("", "unexpected JSON"),
        ("{\"args\":", "unexpected JSON"),
        ("[]", "unexpected JSON"),
        (r#"{"apparmorProfile":"p","apparmorProfile":"p"}"#, "twice"),
        (r#"{"ApparmorProfile":"q"}"#, "as apparmorProfile"),
    ] {
        fresh(text);
        refused(why);
        assert_eq!(node.text(PROCESS), text);
    }
    fresh("{}");
    fs::hard_link(node.path(PROCESS), node.path("/run/second")).unwrap();
    refused("second hard link");
    fresh("{}");
    node.chown(PROCESS, 1000);
    refused("belongs to uid 1000");
    fresh("{}");
    node.chmod(PROCESS, 0o666);
    refused("other users can write it");
    // What a link leads to is read with the same eyes.
    node.remove(PROCESS);
    node.link("/run/second", PROCESS);
    node.chmod("/run/second", 0o666);
    refused("other users can write it");
    node.chmod("/run/second", 0o600);
    node.write("/run/second", r#"{"ApparmorProfile":"q"}"#);
    refused("as apparmorProfile");
    // A pipe that nothing is ever written to.
    node.remove(PROCESS);
    nix::unistd::mkfifo(&node.path(PROCESS), nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused("it did not end");
}

#[test]
fn a_process_from_a_pipe_or_through_a_link_is_handed_on_as_a_copy() {
    let Some(node) = running() else { return };
    const GIVEN: &str = r#"{"args":["sh"],"apparmorProfile":"unconfined"}"#;
    const LABELLED: &str = r#"{"args":["sh"],"apparmorProfile":"p"}"#;
    node.write("/run/file", GIVEN);
    node.link("file", "/run/link");
    nix::unistd::mkfifo(&node.path("/run/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let write = format!("echo '{GIVEN}' >/run/pipe &");
    for (path, prelude) in [
        ("/run/link", ""),
        ("/run/pipe", &*write),
        ("/proc/self/fd/0", "exec </run/file"),
        // As a shell's `<(…)` is.
        ("/proc/self/fd/9", &format!("{write} exec 9</run/pipe")),
    ] {
        let words = ["exec", "-d", "--preserve-fds", "7", "--process", path, "c1"];
        let call = node.call(&words).prelude(prelude);
        call.outcome().silent_success();
        let call = node.last_call();
        let copy = call.words.iter().find_map(|w| w.strip_prefix("--process="));
        let number = copy.and_then(|path| path.strip_prefix("/proc/self/fd/"));
        let number = number.unwrap_or_else(|| panic!("{:?}", call.words));
        assert!(
            number.parse::<u32>().unwrap() >= 10,
            "{number} is preserved"
        );
        assert_eq!(
            String::from_utf8(call.process.unwrap()).unwrap().trim(),
            LABELLED
        );
        // It is the only one of ours.
        let ours = call.descriptors.iter().filter(|d| d.contains("memfd"));
        assert_eq!(ours.count(), 1, "{:?}", call.descriptors);
    }
    // What was read stays as it was.
    assert_eq!(node.text("/run/file"), GIVEN);
    // The same label already: the copy is handed on all the same, since a pipe is empty then.
    let write = format!("echo '{LABELLED}' >/run/pipe &");
    let call = node.call(&["exec", "-p", "/run/pipe", "c1"]);
    call.prelude(&write).outcome().silent_success();
    let process = node.last_call().process.unwrap();
    assert_eq!(String::from_utf8(process).unwrap().trim(), LABELLED);
}

#[test]
fn a_container_that_asked_for_nothing_is_left_alone() {
    let Some(node) = node() else { return };
    node.bundle(r#"{"process":{}}"#);
    for name in ["runc", "crun", "youki"] {
        node.called(name).done(&["create", "c1"]);
        assert_eq!(label(&node), None, "{name}");
        node.write(PROCESS, "{}");
        node.done(EXEC);
        assert_eq!(node.last_call().words, EXEC);
        assert_eq!(node.text(PROCESS), "{}");
    }
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn a_lost_record_is_rebuilt_from_the_runtimes_state() {
    let Some(node) = node() else { return };
    node.load("floor", "enforce");
    for name in ["runc", "crun", "youki"] {
        node.called(name);
        node.settings("floor = 'floor'");
        node.bundle(ASKS);
        node.done(&["create", "c1"]);
        let mut before = node.record("c1");
        node.remove("/run/oci-apparmor");
        // What the node demands by now is not what was decided then.
        node.settings("");
        assert_eq!(label(&node).as_deref(), Some("p//&floor"), "{name}");
        let mut after = node.record("c1");
        for record in [&mut before, &mut after] {
            for differs in ["time", "writer"] {
                record.as_object_mut().unwrap().remove(differs);
            }
        }
        before["components"][1]["wanted"] = "any".into();
        assert_eq!(after, before, "{name}");
        node.remove("/run/oci-apparmor");
    }
}

#[test]
fn a_container_older_than_the_wrapper_gets_the_profile_it_asked_for() {
    let Some(node) = node() else { return };
    for (config, expected) in [
        (ASKS, Some("p")),
        // Made without us, so that the label was never written.
        (
            r#"{"process":{"apparmorProfile":"q"},"annotations":{"oci-apparmor/profile":"p"}}"#,
            Some("p"),
        ),
        (r#"{"process":{"apparmorProfile":"p"}}"#, Some("p")),
        (
            r#"{"process":{"apparmorProfile":"unconfined"}}"#,
            Some("unconfined"),
        ),
        (r#"{"process":{}}"#, None),
    ] {
        node.bundle(config);
        let direct = ["--root=/run/runc", "create", "--bundle=/run/bundle", "c1"];
        node.call_program("/run/bin/runc", &direct)
            .outcome()
            .silent_success();
        assert_eq!(label(&node).as_deref(), expected, "{config}");
        node.remove("/run/runc/c1");
        if node.exists("/run/oci-apparmor") {
            node.remove("/run/oci-apparmor");
        }
    }
}

/// A container that `create` would have refused is not one of ours: its health checks go on, as
/// the container was made.
#[test]
fn a_container_that_create_would_refuse_keeps_the_label_it_was_made_with() {
    let Some(node) = node() else { return };
    node.load("q", "enforce");
    node.load("host", "enforce");
    let beta = |name: &str| format!("container.apparmor.security.beta.kubernetes.io/{name}");
    let (one, two) = (beta("one"), beta("two"));
    for (process, annotations, expected) in [
        // `podman kube play` tells no names.
        (
            r#"{"apparmorProfile":"q"}"#,
            format!(
                r#""io.container.manager":"libpod","io.kubernetes.cri-o.SandboxID":"s","{one}":"localhost/p""#
            ),
            Some("q"),
        ),
        (
            "{}",
            format!(
                r#""io.container.manager":"libpod","io.kubernetes.cri-o.SandboxID":"s","{one}":"localhost/p""#
            ),
            None,
        ),
        (
            "{}",
            format!(r#""{one}":"localhost/p","{two}":"localhost/p""#),
            None,
        ),
        (
            r#"{"apparmorProfile":"q"}"#,
            r#""oci-apparmor/profil":"p""#.to_owned(),
            Some("q"),
        ),
        (
            r#"{"apparmorProfile":"q"}"#,
            r#""oci-apparmor/profile":"un""#.to_owned(),
            Some("q"),
        ),
        (r#"{"apparmorProfile":"my profile"}"#, String::new(), None),
        // What annotations may not name, they do not get by having been there before.
        (
            r#"{"apparmorProfile":"q"}"#,
            r#""oci-apparmor/profile":"host""#.to_owned(),
            Some("q"),
        ),
        ("{}", r#""oci-apparmor/profile":"host""#.to_owned(), None),
        // Written by a version of ours that had other rules.
        (
            r#"{"apparmorProfile":"host"}"#,
            r#""oci-apparmor/profile":"host""#.to_owned(),
            Some("host"),
        ),
        (
            r#"{"apparmorProfile":"p//&q"}"#,
            r#""oci-apparmor/profil":"p""#.to_owned(),
            Some("p//&q"),
        ),
    ] {
        node.settings("allow = ['p', 'q']");
        let config = format!(r#"{{"process":{process},"annotations":{{{annotations}}}}}"#);
        node.bundle(&config);
        let refused = !matches!(expected, Some("host"));
        if refused {
            node.create_refused(&["create", "--bundle=/run/bundle", "c1"]);
        }
        let direct = ["--root=/run/runc", "create", "--bundle=/run/bundle", "c1"];
        node.call_program("/run/bin/runc", &direct)
            .outcome()
            .silent_success();
        assert_eq!(label(&node).as_deref(), expected, "{config}");
        node.remove("/run/runc/c1");
        if node.exists("/run/oci-apparmor") {
            node.remove("/run/oci-apparmor");
        }
    }
}

#[test]
fn runtime_state_that_cannot_be_read_is_refused() {
    let Some(node) = running() else { return };
    const STATE: &str = "/run/runc/c1/state.json";
    node.remove("/run/oci-apparmor");
    for text in [
        "",
        "{",
        "{}",
        r#"{"config":{"labels":[]}}"#,
        r#"{"config":{"labels":["bundle"]}}"#,
    ] {
        node.write(STATE, text);
        let line = node.refused(&["exec", "c1", "sh"]);
        assert!(
            line.contains("exec of container c1 refused: cannot read the runtime's state"),
            "{line}"
        );
    }
    node.remove(STATE);
    assert!(
        node.refused(&["exec", "c1", "sh"])
            .contains("cannot read the runtime's state")
    );
    node.write(STATE, r#"{"config":{"labels":["bundle=/run/gone"]}}"#);
    assert!(
        node.refused(&["exec", "c1", "sh"])
            .contains("/run/gone/config.json")
    );
    // Without the container there is nothing to guard.
    node.remove("/run/runc/c1");
    assert_eq!(label(&node), None);
}

#[test]
fn a_record_that_we_did_not_write_is_none() {
    let Some(node) = running() else { return };
    node.load("q", "enforce");
    let path = node.record_file("c1");
    let ours = fs::read_to_string(&path).unwrap();
    let forged = ours.replace("\"p\"", "\"q\"");
    let is_ours = |by: &str| {
        assert_eq!(label(&node).as_deref(), Some("p"), "{by}");
        assert_eq!(node.record("c1")["label"], "p", "{by}");
        fs::remove_file(&path).unwrap();
    };
    fs::write(&path, &forged).unwrap();
    assert_eq!(label(&node).as_deref(), Some("q"), "the forgery would work");

    std::os::unix::fs::chown(&path, Some(1000), None).unwrap();
    is_ours("owner");
    node.write("/run/forged", &forged);
    std::os::unix::fs::symlink("/run/forged", &path).unwrap();
    is_ours("symbolic link");
    node.write("/run/forged", &forged);
    node.chmod("/run/forged", 0o666);
    fs::rename(node.path("/run/forged"), &path).unwrap();
    is_ours("mode");
    // In a directory that others can write, even a file of ours may have been put there by others.
    for directory in [
        path.parent().unwrap().to_owned(),
        node.path("/run/oci-apparmor/containers"),
        node.path("/run/oci-apparmor"),
    ] {
        for (uid, mode) in [(1000, 0o700), (0, 0o777)] {
            if !path.exists() {
                assert_eq!(label(&node).as_deref(), Some("p"));
            }
            fs::write(&path, &forged).unwrap();
            std::os::unix::fs::chown(&directory, Some(uid), None).unwrap();
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(label(&node).as_deref(), Some("p"), "{directory:?}");
            std::os::unix::fs::chown(&directory, Some(0), None).unwrap();
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
            fs::remove_file(&path).unwrap();
        }
    }
    label(&node);
    for (text, by) in [
        (forged.replace("\"version\":2", "\"version\":3"), "version"),
        (forged.replace("\"id\":\"c1\"", "\"id\":\"c2\""), "id"),
        (forged[..forged.len() / 2].to_owned(), "half of it"),
        (String::new(), "empty"),
        (
            forged.replace("\"label\":\"q\"", "\"label\":\"&q\""),
            "label",
        ),
    ] {
        fs::write(&path, text).unwrap();
        is_ours(by);
    }
}

#[test]
fn a_root_has_one_record_however_it_is_spelled() {
    let Some(node) = node() else { return };
    node.link("real", "/run/link");
    fs::create_dir_all(node.path("/run/real/roots/a")).unwrap();
    node.bundle(ASKS);
    // The directory of the containers does not exist before the first of them.
    node.done(&["--root=/run/real/roots/a/../b/", "create", "c1"]);
    for root in [
        "/run/real/roots/b",
        "/run/link/roots/b/",
        "/run/./real//roots/b",
        "../link/roots/b",
    ] {
        node.done(&["--root", root, "exec", "c1", "sh"]);
        let root = format!("--root={root}");
        assert_eq!(
            node.last_call().words,
            [&root, "exec", "--apparmor=p", "c1", "sh"]
        );
    }
    assert_eq!(node.records(), ["c1"]);
    // Another root is another container.
    node.done(&["--root", "/run/real/roots/a", "exec", "c1", "sh"]);
    assert!(!node.last_call().words.contains(&"--apparmor=p".to_owned()));
}

#[test]
fn a_removed_profile_is_loaded_again_and_reported() {
    let Some(node) = node() else { return };
    node.source("q");
    node.bundle(ASKS.replace("\"p\"", "\"q\""));
    node.done(&["create", "c1"]);
    let directory = node.record("c1")["components"][0]["directory"].clone();
    node.unload(directory.as_str().unwrap());
    node.load("x", "enforce");
    // The stand-in for the compiler also stands for the kernel, so it has to be called.
    node.remove("/run/cache");
    node.syslog();
    assert_eq!(label(&node).as_deref(), Some("q"));
    assert!(
        node.syslog()
            .iter()
            .any(|m| m.contains("container c1: the profile q was removed"))
    );
    assert_ne!(node.record("c1")["components"][0]["directory"], directory);
    // Once.
    assert_eq!(label(&node).as_deref(), Some("q"));
    assert_eq!(node.syslog(), [""; 0]);
}

#[test]
fn a_profile_that_no_longer_enforces_is_refused() {
    let Some(node) = node() else { return };
    let q = node.load("q", "enforce");
    node.bundle(ASKS.replace("\"p\"", "\"q\""));
    node.done(&["create", "c1"]);
    let mode = format!("/sys/kernel/security/apparmor/policy/profiles/{q}/mode");
    node.write(&mode, "complain\n");
    assert!(
        node.refused(&["exec", "c1", "sh"])
            .contains("complain mode")
    );
    node.write(&mode, "kill\n");
    assert_eq!(label(&node).as_deref(), Some("q"));
    node.unload(&q);
    assert!(node.refused(&["exec", "c1", "sh"]).contains("profile q"));
    node.write("/sys/module/apparmor/parameters/mode", "complain\n");
    assert!(node.refused(&["exec", "c1", "sh"]).contains("global mode"));
    // The policy that was decided by is not asked again, nor is the source.
    node.write("/sys/module/apparmor/parameters/mode", "enforce\n");
    node.load("q", "enforce");
    node.settings("deny = ['*']");
    node.write("/etc/oci-apparmor/profiles/q", "nonsense");
    assert_eq!(label(&node).as_deref(), Some("q"));
}
