//! Asks an engine which runtime handlers it serves now. A file that was written proves nothing:
//! engines read theirs when they start.
//!
//! containerd answers `Status` of the kubelet's interface (CRI, `api.proto`), which is one request of
//! gRPC over HTTP/2: the fields `runtime_handlers` (since 2.0), or the configuration in use as JSON in
//! `info`. CRI-O has its configuration in use at `/config` of its socket, over HTTP/1.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::engine::kind::Engine;
use oci_apparmor::error::reason;

/// Longer than a busy engine takes for an answer.
const TIME: Duration = Duration::from_secs(10);

/// The largest answer, in bytes. containerd's has about 20 KiB.
const MAX: usize = 4 << 20;

/// The names of the handlers that the engine behind `socket` serves.
///
/// # Errors
/// Why it did not answer, for a message.
pub(super) fn handlers(engine: Engine, socket: &Path) -> Result<Vec<String>, String> {
    let asked = match engine {
        Engine::Crio => of_crio(socket),
        _ => of_containerd(socket),
    };
    asked.map_err(|e| reason(&e))
}

fn connect(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIME))?;
    stream.set_write_timeout(Some(TIME))?;
    Ok(stream)
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

fn of_crio(socket: &Path) -> io::Result<Vec<String>> {
    let mut stream = connect(socket)?;
    stream.write_all(b"GET /config HTTP/1.0\r\nHost: crio\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(MAX as u64).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or_else(|| wrong("it is no answer of CRI-O"))?;
    if head.split(' ').nth(1) != Some("200") {
        return Err(wrong("it does not show its configuration"));
    }
    let parsed: toml::Table = body
        .parse()
        .map_err(|_| wrong("its configuration is not TOML"))?;
    let runtimes = ["crio", "runtime", "runtimes"]
        .iter()
        .try_fold(&toml::Value::Table(parsed), |at, key| at.get(key))
        .and_then(toml::Value::as_table)
        .map(|table| table.keys().cloned().collect());
    Ok(runtimes.unwrap_or_default())
}

/// Frames of HTTP/2 (RFC 9113, section 6).
mod frame {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    /// Of DATA and HEADERS.
    pub(super) const END_STREAM: u8 = 1;
    /// Of HEADERS.
    pub(super) const END_HEADERS: u8 = 4;
    /// Of DATA.
    pub(super) const PADDED: u8 = 8;
    /// Of SETTINGS and PING.
    pub(super) const ACK: u8 = 1;
}

/// `POST /runtime.v1.RuntimeService/Status` as HPACK (RFC 7541) without compression: `:method POST`
/// and `:scheme http` from the static table, then literals.
fn headers() -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let mut literal = |name: &[u8], value: &str| {
        block.extend(name);
        block.push(u8::try_from(value.len()).unwrap_or(0));
        block.extend(value.as_bytes());
    };
    literal(&[0x04], "/runtime.v1.RuntimeService/Status");
    literal(&[0x01], "localhost");
    // content-type is entry 31 of the table.
    literal(&[0x0f, 0x10], "application/grpc");
    literal(b"\x00\x02te", "trailers");
    block
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0);
    let mut bytes: Vec<u8> = length.to_be_bytes().into_iter().skip(1).collect();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Reads frames until the stream ends; returns its data.
fn answer(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    for _ in 0..10_000 {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let mut payload = vec![0; usize::try_from(length).unwrap_or(MAX)];
        stream.read_exact(&mut payload)?;
        let ours = u32::from_be_bytes(id) == 1;
        match kind {
            frame::SETTINGS if flags & frame::ACK == 0 => {
                stream.write_all(&frame(frame::SETTINGS, frame::ACK, 0, &[]))?;
            }
            frame::PING if flags & frame::ACK == 0 => {
                stream.write_all(&frame(frame::PING, frame::ACK, 0, &payload))?;
            }
            frame::DATA if ours => {
                let padding = match flags & frame::PADDED {
                    0 => 0,
                    _ => usize::from(payload.first().copied().unwrap_or(0)),
                };
                let begin = usize::from(flags & frame::PADDED != 0);
                let end = payload.len().saturating_sub(padding);
                data.extend(payload.get(begin..end).unwrap_or_default());
            }
            frame::RST_STREAM if ours => return Err(wrong("it refused the request")),
            frame::GOAWAY => return Err(wrong("it closed the connection")),
            _ => {}
        }
        if data.len() > MAX {
            return Err(wrong("its answer is too large"));
        }
        let ends = matches!(kind, frame::DATA | frame::HEADERS) && flags & frame::END_STREAM != 0;
        if ours && ends {
            return Ok(data);
        }
    }
    Err(wrong("its answer does not end"))
}

