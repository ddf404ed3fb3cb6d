//! Command lines such as an engine might send, and such as none should: every spelling of every
//! option, of this runtime and of the others, in every place.

use std::ffi::OsString;

use oci_apparmor::runtime::argv::options::{Opt, OptionTable, Takes};
use oci_apparmor::runtime::argv::subcommand::Subcommand;
use oci_apparmor::runtime::argv::tables;
use oci_apparmor::settings::RuntimeKind;
use proptest::prelude::*;
use proptest::sample::select;

/// Where the bundles, the low-level runtimes' directories and the process files are.
pub(crate) const FILES: &str = "/mnt/t";
pub(crate) const BUNDLES: [&str; 4] = [".", "b0", "b1", "b2"];
pub(crate) const ROOTS: [&str; 3] = ["r0", "r1", "r2"];
pub(crate) const PROCESSES: [&str; 3] = ["p0", "p1", "p2"];
pub(crate) const IDS: [&str; 7] = ["c1", "c2", "create", "run", "_", "a.b+c", "0-"];

/// What a low-level runtime has and our tables leave out, and what none has.
const STRANGE: [&str; 12] = [
    "regex",
    "all",
    "network-lock",
    "parent-path",
    "status-fd",
    "leave-running",
    "no-mount-fallback",
    "handler",
    "generate-bash-completion",
    "get-yaml",
    "frob",
    "rooot",
];

/// Words in which there is no sense, or another one than it seems.
const WILD: [&str; 34] = [
    "",
    " ",
    "-",
    "--",
    "---",
    "-=",
    "--=",
    "=",
    "--help",
    "-h",
    "-?",
    "--usage",
    "--version",
    "-v",
    "-V",
    "help",
    "--help=1",
    "-b",
    "-f",
    "-p",
    "-d",
    "-t",
    "-db",
    "-tp",
    "--bundle",
    "--root",
    "--process",
    "--b=b1",
    "-b=b1",
    "b1",
    "c1",
    "create",
    "exec",
    "--bundle=b1",
];

/// Words behind the program's name.
pub(crate) fn line(runtime: RuntimeKind) -> impl Strategy<Value = Vec<OsString>> {
    let subcommand = prop_oneof![
        20 => select(&["create", "run", "exec", "restore"][..]),
        4 => select(&["start", "start", "delete"][..]),
        1 => select(&["state", "kill", "creat", " create", "create ", "Run", "execute"][..]),
    ];
    (subcommand, 0..10_u8).prop_flat_map(move |(subcommand, manners)| {
        let known = Subcommand::ALL.into_iter().find(|s| s.name() == subcommand);
        let own = known.and_then(|s| tables::of(runtime, s)).unwrap_or(&[]);
        // Seven lines of ten are spelled as this runtime wants them.
        let odd = manners >= 7;
        let behind = match known {
            Some(Subcommand::Exec) => prop_oneof![
                5 => Just(vec!["cmd0".to_owned()]),
                1 => section(runtime, own, odd),
                1 => Just(vec!["cmd0".to_owned(), "--process".to_owned(), "p2".to_owned()]),
            ]
            .boxed(),
            _ if odd || runtime == RuntimeKind::Runc => prop_oneof![
                3 => Just(Vec::new()),
                1 => section(runtime, own, odd),
            ]
            .boxed(),
            _ => Just(Vec::new()).boxed(),
        };
        let dashes = proptest::bool::weighted(0.05)
            .prop_map(|yes| yes.then(|| "--".to_owned()).into_iter().collect::<Vec<_>>());
        (
            section(runtime, tables::globals(runtime), odd),
            Just(vec![subcommand.to_owned()]),
            section(runtime, own, odd),
            dashes,
            ids(odd),
            behind,
            any::<prop::sample::Index>(),
            wild(odd),
        )
            .prop_map(
                |(globals, subcommand, own, dashes, ids, behind, at, wild)| {
                    let mut words = [globals, subcommand, own, dashes, ids, behind].concat();
                    let at = at.index(words.len() + 1);
                    words.splice(at..at, wild);
                    words.into_iter().map(OsString::from).collect()
                },
            )
    })
}

