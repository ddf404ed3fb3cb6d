#![allow(clippy::arithmetic_side_effects)] // of small numbers

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const GROUP: &str = "security-profiles-operator.x-k8s.io";

fn api(version: &str) -> String {
    format!("{GROUP}/{version}")
}

fn one(manifest: &Value) -> Manifest {
    let read = read(manifest.to_string().as_bytes()).unwrap();
    assert_eq!(read.len(), 1);
    read.into_iter().next().unwrap()
}

fn with(name: &str, spec: &Value) -> Manifest {
    one(&json!({
        "apiVersion": api("v1"), "kind": "AppArmorProfile",
        "metadata": {"name": name}, "spec": spec,
    }))
}

/// The rules of a text: the lines after its preamble, without the last.
fn rules(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.first(), Some(&"#include <tunables/global>"));
    assert_eq!(lines.last(), Some(&"}"));
    assert_eq!(lines[2], "  #include <abstractions/base>");
    lines[3..lines.len() - 1]
        .iter()
        .map(|l| {
            l.strip_prefix("  ")
                .and_then(|l| l.strip_suffix(','))
                .unwrap()
                .to_owned()
        })
        .collect()
}

/// A file rule as the lexer of apparmor_parser reads it: whether it denies, one path (in quotes or
/// without white space) and one access mode.
fn words(rule: &str) -> (bool, String, String) {
    let (denied, rule) = match rule.strip_prefix("deny ") {
        Some(rest) => (true, rest),
        None => (false, rule),
    };
    let (path, mode) = rule.rsplit_once(' ').unwrap();
    assert!(mode.bytes().all(|b| b.is_ascii_lowercase()), "{rule}");
    let path = match path.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').unwrap(),
        None => {
            assert!(!path.contains([' ', ',', '\t']), "{rule}");
            path
        }
    };
    assert!(!path.contains(['"', '\\', '#', '\n']), "{rule}");
    (denied, path.to_owned(), mode.to_owned())
}

#[test]
fn what_is_no_manifest_is_passed_over_or_refused_as_a_whole() {
    for text in [
        "",
        "---\n---\n",
        "apiVersion: v1\nkind: Pod\n",
        "# nothing\n",
    ] {
        assert!(read(text.as_bytes()).unwrap().is_empty(), "{text:?}");
    }
    for bytes in [
        &b"\xff\xfe"[..],
        b"a: [",
        b"profile x {\n  file,\n}\n",
        b"\xc3",
    ] {
        assert!(read(bytes).is_err(), "{bytes:?}");
    }
    let e = read(b"#include <tunables/global>\nprofile x {\n}\n").unwrap_err();
    assert!(e.to_string().contains("AppArmor's language"), "{e}");
}

#[test]
fn a_refused_manifest_still_has_its_name() {
    let good = format!(
        "apiVersion: {}\nkind: AppArmorProfile\nmetadata: {{name: x}}\n",
        api("v1")
    );
    let both = read(format!("{good}---\n{good}sepc: {{}}\n").as_bytes()).unwrap();
    assert!(
        both.iter().all(|m| m.rendered.is_err() && m.name.is_some()),
        "{both:?}"
    );
    let other = good.replace("x}", "z}");
    let both = read(format!("{good}---\n{other}").as_bytes()).unwrap();
    assert!(both.iter().all(|m| m.rendered.is_ok()), "{both:?}");
}

#[test]
fn numbers_and_booleans_are_no_strings() {
    for word in [
        "1", "-1", "+1", "1.5", ".5", "1e3", "1_000", "0x1f", "0o17", "0b1", ".inf", "-.INF",
        ".nan", "1:30", "yes", "No", "on", "OFF", "y", "true", "False", "null", "~", "",
    ] {
        let yaml = format!(
            "apiVersion: {}\nkind: AppArmorProfile\nmetadata:\n  name: {word}\n",
            api("v1")
        );
        let read = read(yaml.as_bytes()).unwrap();
        assert!(read[0].rendered.is_err(), "{word}: {read:?}");
    }
    for word in [
        "web", "1web", "1.2.3", "e3", "0xg", "yes-1", "infinity", "nan", "1-2", "\"1\"",
    ] {
        let yaml = format!(
            "apiVersion: {}\nkind: AppArmorProfile\nmetadata:\n  name: {word}\n",
            api("v1")
        );
        let read = read(yaml.as_bytes()).unwrap();
        let name = read[0]
            .name
            .as_ref()
            .unwrap_or_else(|| panic!("{word}: {read:?}"));
        assert_eq!(name, word.trim_matches('"'));
    }
}

