//! A cluster with the files of `deploy/` in it: two nodes, and no kubelet or controller.

use std::ops::Deref;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::sleep;

use crate::client::{Client, Refusal, path_of};
use crate::deployed;
use crate::server::Server;

/// The namespace and the account of the agent.
pub(crate) const NAMESPACE: &str = "oci-apparmor";
pub(crate) const ACCOUNT: &str = "oci-apparmor-agent";
pub(crate) const INSTALLER: &str = "oci-apparmor-installer";
const INSTALLER_DAEMON: &str = "oci-apparmor-install";

pub(crate) const NODES: [&str; 2] = ["node-a", "node-b"];

/// Namespaces for pods: ordinary, with a level of Pod Security, where a profile is required.
pub(crate) const ORDINARY: &str = "ordinary";
pub(crate) const BASELINE: &str = "baseline";
pub(crate) const REQUIRED: &str = "required";

/// A pod from before the policies, with what they would refuse.
pub(crate) const OLDER_POD: &str = "older";

/// What is applied, in this order.
const DIRECTORIES: [&str; 3] = [
    "deploy/crds/apparmorprofiles",
    "deploy/overlays/containerd",
    "deploy/install/base",
];

/// The objects that every test finds.
pub(crate) fn deployed() -> Vec<Value> {
    let objects = DIRECTORIES.iter();
    objects.flat_map(|d| deployed::kustomized(d)).collect()
}

pub(crate) struct Cluster {
    pub server: Server,
    pub admin: Client,
}

/// One test's use of the cluster.
pub(crate) struct Lease<G> {
    cluster: &'static Cluster,
    _guard: G,
}

impl<G> Deref for Lease<G> {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.cluster
    }
}

/// Nothing where it could not be started: that is not tried again.
static CLUSTER: OnceLock<Result<Option<Cluster>, String>> = OnceLock::new();
static USED: RwLock<()> = RwLock::const_new(());

/// The cluster, beside other tests; nothing where there are no programs for it.
pub(crate) async fn shared() -> Option<Lease<RwLockReadGuard<'static, ()>>> {
    let cluster = started()?;
    let _guard = USED.read().await;
    Some(Lease { cluster, _guard })
}

/// The cluster, for a test that restarts the API server or changes a definition.
pub(crate) async fn alone() -> Option<Lease<RwLockWriteGuard<'static, ()>>> {
    let cluster = started()?;
    let _guard = USED.write().await;
    Some(Lease { cluster, _guard })
}

fn started() -> Option<&'static Cluster> {
    let cluster = CLUSTER.get_or_init(|| {
        let server = Server::start()?;
        // Each test has a runtime of its own, and this is called from one.
        let ready = std::thread::spawn(|| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(Cluster::new(server))
        });
        Ok(ready.join().ok())
    });
    match cluster {
        Ok(Some(cluster)) => Some(cluster),
        Ok(None) => panic!("the cluster of these tests did not start"),
        Err(why) => {
            println!("NOT RUN: {why}");
            None
        }
    }
}