fn wild(odd: bool) -> BoxedStrategy<Vec<String>> {
    let word = select(&WILD[..]).prop_map(str::to_owned);
    if odd {
        proptest::collection::vec(word, 0..2).boxed()
    } else {
        Just(Vec::new()).boxed()
    }
}

fn ids(odd: bool) -> BoxedStrategy<Vec<String>> {
    let id = || select(&IDS[..]).prop_map(str::to_owned);
    let strange = [
        "", " c1", "c1 ", "a/b", "../r1/c1", "..", ".", "-c1", "c,1", "é", "c1\n", "c$1", "c1/",
    ];
    let strange = select(strange.to_vec()).prop_map(str::to_owned);
    if odd {
        prop_oneof![
            6 => id().prop_map(|id| vec![id]),
            1 => strange.prop_map(|id| vec![id]),
            1 => proptest::collection::vec(id(), 2..3),
            1 => Just(Vec::new()),
        ]
        .boxed()
    } else {
        id().prop_map(|id| vec![id]).boxed()
    }
}

/// Some options of a table.
fn section(runtime: RuntimeKind, own: OptionTable, odd: bool) -> BoxedStrategy<Vec<String>> {
    let names: Vec<Opt> = own.iter().copied().flatten().copied().collect();
    let decisive = |o: &Opt| matches!(o.long, "root" | "bundle" | "config" | "process");
    let some: Vec<Opt> = names.iter().copied().filter(decisive).collect();
    // Those that make every line fail for another reason are left to the odd ones.
    let fails = |o: &Opt| {
        matches!(
            o.long,
            "console-socket" | "systemd-cgroup" | "log-level" | "keep" | "tty" | "cgroup-manager"
        ) || o.takes == Takes::Help
    };
    let others: Vec<Opt> = names.into_iter().filter(|o| odd || !fails(o)).collect();
    let mut choices: Vec<(u32, BoxedStrategy<Vec<String>>)> = Vec::new();
    if !some.is_empty() {
        choices.push((8, spelled(runtime, some, odd)));
    }
    if !others.is_empty() {
        choices.push((6, spelled(runtime, others, odd)));
    }
    if odd {
        choices.push((2, spelled(runtime, foreign(), odd)));
    }
    if choices.is_empty() {
        return Just(Vec::new()).boxed();
    }
    proptest::collection::vec(proptest::strategy::Union::new_weighted(choices), 0..4)
        .prop_map(|words| words.concat())
        .boxed()
}

/// The options of every runtime and subcommand, and those of none.
fn foreign() -> Vec<Opt> {
    let mut all = Vec::new();
    for runtime in [RuntimeKind::Runc, RuntimeKind::Crun, RuntimeKind::Youki] {
        let tables = Subcommand::ALL
            .into_iter()
            .filter_map(|s| tables::of(runtime, s));
        for table in tables.chain([tables::globals(runtime)]) {
            all.extend(table.iter().copied().flatten().copied());
        }
    }
    all.extend(STRANGE.map(|long| Opt {
        long,
        short: None,
        takes: Takes::MaybeValue,
    }));
    all
}

/// One option, in one of the ways in which options can be spelled.
fn spelled(runtime: RuntimeKind, of: Vec<Opt>, odd: bool) -> BoxedStrategy<Vec<String>> {
    (select(of), 0..100_u32, any::<prop::sample::Index>())
        .prop_flat_map(move |(option, style, cut)| {
            value(option.long, odd).prop_map(move |value| {
                let style = match (odd, runtime) {
                    (true, _) => style % 15,
                    (false, RuntimeKind::Runc) => style % 5,
                    (false, _) => [0, 1, 2, 5, 6, 7][style as usize % 6],
                };
                one(option, style, &value, cut)
            })
        })
        .boxed()
}

