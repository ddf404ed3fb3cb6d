use std::path::Path;

use super::*;
use crate::apparmor::loaded::Mode;
use crate::bundle::Annotations;
use crate::request::{self, Caller, EngineFamily};

const ONE: &str = "container.oci-apparmor/app";
const TWO: &str = "oci-apparmor/profile";
const BETA: &str = "container.apparmor.security.beta.kubernetes.io/app";

/// A node: its configuration, and what it knows about profiles.
struct TestNode {
    settings: Settings,
    facts: Facts,
}

/// A node whose kernel enforces, with this configuration and no profiles.
fn node(toml: &str) -> TestNode {
    TestNode {
        settings: Settings::parse(Path::new("/c"), toml.as_bytes()).unwrap(),
        facts: Facts {
            enforcement: Enforcement::On,
            profiles: BTreeMap::new(),
        },
    }
}

/// A node that has the sources of `p`, `q`, `floor`, `default` and `pause`; none is loaded.
fn stocked(toml: &str) -> TestNode {
    ["p", "q", "floor", "default", "pause"]
        .into_iter()
        .fold(node(toml), TestNode::source)
}

impl TestNode {
    fn fact(&mut self, name: &str) -> &mut ProfileFacts {
        self.facts
            .profiles
            .entry(ProfileName::parse(name).unwrap())
            .or_default()
    }

    fn source(mut self, name: &str) -> Self {
        self.fact(name).source = Some(Path::new("/src").join(name));
        self.fact(name).for_containers = true;
        self
    }

    /// A source among those of the host's programs.
    fn hosts(mut self, name: &str) -> Self {
        self.fact(name).source = Some(Path::new("/etc/apparmor.d").join(name));
        self
    }

    fn loaded(mut self, name: &str, mode: Mode) -> Self {
        self.fact(name).loaded = Some(mode);
        self
    }

    fn complaining(mut self, name: &str) -> Self {
        self.fact(name).node_complains = true;
        self
    }

    fn off(mut self) -> Self {
        self.facts.enforcement = Enforcement::Off(crate::apparmor::kernel::Off::NotBooted);
        self
    }

    fn decide(&self, request: &Request) -> Result<Decision> {
        decide(request, &self.settings, &self.facts)
    }

    /// The label and each component, `!` where it must enforce and `?` where any mode will do;
    /// `-` where the bundle is passed through; or the kind of the refusal.
    fn outcome(&self, request: &Request) -> String {
        match self.decide(request) {
            Err(e) => format!("{:?}", e.kind()),
            Ok(Decision {
                label: None,
                components,
                ..
            }) => {
                assert_eq!(components, []);
                "-".to_owned()
            }
            Ok(Decision {
                label: Some(label),
                components,
                ..
            }) => {
                let sign = |c: &Component| match c.wanted {
                    Wanted::Enforcing => format!(" {}!", c.name),
                    Wanted::Any => format!(" {}?", c.name),
                };
                let components: String = components.iter().map(sign).collect();
                format!("{label}:{components}")
            }
        }
    }
}

/// What the container `app` of a pod in the namespace `team` asks for.
fn asking(key: &str, value: &str, spec: Option<&str>) -> Request {
    let annotations = [
        ("io.kubernetes.cri.container-type", "container"),
        ("io.kubernetes.cri.container-name", "app"),
        ("io.kubernetes.cri.sandbox-namespace", "team"),
        (key, value),
    ];
    let annotations: Annotations = annotations
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into_iter()
        .collect();
    let caller = Caller {
        id: "c1",
        bundle: Path::new("/run/containerd/io.containerd.runtime.v2.task/k8s.io/c1"),
    };
    request::read(&annotations, spec, caller).unwrap()
}

/// A container whose engine chose `spec`, and that asks for nothing else.
fn silent(spec: Option<&str>) -> Request {
    asking("other", "", spec)
}

fn in_namespace(namespace: Option<&str>, request: Request) -> Request {
    Request {
        namespace: namespace.map(str::to_owned),
        ..request
    }
}

fn sandbox(spec: Option<&str>) -> Request {
    Request {
        is_sandbox: true,
        ..silent(spec)
    }
}

#[test]
fn who_asks_for_nothing_is_passed_through() {
    assert_eq!(node("").outcome(&silent(None)), "-");
    assert_eq!(node("").off().outcome(&silent(None)), "-");
    assert_eq!(node("").outcome(&silent(Some("unconfined"))), "-");
    assert_eq!(node("").off().outcome(&silent(Some("unconfined"))), "-");
}

