//! The options of each low-level runtime, and how each of them spells options.
//!
//! Sources: runc `main.go`, `create.go`, `run.go`, `exec.go`, `restore.go` (1.1 to 1.5); crun
//! `src/crun.c`, `create.c`, `run.c`, `exec.c`, `restore.c`; youki `crates/liboci-cli/src`.

use crate::settings::RuntimeKind;

/// The subcommands that this program does more with than hand them on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subcommand {
    /// Makes a container.
    Create,
    /// Makes and starts a container.
    Run,
    /// Runs another process in a container.
    Exec,
    /// Makes a container from a checkpoint.
    Restore,
    /// Starts a container that was made.
    Start,
    /// Removes a container.
    Delete,
}

impl Subcommand {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Create,
        Self::Run,
        Self::Exec,
        Self::Restore,
        Self::Start,
        Self::Delete,
    ];

    /// The word on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Run => "run",
            Self::Exec => "exec",
            Self::Restore => "restore",
            Self::Start => "start",
            Self::Delete => "delete",
        }
    }

    /// Whether this makes a container, from a bundle.
    #[must_use]
    pub fn makes_a_container(self) -> bool {
        matches!(self, Self::Create | Self::Run | Self::Restore)
    }

    /// Whether a process starts, so that a line that cannot be read must be refused.
    #[must_use]
    pub fn starts_a_process(self) -> bool {
        self != Self::Delete
    }
}

/// What follows an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// A value.
    Value,
    /// A value in the same word, or nothing (crun's `--tty`).
    MaybeValue,
    /// Nothing, and the runtime only prints something.
    Help,
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// Its long name.
    pub long: &'static str,
    /// Its one-letter name.
    pub short: Option<char>,
    /// What follows it.
    pub takes: Takes,
}

const fn opt(long: &'static str, short: Option<char>, takes: Takes) -> Opt {
    Opt { long, short, takes }
}
const fn flag(long: &'static str) -> Opt {
    opt(long, None, Takes::Nothing)
}
const fn flag_s(long: &'static str, short: char) -> Opt {
    opt(long, Some(short), Takes::Nothing)
}
const fn value(long: &'static str) -> Opt {
    opt(long, None, Takes::Value)
}
const fn value_s(long: &'static str, short: char) -> Opt {
    opt(long, Some(short), Takes::Value)
}
const fn help(long: &'static str, short: Option<char>) -> Opt {
    opt(long, short, Takes::Help)
}

/// How a runtime reads words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grammar {
    /// Go's `flag`, as urfave/cli uses it: one dash is two, no clusters, no abbreviations.
    Go,
    /// `getopt_long` in order, as argp uses it: clusters, abbreviations, `-bX`.
    Getopt,
    /// clap: clusters, `-bX`, `-b=X`, no abbreviations, no repetition.
    Clap,
}

/// How `runtime` reads words.
#[must_use]
pub fn grammar(runtime: RuntimeKind) -> Grammar {
    match runtime {
        RuntimeKind::Runc => Grammar::Go,
        RuntimeKind::Crun => Grammar::Getopt,
        RuntimeKind::Youki => Grammar::Clap,
    }
}

/// Some options, in parts that subcommands share.
pub type Table = &'static [&'static [Opt]];

/// The options before the subcommand.
#[must_use]
pub fn globals(runtime: RuntimeKind) -> Table {
    match runtime {
        RuntimeKind::Runc => &[RUNC_GLOBAL, HELP_H],
        RuntimeKind::Crun => &[CRUN_GLOBAL, ARGP],
        RuntimeKind::Youki => &[YOUKI_GLOBAL, HELP_H],
    }
}

/// The options of a subcommand; `None` where the runtime does not have it.
#[must_use]
pub fn of(runtime: RuntimeKind, subcommand: Subcommand) -> Option<Table> {
    use RuntimeKind::{Crun, Runc, Youki};
    Some(match (runtime, subcommand) {
        (Runc, Subcommand::Create) => &[RUNC_CREATE, HELP_H],
        (Runc, Subcommand::Run) => &[RUNC_CREATE, RUN, NO_SUBREAPER, HELP_H],
        (Runc, Subcommand::Exec) => &[RUNC_EXEC, HELP_H],
        (Runc, Subcommand::Restore) => &[RESTORE, RUNC_RESTORE, NO_SUBREAPER, HELP_H],
        (Crun, Subcommand::Create) => &[CRUN_CREATE, NO_SUBREAPER, ARGP],
        (Crun, Subcommand::Run) => &[CRUN_CREATE, NO_SUBREAPER, RUN, ARGP],
        (Crun, Subcommand::Exec) => &[CRUN_EXEC, ARGP],
        (Crun, Subcommand::Restore) => &[RESTORE, CRUN_RESTORE, ARGP],
        (Youki, Subcommand::Create) => &[YOUKI_CREATE, HELP_H],
        (Youki, Subcommand::Run) => &[YOUKI_CREATE, RUN, NO_SUBREAPER, HELP_H],
        (Youki, Subcommand::Exec) => &[YOUKI_EXEC, HELP_H],
        (Youki, Subcommand::Restore) => return None,
        (Runc | Youki, Subcommand::Start) => &[HELP_H],
        (Crun, Subcommand::Start) => &[ARGP],
        (Runc | Youki, Subcommand::Delete) => &[FORCE, HELP_H],
        // Without --regex, which names several containers.
        (Crun, Subcommand::Delete) => &[FORCE, ARGP],
    })
}

