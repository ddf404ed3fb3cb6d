//! docker: a real daemon whose default runtime is the wrapper.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::debian_release::{Release, node};
use crate::support::containers::*;

mod daemon_restarts;
mod profile_options;
mod same_behaviour;

/// The image of all containers here.
const IMAGE: &str = "localhost/busybox";
/// Where `install.sh` puts the wrapper by the names of the runtimes.
const LIBEXEC: &str = "/usr/local/libexec/oci-apparmor";
const DAEMON_JSON: &str = "/etc/docker/daemon.json";
/// A container that does nothing for long, and ends when it is told to.
const FOREVER: [&str; 3] = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"];
const CURRENT: [&str; 2] = ["cat", "/proc/self/attr/current"];

/// The one daemon of all these tests: it takes a while to start.
static DAEMON: Mutex<Option<Child>> = Mutex::new(None);

/// The node, with the daemon up.
pub(crate) fn docker_node() -> MutexGuard<'static, ()> {
    static ONCE: Once = Once::new();
    let node = node();
    ONCE.call_once(|| {
        fs::create_dir_all(LIBEXEC).unwrap();
        RUNTIMES.iter().for_each(|name| install(name));
        daemon_json();
        start_daemon();
        configure(&["--set-default"]);
        // As `configure` says: a reload will do.
        signal_daemon("HUP");
        let ours = "\"DefaultRuntime\":\"oci-apparmor\"";
        wait_long(|| get("/info").is_some_and(|info| info.contains(ours)));
        let words = format!(
            "tar -C {} -c . | docker import - {IMAGE}",
            rootfs().display()
        );
        run("sh", ["-c", &words]).ok();
    });
    // What a test that failed has left is not the next one's fault.
    for record in records() {
        let id = record.file_name().unwrap().to_str().unwrap();
        docker(&["rm", "-f", id]);
    }
    node
}

/// Puts a copy of the wrapper where it is installed, by a rename over what is there.
fn install(name: &str) {
    let new = Path::new(LIBEXEC).join("new");
    fs::copy(RUNTIME, &new).unwrap();
    fs::rename(&new, Path::new(LIBEXEC).join(name)).unwrap();
}

/// Has `configure` tell the daemon of us: as the runtime of all containers, or of those that ask.
fn configure(words: &[&str]) {
    let words = [&["configure", "docker", "--programs", LIBEXEC], words].concat();
    run(CLI, words).ok();
}

/// The daemon's configuration as a node has it before it knows of us: without a network, and with
/// a runtime of its own (which happens to be the wrapper around crun).
fn daemon_json() {
    let crun = Path::new(LIBEXEC).join("crun");
    let configuration = json!({
        "iptables": false, "bridge": "none", "live-restore": true,
        "runtimes": {"with-crun": {"path": crun}},
    });
    fs::create_dir_all("/etc/docker").unwrap();
    fs::write(DAEMON_JSON, configuration.to_string()).unwrap();
}

/// Starts the daemon, and waits until it answers.
fn start_daemon() {
    let mut daemon = DAEMON.lock().unwrap_or_else(PoisonError::into_inner);
    // The socket that another test's containerd left is taken for one that runs.
    let _ = fs::remove_file("/run/containerd/containerd.sock");
    let log = File::options()
        .create(true)
        .append(true)
        .open("/run/dockerd.log")
        .unwrap();
    let child = Command::new("dockerd")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    *daemon = Some(child);
    wait_long(|| get("/_ping").is_some());
}

/// What the daemon answers to a question; its client would take a second for each.
fn get(path: &str) -> Option<String> {
    let mut socket = UnixStream::connect("/run/docker.sock").ok()?;
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .ok()?;
    // Of HTTP 1.0: the answer comes in one piece, and ends with the connection.
    write!(socket, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 OK").then(|| body.to_owned())
}

/// Sends the daemon a signal; waits for its end where it is one that ends it.
fn signal_daemon(signal: &str) {
    let mut daemon = DAEMON.lock().unwrap_or_else(PoisonError::into_inner);
    let child = daemon.as_mut().unwrap();
    run("kill", [format!("-{signal}"), child.id().to_string()]).ok();
    if signal != "HUP" {
        child.wait().unwrap();
        *daemon = None;
    }
}

/// Waits for something that docker takes its time for, in an emulated machine.
#[track_caller]
fn wait_long(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(90);
    while !condition() {
        assert!(Instant::now() < end, "it did not happen within 90 seconds");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn docker(words: &[&str]) -> Done {
    run("docker", words)
}

/// `docker run` with these options, and this command.
fn docker_run(options: &[&str], command: &[&str]) -> Done {
    docker(&[&["run", "--network=none"], options, &[IMAGE], command].concat())
}

fn exec(name: &str, words: &[&str]) -> Done {
    docker(&[&["exec", name], words].concat())
}

fn inspect(name: &str) -> Value {
    serde_json::from_str(&get(&format!("/containers/{name}/json")).unwrap()).unwrap()
}

/// The label of a container's first process.
fn label_of(container: &Value) -> String {
    let pid = container["State"]["Pid"].as_i64().unwrap();
    let label = fs::read_to_string(format!("/proc/{pid}/attr/apparmor/current")).unwrap();
    label.trim_end().to_owned()
}

/// Removes the container, after which nothing of it is left with us, either.
#[track_caller]
fn remove(name: &str) {
    docker(&["rm", "-f", name]).ok();
    nothing_is_left();
}

/// No record; and no lock, once they are tidied up.
#[track_caller]
fn nothing_is_left() {
    assert_eq!(records(), Vec::<PathBuf>::new());
    run(CLI, ["gc"]).ok();
    let locks = fs::read_dir("/run/oci-apparmor/locks");
    let locks: Vec<_> = locks.into_iter().flatten().flatten().collect();
    assert!(locks.is_empty(), "{locks:?}");
}
