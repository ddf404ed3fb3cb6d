use super::*;
use oci_apparmor::apparmor::blob::{CapabilityMasks, Declared};
use oci_apparmor::error::{Error, Kind};

fn declared(names: &[&str]) -> Vec<Declared> {
    let one = |name: &&str| Declared {
        version: 7,
        hashed: Vec::new(),
        name: (*name).to_owned(),
        mode: Mode::Enforce,
        namespace: None,
        rename: None,
        attaches: false,
        capabilities: CapabilityMasks::default(),
        audits: false,
    };
    names.iter().map(one).collect()
}

fn input<'a>(source: &'a str, declared: &'a [Declared]) -> Input<'a> {
    Input {
        file_name: "web",
        source,
        flattened: source,
        declared: Some(declared),
        warnings: "",
        forced_to_complain: false,
    }
}

/// Line, severity and rule of all findings.
fn found(input: &Input<'_>) -> Vec<(Option<usize>, Severity, &'static str)> {
    let found = diagnose(input);
    for f in &found {
        assert!(!f.text.is_empty() && !f.remedy.is_empty(), "{f:?}");
    }
    found.iter().map(|f| (f.line, f.severity, f.rule)).collect()
}

const GOOD: &str = "abi <abi/3.0>,\nprofile web {\n  signal (receive),\n}\n";

#[test]
fn nothing_is_found_in_a_good_profile() {
    assert_eq!(found(&input(GOOD, &declared(&["web"]))), []);
}

#[test]
fn a_declaration_that_is_refused_is_an_error() {
    type Change = fn(&mut Declared);
    let changes: [(&str, Change); 6] = [
        ("attachment", |d| d.attaches = true),
        ("rename", |d| d.rename = Some("docker-default".into())),
        ("namespace", |d| d.namespace = Some("ns".into())),
        ("mode", |d| d.mode = Mode::Complain),
        ("mode", |d| d.mode = Mode::User),
        ("mode", |d| d.mode = Mode::Unconfined),
    ];
    for (rule, change) in changes {
        let mut profiles = declared(&["web"]);
        change(&mut profiles[0]);
        assert_eq!(
            found(&input(GOOD, &profiles)),
            [(Some(2), Severity::Error, rule)]
        );
    }
    for (names, rule) in [
        (&["web", "web"][..], "several"),
        (&["web", "other"], "several"),
        (&["other"], "name"),
        (&["unconf"], "name"),
        (&[], "empty"),
        // None of our own rules, but refused all the same.
        (&["web", "web//a//b", "webb//c"], "refused"),
    ] {
        let profiles = declared(names);
        let errors = found(&input(GOOD, &profiles));
        assert!(
            matches!(errors[..], [(_, Severity::Error, is), ..] if is == rule),
            "{names:?} {errors:?}"
        );
    }
    let mut profiles = declared(&["web", "web//kid"]);
    profiles[1].mode = Mode::Complain;
    assert_eq!(
        found(&input(GOOD, &profiles)),
        [(None, Severity::Warning, "mode")]
    );
}

#[test]
fn signal_rules_are_read_as_the_kernel_reads_them() {
    let missing = |rules: &str| {
        let source = format!("abi <abi/3.0>,\n@{{all}} = runc crun\nprofile web {{\n{rules}\n}}\n");
        let profiles = declared(&["web"]);
        let found = diagnose(&input(&source, &profiles));
        let Some(finding) = found.first() else {
            return String::new();
        };
        assert_eq!((finding.line, finding.rule), (Some(3), "signal"));
        let from = finding.text.split_once("from ").unwrap().1;
        from.split_once(": ").unwrap().0.to_owned()
    };
    for admitting in [
        "signal,",
        "signal (receive),",
        "signal receive set=(kill, term),",
        "audit signal (send, receive) set=(\"term\") set=(kill hup) peer=*,",
        "allow all,",
        "signal receive peer={unconfined,runc,crun,podman},",
        "signal r peer = unconfined,\nsignal rw peer=@{all},\nsignal (receive) peer=pod[a-m]an,",
        "signal (receive) peer=unconfined,\n signal peer=*un*,\nsignal peer=podman,",
    ] {
        assert_eq!(missing(admitting), "", "{admitting}");
    }
    for (rules, from) in [
        ("", "unconfined, runc, crun, podman"),
        ("# signal,", "unconfined, runc, crun, podman"),
        (
            "/signal r,\n\"/a\nsignal,\n\" r,",
            "unconfined, runc, crun, podman",
        ),
        ("signal (send),", "unconfined, runc, crun, podman"),
        (
            "signal (receive) set=(term),",
            "unconfined, runc, crun, podman",
        ),
        ("signal (receive) peer=unconfined,", "runc, crun, podman"),
        (
            "signal (receive),\ndeny signal peer={runc,crun},",
            "runc, crun",
        ),
        (
            "signal (receive) peer=@{none},\nsignal peer=[^p]*n*,",
            "podman",
        ),
    ] {
        assert_eq!(missing(rules), from, "{rules}");
    }
    // A rule of another profile is none of this one's, and what is not mediated is not refused.
    assert!(missing("profile kid { signal, }").contains("runc"));
    let profiles = declared(&["web"]);
    let unmediated = Input {
        warnings: "Warning from profile web (stdin): signal rules not enforced\n",
        ..input("abi <abi/3.0>,\nprofile web { }", &profiles)
    };
    assert_eq!(
        found(&unmediated),
        [(Some(2), Severity::Note, "not-enforced")]
    );
}