#[test]
fn each_key_gets_its_profile_and_only_the_engines_may_not_enforce() {
    let node = stocked("");
    for key in [ONE, TWO, BETA] {
        assert_eq!(
            node.outcome(&asking(key, "localhost/p", Some("q"))),
            "p: p!"
        );
    }
    assert_eq!(node.outcome(&silent(Some("p"))), "p: p?");
    assert_eq!(node.outcome(&silent(Some("p//&q"))), "p//&q: p? q?");
}

/// It would be unconfined when the profile is removed.
#[test]
fn no_container_gets_a_profile_that_is_loaded_only_to_be_asked_about() {
    let trial = "oci-apparmor.trial.12.ab";
    for name in [trial, "oci-apparmor.trial.12.ab//child"] {
        let node = node("").loaded(name, Mode::Enforce);
        assert_eq!(node.outcome(&silent(Some(name))), "Policy");
    }
    let stack = format!("p//&{trial}");
    let node = stocked("").loaded(trial, Mode::Enforce);
    assert_eq!(node.outcome(&silent(Some(&stack))), "Policy");
    assert_eq!(node.outcome(&silent(Some("p"))), "p: p?");
}

#[test]
fn unconfined_is_what_the_engine_chose_or_is_allowed() {
    let allowed = "allow_unconfined = true";
    for (toml, spec, outcome) in [
        ("", None, "-"),
        ("", Some("unconfined"), "-"),
        ("", Some("q"), "Policy"),
        (allowed, Some("q"), "unconfined:"),
        (allowed, None, "-"),
        // What the node gives to all is not a pod author's to refuse.
        ("default_profile = 'default'", None, "Policy"),
        (
            "default_profile = 'default'\nallow_unconfined = true",
            None,
            "-",
        ),
        // The floor holds all the same.
        ("floor = 'floor'", None, "floor: floor!"),
        (
            "floor = 'floor'\nallow_unconfined = true",
            Some("q"),
            "floor: floor!",
        ),
    ] {
        for key in [ONE, TWO, BETA] {
            let request = asking(key, "unconfined", spec);
            assert_eq!(stocked(toml).outcome(&request), outcome, "{toml} {spec:?}");
        }
    }
    let refusal = stocked("")
        .decide(&asking(TWO, "unconfined", Some("q")))
        .unwrap_err();
    let refusal = refusal.to_string();
    assert!(
        refusal.contains("engine chose q") && refusal.contains("allow_unconfined"),
        "{refusal}"
    );
    // unconfined is no profile: it needs no AppArmor, and no pattern names it.
    let node = node("allow_unconfined = true\nallow = ['x']").off();
    assert_eq!(
        node.outcome(&asking(TWO, "unconfined", Some("q"))),
        "unconfined:"
    );
}

#[test]
fn the_default_is_the_engines_else_the_nodes_else_none() {
    let default = "default_profile = 'default'";
    for (toml, spec, ours, beta) in [
        ("", Some("q"), "q: q?", "q: q?"),
        (default, Some("q"), "q: q?", "q: q?"),
        (default, None, "default: default!", "default: default!"),
        (
            default,
            Some("unconfined"),
            "default: default!",
            "default: default!",
        ),
        ("", None, "Policy", "-"),
        ("", Some("unconfined"), "Policy", "-"),
        // What the engine chose is not the annotation's doing.
        ("deny = ['q']", Some("q"), "q: q?", "q: q?"),
        // An exempt namespace has no default.
        (
            "default_profile = 'default'\nexempt_namespaces = ['team']",
            None,
            "Policy",
            "-",
        ),
    ] {
        for (key, outcome) in [(ONE, ours), (TWO, ours), (BETA, beta)] {
            let request = asking(key, "runtime/default", spec);
            assert_eq!(
                stocked(toml).outcome(&request),
                outcome,
                "{toml} {key} {spec:?}"
            );
        }
    }
    let refusal = node("")
        .decide(&asking(TWO, "runtime/default", None))
        .unwrap_err();
    assert!(
        refusal.to_string().contains("set default_profile"),
        "{refusal}"
    );
}

