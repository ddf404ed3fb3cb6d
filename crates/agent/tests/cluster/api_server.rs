//! An API server in this process: objects with versions, lists, watches that are continued, and a
//! history that can be forgotten. It counts what it is asked for.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use kube::client::Body;
use oci_apparmor_agent::object::Feed;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, Sleep, sleep};
use tower::Service;

use crate::node::{listed, resources};
use crate::replay::status;

/// About as often as a real one (`defaultBookmarkFrequency`, cacher.go).
const BOOKMARKS: Duration = Duration::from_secs(60);

/// What an answer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    Discovery,
    /// A list, as a stream or in one piece.
    List,
    /// A watch that is continued.
    Watch,
    /// The object of a node was applied.
    Write,
    /// 410 Gone: its version is too old.
    Gone,
    /// 503: the API server is away.
    Away,
}

/// How an answer is cut: after so many bytes, and whether the connection breaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub bytes: usize,
    pub broken: bool,
}

#[derive(Debug)]
struct Stored {
    created: u64,
    /// As a line of a watch, ADDED.
    line: Bytes,
    files: Vec<(String, String)>,
}

#[derive(Debug, Default)]
struct Kind {
    objects: BTreeMap<String, Stored>,
    /// Lines, with their versions.
    history: Vec<(u64, Bytes)>,
    watches: Vec<UnboundedSender<Part>>,
    cuts: VecDeque<Cut>,
}

type Part = Result<Bytes, std::io::Error>;

/// What was at which time.
type Timed<T> = Vec<(Instant, T)>;

#[derive(Debug)]
struct Store {
    version: u64,
    /// Older versions are gone.
    oldest: u64,
    kinds: [Kind; 2],
    away: bool,
    silent: bool,
    streams_lists: bool,
    answers: Timed<Answer>,
    sent: Timed<usize>,
}

/// The API server; clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct ApiServer(Arc<Mutex<Store>>);

fn index(feed: Feed) -> usize {
    usize::from(feed == Feed::ConfigMaps)
}

/// An object as the API has it, and the file that it stands for.
fn object(
    feed: Feed,
    name: &str,
    version: u64,
    created: u64,
    text: &str,
) -> (String, (String, String)) {
    let (hours, minutes, seconds) = (created / 3_600 % 24, created / 60 % 60, created % 60);
    let (created, day) = (
        format!("{hours:02}:{minutes:02}:{seconds:02}"),
        1 + created / 86_400,
    );
    let metadata = format!(
        r#""metadata":{{"name":"{name}","resourceVersion":"{version}","creationTimestamp":"2026-08-{day:02}T{created}Z","managedFields":[{{"manager":"kubectl"}}]"#
    );
    match feed {
        Feed::Profiles => (
            format!(
                r#"{{"apiVersion":"security-profiles-operator.x-k8s.io/v1","kind":"AppArmorProfile",{metadata}}},"spec":{{"policy":"{text}"}}}}"#
            ),
            (format!("{name}.yaml"), format!("\"policy\": \"{text}\"")),
        ),
        Feed::ConfigMaps => (
            format!(
                r#"{{"kind":"ConfigMap","apiVersion":"v1",{metadata},"namespace":"ours"}},"data":{{"{name}":"{text}"}}}}"#
            ),
            (format!("{name}.profile"), text.to_owned()),
        ),
    }
}

fn line(kind: &str, object: &str) -> Bytes {
    Bytes::from(crate::node::event(kind, object))
}

