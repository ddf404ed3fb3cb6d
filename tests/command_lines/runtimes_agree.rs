//! A command line means to the low-level runtime what it means to us: the same subcommand,
//! container, bundle, directory of containers, configuration and process file. Otherwise a label
//! would be written where the runtime does not look.
//!
//! `OCI_APPARMOR_SEED` and `OCI_APPARMOR_LINES` choose other lines, and how many.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use oci_apparmor::runtime::argv::subcommand::Subcommand;
use oci_apparmor::runtime::argv::{self, RuntimeCommand, Scanned};
use oci_apparmor::settings::RuntimeKind;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::generated_lines::{self, FILES};
use crate::traced_runtime::{Runtime, Seen, normal};

/// What we expect the runtime to ask for.
#[derive(Debug)]
struct Expected {
    subcommand: Subcommand,
    /// The directory of containers, and the container's in it.
    root: PathBuf,
    state: PathBuf,
    /// A bundle, for all that makes a container.
    bundle: Option<PathBuf>,
    /// Files that are read: a configuration, or a process.
    reads: Option<PathBuf>,
    /// What else the line names: the log, a directory of images.
    named: Vec<PathBuf>,
}

/// What the runtime did with a line of ours.
#[derive(Debug, PartialEq, Eq)]
enum Did {
    /// What we read in it.
    Same,
    /// Less than that, and nothing else.
    Refused,
    /// Something else.
    Other(String),
}

fn absolute(value: &OsStr) -> PathBuf {
    normal(&Path::new(FILES).join(value))
}

impl Expected {
    fn of(kind: RuntimeKind, line: &RuntimeCommand) -> Self {
        let root = line.global("root").map_or_else(
            || match kind {
                RuntimeKind::Crun => PathBuf::from("/run/xdg/crun"),
                RuntimeKind::Runc | RuntimeKind::Youki => PathBuf::from("/run/runc"),
            },
            absolute,
        );
        let makes = matches!(
            line.subcommand,
            Subcommand::Create | Subcommand::Run | Subcommand::Restore
        );
        let bundle = makes.then(|| absolute(line.option("bundle").unwrap_or(OsStr::new("."))));
        let reads = match (&bundle, line.subcommand) {
            // As src/runtime/create.rs has it.
            (Some(bundle), _) => Some(match line.option("config") {
                Some(named) if named != "config.json" => absolute(named),
                _ => bundle.join("config.json"),
            }),
            (None, Subcommand::Exec) => match (line.option("process"), kind) {
                (Some(process), _) => Some(absolute(process)),
                // runc takes all but the command from the bundle that it remembers.
                (None, RuntimeKind::Runc) => Some(Path::new(FILES).join("broken/config.json")),
                (None, _) => None,
            },
            (None, _) => None,
        };
        let mut named = vec![Path::new(FILES).join("checkpoint")];
        named.extend(
            ["log", "criu"]
                .iter()
                .filter_map(|n| line.global(n))
                .map(absolute),
        );
        let others = [
            "pid-file",
            "console-socket",
            "image-path",
            "work-path",
            "cwd",
        ];
        named.extend(others.iter().filter_map(|n| line.option(n)).map(absolute));
        // crun opens it when it is in the bundle.
        if let (Some(bundle), Some(log)) = (&bundle, line.global("log")) {
            named.push(normal(&bundle.join(log)));
        }
        Self {
            subcommand: line.subcommand,
            state: root.join(&line.id),
            root,
            bundle,
            reads,
            named,
        }
    }

