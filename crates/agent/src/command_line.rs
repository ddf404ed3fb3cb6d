//! The command line, and what the program does around its loop.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use kube::Client;
use log::{error, info};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::confirm::{Confirmation, confirm, is_ready};
use crate::connection::connect;
use crate::logging;
use crate::object::Feed;
use crate::publish::{ReportTask, publish};
use crate::run::{Task, run_and_tell};

const HELP: &str = "\
Writes the AppArmor profiles of a Kubernetes cluster into files of this node

Usage: oci-apparmor-agent [OPTIONS]
       oci-apparmor-agent confirm --handover DIR [--node NAME] [--ready]

confirm labels the node when the API shows that its engine serves the handler, for
oci-apparmor node install, which writes in DIR what it wants; with --ready, it tells
by its exit code whether that is done.

Options:
      --spool DIR            Where the files are written
                             [default: /var/lib/oci-apparmor/spool]
      --sources LIST         What is watched: profiles (AppArmorProfile objects),
                             configmaps (with the label oci-apparmor/profile=true)
                             [default: profiles,configmaps]
      --namespace NAME       The namespace of the ConfigMaps [default: the agent's own]
      --node NAME            The node's name, for the API server's audit log and events
                             [default: $NODE_NAME]
      --status DIR           Where root says what the cluster is told about the node
                             [default: /var/lib/oci-apparmor/status]
      --token FILE           The token that says on which node the agent runs
                             [default: that of the pod]
      --start-delay SECONDS  Wait a random time up to this, if the spool is complete
                             already [default: 30]
  -h, --help                 Print this
  -V, --version              Print the version

The API server is reached with the service account of the pod, or by the file that
$KUBECONFIG names. SIGTERM ends the program; the files stay. See oci-apparmor-agent(8).
";

/// The exit codes of `docs/formats.md`.
const USAGE: u8 = 2;
const CONFIGURATION: u8 = 7;
const INTERNAL: u8 = 8;
/// Of `confirm --ready`.
const NOT_READY: u8 = 1;

const SPOOL: &str = "/var/lib/oci-apparmor/spool";
const STATUS: &str = "/var/lib/oci-apparmor/status";
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const START_DELAY: Duration = Duration::from_secs(30);

#[derive(Debug, PartialEq, Eq)]
struct AgentOptions {
    spool: PathBuf,
    feeds: Vec<Feed>,
    namespace: Option<String>,
    node: Option<String>,
    status: PathBuf,
    token: PathBuf,
    start_delay: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum AgentCall {
    Help,
    Version,
    Run(AgentOptions),
    Confirm {
        handover: PathBuf,
        node: Option<String>,
        ready: bool,
    },
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let words: Option<Vec<String>> = std::env::args_os()
        .skip(1)
        .map(|word| word.into_string().ok())
        .collect();
    let node = std::env::var("NODE_NAME").ok();
    let call = match words {
        Some(words) => parse(words, node),
        None => Err("an argument is not UTF-8 text".to_owned()),
    };
    match call {
        Ok(AgentCall::Help) => print(HELP),
        Ok(AgentCall::Version) => print(concat!(
            "oci-apparmor-agent ",
            env!("CARGO_PKG_VERSION"),
            "\n"
        )),
        Ok(AgentCall::Run(options)) => {
            logging::start();
            start(follow_cluster(options))
        }
        Ok(AgentCall::Confirm {
            handover,
            ready: true,
            ..
        }) => match is_ready(&handover) {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(NOT_READY),
        },
        Ok(AgentCall::Confirm { handover, node, .. }) => {
            logging::start();
            start(confirm_node(handover, node))
        }
        Err(why) => {
            let text = format!("oci-apparmor-agent: {why}; run: oci-apparmor-agent --help\n");
            let _ = io::stderr().lock().write_all(text.as_bytes());
            ExitCode::from(USAGE)
        }
    }
}

fn print(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(INTERNAL),
    }
}

/// The words behind `confirm`.
fn parse_confirm(words: Vec<String>, node: Option<String>) -> Result<AgentCall, String> {
    let (mut handover, mut node, mut ready) = (None, node, false);
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        let mut value = || {
            let value = value.clone().or_else(|| words.next());
            let value = value.filter(|value| !value.is_empty());
            value.ok_or_else(|| format!("{name} needs a value"))
        };
        match name.as_str() {
            "-h" | "--help" => return Ok(AgentCall::Help),
            "--ready" => ready = true,
            "--handover" => handover = Some(PathBuf::from(value()?)),
            "--node" => node = Some(value()?),
            _ => return Err(format!("unknown argument {name:?}")),
        }
    }
    let handover = handover.ok_or("confirm needs --handover")?;
    if node.is_none() && !ready {
        return Err("confirm needs --node, or $NODE_NAME".to_owned());
    }
    Ok(AgentCall::Confirm {
        handover,
        node,
        ready,
    })
}