#[test]
fn allow_and_deny_are_for_annotations_alone() {
    for (toml, outcome) in [
        ("allow = ['p']", "p: p!"),
        ("allow = ['x', 'p*']", "p: p!"),
        ("allow = ['x']", "Policy"),
        ("allow = ['pp', '?p']", "Policy"),
        ("deny = ['p']", "Policy"),
        ("deny = ['x', '*']", "Policy"),
        ("deny = ['x']", "p: p!"),
        ("allow = ['p']\ndeny = ['p']", "Policy"),
    ] {
        for key in [ONE, TWO, BETA] {
            assert_eq!(
                stocked(toml).outcome(&asking(key, "localhost/p", None)),
                outcome,
                "{toml}"
            );
        }
        assert_eq!(stocked(toml).outcome(&silent(Some("p"))), "p: p?", "{toml}");
        let demanding = format!("default_profile = 'p'\n{toml}");
        assert_eq!(
            stocked(&demanding).outcome(&silent(None)),
            "p: p!",
            "{toml}"
        );
    }
    let refusal = stocked("deny = ['x', 'p*']")
        .decide(&asking(TWO, "p", None))
        .unwrap_err();
    let refusal = refusal.to_string();
    assert!(
        refusal.contains(TWO) && refusal.contains("\"p*\""),
        "{refusal}"
    );
}

#[test]
fn the_floor_is_stacked_once() {
    let node = stocked("floor = 'floor'");
    for (request, outcome) in [
        (silent(None), "floor: floor!"),
        (silent(Some("unconfined")), "floor: floor!"),
        (silent(Some("q")), "q//&floor: q? floor!"),
        (asking(TWO, "p", Some("q")), "p//&floor: p! floor!"),
        (asking(TWO, "floor", Some("q")), "floor: floor!"),
        // A bundle that runs twice carries it already, in whatever order.
        (silent(Some("q//&floor")), "q//&floor: q? floor!"),
        (silent(Some("floor//&q")), "q//&floor: q? floor!"),
        (silent(Some("floor")), "floor: floor!"),
    ] {
        assert_eq!(node.outcome(&request), outcome);
    }
    // No pattern keeps the node from its own floor, or a bundle that carries it from running.
    let strict = stocked("floor = 'floor'\nallow = ['p']\ndeny = ['floor']");
    assert_eq!(
        strict.outcome(&asking(TWO, "p", None)),
        "p//&floor: p! floor!"
    );
    assert_eq!(strict.outcome(&silent(Some("floor"))), "floor: floor!");
}

#[test]
fn the_nodes_default_is_for_containers_for_which_nothing_speaks() {
    let node = stocked("default_profile = 'default'\nfloor = 'floor'");
    for (request, outcome) in [
        (silent(None), "default//&floor: default! floor!"),
        (silent(Some("q")), "q//&floor: q? floor!"),
        (silent(Some("unconfined")), "floor: floor!"),
        (asking(BETA, "", None), "default//&floor: default! floor!"),
        (asking(TWO, "p", None), "p//&floor: p! floor!"),
    ] {
        assert_eq!(node.outcome(&request), outcome);
    }
}

#[test]
fn exempt_namespaces_have_neither_default_nor_floor() {
    const BOTH: &str = "default_profile = 'default'\nfloor = 'floor'";
    for (toml, namespace, outcome) in [
        (BOTH, Some("team"), "default//&floor: default! floor!"),
        // As shipped.
        (BOTH, Some("kube-system"), "-"),
        // Who tells no namespace is in none.
        (BOTH, None, "default//&floor: default! floor!"),
        (
            BOTH,
            Some("kube-system2"),
            "default//&floor: default! floor!",
        ),
    ] {
        let request = in_namespace(namespace, silent(None));
        assert_eq!(stocked(toml).outcome(&request), outcome, "{namespace:?}");
    }
    let none = format!("exempt_namespaces = []\n{BOTH}");
    let request = in_namespace(Some("kube-system"), silent(None));
    assert_eq!(
        stocked(&none).outcome(&request),
        "default//&floor: default! floor!"
    );
    // What is asked for holds there too.
    let request = in_namespace(Some("kube-system"), asking(TWO, "p", None));
    assert_eq!(stocked(BOTH).outcome(&request), "p: p!");
}

#[test]
fn a_sandbox_has_its_own_key() {
    let node = stocked("default_profile = 'default'\nfloor = 'floor'");
    assert_eq!(node.outcome(&sandbox(None)), "-");
    assert_eq!(node.outcome(&sandbox(Some("q"))), "q: q?");
    let node = stocked("floor = 'floor'\nsandbox_profile = 'pause'");
    assert_eq!(node.outcome(&sandbox(None)), "pause: pause!");
    assert_eq!(node.outcome(&sandbox(Some("q"))), "q: q?");
    // It is not the containers' key, and namespaces do not exempt from it.
    assert_eq!(
        stocked("sandbox_profile = 'pause'").outcome(&silent(None)),
        "-"
    );
    let exempt = in_namespace(Some("kube-system"), sandbox(None));
    assert_eq!(node.outcome(&exempt), "pause: pause!");
}

