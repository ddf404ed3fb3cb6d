// Tests may fail by panicking.
#![allow(clippy::arithmetic_side_effects)]

use super::collector::AccessLimits;
use super::*;
use crate::rule::pattern::NamePattern;
use proptest::prelude::*;

fn event(pairs: &str) -> Event {
    let line = format!("audit(1.002:3): apparmor=\"DENIED\" {pairs}");
    Event::parse(line.as_bytes()).unwrap_or_else(|e| panic!("{e:?}: {pairs}"))
}

/// An access of user 101 to a file of root.
fn file(name: &str, mask: &str) -> Event {
    access("web", name, mask, 0)
}

fn access(profile: &str, name: &str, mask: &str, owner: u32) -> Event {
    let hex: String = name.bytes().map(|b| format!("{b:02X}")).collect();
    event(&format!(
        "operation=\"open\" profile=\"{profile}\" name={hex} pid=1 comm=\"c\" \
         denied_mask=\"{mask}\" fsuid=101 ouid={owner}"
    ))
}

fn suggest(events: &[Event], generalise: Generalise) -> Suggestion {
    Suggestion::of(events, &SuggestionOptions { generalise })
}

fn rules(suggestion: &Suggestion) -> Vec<String> {
    let rules = suggestion.rules.iter();
    rules.map(|rule| rule.rule.to_string()).collect()
}

#[track_caller]
fn reads(generalise: Generalise, names: &[&str], expected: &[&str]) {
    let events: Vec<Event> = names.iter().map(|name| file(name, "r")).collect();
    let suggestion = suggest(&events, generalise);
    let expected: Vec<String> = expected.iter().map(|e| format!("{e} r,")).collect();
    assert_eq!(rules(&suggestion), expected, "{names:?}");
    let counted: u64 = suggestion.rules.iter().map(|rule| rule.count).sum();
    assert_eq!(counted, names.len() as u64);
}

#[test]
fn accesses_to_one_object_are_one_rule() {
    let signal = |mask: &str, signal: &str| {
        event(&format!(
            "operation=\"signal\" profile=\"web\" pid=1 comm=\"c\" denied_mask=\"{mask}\" \
             signal={signal} peer=\"q\""
        ))
    };
    let events = [
        file("/a", "r"),
        file("/a", "wc"),
        file("/b", "a"),
        file("/b", "r"),
        signal("send", "term"),
        signal("send", "kill"),
        signal("receive", "int"),
    ];
    let suggestion = suggest(&events, Generalise::Some);
    assert_eq!(
        rules(&suggestion),
        [
            "signal (send) set=(kill, term) peer=q,",
            "signal (receive) set=(int) peer=q,",
            "/a rw,",
            "/b ra,",
        ]
    );
    let counts: Vec<u64> = suggestion.rules.iter().map(|rule| rule.count).collect();
    assert_eq!(counts, [2, 1, 2, 2]);
}

#[test]
fn a_rule_is_for_the_owner_if_each_access_was() {
    let own = access("web", "/a", "r", 101);
    for (events, expected) in [
        (vec![own.clone()], "owner /a r,"),
        (vec![own.clone(), file("/a", "r")], "/a r,"),
        (vec![file("/a", "r"), own], "/a r,"),
    ] {
        assert_eq!(rules(&suggest(&events, Generalise::Some)), [expected]);
    }
}

#[test]
fn programs_are_inherited_and_their_profiles_are_folded() {
    let exec = event(
        "operation=\"exec\" profile=\"web\" name=\"/bin/sh\" pid=1 comm=\"c\" denied_mask=\"x\" \
         fsuid=0 ouid=0 target=\"web//null-/bin/sh\"",
    );
    // The event that `cat` was executed is lost.
    let chain = "web//null-/bin/sh//null-/bin/cat";
    let suggestion = suggest(
        &[
            exec,
            access("web//null-/bin/sh", "/bin/sh", "rm", 0),
            access(chain, "/x", "r", 0),
        ],
        Generalise::Some,
    );
    assert_eq!(
        rules(&suggestion),
        ["/bin/cat ix,", "/bin/sh mrix,", "/x r,"]
    );
    let [_, shell, _] = &suggestion.rules[..] else {
        panic!()
    };
    assert_eq!(shell.count, 2);
    let others: Vec<String> = shell
        .alternatives
        .iter()
        .map(|rule| rule.to_string())
        .collect();
    assert_eq!(others, ["/bin/sh mrPx,", "/bin/sh mrCx,", "/bin/sh mrUx,"]);
}

