//! What the API server is told about the node.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use oci_apparmor_agent::connection::request_limit;
use oci_apparmor_agent::object::Feed;
use oci_apparmor_agent::publish::{ReportTask, publish};
use oci_apparmor_agent::run::{Task, run_and_tell};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service};

use crate::node::{added, config_map, listed, resources};
use crate::replay::{End, Replay, ReplayBody, Route, status};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const UID: &str = "2a81a5c5-2e3c-4d0f-8f25-0e2a9a3f3c11";

/// A request that writes.
#[derive(Debug, Clone)]
struct Written {
    at: Instant,
    method: String,
    uri: String,
    kind: String,
    object: Value,
}

impl Written {
    fn is_object(&self) -> bool {
        self.uri.contains("/nodeapparmors/")
    }
}

#[derive(Debug, Default)]
struct Writes {
    asked: Vec<Written>,
    /// The next answers; then, all is well.
    objects: VecDeque<u16>,
    events: VecDeque<u16>,
}

/// An API server that also takes what is written.
#[derive(Debug, Clone, Default)]
struct WritableApi {
    reads: Replay,
    writes: Arc<Mutex<Writes>>,
}

impl WritableApi {
    fn take(&self, written: Written) -> u16 {
        let mut writes = self.writes.lock().unwrap();
        let answers = match written.is_object() {
            true => &mut writes.objects,
            false => &mut writes.events,
        };
        let answer = answers.pop_front();
        let code = answer.unwrap_or(if written.is_object() { 200 } else { 201 });
        writes.asked.push(written);
        code
    }
}

impl Service<Request<Body>> for WritableApi {
    type Response = Response<ReplayBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.method() == "GET" {
            return Box::pin(self.reads.call(request));
        }
        let api = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect_bytes().await.unwrap();
            let written = Written {
                at: Instant::now(),
                method: parts.method.to_string(),
                uri: parts.uri.to_string(),
                kind: parts.headers["content-type"].to_str().unwrap().to_owned(),
                object: serde_json::from_slice(&bytes).unwrap(),
            };
            let code = api.take(written);
            let body = match code {
                200 | 201 => "{}".to_owned(),
                code => status(code, "Refused"),
            };
            let body = ReplayBody::whole(Bytes::from(body));
            Ok(Response::builder().status(code).body(body).unwrap())
        })
    }
}

/// The token of a pod on this node.
pub(crate) fn token(node: &str) -> String {
    let claims = json!({"kubernetes.io": {"node": {"name": node, "uid": UID}}});
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("e30.{claims}.c2ln")
}

/// A node whose agent reports.
struct ReportingNode {
    api: WritableApi,
    directory: tempfile::TempDir,
    rejected: watch::Sender<Option<Vec<oci_apparmor_agent::node_report::RejectedProfile>>>,
    agent: Option<JoinHandle<()>>,
}

impl ReportingNode {
    fn new() -> Self {
        let node = Self {
            api: WritableApi::default(),
            directory: tempfile::tempdir().unwrap(),
            rejected: watch::channel(Some(Vec::new())).0,
            agent: None,
        };
        fs::create_dir(node.path("spool")).unwrap();
        fs::write(node.path("token"), token("n1")).unwrap();
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What root writes.
    fn says(&self, status: &Value) {
        let temporary = self.path("node.new");
        fs::write(&temporary, status.to_string()).unwrap();
        fs::rename(temporary, self.path("node.json")).unwrap();
    }

    fn client(&self) -> Client {
        Client::new(request_limit().layer(self.api.clone()), "ours")
    }

    fn task(&self) -> ReportTask {
        ReportTask {
            status: self.directory.path().to_owned(),
            token: self.path("token"),
            node: Some("n1".to_owned()),
        }
    }

    fn start(mut self) -> Self {
        let rejected = self.rejected.subscribe();
        self.agent = Some(tokio::spawn(publish(self.client(), self.task(), rejected)));
        self
    }

    fn answers(&self, objects: &[u16], events: &[u16]) {
        let mut writes = self.api.writes.lock().unwrap();
        writes.objects.extend(objects);
        writes.events.extend(events);
    }

    /// What was written within this time.
    async fn during(&self, time: Duration) -> Vec<Written> {
        let before = self.api.writes.lock().unwrap().asked.len();
        sleep(time).await;
        self.api.writes.lock().unwrap().asked[before..].to_vec()
    }
}

impl Drop for ReportingNode {
    fn drop(&mut self) {
        if let Some(agent) = &self.agent {
            agent.abort();
        }
    }
}

pub(crate) fn said(enforcing: bool, denials: u64) -> Value {
    json!({
        "kernel": {"release": "6.12", "parser": "4.1.0", "enforcing": enforcing},
        "versions": {"wrapper": "0.1.0"},
        "engines": [{"name": "containerd", "calls": "Named"}],
        "profileCounts": {"loaded": 1},
        "profiles": [{"name": "web", "state": "Loaded"}],
        "containers": {"confined": denials},
        "denials": {"total": denials, "byProfile": []},
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "CalledWhenNamed",
            "lastTransitionTime": "2026-08-01T10:00:00Z",
        }],
    })
}

