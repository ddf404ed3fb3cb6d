//! How much memory the agent needs for a large cluster's profiles. A test of its own: what a process
//! has once used stays its own.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    missing_docs
)]

use std::convert::Infallible;
use std::fs;
use std::future::{Ready, ready};
use std::pin::Pin;
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

/// A streamed list, made while it is sent: the server's part of the memory is one object.
struct List {
    sent: usize,
    resource: bool,
}

fn object(number: usize) -> String {
    let policy = "  /srv/data/** r,\\n".repeat(BYTES / 19);
    let managed = r#"{"f:spec":{"f:policy":{}}}"#;
    format!(
        r#"{{"type":"ADDED","object":{{"apiVersion":"security-profiles-operator.x-k8s.io/v1alpha1","kind":"AppArmorProfile","metadata":{{"name":"profile-{number}","resourceVersion":"{number}","creationTimestamp":"2026-08-01T10:00:00Z","annotations":{{"kubectl.kubernetes.io/last-applied-configuration":"{policy}"}},"managedFields":[{{"fieldsV1":{managed}}}]}},"spec":{{"policy":"profile profile-{number} {{\n{policy}}}\n"}}}}}}"#
    )
    .replace("{\n", "{\\n")
    .replace("}\n", "}\\n")
        + "\n"
}

impl http_body::Body for List {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.sent += 1;
        let text = match (self.resource, self.sent) {
            (true, 1) => r#"{"groupVersion":"g/v1","resources":[{"name":"apparmorprofiles","singularName":"","namespaced":false,"kind":"AppArmorProfile","verbs":[]}]}"#.to_owned(),
            (true, _) => return Poll::Ready(None),
            (false, n) if n <= PROFILES => object(n),
            (false, n) if n == PROFILES + 1 => r#"{"type":"BOOKMARK","object":{"apiVersion":"v1","kind":"X","metadata":{"resourceVersion":"1001","annotations":{"k8s.io/initial-events-end":"true"}}}}"#.to_owned() + "\n",
            _ => return Poll::Pending,
        };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))))
    }
}

struct Server;

impl Service<Request<Body>> for Server {
    type Response = Response<List>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let resource = !request.uri().path().ends_with("apparmorprofiles");
        ready(Ok(Response::new(List { sent: 0, resource })))
    }
}

/// A line of `/proc/self/status`, in KiB.
fn status(key: &str) -> usize {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_thousand_profiles_need_less_than_20_mib() {
    let spool = tempfile::tempdir().unwrap();
    let task = Task {
        spool: spool.path().to_owned(),
        feeds: vec![Feed::Profiles],
        namespace: "ours".to_owned(),
        start_delay: Duration::ZERO,
    };
    let before = status("VmRSS:");
    let agent = tokio::spawn(run(
        Client::new(request_limit().layer(Server), "ours"),
        task,
    ));
    while !spool.path().join(".complete").exists() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    agent.abort();
    assert_eq!(fs::read_dir(spool.path()).unwrap().count(), PROFILES + 1);
    let file = fs::metadata(spool.path().join("profile-1.yaml")).unwrap();
    assert!(file.len() > 4_000, "{}", file.len());
    let (now, peak) = (status("VmRSS:"), status("VmHWM:"));
    println!("{before} KiB before, {now} KiB with {PROFILES} profiles, at most {peak} KiB");
    assert!(
        peak < LIMIT_KIB,
        "{peak} KiB; {before} KiB before, {now} KiB now"
    );
}
