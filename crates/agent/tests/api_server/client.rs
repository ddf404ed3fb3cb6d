//! Requests in the words of the API: a method, a path, JSON.

use http::{Method, Request};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use crate::server::Server;

/// What the API server answered if it did not do it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub code: u16,
    pub message: String,
}

/// A client with one token.
#[derive(Clone)]
pub(crate) struct Client {
    server: String,
    certificate: String,
    token: String,
    /// Headers of each request.
    headers: Vec<(&'static str, String)>,
    connection: Option<kube::Client>,
}

impl Client {
    pub(crate) fn new(server: &Server, token: String) -> Self {
        Self {
            server: format!("https://127.0.0.1:{}", server.port),
            certificate: server.certificate().to_str().unwrap().to_owned(),
            token,
            headers: Vec::new(),
            connection: None,
        }
    }

    /// For an administrator: requests as the kubelet of a node.
    pub(crate) fn as_kubelet(&self, node: &str) -> Self {
        self.with("impersonate-user", &format!("system:node:{node}"))
            .with("impersonate-group", "system:nodes")
    }

    fn with(&self, name: &'static str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name, value.to_owned()));
        client
    }

    /// One that keeps its connection, for one test with many requests.
    pub(crate) async fn connected(&self) -> Self {
        let mut client = self.clone();
        client.connection = Some(self.kube().await);
        client
    }

    /// Each time anew: a connection belongs to the runtime of the test that made it.
    async fn kube(&self) -> kube::Client {
        if let Some(connection) = &self.connection {
            return connection.clone();
        }
        let file = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster":
                {"server": self.server, "certificate-authority": self.certificate}}],
            "users": [{"name": "u", "user": {"token": self.token}}],
        });
        let file = Kubeconfig::from_yaml(&file.to_string()).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(file, &options).await;
        kube::Client::try_from(config.unwrap()).unwrap()
    }

    /// The answer to a GET as text.
    pub(crate) async fn text(&self, path: &str) -> kube::Result<String> {
        let request = Request::get(path).body(Vec::new()).unwrap();
        self.kube().await.request_text(request).await
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Refusal> {
        self.call_as(method, path, "application/json", body).await
    }

    async fn call_as(
        &self,
        method: Method,
        path: &str,
        content: &str,
        body: Option<&Value>,
    ) -> Result<Value, Refusal> {
        let body = body.map(|body| body.to_string().into_bytes());
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(body.unwrap_or_default()).unwrap();
        match self.kube().await.request(request).await {
            Ok(answer) => Ok(answer),
            Err(kube::Error::Api(status)) => Err(Refusal {
                code: status.code,
                message: status.message.clone(),
            }),
            Err(e) => panic!("{path}: {e:?}"),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Refusal> {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Value, Refusal> {
        // A pod on a node would otherwise wait for its kubelet.
        let path = format!("{path}?gracePeriodSeconds=0");
        self.call(Method::DELETE, &path, None).await
    }

    /// The table that `kubectl get` prints: its columns, and the first row.
    pub(crate) async fn table(&self, path: &str) -> Vec<(String, Value)> {
        let client = self.with("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
        let table = client.get(path).await.unwrap();
        let columns = table["columnDefinitions"].as_array().unwrap();
        let names = columns
            .iter()
            .map(|c| c["name"].as_str().unwrap().to_owned());
        let cells = table["rows"][0]["cells"].as_array().unwrap();
        names.zip(cells.clone()).collect()
    }

    /// Creates an object.
    pub(crate) async fn post(&self, object: &Value, query: &str) -> Result<Value, Refusal> {
        let path = format!("{}{query}", collection_of(object));
        self.call(Method::POST, &path, Some(object)).await
    }

    /// Server-side apply, as `kubectl apply --server-side` does it.
    pub(crate) async fn apply(&self, object: &Value) -> Result<Value, Refusal> {
        self.apply_as(object, "tests").await
    }

    pub(crate) async fn apply_as(&self, object: &Value, manager: &str) -> Result<Value, Refusal> {
        let path = path_of(object);
        let path = format!("{path}?fieldManager={manager}&fieldValidation=Strict&force=true");
        let content = "application/apply-patch+yaml";
        self.call_as(Method::PATCH, &path, content, Some(object))
            .await
    }

    /// A merge patch (RFC 7386).
    pub(crate) async fn merge(&self, path: &str, patch: &Value) -> Result<Value, Refusal> {
        let content = "application/merge-patch+json";
        self.call_as(Method::PATCH, path, content, Some(patch))
            .await
    }
}

/// The path of an object.
pub(crate) fn path_of(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap();
    format!("{}/{name}", collection_of(object))
}

fn collection_of(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap().to_lowercase();
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    };
    let version = object["apiVersion"].as_str().unwrap();
    let root = if version.contains('/') { "apis" } else { "api" };
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("/{root}/{version}/namespaces/{namespace}/{plural}"),
        None => format!("/{root}/{version}/{plural}"),
    }
}
