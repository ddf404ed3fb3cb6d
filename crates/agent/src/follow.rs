//! Follows one kind of objects for ever: discovery, lists and watches, and what goes wrong.
//!
//! `kube::runtime::watcher` continues a cut stream where it ended, lists anew after 410 Gone, and
//! waits longer after each failure. What it does not do is done here: an event that could not be
//! read is lost for the watcher, so everything is listed again; a list with an error in it is not
//! whole; and an API server that does not stream lists is asked for pages.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::Status;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use log::{info, warn};
use tokio::sync::mpsc::Sender;
use tokio::time::sleep;

use crate::api;
use crate::backoff::Backoff;
use crate::logging::chain;
use crate::object::{Feed, LABEL};
use crate::state::ApiChange;

/// The longest wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The longest time after which is looked whether a kind is served now.
const LONGEST_ABSENCE: Duration = Duration::from_secs(600);

/// After so many streamed lists without an end, lists are not streamed any more.
const MAX_UNFINISHED: u32 = 2;

/// How a watcher ended.
enum Ended {
    /// Something is lost, or not understood: list again.
    Lost,
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
    let mut after_failure = Backoff::at_most(LONGEST_WAIT);
    let mut while_absent = Backoff::at_most(LONGEST_ABSENCE);
    let mut follower = Follower {
        feed,
        changes,
        streaming: true,
        failure: None,
    };
    loop {
        let api = match api::served(&client, feed, &namespace).await {
            Ok(Some(api)) => api,
            Ok(None) => {
                follower.failed("the API server does not serve this kind; waiting for its CRD");
                if follower.send(ApiChange::NotServed(feed)).await.is_err() {
                    return;
                }
                sleep(while_absent.wait()).await;
                continue;
            }
            Err(e) => {
                follower.failed(&said(&e));
                sleep(after_failure.wait()).await;
                continue;
            }
        };
        while_absent.reset();
        let mut ended = follower.watch(api.clone()).await;
        if let Ended::NoStreaming = ended {
            info!(
                "the API server does not stream lists of {feed} objects; they are read as a whole"
            );
            follower.streaming = false;
            ended = follower.watch(api).await;
        }
        match ended {
            Ended::Closed => return,
            Ended::NoStreaming | Ended::Lost | Ended::NotServed => {
                sleep(after_failure.wait()).await;
            }
        }
    }
}

struct Follower {
    feed: Feed,
    changes: Sender<ApiChange>,
    /// Whether lists are asked for as streams, which need the memory of one object at a time.
    streaming: bool,
    /// What was logged last, until it works again.
    failure: Option<String>,
}

impl Follower {
    async fn watch(&mut self, api: Api<DynamicObject>) -> Ended {
        let mut config = watcher::Config::default();
        if self.feed == Feed::ConfigMaps {
            config = config.labels(LABEL);
        }
        config = match self.streaming {
            true => config.streaming_lists(),
            // In one piece, from the cache of the API server: 5,000 nodes may ask at once, and
            // pages are read from etcd.
            false => watcher::Config {
                page_size: None,
                ..config.any_semantic()
            },
        };
        let api_version = api_version(&api);
        let mut events = pin!(watcher(api, config).default_backoff());
        let mut listing = false;
        let mut unfinished: u32 = 0;
        while let Some(event) = events.next().await {
            let change = match event {
                Ok(event) => {
                    match &event {
                        // The stream ended without an error, but before its list did. Once, it
                        // was cut; again and again, the server does not mark the end of a list.
                        Event::Init if listing && self.streaming => {
                            unfinished = unfinished.saturating_add(1);
                            if unfinished >= MAX_UNFINISHED {
                                return Ended::NoStreaming;
                            }
                        }
                        Event::Init => listing = true,
                        Event::InitDone => (listing, unfinished) = (false, 0),
                        _ => {}
                    }
                    self.change(event, &api_version)
                }
                Err(e) => {
                    unfinished = 0;
                    let ended = self.ended(&e, listing);
                    if !matches!(ended, Some(Ended::NoStreaming)) {
                        self.failed(&reason(&e));
                    }
                    match ended {
                        Some(ended) => return ended,
                        None => continue,
                    }
                }
            };
            self.worked();
            if self.send(change).await.is_err() {
                return Ended::Closed;
            }
        }
        Ended::Lost
    }

    fn change(&self, event: Event<DynamicObject>, api_version: &str) -> ApiChange {
        let feed = self.feed;
        let reduced = |object| api::reduced(feed, api_version, object);
        match event {
            Event::Init => ApiChange::ListStarted(feed),
            Event::InitApply(object) => ApiChange::Listed(reduced(object)),
            Event::InitDone => ApiChange::ListDone(feed),
            Event::Apply(object) => ApiChange::Applied(reduced(object)),
            Event::Delete(object) => ApiChange::Deleted(api::id(feed, &object)),
        }
    }

    /// Whether the watcher has to be started anew after this error; nothing where it goes on.
    fn ended(&self, error: &watcher::Error, listing: bool) -> Option<Ended> {
        use watcher::Error;
        match error {
            Error::InitialListFailed(kube::Error::Api(status))
            | Error::WatchStartFailed(kube::Error::Api(status)) => match status.code {
                404 => Some(Ended::NotServed),
                // The watcher knows this as an event only, and would ask again for the same.
                410 => Some(Ended::Lost),
                // "sendInitialEvents is forbidden for watch unless the WatchList feature gate is
                // enabled" (apimachinery, metainternalversion/validation).
                400 | 422 if self.streaming => Some(Ended::NoStreaming),
                _ => None,
            },
            Error::InitialListFailed(_) | Error::WatchStartFailed(_) => None,
            // In a list, the object that is missing would count as gone.
            _ if listing => Some(Ended::Lost),
            // The stream has ended; it is continued from the last event that was read.
            Error::WatchFailed(kube::Error::ReadEvents(_)) | Error::WatchError(_) => None,
            Error::WatchFailed(_) | Error::NoResourceVersion => Some(Ended::Lost),
        }
    }

    async fn send(&self, change: ApiChange) -> Result<(), ()> {
        self.changes.send(change).await.map_err(drop)
    }

    /// Logs a failure once, until it works again or fails in another way.
    fn failed(&mut self, why: &str) {
        if self.failure.as_deref() != Some(why) {
            warn!("cannot follow {} objects: {why}", self.feed);
            self.failure = Some(why.to_owned());
        }
    }

    fn worked(&mut self) {
        if self.failure.take().is_some() {
            info!("follows {} objects again", self.feed);
        }
    }
}

/// What the API server said, or why it said nothing.
fn reason(error: &watcher::Error) -> String {
    use watcher::Error;
    match error {
        Error::InitialListFailed(e) | Error::WatchStartFailed(e) | Error::WatchFailed(e) => said(e),
        Error::WatchError(status) => answer(status),
        Error::NoResourceVersion => chain(error),
    }
}

fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => answer(status),
        error => chain(error),
    }
}

fn answer(status: &Status) -> String {
    let (code, said) = (status.code, status.message.trim());
    format!("the API server answered {code} {}: {said}", status.reason)
}

/// The version of the objects, as manifests have it.
fn api_version(api: &Api<DynamicObject>) -> String {
    // `/apis/GROUP/VERSION/PLURAL`
    let path = api.resource_url();
    let mut parts = path.trim_start_matches("/apis/").split('/');
    match (parts.next(), parts.next()) {
        (Some(group), Some(version)) => format!("{group}/{version}"),
        _ => String::new(),
    }
}
