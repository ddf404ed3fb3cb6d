//! Kubernetes engines, by the arguments and annotations that they send: containerd and CRI-O.
//! (podman itself runs in `tests/kernel_engines/`.)

use crate::support::containers::*;

const CURRENT: [&str; 2] = ["/bin/cat", "/proc/self/attr/current"];
const BETA: &str = "container.apparmor.security.beta.kubernetes.io";

/// What containerd's CRI writes into a container of a pod.
fn containerd<'a>(container: &'a str, rest: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let own = [
        ("io.kubernetes.cri.container-type", "container"),
        ("io.kubernetes.cri.container-name", container),
        ("io.kubernetes.cri.sandbox-id", "sandbox"),
        ("io.kubernetes.cri.sandbox-name", "pod"),
        ("io.kubernetes.cri.sandbox-namespace", "default"),
    ];
    [&own, rest].concat()
}

fn containerd_sandbox<'a>(rest: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let own = [
        ("io.kubernetes.cri.container-type", "sandbox"),
        ("io.kubernetes.cri.sandbox-id", "sandbox"),
        ("io.kubernetes.cri.sandbox-name", "pod"),
        ("io.kubernetes.cri.sandbox-namespace", "default"),
    ];
    [&own, rest].concat()
}

/// What CRI-O writes into a container `app`, behind all annotations of the pod.
fn crio<'a>(id: &'a str, rest: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let own = [
        ("io.container.manager", "cri-o"),
        ("io.kubernetes.cri-o.Name", "k8s_app_pod_default_uid_0"),
        ("io.kubernetes.cri-o.ContainerID", id),
        ("io.kubernetes.cri-o.ContainerType", "container"),
        ("io.kubernetes.cri-o.SandboxID", "sandbox"),
        ("io.kubernetes.container.name", "app"),
        ("io.kubernetes.pod.name", "pod"),
        ("io.kubernetes.pod.namespace", "default"),
    ];
    [rest, &own].concat()
}

/// Runs a container with these annotations, and the engine's own profile in its configuration.
fn label(runtime: &str, id: &str, annotations: &[(&str, &str)]) -> Done {
    let mut bundle = Bundle::annotated(id, &CURRENT, annotations);
    bundle.config["process"]["apparmorProfile"] = "engine-default".into();
    bundle.write();
    run(
        wrapper(runtime),
        ["run", "--bundle", bundle.path.to_str().unwrap(), id],
    )
}

#[test]
fn annotations_mean_the_container_that_they_name() {
    let _world = world();
    load(&profile_text("engine-default", ""));
    let (app, side) = (format!("{BETA}/app"), format!("{BETA}/side"));
    let keys = [(&*app, "localhost/beta"), (&*side, "localhost/nosuch")];
    for runtime in RUNTIMES {
        for name in ["beta", "own", "all"] {
            profile(name);
        }
        let is = |annotations: &[(&str, &str)]| label(runtime, "k8s", annotations).ok();
        assert_eq!(is(&containerd("app", &keys)), "beta (enforce)\n");
        assert_eq!(is(&crio("k8s", &keys)), "beta (enforce)\n");
        assert_eq!(is(&containerd("init", &keys)), "engine-default (enforce)\n");
        let all = [&keys[..], &[("oci-apparmor/profile", "all")]].concat();
        assert_eq!(is(&containerd("app", &all)), "all (enforce)\n");
        let own = [&all[..], &[("container.oci-apparmor/app", "localhost/own")]].concat();
        assert_eq!(is(&crio("k8s", &own)), "own (enforce)\n");
        assert_eq!(is(&containerd("init", &own)), "all (enforce)\n");
        label(runtime, "k8s", &containerd("side", &keys)).refused(&["nosuch", "container k8s"]);
        let weaker = [("oci-apparmor/profile", "unconfined")];
        label(runtime, "k8s", &containerd("app", &weaker))
            .refused(&["unconfined", "engine-default"]);
    }
}

#[test]
fn a_sandbox_loads_what_its_annotations_name_and_stays_as_it_is() {
    let _world = world();
    for runtime in RUNTIMES {
        profile("pre");
        let app = format!("{BETA}/app");
        let keys = [
            (&*app, "localhost/pre"),
            ("oci-apparmor/profile", "localhost/nosuch"),
        ];
        let bundle = Bundle::annotated(
            "sandbox",
            &["/bin/sleep", "1000"],
            &containerd_sandbox(&keys),
        );
        let sandbox = Container::started(runtime, &bundle, "sandbox");
        assert_eq!(sandbox.label(), "unconfined");
        assert_eq!(bundle.profile_on_disk(), None);
        assert_eq!(loaded("pre").as_deref(), Some("pre (enforce)"));

        // The pod's annotations may not change behind the sandbox's back.
        for (id, keys) in [
            ("dropped", &keys[..1]),
            (
                "changed",
                &[keys[0], ("oci-apparmor/profile", "localhost/pre")],
            ),
            (
                "added",
                &[
                    keys[0],
                    keys[1],
                    ("container.oci-apparmor/app", "localhost/pre"),
                ],
            ),
        ] {
            label(runtime, id, &containerd("app", keys)).refused(&["annotation", "pod", id]);
        }
        run(&sandbox.runtime, ["delete", "--force", "sandbox"]).ok();
        assert_eq!(record_of("sandbox"), None);
    }
}

