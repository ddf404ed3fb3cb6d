//! What many agents ask of one API server, and when. Time is virtual: each agent and the server
//! answer at once, so the figures are those of the agents' own decisions.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use oci_apparmor_agent::connection::request_limit;
use oci_apparmor_agent::object::Feed;
use oci_apparmor_agent::publish::{ReportTask, publish};
use oci_apparmor_agent::run::{Task, run_and_tell};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::Layer;

use crate::api_server::{Answer, ApiServer};
use crate::reports::{said, token};

/// So that a file has one page of memory.
const BYTES: usize = 3_800;

/// The default of `--start-delay`.
const START_DELAY: Duration = Duration::from_secs(30);

/// What happened in some time, in seconds of it.
struct Load {
    what: &'static str,
    agents: usize,
    answers: BTreeMap<(u64, Answer), usize>,
    bytes: BTreeMap<u64, usize>,
}

impl Load {
    fn count(&self, wanted: impl Fn(Answer) -> bool) -> BTreeMap<u64, usize> {
        let mut seconds = BTreeMap::new();
        for ((second, answer), count) in &self.answers {
            if wanted(*answer) {
                *seconds.entry(*second).or_default() += count;
            }
        }
        seconds
    }

    fn requests(&self) -> BTreeMap<u64, usize> {
        self.count(|_| true)
    }

    fn lists(&self) -> BTreeMap<u64, usize> {
        self.count(|answer| answer == Answer::List)
    }

    fn writes(&self) -> BTreeMap<u64, usize> {
        self.count(|answer| answer == Answer::Write)
    }

    /// The second of the last request, so that a mean has no seconds in which nothing happens.
    fn seconds(&self) -> u64 {
        self.requests().keys().max().map_or(0, |last| last + 1)
    }
}

fn total(seconds: &BTreeMap<u64, usize>) -> usize {
    seconds.values().sum()
}

fn peak(seconds: &BTreeMap<u64, usize>) -> usize {
    seconds.values().copied().max().unwrap_or(0)
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, lists, writes) = (self.requests(), self.lists(), self.writes());
        let seconds = self.seconds();
        let mean = total(&requests) as f64 / seconds.max(1) as f64;
        let refused = self.count(|answer| matches!(answer, Answer::Gone | Answer::Away));
        let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "| {} | {} | {:.0} | {} | {seconds} s | {} | {} | {} | {} | {} | {:.1} MiB | {:.1} MiB |",
            self.what,
            total(&requests),
            mean,
            peak(&requests),
            total(&refused),
            total(&lists),
            peak(&lists),
            total(&writes),
            peak(&writes),
            mib(total(&self.bytes)),
            mib(peak(&self.bytes)),
        )
    }
}

struct Fleet {
    api: ApiServer,
    directory: tempfile::TempDir,
    agents: JoinSet<()>,
    size: usize,
}

impl Fleet {
    fn new(size: usize, profiles: usize) -> Self {
        let memory = Path::new("/dev/shm");
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory).unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        let api = ApiServer::new();
        for n in 0..profiles {
            api.put(Feed::Profiles, &format!("cluster-{n}"), &"x".repeat(BYTES));
        }
        api.put(Feed::ConfigMaps, "cluster-raw", &"x".repeat(BYTES));
        let fleet = Self {
            api,
            directory,
            agents: JoinSet::new(),
            size,
        };
        for n in 0..size {
            fs::create_dir_all(fleet.path(n, "spool")).unwrap();
            fs::write(fleet.path(n, "token"), token(&format!("node-{n}"))).unwrap();
        }
        fleet.say(0);
        fleet
    }

    fn path(&self, n: usize, name: &str) -> PathBuf {
        self.directory.path().join(n.to_string()).join(name)
    }

    /// Root says on each node how many containers and denials there are.
    fn say(&self, count: u64) {
        let status = said(true, count).to_string();
        for n in 0..self.size {
            fs::write(self.path(n, "node.new"), &status).unwrap();
            fs::rename(self.path(n, "node.new"), self.path(n, "node.json")).unwrap();
        }
    }

    fn start(&mut self) {
        for n in 0..self.size {
            let client = Client::new(request_limit().layer(self.api.clone()), "ours");
            let task = Task {
                spool: self.path(n, "spool"),
                feeds: vec![Feed::Profiles, Feed::ConfigMaps],
                namespace: "ours".to_owned(),
                start_delay: START_DELAY,
            };
            let report = ReportTask {
                status: self.directory.path().join(n.to_string()),
                token: self.path(n, "token"),
                node: None,
            };
            self.agents.spawn(async move {
                let (told, rejected) = watch::channel(None);
                tokio::select! {
                    () = publish(client.clone(), report, rejected) => {}
                    () = run_and_tell(client, task, told) => {}
                }
            });
        }
    }

    /// What is asked and sent in so many seconds from now on.
    async fn load(&self, what: &'static str, seconds: u64) -> Load {
        // What comes of what was done before counts, too.
        let start = Instant::now();
        sleep(Duration::from_secs(seconds)).await;
        self.counted(what, start)
    }

    fn counted(&self, what: &'static str, start: Instant) -> Load {
        let (answers, sent) = self.api.counts();
        let second = |at: Instant| at.duration_since(start).as_secs();
        let mut load = Load {
            what,
            agents: self.size,
            answers: BTreeMap::new(),
            bytes: BTreeMap::new(),
        };
        for (at, answer) in answers {
            *load.answers.entry((second(at), answer)).or_default() += 1;
        }
        for (at, bytes) in sent {
            *load.bytes.entry(second(at)).or_default() += bytes;
        }
        load
    }

    /// All agents watch both kinds, and have all files.
    fn check(&self) {
        assert_eq!(self.api.watches(), 2 * self.size);
        let expected = self.api.expected();
        for n in 0..self.size {
            assert_eq!(
                fs::read_dir(self.path(n, "spool")).unwrap().count(),
                expected.len() + 1
            );
        }
    }
}

