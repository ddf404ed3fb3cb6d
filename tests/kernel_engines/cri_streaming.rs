//! The client's end of a CRI stream (`kubectl exec`, `kubectl attach`): Kubernetes' channels over a
//! WebSocket (RFC 6455), as `k8s.io/kubelet/pkg/cri/streaming/remotecommand` serves them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The first byte of a message is its channel: 0 standard input, 1 output, 2 error, 3 how it ended.
const PROTOCOL: &str = "v4.channel.k8s.io";

/// What came back until the end of the stream.
#[derive(Debug, Default)]
pub(crate) struct Streamed {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// A `Status` of Kubernetes, in JSON.
    pub(crate) status: String,
}

/// Sends `input` and takes what comes until the stream ends, or until `enough` says so.
pub(crate) fn stream(url: &str, input: &str, enough: impl Fn(&Streamed) -> bool) -> Streamed {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut socket = TcpStream::connect(host).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    write!(
        socket,
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n"
    )
    .unwrap();
    let head = head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    if !input.is_empty() {
        let mut message = vec![0];
        message.extend_from_slice(input.as_bytes());
        send(&mut socket, &message);
    }
    let mut streamed = Streamed::default();
    while !enough(&streamed) {
        let Some(message) = receive(&mut socket) else {
            break;
        };
        let Some((channel, text)) = message.split_first() else {
            continue;
        };
        let text = String::from_utf8_lossy(text);
        match channel {
            1 => streamed.stdout += &text,
            2 => streamed.stderr += &text,
            3 => streamed.status += &text,
            _ => {}
        }
    }
    streamed
}

fn head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Sends one short binary message; clients have to mask, and a mask of zeros changes nothing.
fn send(socket: &mut TcpStream, message: &[u8]) {
    let length = u8::try_from(message.len()).unwrap();
    assert!(length < 126);
    let mut frame = vec![0x82, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(message);
    socket.write_all(&frame).unwrap();
}

/// The next message; `None` at the end.
fn receive(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut start = [0; 2];
    socket.read_exact(&mut start).ok()?;
    let close = start[0] & 0x0f == 8;
    let length = match start[1] & 0x7f {
        126 => {
            let mut long = [0; 2];
            socket.read_exact(&mut long).ok()?;
            usize::from(u16::from_be_bytes(long))
        }
        127 => panic!("a message of more than 64 KiB"),
        short => usize::from(short),
    };
    let mut message = vec![0; length];
    socket.read_exact(&mut message).ok()?;
    (!close).then_some(message)
}