#[test]
fn deny_rules_are_reported_in_complain_mode_only() {
    let own = "abi <abi/3.0>,\nprofile web {\n signal,\n include <x>\n\
        audit deny /a w,\n # deny /b w,\n profile kid {\n signal,\n deny /c w,\n }\n}\n";
    let flattened = own.replace(" include <x>", "##included <x>\n deny /d w,\n");
    let mut profiles = declared(&["web", "web//kid"]);
    let diagnosed = |profiles: &[Declared], forced_to_complain| {
        found(&Input {
            flattened: &flattened,
            forced_to_complain,
            ..input(own, profiles)
        })
    };
    assert_eq!(diagnosed(&profiles, false), []);
    let denied = |line| (Some(line), Severity::Warning, "deny-in-complain");
    assert_eq!(
        diagnosed(&profiles, true),
        [denied(2), denied(5), denied(9)]
    );
    profiles[1].mode = Mode::Complain;
    assert_eq!(
        diagnosed(&profiles, false),
        [(Some(7), Severity::Warning, "mode"), denied(9)]
    );
}

#[test]
fn an_abi_may_come_from_an_include_in_front() {
    let profiles = declared(&["web"]);
    let source = "include <tunables/mine>\nprofile web {\n signal,\n}\n";
    let diagnosed = |flattened| {
        found(&Input {
            flattened,
            ..input(source, &profiles)
        })
    };
    assert_eq!(diagnosed(source), [(Some(2), Severity::Warning, "abi")]);
    let late = source.replace("signal", "abi <abi/3.0>,\n signal");
    assert_eq!(diagnosed(&late), [(Some(2), Severity::Warning, "abi")]);
    assert_eq!(diagnosed(&format!("abi <abi/3.0>,\n{source}")), []);
}

#[test]
fn each_warning_of_the_parser_is_reported_once_with_its_line() {
    let profiles = declared(&["web"]);
    let warnings = "\nWarning from profile web (stdin): dbus rules not enforced\n\
        Warning from profile web (stdin): dbus rules not enforced\n\n\
        Warning from stdin (stdin line 3): Unconfined exec qualifier (ux) allows: a\n\
        Warning from stdin (stdin line 9): downgrading extended network unix socket rule\n\
        Warning from stdin (/etc/apparmor.d/a line 1): parser: a features abi 'a' differs\n\
        something new\n";
    let diagnosed = |source| {
        found(&Input {
            warnings,
            ..input(source, &profiles)
        })
    };
    let w = |line, rule| (line, Severity::Warning, rule);
    assert_eq!(
        diagnosed(GOOD),
        [
            w(None, "abi"),
            w(None, "parser"),
            (Some(2), Severity::Note, "not-enforced"),
            w(Some(3), "parser"),
        ]
    );
    // Rules of the file itself are warned of where they stand.
    let own = GOOD.replace("}", "  dbus,\n  audit unix,\n  dbus send,\n}");
    assert_eq!(
        diagnosed(&own),
        [
            w(None, "abi"),
            w(None, "parser"),
            w(Some(3), "parser"),
            w(Some(4), "not-enforced"),
            w(Some(5), "not-enforced"),
        ]
    );
    // Where no abi is declared, that is what is told of abis.
    let without = GOOD.replace("abi <abi/3.0>,", "");
    let abis = diagnosed(&without).iter().filter(|f| f.2 == "abi").count();
    assert_eq!(abis, 1);
}

#[test]
fn an_error_has_the_line_that_the_parser_names() {
    let finding = |message: &str| {
        let e = Error::new(Kind::DoesNotCompile, format!("apparmor_parser: {message}"));
        let f = does_not_compile(&e);
        assert_eq!(
            (f.severity, f.kind),
            (Severity::Error, Kind::DoesNotCompile)
        );
        (f.line, f.text)
    };
    let head = "AppArmor parser error for /dev/stdin in profile";
    assert_eq!(
        finding(&format!("{head} /dev/stdin at line 3: syntax error: x")),
        (Some(3), "it does not compile: syntax error: x".to_owned())
    );
    assert_eq!(
        finding(&format!("{head} /etc/a at line 3: syntax error")),
        (
            None,
            "it does not compile: syntax error (/etc/a line 3)".to_owned()
        )
    );
    assert_eq!(
        finding("something new").1,
        "it does not compile: something new"
    );
}