async fn loads(size: usize, profiles: usize) -> Vec<Load> {
    let mut fleet = Fleet::new(size, profiles);
    fleet.api.counts();
    let mut loads = Vec::new();
    fleet.start();
    let what = "all nodes are new, and start in one second";
    loads.push(fleet.load(what, 200).await);
    fleet.check();
    fleet
        .api
        .put(Feed::Profiles, "cluster-0", &"y".repeat(BYTES));
    loads.push(fleet.load("one profile changes", 10).await);
    fleet.check();
    let what = "nothing happens for ten minutes";
    loads.push(fleet.load(what, 600).await);
    fleet.check();
    let start = Instant::now();
    for minute in 1..=20 {
        fleet.say(minute);
        sleep(Duration::from_secs(60)).await;
    }
    let what = "the counts of each node change every minute, for 20 minutes";
    loads.push(fleet.counted(what, start));
    fleet.agents.shutdown().await;
    fleet.api.counts();
    fleet.start();
    loads.push(
        fleet
            .load("all agents start again in one second", 200)
            .await,
    );
    fleet.check();
    fleet.api.cut_all(true);
    let what = "all watches are cut; another API server knows the history";
    loads.push(fleet.load(what, 200).await);
    fleet.check();
    fleet.api.cut_all(true);
    fleet.api.forget();
    let what = "the API server restarts at once, and knows no history";
    loads.push(fleet.load(what, 200).await);
    fleet.check();
    fleet.api.cut_all(true);
    fleet.api.set_away(true);
    fleet.api.forget();
    let api = fleet.api.clone();
    tokio::spawn(async move {
        sleep(Duration::from_secs(60)).await;
        api.set_away(false);
    });
    let what = "the API server is away for a minute, and knows no history";
    loads.push(fleet.load(what, 230).await);
    fleet.check();
    loads
}

fn print(loads: &[Load]) {
    println!(
        "| what | requests | mean/s | peak/s | within | refused | lists | lists peak/s | writes | writes peak/s | sent | sent peak/s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for load in loads {
        println!("{load}");
    }
}

/// The table "Sizing" of `docs/cluster.md`.
#[tokio::test(start_paused = true)]
#[ignore = "needs 6 GB and five minutes: cargo test --release -p oci-apparmor-agent --test cluster -- --ignored --nocapture five_thousand"]
async fn five_thousand_agents() {
    let loads = loads(5_000, 100).await;
    print(&loads);
    check(loads);
}

#[tokio::test(start_paused = true)]
async fn agents_do_not_ask_all_at_once() {
    let loads = loads(200, 5).await;
    print(&loads);
    check(loads);
}

fn check(loads: Vec<Load>) {
    let [new, change, idle, counts, start, cut, restart, away] = loads.try_into().ok().unwrap();
    let few = new.agents / 5;
    // Which version is served, both kinds, and the object of the node.
    assert_eq!(total(&new.requests()), 4 * new.agents, "{new}");
    assert_eq!(total(&new.lists()), 2 * new.agents, "{new}");
    assert_eq!(total(&change.requests()), 0, "{change}");
    assert!(total(&change.bytes) < change.agents * 2 * BYTES, "{change}");
    // Both watches, every four to five minutes.
    assert_eq!(
        total(&idle.count(|answer| answer != Answer::Watch)),
        0,
        "{idle}"
    );
    assert!(total(&idle.requests()) <= 6 * idle.agents, "{idle}");
    // Every five minutes.
    assert!(total(&counts.writes()) <= 4 * counts.agents, "{counts}");
    assert!(
        total(&counts.requests()) <= (4 + 10) * counts.agents,
        "{counts}"
    );
    assert_eq!(total(&start.requests()), 4 * start.agents, "{start}");
    assert!(peak(&start.requests()) <= 2 * few, "{start}");
    assert_eq!(total(&cut.requests()), 2 * cut.agents, "{cut}");
    assert_eq!(total(&cut.lists()), 0, "{cut}");
    assert!(peak(&cut.requests()) <= few, "{cut}");
    for load in [restart, away] {
        assert_eq!(total(&load.lists()), 2 * load.agents, "{load}");
        assert!(peak(&load.lists()) <= few, "{load}");
        assert!(peak(&load.requests()) <= 2 * few, "{load}");
    }
}