    fn did(&self, seen: &Seen) -> Did {
        let state = |p: &Path| p.starts_with(&self.state);
        let read = |p: &PathBuf| state(p) || self.reads.as_ref() == Some(p);
        if let Some(other) = seen.read.iter().find(|p| !read(p)) {
            return Did::Other(format!("it read {}", other.display()));
        }
        let mut places: Vec<&Path> = vec![&self.root, Path::new(FILES), Path::new("/run/xdg")];
        places.extend(self.bundle.as_deref());
        places.extend(self.reads.as_deref());
        places.extend(self.named.iter().map(PathBuf::as_path));
        let expected = |p: &Path| {
            state(p)
                || places.iter().any(|place| place.starts_with(p))
                || self
                    .bundle
                    .as_ref()
                    .is_some_and(|b| p.starts_with(b.join("rootfs")))
        };
        if let Some(other) = seen.touched.iter().find(|p| !expected(p)) {
            return Did::Other(format!("it asked for {}", other.display()));
        }
        let found = seen.touched.iter().any(|p| state(p));
        let has_read = self.reads.as_ref().is_none_or(|r| seen.read.contains(r));
        match found && has_read {
            true if !self.says_so(&seen.output) => {
                Did::Other(format!("it did not {}", self.subcommand.name()))
            }
            true => Did::Same,
            false => Did::Refused,
        }
    }

    /// runc names the subcommand where it is one of these.
    fn says_so(&self, output: &str) -> bool {
        let said = [
            ("runc create failed", Subcommand::Create),
            ("runc run failed", Subcommand::Run),
            ("exec failed", Subcommand::Exec),
        ];
        said.iter()
            .all(|(text, which)| !output.contains(text) || *which == self.subcommand)
    }
}

/// Why a line that we would hand on unread must not be.
fn starts(line: &[OsString], seen: &Seen) -> Option<String> {
    if let Some(read) = seen.read.iter().find(|p| {
        let state = ["state.json", "status"].iter().any(|n| p.ends_with(n));
        let own = [
            "/run/runc",
            "/run/xdg",
            "/mnt/t/r0",
            "/mnt/t/r1",
            "/mnt/t/r2",
        ];
        !state && !own.iter().any(|o| p.starts_with(o))
    }) {
        return Some(format!("was handed on and it read {}", read.display()));
    }
    // Others may be handed on unread.
    let other = ["delete", "state", "kill"]
        .iter()
        .any(|name| line.iter().any(|w| w == name));
    let state = seen
        .read
        .iter()
        .chain(&seen.touched)
        .find(|p| ["state.json", "status"].iter().any(|n| p.ends_with(n)));
    match state {
        Some(state) if !other => Some(format!(
            "was handed on and it asked for {}",
            state.display()
        )),
        _ => None,
    }
}

fn number(variable: &str) -> Option<u64> {
    Some(std::env::var(variable).ok()?.parse().expect(variable))
}

