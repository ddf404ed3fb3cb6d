//! Random histories of a cluster, with everything that can go wrong in between: at the end, the spool
//! has what the API has.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use oci_apparmor_agent::connection::request_limit;
use oci_apparmor_agent::object::Feed;
use oci_apparmor_agent::run::{Task, run};
use proptest::prelude::*;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower::Layer;

use crate::api_server::{ApiServer, Cut};
use crate::node::event;
use crate::replay::status;

const FEEDS: [Feed; 2] = [Feed::Profiles, Feed::ConfigMaps];

#[derive(Debug, Clone)]
enum Happening {
    /// Both kinds have the same names.
    Put(usize, usize, String),
    Delete(usize, usize),
    Repeat(usize),
    Wait(u64),
    /// All watches end; the next answers of a kind are cut as well.
    Cut(usize, Vec<(usize, bool)>),
    CutAll(bool),
    /// Old versions are gone: for a watch that is continued, or for one that is open.
    Forget,
    Gone(usize),
    Garbage(usize),
    Away(u64),
    /// Requests have no answer.
    Silent(u64),
    /// Another API server, which does or does not stream lists.
    Streams(bool),
    /// The agent is killed and started again.
    Restart,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    use Happening as H;
    let cuts = proptest::collection::vec((0..900usize, any::<bool>()), 0..3);
    let happening = prop_oneof![
        6 => (0..2usize, 0..4usize, "[a-z ]{0,20}").prop_map(|(f, n, text)| H::Put(f, n, text)),
        3 => (0..2usize, 0..4usize).prop_map(|(f, n)| H::Delete(f, n)),
        1 => (0..2usize).prop_map(H::Repeat),
        4 => prop_oneof![Just(0), 1..20u64, 20..400u64].prop_map(H::Wait),
        3 => (0..2usize, cuts).prop_map(|(f, cuts)| H::Cut(f, cuts)),
        1 => any::<bool>().prop_map(H::CutAll),
        1 => Just(H::Forget),
        1 => (0..2usize).prop_map(H::Gone),
        1 => (0..2usize).prop_map(H::Garbage),
        1 => (0..300u64).prop_map(H::Away),
        1 => (0..300u64).prop_map(H::Silent),
        1 => any::<bool>().prop_map(H::Streams),
        2 => Just(H::Restart),
    ];
    proptest::collection::vec(happening, 1..40)
}

fn start(server: &ApiServer, spool: &Path) -> JoinHandle<()> {
    let client = Client::new(request_limit().layer(server.clone()), "ours");
    let task = Task {
        spool: spool.to_owned(),
        feeds: FEEDS.to_vec(),
        namespace: "ours".to_owned(),
        start_delay: Duration::from_secs(30),
    };
    tokio::spawn(run(client, task))
}

async fn happen(happening: &Happening, server: &ApiServer) {
    match happening {
        Happening::Put(feed, name, text) => server.put(FEEDS[*feed], &format!("p{name}"), text),
        Happening::Delete(feed, name) => server.delete(FEEDS[*feed], &format!("p{name}")),
        Happening::Repeat(feed) => server.repeat(FEEDS[*feed]),
        Happening::Wait(seconds) => sleep(Duration::from_secs(*seconds)).await,
        Happening::Cut(feed, cuts) => {
            for (bytes, broken) in cuts {
                let (bytes, broken) = (*bytes, *broken);
                server.cut_next(FEEDS[*feed], Cut { bytes, broken });
            }
            server.cut_all(false);
        }
        Happening::CutAll(broken) => server.cut_all(*broken),
        Happening::Forget => {
            server.forget();
            server.cut_all(true);
        }
        Happening::Gone(feed) => {
            server.say(FEEDS[*feed], &event("ERROR", &status(410, "Expired")));
        }
        Happening::Garbage(feed) => server.say(FEEDS[*feed], "{\"type\":\"ADDED\",\"obj\n"),
        Happening::Away(seconds) => {
            server.set_away(true);
            server.cut_all(true);
            sleep(Duration::from_secs(*seconds)).await;
            server.set_away(false);
        }
        Happening::Silent(seconds) => {
            server.set_silent(true);
            server.cut_all(false);
            sleep(Duration::from_secs(*seconds)).await;
            server.set_silent(false);
        }
        Happening::Streams(streams) => server.set_streams_lists(*streams),
        Happening::Restart => {}
    }
}

fn is_right(spool: &Path, expected: &BTreeMap<String, String>) -> bool {
    let files = fs::read_dir(spool).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    let complete = names.first().is_some_and(|name| name == ".complete");
    let read = |name: &str| fs::read_to_string(spool.join(name)).unwrap();
    complete
        && names[1..].iter().eq(expected.keys())
        && expected
            .iter()
            .all(|(name, text)| read(name).contains(text))
}

async fn history(happenings: &[Happening]) -> Result<(), TestCaseError> {
    // Each file is written durably, which a disk takes its time for.
    let memory = PathBuf::from("/dev/shm");
    let spool = match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    let server = ApiServer::new();
    let mut agent = start(&server, spool.path());
    for happening in happenings {
        happen(happening, &server).await;
        if let Happening::Restart = happening {
            agent.abort();
            agent = start(&server, spool.path());
        }
    }
    server.heal();
    for _ in 0..1_500 {
        if is_right(spool.path(), &server.expected()) {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    // It stays so.
    sleep(Duration::from_secs(700)).await;
    agent.abort();
    let expected = server.expected();
    let files: Vec<_> = fs::read_dir(spool.path()).unwrap().collect();
    prop_assert!(is_right(spool.path(), &expected), "{files:?} {expected:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn after_any_history_the_spool_has_what_the_api_has(happenings in happenings()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(history(&happenings))?;
    }
}
