//! What must hold for containers of CRI-O, whose calls are played (`crio_calls.rs`): no release of
//! Debian has a package of it. `crio_real.rs` does the same with CRI-O itself, where it is there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::containerd_pods::{PROFILE, pod, sources};
use crate::crio_annotations::*;
use crate::crio_calls::*;
use crate::support::containers::*;

/// CRI-O's own default profile, which it loads at its start (`internal/config/apparmor`).
pub(crate) const DEFAULT: &str = "crio-default";

const SLEEPS: [&str; 2] = ["/bin/sleep", "1000"];
const LABELS: [&str; 3] = [
    "/bin/cat",
    "/proc/1/attr/current",
    "/proc/self/attr/current",
];

/// What the pod of an example is under CRI-O: its annotations, and the profile in `config.json`
/// (`internal/config/apparmor`: no field is the default, Localhost is not looked up).
fn of_example(name: &str, minor: u32) -> (Vec<(String, String)>, String) {
    let pod = pod(name, minor);
    let profile = match &pod.containers[0].profile {
        Some(field) if field["type"] == "Localhost" => field["localhostProfile"].as_str(),
        _ => None,
    };
    let profile = profile.unwrap_or(DEFAULT).to_owned();
    (pod.annotations.into_iter().collect(), profile)
}

#[test]
fn every_way_to_name_a_profile_confines_a_container_of_crio() {
    let _world = world();
    sources();
    load(&profile_text(DEFAULT, ""));
    crate::containerd::label_runtimes();
    for (number, (example, minor)) in [
        ("field", 36),
        ("beta-annotation", 33),
        ("beta-annotation", 36),
        ("container-annotation", 36),
        ("pod-annotation", 36),
        ("runtime-default", 36),
    ]
    .into_iter()
    .enumerate()
    {
        let crio = Played::new(RUNTIMES[number % 2]);
        unload(PROFILE);
        let (annotations, profile) = of_example(example, minor);
        let container = Recorded::container(&annotations, Some(&profile), &SLEEPS);
        let id = crio.create(&container, "").unwrap();
        crio.call(&["start", &id]).ok();
        let both = format!("{PROFILE} (enforce)\n").repeat(2);
        assert_eq!(
            crio.exec_sync(&container, &LABELS),
            Ok((0, both.clone())),
            "{example} of 1.{minor}"
        );
        assert_eq!(crio.exec(&container, &LABELS).ok(), both, "{example}");
        assert_ne!(crio.exec(&container, &["/bin/touch", "/data/x"]).code, 0);
        crio.end(&container);
    }
    // What asks for nothing keeps what CRI-O gave it.
    let container = Recorded::container(&[], Some(DEFAULT), &SLEEPS);
    let before = fs::read(container.bundle.config_json()).unwrap();
    let crio = Played::new("runc");
    let id = crio.create(&container, "").unwrap();
    assert_eq!(fs::read(container.bundle.config_json()).unwrap(), before);
    crio.call(&["start", &id]).ok();
    let labels = crio.exec(&container, &LABELS).ok();
    assert_eq!(labels, format!("{DEFAULT} (enforce)\n").repeat(2));
    crio.end(&container);
}

