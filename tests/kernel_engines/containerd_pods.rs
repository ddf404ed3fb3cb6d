//! Pods under containerd: the examples of `examples/kubernetes`, as each version of Kubernetes
//! hands them to the engine, and what is refused.

use std::fs;
use std::path::Path;

use crate::containerd::*;
use crate::cri_client::*;
use crate::cri_messages::*;
use crate::cri_pod::*;
use crate::support::containers::*;
use crate::support::kubernetes::{self, admitted, example};

/// The profile of the examples, and the one of their manifest.
pub(crate) const PROFILE: &str = "oci-apparmor-demo";
pub(crate) const OF_MANIFEST: &str = "web-read-only";

/// Puts the examples' sources on the node; nothing of them is loaded.
pub(crate) fn sources() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let text = |file: &str| fs::read_to_string(examples.join(file)).unwrap();
    source(PROFILE, &text(PROFILE));
    unload(OF_MANIFEST);
    source("team.yaml", &text("kubernetes/web-read-only.yaml"));
}

/// The pod of an example, as the kubelet of `1.minor` gets it.
pub(crate) fn pod(name: &str, minor: u32) -> kubernetes::Pod {
    admitted(&example(&format!("{name}.yaml"))[0], minor)
}

/// Its sandbox, with the annotations of the example.
pub(crate) fn sandbox<'c>(cri: &'c Cri, pod: &kubernetes::Pod, runtime: &str) -> Pod<'c> {
    Pod::run(cri, &pod.name, &handler(runtime), &pod.annotations).unwrap()
}

/// That the engine answers with our line, which says all of these.
#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Refusal>, words: &[&str]) {
    let message = answer.unwrap_err();
    for word in [&["oci-apparmor: ", " refused: "], words].concat() {
        assert!(message.contains(word), "{word:?} is missing in {message:?}");
    }
}

/// Examples, versions of Kubernetes, and the profile that the container gets.
pub(crate) const ALL: [(&str, u32, Told, &str); 8] = [
    ("container-annotation", 36, Told::Both, PROFILE),
    ("pod-annotation", 36, Told::Both, PROFILE),
    ("beta-annotation", 29, Told::Deprecated, PROFILE),
    ("beta-annotation", 36, Told::Both, PROFILE),
    ("field-and-annotation", 36, Told::Both, PROFILE),
    // The API server has added the annotation.
    ("field", 33, Told::Both, PROFILE),
    ("runtime-default", 36, Told::Both, PROFILE),
    ("web-read-only-pod", 36, Told::Both, OF_MANIFEST),
];

/// The profile is not loaded before any of these, and it is no later than the sandbox.
#[test]
fn every_example_runs_under_its_profile() {
    let _world = world();
    sources();
    let containerd = Containerd::start();
    for runtime in RUNTIMES {
        for (number, (name, minor, told, profile)) in ALL.into_iter().enumerate() {
            // The annotations are ours to read, and crun is only told the outcome.
            if runtime == "crun" && number % 3 != 0 {
                continue;
            }
            let what = format!("{name} of 1.{minor} with {runtime}");
            unload(profile);
            let pod = pod(name, minor);
            assert_eq!(pod.handler, OURS);
            let sandbox = sandbox(&containerd.cri, &pod, runtime);
            assert!(loaded(profile).is_some(), "{what}");
            let id = sandbox.started(&Pod::of_example(&pod.containers[0], told));
            sandbox.assert_confined(&id, profile);
            if name == "container-annotation" {
                streams_are_confined(&sandbox, &id);
            }
            if profile == OF_MANIFEST && label_runtimes() {
                // Nothing in such a manifest can allow signals of a runtime that has a label.
                let refused = sandbox.stop(&id, 0).unwrap_err();
                assert!(refused.contains("unable to signal init"), "{refused}");
                unload("runc");
                unload("crun");
            }
            sandbox.end(&id);
            sandbox.remove();
        }
    }
}