/// A manifest in block style, with these lines in front of `spec` and in it.
fn lines(version: &str, before: &str, spec: &str) -> Manifest {
    let api = api(version);
    let yaml = format!(
        "apiVersion: {api}\nkind: AppArmorProfile\nmetadata:\n  name: x\n{before}spec:\n{spec}"
    );
    read(yaml.as_bytes()).unwrap().remove(0)
}

#[test]
fn what_is_not_read_may_be_anything() {
    for before in [
        "  labels: {a: 1, a: 2}\n",
        "  annotations: {a: &x yes, b: *x, c: !!binary aGk=}\n",
        "  namespace: 12\n  ownerReferences: {[a]: b}\n",
        "status:\n  <<: {}\n  a: 1\n  a: 2\n",
        "status: [1, 2]\n",
    ] {
        let manifest = lines("v1", before, "  mode: Enforce\n");
        assert!(manifest.rendered.is_ok(), "{before}: {manifest:?}");
    }
}

#[test]
fn null_is_absent_wherever_a_field_is_known() {
    for (version, spec) in [
        ("v1", "  null\n"),
        ("v1", "  mode: null\n  state: ~\n  abstract:\n"),
        (
            "v1",
            "  abstract: {executable: null, filesystem: {readOnlyPaths: null}, network: ~}\n",
        ),
        (
            "v1",
            "  abstract: {capability: {allowedCapabilities: null}, ptrace: null}\n",
        ),
        (
            "v1alpha1",
            "  policy: null\n  complainMode: null\n  disabled: null\n",
        ),
        (
            "v1alpha1",
            "  abstract: {network: {allowRaw: null, allowedProtocols: null}}\n",
        ),
    ] {
        let manifest = lines(version, "status: null\n", spec);
        assert!(manifest.rendered.is_ok(), "{spec}: {manifest:?}");
    }
    for spec in [
        "  enforce: null\n",
        "  abstract: {filesystem: {readOnlyPaths: [null]}}\n",
    ] {
        assert!(lines("v1", "", spec).rendered.is_err(), "{spec}");
    }
    let manifest = lines("v1", "sepc: null\n", "  mode: Enforce\n");
    assert!(manifest.rendered.is_err(), "{manifest:?}");
}

