//! The client of the API server.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use log::{info, warn};
use tower::Service;
use tower::limit::RateLimitLayer;

use crate::logging::chain;

/// Whatever happens, an agent sends no more requests than these in a minute: a proxy that closes
/// each watch at once would otherwise get the next one at once. A start needs four.
const REQUESTS: u64 = 10;
const PER: Duration = Duration::from_secs(60);

/// The most bytes of a token or of certificates that are compared.
const MAX_FILE: u64 = 1024 * 1024;

/// The limit of requests, as a layer around any service.
#[must_use]
pub const fn request_limit() -> RateLimitLayer {
    RateLimitLayer::new(REQUESTS, PER)
}

/// A client with the service account of this pod, or of the file that `KUBECONFIG` names, and the
/// namespace that this account is in.
///
/// # Errors
/// Where there is neither, or it cannot be read.
pub(crate) async fn connect(node: Option<&str>) -> Result<Client, String> {
    let config = match std::env::var_os("KUBECONFIG") {
        Some(_) => Config::infer().await.map_err(|e| chain(&e)),
        None => Config::incluster().map_err(|e| chain(&e)),
    };
    client(config?, node)
}

/// A client of this API server. `node` is for the API server's audit log.
///
/// # Errors
/// Where the token or the certificates cannot be read.
pub fn client(mut config: Config, node: Option<&str>) -> Result<Client, String> {
    let agent = concat!("oci-apparmor-agent/", env!("CARGO_PKG_VERSION"));
    let agent = match node {
        Some(node) => format!("{agent} ({node})"),
        None => agent.to_owned(),
    };
    if let Ok(agent) = HeaderValue::from_str(&agent) {
        config.headers.push((USER_AGENT, agent));
    }
    // Below the limit of requests, kube would repeat what the API server refuses for its load.
    config.default_retry = false;
    let namespace = config.default_namespace.clone();
    let account = Account::new(config)?;
    let builder = ClientBuilder::new(account, namespace);
    Ok(builder.with_layer(&request_limit()).build())
}

/// Requests with the token and the certificates that the files have now. The kubelet replaces both
/// while the agent runs; kube looks at them once in a minute only, and a connection that it keeps
/// would go on with what was replaced.
struct Account {
    config: Config,
    files: [Option<Vec<u8>>; 2],
    client: Client,
}

impl Account {
    fn new(config: Config) -> Result<Self, String> {
        // First the files: what changes in between is seen at the next request.
        let files = files(&config);
        let client = build(&config)?;
        Ok(Self {
            config,
            files,
            client,
        })
    }

    /// A failure leaves what was: the files may be about to be replaced.
    fn renew(&mut self) {
        let files = files(&self.config);
        if files == self.files
            || files
                .iter()
                .zip(&self.files)
                .any(|(new, old)| new.is_none() && old.is_some())
        {
            return;
        }
        match build(&self.config) {
            Ok(client) => {
                info!("the token or the certificates of the API server have changed");
                (self.client, self.files) = (client, files);
            }
            Err(why) => warn!("cannot read the new token or certificates: {why}"),
        }
    }
}

fn build(config: &Config) -> Result<Client, String> {
    let builder = ClientBuilder::try_from(config.clone()).map_err(|e| chain(&e))?;
    Ok(builder.build())
}

/// What is in the files of the token and of the certificates; nothing where there is none.
fn files(config: &Config) -> [Option<Vec<u8>>; 2] {
    let token = config.auth_info.token_file.as_deref().map(Path::new);
    [token, config.root_cert_file.as_deref()].map(|path| {
        let mut bytes = Vec::new();
        let read = File::open(path?).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
        read.is_ok_and(|length| length > 0).then_some(bytes)
    })
}

impl Service<Request<Body>> for Account {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, kube::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), kube::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.renew();
        let client = self.client.clone();
        Box::pin(async move { client.send(request).await })
    }
}