/// Repeats a question for up to four minutes, until the answer is yes.
pub(crate) async fn until<F: Future<Output = Result<(), String>>>(question: impl Fn() -> F) {
    let end = Instant::now() + Duration::from_secs(240);
    loop {
        match question().await {
            Ok(()) => return,
            Err(why) => assert!(Instant::now() < end, "{why}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

impl Cluster {
    async fn new(server: Server) -> Self {
        let admin = Client::new(&server, server.token.clone());
        let cluster = Self { server, admin };
        cluster.ready().await;
        for node in NODES {
            cluster.node(node).await;
        }
        cluster.namespace(ORDINARY, json!({})).await;
        let level = json!({"pod-security.kubernetes.io/enforce": "baseline"});
        cluster.namespace(BASELINE, level).await;
        let label = json!({"oci-apparmor/require-profile": "true"});
        cluster.namespace(REQUIRED, label).await;
        cluster.create(&contradiction(OLDER_POD)).await.unwrap();
        for object in deployed() {
            cluster.deploy(&object).await;
        }
        cluster.account(NAMESPACE, "default").await;
        cluster.policies_decide().await;
        cluster
    }

    /// Waits until the API server answers.
    pub(crate) async fn ready(&self) {
        until(|| async {
            let answer = self.admin.text("/readyz").await;
            answer.map(drop).map_err(|e| format!("{e:?}"))
        })
        .await;
    }

    /// A Node, as its kubelet registers it. Returns its UID.
    pub(crate) async fn node(&self, name: &str) -> Value {
        let labels = json!({"oci-apparmor/served": "true"});
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
        });
        self.admin.apply(&node).await.unwrap()["metadata"]["uid"].clone()
    }

    async fn namespace(&self, name: &str, labels: Value) {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": labels},
        });
        self.admin.apply(&namespace).await.unwrap();
        self.account(name, "default").await;
    }

    /// The controller manager makes these accounts, without which no pod is admitted.
    async fn account(&self, namespace: &str, name: &str) {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace},
        });
        self.admin.apply(&account).await.unwrap();
    }

    /// Applies an object of `deploy/` as kubectl does: with every field known to the API server.
    pub(crate) async fn deploy(&self, object: &Value) {
        let applied = self.admin.apply(object).await;
        applied.unwrap_or_else(|e| panic!("{e:?}: {object:#}"));
        if object["kind"] == "CustomResourceDefinition" {
            let path = path_of(object);
            until(|| async {
                let definition = self.admin.get(&path).await.unwrap();
                let conditions = definition["status"]["conditions"].as_array();
                let established = conditions.into_iter().flatten();
                let mut established =
                    established.filter(|c| c["type"] == "Established" && c["status"] == "True");
                established.next().map(drop).ok_or(definition.to_string())
            })
            .await;
        }
    }

    /// Waits until the API server has compiled the policies: each of them refuses something.
    async fn policies_decide(&self) {
        let none = json!({});
        let unconfined = json!({"oci-apparmor/profile": "unconfined"});
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": "probe", "namespace": ORDINARY, "annotations": unconfined},
            "target": {"kind": "Node", "name": NODES[0]},
        });
        let node = json!({
            "apiVersion": "oci-apparmor.io/v1alpha1", "kind": "NodeAppArmor",
            "metadata": {"name": "probe"},
        });
        let event = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": "probe", "namespace": "default"},
            "eventTime": "2026-08-01T10:00:00.000000Z", "type": "Normal", "action": "Probe",
            "reason": "Probe", "reportingController": "probe", "reportingInstance": "probe",
        });
        let unbound = Client::new(&self.server, self.token(None).await);
        for (policy, client, object) in [
            ("annotations-agree", &self.admin, contradiction("probe")),
            ("bindings-agree", &self.admin, binding),
            (
                "pod-security",
                &self.admin,
                pod(BASELINE, "probe", unconfined.clone(), none.clone()),
            ),
            (
                "require-profile",
                &self.admin,
                pod(REQUIRED, "probe", none.clone(), none.clone()),
            ),
            ("own-node", &unbound, node),
            ("own-node-events", &unbound, event),
        ] {
            let policy = format!("'{policy}.oci-apparmor.io'");
            until(|| async {
                let answer = client.post(&object, "?dryRun=All").await;
                match &answer {
                    Err(refusal) if refusal.message.contains(&policy) => Ok(()),
                    _ => Err(format!("{policy}: {answer:?}")),
                }
            })
            .await;
        }
        let field = json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "p"}});
        let field = json!({"securityContext": field});
        let pod = pod(ORDINARY, "probe", none, field);
        until(|| async {
            let pod = self.admin.post(&pod, "?dryRun=All").await.unwrap();
            match pod["metadata"]["annotations"]["container.oci-apparmor/c"].is_string() {
                true => Ok(()),
                false => Err(pod.to_string()),
            }
        })
        .await;
    }

    /// Creates an object, as an administrator.
    pub(crate) async fn create(&self, object: &Value) -> Result<Value, Refusal> {
        self.admin.post(object, "").await
    }

    /// A pod of the agent's DaemonSet on a node, as the controller would make it.
    pub(crate) async fn agent_pod(&self, node: &str) -> Value {
        self.pod_of(ACCOUNT, node).await
    }

    async fn pod_of(&self, owner: &str, node: &str) -> Value {
        let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/{owner}");
        let daemon = self.admin.get(&path).await.unwrap();
        let template = &daemon["spec"]["template"];
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": template["metadata"], "spec": template["spec"],
        });
        pod["metadata"]["namespace"] = json!(NAMESPACE);
        pod["metadata"]["generateName"] = json!(format!("{owner}-"));
        pod["spec"]["nodeName"] = json!(node);
        self.create(&pod).await.unwrap()
    }

    /// A token like the one that the kubelet gives to a pod; without a pod, one that is bound to
    /// nothing.
    pub(crate) async fn token(&self, pod: Option<&Value>) -> String {
        self.token_of(ACCOUNT, pod).await
    }

    async fn token_of(&self, account: &str, pod: Option<&Value>) -> String {
        let bound = pod.map(|pod| {
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"],
            })
        });
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "metadata": {},
            "spec": {"audiences": [], "expirationSeconds": 3600, "boundObjectRef": bound},
        });
        let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token");
        let answer = self.admin.call(Method::POST, &path, Some(&request)).await;
        answer.unwrap()["status"]["token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// A client with the account of the installer; on a node, if it has a pod there.
    pub(crate) async fn installer_client(&self, node: Option<&str>) -> Client {
        let pod = match node {
            Some(node) => Some(self.pod_of(INSTALLER_DAEMON, node).await),
            None => None,
        };
        Client::new(&self.server, self.token_of(INSTALLER, pod.as_ref()).await)
    }

    /// A client with the account of the agent, on a node.
    pub(crate) async fn agent_client(&self, node: &str) -> Client {
        let token = self.token(Some(&self.agent_pod(node).await)).await;
        Client::new(&self.server, token)
    }
}

/// A pod with one container, `c`.
pub(crate) fn pod(namespace: &str, name: &str, annotations: Value, spec: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
        "spec": {"containers": [{"name": "c", "image": "image"}]},
    });
    for (field, value) in spec.as_object().unwrap() {
        pod["spec"][field] = value.clone();
    }
    pod
}

fn contradiction(name: &str) -> Value {
    let field = json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "one"}});
    let annotations = json!({"container.oci-apparmor/c": "other"});
    pod(
        ORDINARY,
        name,
        annotations,
        json!({"securityContext": field}),
    )
}