#[test]
fn crio_shows_a_refusal() {
    let _world = world();
    sources();
    load(&profile_text(DEFAULT, ""));
    let asks = |value: &str| vec![("oci-apparmor/profile".to_owned(), value.to_owned())];
    for runtime in RUNTIMES {
        let crio = Played::new(runtime);
        let refused = |container: &Recorded, words: &[&str]| {
            let message = crio.create(container, "").unwrap_err();
            let start = "container create failed: oci-apparmor: create of container ";
            assert!(message.starts_with(start), "{message}");
            for word in words {
                assert!(message.contains(word), "{message}");
            }
            // What failed is deleted; that there is nothing is no error to CRI-O.
            crio.call(&["delete", "--force", &container.id]);
        };
        let absent = Recorded::container(&asks("nosuch"), Some(DEFAULT), &SLEEPS);
        refused(&absent, &["nosuch", "is not loaded, and there is no file"]);

        // A pod with an infra container, whose annotations were edited.
        let pod = OfPod::new(&asks(PROFILE));
        let of = |pod: &OfPod| {
            let web = OfContainer::new(pod, "web");
            Recorded::of(pod, &web, Some(DEFAULT), &SLEEPS)
        };
        let sandbox = Recorded::sandbox(&pod);
        unload(PROFILE);
        let id = crio.create(&sandbox, "").unwrap();
        crio.call(&["start", &id]).ok();
        assert!(loaded(PROFILE).is_some());
        let edited = OfPod {
            annotations: asks("other"),
            ..pod.clone()
        };
        refused(&of(&edited), &["has changed since the pod was created"]);
        let container = of(&pod);
        let id = crio.create(&container, "").unwrap();
        crio.call(&["start", &id]).ok();

        let file = Path::new(PROFILES).join(PROFILE);
        let text = fs::read_to_string(&file).unwrap();
        fs::remove_file(&file).unwrap();
        unload(PROFILE);
        let message = crio.exec_sync(&container, &LABELS).unwrap_err();
        assert!(
            message.contains("oci-apparmor: ") && message.contains(PROFILE),
            "{message}"
        );
        crio.exec(&container, &LABELS).refused(&[PROFILE]);
        source(PROFILE, &text);
        crio.end(&container);
        crio.end(&sandbox);
        assert_eq!(records(), Vec::<PathBuf>::new());
    }
}

