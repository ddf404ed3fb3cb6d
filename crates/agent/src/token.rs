//! On which node the agent runs, as its own token says it. Pure.
//!
//! The API server puts the node of a pod into the pod's token (Kubernetes 1.32 or newer), and admits
//! writes about that node only. So the agent needs no right to read nodes. The signature is not
//! verified: a false token would only make the API server refuse what the agent writes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The longest token that is read.
pub const MAX_TOKEN: u64 = 64 * 1024;

/// The longest name of an object, and longer than any UID.
const MAX_NAME: usize = 253;

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Its name.
    pub name: String,
    /// The UID of its Node object.
    pub uid: String,
}

/// The node that a token is bound to; nothing if it is bound to none.
#[must_use]
pub fn node_of(token: &str) -> Option<NodeIdentity> {
    // header.payload.signature (RFC 7519); the private claims are those of
    // k8s.io/kubernetes/pkg/serviceaccount/claims.go.
    let payload = token.trim().split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    let node = claims.get("kubernetes.io")?.get("node")?;
    let text = |key| node.get(key).and_then(Value::as_str).filter(|t| is_name(t));
    Some(NodeIdentity {
        name: text("name")?.to_owned(),
        uid: text("uid")?.to_owned(),
    })
}

/// Whether it can be the name of a node, or a UID: both become parts of a request.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b);
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_legal) && !text.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> String {
        format!("e30.{}.c2ln\n", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn the_node_is_read_from_the_token_of_a_pod() {
        let payload = r#"{"aud":["https://kubernetes.default.svc"],"kubernetes.io":{"namespace":"oci-apparmor","node":{"name":"worker-1.example","uid":"2a81a5c5-2e3c-4d0f-8f25-0e2a9a3f3c11"},"pod":{"name":"p","uid":"u"},"serviceaccount":{"name":"oci-apparmor-agent","uid":"v"}}}"#;
        let node = node_of(&token(payload)).unwrap();
        assert_eq!(node.name, "worker-1.example");
        assert_eq!(node.uid, "2a81a5c5-2e3c-4d0f-8f25-0e2a9a3f3c11");
    }

    #[test]
    fn other_tokens_have_no_node() {
        for payload in [
            "",
            "[]",
            r#"{"kubernetes.io":{"pod":{"name":"p"}}}"#,
            r#"{"kubernetes.io":{"node":{"name":"n"}}}"#,
            r#"{"kubernetes.io":{"node":{"name":"../x","uid":"u"}}}"#,
            r#"{"kubernetes.io":{"node":{"name":"","uid":"u"}}}"#,
            r#"{"kubernetes.io":{"node":{"name":"n","uid":7}}}"#,
        ] {
            assert_eq!(node_of(&token(payload)), None, "{payload}");
        }
        for text in ["", "a", "a.b", "a.!!.c", "..."] {
            assert_eq!(node_of(text), None, "{text}");
        }
    }
}