#[test]
fn a_refusal_names_the_field_its_line_and_the_reason() {
    for (version, spec, refusal) in [
        (
            "v1",
            "  mode: complain\n",
            r#"spec.mode (line 6): must be Enforce or Complain, not "complain""#,
        ),
        (
            "v1",
            "  state: on\n",
            "spec.state (line 6): must be Enabled or Disabled, not on",
        ),
        (
            "v1",
            "  mode: 1\n",
            "spec.mode (line 6): must be Enforce or Complain, not the number 1",
        ),
        (
            "v1",
            "  abstract:\n    network:\n      allowRaw:\n        \"true\"\n",
            r#"spec.abstract.network.allowRaw (line 8): must be true or false, not the string "true""#,
        ),
        (
            "v1",
            "  abstract:\n    filesystem:\n      readOnlyPaths:\n      - /a\n      - no\n",
            "spec.abstract.filesystem.readOnlyPaths[1] (line 10): must be a string, not no, which \
             YAML 1.1 reads as a boolean; put it in quotes",
        ),
        (
            "v1",
            "  abstract:\n    filesystem:\n      readOnlyPaths: [/a, {b: c}]\n",
            "spec.abstract.filesystem.readOnlyPaths[1] (line 8): must be a string, not an object",
        ),
        (
            "v1",
            "  abstract:\n    ptrace: {allowedAccess: [write]}\n",
            "spec.abstract.ptrace.allowedAccess[0] (line 7): must be read, readby, trace or \
             tracedby, not \"write\"",
        ),
        (
            "v1",
            "  abstract:\n    network:\n      allowedProtocols: {allowTCP: true}\n",
            "spec.abstract.network.allowedProtocols.allowTCP (line 8): unknown field; the known \
             fields are allowTcp, allowUdp",
        ),
        (
            "v1",
            "  mode: Enforce\n  state: Enabled\n  mode: Enforce\n",
            r#"spec (line 8): the key "mode" occurs twice"#,
        ),
        (
            "v1",
            "  ? [a]\n  : b\n",
            "spec (line 6): a key is not a string",
        ),
        (
            "v1",
            "  !x mode: Enforce\n",
            r#"spec (line 6): the tag "!x" is not supported; remove the tag"#,
        ),
        (
            "v1",
            "  - mode\n",
            "spec (line 5): must be an object, not a list",
        ),
        (
            "v1alpha1",
            "  disabled: true\n  state: Enabled\n",
            "spec.state (line 7): contradicts spec.disabled",
        ),
        (
            "v1alpha1",
            "  policy: x\n  abstract: {filesystem: {}}\n",
            "spec.policy (line 6): cannot be combined with spec.abstract",
        ),
        (
            "v2",
            "  {}\n",
            r#"apiVersion (line 1): must be security-profiles-operator.x-k8s.io/v1 or v1alpha1, not "security-profiles-operator.x-k8s.io/v2""#,
        ),
    ] {
        let manifest = lines(version, "", spec);
        assert_eq!(manifest.name.as_deref(), Some("x"));
        assert_eq!(
            manifest.rendered.unwrap_err().to_string(),
            refusal,
            "{spec}"
        );
    }
    let e = read(b"kind: Pod\n---\na: ]\n").unwrap_err();
    assert!(e.to_string().starts_with("line 3: not valid YAML: "), "{e}");
}

#[test]
fn names_have_an_error_kind_of_their_own() {
    let kind = |name: &Value| {
        let manifest = one(&json!({
            "apiVersion": api("v1"), "kind": "AppArmorProfile", "metadata": {"name": name},
        }));
        manifest.rendered.unwrap_err().kind()
    };
    assert_eq!(kind(&json!("a/b")), ErrorKind::Name);
    assert_eq!(kind(&json!("")), ErrorKind::Name);
    assert_eq!(kind(&json!(1)), ErrorKind::Invalid);
    assert_eq!(kind(&json!(null)), ErrorKind::Invalid);
}

#[test]
fn complain_mode_has_no_deny_rule_and_enforce_mode_has_all_of_them() {
    let spec = |mode: &str| {
        json!({"mode": mode, "abstract": {
            "filesystem": {"readOnlyPaths": ["/r"], "writeOnlyPaths": ["/w"]}, "network": {},
        }})
    };
    let complain = with("p", &spec("Complain")).rendered.unwrap();
    assert!(complain.complain && !complain.text.contains("deny"));
    let enforce = with("p", &spec("Enforce")).rendered.unwrap();
    assert!(!enforce.complain);
    assert_eq!(enforce.text.matches("  deny ").count(), 9 + 3);
}

#[test]
fn a_bomb_of_aliases_does_not_grow() {
    let mut yaml = "a0: &a0 [x, x]\n".to_owned();
    for i in 1..60 {
        yaml += &format!("a{i}: &a{i} [*a{0}, *a{0}, *a{0}]\n", i - 1);
    }
    let manifest = format!("kind: AppArmorProfile\nmetadata: {{name: x}}\n{yaml}spec: *a59\n");
    let read = read(manifest.as_bytes()).unwrap();
    assert!(read[0].rendered.is_err());
}

#[test]
fn depth_and_number_of_values_are_bounded() {
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
    ] {
        assert!(read(text.as_bytes()).is_err());
    }
    assert!(read("- a\n".repeat(200_001).as_bytes()).is_err());
    assert!(read(format!("[{}]", "a,".repeat(300_000)).as_bytes()).is_err());
}