fn one(option: Opt, style: u32, value: &str, cut: prop::sample::Index) -> Vec<String> {
    let Opt { long, takes, .. } = option;
    let short = option.short.map_or(long.to_owned(), String::from);
    // At least three letters, to be the beginning of one name only more often than not.
    let beginning: String = long.chars().take(3 + cut.index(long.len())).collect();
    let (short_dash, attached) = match option.short {
        Some(_) => ("-", ""),
        None => ("--", "="),
    };
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
    if matches!(takes, Takes::Nothing | Takes::Help) {
        return match style {
            0 | 1 | 5 => words(&[&format!("--{long}")]),
            2 => words(&[&format!("{short_dash}{short}")]),
            3 => words(&[&format!("-{long}")]),
            4 => words(&[&format!("--{long}={}", ["true", "0", "F"][cut.index(3)])]),
            6 | 7 => words(&[&format!("--{beginning}")]),
            8 => words(&[&format!("--{long}=no")]),
            9 => words(&[&format!("{short_dash}{short}{short}")]),
            10 => words(&[&format!("--{long}"), value]),
            11 => words(&[&format!("-{short}b"), value]),
            12 => words(&[&format!("--{long}=")]),
            13 => words(&[&format!("{short_dash}{short}={value}")]),
            _ => words(&[&format!("--{}", long.to_uppercase())]),
        };
    }
    match style {
        0 => words(&[&format!("--{long}={value}")]),
        1 => words(&[&format!("--{long}"), value]),
        2 => words(&[&format!("{short_dash}{short}"), value]),
        3 => words(&[&format!("-{long}={value}")]),
        4 => words(&[&format!("-{long}"), value]),
        5 => words(&[&format!("{short_dash}{short}{attached}{value}")]),
        6 => words(&[&format!("--{beginning}={value}")]),
        7 => words(&[&format!("--{beginning}"), value]),
        8 => words(&[&format!("-{short}={value}")]),
        9 => words(&[&format!("--{long}")]),
        10 => words(&[&format!("--{long}=")]),
        11 => words(&[&format!("--{long}"), ""]),
        12 => words(&[&format!("-d{short}"), value]),
        13 => words(&[&format!("---{long}={value}")]),
        _ => words(&[&format!(" --{long}={value}")]),
    }
}

/// A value that the option could have; or, now and then, any.
fn value(option: &'static str, odd: bool) -> BoxedStrategy<String> {
    let places = |names: &'static [&'static str]| {
        (select(names), 0..8_u8).prop_map(|(name, how)| match how {
            0..4 => format!("{FILES}/{name}"),
            4 | 5 => name.to_owned(),
            6 => format!("./{name}"),
            _ => format!("{FILES}/b0/../{name}"),
        })
    };
    let usual = match option {
        "bundle" => places(&BUNDLES).boxed(),
        "root" => places(&ROOTS).boxed(),
        "process" => places(&PROCESSES).boxed(),
        "config" => places(&["config.json", "b0/other.json", "b1/config.json"]).boxed(),
        "log" | "pid-file" | "console-socket" | "pidfd-socket" => places(&["w/1", "w/2"]).boxed(),
        "image-path" | "work-path" | "cwd" => places(&["checkpoint"]).boxed(),
        "log-level" => Just("error".to_owned()).boxed(),
        "log-format" => select(vec!["json", "text"]).prop_map(str::to_owned).boxed(),
        "rootless" | "tty" => Just("false".to_owned()).boxed(),
        "preserve-fds" | "additional-gids" | "user" => Just("0".to_owned()).boxed(),
        "env" => Just("A=b".to_owned()).boxed(),
        "cap" => Just("CAP_CHOWN".to_owned()).boxed(),
        _ => select(vec!["x", "soft", "a=b"])
            .prop_map(str::to_owned)
            .boxed(),
    };
    if !odd {
        return usual;
    }
    let strange = [
        "",
        " ",
        "--",
        "-",
        "--bundle",
        "--root=r1",
        "-b",
        "=b1",
        " b1",
        "b1 ",
        "b1/",
        "c1",
        "no",
        "true",
        "0",
        "create",
        "exec",
        "b1",
        "r1",
        "p1",
        "-1",
        "é",
    ];
    let strange = select(strange.to_vec()).prop_map(str::to_owned);
    prop_oneof![5 => usual, 1 => strange].boxed()
}
