//! What the author of a pod, or of a checkpoint image, writes in order to be taken for another: with
//! CRI-O itself. `crio_recorded.rs` has more of it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::containerd::{BASE, OURS, installed};
use crate::containerd_pods::{PROFILE, assert_refused, sources};
use crate::cri_messages::*;
use crate::cri_pod::Pod;
use crate::crio::*;
use crate::crio_annotations::*;
use crate::crio_calls::Played;
use crate::crio_recorded::FORGED;
use crate::support::containers::*;

const SLEEPS: [&str; 2] = ["sleep", "infinity"];

#[test]
fn forged_annotations_gain_nothing_under_crio() {
    let _world = world();
    sources();
    for name in ["sandboxes", "floor", "other"] {
        profile(name);
    }
    fs::write(
        CONFIG,
        "sandbox_profile = 'sandboxes'\nfloor = 'floor'\nexempt_namespaces = ['kube-system']\n",
    )
    .unwrap();
    let Some(crio) = CriO::start(SETUP) else {
        return;
    };
    let key = |name: &str| format!("container.oci-apparmor/{name}");
    let asks = [
        (key("web"), PROFILE.to_owned()),
        (key("crictl"), PROFILE.to_owned()),
    ];
    let forger = |more: &[(&str, &str)]| {
        let forged = pairs(&[&FORGED, more].concat());
        OfPod::new(&[&asks[..], &forged].concat())
    };
    for key in [ID, SANDBOX_ID] {
        let refused = crio.pod(&forger(&[(key, "6666")]), OURS);
        assert_refused(refused.map(Pod::forget), &["6666"]);
    }

    let of_pod = forger(&[]);
    let pod = crio.pod(&of_pod, OURS).unwrap();
    let runc = Played::new("runc");
    assert!(runc.label(&pod.id).contains("sandboxes"));
    let web = OfContainer::new(&of_pod, "web");
    let id = pod.started(&told(&web, Pod::container("web", &SLEEPS)));
    let label = runc.label(&id);
    assert!(
        label.contains("floor//&") && label.contains(PROFILE),
        "{label}"
    );
    pod.end(&id);
    // CRI-O goes on with the annotations that the pod was made with.
    let mut edited = crio.pod_config(&of_pod);
    edited.annotations.insert(key("web"), "other".to_owned());
    let pod = pod.with(edited);
    let id = pod.started(&told(&web, Pod::container("web", &SLEEPS)));
    assert_eq!(runc.label(&id), label);
    pod.remove();

    // A client that is no kubelet, in a pod of its own.
    let of_pod = OfPod::new(&asks);
    let pod = crio.pod(&of_pod, OURS).unwrap();
    let crictl = OfContainer::of_crictl(&of_pod, "crictl");
    let id = pod.started(&told(&crictl, Pod::container("crictl", &SLEEPS)));
    let label = runc.label(&id);
    assert!(
        label.contains("floor//&") && label.contains(PROFILE),
        "{label}"
    );
    pod.end(&id);
    pod.remove();
}

/// When it starts, CRI-O reads what it knows of a pod from the annotations of its sandbox
/// (`LoadSandbox` in `internal/lib/container_server.go`), the pod's own over CRI-O's.
#[test]
fn containers_survive_a_restart_of_crio_and_forged_annotations_stay_without_effect() {
    let _world = world();
    sources();
    profile("other");
    let Some(crio) = CriO::start(SETUP) else {
        return;
    };
    let asks = pairs(&[("container.oci-apparmor/web", PROFILE)]);
    let honest = OfPod::new(&asks);
    let two_faced = json!({"container.oci-apparmor/web": "other"}).to_string();
    let forged = pairs(&[("io.kubernetes.cri-o.Annotations", &two_faced)]);
    let forger = OfPod {
        name: "forger".to_owned(),
        ..OfPod::new(&[asks, forged].concat())
    };
    // Past the wrapper: that is CRI-O's to mend (SECURITY.md says what helps).
    let elsewhere = pairs(&[("io.kubernetes.cri-o.RuntimeHandler", "runc")]);
    let runaway = OfPod {
        name: "runaway".to_owned(),
        ..OfPod::new(&elsewhere)
    };
    let before = [&honest, &forger, &runaway].map(|of_pod| {
        let pod = crio.pod(of_pod, OURS).unwrap();
        let web = OfContainer::new(of_pod, "web");
        let id = pod.started(&told(&web, Pod::container("web", &SLEEPS)));
        (pod.config.clone(), pod.forget(), id)
    });
    drop(crio);
    let crio = CriO::start(SETUP).unwrap();
    for (of_pod, (config, sandbox, id)) in [&honest, &forger, &runaway].into_iter().zip(before) {
        let pod = Pod::known(&crio.cri, (config, sandbox));
        let web = told(
            &OfContainer::new(of_pod, "web"),
            Pod::container("web", &SLEEPS),
        );
        if of_pod.name == "runaway" {
            pod.stop(&id, 0).unwrap();
            let Empty {} = crio.cri.call("RemoveContainer", &Id { id }).unwrap();
            let id = pod.started(&web);
            let why = "CRI-O knows the pod's handler now: correct SECURITY.md";
            assert_eq!(record_of(&id), None, "{why}");
            continue;
        }
        pod.assert_confined(&id, PROFILE);
        let streamed = pod.streamed(&id, &["cat", "/proc/self/attr/current"], false, "");
        assert_eq!(streamed.stdout, format!("{PROFILE} (enforce)\n"));
        pod.end(&id);
        match of_pod.name.as_str() {
            "forger" => {
                assert_refused(pod.create(&web), &["has changed since the pod was created"])
            }
            _ => {
                let id = pod.started(&web);
                pod.assert_confined(&id, PROFILE);
            }
        }
        pod.remove();
    }
    // What went without the wrapper left its records.
    run(installed("oci-apparmor"), ["gc"]).ok();
    assert_eq!(records(), Vec::<PathBuf>::new());
}

