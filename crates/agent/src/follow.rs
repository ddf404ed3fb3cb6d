//! Follows one kind of objects for ever: discovery, lists and watches, and what goes wrong.
//!
//! A watch that ends is continued at the last version that it told. Everything is listed again only
//! where that version is too old (410 Gone), or where something was not understood. An API server
//! that has restarted knows no old versions (watch_cache.go, `getAllEventsSinceLocked`), so then all
//! nodes list again: each waits a random time before it reconnects, and another one before it lists.

use std::time::Duration;

use kube::Client;
use log::{info, warn};
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep};

use crate::answers::{Pieces, Trouble, said, send};
use crate::api::{self, Resource};
use crate::event::{WatchLine, read_envelope, read_item, read_line};
use crate::logging::chain;
use crate::object::Feed;
use crate::pace::RequestPace;
use crate::pieces::{ListItems, WatchLines};
use crate::state::ApiChange;

/// How much longer is waited for its end: a dead connection has none.
const LATE: Duration = Duration::from_secs(10);

/// The longest time in which no byte of a list comes.
const SILENCE: Duration = Duration::from_secs(60);

/// The longest time that a list takes.
const LIST: Duration = Duration::from_secs(300);

/// The most bytes of a list. Much of an object is not kept: its annotations have it a second time.
const MAX_LIST: usize = 256 * 1024 * 1024;

/// After so many streamed lists without an end, lists are not streamed any more.
const MAX_UNFINISHED: u32 = 2;

/// The longest reason that is logged: parts of it come from the API server.
const MAX_SAID: usize = 500;

/// How a request ended.
enum Ended {
    /// As it should.
    Well,
    /// A watch was cut; it can be continued.
    Cut,
    /// It failed; it can be sent again.
    Failed(Trouble),
    /// Something is lost, or not understood: list again.
    Lost(String),
    /// The kind is not served any more.
    NotServed,
    /// This server does not stream lists.
    NoStreaming,
    /// Nothing reads the changes any more.
    Closed,
}

/// Sends what is learnt of one kind of objects, until nothing receives it any more.
pub(crate) async fn follow(
    client: Client,
    feed: Feed,
    namespace: String,
    changes: Sender<ApiChange>,
) {
    let mut follower = Follower {
        client,
        feed,
        namespace,
        changes,
        resource: None,
        version: None,
        streaming: true,
        unfinished: 0,
        pace: RequestPace::new(),
        failure: None,
    };
    while let Some(wait) = follower.turn().await {
        sleep(wait).await;
    }
}

struct Follower {
    client: Client,
    feed: Feed,
    namespace: String,
    changes: Sender<ApiChange>,
    /// What is asked for, where it is known that it is served.
    resource: Option<Resource>,
    /// All before this version is known. Without one, everything has to be listed.
    version: Option<String>,
    /// Whether lists are asked for as streams: the API server has the same work for a list as for a
    /// watch, and sends objects one by one (KEP-3157).
    streaming: bool,
    unfinished: u32,
    pace: RequestPace,
    /// What was logged last, until it works again.
    failure: Option<String>,
}

impl Follower {
    /// One request, or the two of discovery; returns how long to wait for the next.
    async fn turn(&mut self) -> Option<Duration> {
        let Some(resource) = self.resource.clone() else {
            return self.discover().await;
        };
        let ended = match (&self.version, self.streaming) {
            (None, false) => self.list(&resource).await,
            _ => self.watch(&resource).await,
        };
        let ended = ended.unwrap_or_else(|ended| ended);
        Some(match ended {
            Ended::Closed => return None,
            Ended::Well => Duration::ZERO,
            Ended::Cut => RequestPace::cut(),
            Ended::Failed(trouble) => self.wait_after(&trouble),
            Ended::Lost(why) => {
                self.failed(&why);
                self.version = None;
                // It may be another server by now, or a newer one.
                self.streaming = true;
                self.pace.list_again()
            }
            Ended::NotServed => {
                (self.version, self.resource) = (None, None);
                self.pace.gone()
            }
            Ended::NoStreaming => {
                let feed = self.feed;
                info!(
                    "the API server does not stream lists of {feed} objects; they are read whole"
                );
                self.streaming = false;
                Duration::ZERO
            }
        })
    }

