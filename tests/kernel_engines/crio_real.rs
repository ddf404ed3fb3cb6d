//! What a node with CRI-O has to hold, with CRI-O itself.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::containerd::OURS;
use crate::containerd_pods::{ALL, OF_MANIFEST, PROFILE, assert_refused, pod, sources};
use crate::cri_messages::*;
use crate::cri_pod::*;
use crate::crio::*;
use crate::crio_annotations::*;
use crate::crio_calls::*;
use crate::crio_recorded::DEFAULT;
use crate::debian_release::Release;
use crate::support::containers::*;
use crate::support::kubernetes;

const SLEEPS: [&str; 2] = ["sleep", "infinity"];

/// Annotations whose values are places, times, or of an image.
const VARYING: [&str; 15] = [
    "io.kubernetes.cri-o.CgroupParent",
    "io.kubernetes.cri-o.Created",
    "io.kubernetes.cri-o.HostName",
    "io.kubernetes.cri-o.HostnamePath",
    "io.kubernetes.cri-o.ImageName",
    "io.kubernetes.cri-o.ImageRef",
    "io.kubernetes.cri-o.ImageRepoDigests",
    "io.kubernetes.cri-o.LogPath",
    "io.kubernetes.cri-o.MountPoint",
    "io.kubernetes.cri-o.NamespaceOptions",
    "io.kubernetes.cri-o.ResolvPath",
    "io.kubernetes.cri-o.SeccompProfilePath",
    "io.kubernetes.cri-o.ShmPath",
    "io.kubernetes.cri-o.Volumes",
    "platform-runtime-path.crio.io",
];

const FORGED: &str = "forged";

/// That the recording is what CRI-O writes: the same keys, and behind each the same text. Where this
/// is one of CRI-O's places and times, it counts as the same, unless it is forged.
#[track_caller]
fn assert_recorded(
    what: &str,
    real: &serde_json::Map<String, Value>,
    recorded: &serde_json::Map<String, Value>,
) {
    let plain = |all: &serde_json::Map<String, Value>| -> serde_json::Map<String, Value> {
        let mut all = all.clone();
        for (key, value) in &mut all {
            if VARYING.contains(&key.as_str()) && value != FORGED {
                *value = json!("CRI-O's");
            }
            // JSON whose members have no order.
            let json = value.as_str().and_then(|t| serde_json::from_str(t).ok());
            if let Some(object @ Value::Object(_)) = json {
                *value = object;
            }
        }
        all
    };
    let (real, recorded) = (plain(real), plain(recorded));
    let differ: Vec<_> = real
        .keys()
        .chain(recorded.keys())
        .filter(|&key| real.get(key) != recorded.get(key))
        .map(|key| (key, real.get(key), recorded.get(key)))
        .collect();
    assert!(
        differ.is_empty(),
        "{what}: key, real, recorded: {differ:#?}"
    );
}

#[test]
fn crio_writes_annotations_in_the_order_that_was_recorded() {
    let _world = world();
    for drop_infra in [false, true] {
        let Some(crio) = CriO::start(Setup {
            drop_infra,
            ..SETUP
        }) else {
            return;
        };
        println!("{:?}", crio.version());
        let honest = OfPod {
            name: "honest".to_owned(),
            has_infra: !drop_infra,
            labels: pairs(&[("app", "web")]),
            ..OfPod::new(&pairs(&[("team/note", "x")]))
        };
        // Each key that CRI-O writes itself, as an annotation of the pod; but those of features that
        // its configuration has to allow, which it drops (`FilterDisallowedAnnotations`).
        let all = honest.sandbox().into_iter();
        let all = all.chain(OfContainer::new(&honest, "web").annotations(&honest));
        let keys: Vec<_> = all
            .map(|(key, _)| key)
            .filter(|key| !key.ends_with(".crio.io"))
            .collect();
        let forged: Pairs = keys
            .iter()
            .map(|k| (k.clone(), FORGED.to_owned()))
            .collect();
        let forger = OfPod {
            name: "forger".to_owned(),
            annotations: forged,
            labels: pairs(&[(TYPE, "of-a-label")]),
            ..honest.clone()
        };
        for mut pod in [honest, forger] {
            // Without the wrapper, which has its own mind about such pods.
            pod.handler = "runc".to_owned();
            let real = crio.pod(&pod, &pod.handler).unwrap();
            pod.sandbox.clone_from(&real.id);
            assert_recorded(&pod.name, &annotations(&real.id), &pod.sandbox());
            for container in [
                OfContainer::new(&pod, "web"),
                OfContainer::of_crictl(&pod, "other"),
            ] {
                let config = told(&container, Pod::container(&container.name, &SLEEPS));
                let id = real.create(&config).unwrap();
                let container = OfContainer {
                    id: id.clone(),
                    ..container
                };
                let what = format!("{} of {}", container.name, pod.name);
                assert_recorded(&what, &annotations(&id), &container.annotations(&pod));
            }
            real.remove();
        }
    }
}