/// Any text, but mostly text that is almost a path, or that would end a rule.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "/[a-c/._*?+@:=~%-]{0,12}",
        2 => "/([a-z]|\\{a,b\\}|\\[0-9\\]|@\\{x\\}| ){0,5}",
        2 => "(/|@\\{HOME\\}/|ptrace|deny |owner |\\}|\\{)[a-z/,{}\\[\\]()#\"\\\\\n\t r^@*!-]{0,12}",
        4 => "/[a-z]{1,2}[,\n\t\"\\\\#{}() \\[\\]^]( r,|[a-z]){0,2}",
        1 => "ptrace ?\\((read|trace|x)\\),( *#[a-z ,/*\n]{0,6})?",
        1 => "\\PC{0,8}",
        1 => any::<String>(),
    ]
}

fn list() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(hostile(), 1..3)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the fields have: the text has the rules of these fields, each once, and no others.
    #[test]
    fn nothing_is_smuggled(
        name in prop_oneof![3 => "[a-z]{3}", 1 => hostile()],
        lists in prop::array::uniform5(list()),
        complain: bool,
        network in prop::option::of((any::<bool>(), any::<bool>())),
    ) {
        let [execs, libs, ro, wo, rw] = &lists;
        let manifest = with(&name, &json!({
            "mode": if complain { "Complain" } else { "Enforce" },
            "abstract": {
                "executable": {"allowedExecutables": execs, "allowedLibraries": libs},
                "filesystem": {
                    "readOnlyPaths": ro, "writeOnlyPaths": wo, "readWritePaths": rw,
                },
                "network": network.map(|(raw, tcp)| json!({
                    "allowRaw": raw, "allowedProtocols": {"allowTcp": tcp},
                })),
            },
        }));
        let Ok(rendered) = manifest.rendered else { return Ok(()) };
        let head = rendered.text.lines().nth(1).unwrap();
        let mode = if complain { "complain" } else { "enforce" };
        prop_assert_eq!(
            head,
            format!("profile {name} flags=({mode},attach_disconnected,mediate_deleted) {{")
        );
        let rules = rules(&rendered.text);
        let mut files = Vec::new();
        let mut ptrace = 0;
        for rule in &rules {
            if rule.starts_with("ptrace (") {
                let known = ["read", "trace"].map(|access| format!("ptrace ({access})"));
                prop_assert!(known.contains(rule), "{}", rule);
                ptrace += 1;
            } else if !rule.contains("network ") && !text::DENIED.iter().any(|d| rule.contains(d)) {
                files.push(words(rule));
            }
        }
        let mut expected = Vec::new();
        let mut expect = |paths: &[String], mode: &str, denied: &str| {
            let paths: Vec<_> = paths.iter().filter(|p| !p.starts_with("ptrace")).collect();
            expected.extend(paths.iter().map(|p| (false, (*p).clone(), mode.to_owned())));
            if !complain && !denied.is_empty() {
                expected.extend(paths.iter().map(|p| (true, (*p).clone(), denied.to_owned())));
            }
        };
        expect(execs, "ixr", "");
        expect(libs, "mr", "");
        expect(ro, "r", "wlk");
        expect(wo, "wlk", "r");
        expect(rw, "rwlk", "");
        prop_assert_eq!(files, expected);
        let old = lists.iter().flatten().filter(|p| p.starts_with("ptrace")).count();
        prop_assert!(ptrace <= old && (ptrace > 0) == (old > 0));
        let denied = if complain { 0 } else { text::DENIED.len() };
        prop_assert_eq!(
            rules.iter().filter(|r| text::DENIED.iter().any(|d| **r == format!("deny {d}"))).count(),
            denied
        );
        let net: Vec<_> = rules.iter().filter(|r| r.contains("network ")).collect();
        let wanted = network.map_or(0, |(raw, tcp)| {
            usize::from(raw || !complain) + usize::from(tcp)
        });
        prop_assert_eq!(net.len(), wanted);
    }

    /// No input makes it panic.
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in "[a-z:\\-\\[\\]{},&*!|>'\"%@#? \n]{0,60}") {
        let _ = read(&bytes);
        let _ = read(text.as_bytes());
        let _ = read(format!("kind: AppArmorProfile\n{text}").as_bytes());
    }
}