    fn wait_after(&mut self, trouble: &Trouble) -> Duration {
        self.failed(&trouble.reason());
        self.pace.failed(trouble)
    }

    async fn discover(&mut self) -> Option<Duration> {
        match api::served(&self.client, self.feed, &self.namespace).await {
            Ok(Some(resource)) => {
                self.resource = Some(resource);
                self.pace.served();
                Some(Duration::ZERO)
            }
            Ok(None) => {
                self.failed("the API server does not serve this kind; waiting for its CRD");
                let told = self.send(ApiChange::NotServed(self.feed)).await;
                told.ok().map(|()| self.pace.absent())
            }
            Err(trouble) => Some(self.wait_after(&trouble)),
        }
    }

    /// Reads a list in one answer, or in pages if the API server makes some.
    async fn list(&mut self, resource: &Resource) -> Result<Ended, Ended> {
        let until = after(Instant::now(), LIST);
        let mut next = None;
        let mut bytes: usize = 0;
        loop {
            let first = next.is_none();
            let request = resource.list(next).map_err(|e| lost(chain(&e)))?;
            let answer = send(&self.client, request).await;
            let answer = answer.map_err(|trouble| self.refused(trouble, true))?;
            if first {
                self.send(ApiChange::ListStarted(self.feed)).await?;
            }
            let mut pieces = Pieces::new(answer, ListItems::default());
            loop {
                let piece = pieces.next(until.min(after(Instant::now(), SILENCE))).await;
                let piece = piece.map_err(|trouble| lost(trouble.reason()))?;
                let Some(piece) = piece else { break };
                check_size(bytes.saturating_add(pieces.bytes))?;
                let change = match read_item(&piece).map_err(lost)? {
                    Ok(object) => ApiChange::Listed(resource.reduced(object)),
                    Err(large) => ApiChange::TooLarge(large.id(self.feed)),
                };
                self.send(change).await?;
            }
            bytes = bytes.saturating_add(pieces.bytes);
            let version;
            (version, next) = read_envelope(pieces.split.envelope()).map_err(lost)?;
            if next.is_none() {
                self.listed(version).await?;
                return Ok(Ended::Well);
            }
        }
    }