#[test]
fn what_must_enforce_is_found_enforcing_or_can_be_built() {
    use Mode::{Complain, Enforce, Kill, Unconfined, User};
    let asked = asking(TWO, "p", None);
    // What has no source may be named only where the node lists it.
    let listed = || node("allow = ['p']");
    for mode in [Enforce, Kill] {
        assert_eq!(listed().loaded("p", mode).outcome(&asked), "p: p!");
    }
    for mode in [Complain, Unconfined, User] {
        assert_eq!(
            listed().loaded("p", mode).outcome(&asked),
            "Policy",
            "{mode}"
        );
        // A source may put it right.
        assert_eq!(
            node("").source("p").loaded("p", mode).outcome(&asked),
            "p: p!",
            "{mode}"
        );
        // The node itself wants it so.
        let complaining = listed().loaded("p", mode).complaining("p");
        assert_eq!(complaining.outcome(&asked), "p: p?", "{mode}");
        // The engine's own choice is taken as it is.
        assert_eq!(
            node("").loaded("p", mode).outcome(&silent(Some("p"))),
            "p: p?",
            "{mode}"
        );
        // The node's own demands are no weaker than a pod's.
        for key in ["default_profile", "floor"] {
            let node = node(&format!("{key} = 'p'")).loaded("p", mode);
            assert_eq!(node.outcome(&silent(None)), "Policy", "{key} {mode}");
        }
        let node = node("sandbox_profile = 'p'").loaded("p", mode);
        assert_eq!(node.outcome(&sandbox(None)), "Policy", "{mode}");
    }
    let refusal = listed()
        .loaded("p", Complain)
        .decide(&asked)
        .unwrap_err()
        .to_string();
    assert!(
        refusal.contains("in complain mode; it must enforce"),
        "{refusal}"
    );
}

#[test]
fn a_profile_that_does_not_enforce_is_reported() {
    let reports = |node: TestNode, request: &Request| node.decide(request).unwrap().reports;
    let complaining = || node("allow = ['p']").loaded("p", Mode::Complain);
    let spec = silent(Some("p"));
    assert_eq!(
        reports(complaining(), &spec),
        ["the profile p, requested by the engine, is in complain mode"]
    );
    let forced = complaining().complaining("p");
    assert!(reports(forced, &asking(TWO, "p", None))[0].contains(TWO));
    assert_eq!(reports(node("").loaded("p", Mode::Enforce), &spec), [""; 0]);
    assert_eq!(reports(stocked(""), &spec), [""; 0]);
}

#[test]
fn a_profile_that_is_nowhere_is_refused_with_where_it_was_looked_for() {
    let here = "profile_directories = ['/etc/one', '/two']";
    for request in [
        asking(TWO, "k8s.io/p//child", None),
        silent(Some("k8s.io/p//child")),
    ] {
        let refusal = node(here).decide(&request).unwrap_err();
        assert_eq!(refusal.kind(), Kind::NotFound);
        let refusal = refusal.to_string();
        assert!(
            refusal.contains("k8s.io/p//child")
                && refusal.contains("no file k8s.io.p in /etc/one, /two"),
            "{refusal}"
        );
    }
    for toml in ["default_profile = 'p'", "floor = 'p'"] {
        assert_eq!(node(toml).outcome(&silent(None)), "NotFound", "{toml}");
    }
    // One part of a stack is not enough.
    let node = node("").source("p");
    assert_eq!(node.outcome(&silent(Some("p//&q"))), "NotFound");
}

#[test]
fn nothing_that_needs_apparmor_starts_where_it_is_off() {
    for (toml, request) in [
        ("", asking(TWO, "p", None)),
        ("", silent(Some("p"))),
        ("default_profile = 'p'", silent(None)),
        ("floor = 'p'", silent(None)),
        ("floor = 'p'", silent(Some("unconfined"))),
        ("sandbox_profile = 'p'", sandbox(None)),
    ] {
        let refusal = stocked(toml).off().decide(&request).unwrap_err();
        assert_eq!(refusal.kind(), Kind::KernelOff, "{toml}");
        assert!(refusal.to_string().contains("AppArmor is off"), "{refusal}");
    }
}

#[test]
fn candidates_are_all_names_that_can_be_decided_on() {
    let settings = stocked("default_profile = 'd'\nfloor = 'p'\nsandbox_profile = 's'").settings;
    let names = |request: &Request| {
        let names = candidates(request, &settings);
        names
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names(&asking(TWO, "p", Some("a//&b"))), "p a b d s");
    assert_eq!(names(&asking(TWO, "runtime/default", Some("a"))), "a d p s");
    assert_eq!(names(&silent(None)), "d p s");
}

