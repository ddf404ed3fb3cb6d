//! From no profile to one that enforces, with `new`, `learn` and `suggest`: a web server (nginx of
//! Debian) and a shell job, under each engine.
//!
//! At the end the workload works without a denial, and accesses that it does not need are denied.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;

use serde_json::Value;

use crate::containerd::{Containerd, WIRING, install, label_runtimes};
use crate::debian_release::node;
use crate::docker::docker_node;
use crate::support::containers::*;

const IMAGE: &str = "localhost/learning";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Podman,
    Docker,
    Containerd,
}

/// What neither workload needs; a process of the image may do all of it if nothing confines it.
const OTHER_ACCESSES: [(&str, &str); 12] = [
    ("read shadow", ": </etc/shadow"),
    ("read key", ": </root/key"),
    ("read environment", ": </proc/1/environ"),
    ("read kernel", ": </sys/kernel/uevent_seqnum"),
    ("write passwd", ": >>/etc/passwd"),
    ("write library", ": >>/usr/lib/x86_64-linux-gnu/libc.so.6"),
    ("write program", ": >>/usr/bin/date"),
    ("write page", ": >>/var/www/html/index.html"),
    ("write configuration", ": >>/etc/nginx/nginx.conf"),
    ("create", ": >/srv/new"),
    ("create program", ": >/usr/sbin/new"),
    ("execute", "/opt/tool"),
];

/// The shell's words that try these accesses, and print `allowed` or `denied` for each.
fn other_accesses() -> String {
    let one = |(name, access): &(&str, &str)| {
        format!(
            "if ({access}) >/dev/null 2>&1; then echo allowed {name}; else echo denied {name}; fi; "
        )
    };
    OTHER_ACCESSES.iter().map(one).collect()
}

fn directory() -> &'static Path {
    Path::new("/var/lib/oci-apparmor-tests/learning")
}

/// An image with what both workloads need, from the files of this machine.
fn image() -> PathBuf {
    static ONCE: Once = Once::new();
    let root = directory().join("image");
    ONCE.call_once(|| {
        for mount in ["in", "out"] {
            fs::create_dir_all(directory().join(mount)).unwrap();
        }
        fs::write(directory().join("in/list"), "# fruits\npear\napple\n").unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/learn-image.sh");
        run(script, [&root]).ok();
    });
    root
}

impl Engine {
    /// The words that run a command in a container of this name.
    fn run(self, options: &str, name: &str, profile: Option<&str>, command: &str) -> String {
        let mounts = ["in", "out"].map(|mount| {
            let source = directory().join(mount).display().to_string();
            let read_only = if mount == "in" { "ro" } else { "rw" };
            match self {
                Self::Containerd => {
                    format!("--mount type=bind,src={source},dst=/{mount},options=rbind:{read_only}")
                }
                Self::Podman | Self::Docker => format!("-v {source}:/{mount}:{read_only}"),
            }
        });
        let mounts = mounts.join(" ");
        let annotation = profile.map(|p| format!("--annotation oci-apparmor/profile={p}"));
        match self {
            Self::Podman => {
                let (runtime, profile) = (wrapper("crun"), annotation.unwrap_or_default());
                format!(
                    "podman --runtime {} run {options} --name {name} --network=none {mounts} \
                     {profile} --rootfs {} {command}",
                    runtime.display(),
                    image().display()
                )
            }
            Self::Docker => {
                let profile = profile.map(|p| format!("--security-opt apparmor={p}"));
                let profile = profile.unwrap_or_default();
                format!(
                    "docker run {options} --name {name} --network=none {mounts} {profile} {IMAGE} \
                     {command}"
                )
            }
            Self::Containerd => {
                let (runtime, profile) = (wrapper("runc"), annotation.unwrap_or_default());
                format!(
                    "ctr run {options} --runc-binary {} {mounts} {profile} --rootfs {} {name} \
                     {command}",
                    runtime.display(),
                    image().display()
                )
            }
        }
    }

    /// The words that run a shell's words in a container that runs.
    fn exec<'w>(self, name: &'w str, words: &'w str) -> Vec<&'w str> {
        let shell = ["/usr/bin/busybox", "sh", "-c", words];
        match self {
            Self::Podman => [&["podman", "exec", name], &shell[..]].concat(),
            Self::Docker => [&["docker", "exec", name], &shell[..]].concat(),
            Self::Containerd => {
                [&["ctr", "task", "exec", "--exec-id", "e", name], &shell[..]].concat()
            }
        }
    }

    /// The words that stop a container and remove it.
    fn stop(self, name: &str) -> String {
        match self {
            Self::Podman => format!("podman stop {name} && podman rm {name}"),
            Self::Docker => format!("docker stop {name} && docker rm {name}"),
            Self::Containerd => format!(
                "ctr task kill -s TERM {name} && \
                 until ctr task ls | grep STOPPED; do sleep 0.1; done && \
                 ctr task rm {name} && ctr container rm {name}"
            ),
        }
    }
}

/// Runs a shell's words to their end, which is a good one.
#[track_caller]
fn shell(words: &str) -> String {
    run("sh", ["-c", words]).ok()
}

/// The words that start the web server, get its page, have it read its configuration again, and get
/// the page once more.
fn serve(start: &str) -> String {
    let get = "nsenter --target $(pgrep -ox nginx) --net busybox wget -qO- http://127.0.0.1/";
    format!(
        "{start} && i=0 && until {get}; do i=$((i+1)); [ $i -lt 100 ] || exit 1; sleep 0.2; done && \
         kill -HUP $(pgrep -ox nginx) && sleep 0.3 && {get}"
    )
}

