//! The client of the API server.

use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::client::ClientBuilder;
use kube::{Client, Config};
use tower::limit::RateLimitLayer;

use crate::logging::chain;

/// Whatever happens, an agent sends no more requests than these in a minute: a proxy that closes
/// each watch at once would otherwise get the next one at once. A start needs four.
const REQUESTS: u64 = 10;
const PER: Duration = Duration::from_secs(60);

/// The limit of requests, as a layer around any service.
#[must_use]
pub const fn request_limit() -> RateLimitLayer {
    RateLimitLayer::new(REQUESTS, PER)
}

/// A client with the service account of this pod, or of the file that `KUBECONFIG` names, and the
/// namespace that this account is in. Tokens and certificates are read again when they change.
///
/// # Errors
/// Where there is neither, or it cannot be read.
pub(crate) async fn connect(node: Option<&str>) -> Result<Client, String> {
    let config = match std::env::var_os("KUBECONFIG") {
        Some(_) => Config::infer().await.map_err(|e| chain(&e)),
        None => Config::incluster().map_err(|e| chain(&e)),
    };
    let mut config = config?;
    let agent = concat!("oci-apparmor-agent/", env!("CARGO_PKG_VERSION"));
    let agent = match node {
        Some(node) => format!("{agent} ({node})"),
        None => agent.to_owned(),
    };
    if let Ok(agent) = HeaderValue::from_str(&agent) {
        config.headers.push((USER_AGENT, agent));
    }
    let builder = ClientBuilder::try_from(config).map_err(|e| chain(&e))?;
    Ok(builder.with_layer(&request_limit()).build())
}