#[test]
fn the_trail_names_the_rules() {
    let trail = |toml, request: &Request| stocked(toml).decide(request).unwrap().trail.join("; ");
    for (toml, request, rules) in [
        ("", asking(ONE, "p", None), &[ONE, "not loaded, /src/p"][..]),
        (
            "",
            silent(Some("q")),
            &["process.apparmorProfile: the engine requests q"],
        ),
        (
            "default_profile = 'default'\nfloor = 'floor'",
            silent(None),
            &["default_profile", "floor"],
        ),
        (
            "default_profile = 'p'\nexempt_namespaces = ['team']",
            silent(None),
            &["exempt_namespaces"],
        ),
        (
            "sandbox_profile = 'pause'",
            sandbox(None),
            &["sandbox_profile: pause"],
        ),
        ("", silent(None), &["no profile is requested"]),
    ] {
        let trail = trail(toml, &request);
        assert!(rules.iter().all(|rule| trail.contains(rule)), "{trail}");
    }
}

#[test]
fn rules_hold_in_their_namespaces_instead_of_the_nodes_own_keys() {
    const RULES: &str = "deny = ['p']\nfloor = 'floor'\n\
        [[rule]]\nnamespaces = ['team', 'x-*']\ndeny = ['q']\n\
        [[rule]]\nnamespaces = ['*']\ndefault_profile = 'default'\nrequire_enforcing = true\n";
    for (namespace, asks, outcome) in [
        // The first one that matches, and what it does not say is the node's.
        (Some("team"), Some("p"), "p//&floor: p! floor!"),
        (Some("x-y"), Some("q"), "Policy"),
        (Some("team"), None, "floor: floor!"),
        (Some("other"), Some("p"), "Policy"),
        (Some("other"), None, "default//&floor: default! floor!"),
        // Who tells no namespace is in none.
        (None, Some("p"), "Policy"),
        (None, None, "floor: floor!"),
        (Some("kube-system"), None, "-"),
    ] {
        let request = match asks {
            Some(name) => asking(TWO, name, None),
            None => silent(None),
        };
        let request = in_namespace(namespace, request);
        let node = stocked(RULES);
        assert_eq!(node.outcome(&request), outcome, "{namespace:?} {asks:?}");
        // All that it may come to is looked up before.
        let label = node.decide(&request).ok().and_then(|d| d.label);
        let names = candidates(&request, &node.settings);
        for name in label.iter().flat_map(|label| label.components()) {
            assert!(names.contains(name), "{name}");
        }
    }
}

#[test]
fn what_the_engine_names_must_enforce_where_the_node_says_so() {
    let rule = "[[rule]]\nnamespaces = ['team']\nrequire_enforcing = true";
    for (toml, complaining, not_loaded) in [
        ("", "p: p?", "p: p?"),
        ("require_enforcing = true", "Policy", "p: p!"),
        (rule, "Policy", "p: p!"),
    ] {
        let request = silent(Some("p"));
        let node = node(toml).loaded("p", Mode::Complain);
        assert_eq!(node.outcome(&request), complaining, "{toml}");
        assert_eq!(stocked(toml).outcome(&request), not_loaded, "{toml}");
    }
}

