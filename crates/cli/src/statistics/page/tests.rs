//! The page, of a node on which every name is hostile.

// Its numbers are small.
#![allow(clippy::arithmetic_side_effects, clippy::string_slice)]

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::*;
use crate::checks::finding::Finding;
use crate::checks::wiring::{EngineWiring, WrapperCalls};
use crate::statistics::containers::ManagedContainer;
use crate::statistics::log_summary::LogSummary;
use crate::statistics::node_facts::{NodeFacts, SettingsFile};
use crate::statistics::profiles::ProfileStatus;
use oci_apparmor::apparmor::loaded::{Loaded, Mode};
use oci_apparmor::apparmor::name::{Label, ProfileName};
use oci_apparmor::containers::labels::LabelledProcess;
use oci_apparmor::containers::record::{ContainerKey, Record, RecordedProfile};
use oci_apparmor::containers::status::ContainerStatus;
use oci_apparmor::counters::Counter;
use oci_apparmor::error::Kind;
use oci_apparmor::profiles::Drift;
use oci_apparmor::wanted::Wanted;
use oci_apparmor_audit::event::Event;

/// Markup, quotes, ends of attributes and of elements, a change of direction, lines, a terminal's
/// escape sequence.
const HOSTILE: &str = "</style></title><script>alert('1')</script>\" onload=\"x\" &lt; \u{202e}evil\n\r\u{1b}[2J\u{200b}";

/// What the kernel writes for a name of other bytes than printable ASCII.
fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02X}")).collect()
}

fn event(profile: &str, operation: &str, name: &str, verdict: &str) -> Event {
    let line = format!(
        "audit: type=1400 audit(1795342738.894:7): apparmor=\"{verdict}\" \
         operation=\"{operation}\" profile={} name={} pid=103 comm=\"cat\" \
         requested_mask=\"r\" denied_mask=\"r\" fsuid=0 ouid=0",
        hexadecimal(profile),
        hexadecimal(name),
    );
    Event::parse(line.as_bytes()).unwrap()
}

/// A log with these events, each as often as it says.
fn log(events: &[(&str, &str, &str, &str, u32)]) -> LogSummary {
    let mut log = LogSummary {
        sources: vec!["/dev/kmsg".to_owned()],
        ..LogSummary::default()
    };
    for (profile, operation, name, verdict, times) in events {
        let event = event(profile, operation, name, verdict);
        for _ in 0..*times {
            log.tally.add_event(&event);
            log.totals.add(&event, |_| true);
        }
    }
    log
}

fn container(id: &str, profile: &str, processes: &[(&str, &str, bool)]) -> ManagedContainer {
    let key = ContainerKey {
        root: Path::new("/run/runc"),
        id,
    };
    let mut record = Record::new("crun", key, Path::new("/b"));
    record.label = Some(Label::parse(profile).unwrap());
    record.components = vec![RecordedProfile {
        name: ProfileName::parse(profile).unwrap(),
        wanted: Wanted::Enforcing,
        mode: Mode::Enforce,
        directory: String::new(),
    }];
    let processes = (4100..).zip(processes);
    ManagedContainer {
        record,
        state: ContainerStatus::Running(4100),
        processes: processes
            .map(|(pid, (comm, label, confined))| LabelledProcess {
                pid,
                comm: (*comm).to_owned(),
                label: (*label).to_owned(),
                confined: *confined,
            })
            .collect(),
    }
}

fn profile(name: &str, mode: Mode, drift: Drift, containers: usize) -> ProfileStatus {
    ProfileStatus {
        name: Some(name.to_owned()),
        path: Some(PathBuf::from(format!("/etc/oci-apparmor/profiles/{name}"))),
        source: None,
        loaded: Some(Loaded {
            directory: format!("{name}.1"),
            mode,
            hash: None,
        }),
        drift,
        containers: vec!["c".to_owned(); containers],
        lost: Vec::new(),
        processes: containers,
    }
}

fn facts(text: &str) -> NodeFacts {
    NodeFacts {
        hostname: Some(text.to_owned()),
        os: Some(text.to_owned()),
        kernel: Some(text.to_owned()),
        architecture: "x86_64",
        booted: Some(text.to_owned()),
        enforcing: true,
        why_not: None,
        parser: Some(text.to_owned()),
        version: "0.1.0",
        settings: Some(SettingsFile {
            path: "/etc/oci-apparmor/config.toml",
            sha256: "0".repeat(64),
        }),
    }
}