#[test]
fn forged_annotations_of_another_engine_do_not_help() {
    let _world = world();
    std::fs::write(CONFIG, "default_profile = \"node\"\n").unwrap();
    for runtime in RUNTIMES {
        profile("node");
        let forged = [
            ("io.kubernetes.cri.container-type", "sandbox"),
            ("io.kubernetes.cri.sandbox-id", "forged"),
            ("io.kubernetes.cri.sandbox-namespace", "kube-system"),
        ];
        for annotations in [
            crio("forged", &forged),
            [&forged[..], &[("io.container.manager", "libpod")]].concat(),
            [&forged[..], &[("io.container.manager", "")]].concat(),
        ] {
            let bundle = Bundle::annotated("forged", &CURRENT, &annotations);
            let words = ["run", "--bundle", bundle.path.to_str().unwrap(), "forged"];
            assert_eq!(
                run(wrapper(runtime), words).ok(),
                "node (enforce)\n",
                "{annotations:?}"
            );
        }
    }
}

/// A pod must not trade the engine's default for a profile of the host's that may be left again.
#[test]
fn annotations_cannot_pick_a_profile_of_the_host() {
    let _world = world();
    const HOST: &str = "/etc/apparmor.d/hosts-own";
    // As `lxc-start` is: it may change to unconfined.
    let text = profile_text("hosts-own", "").replace("file,", "file,\n change_profile -> *,");
    load(&profile_text("engine-default", ""));
    load(&profile_text("crio-default", ""));
    load(&text);
    let keys = |name: &str| {
        let keys = [
            format!("container.oci-apparmor/app={name}"),
            format!("oci-apparmor/profile={name}"),
            format!("{BETA}/app=localhost/{name}"),
        ];
        keys.map(|key| {
            key.split_once('=')
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .unwrap()
        })
    };
    let gets = |runtime: &str, key: &str, value: &str| {
        label(runtime, "k8s", &crio("k8s", &[(key, value)]))
    };
    for runtime in RUNTIMES {
        for (key, value) in keys("hosts-own") {
            gets(runtime, &key, &value).refused(&[
                "may not name the profile hosts-own",
                "it is loaded, but none of the directories",
            ]);
            std::fs::write(HOST, &text).unwrap();
            gets(runtime, &key, &value).refused(&[
                "may not name the profile hosts-own",
                "/etc/apparmor.d/hosts-own is a profile for programs of the host",
                "mv /etc/apparmor.d/hosts-own /etc/oci-apparmor/profiles/; ",
            ]);
            std::fs::remove_file(HOST).unwrap();
        }
        for (key, value) in keys("crio-default") {
            assert_eq!(gets(runtime, &key, &value).ok(), "crio-default (enforce)\n");
        }
        // What the node's administrator says.
        for (key, value) in keys("hosts-own") {
            std::fs::write(CONFIG, "allow = [\"hosts-*\"]\n").unwrap();
            assert_eq!(gets(runtime, &key, &value).ok(), "hosts-own (enforce)\n");
            std::fs::remove_file(CONFIG).unwrap();
        }
    }
    // Moved as the refusal says, it is for containers, and what was loaded is as it says.
    std::fs::write(HOST, &text).unwrap();
    run("mv", [HOST, &format!("{PROFILES}/")]).ok();
    assert_eq!(
        gets("crun", "oci-apparmor/profile", "hosts-own").ok(),
        "hosts-own (enforce)\n"
    );
    std::fs::remove_file(format!("{PROFILES}/hosts-own")).unwrap();
    for name in ["hosts-own", "crio-default", "engine-default"] {
        unload(name);
    }
}

/// What denies a profile denies its children: each may be entered by its own name.
#[test]
fn a_denied_profile_is_denied_with_its_children() {
    let _world = world();
    let text = profile_text("parent", "");
    let child = "profile helper { file, signal, }\n profile /bin/x { file, signal, }\n}\n";
    source("parent", &text.replace("}\n", child));
    for runtime in RUNTIMES {
        for name in ["parent//helper", "parent///bin/x"] {
            let bundle = Bundle::annotated("deny", &CURRENT, &[("oci-apparmor/profile", name)]);
            let words = ["run", "--bundle", bundle.path.to_str().unwrap(), "deny"];
            let label = run(wrapper(runtime), words).ok();
            assert_eq!(label, format!("{name} (enforce)\n"));
            std::fs::write(CONFIG, "deny = [\"parent\"]\n").unwrap();
            bundle.write();
            run(wrapper(runtime), words).refused(&[name, "deny has the pattern \"parent\""]);
            std::fs::remove_file(CONFIG).unwrap();
        }
    }
}