fn condition<'s>(written: &'s Written, kind: &str) -> &'s Value {
    let all = written.object["status"]["conditions"].as_array().unwrap();
    all.iter().find(|c| c["type"] == kind).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_object_is_applied_once_and_again_after_hours() {
    let node = ReportingNode::new();
    node.says(&said(true, 0));
    let node = node.start();
    let sent = node.during(MINUTE).await;
    let [first] = &*sent else { panic!("{sent:?}") };
    assert_eq!(
        (&*first.method, &*first.kind),
        ("PATCH", "application/apply-patch+yaml")
    );
    assert_eq!(
        first.uri,
        "/apis/oci-apparmor.io/v1alpha1/nodeapparmors/n1?fieldManager=oci-apparmor-agent&force=true"
    );
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": UID});
    assert_eq!(
        first.object["metadata"],
        json!({"name": "n1", "ownerReferences": [owner]})
    );
    assert_eq!(first.object["kind"], "NodeAppArmor");
    let status = &first.object["status"];
    let versions = json!({"wrapper": "0.1.0", "agent": env!("CARGO_PKG_VERSION")});
    assert_eq!(status["versions"], versions);
    assert_eq!(status["engines"], said(true, 0)["engines"]);
    assert_eq!(
        condition(first, "Ready")["lastTransitionTime"],
        "2026-08-01T10:00:00Z"
    );
    // Nothing changes. Root looks at the node each minute, which changes the time of the file.
    for _ in 0..10 {
        node.says(&said(true, 0));
        assert_eq!(node.during(MINUTE).await.len(), 0);
    }
    assert_eq!(node.during(5 * HOUR).await.len(), 0);
    // The object may have been deleted or edited.
    let again = node.during(2 * HOUR).await;
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].object, first.object);
}

