use super::*;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::apparmor::text::ProfileText;
use proptest::prelude::*;
use serde_json::{Value, json};

fn name(text: &str) -> ProfileName {
    ProfileName::parse(text).unwrap()
}

/// The configuration that engines write, more or less.
fn config() -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "user": {"uid": 0, "gid": 0}, "args": ["/usr/sbin/nginx", "-g", "x"],
            "env": ["PATH=/usr/local/bin:/usr/bin"], "cwd": "/",
            "capabilities": {
                "bounding": ["CAP_CHOWN", "CAP_SETUID", "CAP_SYS_ADMIN", "CAP_OF_TOMORROW"],
                "ambient": [],
            },
        },
        "root": {"path": "rootfs", "readonly": false},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid"]},
            {"destination": "/srv/data", "type": "bind", "source": "/data", "options": ["rbind", "ro"]},
            {"destination": "/srv/work/", "type": "bind", "source": "/work", "options": ["rbind", "rw"]},
            {"destination": "/run/docker.sock", "source": "/run/docker.sock", "options": ["bind"]},
            {"destination": "/run/.containerenv", "type": "bind", "source": "/var/x/hosts", "options": ["rw", "bind"]},
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "network"}],
            "devices": [
                {"path": "/dev/fuse", "type": "c"}, {"path": "/dev/sda", "type": "b"},
                {"path": "/dev/null", "type": "c"},
            ],
            "maskedPaths": ["/proc/kcore", "/hidden"],
            "readonlyPaths": ["/proc/sys"],
        },
    })
}

fn written(config: &Value, observed: &Observed, workload: Option<Workload>) -> String {
    let spec = ContainerSpec::parse(config.to_string().as_bytes()).unwrap();
    let name = name("web");
    let profile = StartingProfile::new(&name, Some(&spec), observed, workload).unwrap();
    profile.text()
}

/// Whether the text has this line.
fn has(text: &str, line: &str) -> bool {
    text.lines().any(|l| l.trim() == line)
}

#[test]
fn it_allows_what_the_configuration_says() {
    let text = written(&config(), &Observed::default(), None);
    for line in [
        "/usr/sbin/nginx mrix,",
        "/dev/shm/** rwkl,",
        "/srv/data/ r,",
        "/srv/data/** r,",
        "/srv/work/** rwkl,",
        "/run/.containerenv r,",
        "/dev/fuse rw,",
        "capability chown,",
        "network inet stream,",
        "owner /{,var/}tmp/{,**} rwk,",
        "signal (send, receive) peer=web,",
        "# /run/docker.sock rwk,",
        "# /dev/sda rw,",
        "# capability sys_admin,",
    ] {
        assert!(has(&text, line), "{line} is missing in\n{text}");
    }
    for part in [
        "deny",
        "of_tomorrow",
        "/srv/work//",
        "/dev/null",
        "read-only",
    ] {
        assert!(!text.contains(part), "{part} is in\n{text}");
    }
}

#[test]
fn it_allows_less_if_the_configuration_says_less() {
    let mut less = config();
    less["root"]["readonly"] = json!(true);
    less["process"]["user"]["uid"] = json!(1000);
    less["process"]["noNewPrivileges"] = json!(true);
    less["process"]["terminal"] = json!(true);
    less["linux"]["namespaces"] = json!([{"type": "pid"}]);
    less["mounts"] = json!([
        {"destination": "/proc/sys/net", "type": "bind", "source": "/x", "options": ["bind", "rw"]},
        {"destination": "/hidden/x", "type": "bind", "source": "/y", "options": ["bind"]},
    ]);
    let text = written(&less, &Observed::default(), None);
    for line in [
        "/proc/sys/net/** r,",
        "# network inet stream,",
        "/dev/console rw,",
        "# The root file system is read-only: only mounts can be written.",
        "# The container runs as user 1000, not as root.",
    ] {
        assert!(has(&text, line), "{line} is missing in\n{text}");
    }
    for part in ["capability", "tmp/", "/hidden", " rwkl", "\n  network"] {
        assert!(!text.contains(part), "{part} is in\n{text}");
    }
    less["process"]["capabilities"]["ambient"] = json!(["CAP_NET_BIND_SERVICE"]);
    let text = written(&less, &Observed::default(), None);
    assert!(has(&text, "capability net_bind_service,"), "{text}");
}

#[test]
fn a_program_is_where_the_image_has_it() {
    let mut config = config();
    config["process"]["args"] = json!(["/sbin/docker-init", "--", "nginx", "-g"]);
    let spec = ContainerSpec::parse(config.to_string().as_bytes()).unwrap();
    let places = ["/usr/local/bin/nginx", "/usr/bin/nginx"].map(str::to_owned);
    assert_eq!(
        spec.programs(),
        [vec!["/sbin/docker-init".to_owned()], places.to_vec()]
    );
    let text = written(&config, &Observed::default(), None);
    assert!(has(&text, "/usr/local/bin/nginx mrix,"), "{text}");
    let mut observed = Observed {
        programs: vec!["/usr/sbin/tini".to_owned(), "/opt/nginx".to_owned()],
        ..Observed::default()
    };
    let point = Point {
        path: "/run/docker.sock".to_owned(),
        is_directory: Some(false),
    };
    observed.points.insert("/run/docker.sock".to_owned(), point);
    let text = written(&config, &observed, None);
    assert!(has(&text, "/opt/nginx mrix,"), "{text}");
    for part in ["/usr/local/bin/nginx", "docker.sock/"] {
        assert!(!text.contains(part), "{part} is in\n{text}");
    }
}