/// The calls of the runtime, each once: words and names of variables, without ids and places.
fn calls() -> BTreeSet<String> {
    let text = fs::read_to_string(TRACE).unwrap_or_default();
    let _ = fs::remove_file(TRACE);
    let general = |word: &str| {
        let id = word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
        match word.rsplit_once('/') {
            Some((before, _)) if !word.contains(TRACED) => match before.split_once('=') {
                Some((option, _)) => format!("{option}=PATH"),
                None => "PATH".to_owned(),
            },
            _ if id => "ID".to_owned(),
            _ => word.to_owned(),
        }
    };
    let line = |line: &str| line.split(' ').map(general).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect()
}

#[test]
fn crio_calls_the_runtime_as_recorded() {
    let _world = world();
    let Some(crio) = CriO::start(SETUP) else {
        return;
    };
    let _ = fs::remove_file(TRACE);
    let of_pod = OfPod::new(&[]);
    let pod = crio.pod(&of_pod, TRACED).unwrap();
    let web = OfContainer::new(&of_pod, "web");
    let id = pod.started(&told(&web, Pod::container("web", &SLEEPS)));
    assert_eq!(pod.exec(&id, &["true"]).unwrap().exit_code, 0);
    pod.streamed(&id, &["true"], false, "");
    let quota = Resources {
        cpu_period: 100_000,
        cpu_quota: 50_000,
        ..Resources::default()
    };
    let update = Update {
        container_id: id.clone(),
        linux: Some(quota),
    };
    let Empty {} = crio.cri.call("UpdateContainerResources", &update).unwrap();
    pod.end(&id);
    pod.remove();
    let real = calls();

    let played = Played {
        runtime: traced(),
        root: format!("/run/{TRACED}"),
    };
    let sandbox = Recorded::sandbox(&of_pod);
    played.create(&sandbox, "").unwrap();
    played.call(&["start", &sandbox.id]).ok();
    let container = Recorded::of(&of_pod, &web, None, &["/bin/sleep", "1000"]);
    played.create(&container, "").unwrap();
    played.call(&["start", &container.id]).ok();
    played.exec_sync(&container, &["/bin/true"]).unwrap();
    played.exec(&container, &["/bin/true"]).ok();
    played
        .update(&container, "{\"cpu\":{\"quota\":50000,\"period\":100000}}")
        .ok();
    played.end(&container);
    played.end(&sandbox);
    assert_eq!(calls(), real);
}

/// The pod of an example, as the kubelet has it.
fn of_example(pod: &kubernetes::Pod) -> OfPod {
    let annotations: Pairs = pod.annotations.clone().into_iter().collect();
    OfPod {
        name: pod.name.clone(),
        ..OfPod::new(&annotations)
    }
}

/// Nothing is loaded before, and a sandbox may do without a container.
#[test]
fn every_example_runs_under_its_profile_under_crio() {
    let _world = world();
    sources();
    // crun 1.8 refuses the version of the specification that CRI-O's bundles have.
    let other = match Release::current() {
        Release::Bookworm => "runc",
        Release::Trixie => "crun",
    };
    for (runtime, drop_infra) in [("runc", false), (other, true)] {
        let setup = Setup {
            runtime,
            drop_infra,
            set_default: drop_infra,
        };
        let Some(crio) = CriO::start(setup) else {
            return;
        };
        for (number, (name, minor, of_kubelet, profile)) in ALL.into_iter().enumerate() {
            // Nothing in such a manifest can allow the signals of a runtime that has a label.
            if profile == OF_MANIFEST || (drop_infra && number % 3 != 0) {
                continue;
            }
            unload(profile);
            let example = pod(name, minor);
            let of_pod = of_example(&example);
            // Without a RuntimeClass where the wrapper is the default.
            let handler = if setup.set_default { "" } else { OURS };
            let pod = crio.pod(&of_pod, handler).unwrap();
            let first = &example.containers[0];
            let config = Pod::of_example(first, of_kubelet);
            let id = pod.started(&told(&OfContainer::new(&of_pod, &first.name), config));
            println!("{name} of 1.{minor} with {runtime}");
            pod.assert_confined(&id, profile);
            let streamed = pod.streamed(&id, &["cat", "/proc/self/attr/current"], false, "");
            assert_eq!(streamed.stdout, format!("{profile} (enforce)\n"));
            assert_ne!(pod.exec(&id, &["touch", "/data/x"]).unwrap().exit_code, 0);
            pod.end(&id);
            pod.remove();
        }
    }
}