fn of_containerd(socket: &Path) -> io::Result<Vec<String>> {
    let mut stream = connect(socket)?;
    let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE, and the same for the connection: the answer comes in one go.
    let window = u32::try_from(MAX).unwrap_or(0).to_be_bytes();
    let settings = [&[0, 4][..], &window].concat();
    request.extend(frame(frame::SETTINGS, 0, 0, &settings));
    request.extend(frame(frame::WINDOW_UPDATE, 0, 0, &window));
    request.extend(frame(frame::HEADERS, frame::END_HEADERS, 1, &headers()));
    // A message of two bytes that is not compressed: StatusRequest with `verbose`.
    request.extend(frame(
        frame::DATA,
        frame::END_STREAM,
        1,
        &[0, 0, 0, 0, 2, 8, 1],
    ));
    stream.write_all(&request)?;
    let data = answer(&mut stream)?;
    let Some((0, message)) = data.split_first().map(|(first, rest)| (*first, rest)) else {
        return Err(wrong("it does not answer requests for its status"));
    };
    status(message.get(4..).unwrap_or_default()).ok_or_else(|| wrong("its status cannot be read"))
}

/// The names in a `StatusResponse`.
fn status(message: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut configured = Vec::new();
    for (number, value) in fields(message)? {
        let inner = fields(value);
        let text = |wanted: u64| {
            let found = inner.iter().flatten().find(|(number, _)| *number == wanted);
            found.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned())
        };
        match number {
            2 if text(1).as_deref() == Some("config") => {
                let config: Value = serde_json::from_str(&text(2)?).ok()?;
                let runtimes = config.pointer("/containerd/runtimes");
                let runtimes = runtimes.and_then(Value::as_object);
                configured.extend(runtimes.into_iter().flat_map(|map| map.keys().cloned()));
            }
            3 => names.extend(text(1).filter(|name| !name.is_empty())),
            _ => {}
        }
    }
    Some(if names.is_empty() { configured } else { names })
}

/// The fields of a message of protocol buffers that have a length, by their numbers.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        match key & 7 {
            0 => drop(varint(&mut bytes)?),
            1 => bytes = bytes.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                found.push((key >> 3, value));
                bytes = rest;
            }
            5 => bytes = bytes.get(4..)?,
            _ => return None,
        }
    }
    Some(found)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut length = value.len();
        while length > 0x7f {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(value);
        bytes
    }

    #[test]
    fn handlers_are_in_the_status_of_new_engines_and_in_the_configuration_of_old_ones() {
        let config = format!(
            r#"{{"containerd":{{"runtimes":{{"runc":{{}},"oci-apparmor":{{"x":"{}"}}}}}}}}"#,
            "y".repeat(300)
        );
        let info = [field(1, b"config"), field(2, config.as_bytes())].concat();
        let conditions = field(1, &field(1, b"RuntimeReady"));
        let old = [conditions.clone(), field(2, &info)].concat();
        assert_eq!(status(&old).unwrap(), ["oci-apparmor", "runc"]);
        let handler = [field(1, b"a"), field(2, &[8, 1])].concat();
        let new = [old, field(3, &field(2, &[8, 1])), field(3, &handler)].concat();
        assert_eq!(status(&new).unwrap(), ["a"]);
        assert_eq!(status(&conditions).unwrap(), [""; 0]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail_otherwise(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = status(&bytes);
        }
    }
}