fn hostile() -> NodeReport {
    let mut made = container("c1", "web", &[(HOSTILE, HOSTILE, false)]);
    for field in [
        &mut made.record.namespace,
        &mut made.record.pod,
        &mut made.record.container,
    ] {
        *field = Some(HOSTILE.to_owned());
    }
    HOSTILE.clone_into(&mut made.record.id);
    HOSTILE.clone_into(&mut made.record.runtime);
    let mut log = log(&[
        (HOSTILE, "open", HOSTILE, "DENIED", 3),
        (HOSTILE, "exec", HOSTILE, "ALLOWED", 1),
    ]);
    log.gaps = vec![HOSTILE.to_owned()];
    log.sources = vec![HOSTILE.to_owned()];
    NodeReport {
        time: UNIX_EPOCH + Duration::from_secs(1_795_342_738),
        facts: facts(HOSTILE),
        findings: vec![Finding::failure(
            "engines",
            Kind::Configuration,
            HOSTILE,
            format!("run: {HOSTILE}"),
        )],
        engines: vec![EngineWiring {
            engine: "podman",
            title: HOSTILE.to_owned(),
            configuration: PathBuf::from(HOSTILE),
            calls: WrapperCalls::All,
            concern: None,
        }],
        containers: vec![made],
        profiles: vec![profile(
            HOSTILE,
            Mode::Complain,
            Drift::Unknown(HOSTILE.to_owned()),
            1,
        )],
        log,
        counters: Counter::ALL.into_iter().map(|event| (event, 7)).collect(),
    }
}

fn page(report: &NodeReport) -> String {
    html(report, &Assessment::of(report))
}

/// The names of the elements that are opened, in their order, where each is closed as it must be.
fn elements(page: &str) -> Vec<String> {
    const VOID: [&str; 2] = ["meta", "!DOCTYPE"];
    let (mut open, mut all): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        let text = &rest[..at];
        assert!(
            !text.contains('>') || open.last().is_some_and(|e| e == "style"),
            "{text}"
        );
        let tag = &rest[at + 1..];
        // No attribute has an end of a tag in it.
        let end = tag.find('>').expect("an element has no end");
        let inside = &tag[..end];
        assert!(inside.matches('"').count().is_multiple_of(2), "{inside}");
        let name = inside.split_whitespace().next().unwrap().to_owned();
        match name.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop().as_deref(), Some(closed)),
            None => {
                all.push(name.clone());
                if !VOID.contains(&name.as_str()) {
                    open.push(name);
                }
            }
        }
        rest = &tag[end + 1..];
    }
    assert!(open.is_empty(), "{open:?}");
    all
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let number =
            part.iter().fold(0_u32, |n, byte| n << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for place in 0..4 {
            let index = (number >> (18 - 6 * place)) & 63;
            text.push(match place > part.len() {
                true => '=',
                false => char::from(LETTERS[index as usize]),
            });
        }
    }
    text
}

#[test]
fn a_hostile_name_is_text() {
    let page = page(&hostile());
    let elements = elements(&page);
    for unexpected in [
        "script", "img", "iframe", "link", "object", "a", "base", "form",
    ] {
        assert!(!elements.iter().any(|e| e == unexpected), "{unexpected}");
    }
    assert_eq!(elements.iter().filter(|e| *e == "style").count(), 1);
    assert!(page.contains("&lt;script&gt;"), "{page}");
    let is_seen = |c: char| c == '\n' || !c.is_control() && !('\u{200b}'..='\u{202e}').contains(&c);
    assert!(page.chars().all(is_seen));
    // Outside of tags and of the style there is no line that a name could have begun.
    let body = page.split_once("</style>").unwrap().1;
    assert!(!body.contains('\n'), "{body}");
    assert!(body.contains(r"\xe2\x80\xaeevil\x0a\x0d\x1b[2J"), "{body}");
}

#[test]
fn nothing_is_loaded_from_elsewhere_and_nothing_runs() {
    let page = page(&hostile());
    for reference in [
        "http:",
        "https:",
        "//",
        "url(",
        "@import",
        "src=",
        "href=",
        "javascript:",
    ] {
        // What a name has is text.
        let page = page.replace("alert(", "");
        assert!(!page.contains(reference), "{reference}");
    }
    let hash: [u8; 32] = Sha256::digest(STYLE).into();
    let hash = base64(&hash);
    assert_eq!(base64(b"light w"), "bGlnaHQgdw==");
    let policy = format!(
        "http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; base-uri 'none'; \
         form-action 'none'; style-src 'sha256-{hash}'\""
    );
    assert!(
        page.contains(&policy),
        "the hash of the style is sha256-{hash}"
    );
    // The policy forbids attributes of this name.
    let body = page.split_once("</style>").unwrap().1;
    assert!(!body.contains(" style="), "{body}");
}

#[test]
fn the_verdict_comes_first() {
    let page = page(&hostile());
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text}"));
    assert!(at("Not in order") < at("id=\"containers\""));
    assert!(at("1 process runs without the label of its container.") < at("id=\"containers\""));
}