/// `kubectl exec`, with a terminal and without.
fn streams_are_confined(pod: &Pod<'_>, id: &str) {
    let exec = pod.streamed(id, &["cat", "/proc/self/attr/current"], false, "");
    assert_eq!(exec.stdout, format!("{PROFILE} (enforce)\n"), "{exec:?}");
    assert!(exec.status.contains("Success"), "{exec:?}");
    // It lives on for a while: containerd loses what a terminal said just before it ended.
    let terminal = "read line; [ -t 0 ] && cat /proc/self/attr/current; sleep 3";
    let exec = pod.streamed(id, &["sh", "-c", terminal], true, "go\n");
    let said = format!("go\r\n{PROFILE} (enforce)\r\n");
    assert_eq!(exec.stdout, said, "{exec:?}");
    let denied = pod.exec(id, &["touch", "/data/x"]).unwrap();
    assert_ne!(denied.exit_code, 0, "{denied:?}");
}

#[test]
fn containerd_refuses_a_field_alone_until_the_profile_is_loaded() {
    let _world = world();
    sources();
    let containerd = Containerd::start();
    let field = pod("field", 36);
    let sandbox = sandbox(&containerd.cri, &field, "runc");
    assert_eq!(loaded(PROFILE), None);
    for told in [Told::Both, Told::Deprecated] {
        let refused = sandbox.create(&Pod::of_example(&field.containers[0], told));
        let expected =
            format!("failed to generate apparmor spec opts: apparmor profile not found {PROFILE}");
        assert!(refused.unwrap_err().contains(&expected));
    }
    // What oci-apparmor-preload.service does.
    run(installed("oci-apparmor"), ["load", "--all"]).ok();
    for told in [Told::Both, Told::Deprecated] {
        let id = sandbox
            .create(&Pod::of_example(&field.containers[0], told))
            .unwrap();
        // Gone again, after containerd has looked.
        unload(PROFILE);
        sandbox.start(&id).unwrap();
        sandbox.assert_confined(&id, PROFILE);
        sandbox.end(&id);
    }
    sandbox.remove();
}

#[test]
fn a_refusal_is_what_the_kubelet_is_told() {
    let _world = world();
    sources();
    let containerd = Containerd::start();
    let cri = &containerd.cri;
    for runtime in RUNTIMES {
        unload(PROFILE);
        let example = pod("pod-annotation", 36);
        let mut absent = pod("pod-annotation", 36);
        for value in absent.annotations.values_mut() {
            *value = "localhost/nosuch".to_owned();
        }
        let pod = sandbox(cri, &absent, runtime);
        let sleeps = Pod::container("web", &["sleep", "infinity"]);
        let id = pod.create(&sleeps).unwrap();
        let words = [
            "OCI runtime create failed: ",
            "nosuch",
            "is not loaded, and there is no file",
        ];
        assert_refused(pod.start(&id), &words);
        let status = pod.status(&id);
        let of_status = (status.state, status.reason.as_str(), status.exit_code);
        assert_eq!(of_status, (EXITED, "StartError", 128));
        assert_refused::<()>(Err(status.message), &words);
        pod.remove_container(&id);
        pod.remove();

        // exec, where the profile has gone for good.
        let pod = sandbox(cri, &example, runtime);
        let id = pod.started(&sleeps);
        pod.assert_confined(&id, PROFILE);
        let file = Path::new(PROFILES).join(PROFILE);
        let text = fs::read_to_string(&file).unwrap();
        fs::remove_file(&file).unwrap();
        unload(PROFILE);
        assert_refused(
            pod.exec(&id, &["true"]),
            &["OCI runtime exec failed: ", PROFILE],
        );
        let shown = pod.streamed(&id, &["true"], false, "");
        assert!(shown.status.contains("oci-apparmor: "), "{shown:?}");
        source(PROFILE, &text);
        pod.end(&id);
        pod.remove();

        // A sandbox, where it is not known what the node demands.
        fs::write(CONFIG, "flor = 'x'\n").unwrap();
        let refused = Pod::run(cri, "broken", &handler(runtime), &Map::new());
        fs::remove_file(CONFIG).unwrap();
        assert_refused(
            refused.map(Pod::forget),
            &["OCI runtime create failed: ", "line 1"],
        );
    }
}

