//! Requests to the API server, and the bytes of its answers: each wait and each buffer has a limit.

use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::RETRY_AFTER;
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use tokio::time::{Instant, timeout, timeout_at};

use crate::logging::chain;
use crate::pieces::{Piece, Split};

/// The longest wait for the beginning of an answer. An API server ends requests after a minute
/// (`--request-timeout`), and lets them wait for less (API Priority and Fairness).
const HEAD: Duration = Duration::from_secs(70);

/// The longest wait for the text of an error.
const REST: Duration = Duration::from_secs(10);

/// The most bytes of an error that are read.
const MAX_ERROR: usize = 16 * 1024;

/// The longest `Retry-After` that is followed.
const MAX_RETRY_AFTER: u64 = 600;

/// Why a request has no answer, or its answer an end.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The API server refused it.
    Refused {
        code: u16,
        /// After which time it may be sent again.
        retry_after: Option<Duration>,
        said: String,
    },
    /// The connection failed, or broke.
    Broken(String),
    /// No byte came for too long.
    Silent,
    /// The answer is larger than what is read.
    TooLarge(String),
}

impl Trouble {
    /// For people.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Refused { said, .. } | Self::TooLarge(said) => said.clone(),
            Self::Broken(why) => format!("the connection to the API server failed: {why}"),
            Self::Silent => "the API server does not answer".to_owned(),
        }
    }
}

/// What the API server said.
pub(crate) fn said(code: u16, reason: &str, message: &str) -> String {
    format!(
        "the API server answered {code} {reason}: {}",
        message.trim()
    )
}

/// Sends a request, and returns the answer if it is none that refuses.
///
/// # Errors
/// Where there is none, or it refuses.
pub(crate) async fn send(
    client: &Client,
    request: Request<Vec<u8>>,
) -> Result<Response<Body>, Trouble> {
    let answer = timeout(HEAD, client.send(request.map(Body::from))).await;
    let answer = answer.map_err(|_| Trouble::Silent)?;
    let answer = answer.map_err(|e| Trouble::Broken(chain(&e)))?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let code = answer.status().as_u16();
    let seconds = answer.headers().get(RETRY_AFTER);
    let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
    let retry_after = seconds.map(|seconds: u64| Duration::from_secs(seconds.min(MAX_RETRY_AFTER)));
    // Its text is welcome; without it, the number says enough.
    let text = timeout(REST, whole(answer, MAX_ERROR)).await;
    let text = text.ok().and_then(Result::ok).unwrap_or_default();
    let said = match serde_json::from_slice::<Status>(&text) {
        Ok(status) => said(code, &status.reason, &status.message),
        Err(_) => said(code, "without a reason", &String::from_utf8_lossy(&text)),
    };
    Err(Trouble::Refused {
        code,
        retry_after,
        said,
    })
}

/// All bytes of a small answer.
///
/// # Errors
/// Where it has more than `most`, or breaks.
pub(crate) async fn whole(answer: Response<Body>, most: usize) -> Result<Vec<u8>, Trouble> {
    let mut body = answer.into_body();
    let mut all = Vec::new();
    while let Some(frame) = timeout(HEAD, body.frame())
        .await
        .map_err(|_| Trouble::Silent)?
    {
        let frame = frame.map_err(|e| Trouble::Broken(chain(&e)))?;
        let bytes = frame.into_data().unwrap_or_default();
        if all.len().saturating_add(bytes.len()) > most {
            let why = format!("the API server's answer has more than {most} bytes");
            return Err(Trouble::TooLarge(why));
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

/// The pieces of an answer, as they come.
pub(crate) struct Pieces<S> {
    body: Body,
    chunk: Bytes,
    pub split: S,
    /// How many bytes came.
    pub bytes: usize,
}

impl<S: Split> Pieces<S> {
    pub(crate) fn new(answer: Response<Body>, split: S) -> Self {
        Self {
            body: answer.into_body(),
            chunk: Bytes::new(),
            split,
            bytes: 0,
        }
    }

    /// The next piece; nothing where the answer has ended. What comes after its last piece is kept
    /// in [`Self::split`].
    ///
    /// # Errors
    /// Where the connection breaks, or there is no byte until `until`.
    pub(crate) async fn next(&mut self, until: Instant) -> Result<Option<Piece>, Trouble> {
        loop {
            while !self.chunk.is_empty() {
                let mut rest: &[u8] = &self.chunk;
                let piece = self.split.take(&mut rest);
                let used = self.chunk.len().saturating_sub(rest.len());
                self.chunk.advance(used);
                match piece {
                    Some(piece) if piece.text.is_empty() => {}
                    Some(piece) => return Ok(Some(piece)),
                    None => {}
                }
            }
            let frame = timeout_at(until, self.body.frame()).await;
            match frame.map_err(|_| Trouble::Silent)? {
                None => return Ok(None),
                Some(Err(e)) => return Err(Trouble::Broken(chain(&e))),
                Some(Ok(frame)) => self.chunk = frame.into_data().unwrap_or_default(),
            }
            self.bytes = self.bytes.saturating_add(self.chunk.len());
        }
    }
}