/// A pod that could name any loaded profile could trade the engine's for one of the host's
/// programs that may change to unconfined.
#[test]
fn annotations_name_what_is_meant_for_containers() {
    let enforce = Mode::Enforce;
    let loaded = |toml: &str, name: &str| node(toml).loaded(name, enforce);
    for (node, name, spec, outcome) in [
        // Where its source stands decides, whether it is loaded or not.
        (node("").source("p"), "p", None, "p: p!"),
        (loaded("", "p").source("p"), "p", None, "p: p!"),
        (loaded("", "p"), "p", None, "Policy"),
        (node("").hosts("p"), "p", None, "Policy"),
        (loaded("", "p").hosts("p"), "p", None, "Policy"),
        (loaded("", "/usr/bin/x"), "/usr/bin/x", None, "Policy"),
        (node(""), "p", None, "NotFound"),
        // Engines' own, which have no source.
        (
            loaded("", "crio-default"),
            "crio-default",
            None,
            "crio-default: crio-default!",
        ),
        (
            loaded("", "containers-default-0.62.2"),
            "containers-default-0.62.2",
            None,
            "containers-default-0.62.2: containers-default-0.62.2!",
        ),
        (
            loaded("", "containers-default-x"),
            "containers-default-x",
            None,
            "Policy",
        ),
        (loaded("", "crio-default2"), "crio-default2", None, "Policy"),
        (
            loaded("", "crio-default//p"),
            "crio-default//p",
            None,
            "Policy",
        ),
        (node(""), "docker-default", None, "NotFound"),
        // What the engine chose for this very container, if it chose that and nothing else.
        (loaded("", "p"), "p", Some("p"), "p: p!"),
        (loaded("", "p"), "p", Some("q"), "Policy"),
        (loaded("", "p"), "p", Some("p//&q"), "Policy"),
        (loaded("", "p//c"), "p//c", Some("p"), "Policy"),
        // The node's own.
        (loaded("default_profile = 'p'", "p"), "p", None, "p: p!"),
        (
            loaded("floor = 'floor'", "p").source("floor"),
            "p",
            Some("p//&floor"),
            "p//&floor: p! floor!",
        ),
        (loaded("sandbox_profile = 'p'", "p"), "p", None, "Policy"),
        // What the node lists, and then nothing else.
        (loaded("allow = ['p']", "p"), "p", None, "p: p!"),
        (loaded("allow = ['p']", "p").hosts("p"), "p", None, "p: p!"),
        (node("allow = ['q']").source("p"), "p", None, "Policy"),
        (
            loaded("allow = ['q']", "crio-default"),
            "crio-default",
            None,
            "Policy",
        ),
        (
            loaded("allow = ['q']\ndefault_profile = 'p'", "p"),
            "p",
            None,
            "Policy",
        ),
        (loaded("allow = ['q']", "p"), "p", Some("p"), "Policy"),
        // deny is stronger than all of it.
        (
            loaded("deny = ['*']", "crio-default"),
            "crio-default",
            None,
            "Policy",
        ),
        (
            loaded("deny = ['p']\ndefault_profile = 'p'", "p").source("p"),
            "p",
            Some("p"),
            "Policy",
        ),
    ] {
        // With the other keys it would be a copy of the engine's request.
        let keys = match spec {
            Some("p" | "p//&floor") => &[TWO][..],
            _ => &[ONE, TWO, BETA],
        };
        for key in keys {
            let request = asking(key, &format!("localhost/{name}"), spec);
            let outcome_now = node.outcome(&request);
            assert_eq!(outcome_now, outcome, "{name} {spec:?} {:?}", node.settings);
        }
        // None of that is for what the engine asks for.
        if node
            .facts
            .profiles
            .contains_key(&ProfileName::parse(name).unwrap())
        {
            let request = silent(Some(name));
            assert!(node.outcome(&request).starts_with(name), "{name}");
        }
    }
}

