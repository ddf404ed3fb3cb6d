//! An API server that replays bytes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use kube::client::Body;
use tokio::time::Instant;
use tower::Service;

/// What follows the last byte of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The end of the body.
    Closed,
    /// The connection breaks.
    Broken,
    /// Nothing, for ever.
    Open,
}

#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub status: u16,
    pub body: String,
    pub end: End,
}

/// One of the things that an agent asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    V1,
    V1Alpha1,
    Profiles,
    ConfigMaps,
}

impl Route {
    fn of(path: &str) -> Self {
        match path {
            "/apis/security-profiles-operator.x-k8s.io/v1" => Self::V1,
            "/apis/security-profiles-operator.x-k8s.io/v1alpha1" => Self::V1Alpha1,
            path if path.ends_with("/apparmorprofiles") => Self::Profiles,
            "/api/v1/namespaces/ours/configmaps" => Self::ConfigMaps,
            other => panic!("nothing asks for {other}"),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub route: Route,
    pub uri: String,
    pub at: Instant,
}

#[derive(Debug, Default)]
struct Script {
    once: Vec<(Route, VecDeque<Reply>)>,
    always: Vec<(Route, Reply)>,
    asked: Vec<Asked>,
}

/// Replies in the order in which they were given, for each route.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replay(Arc<Mutex<Script>>);

impl Replay {
    /// The next reply of this route.
    pub(crate) fn then(
        &self,
        route: Route,
        status: u16,
        body: impl Into<String>,
        end: End,
    ) -> &Self {
        let body = body.into();
        let reply = Reply { status, body, end };
        let mut script = self.0.lock().unwrap();
        match script.once.iter_mut().find(|(known, _)| *known == route) {
            Some((_, replies)) => replies.push_back(reply),
            None => script.once.push((route, VecDeque::from([reply]))),
        }
        drop(script);
        self
    }

    /// The reply of this route when all others were given.
    pub(crate) fn always(&self, route: Route, status: u16, body: &str, end: End) -> &Self {
        let body = body.to_owned();
        let mut script = self.0.lock().unwrap();
        script.always.retain(|(known, _)| *known != route);
        script.always.push((route, Reply { status, body, end }));
        drop(script);
        self
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.0.lock().unwrap().asked.clone()
    }

    pub(crate) fn asked_for(&self, route: Route) -> Vec<String> {
        let asked = self.asked().into_iter();
        let asked = asked.filter(|asked| asked.route == route);
        asked.map(|asked| asked.uri).collect()
    }

    fn reply(&self, uri: &http::Uri) -> Reply {
        let route = Route::of(uri.path());
        let mut script = self.0.lock().unwrap();
        script.asked.push(Asked {
            route,
            uri: uri.to_string(),
            at: Instant::now(),
        });
        let known = script.once.iter_mut().find(|(known, _)| *known == route);
        if let Some(reply) = known.and_then(|(_, replies)| replies.pop_front()) {
            return reply;
        }
        let always = script.always.iter().find(|(known, _)| *known == route);
        match (always, route) {
            (Some((_, reply)), _) => reply.clone(),
            (None, Route::V1 | Route::V1Alpha1) => Reply {
                status: 404,
                body: status(404, "NotFound"),
                end: End::Closed,
            },
            // A watch in which nothing happens.
            (None, _) => Reply {
                status: 200,
                body: String::new(),
                end: End::Open,
            },
        }
    }
}

/// The body of an error, and the object of an ERROR event.
pub(crate) fn status(code: u16, reason: &str) -> String {
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{reason}","reason":"{reason}","code":{code}}}"#
    )
}

pub(crate) struct ReplayBody {
    bytes: Option<Bytes>,
    end: End,
}

impl ReplayBody {
    /// These bytes, and the end.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self {
            bytes: Some(bytes),
            end: End::Closed,
        }
    }
}

impl http_body::Body for ReplayBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match self.end {
            End::Closed => Poll::Ready(None),
            End::Broken => {
                self.end = End::Closed;
                let error = std::io::ErrorKind::ConnectionReset.into();
                Poll::Ready(Some(Err(error)))
            }
            // Time wakes those who wait: the idle time-out of a watch.
            End::Open => Poll::Pending,
        }
    }
}

impl Service<Request<Body>> for Replay {
    type Response = Response<ReplayBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Reply { status, body, end } = self.reply(request.uri());
        let bytes = (!body.is_empty()).then(|| Bytes::from(body));
        let body = ReplayBody { bytes, end };
        let mut answer = Response::builder().status(status);
        if status == 429 {
            answer = answer.header("Retry-After", "20");
        }
        ready(Ok(answer.body(body).unwrap()))
    }
}
