//! What is refused, and how people hear of it.

use std::fs;

use serde_json::Value;

use crate::call::one_line;
use crate::create::ASKS;
use crate::node::{BUNDLE, node};

/// The lines that make a container or start a process in one.
const CREATE: &[&str] = &["create", "--bundle", BUNDLE, "c1"];

#[test]
fn a_profile_that_is_nowhere() {
    let Some(node) = node() else { return };
    node.bundle(ASKS.replace("\"p\"", "\"team/none\""));
    for subcommand in ["create", "run", "restore"] {
        let line = node.create_refused(&[subcommand, "c1"]);
        assert!(line.starts_with(&format!(
            "oci-apparmor: {subcommand} of container c1 refused"
        )));
        assert!(
            line.contains("profile team/none")
                && line.contains("annotation \"oci-apparmor/profile\"")
                && line.contains("no file team.none in /etc/oci-apparmor/profiles, "),
            "{line}"
        );
    }
    assert!(
        !node
            .text("/run/bundle/config.json")
            .contains("apparmorProfile")
    );
}

#[test]
fn names_that_mean_something_else_to_the_kernel() {
    let Some(node) = node() else { return };
    for name in [
        "u",
        "unconfine",
        "",
        "&p",
        ":ns:p",
        "p//&p",
        "p//&unconfined",
        "p ",
        "../p",
        "p\\u0000",
    ] {
        node.bundle(ASKS.replace("\"p\"", &format!("\"{name}\"")));
        let line = node.create_refused(CREATE);
        assert!(
            line.contains("annotation \"oci-apparmor/profile\": the profile name"),
            "{line}"
        );
    }
    // An empty one is no name: runc would run it without a profile, and crun fails on it.
    for name in ["", "u", "&p", ":ns:p", "p//&u"] {
        node.bundle(format!(r#"{{"process":{{"apparmorProfile":"{name}"}}}}"#));
        let line = node.create_refused(CREATE);
        assert!(
            line.contains("process.apparmorProfile: the profile name"),
            "{line}"
        );
    }
}

#[test]
fn what_needs_apparmor_is_refused_where_it_is_off() {
    let Some(node) = node() else { return };
    node.bundle(ASKS);
    let refused = |why: &str| {
        let line = node.create_refused(CREATE);
        assert!(
            line.contains("must run under the profile p") && line.contains(why),
            "{line}"
        );
    };
    node.write("/sys/module/apparmor/parameters/mode", "complain\n");
    refused("global mode of AppArmor is \"complain\"");
    // Where it is off, the kernel does not create its files.
    node.remove("/sys/kernel/security/apparmor");
    refused("securityfs is not mounted");
    node.write("/sys/module/apparmor/parameters/enabled", "N\n");
    refused("AppArmor is off: ");
    node.remove("/sys/module/apparmor");
    let line = node.create_refused(CREATE);
    assert!(line.contains("this kernel has no AppArmor"), "{line}");
}

#[test]
fn what_the_node_forbids() {
    let Some(node) = node() else { return };
    node.load("q", "enforce");
    node.load("c", "complain");
    for (settings, annotations, spec, why) in [
        (
            "deny = ['p']",
            r#""oci-apparmor/profile":"p""#,
            "",
            "deny has the pattern \"p\"",
        ),
        (
            "deny = ['p']",
            r#""oci-apparmor/profile":"p//child""#,
            "",
            "may not name the profile p//child: deny has the pattern \"p\"",
        ),
        (
            "allow = ['q']",
            r#""oci-apparmor/profile":"p""#,
            "",
            "no pattern of allow",
        ),
        (
            "",
            r#""oci-apparmor/profile":"c""#,
            "",
            "is in complain mode; it must enforce",
        ),
        (
            "floor = 'c'",
            "",
            "",
            "requested by floor of this node, is in complain mode",
        ),
        (
            "default_profile = 'none'",
            "",
            "",
            "default_profile of this node",
        ),
        (
            "",
            r#""oci-apparmor/profile":"unconfined""#,
            "q",
            "the engine chose q",
        ),
        (
            "",
            r#""oci-apparmor/profile":"runtime/default""#,
            "",
            "the engine chose no profile",
        ),
        (
            "",
            r#""oci-apparmor/profil":"p""#,
            "",
            "unknown annotation \"oci-apparmor/profil\"",
        ),
        (
            "",
            r#""container.oci-apparmor/a":"p","container.oci-apparmor/b":"p""#,
            "",
            "gives no container names",
        ),
    ] {
        node.settings(settings);
        let spec = match spec {
            "" => "{}".to_owned(),
            name => format!(r#"{{"apparmorProfile":"{name}"}}"#),
        };
        node.bundle(format!(
            r#"{{"process":{spec},"annotations":{{{annotations}}}}}"#
        ));
        let line = node.create_refused(CREATE);
        assert!(line.contains(why), "{line}");
    }
}

/// The profiles of the host's own programs are loaded, too, and some may be left again.
#[test]
fn profiles_that_are_not_for_containers() {
    let Some(node) = node() else { return };
    const OURS: &str = "/etc/oci-apparmor/profiles";
    let settings = |directories: &str| {
        node.settings(&format!(
            "allow = []\nprofile_directories = [{directories}]"
        ));
    };
    let usual = format!("'{OURS}', '/etc/apparmor.d', '/etc/apparmor.d/containers'");
    let host = node.load("host", "enforce");
    node.load("/usr/bin/web", "enforce");
    node.write("/etc/apparmor.d/host", "profile host {}\n");
    node.write("/etc/apparmor.d/containers/beside", "profile beside {}\n");
    node.write(
        "/etc/apparmor.d/containers/usr.bin.web",
        "profile usr.bin.web {}\n",
    );
    node.load("beside", "enforce");
    node.link("apparmor.d", "/etc/link");
    settings(&usual);
    let made = || {
        node.done(CREATE);
        node.done(&["delete", "c1"]);
    };
    let asks = |name: &str| node.bundle(ASKS.replace("\"p\"", &format!("\"{name}\"")));

    for (name, why) in [
        (
            "p",
            "it is loaded, but none of the directories for containers",
        ),
        (
            "host",
            "/etc/apparmor.d/host is a profile for programs of the host",
        ),
        (
            "host//child",
            "/etc/apparmor.d/host is a profile for programs of the host",
        ),
        // Another name of the file in which the container's profile is.
        (
            "/usr/bin/web",
            "usr.bin.web is a profile for programs of the host",
        ),
    ] {
        asks(name);
        let line = node.create_refused(CREATE);
        assert!(
            line.contains(&format!("may not name the profile {name}: ")) && line.contains(why),
            "{line}"
        );
        // What the engine names is another matter.
        if !name.contains("//") {
            node.bundle(format!(r#"{{"process":{{"apparmorProfile":"{name}"}}}}"#));
            made();
        }
    }
    asks("beside");
    made();

    // The host's directory by another path is the host's; and where it is the first one, too.
    for directories in [
        "'/etc/apparmor.d/'",
        "'/etc/link'",
        "'/etc/oci-apparmor/../apparmor.d/.'",
        "'/etc/apparmor.d', '/etc/oci-apparmor/profiles'",
    ] {
        settings(directories);
        asks("host");
        let line = node.create_refused(CREATE);
        assert!(
            line.contains("host is a profile for programs of the host"),
            "{line}"
        );
    }

    // What the refusal says to do, done.
    settings(&usual);
    asks("host");
    let line = node.create_refused(CREATE);
    let remedy = format!("mv /etc/apparmor.d/host {OURS}/");
    assert!(line.contains(&format!(": {remedy}; ")), "{line}");
    node.source("host");
    node.remove("/etc/apparmor.d/host");
    node.unload(&host);
    node.load("host", "enforce");
    made();
    // Once more with the list.
    asks("p");
    node.settings("allow = ['p']");
    made();
}

#[test]
fn command_lines_that_cannot_be_read_reliably() {
    let Some(node) = node() else { return };
    node.bundle(ASKS);
    for words in [
        &["create", "--unknown", "c1"][..],
        &["create", "-b/run/bundle", "c1"],
        &["create", "--bundle", " /run/bundle", "c1"],
        &["create", "--bundle=", "c1"],
        &["create ", "c1"],
        &["create", "c1", "c2"],
        &["create", "../c1"],
        &["create", "c:1"],
        &["run", "--detach=perhaps", "c1"],
        &["exec", "--proces", "/p", "c1"],
        &["restore", "--unknown", "c1"],
        &["--unknown", "create", "c1"],
        &["--", "run", "c1"],
    ] {
        let line = node.refused(words);
        assert!(
            line.contains("cannot parse the command line") || line.contains("invalid container id"),
            "{line}"
        );
    }
    assert!(
        !node
            .text("/run/bundle/config.json")
            .contains("apparmorProfile")
    );
    let line = node
        .called("youki")
        .refused(&["create", "-b", "/a", "-b", "/b", "c1"]);
    assert!(line.contains("--bundle is given twice"), "{line}");
}

#[test]
fn the_engines_log_in_its_format() {
    let Some(node) = node() else { return };
    node.bundle(ASKS.replace("\"p\"", "\"none\""));
    let refuse = |name, log: &[&str]| {
        let outcome = node.called(name).run(&[log, &["create", "c1"]].concat());
        assert_eq!(outcome.code, Some(1));
        one_line(&outcome.stderr).to_owned()
    };
    // Text, as runc writes it where no format is given; entries of others stay.
    node.write("/run/log", "before\n");
    let line = refuse("runc", &["--log", "/run/log"]);
    let text = node.text("/run/log");
    let quoted = Value::from(line).to_string();
    let entry = text.strip_prefix("before\ntime=\"").unwrap();
    assert!(
        entry.ends_with(&format!("\" level=error msg={quoted}\n")),
        "{entry}"
    );
    refuse("runc", &["--log=/run/text", "--log-format=text"]);
    assert!(node.text("/run/text").starts_with("time="));
    // crun's own spelling, and its targets that are no files.
    let line = refuse("crun", &["--log=file:/run/crun", "--log-format", "json"]);
    let entry: Value = serde_json::from_str(&node.text("/run/crun")).unwrap();
    assert_eq!(entry["msg"], line);
    for target in ["journald:x", "syslog:x", ""] {
        refuse("crun", &["--log", target]);
    }
    // One that cannot be written changes nothing.
    refuse("runc", &["--log=/run/none/log"]);
    refuse("runc", &["--log=/run"]);
    let files: Vec<_> = fs::read_dir(node.path(BUNDLE)).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
}

#[test]
fn a_refusal_reaches_the_log_and_syslog_where_standard_error_is_closed() {
    let Some(node) = node() else { return };
    node.bundle(ASKS.replace("\"p\"", "\"none\""));
    for closed in [
        "exec 2>&-",
        "exec 0<&- 1>&- 2>&-",
        "exec 2>/dev/full || exec 2>&-",
    ] {
        let outcome = node.call(&["create", "c1"]).prelude(closed).outcome();
        assert_eq!(outcome.code, Some(1), "{closed}");
    }
    assert!(node.calls().is_empty());
}

#[test]
fn bundles_that_could_evade_their_label() {
    let Some(node) = node() else { return };
    let asks = |more: &str| format!("{}{more}}}", ASKS.strip_suffix('}').unwrap());
    let proc = "a mount other than procfs hides";
    for (more, why) in [
        (
            r#","mounts":[{"destination":"/proc","type":"tmpfs"}]"#,
            proc,
        ),
        (
            r#","mounts":[{"destination":"/x/../proc/self/attr","type":"bind","source":"/data"}]"#,
            proc,
        ),
        (
            r#","root":{"path":"image"}"#,
            "/proc of the image is a symbolic link",
        ),
    ] {
        node.write("/run/bundle/image/sys/x", "");
        if !node.exists("/run/bundle/image/proc") {
            node.link("sys", "/run/bundle/image/proc");
        }
        node.bundle(asks(more));
        for subcommand in ["create", "run", "restore"] {
            let line = node.create_refused(&[subcommand, "--bundle", BUNDLE, "c1"]);
            assert!(line.contains(why), "{line}");
        }
        // What asks for nothing is the runtime's business.
        node.bundle(format!("{{\"process\":{{}}{more}}}"));
        node.done(CREATE);
        node.done(&["delete", "c1"]);
    }
    let cwd = "/proc/self/fd/7/../..";
    node.bundle(ASKS.replace("\"args\"", &format!("\"cwd\":\"{cwd}\",\"args\"")));
    assert!(
        node.create_refused(CREATE)
            .contains("its working directory is")
    );

    node.bundle(ASKS);
    node.done(CREATE);
    node.write("/run/process.json", format!("{{\"cwd\":\"{cwd}\"}}"));
    for words in [
        &["exec", "--process", "/run/process.json", "c1"][..],
        &["exec", "--cwd", cwd, "c1", "sh"],
    ] {
        assert!(node.refused(words).contains("its working directory is"));
    }
}

#[test]
fn vulnerable_runtimes_are_refused_where_the_node_says_so() {
    let Some(node) = node() else { return };
    node.bundle(ASKS);
    let runtime = |version: &str, refuse: bool| {
        let text = format!("#!/bin/sh\n[ \"$1\" != --version ] || echo {version:?}\n");
        node.program("/run/bin/other", &text);
        let low_level = format!("runc = '/run/bin/other'\nrefuse_vulnerable = {refuse}\n");
        let config = format!("allow = ['p']\n[runtimes]\ndirectories = []\n{low_level}");
        node.write("/etc/oci-apparmor/config.toml", config);
    };
    for (version, why) in [
        ("runc version 1.1.4", "CVE-2023-28642"),
        ("runc version 1.3.0", "CVE-2025-52881"),
        ("something else", "cannot read the version of"),
    ] {
        runtime(version, true);
        let line = node.create_refused(CREATE);
        assert!(line.contains(why), "{line}");
        runtime(version, false);
        node.done(CREATE);
        // What asks for nothing is the runtime's business.
        runtime(version, true);
        node.bundle("{\"process\":{}}");
        node.done(CREATE);
        node.bundle(ASKS);
        assert_eq!(node.records(), [""; 0]);
    }
    runtime("runc version 1.4.0", true);
    node.done(CREATE);
    let checked = || {
        node.call_program("/run/libexec/oci-apparmor", &["check"])
            .outcome()
            .stdout
    };
    assert!(!checked().contains("known hole"), "{}", checked());
    runtime("runc version 1.3.0", false);
    assert!(checked().contains("CVE-2025-52881"), "{}", checked());
}
