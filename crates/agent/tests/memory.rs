//! How much memory the agent needs for a large cluster's profiles. Each case has a process of its
//! own: what a process has once used stays its own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    missing_docs
)]

use std::convert::Infallible;
use std::fs;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::process::Command;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use kube::Client;
use kube::client::Body;
use oci_apparmor_agent::connection::request_limit;
use oci_apparmor_agent::object::Feed;
use oci_apparmor_agent::run::{Task, run};
use tower::{Layer, Service};

const PROFILES: usize = 1_000;
const BYTES: usize = 4_096;
const LIMIT_KIB: usize = 20 * 1024;

/// What a server does, by the value of this variable.
const CASE: &str = "OCI_APPARMOR_MEMORY_CASE";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// Lists are streams.
    Streamed,
    /// Lists are one answer.
    Whole,
    /// A streamed list, and then a line of a watch of 64 MiB.
    Endless,
}

const ENDLESS: usize = 1_024;

/// An answer, made while it is sent: the server's part of the memory is one object.
struct Answer {
    sent: usize,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Resources,
    Stream,
    EndlessStream,
    List,
    Nothing,
}

fn object(number: usize) -> String {
    let policy = "  /srv/data/** r,\\n".repeat(BYTES / 19);
    let managed = r#"{"f:spec":{"f:policy":{}}}"#;
    format!(
        r#"{{"apiVersion":"security-profiles-operator.x-k8s.io/v1alpha1","kind":"AppArmorProfile","metadata":{{"name":"profile-{number}","resourceVersion":"{number}","creationTimestamp":"2026-08-01T10:00:00Z","annotations":{{"kubectl.kubernetes.io/last-applied-configuration":"{policy}"}},"managedFields":[{{"fieldsV1":{managed}}}]}},"spec":{{"policy":"profile profile-{number} {{\\n{policy}}}\\n"}}}}"#
    )
}

impl Answer {
    fn next(&self) -> Option<String> {
        let event =
            |kind: &str, object: &str| format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n");
        let text = match (self.what, self.sent) {
            (What::Resources, 1) => r#"{"groupVersion":"g/v1","resources":[{"name":"apparmorprofiles","singularName":"","namespaced":false,"kind":"AppArmorProfile","verbs":[]}]}"#.to_owned(),
            (What::Stream | What::EndlessStream, n) if n <= PROFILES => event("ADDED", &object(n)),
            (What::Stream | What::EndlessStream, n) if n == PROFILES + 1 => event("BOOKMARK", r#"{"apiVersion":"v1","kind":"X","metadata":{"resourceVersion":"1001","annotations":{"k8s.io/initial-events-end":"true"}}}"#),
            (What::EndlessStream, n) if n < PROFILES + 2 + ENDLESS => "x".repeat(65_536),
            (What::List, 1) => format!(r#"{{"kind":"List","items":[{}"#, object(1)),
            (What::List, n) if n <= PROFILES => format!(",{}", object(n)),
            (What::List, n) if n == PROFILES + 1 => r#"],"metadata":{"resourceVersion":"1001"}}"#.to_owned(),
            _ => return None,
        };
        Some(text)
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.sent += 1;
        match (self.next(), self.what) {
            (Some(text), _) => Poll::Ready(Some(Ok(Frame::data(Bytes::from(text))))),
            (None, What::Resources | What::List) => Poll::Ready(None),
            (None, _) => Poll::Pending,
        }
    }
}

struct Server(Case);

impl Service<Request<Body>> for Server {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let uri = request.uri().to_string();
        let streamed = uri.contains("sendInitialEvents");
        let (code, what) = match self.0 {
            _ if !uri.contains("apparmorprofiles") => (200, What::Resources),
            Case::Whole if streamed => (422, What::Resources),
            Case::Whole if !uri.contains("watch=true") => (200, What::List),
            Case::Streamed if streamed => (200, What::Stream),
            Case::Endless if streamed => (200, What::EndlessStream),
            _ => (200, What::Nothing),
        };
        let answer = Response::builder().status(code);
        ready(Ok(answer.body(Answer { sent: 0, what }).unwrap()))
    }
}

/// A line of `/proc/self/status`, in KiB.
fn status(key: &str) -> usize {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
#[ignore = "the other tests run it, each in a process of its own"]
async fn in_this_process() {
    let case = match std::env::var(CASE).as_deref() {
        Ok("Whole") => Case::Whole,
        Ok("Endless") => Case::Endless,
        _ => Case::Streamed,
    };
    let spool = tempfile::tempdir().unwrap();
    let task = Task {
        spool: spool.path().to_owned(),
        feeds: vec![Feed::Profiles],
        namespace: "ours".to_owned(),
        start_delay: Duration::ZERO,
    };
    let before = status("VmRSS:");
    let agent = tokio::spawn(run(
        Client::new(request_limit().layer(Server(case)), "ours"),
        task,
    ));
    while !spool.path().join(".complete").exists() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if case == Case::Endless {
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    agent.abort();
    assert_eq!(fs::read_dir(spool.path()).unwrap().count(), PROFILES + 1);
    let file = fs::metadata(spool.path().join("profile-1.yaml")).unwrap();
    assert!(file.len() > 4_000, "{}", file.len());
    let (now, peak) = (status("VmRSS:"), status("VmHWM:"));
    println!(
        "{case:?}: {before} KiB before, {now} KiB with {PROFILES} profiles, at most {peak} KiB"
    );
    assert!(
        peak < LIMIT_KIB,
        "{peak} KiB; {before} KiB before, {now} KiB now"
    );
}

fn in_a_process(case: Case) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "in_this_process", "--ignored", "--nocapture"]);
    let output = child.env(CASE, format!("{case:?}")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("{text}");
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{errors}"
    );
    assert!(text.contains(&format!("{case:?}: ")), "{text}");
}

#[test]
fn a_thousand_profiles_need_less_than_20_mib() {
    in_a_process(Case::Streamed);
}

#[test]
fn a_list_in_one_answer_needs_less_than_20_mib() {
    in_a_process(Case::Whole);
}

#[test]
fn a_line_without_an_end_needs_less_than_20_mib() {
    in_a_process(Case::Endless);
}