/// What CRI-O sees of a container that asks for nothing, under the wrapper and under the runtime.
#[test]
fn crio_sees_no_difference_in_what_asks_for_nothing() {
    let _world = world();
    for runtime in RUNTIMES {
        let seen = |program: PathBuf| {
            let crio = Played {
                runtime: program,
                ..Played::new(runtime)
            };
            let script = "echo out; echo err >&2; trap 'exit 7' TERM; sleep 1000 & wait";
            let container = Recorded::container(&[], None, &["/bin/sh", "-c", script]);
            let id = crio.create(&container, "").unwrap();
            crio.call(&["start", &id]).ok();
            let exec = crio.exec_sync(&container, &["/bin/sh", "-c", "echo o; exit 5"]);
            let missing = crio.exec(&container, &["/nowhere"]);
            let updated = crio.update(&container, r#"{"cpu":{"quota":50000,"period":100000}}"#);
            let paused = [crio.call(&["pause", &id]), crio.call(&["resume", &id])];
            wait_for(|| logged(&container.log()).lines().count() == 2);
            crio.call(&["kill", &id, "15"]).ok();
            let exit = Path::new("/run/crio/exits").join(&id);
            wait_for(|| exit.exists());
            let code = fs::read_to_string(&exit).unwrap();
            fs::remove_file(exit).unwrap();
            crio.call(&["delete", "--force", &id]).ok();
            // CRI-O looks for "no such process", "container not running" and "invalid process".
            let gone = crio.call(&["kill", &id, "KILL"]);
            let done = |d: Done| (d.code, d.out, general(&d.err.replace(&id, "ID")));
            let calls = paused.into_iter().chain([updated, missing, gone]).map(done);
            (
                code,
                logged(&container.log()),
                exec,
                calls.collect::<Vec<_>>(),
            )
        };
        let plain = seen(PathBuf::from(
            run("sh", ["-c", &format!("command -v {runtime}")])
                .ok()
                .trim(),
        ));
        assert_eq!(plain.0, "7");
        assert_eq!(plain.2, Ok((5, "o\n".to_owned())));
        assert_eq!(seen(wrapper(runtime)), plain);

        // systemd's cgroups, where there is no systemd: what the runtime says to that reaches us.
        let crio = Played::new(runtime);
        let container = Recorded::container(&[], None, &SLEEPS);
        let message = crio.create(&container, "-s").unwrap_err();
        assert!(!message.contains("oci-apparmor"), "{message}");
        crio.call(&["--systemd-cgroup", "delete", "--force", &container.id]);
    }
}

/// A message without the time at its beginning, as runc and crun have it.
fn general(text: &str) -> String {
    let words = text
        .split(' ')
        .filter(|word| !word.starts_with("time=") && !word.starts_with("20"));
    words.collect::<Vec<_>>().join(" ")
}

/// What the author of a pod writes in order to be taken for another: for a container of a pod of
/// another namespace, which the node demands nothing of, and which podman has made.
pub(crate) const FORGED: [(&str, &str); 9] = [
    (MANAGER, "libpod"),
    (TYPE, "container"),
    ("io.kubernetes.cri-o.Namespace", "kube-system"),
    ("io.kubernetes.cri-o.KubeName", "other"),
    ("io.kubernetes.cri-o.Name", "k8s_web_other_kube-system_x_0"),
    ("io.kubernetes.container.name", "web"),
    ("io.kubernetes.pod.name", "other"),
    ("io.kubernetes.pod.namespace", "kube-system"),
    ("io.kubernetes.pod.uid", "x"),
];

#[test]
fn a_pod_of_crio_cannot_shed_what_the_node_demands_of_its_sandbox() {
    let _world = world();
    sources();
    profile("sandboxes");
    profile("other");
    load(&profile_text(DEFAULT, ""));
    fs::write(
        CONFIG,
        "sandbox_profile = 'sandboxes'\nexempt_namespaces = ['kube-system']\n",
    )
    .unwrap();
    let asks = |value: &str| pairs(&[("container.oci-apparmor/web", value)]);
    for (number, as_labels) in [false, true].into_iter().enumerate() {
        let crio = Played::new(RUNTIMES[number]);
        let forged = |more: &[(&str, &str)]| {
            let mut pod = OfPod::new(&asks(PROFILE));
            let to = match as_labels {
                true => &mut pod.labels,
                false => &mut pod.annotations,
            };
            to.extend(pairs(&[&FORGED, more].concat()));
            pod
        };
        // What would make it another container's bundle, or that of a container of itself.
        for key in [ID, SANDBOX_ID] {
            let pod = forged(&[(key, "6666")]);
            let message = crio.create(&Recorded::sandbox(&pod), "").unwrap_err();
            assert!(
                message.contains("oci-apparmor: create of container ") && message.contains("6666"),
                "{message}"
            );
        }
        let pod = forged(&[]);
        let sandbox = Recorded::sandbox(&pod);
        let id = crio.create(&sandbox, "").unwrap();
        crio.call(&["start", &id]).ok();
        wait_for(|| crio.label(&id).contains("sandboxes"));
        assert!(crio.label(&id).contains("(enforce)"), "{}", crio.label(&id));
        // The sandbox still says what its containers' annotations were.
        let edited = OfPod {
            annotations: asks("other"),
            ..pod.clone()
        };
        let edited = OfPod {
            annotations: [edited.annotations.clone(), pod.annotations[1..].to_vec()].concat(),
            ..edited
        };
        let web = OfContainer::new(&edited, "web");
        let container = Recorded::of(&edited, &web, Some(DEFAULT), &SLEEPS);
        let message = crio.create(&container, "").unwrap_err();
        assert!(
            message.contains("has changed since the pod was created"),
            "{message}"
        );
        let web = OfContainer::new(&pod, "web");
        let container = Recorded::of(&pod, &web, Some(DEFAULT), &SLEEPS);
        let id = crio.create(&container, "").unwrap();
        crio.call(&["start", &id]).ok();
        let both = format!("{PROFILE} (enforce)\n").repeat(2);
        assert_eq!(crio.exec(&container, &LABELS).ok(), both);
        crio.end(&container);
        crio.end(&sandbox);
    }
    assert_eq!(records(), Vec::<PathBuf>::new());
}

/// CRI-O copies a pod's labels to its sandbox only, so they are no way to name a profile.
#[test]
fn a_label_of_a_pod_of_crio_names_no_profile() {
    let _world = world();
    sources();
    load(&profile_text(DEFAULT, ""));
    let crio = Played::new("runc");
    let pod = OfPod {
        labels: pairs(&[("oci-apparmor/profile", PROFILE)]),
        ..OfPod::new(&[])
    };
    let sandbox = Recorded::sandbox(&pod);
    let id = crio.create(&sandbox, "").unwrap();
    crio.call(&["start", &id]).ok();
    let web = OfContainer::new(&pod, "web");
    let container = Recorded::of(&pod, &web, Some(DEFAULT), &SLEEPS);
    let message = crio.create(&container, "").unwrap_err();
    assert!(
        message.contains("\"oci-apparmor/profile\" has changed"),
        "{message}"
    );
    crio.end(&sandbox);
}

/// crictl, and other clients that are no kubelet.
#[test]
fn a_container_of_crio_without_the_kubelets_labels_has_its_name() {
    let _world = world();
    sources();
    load(&profile_text(DEFAULT, ""));
    for (runtime, family) in RUNTIMES.into_iter().zip([
        "container.oci-apparmor/",
        "container.apparmor.security.beta.kubernetes.io/",
    ]) {
        unload(PROFILE);
        let crio = Played::new(runtime);
        let key = |name: &str| format!("{family}{name}");
        let asks = [
            (key("web"), format!("localhost/{PROFILE}")),
            (key("other"), "localhost/nosuch".to_owned()),
        ];
        let pod = OfPod::new(&asks);
        let web = OfContainer::of_crictl(&pod, "web");
        let container = Recorded::of(&pod, &web, Some(DEFAULT), &SLEEPS);
        let id = crio.create(&container, "").unwrap();
        crio.call(&["start", &id]).ok();
        let both = format!("{PROFILE} (enforce)\n").repeat(2);
        assert_eq!(crio.exec(&container, &LABELS).ok(), both);
        crio.end(&container);
        // An annotation of the pod in the place of the label that is missing.
        let forged = pairs(&[("io.kubernetes.container.name", "web")]);
        let pod = OfPod::new(&[&asks[..], &forged].concat());
        let other = OfContainer::of_crictl(&pod, "third");
        let container = Recorded::of(&pod, &other, Some(DEFAULT), &SLEEPS);
        let message = crio.create(&container, "").unwrap_err();
        assert!(message.contains("contradict each other"), "{message}");
    }
}

/// Nothing of the checkpoint is looked at before this: what is refused needs none.
#[test]
fn crio_restores_no_container_by_what_its_checkpoint_image_says() {
    let _world = world();
    sources();
    profile("other");
    load(&profile_text(DEFAULT, ""));
    let crio = Played::new("runc");
    let image = Path::new("/run/no-checkpoint");
    let pod = OfPod::new(&pairs(&[("container.oci-apparmor/web", PROFILE)]));
    let refusal = |of_image: &[(&str, &str)]| {
        let web = OfContainer::restored(&pod, "web", of_image);
        let container = Recorded::of(&pod, &web, Some(DEFAULT), &SLEEPS);
        let message = crio.restore(&container, image).unwrap_err();
        assert_eq!(record_of(&container.id), None);
        message
    };
    let asks = ("oci-apparmor/profile", "other");
    for with_sandbox in [true, false] {
        let sandbox = Recorded::sandbox(&pod);
        if with_sandbox {
            let id = crio.create(&sandbox, "").unwrap();
            crio.call(&["start", &id]).ok();
        }
        for of_image in [
            &[(ID, "6666")][..],
            &[(ID, ""), (MANAGER, "libpod"), asks],
            &[(METADATA, "{\"name\":\"other\"}"), asks],
            &[asks],
            &[("container.oci-apparmor/web", "other")],
            &[
                ("io.kubernetes.container.name", "other"),
                ("container.oci-apparmor/other", "other"),
            ],
            &[(MANAGER, "libpod"), (TYPE, "sandbox"), asks],
        ] {
            let message = refusal(of_image);
            assert!(
                message
                    .starts_with("container restore failed: oci-apparmor: restore of container ")
                    && message.contains(" refused: "),
                "{with_sandbox} {of_image:?}: {message}"
            );
        }
        if with_sandbox {
            crio.end(&sandbox);
        }
    }
}