/// Options are `--name VALUE` or `--name=VALUE`.
fn parse(words: Vec<String>, node: Option<String>) -> Result<AgentCall, String> {
    if words.first().is_some_and(|word| word == "confirm") {
        let node = node.filter(|node| !node.is_empty());
        return parse_confirm(words.into_iter().skip(1).collect(), node);
    }
    let mut options = AgentOptions {
        spool: PathBuf::from(SPOOL),
        feeds: vec![Feed::Profiles, Feed::ConfigMaps],
        namespace: None,
        node: node.filter(|node| !node.is_empty()),
        status: PathBuf::from(STATUS),
        token: PathBuf::from(TOKEN),
        start_delay: START_DELAY,
    };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        match name.as_str() {
            "-h" | "--help" => return Ok(AgentCall::Help),
            "-V" | "--version" => return Ok(AgentCall::Version),
            "--spool" | "--sources" | "--namespace" | "--node" | "--status" | "--token"
            | "--start-delay" => {}
            _ => return Err(format!("unknown argument {name:?}")),
        }
        let value = value.or_else(|| words.next());
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            return Err(format!("{name} needs a value"));
        };
        match name.as_str() {
            "--spool" | "--status" | "--token" if !Path::new(&value).is_absolute() => {
                return Err(format!("{name} must be an absolute path"));
            }
            "--spool" => options.spool = value.into(),
            "--status" => options.status = value.into(),
            "--token" => options.token = value.into(),
            "--sources" => options.feeds = feeds(&value)?,
            "--namespace" => options.namespace = Some(value),
            "--node" => options.node = Some(value),
            _ => {
                let seconds = value.parse().ok().filter(|seconds| *seconds <= 3_600);
                let seconds = seconds.ok_or("--start-delay must be a number of seconds up to 3600");
                options.start_delay = Duration::from_secs(seconds?);
            }
        }
    }
    Ok(AgentCall::Run(options))
}

fn feeds(list: &str) -> Result<Vec<Feed>, String> {
    let mut feeds = Vec::new();
    for name in list.split(',') {
        let feed = match name {
            "profiles" => Feed::Profiles,
            "configmaps" => Feed::ConfigMaps,
            _ => return Err(format!("--sources has no {name:?}")),
        };
        if !feeds.contains(&feed) {
            feeds.push(feed);
        }
    }
    Ok(feeds)
}

fn start(work: impl Future<Output = Result<(), (u8, String)>>) -> ExitCode {
    // One thread: a thread for each processor of a large node is most of such a program's memory.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(until_signal(work)),
        Err(e) => Err((INTERNAL, format!("cannot start: {e}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, why)) => {
            error!("{why}");
            ExitCode::from(code)
        }
    }
}

/// Runs until SIGTERM or SIGINT. Process 1 of a container has to ask for them: the kernel does not
/// deliver it signals that it has no handler for (`pid_namespaces(7)`).
async fn until_signal(
    work: impl Future<Output = Result<(), (u8, String)>>,
) -> Result<(), (u8, String)> {
    let handler =
        |kind| signal(kind).map_err(|e| (INTERNAL, format!("cannot wait for signals: {e}")));
    let mut terminate = handler(SignalKind::terminate())?;
    let mut interrupt = handler(SignalKind::interrupt())?;
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        result = work => return result,
    }
    info!("ends by a signal; what it has written stays");
    Ok(())
}

async fn confirm_node(handover: PathBuf, node: Option<String>) -> Result<(), (u8, String)> {
    let node = node.unwrap_or_default();
    let client = client(Some(&node)).await?;
    info!("confirms what {} wants for node {node}", handover.display());
    confirm(client, Confirmation { handover, node }).await;
    Err((INTERNAL, "nothing is confirmed any more".to_owned()))
}

async fn client(node: Option<&str>) -> Result<Client, (u8, String)> {
    connect(node).await.map_err(|why| {
        let why = format!("cannot find the API server: {why}");
        (CONFIGURATION, why)
    })
}

async fn follow_cluster(options: AgentOptions) -> Result<(), (u8, String)> {
    let client = client(options.node.as_deref()).await?;
    let namespace = options.namespace.as_deref();
    let namespace = namespace.unwrap_or(client.default_namespace()).to_owned();
    let spool = options.spool;
    let kinds: Vec<String> = options.feeds.iter().map(Feed::to_string).collect();
    info!(
        "follows {} objects (ConfigMaps in namespace {namespace}); spool {}",
        kinds.join(" and "),
        spool.display()
    );
    let task = Task {
        spool,
        feeds: options.feeds,
        namespace,
        start_delay: options.start_delay,
    };
    let report = ReportTask {
        status: options.status,
        token: options.token,
        node: options.node,
    };
    let (told, rejected) = watch::channel(None);
    tokio::select! {
        () = publish(client.clone(), report, rejected) => {}
        () = run_and_tell(client, task, told) => {}
    }
    Err((INTERNAL, "nothing follows the API any more".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<AgentCall, String> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        parse(words, Some("of-the-pod".to_owned()))
    }

    #[test]
    fn options_have_values_in_both_forms() {
        let call = parsed(&["--spool=/s", "--node", "n", "--sources", "configmaps"]);
        let Ok(AgentCall::Run(options)) = call else {
            panic!("{call:?}")
        };
        assert_eq!(options.spool, Path::new("/s"));
        assert_eq!(options.node.as_deref(), Some("n"));
        assert_eq!(options.feeds, [Feed::ConfigMaps]);
        let Ok(AgentCall::Run(defaults)) = parsed(&[]) else {
            panic!()
        };
        assert_eq!(defaults.node.as_deref(), Some("of-the-pod"));
        assert_eq!(defaults.feeds, [Feed::Profiles, Feed::ConfigMaps]);
        assert_eq!(parsed(&["-h", "--what"]), Ok(AgentCall::Help));
        let call = parsed(&["confirm", "--handover=/h", "--ready"]);
        let confirm = AgentCall::Confirm {
            handover: "/h".into(),
            node: Some("of-the-pod".to_owned()),
            ready: true,
        };
        assert_eq!(call, Ok(confirm));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            &["--what"][..],
            &["--spool"],
            &["--spool="],
            &["--spool", "relative"],
            &["--status", "relative"],
            &["--token=relative"],
            &["--sources", "secrets"],
            &["--start-delay", "-1"],
            &["--start-delay", "4000"],
            &["word"],
            &["confirm"],
            &["confirm", "--handover"],
            &["confirm", "--handover", "/h", "word"],
        ] {
            assert!(parsed(words).is_err(), "{words:?}");
        }
    }
}