    /// Reads a watch, which begins with all objects if there is no version to begin with.
    async fn watch(&mut self, resource: &Resource) -> Result<Ended, Ended> {
        let time = RequestPace::watch();
        let mut listing = self.version.is_none();
        let start = Instant::now();
        let until = after(after(start, time), LATE);
        let request = resource.watch(self.version.as_deref(), time);
        let request = request.map_err(|e| lost(chain(&e)))?;
        let answer = send(&self.client, request).await;
        let answer = answer.map_err(|trouble| self.refused(trouble, listing))?;
        if listing {
            self.send(ApiChange::ListStarted(self.feed)).await?;
        } else {
            self.worked();
        }
        let mut pieces = Pieces::new(answer, WatchLines::default());
        loop {
            let wait = match listing {
                true => until.min(after(Instant::now(), SILENCE)),
                false => until,
            };
            let piece = match pieces.next(wait).await {
                Ok(Some(piece)) => piece,
                Ok(None) | Err(Trouble::Silent) if listing => return Err(self.unfinished()),
                Err(trouble) if listing => return Err(lost(trouble.reason())),
                _ if after(start, time) <= after(Instant::now(), Duration::from_secs(2)) => {
                    return Ok(Ended::Well);
                }
                _ => return Ok(Ended::Cut),
            };
            if listing {
                check_size(pieces.bytes)?;
            }
            let feed = self.feed;
            let (change, version) = match read_line(&piece).map_err(lost)? {
                WatchLine::Bookmark { version, ends_list } if listing && ends_list => {
                    listing = false;
                    self.listed(version).await?;
                    continue;
                }
                WatchLine::Bookmark { version, .. } => {
                    self.version = self.version.take().map(|_| version);
                    continue;
                }
                WatchLine::Failed(status) => {
                    let why = said(status.code, &status.reason, &status.message);
                    if listing || status.code == 410 {
                        return Err(lost(why));
                    }
                    return Err(Ended::Failed(Trouble::Broken(why)));
                }
                WatchLine::Deleted(object) => {
                    let change = ApiChange::Deleted(resource.id(&object));
                    (change, object.metadata.resource_version)
                }
                WatchLine::Applied(object) => {
                    let version = object.metadata.resource_version.clone();
                    let object = resource.reduced(object);
                    match listing {
                        true => (ApiChange::Listed(object), version),
                        false => (ApiChange::Applied(object), version),
                    }
                }
                WatchLine::TooLarge(large) if large.is_deleted() => {
                    (ApiChange::Deleted(large.id(feed)), Some(large.version))
                }
                WatchLine::TooLarge(large) => {
                    (ApiChange::TooLarge(large.id(feed)), Some(large.version))
                }
            };
            let version = version.filter(|version| !version.is_empty());
            let version = version.ok_or_else(|| lost("an object has no resourceVersion".into()))?;
            self.send(change).await?;
            // The objects of a list come in any order.
            self.version = (!listing).then_some(version);
        }
    }

    /// What a refused request means.
    fn refused(&self, trouble: Trouble, listing: bool) -> Ended {
        let Trouble::Refused { code, .. } = &trouble else {
            return Ended::Failed(trouble);
        };
        match code {
            404 => Ended::NotServed,
            410 => Ended::Lost(trouble.reason()),
            // "sendInitialEvents is forbidden for watch unless the WatchList feature gate is
            // enabled" (apimachinery, metainternalversion/validation).
            400 | 422 if listing && self.streaming => Ended::NoStreaming,
            _ => Ended::Failed(trouble),
        }
    }

    /// A streamed list has ended before its end was marked. Once, it was cut; again and again, the
    /// server does not mark it.
    fn unfinished(&mut self) -> Ended {
        self.unfinished = self.unfinished.saturating_add(1);
        match self.unfinished < MAX_UNFINISHED {
            true => lost("a list ended too early".to_owned()),
            false => Ended::NoStreaming,
        }
    }

    /// A list was whole.
    async fn listed(&mut self, version: String) -> Result<(), Ended> {
        self.send(ApiChange::ListDone(self.feed)).await?;
        self.version = Some(version);
        self.pace.listed();
        self.unfinished = 0;
        self.worked();
        Ok(())
    }

    async fn send(&self, change: ApiChange) -> Result<(), Ended> {
        let sent = self.changes.send(change).await;
        sent.map_err(|_| Ended::Closed)
    }

    /// Logs a failure once, until it works again or fails in another way.
    fn failed(&mut self, why: &str) {
        let why = why.get(..why.floor_char_boundary(MAX_SAID)).unwrap_or(why);
        if self.failure.as_deref() != Some(why) {
            warn!("cannot follow {} objects: {why}", self.feed);
            self.failure = Some(why.to_owned());
        }
    }

    fn worked(&mut self) {
        self.pace.worked();
        if self.failure.take().is_some() {
            info!("follows {} objects again", self.feed);
        }
    }
}

fn lost(why: String) -> Ended {
    Ended::Lost(why)
}

fn check_size(bytes: usize) -> Result<(), Ended> {
    match bytes <= MAX_LIST {
        true => Ok(()),
        false => Err(lost(format!("a list has more than {MAX_LIST} bytes"))),
    }
}

fn after(time: Instant, wait: Duration) -> Instant {
    time.checked_add(wait).unwrap_or(time)
}
