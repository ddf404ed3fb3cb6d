//! `create`, `run` and `restore` of a container that asks for a profile.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::json;

use crate::call::one_line;
use crate::node::{BUNDLE, node};

/// A container that asks for `p`.
pub(crate) const ASKS: &str =
    r#"{"annotations":{"oci-apparmor/profile":"p"},"process":{"args":["sh"]}}"#;

#[test]
fn the_label_is_written_and_no_other_byte() {
    let Some(node) = node() else { return };
    let asks = "\"annotations\" : { \"oci-apparmor/profile\":\"p\" }";
    for (number, (before, after)) in [
        ("{ASKS,\"process\":{}}", "{ASKS,\"process\":{\"apparmorProfile\":\"p\"}}"),
        ("{\"process\":{},ASKS}", "{\"process\":{\"apparmorProfile\":\"p\"},ASKS}"),
        (
            "{\n ASKS ,\"process\": {\n\t\"args\" :[1.0e+2,\"\\u00e9\"] }\n}\n",
            "{\n ASKS ,\"process\": {\n\t\"apparmorProfile\":\"p\",\"args\" :[1.0e+2,\"\\u00e9\"] }\n}\n",
        ),
        (
            "{\"process\":{\"a\":1, \"apparmorProfile\" : null ,\"b\":2},ASKS}",
            "{\"process\":{\"a\":1, \"apparmorProfile\" : \"p\" ,\"b\":2},ASKS}",
        ),
        (
            "{\"process\":{\"apparmorProfile\":\"docker-default\"},ASKS}",
            "{\"process\":{\"apparmorProfile\":\"p\"},ASKS}",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        node.bundle(before.replace("ASKS", asks));
        let id = format!("c{number}");
        node.done(&["create", "-b", BUNDLE, &id]);
        let call = node.last_call();
        assert_eq!(call.words, ["create", "--bundle=/run/bundle", &id]);
        assert_eq!(call.config_text(), after.replace("ASKS", asks));
        assert_eq!(node.text("/run/bundle/config.json"), after.replace("ASKS", asks));
    }
    assert_eq!(fs::read_dir(node.path(BUNDLE)).unwrap().count(), 1);
    assert_eq!(node.syslog(), [""; 0]);
}

#[test]
fn owner_and_mode_of_the_configuration_stay() {
    let Some(node) = node() else { return };
    node.bundle(ASKS);
    node.chmod("/run/bundle/config.json", 0o640);
    node.chown("/run/bundle/config.json", 1234);
    node.done(&["create", "c1"]);
    let meta = fs::metadata(node.path("/run/bundle/config.json")).unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.permissions().mode() & 0o7777),
        (1234, 1234, 0o640)
    );
}