#[test]
fn annotations_are_those_of_the_sandbox() {
    let _world = world();
    sources();
    profile("other");
    let mut containerd = Containerd::start();
    let sleeps = Pod::container("web", &["sleep", "infinity"]);
    let again = "delete the pod and create it again";

    let mut edited = sandbox(&containerd.cri, &pod("container-annotation", 36), "runc");
    for annotations in [
        Map::new(),
        [("container.oci-apparmor/web".to_owned(), "other".to_owned())].into(),
    ] {
        let as_it_was = std::mem::replace(&mut edited.config.annotations, annotations);
        let id = edited.create(&sleeps).unwrap();
        assert_refused(edited.start(&id), &["container.oci-apparmor/web", again]);
        edited.remove_container(&id);
        edited.config.annotations = as_it_was;
    }
    let id = edited.started(&sleeps);
    edited.assert_confined(&id, PROFILE);
    edited.remove();

    // A pod from before the annotations were passed on, and one from before the wrapper.
    let annotations = pod("pod-annotation", 36).annotations;
    let told_late = Pod::run(&containerd.cri, "late", LATE, &annotations).unwrap();
    let late = (told_late.config.clone(), told_late.forget());
    let plain = Pod::run(&containerd.cri, "plain", "", &annotations).unwrap();
    let plain = (plain.config.clone(), plain.forget());
    drop(containerd);
    containerd = Containerd::start_with(Wiring {
        default: OURS,
        late_is_told: true,
    });
    let late = Pod::known(&containerd.cri, late);
    let id = late.create(&sleeps).unwrap();
    assert_refused(late.start(&id), &["oci-apparmor/profile", again]);
    late.remove_container(&id);
    late.remove();
    let plain = Pod::known(&containerd.cri, plain);
    let id = plain.started(&sleeps);
    // containerd keeps the runtime that the pod was made with.
    let label = plain.said(&id, &["cat", "/proc/self/attr/current"]);
    assert_eq!(label, "cri-containerd.apparmor.d (enforce)\n");
    assert_eq!(record_of(&id), None);
    plain.remove();
}

/// A container that shares its pod's process namespace can end the sandbox's process; the kubelet
/// then makes another sandbox of the same pod.
#[test]
fn a_pod_keeps_its_annotations_in_its_next_sandbox() {
    let _world = world();
    sources();
    profile("other");
    let containerd = Containerd::start();
    let sleeps = Pod::container("web", &["sleep", "infinity"]);
    let handler = handler("runc");
    let as_it_was = pod("container-annotation", 36).annotations;
    let first = Pod::run(&containerd.cri, "next", &handler, &as_it_was).unwrap();
    let mut config = first.config.clone();
    first.remove();
    config.metadata.as_mut().unwrap().attempt = 1;
    for annotations in [
        Map::new(),
        [("container.oci-apparmor/web".to_owned(), "other".to_owned())].into(),
    ] {
        config.annotations = annotations;
        let refused = Pod::run_as_configured(&containerd.cri, config.clone(), &handler);
        let words = [
            "container.oci-apparmor/web",
            "has changed since the pod was created",
        ];
        assert_refused(refused.map(Pod::forget), &words);
    }
    config.annotations = as_it_was;
    let second = Pod::run_as_configured(&containerd.cri, config.clone(), &handler).unwrap();
    let id = second.started(&sleeps);
    second.assert_confined(&id, PROFILE);
    second.end(&id);
    second.remove();
    // A pod of this name that is another has another UID.
    config.metadata.as_mut().unwrap().uid = "another".to_owned();
    config.annotations = Map::new();
    Pod::run_as_configured(&containerd.cri, config, &handler)
        .unwrap()
        .remove();
}