#[test]
fn what_may_not_be_named_is_refused_with_what_lets_it() {
    let line = |node: TestNode, name: &str| {
        let refusal = node.decide(&asking(TWO, name, None)).unwrap_err();
        assert_eq!(refusal.kind(), Kind::Policy);
        refusal.to_string()
    };
    let loaded = |name| node("").loaded(name, Mode::Enforce);
    let hosts = line(loaded("lxc").hosts("lxc"), "lxc");
    assert!(
        hosts.contains("/etc/apparmor.d/lxc is a profile for programs of the host")
            && hosts.contains("mv /etc/apparmor.d/lxc /etc/oci-apparmor/profiles/; ")
            && hosts.contains("add \"lxc\" to allow"),
        "{hosts}"
    );
    let nowhere = line(loaded("k8s.io/x//c"), "k8s.io/x//c");
    assert!(
        nowhere.contains("it is loaded, but none of the directories")
            && nowhere.contains("into /etc/oci-apparmor/profiles as k8s.io.x, or add"),
        "{nowhere}"
    );
    let pattern = line(loaded("a*[b"), "a*[b");
    assert!(pattern.contains(r#"add "a[*][[]b" to allow"#), "{pattern}");
    let listed = node("allow = ['a[*][[]b']").loaded("a*[b", Mode::Enforce);
    assert_eq!(listed.outcome(&asking(TWO, "a*[b", None)), "a*[b: a*[b!");
    // To move what attaches to a program would not help.
    let program = line(loaded("/usr/bin/lxc-start"), "/usr/bin/lxc-start");
    assert!(
        !program.contains("/etc/oci-apparmor/profiles")
            && program.contains("; add \"/usr/bin/lxc-start\" to allow"),
        "{program}"
    );
}

#[test]
fn the_trail_says_why_a_name_may_be_asked_for() {
    for (node, name, rule) in [
        (stocked(""), "p", "/src/p is for containers"),
        (
            stocked("allow = ['x', 'p*']"),
            "p",
            "allow has the pattern \"p*\"",
        ),
        (
            node("").loaded("docker-default", Mode::Enforce),
            "docker-default",
            "it is the default profile of an engine",
        ),
        (
            node("default_profile = 'p'").loaded("p", Mode::Enforce),
            "p",
            "it is default_profile of this node",
        ),
    ] {
        let trail = node.decide(&asking(TWO, name, None)).unwrap().trail;
        let why = format!("{name}: an annotation may name it: {rule}");
        assert!(trail.contains(&why), "{trail:?}");
    }
}

#[test]
fn deny_holds_for_children_too() {
    for (deny, name, outcome) in [
        ("web", "web//helper", "Policy"),
        ("web", "web//helper//inner", "Policy"),
        ("web//helper", "web//helper//inner", "Policy"),
        ("web", "web///bin/x", "Policy"),
        ("*/x", "a/x//child", "Policy"),
        ("web//helper", "web", "web: web!"),
        ("web//helper", "web//other", "web//other: web//other!"),
        ("web", "website", "website: website!"),
        ("web", "a//web", "a//web: a//web!"),
    ] {
        let node = node(&format!("deny = ['{deny}']")).source(name);
        let outcome_now = node.outcome(&asking(TWO, name, None));
        assert_eq!(outcome_now, outcome, "{deny} {name}");
    }
    // A parent that is listed lets no child be named.
    let node = node("allow = ['web']").source("web//helper");
    assert_eq!(node.outcome(&asking(TWO, "web//helper", None)), "Policy");
}

proptest::proptest! {
    /// Whatever a pattern denies, it denies with all that is below it.
    #[test]
    fn a_denied_name_denies_what_is_below_it(
        name in "[a-c]{1,2}(//?[a-c]{1,2}){0,2}",
        below in "(//[a-c/]{0,3}[a-c]){0,2}",
        pattern in "[a-c*?/]{1,4}",
    ) {
        let Ok(settings) = Settings::parse(Path::new("/c"), format!("deny = ['{pattern}']").as_bytes()) else {
            return Ok(());
        };
        let (Ok(name), Ok(child)) = (
            ProfileName::parse(&name),
            ProfileName::parse(&format!("{name}{below}")),
        ) else {
            return Ok(());
        };
        let facts = ProfileFacts {
            source: Some("/src".into()),
            for_containers: true,
            ..ProfileFacts::default()
        };
        let may = |name| {
            let asking = Asking { name, key: TWO, engine: None };
            may_ask(asking, &settings, &facts).is_ok()
        };
        proptest::prop_assert!(may(&name) || !may(&child), "{} {} {}", pattern, name, child);
        if settings.deny[0].matches(&child) {
            proptest::prop_assert!(!may(&child));
        }
    }
}

/// CRI-O hands on a pod's `appArmorProfile: Unconfined`, containerd leaves the field empty.
#[test]
fn an_engines_unconfined_sheds_no_default_where_its_word_must_enforce() {
    const STRICT: &str = "require_enforcing = true\n";
    const BOTH: &str = "default_profile = 'default'\nfloor = 'floor'\n";
    let default = "default_profile = 'default'\n";
    for (toml, outcome) in [
        (default.to_owned(), "-"),
        (format!("{STRICT}{default}"), "default: default!"),
        (format!("{STRICT}{default}allow_unconfined = true"), "-"),
        (STRICT.to_owned(), "-"),
        (BOTH.to_owned(), "floor: floor!"),
        (
            format!("{STRICT}{BOTH}"),
            "default//&floor: default! floor!",
        ),
        (
            format!("{STRICT}{BOTH}allow_unconfined = true"),
            "floor: floor!",
        ),
        (format!("{STRICT}floor = 'floor'"), "floor: floor!"),
        (format!("{STRICT}{BOTH}exempt_namespaces = ['team']"), "-"),
        (
            format!("{default}[[rule]]\nnamespaces = ['team']\n{STRICT}"),
            "default: default!",
        ),
    ] {
        let node = stocked(&toml);
        assert_eq!(node.outcome(&silent(Some("unconfined"))), outcome, "{toml}");
        // It is what a container gets whose engine says nothing.
        if toml.contains(STRICT) && !toml.contains("allow_unconfined") {
            assert_eq!(node.outcome(&silent(None)), outcome, "{toml}");
        }
        // A bundle that runs twice carries what was decided.
        let carried = match node.decide(&silent(Some("unconfined"))).unwrap().label {
            Some(label) => label.to_string(),
            None => "unconfined".to_owned(),
        };
        let again = node.decide(&silent(Some(&carried))).unwrap().label;
        let again = again.map_or("unconfined".to_owned(), |label| label.to_string());
        assert_eq!(again, carried, "{toml}");
    }
    let strict = stocked(&format!("{STRICT}sandbox_profile = 'pause'"));
    assert_eq!(
        strict.outcome(&sandbox(Some("unconfined"))),
        "pause: pause!"
    );
    // An annotation cannot ask for it there either.
    let strict = stocked(&format!("{STRICT}{default}"));
    for key in [ONE, TWO, BETA] {
        let request = asking(key, "unconfined", Some("unconfined"));
        assert_eq!(strict.outcome(&request), "Policy");
    }
}

/// Kubernetes and deploy/policies/field-to-annotation copy the field into an annotation. The container
/// gets what it would get by its field alone, unless the node denies the name.
#[test]
fn a_copy_of_the_engines_request_changes_nothing() {
    use Mode::{Complain, Enforce, Kill, Unconfined};
    let origins: [fn(TestNode) -> TestNode; 4] = [
        |node| node,
        |node| node.source("p"),
        |node| node.hosts("p"),
        |node| node.complaining("p"),
    ];
    let modes = [Enforce, Kill, Complain, Unconfined].map(Some);
    let all = |toml: &str| {
        let mut nodes = Vec::new();
        for origin in origins {
            for mode in modes.into_iter().chain([None]) {
                let mut node = origin(node(toml).source("floor").source("default"));
                node.fact("p").loaded = mode;
                nodes.push(node);
            }
        }
        nodes
    };
    for (toml, spec) in [
        ("", "p"),
        ("allow = ['x']", "p"),
        ("deny = ['q', 'p?']", "p"),
        ("require_enforcing = true", "p"),
        ("allow_unconfined = true", "p"),
        ("default_profile = 'default'", "p"),
        ("default_profile = 'p'", "p"),
        ("floor = 'floor'", "p"),
        ("floor = 'floor'", "p//&floor"),
        ("floor = 'floor'", "floor//&p"),
        ("floor = 'floor'\nrequire_enforcing = true", "p//&floor"),
        (
            "[[rule]]\nnamespaces = ['team']\nrequire_enforcing = true",
            "p",
        ),
    ] {
        for (number, node) in all(toml).iter().enumerate() {
            let alone = node.outcome(&silent(Some(spec)));
            for key in [ONE, BETA] {
                let copied = node.outcome(&asking(key, "localhost/p", Some(spec)));
                assert_eq!(copied, alone, "{toml} {spec} {key} {number}");
            }
        }
    }
    for toml in [
        "deny = ['p']",
        "deny = ['*']\nallow = ['p']",
        "floor = 'p'\ndeny = ['q']\n[[rule]]\nnamespaces = ['team']\ndeny = ['p']\nfloor = 'floor'",
    ] {
        for node in all(toml) {
            for key in [ONE, TWO, BETA] {
                let copied = node.outcome(&asking(key, "localhost/p", Some("p")));
                assert_eq!(copied, "Policy", "{toml} {key}");
            }
        }
    }
}

#[test]
fn an_annotation_that_is_no_copy_must_be_allowed_and_enforce() {
    let complaining = || {
        node("allow = ['p']")
            .loaded("p", Mode::Complain)
            .source("x")
    };
    let outcome = |request: Request| complaining().outcome(&request);
    assert_eq!(outcome(asking(ONE, "localhost/p", Some("p"))), "p: p?");
    assert_eq!(outcome(asking(BETA, "localhost/x", Some("x"))), "x: x?");
    for request in [
        // Nothing copies the field there.
        asking(TWO, "localhost/p", Some("p")),
        asking(TWO, "localhost/x", Some("x")),
        // Another profile, a part of a stack, or no request of the engine.
        asking(ONE, "localhost/p", Some("q")),
        asking(ONE, "localhost/p", Some("p//&q")),
        asking(ONE, "localhost/p", Some("p//c")),
        asking(ONE, "localhost/p", Some("unconfined")),
        asking(ONE, "localhost/p", None),
        asking(BETA, "localhost/x", None),
        // Not of Kubernetes: the bundle may carry the label of its last run.
        Request {
            engine: EngineFamily::Podman,
            ..asking(ONE, "localhost/p", Some("p"))
        },
        Request {
            engine: EngineFamily::Other,
            ..asking(BETA, "localhost/p", Some("p"))
        },
    ] {
        assert_eq!(outcome(request.clone()), "Policy", "{request:?}");
    }
    let decided = complaining().decide(&asking(ONE, "localhost/p", Some("p")));
    let decided = decided.unwrap();
    assert!(
        decided.trail[0].contains("counts as the engine's request"),
        "{:?}",
        decided.trail
    );
    assert_eq!(
        decided.reports,
        ["the profile p, requested by the engine, is in complain mode"]
    );
}