#[test]
fn crio_tells_the_kubelet_why_a_container_is_refused() {
    let _world = world();
    sources();
    profile("other");
    let Some(crio) = CriO::start(SETUP) else {
        return;
    };
    let asks = |value: &str| OfPod::new(&pairs(&[("container.oci-apparmor/web", value)]));
    let web = |of_pod: &OfPod| {
        told(
            &OfContainer::new(of_pod, "web"),
            Pod::container("web", &SLEEPS),
        )
    };
    let created = "container create failed: oci-apparmor: create of container ";
    let absent = asks("localhost/nosuch");
    let pod = crio.pod(&absent, OURS).unwrap();
    assert_refused(
        pod.create(&web(&absent)),
        &[created, "nosuch", "is not loaded, and there is no file"],
    );
    // The field, too: CRI-O does not look.
    let mut config = web(&absent);
    config.metadata.as_mut().unwrap().name = "field".to_owned();
    security(&mut config).apparmor = Some(SecurityProfile {
        profile_type: LOCALHOST,
        localhost_ref: "absent".to_owned(),
    });
    config.labels.insert(
        "io.kubernetes.container.name".to_owned(),
        "field".to_owned(),
    );
    assert_refused(
        pod.create(&config),
        &[created, "absent", "is not loaded, and there is no file"],
    );
    pod.remove();

    // A weaker one than what CRI-O chose.
    let weaker = asks("unconfined");
    let pod = crio.pod(&weaker, OURS).unwrap();
    assert_refused(pod.create(&web(&weaker)), &[created, "unconfined"]);
    pod.remove();

    // One that is gone for good.
    let of_pod = asks(PROFILE);
    let pod = crio.pod(&of_pod, OURS).unwrap();
    let id = pod.started(&web(&of_pod));
    let file = std::path::Path::new(PROFILES).join(PROFILE);
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    unload(PROFILE);
    assert_refused(pod.exec(&id, &["true"]), &[PROFILE]);
    let shown = pod.streamed(&id, &["true"], false, "");
    assert!(format!("{shown:?}").contains("oci-apparmor: "), "{shown:?}");
    source(PROFILE, &text);
    pod.end(&id);
    pod.remove();

    // A sandbox, where it is not known what the node demands.
    fs::write(CONFIG, "flor = 'x'\n").unwrap();
    let refused = crio.pod(&of_pod, OURS);
    fs::remove_file(CONFIG).unwrap();
    assert_refused(refused.map(Pod::forget), &[created, "line 1"]);
}

#[test]
fn a_pod_of_crio_that_asks_for_nothing_or_for_unconfined_has_what_crio_chose() {
    let _world = world();
    let Some(crio) = CriO::start(SETUP) else {
        return;
    };
    let of_pod = OfPod::new(&[]);
    let pod = crio.pod(&of_pod, OURS).unwrap();
    let chosen = [
        ("nothing", None, format!("{DEFAULT} (enforce)")),
        (
            "default",
            Some(RUNTIME_DEFAULT),
            format!("{DEFAULT} (enforce)"),
        ),
        // CRI-O writes this word where containerd leaves the field empty.
        ("unconfined", Some(UNCONFINED), "unconfined".to_owned()),
    ];
    for (name, field, label) in chosen {
        let mut config = Pod::container(name, &SLEEPS);
        security(&mut config).apparmor = field.map(|profile_type| SecurityProfile {
            profile_type,
            localhost_ref: String::new(),
        });
        let id = pod.started(&told(&OfContainer::new(&of_pod, name), config));
        let files = ["cat", "/proc/1/attr/current", "/proc/self/attr/current"];
        assert_eq!(
            pod.said(&id, &files),
            format!("{label}\n").repeat(2),
            "{name}"
        );
        pod.end(&id);
    }
    pod.remove();
}