impl ApiServer {
    pub(crate) fn new() -> Self {
        let store = Store {
            version: 10,
            oldest: 0,
            kinds: [Kind::default(), Kind::default()],
            away: false,
            silent: false,
            streams_lists: true,
            answers: Vec::new(),
            sent: Vec::new(),
        };
        let server = Self(Arc::new(Mutex::new(store)));
        let clone = server.clone();
        tokio::spawn(async move {
            loop {
                sleep(BOOKMARKS).await;
                clone.with(|store| {
                    let text = listed(store.version);
                    let text = text.replace(r#""k8s.io/initial-events-end":"true""#, "");
                    let bookmark = Bytes::from(text);
                    for kind in 0..2 {
                        store.push(kind, &bookmark);
                    }
                });
            }
        });
        server
    }

    fn with<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    /// Creates or changes an object.
    pub(crate) fn put(&self, feed: Feed, name: &str, text: &str) {
        self.with(|store| {
            store.version += 1;
            let version = store.version;
            let known = store.kinds[index(feed)].objects.get(name);
            let created = known.map(|known| known.created);
            let change = if created.is_some() {
                "MODIFIED"
            } else {
                "ADDED"
            };
            let created = created.unwrap_or(version);
            let (object, file) = object(feed, name, version, created, text);
            let stored = Stored {
                created,
                line: line("ADDED", &object),
                files: vec![file],
            };
            store.kinds[index(feed)]
                .objects
                .insert(name.to_owned(), stored);
            store.happened(feed, line(change, &object));
        });
    }

    /// Deletes an object; one that is not there is deleted anyway.
    pub(crate) fn delete(&self, feed: Feed, name: &str) {
        self.with(|store| {
            store.version += 1;
            store.kinds[index(feed)].objects.remove(name);
            let (object, _) = object(feed, name, store.version, 1, "");
            store.happened(feed, line("DELETED", &object));
        });
    }

    /// Sends the last change again.
    pub(crate) fn repeat(&self, feed: Feed) {
        self.with(|store| {
            let last = store.kinds[index(feed)].history.last().cloned();
            if let Some((_, last)) = last {
                store.push(index(feed), &last);
            }
        });
    }

    /// Sends anything to all watches of a kind.
    pub(crate) fn say(&self, feed: Feed, line: &str) {
        let line = Bytes::from(line.to_owned());
        self.with(|store| store.push(index(feed), &line));
    }

    /// Ends all watches at once.
    pub(crate) fn cut_all(&self, broken: bool) {
        self.with(|store| {
            for kind in &mut store.kinds {
                for watch in kind.watches.drain(..).filter(|_| broken) {
                    let _ = watch.send(Err(std::io::ErrorKind::ConnectionReset.into()));
                }
            }
        });
    }

    /// Cuts the next answer of this kind.
    pub(crate) fn cut_next(&self, feed: Feed, cut: Cut) {
        self.with(|store| store.kinds[index(feed)].cuts.push_back(cut));
    }

    /// Forgets all that has happened, as a restart does it.
    pub(crate) fn forget(&self) {
        self.with(|store| {
            // Something else has changed in the cluster.
            store.version += 1;
            store.oldest = store.version;
            for kind in &mut store.kinds {
                kind.history.clear();
            }
        });
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.with(|store| store.away = away);
    }

    /// Requests have no answer from now on, not even later.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.with(|store| store.silent = silent);
    }

    pub(crate) fn set_streams_lists(&self, streams: bool) {
        self.with(|store| store.streams_lists = streams);
    }

    pub(crate) fn heal(&self) {
        self.set_away(false);
        self.set_silent(false);
        self.with(|store| store.kinds.iter_mut().for_each(|kind| kind.cuts.clear()));
    }

    /// How many watches there are.
    pub(crate) fn watches(&self) -> usize {
        self.with(|store| {
            let kinds = store.kinds.iter_mut();
            let open = kinds.map(|kind| {
                kind.watches.retain(|watch| !watch.is_closed());
                kind.watches.len()
            });
            open.sum()
        })
    }

    /// What was answered and sent since it was asked the last time.
    pub(crate) fn counts(&self) -> (Timed<Answer>, Timed<usize>) {
        let take = |store: &mut Store| {
            let answers = std::mem::take(&mut store.answers);
            (answers, std::mem::take(&mut store.sent))
        };
        self.with(take)
    }

    /// A part of each file that a spool must have: of one name, the oldest object has it.
    pub(crate) fn expected(&self) -> BTreeMap<String, String> {
        self.with(|store| {
            let objects = store.kinds.iter().flat_map(|kind| &kind.objects);
            let mut objects: Vec<(&String, &Stored)> = objects.collect();
            objects.sort_by_key(|(_, stored)| stored.created);
            let mut owners: BTreeMap<&str, &Stored> = BTreeMap::new();
            for (name, stored) in objects {
                owners.entry(name).or_insert(stored);
            }
            let files = owners.values().flat_map(|stored| stored.files.clone());
            files.collect()
        })
    }
}

impl Store {
    fn happened(&mut self, feed: Feed, line: Bytes) {
        self.push(index(feed), &line);
        self.kinds[index(feed)].history.push((self.version, line));
    }

    fn push(&mut self, kind: usize, line: &Bytes) {
        let watches = &mut self.kinds[kind].watches;
        watches.retain(|watch| watch.send(Ok(line.clone())).is_ok());
        self.sent.push((Instant::now(), line.len() * watches.len()));
    }