fn generated(kind: RuntimeKind) -> Vec<Vec<OsString>> {
    let mut seed = [0; 32];
    let number_of = number("OCI_APPARMOR_SEED").unwrap_or(5);
    seed[..8].copy_from_slice(&number_of.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let strategy = generated_lines::line(kind);
    (0..number("OCI_APPARMOR_LINES").unwrap_or(800))
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
}

/// Whether lines can be run here: as root, with namespaces and strace.
fn able() -> bool {
    let able = Command::new("unshare")
        .args([
            "-mpf",
            "--mount-proc",
            "strace",
            "-f",
            "--seccomp-bpf",
            "-o",
            "/dev/null",
            "true",
        ])
        .output();
    let able = able.is_ok_and(|o| o.status.success());
    let must = std::env::var_os("OCI_APPARMOR_MUST_RUN").is_some_and(|v| v == "1");
    assert!(
        able || !must,
        "OCI_APPARMOR_MUST_RUN=1, but unshare -mp or strace cannot be used"
    );
    if !able {
        eprintln!("not run: unshare -mp or strace cannot be used here");
    }
    able
}

fn shown(line: &[OsString]) -> String {
    let words: Vec<String> = line.iter().map(|w| format!("{w:?}")).collect();
    words.join(" ")
}

/// A line, and how it is handed on and what is expected of it if it is one of ours.
struct Case {
    line: Vec<OsString>,
    read: Option<(Vec<OsString>, Expected)>,
}

impl Case {
    /// `None` where the line is refused.
    fn of(kind: RuntimeKind, line: Vec<OsString>) -> Option<Self> {
        let read = match argv::scan(kind, &line).result.ok()? {
            Scanned::PassThrough => None,
            Scanned::Handled(read) => Some((read.words(), Expected::of(kind, &read))),
        };
        Some(Self { line, read })
    }
}

/// How many lines the runtime does what we read in them, and how many it refuses.
#[derive(Debug, Default)]
struct Count {
    same: usize,
    refused: usize,
}

fn compare(kind: RuntimeKind) {
    if !able() {
        return;
    }
    let lines = generated(kind);
    let all = lines.len();
    let case = |line| Case::of(kind, line);
    let cases: Vec<Case> = lines.into_iter().filter_map(case).collect();
    let refused = all - cases.len();
    assert!(refused * 2 < all, "{refused} of {all} lines are refused");
    for runtime in Runtime::all(kind) {
        let counts = compare_with(&runtime, &cases);
        eprintln!("{runtime:?}: of {all} lines {refused} are refused here, {counts:?}");
        for (name, count) in &counts {
            // crun of Debian 12 is built without CRIU.
            if kind == RuntimeKind::Crun && *name == "restore" && count.same == 0 {
                continue;
            }
            assert!(
                count.same > count.refused && count.same > all / 50,
                "{runtime:?}: too few lines of {name}: {count:?}"
            );
        }
    }
}

fn compare_with(runtime: &Runtime, cases: &[Case]) -> BTreeMap<&'static str, Count> {
    let mut counts = BTreeMap::new();
    let (wrong, _) = compared(runtime, cases, &mut counts);
    if !wrong.is_empty() {
        // strace misreads the memory of a thread that goes once in some ten thousand calls.
        let (wrong, why) = compared(runtime, wrong, &mut counts);
        let some: Vec<String> = why.into_iter().take(20).collect();
        let some = some.join("\n");
        assert!(
            wrong.is_empty(),
            "{runtime:?}: {} lines:\n{some}",
            wrong.len()
        );
    }
    counts
}

/// Counts the lines that mean the same to the runtime, or nothing; the others, and why so.
fn compared<'c>(
    runtime: &Runtime,
    cases: impl IntoIterator<Item = &'c Case> + Clone,
    counts: &mut BTreeMap<&'static str, Count>,
) -> (Vec<&'c Case>, Vec<String>) {
    // Each line as it came, and as it is handed on.
    let as_it_came = cases.clone().into_iter().map(|c| &c.line);
    let handed_on = cases
        .clone()
        .into_iter()
        .filter_map(|c| Some(&c.read.as_ref()?.0));
    let mut lines: Vec<_> = as_it_came.chain(handed_on).collect();
    lines.sort();
    lines.dedup();
    let seen = runtime.see(&lines);
    let seen: BTreeMap<_, _> = lines.into_iter().zip(&seen).collect();

    let mut wrong = Vec::new();
    let mut why = Vec::new();
    for case in cases {
        let as_it_came = seen[&case.line];
        let line = shown(&case.line);
        let Some((words, expected)) = &case.read else {
            if let Some(starts) = starts(&case.line, as_it_came) {
                wrong.push(case);
                why.push(format!("{line} {starts}: {}", as_it_came.said()));
            }
            continue;
        };
        let handed_on = seen[words];
        let count = counts.entry(expected.subcommand.name()).or_default();
        match (expected.did(as_it_came), expected.did(handed_on)) {
            (Did::Same, Did::Same) => count.same += 1,
            // Taking more than it does is harmless: what is handed on is what was read.
            (Did::Refused, Did::Refused | Did::Same) => count.refused += 1,
            (did, then) => {
                wrong.push(case);
                why.push(format!(
                    "{line}: {did:?} ({}); handed on as {}: {then:?} ({})",
                    as_it_came.said(),
                    shown(words),
                    handed_on.said(),
                ));
            }
        }
    }
    (wrong, why)
}

#[test]
fn runc_acts_on_what_we_read() {
    compare(RuntimeKind::Runc);
}

#[test]
fn crun_acts_on_what_we_read() {
    compare(RuntimeKind::Crun);
}