#[test]
fn names_become_patterns_with_evidence_only() {
    let none = ["/proc/1/stat", "/proc/22/stat", "/v/1", "/v/2", "/v/3"];
    reads(Generalise::None, &none, &none);
    reads(Generalise::Some, &none, &["/proc/[0-9]*/stat", "/v/[0-9]*"]);
    reads(Generalise::Some, &["/v/1", "/v/2"], &["/v/1", "/v/2"]);
    reads(Generalise::More, &["/v/1", "/v/2"], &["/v/[0-9]*"]);
    // Only numbers of which enough are different.
    reads(
        Generalise::Some,
        &["/v2/cpu0/a1", "/v2/cpu1/a1", "/v2/cpu11/a1", "/v3/cpu0/a1"],
        &["/v2/cpu[0-9]*/a1", "/v3/cpu0/a1"],
    );
    reads(
        Generalise::Some,
        &["/v2/cpu0/a1", "/v2/cpu1/a1", "/v2/cpu11/a1"],
        &["/v2/cpu[0-9]*/a1"],
    );
    // A literal name in an access that a pattern allows is no rule of its own.
    reads(
        Generalise::Some,
        &["/v/1", "/v/2", "/v/3", "/v/4x"],
        &["/v/[0-9]*"],
    );
    let pages = ["/srv/www/a.html", "/srv/www/b.html", "/srv/www/c d.html"];
    reads(
        Generalise::Some,
        &pages,
        &[
            "/srv/www/a.html",
            "/srv/www/b.html",
            "\"/srv/www/c d.html\"",
        ],
    );
    reads(Generalise::More, &pages, &["/srv/www/*.html"]);
    reads(
        Generalise::More,
        &[
            "/usr/lib/liba.so.1",
            "/usr/lib/libb.so",
            "/usr/lib/libc.so.6.1",
        ],
        &["/usr/lib/lib*.so*"],
    );
    let mixed = ["/etc/a.conf", "/etc/b.conf", "/etc/c.conf"];
    reads(Generalise::More, &mixed, &mixed);
}

#[test]
fn a_pattern_has_its_witnesses() {
    let events: Vec<Event> = (1..=9)
        .map(|n| file(&format!("/proc/{n}/stat"), "r"))
        .collect();
    let suggestion = suggest(&events, Generalise::Some);
    let [rule] = &suggestion.rules[..] else {
        panic!()
    };
    assert_eq!((rule.distinct, rule.witnesses.len()), (9, MOST_WITNESSES));
    assert_eq!(&rule.witnesses[0], "/proc/1/stat");
    let uuid = "3b1c7d52-0001-4a4b-8c8d-0123456789ab";
    let link = event(&format!(
        "operation=\"link\" profile=\"web\" name=\"/a/{uuid}\" pid=1 comm=\"c\" denied_mask=\"l\" \
         fsuid=0 ouid=0 target=\"/b\""
    ));
    let suggestion = suggest(&[link], Generalise::Some);
    assert_eq!(
        rules(&suggestion),
        ["link \"/a/????????-????-????-????-????????????\" -> /b,".replace('"', "")]
    );
    assert_eq!(suggestion.rules[0].distinct, 1);
}

#[test]
fn no_pattern_takes_in_what_is_dangerous_or_secret() {
    // `/run/1.sock` and so on would be harmless, but `*.sock` has the engines' sockets.
    let sockets = ["/srv/run/a.sock", "/srv/run/b.sock", "/srv/run/c.sock"];
    let events: Vec<Event> = sockets.iter().map(|name| file(name, "w")).collect();
    assert_eq!(rules(&suggest(&events, Generalise::More)).len(), 3);
    // The disks of a node have numbers, too; rules for them are not in force.
    let disks = ["/dev/sda1", "/dev/sda2", "/dev/sda3"];
    let suggestion = suggest(&disks.map(|name| file(name, "r")), Generalise::Some);
    assert_eq!(rules(&suggestion), ["/dev/sda[0-9]* r,"]);
    assert!(suggestion.rules.iter().all(|rule| rule.danger.is_some()));
    let secrets = ["/etc/ssl/a1.pem", "/etc/ssl/a2.pem", "/etc/ssl/a3.pem"];
    reads(Generalise::Some, &secrets, &["/etc/ssl/a[0-9]*.pem"]);
}

