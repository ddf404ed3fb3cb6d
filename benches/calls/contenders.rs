//! The calls that are measured.

use std::cell::Cell;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::node::Node;
use oci_apparmor::profiles::{Reload, Store};

use crate::Options;
use crate::node::{
    self, CLI, CRUN_WRAPPER, HOOK, NULL_WRAPPER, PROFILE, ROOT, RUNTIME, WRAPPER, bundle, id,
};

/// All of the environment of a call.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One call.
pub(crate) struct Contender {
    /// Its name, as in the table and in the budget.
    pub(crate) name: String,
    /// Whether it is a call of the wrapper or the hook: it is in the budget.
    pub(crate) is_ours: bool,
    step: Step,
    /// Done before and after each run, and not measured.
    before: fn(),
    after: fn(),
}

enum Step {
    Program(Program),
    /// In this process.
    Here(fn()),
}

/// A whole process.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) path: String,
    /// `{new}` stands for the id of a new container.
    words: String,
    input: &'static str,
}

impl Program {
    /// The command for a new container, ready to run, under another program if there is one.
    pub(crate) fn command(&self, under: &[&str]) -> Command {
        thread_local!(static NUMBER: Cell<u32> = const { Cell::new(0) });
        let number = NUMBER.replace(NUMBER.get() + 1);
        let words = self.words.replace("{new}", &id(&format!("c{number}")));
        let mut all = under.iter().copied().chain([self.path.as_str()]);
        let mut command = Command::new(all.next().unwrap());
        command.args(all).args(words.split(' '));
        // The start of a program reads its environment, so it is the same for all.
        command.env_clear().env("PATH", PATH);
        command.stdin(File::open(self.input).unwrap());
        command.stdout(Stdio::null());
        command
    }
}

impl Contender {
    fn new(name: &str, path: &str, words: String) -> Self {
        let program = Program {
            path: path.to_owned(),
            words,
            input: "/dev/null",
        };
        Self {
            name: name.to_owned(),
            is_ours: [WRAPPER, CRUN_WRAPPER, HOOK].contains(&path),
            step: Step::Program(program),
            before: || {},
            after: || {},
        }
    }

    fn before(self, before: fn()) -> Self {
        Self { before, ..self }
    }

    /// The kernel has the profile, so it is loaded again only if it cannot be told which one that is.
    fn loads_again(self) -> Self {
        Self {
            before: node::hide_digest,
            after: node::show_digest,
            ..self
        }
    }

    /// The program; `None` if it is a step in this process.
    pub(crate) fn program(&self) -> Option<&Program> {
        match &self.step {
            Step::Program(program) => Some(program),
            Step::Here(_) => None,
        }
    }

    /// Runs it as prepared.
    pub(crate) fn prepared<T>(&self, run: impl FnOnce() -> T) -> T {
        (self.before)();
        let result = run();
        (self.after)();
        result
    }

    /// How long it takes.
    pub(crate) fn time(&self) -> Duration {
        self.prepared(|| match &self.step {
            Step::Here(step) => {
                let began = Instant::now();
                step();
                began.elapsed()
            }
            Step::Program(program) => {
                let mut command = program.command(&[]);
                let began = Instant::now();
                let status = command.status().unwrap();
                let time = began.elapsed();
                assert!(status.success(), "{}: {status}", self.name);
                time
            }
        })
    }
}

/// A call with the options that containerd gives.
fn call(container: &str, rest: &str) -> String {
    let log = format!("{}/log.json", bundle(container));
    format!("--root {ROOT} --log {log} --log-format json {rest}")
}

fn create(container: &str) -> String {
    let bundle = bundle(container);
    let rest = format!("create --bundle {bundle} --pid-file {bundle}/init.pid {{new}}");
    call(container, &rest)
}

fn state() -> String {
    call("running", &format!("state {}", id("running")))
}

/// The null wrapper among [`all`].
pub(crate) const NULL: usize = 1;

/// All, the two to compare with first.
pub(crate) fn all(options: &Options) -> Vec<Contender> {
    let wrapper = |name, words| Contender::new(name, WRAPPER, words);
    let running = id("running");
    let exec = format!(
        "exec --process /run/process.json --detach --pid-file {}/exec.pid {running}",
        bundle("running")
    );
    let mut all = vec![
        Contender::new("runtime alone", RUNTIME, state()),
        Contender::new("null wrapper", NULL_WRAPPER, state()),
        wrapper("state", state()),
        Contender::new("state, runtime in a directory", CRUN_WRAPPER, state()),
        wrapper("create, no profile", create("plain")),
        wrapper("create, profile, label is there", create("managed")),
        wrapper("create, profile, label is written", create("fresh")).before(node::fresh_bundle),
        wrapper("create, profile, in a pod", create("pod")),
        wrapper(
            "exec, words",
            call("running", &format!("exec {running} sh")),
        ),
        wrapper("exec, process file", call("running", &exec)).before(node::fresh_process),
        wrapper(
            "start, no profile",
            call("plain", &format!("start {}", id("plain"))),
        ),
        wrapper(
            "start, label is verified",
            call("waiting", &format!("start {}", id("waiting"))),
        ),
        wrapper(
            "delete",
            call("managed", &format!("delete {}", id("deleted"))),
        )
        .before(node::state_and_record),
        hook(),
    ];
    all.extend(loads());
    for (name, path) in &options.beside {
        all.push(Contender::new(&format!("{name}: state"), path, state()));
        let create = Contender::new(&format!("{name}: create"), path, create("beside"));
        all.push(create.before(node::fresh_beside));
    }
    all
}

fn hook() -> Contender {
    let contender = Contender::new("hook, createRuntime", HOOK, "createRuntime".to_owned());
    let Step::Program(program) = contender.step else {
        unreachable!()
    };
    Contender {
        step: Step::Program(Program {
            input: "/run/state-of-hook",
            ..program
        }),
        ..contender
    }
}

/// The profile is loaded, with caches that have it.
fn loads() -> Vec<Contender> {
    let file = format!("/etc/apparmor.d/{PROFILE}");
    let parser = format!(
        "--subdomainfs /sys/kernel/security/apparmor --cache-loc /run/parser-cache -r -W {file}"
    );
    let mut all = vec![Contender::new(
        "load, apparmor_parser -r",
        "/sbin/apparmor_parser",
        parser,
    )];
    if Path::new(CLI).exists() {
        let cli = Contender::new("load, oci-apparmor load", CLI, format!("load {PROFILE}"));
        all.push(cli.loads_again());
    }
    let here = Contender {
        step: Step::Here(load_step),
        ..Contender::new("load, within create", "", String::new())
    };
    all.push(here.loads_again());
    all
}

/// What a `create` does if the profile is missing.
fn load_step() {
    let node = Node::load().unwrap();
    let name = ProfileName::parse(PROFILE).unwrap();
    Store::new(&node).load(&name, Reload::Always).unwrap();
}
