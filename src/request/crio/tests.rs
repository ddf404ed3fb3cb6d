//! Bundles as CRI-O 1.37 writes them, with what a pod, a client or a checkpoint image may put
//! into each, in the order in which it is written.

use super::*;
use crate::request::EngineFamily;
use crate::request::tests::{Bundle, CRI_O, FORGED_CRI, OURS, bundle};

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// What CRI-O writes into a sandbox `s1` before the pod's annotations.
const SANDBOX: Pairs<'_> = &[
    (
        METADATA,
        r#"{"name":"web-0","uid":"uid-1","namespace":"team"}"#,
    ),
    (NAME, "k8s_web-0_team_uid-1_0"),
    ("io.kubernetes.cri-o.SandboxName", "k8s_web-0_team_uid-1_0"),
    ("io.kubernetes.cri-o.Namespace", "team"),
    ("io.kubernetes.cri-o.ContainerType", "sandbox"),
    (SANDBOX_ID, "s1"),
    (
        "io.kubernetes.cri-o.ContainerName",
        "k8s_POD_web-0_team_uid-1_0",
    ),
    (CONTAINER_ID, "s1"),
    ("io.kubernetes.cri-o.KubeName", "web-0"),
    ("io.container.manager", "cri-o"),
];

/// And after them.
const SANDBOX_LABELS: Pairs<'_> = &[
    (POD_NAME, "web-0"),
    (POD_NAMESPACE, "team"),
    (POD_UID, "uid-1"),
    (CONTAINER_NAME, "POD"),
];

/// Every word of CRI-O's, with another's value; but for the id, which is the engine's own.
const FORGED: Pairs<'_> = &[
    ("io.container.manager", "libpod"),
    ("io.kubernetes.cri-o.ContainerType", "container"),
    ("io.kubernetes.cri-o.Namespace", "kube-system"),
    ("io.kubernetes.cri-o.KubeName", "forged"),
    ("io.kubernetes.cri-o.SandboxName", "k8s_f_kube-system_f_0"),
    (
        "io.kubernetes.cri-o.Labels",
        r#"{"io.kubernetes.container.name":"forged"}"#,
    ),
    (NAME, "k8s_forged_forged_kube-system_forged_0"),
    (METADATA, r#"{"name":"forged"}"#),
    (POD_NAME, "forged"),
    (POD_NAMESPACE, "kube-system"),
    (POD_UID, "forged"),
    (CONTAINER_NAME, "forged"),
];

fn who(bundle: &Bundle) -> String {
    let r = bundle.read().unwrap();
    assert_eq!(r.engine, EngineFamily::CriO);
    let text = |v: Option<String>| v.unwrap_or("-".to_owned());
    let who = [r.namespace, r.pod, r.uid, r.container, r.sandbox].map(text);
    let kind = if r.is_sandbox { "sandbox" } else { "container" };
    format!("{kind} {}", who.join(" "))
}

/// CRI-O's own words in a container; the kubelet's labels left out.
fn unlabelled() -> &'static [(&'static str, &'static str)] {
    let labels = CRI_O.iter().position(|(key, _)| *key == POD_NAMESPACE);
    &CRI_O[..labels.unwrap()]
}

#[test]
fn a_sandbox_is_what_its_id_and_the_labels_say() {
    let sandbox =
        |of_pod: Pairs<'static>| bundle("/b", &[SANDBOX, of_pod, SANDBOX_LABELS]).id("s1");
    let honest = "sandbox team web-0 uid-1 - s1";
    assert_eq!(who(&sandbox(&[])), honest);
    // All of it at once, and each alone: it stays a sandbox of its pod.
    for of_pod in [FORGED, FORGED_CRI] {
        assert_eq!(who(&sandbox(of_pod)), honest);
    }
    for at in 0..FORGED.len() {
        assert_eq!(who(&sandbox(&FORGED[at..=at])), honest, "{:?}", FORGED[at]);
    }
    // What would make it another's, or no sandbox, is refused.
    for (key, value, told) in [
        (
            CONTAINER_ID,
            "guessed",
            "names another container, \"guessed\"",
        ),
        (CONTAINER_ID, "", "names another container, \"\""),
        (SANDBOX_ID, "s2", "names another one, \"s2\""),
        (SANDBOX_ID, "", "names another one, \"\""),
    ] {
        let pairs = [(key, value)];
        let sandbox = bundle("/b", &[SANDBOX, &pairs, SANDBOX_LABELS]).id("s1");
        let refusal = sandbox.refusal();
        assert!(refusal.contains(told), "{refusal}");
    }
}

#[test]
fn a_container_is_what_cri_o_and_the_kubelet_say() {
    let honest = "container team web-0 uid-1 app s1";
    // The pod's annotations come first.
    for of_pod in [
        &[],
        FORGED,
        FORGED_CRI,
        &[(CONTAINER_ID, "x")],
        &[(SANDBOX_ID, "c1")],
    ] {
        assert_eq!(who(&bundle("/b", &[of_pod, CRI_O])), honest);
    }
}

