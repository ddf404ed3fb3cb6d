//! The calls that are measured.

use std::fs;
use std::process::{Command, Stdio};

/// One call.
pub(crate) struct Contender {
    /// Its name, as in the table and in the budget.
    pub(crate) name: &'static str,
    program: &'static str,
    /// `{}` stands for a new container id.
    words: &'static str,
    /// Done before each run, and not measured: puts the configuration back.
    before: fn(),
}

impl Contender {
    const fn new(name: &'static str, program: &'static str, words: &'static str) -> Self {
        Self {
            name,
            program,
            words,
            before: || {},
        }
    }

    /// Whether it is a call of the wrapper, and not one to compare with.
    pub(crate) fn is_ours(&self) -> bool {
        self.program == RUNC
    }

    /// The command for this round, ready to run.
    pub(crate) fn prepare(&self, round: usize) -> Command {
        (self.before)();
        let mut command = Command::new(self.program);
        let id = format!("c{round}");
        command.args(self.words.split(' ').map(|word| word.replace("{}", &id)));
        // The start of a program reads its environment, so it is the same for all.
        command.env_clear().env("PATH", PATH);
        command.stdin(Stdio::null());
        command
    }
}

/// All of the environment of a call.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const RUNC: &str = "/run/wrapper/runc";

/// All, the two to compare with first.
pub(crate) const ALL: &[Contender] = &[
    Contender::new("runtime alone", "/run/bin/runc", "state third"),
    Contender::new("null wrapper", "/run/null/runc", "state third"),
    Contender::new("state", RUNC, "state third"),
    Contender::new(
        "create, no profile",
        RUNC,
        "create --bundle /run/plain plain-{}",
    ),
    Contender::new(
        "create, profile, label is there",
        RUNC,
        "create --bundle /run/managed managed-{}",
    ),
    Contender {
        before: fresh_bundle,
        ..Contender::new(
            "create, profile, label is written",
            RUNC,
            "create --bundle /run/managed managed-{}",
        )
    },
    Contender::new("exec, words", RUNC, "exec third sh"),
    Contender {
        before: fresh_process,
        ..Contender::new(
            "exec, process file",
            RUNC,
            "exec --process /run/process.json third",
        )
    },
    Contender::new("start, nothing waits", RUNC, "start third"),
];

fn fresh_bundle() {
    fs::copy(
        "/run/managed/as-engines-write-it",
        "/run/managed/config.json",
    )
    .unwrap();
}

fn fresh_process() {
    fs::write(
        "/run/process.json",
        r#"{"args":["sh"],"cwd":"/","env":["PATH=/usr/bin"],"user":{"uid":0,"gid":0}}"#,
    )
    .unwrap();
}
