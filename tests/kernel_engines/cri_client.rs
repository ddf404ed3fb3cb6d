//! A client of the Kubernetes container runtime interface (CRI), as the kubelet is one: gRPC over
//! the engine's socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use h2::client;
use http::{HeaderMap, Request};
use prost::Message;
use prost::bytes::{BufMut, Bytes, BytesMut};
use tokio::net::UnixStream;

use crate::cri_messages::*;

/// What the engine answers where it does not do what it was asked: gRPC's `grpc-message`, which
/// the kubelet makes the event and the container's message that `kubectl describe pod` shows.
pub(crate) type Refusal = String;

/// The engine, by its socket.
pub(crate) struct Cri {
    socket: PathBuf,
}

impl Cri {
    pub(crate) fn new(socket: impl AsRef<Path>) -> Self {
        Self {
            socket: socket.as_ref().to_owned(),
        }
    }

    /// Calls the runtime service.
    pub(crate) fn call<A: Message + Default>(
        &self,
        method: &str,
        request: &impl Message,
    ) -> Result<A, Refusal> {
        self.unary(&format!("/runtime.v1.RuntimeService/{method}"), request)
    }

    /// Whether the engine has this image.
    pub(crate) fn has_image(&self, name: &str) -> bool {
        let request = ImageStatus {
            image: Some(Image {
                image: name.to_owned(),
            }),
        };
        self.unary::<ImageFound>("/runtime.v1.ImageService/ImageStatus", &request)
            .is_ok_and(|answer| answer.image.is_some())
    }

    fn unary<A: Message + Default>(
        &self,
        path: &str,
        request: &impl Message,
    ) -> Result<A, Refusal> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let body = request.encode_to_vec();
        // Emulated guests are slow, but nothing takes that long.
        let limit = Duration::from_secs(120);
        let answer = runtime.block_on(async {
            tokio::time::timeout(limit, unary(&self.socket, path, &body))
                .await
                .unwrap_or_else(|_| panic!("{path} took more than {limit:?}"))
        })?;
        Ok(A::decode(answer.as_slice()).unwrap())
    }
}

/// One call of gRPC over HTTP/2
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
async fn unary(socket: &Path, path: &str, message: &[u8]) -> Result<Vec<u8>, Refusal> {
    let told = |e: &dyn std::fmt::Display| format!("{}: {e}", socket.display());
    let stream = UnixStream::connect(socket).await.map_err(|e| told(&e))?;
    let (mut sender, connection) = client::handshake(stream).await.map_err(|e| told(&e))?;
    tokio::spawn(connection);
    let request = Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (response, mut body) = sender.send_request(request, false).map_err(|e| told(&e))?;
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(message);
    body.send_data(Bytes::from(frame), true)
        .map_err(|e| told(&e))?;
    let response = response.await.map_err(|e| told(&e))?;
    let headers = response.headers().clone();
    let mut body = response.into_body();
    let mut answer = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.map_err(|e| told(&e))?;
        body.flow_control().release_capacity(part.len()).unwrap();
        answer.extend_from_slice(&part);
    }
    let trailers = body.trailers().await.map_err(|e| told(&e))?;
    // Where nothing is answered, the status may be in the headers alone.
    let trailers = trailers.unwrap_or(headers);
    match text(&trailers, "grpc-status").as_str() {
        "0" => Ok(answer.split_off(5)),
        _ => Err(unescaped(&text(&trailers, "grpc-message"))),
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).map(|v| v.to_str().unwrap());
    value.unwrap_or_default().to_owned()
}

/// gRPC writes messages with percent signs, as URLs are.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok());
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}
