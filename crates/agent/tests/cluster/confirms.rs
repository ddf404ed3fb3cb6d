//! `confirm`: the node's label, and what the installer is told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs;
use std::future::{Ready, ready};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body as _;
use kube::Client;
use kube::client::Body;
use oci_apparmor_agent::confirm::{Confirmation, confirm, is_ready};
use oci_apparmor_agent::connection::request_limit;
use oci_apparmor_agent::label::LABEL;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower::{Layer, Service};

use crate::replay::status;

/// The API's object of one node.
#[derive(Debug, Default)]
struct NodeObject {
    labels: serde_json::Map<String, Value>,
    handlers: Vec<&'static str>,
    /// The codes of the next answers, instead of the object.
    errors: VecDeque<u16>,
    asked: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct OneNode(Arc<Mutex<NodeObject>>);

impl OneNode {
    fn change<T>(&self, change: impl FnOnce(&mut NodeObject) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    fn label(&self) -> Option<Value> {
        self.change(|node| node.labels.get(LABEL).cloned())
    }

    fn asked(&self) -> usize {
        self.change(|node| node.asked.len())
    }
}

/// The bytes of a request. kube has them ready.
fn bytes(body: Body) -> Vec<u8> {
    let mut body = Box::pin(body);
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut all = Vec::new();
    while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut context) {
        all.extend(frame.into_data().unwrap_or_default());
    }
    all
}

impl Service<Request<Body>> for OneNode {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut node = self.0.lock().unwrap();
        let method = request.method().clone();
        assert_eq!(request.uri().path(), "/api/v1/nodes/n1");
        node.asked.push(format!("{method} {}", request.uri()));
        if let Some(code) = node.errors.pop_front() {
            let body = Body::from(Bytes::from(status(code, "Away")));
            return ready(Ok(Response::builder().status(code).body(body).unwrap()));
        }
        match method {
            Method::GET => {}
            Method::PATCH => {
                assert_eq!(
                    request.headers()["content-type"],
                    "application/merge-patch+json"
                );
                let uri = request.uri().to_string();
                assert!(uri.contains("fieldManager=oci-apparmor-installer"), "{uri}");
                let patch: Value = serde_json::from_slice(&bytes(request.into_body())).unwrap();
                let labels = patch["metadata"]["labels"].as_object().unwrap();
                assert_eq!(labels.len(), 1, "{patch}");
                match &labels[LABEL] {
                    Value::Null => drop(node.labels.remove(LABEL)),
                    value => drop(node.labels.insert(LABEL.to_owned(), value.clone())),
                }
            }
            other => panic!("nothing asks with {other}"),
        }
        let handlers: Vec<Value> = node.handlers.iter().map(|n| json!({ "name": n })).collect();
        let object = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": "n1", "labels": node.labels, "resourceVersion": "1" },
            "spec": {},
            "status": { "runtimeHandlers": handlers },
        });
        ready(Ok(Response::new(Body::from(Bytes::from(
            object.to_string(),
        )))))
    }
}

/// The pod of an installer.
struct Pod {
    api: OneNode,
    directory: tempfile::TempDir,
    agent: Option<JoinHandle<()>>,
}

