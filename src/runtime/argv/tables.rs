//! The options of each low-level runtime.
//!
//! Sources: runc `main.go`, `create.go`, `run.go`, `exec.go`, `restore.go` (1.1 to 1.5); crun
//! `src/crun.c`, `create.c`, `run.c`, `exec.c`, `restore.c`; youki `crates/liboci-cli/src`.

use crate::runtime::argv::options::{
    Opt, OptionTable, Takes, flag, flag_s, help, opt, value, value_s,
};
use crate::runtime::argv::subcommand::Subcommand;
use crate::settings::RuntimeKind;

/// The options before the subcommand.
#[must_use]
pub fn globals(runtime: RuntimeKind) -> OptionTable {
    match runtime {
        RuntimeKind::Runc => &[RUNC_GLOBAL, HELP_H],
        RuntimeKind::Crun => &[CRUN_GLOBAL, ARGP],
        RuntimeKind::Youki => &[YOUKI_GLOBAL, HELP_H],
    }
}

/// The options of a subcommand; `None` if the runtime does not have it.
#[must_use]
pub fn of(runtime: RuntimeKind, subcommand: Subcommand) -> Option<OptionTable> {
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
        // --regex is left out: it selects several containers.
        (Crun, Subcommand::Delete) => &[FORCE, ARGP],
    })
}

const HELP_H: &[Opt] = &[help("help", Some('h'))];

/// The options that argp adds to every parser.
const ARGP: &[Opt] = &[
    help("help", Some('?')),
    help("usage", None),
    help("version", Some('V')),
];

const NO_SUBREAPER: &[Opt] = &[flag("no-subreaper")];
const FORCE: &[Opt] = &[flag_s("force", 'f')];

/// The options that `run` has in addition to those of `create`.
const RUN: &[Opt] = &[flag("keep"), flag_s("detach", 'd')];

/// The options of `restore` that runc and crun share.
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
    // Hidden and ignored since runc 1.2.
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

/// --rootless is left out: crun treats it as --root (`src/crun.c`, seen in 1.8 and 1.21).
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

/// --network-lock is left out: it is declared without a value, but consumes the next word.
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