#[tokio::test(start_paused = true)]
async fn changes_are_applied_soon_and_counts_every_five_minutes() {
    let node = ReportingNode::new();
    node.says(&said(true, 0));
    let node = node.start();
    node.during(MINUTE).await;
    node.says(&said(false, 0));
    let sent = node.during(MINUTE).await;
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].object["status"]["kernel"]["enforcing"], false);
    let mut times = Vec::new();
    for minute in 1..=30 {
        node.says(&said(false, minute));
        times.extend(node.during(MINUTE).await.into_iter().map(|w| w.at));
    }
    assert!((5..=6).contains(&times.len()), "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 5 * MINUTE));
    // A container with a wrong label is no mere count.
    let mut wrong = said(false, 31);
    wrong["containers"]["wrong"] = json!(1);
    node.says(&wrong);
    assert_eq!(node.during(MINUTE).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_answers_is_waited_out() {
    for (code, most) in [
        (409, 5),
        (429, 5),
        (500, 5),
        (503, 5),
        (401, 5),
        (403, 60),
        (404, 60),
        (422, 60),
    ] {
        let node = ReportingNode::new();
        node.says(&said(true, 0));
        node.answers(&[code, code], &[]);
        let node = node.start();
        let sent = node.during(most * MINUTE).await;
        assert_eq!(sent.len(), 3, "{code}");
        let waited = sent[1].at - sent[0].at;
        assert_eq!(waited > 4 * MINUTE, most == 60, "{code}: {waited:?}");
        assert_eq!(node.during(5 * HOUR).await.len(), 0, "{code}");
    }
    // Away for days: the last state arrives.
    let node = ReportingNode::new();
    node.says(&said(true, 0));
    node.answers(&[503; 300], &[]);
    let node = node.start();
    node.during(12 * HOUR).await;
    node.says(&said(true, 7));
    let sent = node.during(48 * HOUR).await;
    let sent: Vec<_> = sent.iter().filter(|w| w.is_object()).collect();
    let last = sent.last().unwrap();
    assert_eq!(last.object["status"]["denials"]["total"], 7);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_missing_or_half_says_that_nothing_is_known() {
    for wrong in [
        None,
        Some(""),
        Some("{\"kernel\":"),
        Some("[]"),
        Some("{\"engines\":7}"),
    ] {
        let node = ReportingNode::new();
        if let Some(wrong) = wrong {
            fs::write(node.path("node.json"), wrong).unwrap();
        }
        let node = node.start();
        let sent = node.during(HOUR).await;
        assert_eq!(sent.len(), 1, "{wrong:?}");
        let ready = condition(&sent[0], "Ready");
        assert_eq!(ready["status"], "Unknown");
        assert_eq!(ready["reason"], "NoStatus");
        assert_eq!(sent[0].object["status"]["kernel"], Value::Null);
        // The node side comes.
        node.says(&said(true, 0));
        let sent = node.during(MINUTE).await;
        assert_eq!(condition(&sent[0], "Ready")["status"], "True");
    }
    // Nothing has looked at the node for long.
    let node = ReportingNode::new();
    node.says(&said(true, 0));
    let file = fs::File::open(node.path("node.json")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + HOUR).unwrap();
    let sent = node.start().during(MINUTE).await;
    let ready = condition(&sent[0], "Ready");
    assert_eq!(ready["reason"], "StatusOutdated");
    assert_eq!(ready["lastTransitionTime"], "1970-01-01T01:10:00Z");
}

#[tokio::test(start_paused = true)]
async fn a_token_without_a_node_writes_no_object() {
    let node = ReportingNode::new();
    node.says(&said(true, 0));
    let claims = URL_SAFE_NO_PAD.encode(r#"{"kubernetes.io":{"namespace":"ours"}}"#);
    fs::write(node.path("token"), format!("e30.{claims}.c2ln")).unwrap();
    let mut status = said(true, 0);
    status["profiles"] = json!([{"name": "bad", "state": "Refused", "reason": "why"}]);
    node.says(&status);
    let node = node.start();
    let sent = node.during(HOUR).await;
    // The kubelet's events are about this UID, too.
    let [event] = &*sent else { panic!("{sent:?}") };
    assert_eq!(event.object["regarding"]["uid"], "n1");
}

#[tokio::test(start_paused = true)]
async fn each_refusal_is_one_event() {
    let refused = |count: usize| {
        let mut status = said(true, 0);
        let profile = |n| json!({"name": format!("p{n}"), "state": "Refused", "reason": "why"});
        status["profiles"] = (0..count).map(profile).collect();
        status
    };
    let node = ReportingNode::new();
    node.says(&refused(2));
    let node = node.start();
    let sent = node.during(HOUR).await;
    let events: Vec<_> = sent.iter().filter(|w| !w.is_object()).collect();
    assert_eq!((events.len(), sent.len()), (2, 3));
    let event = &events[0].object;
    assert!(
        events[0]
            .uri
            .starts_with("/apis/events.k8s.io/v1/namespaces/default/events?")
    );
    assert_eq!(event["note"], "the profile p0 is refused: why");
    assert_eq!(
        event["regarding"],
        json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": UID})
    );
    assert_eq!(event["reportingInstance"], "n1");
    // After a restart, they exist, and are not created again and again.
    node.agent.as_ref().unwrap().abort();
    let node = node.start();
    node.answers(&[], &[409, 409]);
    let again = node.during(5 * HOUR).await;
    let names = |sent: &[Written]| -> Vec<Value> {
        let events = sent.iter().filter(|w| !w.is_object());
        events
            .map(|w| w.object["metadata"]["name"].clone())
            .collect()
    };
    assert_eq!(names(&again), names(&sent));
    // A flood is a few of them, whatever is refused.
    node.says(&refused(256));
    let flood = node.during(HOUR).await;
    assert!((10..=20).contains(&names(&flood).len()), "{}", flood.len());
    // Without the right to make events, the object is applied all the same.
    node.answers(&[], &[403; 100]);
    node.says(&said(false, 0));
    let sent = node.during(MINUTE).await;
    assert!(sent.iter().any(Written::is_object), "{sent:?}");
}

/// The whole agent: what it rejects is told, and then it sends nothing.
#[tokio::test(start_paused = true)]
async fn what_the_agent_rejects_is_told_and_an_idle_agent_is_silent() {
    let node = ReportingNode::new();
    node.says(&said(true, 0));
    let reads = &node.api.reads;
    reads.always(Route::V1, 200, &resources("v1"), End::Closed);
    reads.then(Route::Profiles, 200, listed(6), End::Open);
    let rejected = added(&config_map("c", 5, "not/a/name", "text")) + &listed(6);
    reads.then(Route::ConfigMaps, 200, rejected, End::Open);
    let task = Task {
        spool: node.path("spool"),
        feeds: vec![Feed::Profiles, Feed::ConfigMaps],
        namespace: "ours".to_owned(),
        start_delay: Duration::ZERO,
    };
    let (told, rejected) = watch::channel(None);
    let client = node.client();
    let agent = tokio::spawn(publish(client.clone(), node.task(), rejected));
    let follower = tokio::spawn(run_and_tell(client, task, told));
    let sent = node.during(5 * MINUTE).await;
    assert_eq!(sent.len(), 2, "{sent:?}");
    let status = &sent[0].object["status"];
    assert_eq!(status["profileCounts"]["refused"], 1);
    assert_eq!(status["profiles"][0]["name"], "not/a/name");
    assert_eq!(condition(&sent[0], "ProfilesAccepted")["status"], "False");
    let reason = status["profiles"][0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("ConfigMap ours/c: the name "),
        "{reason}"
    );
    let asked = node.api.reads.asked().len();
    assert_eq!(node.during(2 * HOUR).await.len(), 0);
    let reads = node.api.reads.asked();
    let watches = reads[asked..].iter().all(|r| r.uri.contains("watch=true"));
    assert!(watches, "{reads:#?}");
    agent.abort();
    follower.abort();
}