/// What is denied while it exists, as `denials --follow` prints it.
struct Follower {
    child: Child,
    file: PathBuf,
}

impl Follower {
    fn start() -> Self {
        let file = directory().join("denials");
        let child = Command::new(CLI)
            .args(["denials", "--follow", "--json"])
            .stdin(Stdio::null())
            .stdout(fs::File::create(&file).unwrap())
            .stderr(fs::File::create(directory().join("denials-said")).unwrap())
            .spawn()
            .unwrap();
        let said = directory().join("denials-said");
        wait_for(|| fs::metadata(&said).is_ok_and(|m| m.len() > 0));
        Self { child, file }
    }

    /// The events of a profile, after everything that was missed is known to be nothing.
    fn end(mut self, profile: &str) -> Vec<Value> {
        run("kill", ["-TERM", &self.child.id().to_string()]).ok();
        assert!(self.child.wait().unwrap().success());
        let text = fs::read_to_string(&self.file).unwrap();
        let all = text.lines().map(|line| serde_json::from_str(line).unwrap());
        all.filter(|event: &Value| event["profile"] == profile)
            .collect()
    }
}

/// Each of the other accesses is denied.
#[track_caller]
fn all_are_denied(out: &str) {
    for (name, _) in OTHER_ACCESSES {
        assert!(out.contains(&format!("denied {name}")), "{name}: {out}");
    }
    assert!(!out.contains("allowed"), "{out}");
}

/// The source of a profile that was learnt compiles here, and `lint` has nothing to say.
#[track_caller]
fn is_without_findings(profile: &str) {
    let file = format!("{PROFILES}/{profile}");
    let said = run(CLI, ["lint", "--strict", &file]);
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(said.code, 0, "{said:?}\n{text}");
}

/// Writes a new profile, where there may be one of another test.
fn new(profile: &str, options: &[&str]) {
    unload(profile);
    run(CLI, [&["new", profile, "--force"], options].concat()).ok();
}

/// What the web server needs is learnt; then it works without a denial, and nothing else does.
fn web(engine: Engine) {
    let name = "web";
    let start = engine.run("-d", name, Some(name), "/usr/sbin/nginx");
    let learn = format!("{} && {}", serve(&start), engine.stop(name));
    let learnt = run(CLI, ["learn", name, "--apply", "--", "sh", "-c", &learn]);
    println!("{}{}", learnt.out, learnt.err);
    assert_eq!(learnt.code, 0, "{learnt:?}");
    is_without_findings(name);

    let follower = Follower::start();
    assert!(shell(&serve(&start)).ends_with("it works\n"));
    assert_eq!(loaded(name), Some(format!("{name} (enforce)")));
    assert_eq!(follower.end(name), Vec::<Value>::new());
    let words = other_accesses();
    let exec = engine.exec(name, &words);
    all_are_denied(&run(exec[0], &exec[1..]).ok());
    shell(&engine.stop(name));
}

/// The same for a job. It also does what it does not need, at its end.
fn job(engine: Engine) {
    let name = "job";
    let start = engine.run("--rm", name, Some(name), "/bin/sh /job.sh");
    let learnt = run(CLI, ["learn", name, "--apply", "--", "sh", "-c", &start]);
    println!("{}{}", learnt.out, learnt.err);
    assert_eq!(learnt.code, 0, "{learnt:?}");
    is_without_findings(name);

    let _ = fs::remove_file(directory().join("out/result"));
    let follower = Follower::start();
    let more = format!("/bin/sh -c '. /job.sh; set +e; {}'", other_accesses());
    let out = shell(&engine.run("--rm", name, Some(name), &more));
    let denied = follower.end(name);
    assert!(out.starts_with("apple\npear\n"), "{out}");
    assert_eq!(
        fs::read_to_string(directory().join("out/result")).unwrap(),
        "apple\npear\n"
    );
    all_are_denied(&out);
    // All of these are of the other accesses, none is of the job.
    let objects = denied.iter().map(|event| event["object"].as_str().unwrap());
    let expected = OTHER_ACCESSES
        .iter()
        .map(|(_, access)| &access[access.find('/').unwrap()..]);
    assert_eq!(BTreeSet::from_iter(objects), BTreeSet::from_iter(expected));
}

#[test]
fn a_profile_is_learnt_with_podman() {
    let _node = node();
    new("web", &[]);
    web(Engine::Podman);
    new("job", &[]);
    job(Engine::Podman);
}

#[test]
fn a_profile_is_learnt_with_docker() {
    let _node = docker_node();
    shell(&format!(
        "tar -C {} -c . | docker import - {IMAGE}",
        image().display()
    ));
    new("web", &["--image-like", "nginx"]);
    web(Engine::Docker);
    new("job", &["--image-like", "shell"]);
    job(Engine::Docker);
}

#[test]
fn a_profile_is_learnt_with_containerd() {
    let _node = node();
    install();
    label_runtimes();
    let _containerd = Containerd::start_with(WIRING);
    let engine = Engine::Containerd;
    shell(&engine.run("-d", "web", None, "/usr/sbin/nginx"));
    // Nothing but AppArmor denies the accesses that are tried.
    let words = other_accesses();
    let exec = engine.exec("web", &words);
    let out = run(exec[0], &exec[1..]).ok();
    assert_eq!(
        out.matches("allowed").count(),
        OTHER_ACCESSES.len(),
        "{out}"
    );
    new("web", &["--container", "web"]);
    shell(&engine.stop("web"));
    web(engine);
    new("job", &[]);
    job(engine);
}