const HELP_H: &[Opt] = &[help("help", Some('h'))];

/// What argp adds to every parser.
const ARGP: &[Opt] = &[
    help("help", Some('?')),
    help("usage", None),
    help("version", Some('V')),
];

const NO_SUBREAPER: &[Opt] = &[flag("no-subreaper")];
const FORCE: &[Opt] = &[flag_s("force", 'f')];

/// What `run` has besides the options of `create`.
const RUN: &[Opt] = &[flag("keep"), flag_s("detach", 'd')];

/// What `restore` has in runc and in crun.
const RESTORE: &[Opt] = &[
    value_s("bundle", 'b'),
    value("image-path"),
    value("work-path"),
    value("pid-file"),
    value("console-socket"),
    value("manage-cgroups-mode"),
    value("lsm-profile"),
    value("lsm-mount-context"),
    flag("tcp-established"),
    flag("ext-unix-sk"),
    flag("shell-job"),
    flag("file-locks"),
    flag_s("detach", 'd'),
];

const RUNC_GLOBAL: &[Opt] = &[
    value("log"),
    value("log-format"),
    value("root"),
    value("rootless"),
    // A real option before 1.2, a hidden one since.
    value("criu"),
    flag("debug"),
    flag("systemd-cgroup"),
    help("version", Some('v')),
];

const RUNC_CREATE: &[Opt] = &[
    value_s("bundle", 'b'),
    value("console-socket"),
    value("pidfd-socket"),
    value("pid-file"),
    value("preserve-fds"),
    flag("no-pivot"),
    flag("no-new-keyring"),
];

const RUNC_EXEC: &[Opt] = &[
    value("console-socket"),
    value("pidfd-socket"),
    value("cwd"),
    value_s("env", 'e'),
    value_s("user", 'u'),
    value_s("additional-gids", 'g'),
    value_s("process", 'p'),
    value("pid-file"),
    value("process-label"),
    value("apparmor"),
    value_s("cap", 'c'),
    value("preserve-fds"),
    value("cgroup"),
    flag_s("tty", 't'),
    flag_s("detach", 'd'),
    flag("no-new-privs"),
    flag("ignore-paused"),
];

const RUNC_RESTORE: &[Opt] = &[
    value("empty-ns"),
    flag("no-pivot"),
    flag("auto-dedup"),
    flag("lazy-pages"),
];

/// Without --rootless, which is another name of --root (`src/crun.c`, seen in 1.8 and 1.21).
const CRUN_GLOBAL: &[Opt] = &[
    value("cgroup-manager"),
    value("log"),
    value("log-format"),
    value("log-level"),
    value("root"),
    flag("debug"),
    flag("systemd-cgroup"),
    help("version", Some('v')),
];

const CRUN_CREATE: &[Opt] = &[
    value_s("bundle", 'b'),
    value_s("config", 'f'),
    value("console-socket"),
    value("preserve-fds"),
    value("pid-file"),
    flag("no-pivot"),
    flag("no-new-keyring"),
];

const CRUN_EXEC: &[Opt] = &[
    value("console-socket"),
    value_s("process", 'p'),
    value("cwd"),
    value("cgroup"),
    value_s("user", 'u'),
    value_s("env", 'e'),
    value_s("cap", 'c'),
    value("pid-file"),
    value("preserve-fds"),
    value("process-label"),
    value("apparmor"),
    opt("tty", Some('t'), Takes::MaybeValue),
    flag("no-new-privs"),
    flag_s("detach", 'd'),
];

/// Without --network-lock: it is declared to take no value, and takes the next word.
const CRUN_RESTORE: &[Opt] = &[flag("tcp-close")];

const YOUKI_GLOBAL: &[Opt] = &[
    value_s("log", 'l'),
    value("log-format"),
    value("log-level"),
    value_s("root", 'r'),
    flag("debug"),
    flag_s("systemd-cgroup", 's'),
    flag("systemd-log"),
    help("version", Some('V')),
    help("version", Some('v')),
];

const YOUKI_CREATE: &[Opt] = &[
    value_s("bundle", 'b'),
    value_s("console-socket", 'c'),
    value_s("pid-file", 'p'),
    value("preserve-fds"),
    flag("no-pivot"),
    flag("no-new-keyring"),
];

const YOUKI_EXEC: &[Opt] = &[
    value("console-socket"),
    value("cwd"),
    value_s("env", 'e'),
    value_s("user", 'u'),
    value_s("additional-gids", 'g'),
    value_s("process", 'p'),
    value("pid-file"),
    value("process-label"),
    value("apparmor"),
    value("cap"),
    value("preserve-fds"),
    value("cgroup"),
    flag_s("tty", 't'),
    flag_s("detach", 'd'),
    flag("no-new-privs"),
    flag("ignore-paused"),
];