#[test]
fn dangerous_rules_are_comments() {
    let capability = |name: &str| {
        event(&format!(
            "operation=\"capable\" profile=\"web\" pid=1 comm=\"c\" capability=1 capname=\"{name}\""
        ))
    };
    let ptrace = |peer: &str, mask: &str| {
        event(&format!(
            "operation=\"ptrace\" profile=\"web\" pid=1 comm=\"c\" denied_mask=\"{mask}\" \
             peer=\"{peer}\""
        ))
    };
    let socket = |family: &str, kind: &str| {
        event(&format!(
            "operation=\"create\" profile=\"web\" pid=1 comm=\"c\" family=\"{family}\" \
             sock_type=\"{kind}\" denied_mask=\"create\""
        ))
    };
    let change = |operation: &str, target: &str| {
        event(&format!(
            "operation=\"{operation}\" profile=\"web\" name=\"{target}\" pid=1 comm=\"c\" \
             target=\"{target}\""
        ))
    };
    let mount =
        "operation=\"mount\" profile=\"web\" name=\"/m/\" pid=1 comm=\"c\" flags=\"rw, bind\"";
    for (event, dangerous) in [
        (capability("chown"), false),
        (capability("sys_admin"), true),
        (capability("net_raw"), false),
        (capability("dac_read_search"), true),
        (ptrace("web", "trace"), false),
        (ptrace("web//null-/bin/sh", "trace"), false),
        (ptrace("unconfined", "read"), true),
        (ptrace("unconfined", "readby"), false),
        (socket("inet", "stream"), false),
        (socket("inet", "raw"), true),
        (socket("netlink", "raw"), false),
        (socket("packet", "dgram"), true),
        (change("change_profile", "unconfined"), true),
        (change("change_profile", "other"), true),
        (change("change_profile", "web//worker"), false),
        (change("stack", "other"), false),
        (event(mount), true),
        (event(&mount.replace("\"mount\"", "\"umount\"")), true),
        (event(&mount.replace("\"mount\"", "\"pivotroot\"")), true),
        (file("/proc/sys/kernel/core_pattern", "w"), true),
        (file("/proc/sys/kernel/core_pattern", "r"), false),
        (file("/proc/1/attr/current", "w"), true),
        (file("/proc/7/mem", "w"), true),
        (file("/sys/fs/cgroup/x/cgroup.procs", "a"), true),
        (file("/sys/fs/cgroup/x/cgroup.procs", "r"), false),
        (file("/run/docker.sock", "wr"), true),
        (file("/var/run/containerd/containerd.sock", "wr"), true),
        (file("/run/a.sock", "wr"), false),
        (file("/proc/kcore", "r"), true),
        (file("/dev/nvme0n1p1", "r"), true),
        (file("/dev/null", "rw"), false),
        (file("/proc/sysrq-trigger", "w"), true),
    ] {
        let suggestion = suggest(std::slice::from_ref(&event), Generalise::Some);
        let [rule] = &suggestion.rules[..] else {
            panic!("{event:?}")
        };
        assert_eq!(rule.danger.is_some(), dangerous, "{}", rule.rule);
        let text = rule.to_string();
        assert_eq!(
            text.lines().all(|line| line.starts_with("# ")),
            dangerous,
            "{text}"
        );
        assert!(text.ends_with(&rule.rule.to_string()));
    }
}

#[test]
fn flags_and_reasons_are_counted() {
    let disconnected = "operation=\"open\" info=\"Failed name lookup - disconnected path\" \
        error=-13 profile=\"web\" name=\"dev/x\" pid=1 comm=\"c\" denied_mask=\"r\"";
    let probe = "operation=\"capable\" info=\"optional: no audit\" error=-1 profile=\"web\" pid=1 \
        comm=\"c\" capability=21 capname=\"sys_admin\"";
    let events = [event(disconnected), event(disconnected), event(probe)];
    let suggestion = suggest(&events, Generalise::Some);
    assert_eq!(rules(&suggestion), ["/dev/x r,"]);
    assert_eq!(
        suggestion.flags,
        BTreeMap::from([(ProfileFlag::AttachDisconnected, 2)])
    );
    assert_eq!(suggestion.not_learnt, BTreeMap::from([(Reason::Probe, 1)]));
    assert_eq!(suggest(&[], Generalise::Some), Suggestion::default());
}

#[test]
fn profiles_are_told_apart() {
    let mut collector = Collector::default();
    collector.add(&access("web", "/a", "r", 0));
    collector.add(&access("web//null-/bin/sh", "/b", "r", 0));
    collector.add(&access("db", "/c", "r", 0));
    let mut inner = access("web", "/d", "r", 0);
    inner.fields.namespace = Some(OutsideText::new(&b"root//ns"[..]));
    collector.add(&inner);
    let names: Vec<String> = collector.profiles().map(|name| name.to_string()).collect();
    assert_eq!(names, [":root//ns:web", "db", "web"]);
    let of = |name: &str| {
        let name = OutsideText::new(name.as_bytes());
        rules(&collector.suggestion(&name, &SuggestionOptions::default()))
    };
    assert_eq!(of("web"), ["/a r,", "/b r,", "/bin/sh ix,"]);
    assert_eq!(of("db"), ["/c r,"]);
    assert_eq!(of("other"), [""; 0]);
}