#[test]
fn a_client_without_labels_is_told_by_the_words_of_cri_o() {
    let asks = [("container.oci-apparmor/app", "p")];
    let container = bundle("/b", &[&asks, unlabelled()]);
    assert_eq!(who(&container), "container team web-0 uid-1 app s1");
    assert_eq!(container.asked(), "container.oci-apparmor/app=p");
    // A pod's annotation in the place of a label is no label.
    for (key, _) in &CRI_O[unlabelled().len()..] {
        let forged = [(*key, "kube-system")];
        let refusal = bundle("/b", &[&forged, unlabelled()]).refusal();
        assert!(
            refusal.contains("contradict each other") && refusal.contains("\"kube-system\""),
            "{refusal}"
        );
        let same = CRI_O.iter().filter(|(k, _)| k == key).copied();
        let same: Vec<_> = same.collect();
        assert_eq!(
            who(&bundle("/b", &[&same, unlabelled()])),
            "container team web-0 uid-1 app s1"
        );
    }
    // Names that no kubelet gives: nothing but the container's own name is told.
    let odd = [
        (NAME, "k8s_my_app_web_0_team_uid-1_0"),
        (METADATA, r#"{"name":"my_app","attempt":1}"#),
    ];
    let container = bundle(
        "/b",
        &[&[(POD_NAMESPACE, "kube-system")], unlabelled(), &odd],
    );
    assert_eq!(who(&container), "container - - - my_app s1");
    for metadata in [
        "",
        "{",
        "null",
        "[]",
        r#"{"name":1}"#,
        r#"{"name":""}"#,
        "{}",
    ] {
        let odd = [odd[0], (METADATA, metadata)];
        let container = bundle("/b", &[&asks, unlabelled(), &odd]);
        assert!(container.refusal().contains("gives no container names"));
    }
}

/// The annotations of a checkpoint image are written after CRI-O's, and before the labels.
#[test]
fn a_checkpoint_image_is_not_believed() {
    let again: Pairs<'_> = &[
        (NAME, "k8s_k8s_app_web-0_team_uid-1_0_web-0_team_uid-10"),
        (SANDBOX_ID, "s1"),
    ];
    let labels = &CRI_O[unlabelled().len()..];
    let restored = |of_image: Pairs<'static>, labels: Pairs<'static>| {
        bundle("/b", &[unlabelled(), of_image, labels, again])
    };
    let honest = "container team web-0 uid-1 app s1";
    assert_eq!(who(&restored(&[], labels)), honest);
    assert_eq!(who(&restored(&[], &[])), honest);
    for (key, value) in FORGED {
        let of_image = [(*key, *value)];
        let restored = bundle("/b", &[unlabelled(), &of_image, labels, again]);
        match *key == METADATA {
            true => assert!(restored.refusal().contains("contradict each other")),
            false => assert_eq!(who(&restored), honest, "{key}"),
        }
    }
    for id in ["", "s1", "guessed"] {
        let of_image = [(CONTAINER_ID, id)];
        let refusal = bundle("/b", &[unlabelled(), &of_image, labels, again]).refusal();
        assert!(refusal.contains("names another container"), "{refusal}");
    }
    // After a restart CRI-O may remember a pod by names that are forged; the labels say so.
    let forged: Pairs<'_> = &[(NAME, "k8s_k8s_app_f_kube-system_f_0_f_kube-system_f0")];
    let refusal = bundle("/b", &[unlabelled(), labels, again, forged]).refusal();
    assert!(refusal.contains("contradict each other"), "{refusal}");
    // Two halves that do not fit are no name.
    let halves: Pairs<'_> = &[(NAME, "k8s_k8s_app_web-0_team_uid-1_0_web-0_other_uid-10")];
    let container = bundle("/b", &[unlabelled(), again, halves]);
    assert_eq!(who(&container), "container - - - app s1");
}

#[test]
fn only_the_id_makes_it_a_bundle_of_cri_os() {
    let other = [("io.container.manager", "libpod")];
    assert_eq!(
        bundle("/b", &[OURS, CRI_O, &other]).read().unwrap().engine,
        EngineFamily::CriO
    );
    // Nor is an id of another believed anywhere else.
    for path in [
        "/b",
        "/run/containerd/io.containerd.runtime.v2.task/k8s.io/c1",
    ] {
        let guessed = [(CONTAINER_ID, "guessed")];
        let refusal = bundle(path, &[OURS, FORGED_CRI, &guessed]).refusal();
        assert!(
            refusal.contains(CONTAINER_ID) && refusal.contains("remove the annotations"),
            "{refusal}"
        );
    }
}

#[test]
fn a_label_that_says_sandbox_makes_none() {
    let pod = [(CONTAINER_NAME, "POD"), ("oci-apparmor/profile", "p")];
    let refusal = bundle("/b", &[unlabelled(), &pod]).refusal();
    assert!(refusal.contains("names another one, \"s1\""), "{refusal}");
}
