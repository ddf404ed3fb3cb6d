//! Tells the API server about this node: its `NodeAppArmor` object, and events about refusals.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use http::Request;
use http::header::CONTENT_TYPE;
use kube::Client;
use log::{info, warn};
use oci_apparmor_node_status::NodeStatus;
use serde_json::Value;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep, timeout};

use crate::answers::{self, Trouble};
use crate::api_object::{events_path, node_object, status_path};
use crate::backoff::random;
use crate::node_file::{NodeFile, NodeFileContent};
use crate::node_report::{AgentFacts, RejectedProfile, report};
use crate::publisher::{ReportNote, ReportOutcome, ReportPublisher, ReportRequest};
use crate::token::{MAX_TOKEN, NodeIdentity, is_name, node_of};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long the objects of the API are waited for, so that the first report has what is rejected.
const FIRST: Duration = Duration::from_secs(90);

/// How long a request may take. The limit of requests may make it wait for a minute.
const LONGEST_REQUEST: Duration = Duration::from_secs(150);

/// The most bytes of an answer: the object that was sent, with what the API server adds.
const MAX_ANSWER: usize = 2 * 1024 * 1024;

/// Where the report comes from.
#[derive(Debug, Clone)]
pub struct ReportTask {
    /// The directory of the file that `oci-apparmor node status --write` writes.
    pub status: PathBuf,
    /// The token that says on which node the agent runs.
    pub token: PathBuf,
    /// The name of the node for events, where the token does not say it.
    pub node: Option<String>,
}

/// Reports for ever. `rejected` is nothing until the objects of the API are known.
pub async fn publish(
    client: Client,
    task: ReportTask,
    mut rejected: Receiver<Option<Vec<RejectedProfile>>>,
) {
    let started = Instant::now();
    let mut publisher = ReportPublisher::new(started);
    let mut reporter = Reporter {
        file: NodeFile::new(&task.status),
        agent: AgentFacts {
            started: Some(SystemTime::now()),
            ..AgentFacts::default()
        },
        unreadable: None,
        identity: None,
        task,
    };
    // Agents that start together do not look together.
    sleep(random(LOOK_EVERY)).await;
    loop {
        let known = rejected.borrow_and_update().clone();
        if known.is_some() || started.elapsed() >= FIRST {
            reporter.report(&client, &mut publisher, known).await;
        }
        sleep(LOOK_EVERY).await;
    }
}

struct Reporter {
    task: ReportTask,
    file: NodeFile,
    agent: AgentFacts,
    /// Why the file cannot be used, once it was logged.
    unreadable: Option<String>,
    identity: Option<NodeIdentity>,
}

impl Reporter {
    async fn report(
        &mut self,
        client: &Client,
        publisher: &mut ReportPublisher,
        rejected: Option<Vec<RejectedProfile>>,
    ) {
        let wanted = self.wanted(rejected.unwrap_or_default());
        if self.identity.is_none() {
            self.identity = read_token(&self.task.token);
        }
        let named = self.task.node.as_deref().filter(|name| is_name(name));
        let identity = self.identity.clone();
        let Some(node) = identity.as_ref().map(|i| i.name.as_str()).or(named) else {
            return;
        };
        let now = Instant::now();
        let Some(request) = publisher.next(&wanted, node, identity.is_some(), now) else {
            return;
        };
        let uid = identity.as_ref().map_or(node, |identity| &identity.uid);
        let sent = match (&request, &identity) {
            (ReportRequest::Apply(status), Some(identity)) => {
                let object = node_object(identity, status);
                Request::patch(status_path(node))
                    .header(CONTENT_TYPE, "application/apply-patch+yaml")
                    .body(object.to_string().into_bytes())
            }
            (ReportRequest::Announce(event), _) => {
                let object: Value = event.object(node, uid, SystemTime::now());
                Request::post(events_path())
                    .header(CONTENT_TYPE, "application/json")
                    .body(object.to_string().into_bytes())
            }
            (ReportRequest::Apply(_), None) => return,
        };
        let outcome = match sent {
            Ok(sent) => send(client, sent).await,
            Err(e) => failed(None, Duration::ZERO, e.to_string()),
        };
        let what = match &request {
            ReportRequest::Apply(_) => format!("NodeAppArmor {node}"),
            ReportRequest::Announce(_) => "an event".to_owned(),
        };
        match publisher.done(request, outcome, Instant::now()) {
            Some(ReportNote::Fails(why)) => {
                warn!("cannot write {what}: {why}; it is tried again");
            }
            Some(ReportNote::Works) => info!("{what} is written again"),
            None => {}
        }
    }

    fn wanted(&mut self, rejected: Vec<RejectedProfile>) -> NodeStatus {
        let now = SystemTime::now();
        self.agent.rejected_since = match rejected.is_empty() {
            true => None,
            false => self.agent.rejected_since.or(Some(now)),
        };
        self.agent.rejected = rejected;
        let facts = self.file.look();
        let why = match facts {
            NodeFileContent::Known(..) => None,
            NodeFileContent::Unknown(why) => Some(why.clone()),
        };
        if let Some(why) = why.as_ref().filter(|_| why != self.unreadable) {
            let path = self.task.status.display();
            warn!("cannot read the status of the node in {path}: {why}");
        }
        let status = report(facts, &self.agent, now);
        self.unreadable = why;
        status
    }
}

fn read_token(path: &Path) -> Option<NodeIdentity> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(MAX_TOKEN).read_to_string(&mut text).ok()?;
    node_of(&text)
}

async fn send(client: &Client, request: Request<Vec<u8>>) -> ReportOutcome {
    let answer = async {
        let answer = answers::send(client, request).await?;
        // Until its end, so that the connection can be used again.
        answers::whole(answer, MAX_ANSWER).await
    };
    match timeout(LONGEST_REQUEST, answer).await {
        Ok(Ok(_)) => ReportOutcome::Done,
        Ok(Err(trouble)) => {
            let (code, wait) = match &trouble {
                Trouble::Refused {
                    code, retry_after, ..
                } => (Some(*code), *retry_after),
                _ => (None, None),
            };
            failed(code, wait.unwrap_or_default(), trouble.reason())
        }
        Err(_) => failed(None, Duration::ZERO, "it took too long".to_owned()),
    }
}

fn failed(code: Option<u16>, wait: Duration, why: String) -> ReportOutcome {
    ReportOutcome::Failed { code, wait, why }
}