#[test]
fn memory_is_bounded_and_a_noisy_profile_hides_no_quiet_one() {
    let mut collector = Collector::default();
    collector.limits = AccessLimits {
        of_profile: 40_000,
        total: 60_000,
        share: 2000,
    };
    for profile in 0..3 {
        for name in 0..100 {
            // The programs that children are named after count, too.
            let profile = format!("noisy{profile}//null-/bin/{name}");
            collector.add(&access(&profile, &format!("/d/{name}x"), "r", 0));
        }
    }
    collector.add(&access("quiet", "/etc/shadow", "r", 0));
    let of = |name: &str| {
        let name = OutsideText::new(name.as_bytes());
        collector.suggestion(&name, &SuggestionOptions::default())
    };
    assert_eq!(rules(&of("quiet")), ["/etc/shadow r,"]);
    for profile in 0..3 {
        let suggestion = of(&format!("noisy{profile}"));
        let learnt: u64 = suggestion.rules.iter().map(|rule| rule.count).sum();
        assert!(suggestion.left_out > 0 && learnt > 0, "{suggestion:?}");
        assert_eq!(learnt + suggestion.left_out, 100);
    }
}

#[test]
fn too_many_profiles_are_a_number() {
    let mut collector = Collector::default();
    for profile in 0..1005 {
        collector.add(&access(&format!("p{profile}"), "/a", "r", 0));
    }
    assert_eq!(collector.profiles().count(), 1000);
    assert_eq!(collector.of_other_profiles(), 5);
}

/// Names with parts of many forms.
fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        2 => "[a-c]{1,2}",
        1 => "[0-9]{1,2}",
        1 => "[a-c]\\.(sock|so\\.1|txt)",
        1 => Just("proc".to_owned()),
        1 => Just("tmp".to_owned()),
        1 => Just("docker.sock".to_owned()),
        1 => Just("kcore".to_owned()),
        1 => Just("sys".to_owned()),
        1 => "[a-z][A-Z][0-9][a-z][A-Z][0-9]",
        1 => Just("0a1b2c3d0a1b2c3d0a1b2c3d0a1b2c3d".to_owned()),
    ];
    proptest::collection::vec(part, 1..5).prop_map(|parts| format!("/{}", parts.join("/")))
}

fn generalise() -> impl Strategy<Value = Generalise> {
    prop_oneof![
        Just(Generalise::None),
        Just(Generalise::Some),
        Just(Generalise::More)
    ]
}

proptest! {
    // Each access is allowed by a rule, and a rule that is in force allows nothing dangerous.
    #[test]
    fn the_rules_allow_what_was_learnt(
        accesses in proptest::collection::vec((name(), "r|w|rw|a|x|rm|k", prop_oneof![Just(0), Just(101)]), 1..30),
        generalise in generalise(),
    ) {
        let events: Vec<Event> = accesses
            .iter()
            .map(|(name, mask, owner)| access("web", name, mask, *owner))
            .collect();
        let suggestion = suggest(&events, generalise);
        let counted: u64 = suggestion.rules.iter().map(|rule| rule.count).sum();
        prop_assert_eq!(counted, events.len() as u64);
        for (event, (name, _, owner)) in events.iter().zip(&accesses) {
            let Learnt::Rule(PolicyRule::File(alone)) = Learnt::of(event) else { panic!() };
            let allows = |rule: &&SuggestedRule| match &rule.rule {
                PolicyRule::File(rule) => {
                    rule.path.matches(name.as_bytes())
                        && rule.permissions.has(alone.permissions)
                        && (alone.exec.is_none() || rule.exec.is_some())
                        && (!rule.owner || *owner == 101)
                }
                _ => false,
            };
            let rule = suggestion.rules.iter().find(allows);
            prop_assert!(rule.is_some(), "{} in {:?}", name, rules(&suggestion));
        }
        for rule in suggestion.rules.iter().filter(|rule| rule.danger.is_none()) {
            let PolicyRule::File(FileRule { path, permissions, .. }) = &rule.rule else { panic!() };
            prop_assert!(paths::danger(path, *permissions).is_none());
            // Each name that it was made of is harmless, too.
            if path.name().is_none() {
                prop_assert!(rule.distinct >= 1);
                for name in &rule.witnesses {
                    prop_assert!(path.matches(name.bytes()));
                    let exactly = NamePattern::exactly(name.bytes());
                    prop_assert!(!paths::crosses(path, &exactly, *permissions));
                }
            }
        }
    }
}

use crate::rule::Learnt;
use crate::rule::kinds::FileRule;