    fn answer(&mut self, request: &Request<Body>) -> (u16, AnswerBody) {
        let uri = request.uri();
        let query = uri.query().unwrap_or_default();
        let (code, answer, body) = match uri.path() {
            _ if self.away => (503, Answer::Away, text(status(503, "Away"))),
            path if path.contains("/nodeapparmors/") => {
                assert_eq!(request.method(), "PATCH");
                (200, Answer::Write, text("{}".to_owned()))
            }
            path if path.ends_with("/v1alpha1") => {
                (404, Answer::Discovery, text(status(404, "NotFound")))
            }
            path if path.ends_with(".io/v1") => (200, Answer::Discovery, text(resources("v1"))),
            path => self.objects(usize::from(path.ends_with("configmaps")), query),
        };
        self.answers.push((Instant::now(), answer));
        self.sent
            .push((Instant::now(), body.parts.iter().map(Bytes::len).sum()));
        (code, body)
    }

    fn objects(&mut self, kind: usize, query: &str) -> (u16, Answer, AnswerBody) {
        let parameter = |key: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let mut found = pairs.filter(|(name, _)| *name == key);
            found.next().map(|(_, value)| value.to_owned())
        };
        let version: u64 = parameter("resourceVersion").unwrap().parse().unwrap();
        let oldest = self.oldest;
        let now = self.version;
        let Kind {
            objects,
            history,
            watches,
            cuts,
        } = &mut self.kinds[kind];
        let cut = cuts.pop_front();
        let whole = |parts: Vec<Bytes>| AnswerBody {
            parts: parts.into(),
            more: None,
            end: None,
            cut,
        };
        let lines = objects.values().map(|stored| stored.line.clone());
        let streams = parameter("sendInitialEvents").is_some();
        if parameter("watch").is_none() {
            // The same bytes as in a watch, without what is around them.
            let items: Vec<Bytes> = lines.map(|line| line.slice(25..line.len() - 2)).collect();
            let mut parts = vec![Bytes::from_static(
                br#"{"kind":"List","apiVersion":"v1","items":["#,
            )];
            for (n, item) in items.into_iter().enumerate() {
                parts.extend((n > 0).then(|| Bytes::from_static(b",")));
                parts.push(item);
            }
            parts.push(Bytes::from(format!(
                r#"],"metadata":{{"resourceVersion":"{now}"}}}}"#
            )));
            return (200, Answer::List, whole(parts));
        }
        if streams && !self.streams_lists {
            return (422, Answer::List, text(status(422, "Invalid")));
        }
        if !streams && version < oldest {
            return (410, Answer::Gone, text(status(410, "Expired")));
        }
        let parts: Vec<Bytes> = match streams {
            true => lines.chain([Bytes::from(listed(now))]).collect(),
            false => {
                let new = history.iter().filter(|(happened, _)| *happened > version);
                new.map(|(_, line)| line.clone()).collect()
            }
        };
        let (sender, more) = unbounded_channel();
        watches.push(sender);
        let seconds = parameter("timeoutSeconds").unwrap().parse().unwrap();
        let body = AnswerBody {
            more: Some(more),
            end: Some(Box::pin(sleep(Duration::from_secs(seconds)))),
            ..whole(parts)
        };
        let answer = if streams { Answer::List } else { Answer::Watch };
        (200, answer, body)
    }
}

pub(crate) struct AnswerBody {
    parts: VecDeque<Bytes>,
    more: Option<UnboundedReceiver<Part>>,
    end: Option<Pin<Box<Sleep>>>,
    cut: Option<Cut>,
}

fn text(text: String) -> AnswerBody {
    AnswerBody {
        parts: VecDeque::from([Bytes::from(text)]),
        more: None,
        end: None,
        cut: None,
    }
}

impl AnswerBody {
    fn part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Part>> {
        if let Some(part) = self.parts.pop_front() {
            return Poll::Ready(Some(Ok(part)));
        }
        let Some(more) = &mut self.more else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(part) = more.poll_recv(cx) {
            return Poll::Ready(part);
        }
        match &mut self.end {
            Some(end) => end.as_mut().poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if let Some(Cut { bytes: 0, broken }) = self.cut {
            (self.parts, self.more) = (VecDeque::new(), None);
            self.cut = None;
            let error = broken.then(|| Err(std::io::ErrorKind::ConnectionReset.into()));
            return Poll::Ready(error);
        }
        self.part(cx).map(|part| {
            let mut part = part?;
            if let (Ok(bytes), Some(cut)) = (&mut part, &mut self.cut) {
                bytes.truncate(cut.bytes);
                cut.bytes -= bytes.len();
            }
            Some(part.map(Frame::data))
        })
    }
}

impl Service<Request<Body>> for ApiServer {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if self.with(|store| store.silent) {
            return Box::pin(pending());
        }
        let (code, body) = self.with(|store| store.answer(&request));
        let answer = Response::builder().status(code).body(body).unwrap();
        Box::pin(ready(Ok(answer)))
    }
}