#[test]
fn a_label_that_stands_there_is_not_written_again() {
    let Some(node) = node() else { return };
    node.load("q", "complain");
    for (id, json) in [
        ("c1", r#"{"process":{"apparmorProfile":"q"}}"#),
        ("c2", r#"{"process":{"apparmorProfile":"p//&q"}}"#),
        (
            "c3",
            r#"{"process":{"apparmorProfile":"p"},"annotations":{"oci-apparmor/profile":"p"}}"#,
        ),
    ] {
        node.bundle(json);
        let inode = node.inode("/run/bundle/config.json");
        node.done(&["create", id]);
        assert_eq!(node.last_call().config_text(), json);
        assert_eq!(node.last_call().inode, Some(inode));
        assert!(node.records().contains(&id.to_owned()));
    }
    // An engine's own choice is taken in the mode that it has, and that is reported.
    assert!(
        node.syslog()
            .iter()
            .any(|m| m.contains("q") && m.contains("complain mode"))
    );
}

#[test]
fn what_is_remembered() {
    let Some(node) = node() else { return };
    let q = node.load("q", "kill");
    let floor = node.load("floor", "enforce");
    node.settings("floor = 'floor'");
    let config = json!({"process": {}, "annotations": {
        "io.container.manager": "cri-o",
        "io.kubernetes.cri-o.ContainerID": "c1",
        "io.kubernetes.cri-o.ContainerType": "container",
        "io.kubernetes.cri-o.SandboxID": "s1",
        "io.kubernetes.cri-o.Name": "k8s_app_web-0_team_uid-1_0",
        "io.kubernetes.pod.namespace": "team",
        "io.kubernetes.pod.name": "web-0",
        "io.kubernetes.container.name": "app",
        "container.oci-apparmor/app": "localhost/q",
    }});
    node.bundle(config.to_string());
    let words = ["--root", "/run/roots", "create", "--pid-file", "pid", "c1"];
    let outcome = node.called("crun").run(&words);
    outcome.silent_success();
    let mut record = node.record("c1");
    let time = record.as_object_mut().unwrap().remove("time").unwrap();
    humantime::parse_rfc3339(time.as_str().unwrap()).unwrap();
    assert_eq!(
        record,
        json!({
            "version": 2,
            "runtime": "crun",
            "program": "/run/bin/crun",
            "root": "/run/roots",
            "id": "c1",
            "bundle": BUNDLE,
            "label": "q//&floor",
            "components": [
                {"name": "q", "wanted": "enforcing", "mode": "kill", "directory": q},
                {"name": "floor", "wanted": "enforcing", "mode": "enforce", "directory": floor},
            ],
            "key": "container.oci-apparmor/app",
            "namespace": "team",
            "pod": "web-0",
            "uid": "uid-1",
            "container": "app",
            "sandbox": "s1",
            "pid_file": "/run/bundle/pid",
            "annotations": {},
            "writer": outcome.pid,
        })
    );
    assert_eq!(
        fs::metadata(node.record_file("c1")).unwrap().mode() & 0o7777,
        0o600
    );
    assert_eq!(
        fs::metadata(node.path("/run/oci-apparmor")).unwrap().mode() & 0o7777,
        0o700
    );
}

#[test]
fn what_the_node_demands_is_written_too() {
    let Some(node) = node() else { return };
    node.load("q", "enforce");
    node.settings("default_profile = 'q'\nfloor = 'p'");
    node.bundle(r#"{"process":{}}"#);
    node.done(&["create", "c1"]);
    assert!(node.last_call().config_text().contains("\"q//&p\""));
    // A bundle that runs twice does not stack twice.
    node.done(&["create", "c2"]);
    assert_eq!(
        node.last_call().config_text(),
        r#"{"process":{"apparmorProfile":"q//&p"}}"#
    );
    node.settings("allow_unconfined = true");
    node.bundle(
        r#"{"process":{"apparmorProfile":"q"},"annotations":{"oci-apparmor/profile":"unconfined"}}"#,
    );
    node.done(&["create", "c3"]);
    assert!(
        node.last_call()
            .config_text()
            .contains(r#""apparmorProfile":"unconfined""#)
    );
}

#[test]
fn the_bundle_is_found_as_the_runtime_finds_it() {
    let Some(node) = node() else { return };
    for (number, (directory, words)) in [
        (BUNDLE, &["create"][..]),
        ("/run", &["create", "-b=bundle"]),
        ("/", &["create", "--bundle=/run/link"]),
        ("/run/libexec", &["create", "-bundle", "../bundle/"]),
        (
            "/",
            &["create", "--bundle", "/wrong", "--bundle", "/run/bundle"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        if number == 0 {
            node.link("bundle", "/run/link");
        }
        node.bundle(ASKS);
        let id = format!("c{number}");
        let words = [words, &[id.as_str()]].concat();
        node.call(&words)
            .directory(directory)
            .outcome()
            .silent_success();
        assert!(
            node.text("/run/bundle/config.json")
                .contains("apparmorProfile"),
            "{words:?}"
        );
        assert_eq!(node.record(&id)["bundle"], BUNDLE);
    }
}

#[test]
fn another_configuration_of_crun_is_the_one_that_counts() {
    let Some(node) = node() else { return };
    node.called("crun");
    node.write("/run/etc/other.json", "");
    for (id, directory, config) in [
        ("c1", "/run/etc", "other.json"),
        ("c2", "/", "/run/etc/other.json"),
    ] {
        node.bundle(r#"{"process":{}}"#);
        node.write("/run/etc/other.json", ASKS);
        let words = ["create", "-b", BUNDLE, "-f", config, id];
        node.call(&words)
            .directory(directory)
            .outcome()
            .silent_success();
        let config = format!("--config={config}");
        assert_eq!(
            node.last_call().words,
            ["create", "--bundle=/run/bundle", &config, id]
        );
        assert!(node.last_call().config_text().contains("apparmorProfile"));
        assert_eq!(node.text("/run/bundle/config.json"), r#"{"process":{}}"#);
        // crun keeps a copy of it; that is what counts where our record is lost.
        node.remove("/run/oci-apparmor");
        node.remove("/run/etc/other.json");
        node.done(&["exec", id, "sh"]);
        assert_eq!(node.last_call().words, ["exec", "--apparmor=p", id, "sh"]);
    }
    // The usual name is always the bundle's.
    node.bundle(ASKS);
    node.write("/run/etc/config.json", r#"{"process":{}}"#);
    let words = ["create", "-b", BUNDLE, "-f", "config.json", "c3"];
    node.call(&words)
        .directory("/run/etc")
        .outcome()
        .silent_success();
    assert!(
        node.text("/run/bundle/config.json")
            .contains("apparmorProfile")
    );
}

#[test]
fn a_second_container_of_an_id_is_refused_in_the_runtimes_words() {
    let Some(node) = node() else { return };
    for (name, words) in [
        ("runc", "refused: container with given ID already exists;"),
        ("crun", "refused: container `c1` already exists;"),
        ("youki", "refused: container already exists;"),
    ] {
        node.called(name);
        node.bundle(ASKS);
        node.done(&["create", "c1"]);
        let record = fs::read(node.record_file("c1")).unwrap();
        // One that asks for another profile, one that asks for nothing, and one that would be
        // refused for what it asks for.
        for second in [
            ASKS.replace("\"p\"", "\"q\""),
            r#"{"process":{}}"#.to_owned(),
            "{".to_owned(),
        ] {
            node.bundle(&second);
            for call in ["create", "run", "restore"] {
                if (name, call) == ("youki", "restore") {
                    // It has none.
                    continue;
                }
                let line = node.refused(&[call, "--bundle", BUNDLE, "c1"]);
                assert!(line.contains(words), "{line}");
                assert_eq!(node.text("/run/bundle/config.json"), second);
                assert_eq!(fs::read(node.record_file("c1")).unwrap(), record);
            }
        }
        node.done(&["delete", "c1"]);
    }
}

#[test]
fn a_record_that_is_left_over_does_not_outlive_a_new_container() {
    let Some(node) = node() else { return };
    node.bundle(ASKS);
    node.done(&["create", "c1"]);
    // The runtime's own directory went without us, and the next one asks for nothing.
    node.remove("/run/runc/c1");
    node.bundle(r#"{"process":{}}"#);
    node.done(&["create", "c1"]);
    assert_eq!(node.records(), [""; 0]);
    node.done(&["exec", "c1", "sh"]);
    assert_eq!(node.last_call().words, ["exec", "c1", "sh"]);
}

#[test]
fn restore_gets_the_label_from_criu() {
    let Some(node) = node() else { return };
    node.bundle(ASKS);
    // A process that has ended; the kernel suite has real ones.
    node.write("/run/again.pid", "4194303");
    let restore = |more: &[&'static str]| {
        let verified = ["restore", "--detach", "--pid-file", "/run/again.pid"];
        [&verified, more].concat()
    };
    for (id, given) in [("c1", None), ("c2", Some("--lsm-profile=apparmor:p"))] {
        node.done(&restore(&[&Vec::from_iter(given), &[id][..]].concat()));
        assert_eq!(
            node.last_call().words,
            [
                "restore",
                "--detach",
                "--pid-file=/run/again.pid",
                "--lsm-profile=apparmor:p",
                id
            ]
        );
        assert!(node.last_call().config_text().contains("apparmorProfile"));
        assert!(node.records().contains(&id.to_owned()));
    }
    for other in [
        "--lsm-profile=apparmor:q",
        "--lsm-profile=apparmor:unconfined",
        "--lsm-profile=selinux:p",
        "--lsm-profile=p",
    ] {
        let line = node.refused(&restore(&[other, "c3"]));
        assert!(line.contains("conflicts with the label p"), "{line}");
    }
    // Where the labels could not be looked at afterwards.
    for words in [&["restore", "c3"][..], &["restore", "--detach", "c3"]] {
        let line = node.refused(words);
        assert!(line.contains("can only be verified"), "{line}");
    }
    // One that the runtime did not restore is not remembered.
    node.write("/run/stand-in/exit", "7");
    let outcome = node.run(&restore(&["c3"]));
    assert_eq!(outcome.code, Some(7));
    assert!(!node.records().contains(&"c3".to_owned()));
    node.remove("/run/stand-in/exit");
    // Without a request it is the engine's own business.
    node.bundle(r#"{"process":{}}"#);
    node.done(&["restore", "--lsm-profile", "apparmor:q", "c4"]);
    assert_eq!(
        node.last_call().words,
        ["restore", "--lsm-profile", "apparmor:q", "c4"]
    );
}

#[test]
fn an_engine_that_ignores_sigchld_gets_its_containers_too() {
    let Some(node) = node() else { return };
    node.source("q");
    node.bundle(ASKS.replace("\"p\"", "\"q\""));
    let ignoring = ["env", "--ignore-signal=CHLD"];
    // Compiling, the watcher and waiting for `delete` all have children.
    node.call(&["run", "-d", "c1"])
        .through(&ignoring)
        .outcome()
        .silent_success();
    assert_eq!(node.records(), ["c1"]);
    node.call(&["delete", "c1"])
        .through(&ignoring)
        .outcome()
        .silent_success();
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn without_root_a_loaded_profile_is_used_and_none_is_loaded() {
    let Some(node) = node() else { return };
    node.source("q");
    node.write("/run/user/file", "");
    for inside in ["/run/user", "/run/calls", "/run/bundle"] {
        node.chown(inside, 1000);
    }
    let user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
    let environment = ["XDG_RUNTIME_DIR=/run/user"];
    let create = |asks: &str| {
        node.bundle(asks);
        node.chown("/run/bundle/config.json", 1000);
        node.call(&["create", "c1"])
            .through(&user)
            .environment(&environment)
            .outcome()
    };
    let outcome = create(&ASKS.replace("\"p\"", "\"q\""));
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome
            .stderr
            .contains("run as root on the host: oci-apparmor load q"),
        "{}",
        outcome.stderr
    );
    assert_eq!(node.parser_calls(), [""; 0]);
    // The stand-in cannot make /run/runc, where a rootless runc would not put it either.
    let outcome = create(ASKS);
    assert!(
        outcome.stderr.is_empty() || outcome.stderr.contains("mkdir"),
        "{}",
        outcome.stderr
    );
    assert!(node.last_call().config_text().contains("apparmorProfile"));
    assert!(node.exists("/run/user/oci-apparmor/containers"));
    assert!(!node.exists("/run/oci-apparmor"));
}

/// An unprivileged container of LXC, or one in which an engine is nested: root of a user
/// namespace, without a login's directory, or with one that goes when root logs out.
#[test]
fn root_of_a_user_namespace_keeps_its_records_in_run() {
    let Some(node) = node() else { return };
    node.write("/run/user/0/file", "");
    node.write("/run/user/1000/file", "");
    let root = ["unshare", "--user", "--map-root-user"];
    for (environment, place) in [
        (&[][..], "/run/oci-apparmor"),
        (
            &["XDG_RUNTIME_DIR=/run/user/0", "USER=root"],
            "/run/oci-apparmor",
        ),
        (&["XDG_RUNTIME_DIR="], "/run/oci-apparmor"),
        // A rootless engine's.
        (
            &["XDG_RUNTIME_DIR=/run/user/1000", "USER=root"],
            "/run/user/1000/oci-apparmor",
        ),
    ] {
        let call = |words: &[&str]| {
            let call = node.call(words).through(&root).environment(environment);
            call.outcome().silent_success();
        };
        node.bundle(ASKS);
        call(&["create", "c1"]);
        let written = node.last_call().config_text();
        assert!(written.contains("apparmorProfile"), "{environment:?}");
        let containers = || {
            let roots = fs::read_dir(node.path(&format!("{place}/containers"))).unwrap();
            roots.count()
        };
        assert_eq!(containers(), 1, "{environment:?}");
        call(&["exec", "c1", "sh"]);
        assert_eq!(
            node.last_call().words,
            ["exec", "--apparmor=p", "c1", "sh"],
            "{environment:?}"
        );
        call(&["delete", "c1"]);
        node.remove(place);
        assert!(!node.exists("/run/oci-apparmor") && !node.exists("/run/user/0/oci-apparmor"));
    }
}

#[test]
fn without_a_place_for_records_only_what_needs_one_is_refused() {
    let Some(node) = node() else { return };
    for inside in ["/run/calls", "/run/bundle"] {
        node.chown(inside, 1000);
    }
    node.write("/run/runc/file", "");
    node.chown("/run/runc", 1000);
    let user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
    let nested = [&user[..], &["unshare", "--user", "--map-root-user"]].concat();
    for through in [&user[..], &nested] {
        let call = |words: &[&str]| node.call(words).through(through).outcome();
        let bundle = |json: &str| {
            node.bundle(json);
            node.chown("/run/bundle/config.json", 1000);
        };
        bundle(r#"{"process":{},"annotations":{"other":"1"}}"#);
        for words in [
            &["--root=/run/runc", "create", "c1"][..],
            &["--root=/run/runc", "start", "c1"],
            &["--root=/run/runc", "exec", "c1", "sh"],
            &["--root=/run/runc", "state", "c1"],
            &["--root=/run/runc", "kill", "c1"],
            &["--root=/run/runc", "delete", "c1"],
        ] {
            call(words).silent_success();
            assert_eq!(node.last_call().words, words);
        }
        // So it is for the sandbox of a pod that names nothing.
        let sandbox = |rest: &str| {
            bundle(&format!(
                r#"{{"process":{{}},"annotations":{{"io.kubernetes.cri.container-type":"sandbox","io.kubernetes.cri.sandbox-id":"s1"{rest}}}}}"#
            ));
        };
        sandbox("");
        call(&["--root=/run/runc", "create", "s1"]).silent_success();
        call(&["--root=/run/runc", "delete", "s1"]).silent_success();

        let calls = node.calls().len();
        for (id, refused) in [("c1", false), ("s1", true)] {
            match refused {
                true => sandbox(r#","oci-apparmor/profile":"p""#),
                false => bundle(ASKS),
            }
            let outcome = call(&["--root=/run/runc", "create", id]);
            assert_eq!(outcome.code, Some(1));
            let line = one_line(&outcome.stderr);
            assert!(
                line.contains("there is no directory for container records: XDG_RUNTIME_DIR")
                    && line.ends_with(": export XDG_RUNTIME_DIR=/run/user/1000"),
                "{line}"
            );
        }
        assert_eq!(node.calls().len(), calls);
        // A container with a profile, made where there was a place.
        bundle(r#"{"process":{"apparmorProfile":"p"}}"#);
        let direct = ["--root=/run/runc", "create", "--bundle=/run/bundle", "c1"];
        node.call_program("/run/bin/runc", &direct)
            .outcome()
            .silent_success();
        for words in [
            &["--root=/run/runc", "start", "c1"][..],
            &["--root=/run/runc", "exec", "c1", "sh"],
        ] {
            let line = call(words).stderr;
            assert!(
                line.contains("there is no directory for container records"),
                "{line}"
            );
        }
        node.remove("/run/runc/c1");
    }
}
