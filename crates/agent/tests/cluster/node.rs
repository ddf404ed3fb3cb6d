//! A node: an agent, its spool, and the API server that it asks. And the bytes of an API server.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use kube::Client;
use oci_apparmor_agent::connection::request_limit;
use oci_apparmor_agent::object::Feed;
use oci_apparmor_agent::run::{Task, run};
use tokio::task::JoinHandle;
use tower::Layer;

use crate::replay::{End, Replay, Route};

pub(crate) struct Node {
    pub api: Replay,
    pub spool: PathBuf,
    directory: tempfile::TempDir,
    agent: Option<JoinHandle<()>>,
}

impl Node {
    /// With `v1` of the profiles served, and an empty spool.
    pub(crate) fn new() -> Self {
        let node = Self::without_kind();
        node.api
            .always(Route::V1, 200, &resources("v1"), End::Closed);
        node
    }

    pub(crate) fn without_kind() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let spool = directory.path().join("spool");
        fs::create_dir(&spool).unwrap();
        Self {
            api: Replay::default(),
            spool,
            directory,
            agent: None,
        }
    }

    /// A spool that was complete, with these files.
    pub(crate) fn with_files(self, files: &[&str]) -> Self {
        for file in files {
            fs::write(self.spool.join(file), "old").unwrap();
        }
        fs::write(self.spool.join(".complete"), "").unwrap();
        self
    }

    pub(crate) fn start(mut self) -> Self {
        let task = Task {
            spool: self.spool.clone(),
            feeds: vec![Feed::Profiles, Feed::ConfigMaps],
            namespace: "ours".to_owned(),
            start_delay: Duration::ZERO,
        };
        let client = Client::new(request_limit().layer(self.api.clone()), "ours");
        self.agent = Some(tokio::spawn(run(client, task)));
        self
    }

    /// As SIGTERM does it, or a crash.
    pub(crate) async fn stop(&mut self) {
        let agent = self.agent.take().unwrap();
        agent.abort();
        assert!(agent.await.unwrap_err().is_cancelled());
    }

    pub(crate) fn files(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(&self.spool).unwrap();
        let entry = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        };
        entries.map(|e| entry(e.unwrap())).collect()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.files().into_keys().collect()
    }

    /// Waits until the spool has these files and no others.
    pub(crate) async fn has(&self, names: &[&str]) {
        self.until(|node| node.names() == names).await;
    }

    pub(crate) async fn until(&self, done: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if done(self) {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("{:?}; asked: {:#?}", self.files(), self.api.asked());
    }

    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(agent) = &self.agent {
            agent.abort();
        }
    }
}

/// What discovery says of a version.
pub(crate) fn resources(version: &str) -> String {
    format!(
        r#"{{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"security-profiles-operator.x-k8s.io/{version}","resources":[{{"name":"apparmorprofiles","singularName":"apparmorprofile","namespaced":false,"kind":"AppArmorProfile","verbs":["delete","get","list","watch"],"shortNames":["aa"]}}]}}"#
    )
}

/// An AppArmorProfile, with all that a real one has.
pub(crate) fn profile(name: &str, version: u64, path: &str) -> String {
    format!(
        r#"{{"apiVersion":"security-profiles-operator.x-k8s.io/v1","kind":"AppArmorProfile","metadata":{{"annotations":{{"kubectl.kubernetes.io/last-applied-configuration":"{{}}"}},"creationTimestamp":"2026-08-01T10:00:00Z","generation":1,"managedFields":[{{"apiVersion":"security-profiles-operator.x-k8s.io/v1","fieldsType":"FieldsV1","fieldsV1":{{"f:spec":{{".":{{}}}}}},"manager":"kubectl-client-side-apply","operation":"Update","time":"2026-08-01T10:00:00Z"}}],"name":"{name}","resourceVersion":"{version}","uid":"7f0d1f8e-59a7-4d0a-b5a4-000000000000"}},"spec":{{"abstract":{{"filesystem":{{"readOnlyPaths":["{path}"]}}}}}},"status":{{"conditions":[]}}}}"#
    )
}

pub(crate) fn config_map(name: &str, version: u64, key: &str, text: &str) -> String {
    format!(
        r#"{{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"{name}","namespace":"ours","uid":"7f0d1f8e-59a7-4d0a-b5a4-000000000001","resourceVersion":"{version}","creationTimestamp":"2026-08-01T10:00:00Z","labels":{{"oci-apparmor/profile":"true"}}}},"data":{{"{key}":"{text}"}}}}"#
    )
}

/// One line of a watch.
pub(crate) fn event(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

pub(crate) fn added(object: &str) -> String {
    event("ADDED", object)
}

/// The bookmark after the objects of a list that is streamed.
pub(crate) fn listed(version: u64) -> String {
    event(
        "BOOKMARK",
        &format!(
            r#"{{"kind":"AppArmorProfile","apiVersion":"security-profiles-operator.x-k8s.io/v1","metadata":{{"resourceVersion":"{version}","creationTimestamp":null,"annotations":{{"k8s.io/initial-events-end":"true"}}}},"spec":{{}}}}"#
        ),
    )
}

/// A list in one piece, as servers without streamed lists send it.
pub(crate) fn list(version: u64, items: &[String]) -> String {
    let items = items.join(",");
    format!(
        r#"{{"apiVersion":"v1","kind":"List","metadata":{{"resourceVersion":"{version}"}},"items":[{items}]}}"#
    )
}