/// An archive of a checkpoint whose `spec.dump` says that the container had these annotations
/// (`CRImportCheckpoint` in `server/container_restore.go` takes them from there).
fn with_annotations(archive: &str, annotations: &[(&str, &str)]) -> String {
    let directory = Path::new(BASE).join("forged");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    let at = directory.to_str().unwrap();
    run("tar", ["-C", at, "-xf", archive]).ok();
    let dump = directory.join("spec.dump");
    let mut spec: Value = serde_json::from_slice(&fs::read(&dump).unwrap()).unwrap();
    let of_kubelet = spec["annotations"]["io.kubernetes.cri-o.Annotations"].as_str();
    let mut all: Value = serde_json::from_str(of_kubelet.unwrap()).unwrap();
    for (key, value) in annotations {
        all[key] = json!(value);
    }
    spec["annotations"]["io.kubernetes.cri-o.Annotations"] = json!(all.to_string());
    fs::write(dump, spec.to_string()).unwrap();
    let forged = format!("{at}.tar");
    run("tar", ["-C", at, "-cf", &forged, "."]).ok();
    forged
}

#[test]
fn crio_restores_containers_under_their_profile_and_forged_checkpoints_not_at_all() {
    let _world = world();
    sources();
    profile("other");
    let Some(crio) = CriO::start(SETUP) else {
        return;
    };
    let of_pod = OfPod::new(&pairs(&[("container.oci-apparmor/web", PROFILE)]));
    let pod = crio.pod(&of_pod, OURS).unwrap();
    let web = OfContainer::new(&of_pod, "web");
    let words = ["sh", "-c", "while :; do sleep 1000; done"];
    let id = pod.started(&told(&web, Pod::container("web", &words)));
    let archive = format!("{BASE}/checkpoint.tar");
    let request = Checkpoint {
        container_id: id.clone(),
        location: archive.clone(),
    };
    let Empty {} = crio.cri.call("CheckpointContainer", &request).unwrap();
    pod.end(&id);
    unload(PROFILE);

    let restored = |archive: &str| {
        let mut config = told(&web, Pod::container("web", &words));
        archive.clone_into(&mut config.image.as_mut().unwrap().image);
        // The kubelet mounts one into each container; CRI-O restores none that is not asked for.
        config.mounts.push(Mount {
            container_path: "/etc/hosts".to_owned(),
            host_path: "/etc/hosts".to_owned(),
        });
        config
    };
    let runc = Played::new("runc");
    let id = pod.create(&restored(&archive)).unwrap();
    pod.start(&id)
        .unwrap_or_else(|e| panic!("{e}\n{}", criu_log(&id)));
    assert_eq!(runc.label(&id), format!("{PROFILE} (enforce)\n"));
    assert_eq!(
        pod.said(&id, &["cat", "/proc/self/attr/current"]),
        format!("{PROFILE} (enforce)\n")
    );
    let of_real = annotations(&id);
    let of_restored = OfContainer {
        id: id.clone(),
        ..OfContainer::restored(&of_pod, "web", &[])
    };
    let of_pod = OfPod {
        sandbox: pod.id.clone(),
        ..of_pod
    };
    let recorded = of_restored.annotations(&of_pod);
    for key in [
        ID,
        SANDBOX_ID,
        NAME,
        METADATA,
        "io.kubernetes.cri-o.SandboxName",
    ] {
        assert_eq!(of_real[key], recorded[key], "{key}");
    }
    pod.end(&id);

    for of_image in [
        &[(ID, "6666")][..],
        &[(MANAGER, "libpod"), ("oci-apparmor/profile", "other")],
        &[("container.oci-apparmor/web", "other")],
        &[(METADATA, "{\"name\":\"other\"}")],
    ] {
        let forged = with_annotations(&archive, of_image);
        let id = pod.create(&restored(&forged)).unwrap();
        let written = annotations(&id);
        let refused = pod.start(&id);
        for (key, value) in of_image {
            assert_eq!(written[*key], *value, "CRI-O hands on what the image says");
        }
        assert_refused(
            refused,
            &["container restore failed: oci-apparmor: restore of "],
        );
        assert_eq!(record_of(&id), None);
    }
    pod.remove();
    assert_eq!(records(), Vec::<PathBuf>::new());
}

/// Why CRIU could not restore a container.
fn criu_log(id: &str) -> String {
    let directory = format!("/run/containers/storage/overlay-containers/{id}/userdata");
    fs::read_to_string(format!("{directory}/restore.log")).unwrap_or_default()
}
