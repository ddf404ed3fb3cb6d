use std::path::Path;

use super::*;

const CONTAINERD: &str = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/c1";
const PODMAN: &str = "/var/lib/containers/storage/overlay-containers/c1/userdata";

/// The annotations that containerd's CRI plugin puts on a container.
const CRI: &[(&str, &str)] = &[
    ("io.kubernetes.cri.container-type", "container"),
    ("io.kubernetes.cri.container-name", "app"),
    ("io.kubernetes.cri.sandbox-id", "s1"),
    ("io.kubernetes.cri.sandbox-namespace", "team"),
    ("io.kubernetes.cri.sandbox-name", "web-0"),
    ("io.kubernetes.cri.sandbox-uid", "uid-1"),
];

/// The annotations that CRI-O puts on a container, of which the last four are the kubelet's labels.
pub(super) const CRI_O: &[(&str, &str)] = &[
    ("io.kubernetes.cri-o.Name", "k8s_app_web-0_team_uid-1_0"),
    ("io.kubernetes.cri-o.ContainerID", "c1"),
    ("io.kubernetes.cri-o.SandboxID", "s1"),
    ("io.kubernetes.cri-o.SandboxName", "k8s_web-0_team_uid-1_0"),
    ("io.kubernetes.cri-o.ContainerType", "container"),
    ("io.container.manager", "cri-o"),
    ("io.kubernetes.cri-o.Metadata", r#"{"name":"app"}"#),
    ("io.kubernetes.pod.namespace", "team"),
    ("io.kubernetes.pod.name", "web-0"),
    ("io.kubernetes.pod.uid", "uid-1"),
    ("io.kubernetes.container.name", "app"),
];

/// The annotations of a container that `podman kube play` makes.
const KUBE_PLAY: &[(&str, &str)] = &[
    ("io.container.manager", "libpod"),
    ("io.kubernetes.cri-o.SandboxID", "s1"),
];

/// A plain container of podman.
const LIBPOD: &[(&str, &str)] = &[("io.container.manager", "libpod")];

pub(super) struct Bundle {
    annotations: Annotations,
    spec: Option<&'static str>,
    id: &'static str,
    path: &'static str,
}

/// A container `c1` whose annotations are these; later ones win, as they do in the engines.
pub(super) fn bundle(path: &'static str, parts: &[&[(&str, &str)]]) -> Bundle {
    let pairs = parts.iter().copied().flatten();
    Bundle {
        annotations: pairs
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        spec: None,
        id: "c1",
        path,
    }
}

impl Bundle {
    pub(super) fn spec(self, profile: &'static str) -> Self {
        Self {
            spec: Some(profile),
            ..self
        }
    }

    pub(super) fn id(self, id: &'static str) -> Self {
        Self { id, ..self }
    }

    pub(super) fn read(&self) -> Result<Request> {
        let caller = Caller {
            id: self.id,
            bundle: Path::new(self.path),
        };
        read(&self.annotations, self.spec, caller)
    }

    /// `key=wish` of what was asked, `-` where nothing was.
    #[track_caller]
    pub(super) fn asked(&self) -> String {
        match self.read().unwrap().asked {
            None => "-".to_owned(),
            Some((key, RequestedLabel::Label(label))) => format!("{}={label}", key.as_str()),
            Some((key, RequestedLabel::RuntimeDefault)) => format!("{}=default", key.as_str()),
        }
    }

    #[track_caller]
    pub(super) fn refusal(&self) -> String {
        let e = self.read().unwrap_err();
        assert_eq!(e.kind(), Kind::Policy, "{e}");
        e.to_string()
    }
}

/// A container of containerd that carries these annotations too.
fn pod(annotations: &[(&str, &str)]) -> Bundle {
    bundle(CONTAINERD, &[annotations, CRI])
}

#[test]
fn the_strongest_key_wins() {
    let all = [
        ("container.oci-apparmor/app", "one"),
        ("oci-apparmor/profile", "two"),
        (
            "container.apparmor.security.beta.kubernetes.io/app",
            "localhost/three",
        ),
    ];
    for (from, asked) in [
        (0, "container.oci-apparmor/app=one"),
        (1, "oci-apparmor/profile=two"),
        (
            2,
            "container.apparmor.security.beta.kubernetes.io/app=three",
        ),
        (3, "process.apparmorProfile=four"),
    ] {
        assert_eq!(pod(&all[from..]).spec("four").asked(), asked);
    }
    assert_eq!(pod(&[]).asked(), "-");
}

#[test]
fn values_are_read_by_key() {
    const ONE: &str = "container.oci-apparmor/app";
    const TWO: &str = "oci-apparmor/profile";
    const BETA: &str = "container.apparmor.security.beta.kubernetes.io/app";
    for (key, value, wish) in [
        (ONE, "p", "p"),
        (ONE, "localhost/p", "p"),
        (ONE, "localhost/localhost/p", "localhost/p"),
        (ONE, "runtime/default", "default"),
        (ONE, "unconfined", "unconfined"),
        (ONE, "localhost/unconfined", "unconfined"),
        (TWO, "p", "p"),
        (TWO, "localhost//usr/bin/p", "/usr/bin/p"),
        (TWO, "a//child", "a//child"),
        (TWO, "runtime/default", "default"),
        (TWO, "unconfined", "unconfined"),
        (BETA, "localhost/p", "p"),
        (BETA, "runtime/default", "default"),
        (BETA, "unconfined", "unconfined"),
    ] {
        assert_eq!(
            pod(&[(key, value)]).asked(),
            format!("{key}={wish}"),
            "{value:?}"
        );
    }
    for (key, value) in [
        (ONE, ""),
        (TWO, ""),
        (ONE, "localhost/"),
        (TWO, "u"),
        (TWO, "unconfine"),
        (TWO, "localhost/u"),
        (TWO, "&x"),
        (TWO, ":ns:x"),
        (TWO, "a//&b"),
        (ONE, "localhost/a//&b"),
        (TWO, "p "),
        (TWO, "unconfined "),
        (BETA, "p"),
        (BETA, "docker/default"),
        (BETA, "localhost/"),
        (BETA, "Unconfined"),
    ] {
        let refusal = pod(&[(key, value)]).spec("q").refusal();
        assert!(refusal.contains(key), "{refusal}");
    }
    // Kubernetes reads the empty beta annotation as none.
    assert_eq!(
        pod(&[(BETA, "")]).spec("q").asked(),
        "process.apparmorProfile=q"
    );
}

#[test]
fn the_specs_own_profile_may_be_a_stack_or_unconfined_but_is_checked_too() {
    assert_eq!(
        pod(&[]).spec("a//&b").asked(),
        "process.apparmorProfile=a//&b"
    );
    assert_eq!(
        pod(&[]).spec("unconfined").asked(),
        "process.apparmorProfile=unconfined"
    );
    for bad in ["", "unconf", "&x", ":ns:x", "a b", "a//&u"] {
        // Whichever engine it is: the runtime would see this name if the label stayed.
        let refusal = pod(&[("oci-apparmor/profile", "p")]).spec(bad).refusal();
        assert!(refusal.contains("process.apparmorProfile"), "{refusal}");
    }
    let request = pod(&[("oci-apparmor/profile", "p")])
        .spec("q")
        .read()
        .unwrap();
    assert_eq!(request.engine_label, Some(Label::parse("q").unwrap()));
}

#[test]
fn a_key_of_ours_that_nobody_reads_is_refused() {
    for key in ["oci-apparmor/profiles", "oci-apparmor/", "oci-apparmor/app"] {
        let refusal = pod(&[(key, "p")]).refusal();
        assert!(
            refusal.contains(key) && refusal.contains("use oci-apparmor/profile"),
            "{refusal}"
        );
    }
    // Other people's keys are theirs.
    for key in [
        "oci-apparmor",
        "xoci-apparmor/profile",
        "OCI-apparmor/profile",
    ] {
        assert_eq!(pod(&[(key, "p")]).asked(), "-");
    }
}

#[test]
fn each_engine_tells_who_the_container_is() {
    let identity = |bundle: Bundle| {
        let r = bundle.read().unwrap();
        let text = |v: Option<String>| v.unwrap_or("-".to_owned());
        let who = [r.namespace, r.pod, r.uid, r.container, r.sandbox]
            .map(text)
            .join(" ");
        (r.engine, r.is_sandbox, who)
    };
    let who = || "team web-0 uid-1 app s1".to_owned();
    assert_eq!(
        identity(bundle(CONTAINERD, &[CRI])),
        (EngineFamily::Containerd, false, who())
    );
    assert_eq!(
        identity(bundle("/b", &[CRI_O])),
        (EngineFamily::CriO, false, who())
    );
    assert_eq!(
        identity(bundle(PODMAN, &[LIBPOD])),
        (EngineFamily::Podman, false, "- - - - -".into())
    );
    assert_eq!(
        identity(bundle("/b", &[])),
        (EngineFamily::Other, false, "- - - - -".into())
    );

    let cri_sandbox = [("io.kubernetes.cri.container-type", "sandbox")];
    assert_eq!(
        identity(bundle(CONTAINERD, &[CRI, &cri_sandbox]).id("s1")),
        (
            EngineFamily::Containerd,
            true,
            "team web-0 uid-1 - s1".into()
        )
    );
    // An empty word is no word.
    let nameless = [("io.kubernetes.cri.container-name", "")];
    assert_eq!(
        identity(bundle(CONTAINERD, &[CRI, &nameless])).2,
        "team web-0 uid-1 - s1"
    );
}

/// The namespace exempts from what the node demands, and the UID says which pod it is.
#[test]
fn the_namespace_is_believed_only_in_bundles_of_kubernetes() {
    for path in [
        "/b",
        "/run/containerd/io.containerd.runtime.v2.task/moby/c1",
        "/run/containerd/io.containerd.runtime.v2.task",
        "/k8s.io/c1",
    ] {
        let request = bundle(path, &[CRI]).read().unwrap();
        assert_eq!((request.namespace, request.uid), (None, None), "{path}");
    }
    let request = bundle(CONTAINERD, &[CRI]).read().unwrap();
    assert!(request.namespace.is_some() && request.uid.is_some());
}

#[test]
fn only_this_containers_keys_count() {
    for engine in [bundle(CONTAINERD, &[CRI]), bundle("/b", &[CRI_O])] {
        let with = |key: &str, value: &str| {
            let mut annotations = engine.annotations.clone();
            annotations.insert(key.to_owned(), value.to_owned());
            Bundle {
                annotations,
                ..bundle(engine.path, &[])
            }
        };
        for family in [CONTAINER_KEY, BETA_KEY] {
            let asked = with(&format!("{family}app"), "localhost/p").asked();
            assert_eq!(asked, format!("{family}app=p"));
            for other in ["sidecar", "", "ap", "app2", "App", "c1"] {
                assert_eq!(
                    with(&format!("{family}{other}"), "localhost/p").asked(),
                    "-"
                );
            }
            // Not this container's to answer for.
            assert_eq!(with(&format!("{family}sidecar"), "&x").asked(), "-");
        }
    }
}

/// What a pod author writes to be taken for another container.
pub(super) const FORGED_CRI: &[(&str, &str)] = &[
    ("io.kubernetes.cri.container-type", "sandbox"),
    ("io.kubernetes.cri.container-name", "forged"),
    ("io.kubernetes.cri.sandbox-id", "c1"),
    ("io.kubernetes.cri.sandbox-namespace", "kube-system"),
    ("io.kubernetes.cri.sandbox-name", "forged"),
    ("io.kubernetes.cri.sandbox-uid", "forged"),
];
const FORGED_CRI_O: &[(&str, &str)] = &[
    ("io.container.manager", "cri-o"),
    ("io.kubernetes.cri-o.ContainerType", "sandbox"),
    (
        "io.kubernetes.cri-o.Name",
        "k8s_forged_forged_kube-system_forged_0",
    ),
    ("io.kubernetes.cri-o.Namespace", "kube-system"),
    ("io.kubernetes.pod.namespace", "kube-system"),
    ("io.kubernetes.container.name", "forged"),
];
pub(super) const OURS: &[(&str, &str)] = &[("oci-apparmor/profile", "p")];

#[test]
fn podman_containers_are_not_what_forged_keys_of_either_say() {
    let managers: [&[(&str, &str)]; 4] = [
        LIBPOD,
        &[("io.container.manager", "cri-o")],
        &[("io.container.manager", "")],
        &[("io.container.manager", "containerd")],
    ];
    for manager in managers {
        let request = bundle(PODMAN, &[FORGED_CRI, FORGED_CRI_O, OURS, manager])
            .read()
            .unwrap();
        assert_eq!(request.engine, EngineFamily::Podman, "{manager:?}");
        assert!(!request.is_sandbox && request.asked.is_some());
        assert_eq!((request.namespace, request.container), (None, None));
    }
    // A hook of podman is told no id: an empty one proves nothing about CRI-O.
    for id in ["", "guessed"] {
        let id = [("io.kubernetes.cri-o.ContainerID", id)];
        let request = bundle("", &[FORGED_CRI_O, &id]).id("").read().unwrap();
        assert_eq!(request.engine, EngineFamily::Podman);
    }
}

#[test]
fn containerd_containers_are_not_what_passed_through_keys_say() {
    for manager in ["libpod", "cri-o", ""] {
        let manager = [("io.container.manager", manager)];
        let request = bundle(CONTAINERD, &[FORGED_CRI_O, &manager, OURS, CRI])
            .read()
            .unwrap();
        assert_eq!(request.engine, EngineFamily::Containerd);
        assert!(!request.is_sandbox && request.asked.is_some());
        assert_eq!(request.namespace.as_deref(), Some("team"));
        assert_eq!(request.container.as_deref(), Some("app"));
    }
    // Only a whole component of the path makes it containerd's.
    let near = "/x/io.containerd.runtime.v2.task.d/k8s.io/c1";
    let request = bundle(near, &[LIBPOD, CRI]).read().unwrap();
    assert_eq!(request.engine, EngineFamily::Podman);
}

#[test]
fn a_sandbox_is_one_only_under_its_own_id() {
    let forged = [("io.kubernetes.cri.container-type", "sandbox")];
    for (id, is_sandbox) in [("s1", true), ("c1", false), ("", false)] {
        let request = bundle(CONTAINERD, &[CRI, &forged]).id(id).read().unwrap();
        assert_eq!(request.is_sandbox, is_sandbox, "{id}");
    }
    // Nor where the kind is missing, or no sandbox is named.
    assert!(
        !bundle(CONTAINERD, &[CRI])
            .id("s1")
            .read()
            .unwrap()
            .is_sandbox
    );
    let only = bundle(
        CONTAINERD,
        &[&forged, &[("io.kubernetes.cri.sandbox-id", "")]],
    );
    assert!(!only.id("").read().unwrap().is_sandbox);
}

#[test]
fn a_sandbox_keeps_its_containers_keys_but_obeys_only_the_engine() {
    let sandbox = |annotations: &[(&str, &str)]| {
        bundle(
            CONTAINERD,
            &[
                annotations,
                CRI,
                &[("io.kubernetes.cri.container-type", "sandbox")],
            ],
        )
        .id("s1")
    };
    let keys = [
        ("container.oci-apparmor/app", "a"),
        ("oci-apparmor/profile", "&broken"),
        ("oci-apparmor/unknown", "x"),
        (
            "container.apparmor.security.beta.kubernetes.io/app",
            "localhost/b",
        ),
        ("other.example/key", "x"),
    ];
    let sandbox = sandbox(&keys).spec("pause");
    assert_eq!(sandbox.asked(), "process.apparmorProfile=pause");
    let kept: Vec<_> = sandbox.read().unwrap().keys.into_keys().collect();
    assert_eq!(
        kept,
        [
            "container.apparmor.security.beta.kubernetes.io/app",
            "container.oci-apparmor/app",
            "oci-apparmor/profile",
            "oci-apparmor/unknown",
        ]
    );
}

#[test]
fn without_names_one_key_is_taken_and_several_are_not() {
    for engine in [bundle(PODMAN, &[LIBPOD]), bundle("/b", &[])] {
        let with = |keys: &[(&str, &str)]| {
            let mut with = bundle(engine.path, &[keys]);
            with.annotations.extend(engine.annotations.clone());
            with
        };
        for family in [CONTAINER_KEY, BETA_KEY] {
            let (a, b) = (format!("{family}a"), format!("{family}b"));
            let one = with(&[(&a, "localhost/p")]);
            assert_eq!(one.asked(), format!("{a}=p"));
            let refusal = with(&[(&a, "localhost/p"), (&b, "localhost/p")]).refusal();
            assert!(refusal.contains(&a) && refusal.contains(&b), "{refusal}");
        }
    }
}

#[test]
fn podman_kube_play_gives_no_names_so_container_keys_are_refused() {
    for family in [CONTAINER_KEY, BETA_KEY] {
        let key = format!("{family}app");
        let refusal = bundle(PODMAN, &[&[(&key, "localhost/p")], KUBE_PLAY]).refusal();
        assert!(
            refusal.contains(&key) && refusal.contains("use oci-apparmor/profile"),
            "{refusal}"
        );
    }
    let plain = bundle(PODMAN, &[OURS, KUBE_PLAY]);
    assert_eq!(plain.asked(), "oci-apparmor/profile=p");
}

#[test]
fn what_a_sandbox_names_is_bounded_and_checked() {
    let names = |keys: &[(&str, &str)], max| {
        let mut sandbox = pod(&[]).read().unwrap();
        sandbox.keys = bundle("", &[keys]).annotations;
        let names = named_by_sandbox(&sandbox, max);
        names
            .iter()
            .map(|(_, name)| name.to_string())
            .collect::<Vec<_>>()
    };
    let keys = [
        (
            "container.apparmor.security.beta.kubernetes.io/a",
            "localhost/beta",
        ),
        ("container.apparmor.security.beta.kubernetes.io/b", "plain"),
        ("container.apparmor.security.beta.kubernetes.io/c", ""),
        ("container.oci-apparmor/a", "one"),
        ("container.oci-apparmor/b", "localhost/one"),
        ("container.oci-apparmor/c", "&broken"),
        ("container.oci-apparmor/d", "unconfined"),
        ("container.oci-apparmor/e", "runtime/default"),
        ("container.oci-apparmor/f", "two"),
        ("oci-apparmor/profile", "three"),
    ];
    assert_eq!(names(&keys, 16), ["beta", "one", "two", "three"]);
    assert_eq!(names(&keys, 2), ["beta", "one"]);
    assert_eq!(names(&keys, 0), [""; 0]);
}