impl Pod {
    fn new(handlers: &[&'static str]) -> Self {
        let api = OneNode::default();
        api.change(|node| {
            node.handlers = handlers.to_vec();
            node.labels
                .insert("kubernetes.io/os".to_owned(), json!("linux"));
        });
        let mut pod = Self {
            api,
            directory: tempfile::tempdir().unwrap(),
            agent: None,
        };
        pod.start();
        pod
    }

    fn start(&mut self) {
        let task = Confirmation {
            handover: self.handover(),
            node: "n1".to_owned(),
        };
        let client = Client::new(request_limit().layer(self.api.clone()), "ours");
        self.agent = Some(tokio::spawn(confirm(client, task)));
    }

    fn stop(&mut self) {
        self.agent.take().unwrap().abort();
    }

    fn handover(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    fn ask(&self, id: &str, want: &str) {
        let text = json!({ "id": id, "want": want, "handler": "oci-apparmor" }).to_string();
        fs::write(self.handover().join("new"), text).unwrap();
        fs::rename(
            self.handover().join("new"),
            self.handover().join("node.json"),
        )
        .unwrap();
    }

    fn answer(&self) -> Value {
        let text = fs::read(self.handover().join("api.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// The answer to a question; the seconds that it took.
    async fn told(&self, id: &str) -> (Value, u64) {
        for seconds in 0..3_000 {
            if self.answer()["id"] == id {
                return (self.answer(), seconds);
            }
            sleep(Duration::from_secs(1)).await;
        }
        panic!("no answer to {id}; {:?}", self.api);
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.agent.iter().for_each(JoinHandle::abort);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_is_labelled_when_the_api_shows_the_handler() {
    let pod = Pod::new(&["", "runc"]);
    pod.ask("0", "nothing");
    sleep(Duration::from_secs(3_600)).await;
    assert!(!is_ready(&pod.handover()));
    // One look, to know the node; then nothing.
    assert_eq!((pod.api.asked(), pod.answer()), (1, Value::Null));
    pod.ask("1", "served");
    sleep(Duration::from_secs(60)).await;
    assert_eq!((pod.api.label(), pod.answer()), (None, Value::Null));
    pod.api.change(|node| node.handlers.push("oci-apparmor"));
    let (answer, seconds) = pod.told("1").await;
    assert_eq!(answer, json!({ "id": "1", "done": true }));
    assert!(seconds <= 20 && is_ready(&pod.handover()));
    assert_eq!(pod.api.label(), Some(json!("true")));
    // Then it is quiet.
    let asked = pod.api.asked();
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(pod.api.asked(), asked);
    pod.ask("2", "unserved");
    assert_eq!(pod.told("2").await.0["done"], true);
    let labels = pod.api.change(|node| node.labels.clone());
    assert_eq!(
        Value::Object(labels),
        json!({ "kubernetes.io/os": "linux" })
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_the_api_does_not_show_is_told_and_costs_the_label() {
    let pod = Pod::new(&["", "runc", "crun"]);
    pod.api
        .change(|node| node.labels.insert(LABEL.to_owned(), json!("true")));
    pod.ask("1", "served");
    let (answer, seconds) = pod.told("1").await;
    let reason = answer["reason"].as_str().unwrap();
    assert!(
        reason.contains("has runc, crun, and not oci-apparmor"),
        "{reason}"
    );
    assert_eq!(
        (answer["done"].as_bool(), pod.api.label()),
        (Some(false), None)
    );
    assert!((120..300).contains(&seconds), "{seconds}");
    assert!(!is_ready(&pod.handover()));
    // What the installer writes then: the label is gone, and the pod is not ready.
    let text = r#"{"id":"2","want":"unserved","handler":"oci-apparmor","failed":"x"}"#;
    fs::write(pod.handover().join("node.json"), text).unwrap();
    assert_eq!(pod.told("2").await.0["done"], true);
    assert!(!is_ready(&pod.handover()));
}

/// containerd before 2.0 does not report its handlers.
#[tokio::test(start_paused = true)]
async fn an_engine_that_reports_no_handlers_was_asked_by_the_installer() {
    let pod = Pod::new(&[]);
    pod.ask("1", "served");
    assert_eq!(pod.told("1").await.0["done"], true);
    assert_eq!(pod.api.label(), Some(json!("true")));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_takes_nothing_back() {
    let mut pod = Pod::new(&["", "runc"]);
    pod.api.change(|node| {
        let errors = [401, 403, 404, 429, 500, 503];
        node.errors = errors.into_iter().cycle().take(300).collect();
    });
    pod.ask("1", "served");
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(pod.answer(), Value::Null);
    // About one request in a minute.
    assert!((50..200).contains(&pod.api.asked()), "{}", pod.api.asked());
    // A container that starts again begins anew.
    pod.stop();
    pod.start();
    pod.api.change(|node| {
        node.errors.clear();
        node.handlers.push("oci-apparmor");
    });
    assert_eq!(pod.told("1").await.0["done"], true);
    // A question that is replaced is not answered any more.
    pod.api.change(|node| node.errors = [503; 50].into());
    pod.ask("2", "unserved");
    sleep(Duration::from_secs(30)).await;
    pod.ask("3", "served");
    assert_eq!(pod.told("3").await.0["done"], true);
    assert_eq!(pod.api.label(), Some(json!("true")));
}

#[tokio::test(start_paused = true)]
async fn files_that_are_no_questions_are_none() {
    let pod = Pod::new(&["oci-apparmor"]);
    for text in [
        "",
        "{",
        "[]",
        "{\"id\":7}",
        "{\"id\":\"1\",\"want\":\"all\",\"handler\":\"x\"}",
    ] {
        fs::write(pod.handover().join("node.json"), text).unwrap();
        sleep(Duration::from_secs(30)).await;
    }
    assert_eq!((pod.api.asked(), pod.answer()), (0, Value::Null));
}
