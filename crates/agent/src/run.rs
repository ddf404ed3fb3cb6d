//! The program's loop: what the API has is folded into one state, and the spool made like it.

use std::collections::BTreeSet;
use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use kube::Client;
use log::{info, warn};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, sleep_until};

use crate::backoff::{Backoff, random};
use crate::follow::follow;
use crate::node_report::RejectedProfile;
use crate::object::Feed;
use crate::plan::plan;
use crate::spool::Spool;
use crate::state::{ApiChange, ApiState, BOUNDS};

/// The longest time until a spool that could not be written is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How often the spool is compared with what it should have: other programs may have changed it.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// The least time between two lists because objects were left out.
const LIST_EVERY: Duration = Duration::from_secs(300);

/// The longest wait before such a list: all nodes see the deletion that makes room.
const LIST_AGAIN: Duration = Duration::from_secs(60);

/// How many changes wait to be taken in.
const QUEUE: usize = 16;

/// How many rejections are remembered, so that each is logged once.
const MAX_LOGGED: usize = 1_000;

/// What the agent follows, and where it writes.
#[derive(Debug, Clone)]
pub struct Task {
    /// The directory of the spool.
    pub spool: PathBuf,
    /// The kinds of objects.
    pub feeds: Vec<Feed>,
    /// The namespace of the ConfigMaps.
    pub namespace: String,
    /// Where the spool is complete already, the longest time to wait before the first request.
    pub start_delay: Duration,
}

/// Follows the API for ever. To end it, drop the future: each file of the spool is whole at any
/// time.
pub async fn run(client: Client, task: Task) {
    run_and_tell(client, task, watch::channel(None).0).await;
}

/// The same. Also tells which profiles are not written; nothing until the objects of the API are
/// known.
pub async fn run_and_tell(
    client: Client,
    task: Task,
    rejected: watch::Sender<Option<Vec<RejectedProfile>>>,
) {
    let mut agent = Agent {
        rejected,
        state: ApiState::new(&task.feeds, BOUNDS),
        spool: None,
        wait: Backoff::at_most(LONGEST_WAIT),
        failure: None,
        logged: BTreeSet::new(),
        left_out: false,
        complete: false,
        task,
    };
    // A new node needs its profiles now. Many agents start at the same time only where a cluster is
    // upgraded, or has lost its power.
    if Spool::open(&agent.task.spool).is_ok_and(|spool| spool.view().complete) {
        sleep(random(agent.task.start_delay)).await;
    }
    let mut listed = Instant::now();
    let mut list_at = None;
    let (mut followers, mut changes) = agent.follow(&client);
    let mut look_at = later(listed, LOOK_EVERY);
    loop {
        if agent.state.needs_list() && list_at.is_none() {
            let soon = later(Instant::now(), random(LIST_AGAIN));
            list_at = Some(soon.max(later(listed, LIST_EVERY)));
        }
        tokio::select! {
            change = changes.recv() => {
                let Some(change) = change else { break };
                agent.state.apply(change);
                while let Ok(change) = changes.try_recv() {
                    agent.state.apply(change);
                }
            }
            () = sleep_until(look_at) => {
                agent.spool = None;
                look_at = later(Instant::now(), LOOK_EVERY);
            }
            () = at(list_at) => {
                list_at = None;
                followers.abort_all();
                agent.state.list_again();
                listed = Instant::now();
                (followers, changes) = agent.follow(&client);
            }
        }
        if let Some(wait) = agent.sync().await {
            look_at = later(Instant::now(), wait);
        }
    }
}

fn later(time: Instant, wait: Duration) -> Instant {
    time.checked_add(wait).unwrap_or(time)
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

struct Agent {
    task: Task,
    /// Where it is told what is not written.
    rejected: watch::Sender<Option<Vec<RejectedProfile>>>,
    state: ApiState,
    /// What is known of the spool; nothing where it has to be read.
    spool: Option<Spool>,
    wait: Backoff,
    failure: Option<String>,
    logged: BTreeSet<String>,
    left_out: bool,
    complete: bool,
}

impl Agent {
    fn follow(&self, client: &Client) -> (JoinSet<()>, Receiver<ApiChange>) {
        let (sender, changes) = channel(QUEUE);
        let mut followers = JoinSet::new();
        for feed in &self.task.feeds {
            let namespace = self.task.namespace.clone();
            followers.spawn(follow(client.clone(), *feed, namespace, sender.clone()));
        }
        (followers, changes)
    }

    /// Makes the spool like the state; where that fails, returns when to try again.
    async fn sync(&mut self) -> Option<Duration> {
        match self.try_sync().await {
            Ok(()) => {
                if self.failure.take().is_some() {
                    info!("the spool {} is written again", self.task.spool.display());
                }
                self.wait.reset();
                None
            }
            Err(e) => {
                let why = e.to_string();
                if self.failure.as_ref() != Some(&why) {
                    let path = self.task.spool.display();
                    warn!("cannot write the spool {path}: {why}; it is tried again");
                    self.failure = Some(why);
                }
                self.spool = None;
                Some(self.wait.wait())
            }
        }
    }

    async fn try_sync(&mut self) -> std::io::Result<()> {
        if !self.state.is_known() {
            return Ok(());
        }
        self.tell_rejected();
        let spool = match &mut self.spool {
            Some(spool) => spool,
            None => self.spool.insert(Spool::open(&self.task.spool)?),
        };
        for step in plan(&self.state, spool.view()) {
            spool.carry_out(&step)?;
            // A signal ends the program between two files.
            yield_now().await;
        }
        if !self.complete && spool.view().complete && self.state.is_settled() {
            self.complete = true;
            let (path, files) = (self.task.spool.display(), spool.view().files.len());
            info!("the spool {path} shows what the API has: {files} profiles");
        }
        self.log_rejections();
        Ok(())
    }

    fn tell_rejected(&self) {
        let rejections = self.state.rejections().into_iter().take(MAX_LOGGED);
        let rejected = rejections.map(|(id, entry, why)| RejectedProfile {
            name: entry.to_owned(),
            object: id.to_string(),
            why: why.to_string(),
        });
        let rejected = Some(rejected.collect());
        self.rejected.send_if_modified(|told| {
            let is_new = *told != rejected;
            *told = rejected;
            is_new
        });
    }

    fn log_rejections(&mut self) {
        let mut current = BTreeSet::new();
        for (id, entry, why) in self.state.rejections().into_iter().take(MAX_LOGGED) {
            let line = format!("{id}, profile {entry:?}: {why}; it is not written");
            if !self.logged.contains(&line) {
                warn!("{line}");
            }
            current.insert(line);
        }
        self.logged = current;
        let left_out = self.state.left_out();
        if let Some(id) = left_out.filter(|_| !self.left_out) {
            warn!(
                "more than {} profiles or {} bytes: {id} and all younger objects are left out",
                BOUNDS.files, BOUNDS.bytes
            );
        }
        self.left_out = left_out.is_some();
    }
}