#[test]
fn a_known_program_needs_no_more_than_it_needs() {
    let text = written(&config(), &Observed::default(), Some(Workload::Nginx));
    assert!(has(&text, "/etc/nginx/{,**} r,"), "{text}");
    assert!(has(&text, "capability setuid,"), "{text}");
    assert!(!text.contains("sys_admin"), "{text}");
    assert!(!text.contains("inet dgram"), "{text}");
    // The configuration lacks them.
    assert!(!text.contains("net_bind_service"), "{text}");
    for workload in <Workload as clap::ValueEnum>::value_variants() {
        let name = name("w");
        let observed = Observed::default();
        let profile = StartingProfile::new(&name, None, &observed, Some(*workload)).unwrap();
        rules_only(&profile);
    }
}

#[test]
fn a_name_that_would_mean_something_else_is_refused() {
    let observed = Observed::default();
    for text in [
        "/usr/bin/x",
        "a//b",
        "a*",
        "a{b,c}",
        "a,b",
        "a#b",
        "a@b",
        "a(b)",
    ] {
        let name = name(text);
        assert!(
            StartingProfile::new(&name, None, &observed, None).is_err(),
            "{text}"
        );
    }
}

#[test]
fn the_engine_is_known_by_what_it_writes() {
    for (part, expected) in [
        (json!({}), None),
        (
            json!({"annotations": {"io.container.manager": "libpod"}}),
            Some(StartedBy::Podman),
        ),
        (
            json!({"annotations": {"io.kubernetes.cri.container-type": "container"}}),
            Some(StartedBy::Kubernetes),
        ),
        (
            json!({"linux": {"cgroupsPath": "/docker/1f"}}),
            Some(StartedBy::Docker),
        ),
        (
            json!({"linux": {"cgroupsPath": "system.slice:docker:1f"}}),
            Some(StartedBy::Docker),
        ),
        (
            json!({"linux": {"cgroupsPath": "/my-docker-jobs/1f"}}),
            None,
        ),
    ] {
        let spec = ContainerSpec::parse(part.to_string().as_bytes()).unwrap();
        assert_eq!(spec.started_by(), expected, "{part}");
    }
}

#[test]
fn what_is_no_configuration_is_refused() {
    for text in [
        "",
        "[",
        "7",
        r#"{"mounts": 7}"#,
        r#"{"process": {"args": [7]}}"#,
    ] {
        assert!(ContainerSpec::parse(text.as_bytes()).is_err(), "{text}");
    }
    let empty = json!({"process": null, "mounts": null, "linux": {"devices": null}});
    assert!(written(&empty, &Observed::default(), None).ends_with("}\n"));
}

/// The text is one profile that has the rules that were counted, and nothing else.
fn rules_only(profile: &StartingProfile<'_>) {
    let text = profile.text();
    let scanned = ProfileText::scan(&text);
    let names: Vec<&str> = scanned.profiles.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names.len(), 1, "{text}");
    assert_eq!(scanned.rules.len(), profile.count(), "{text}");
    assert!(scanned.rules.iter().all(|rule| !rule.deny), "{text}");
    assert_eq!(scanned.includes.len(), 2, "{text}");
    assert!(text.is_ascii() && scanned.abi, "{text}");
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "(/|[a-c*?\\[\\]{}^,@#!\"\\\\ \n\t\r\u{1}\u{e4}\u{2028}]){0,12}",
        Just("/a,\n}\nprofile b { file, }\n#".to_owned()),
        Just("/a\" rwix,\n  \"/b".to_owned()),
        Just("/@{HOME}/**".to_owned()),
        Just("\n#include <abstractions/base>".to_owned()),
        Just("/a\\".to_owned()),
        "[^\\x00]{0,12}",
    ]
}

proptest! {
    /// Nothing that a configuration or an image holds becomes a rule of its own.
    #[test]
    fn values_from_outside_stay_values(
        program in hostile(), seen in hostile(), destination in hostile(), source in hostile(),
        device in hostile(), capability in hostile(), real in hostile(), is_directory: Option<bool>,
    ) {
        let mut config = config();
        config["process"]["args"] = json!([program, "x"]);
        config["process"]["capabilities"]["bounding"] = json!([capability, "CAP_KILL"]);
        config["mounts"] = json!([
            {"destination": destination, "type": "bind", "source": source},
            {"destination": real, "type": "tmpfs", "source": source},
        ]);
        config["linux"]["devices"] = json!([{"path": device, "type": source}]);
        let spec = ContainerSpec::parse(config.to_string().as_bytes()).unwrap();
        let name = name("web");
        let mut observed = Observed::default();
        rules_only(&StartingProfile::new(&name, Some(&spec), &observed, None).unwrap());
        observed.programs.push(seen);
        observed.points.insert(destination, Point { path: format!("/{real}"), is_directory });
        rules_only(&StartingProfile::new(&name, Some(&spec), &observed, None).unwrap());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ContainerSpec::parse(&bytes);
    }
}
