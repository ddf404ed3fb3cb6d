use proptest::prelude::*;

use super::*;
use RuntimeKind::{Crun, Runc, Youki};
use std::os::unix::ffi::OsStringExt;

/// The words of a line; `␣` is a space within a word, `∅` an empty word.
fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace()
        .map(|word| word.replace('␣', " ").replace('∅', "").into())
        .collect()
}

/// The result for a line: its canonical spelling, `passed on`, or `refused: …`.
fn outcome(runtime: RuntimeKind, line: &str) -> String {
    match scan(runtime, &words(line)).result {
        Ok(Scanned::Handled(line)) => line.words().join(OsStr::new(" ")).into_string().unwrap(),
        Ok(Scanned::PassThrough) => "passed on".to_owned(),
        Err(e) => {
            assert_eq!(e.kind(), Kind::Usage, "{e}");
            format!("refused: {e}")
        }
    }
}

#[track_caller]
fn check(runtime: RuntimeKind, cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        let found = outcome(runtime, line);
        match *expected {
            "refused" => assert!(found.starts_with("refused"), "{line}: {found}"),
            expected => assert_eq!(found, expected, "{line}"),
        }
    }
}

#[test]
fn command_lines_of_engines_are_parsed() {
    for (runtime, line, bundle, pid_file) in [
        // containerd, docker
        (
            Runc,
            "--root /run/containerd/runc/k8s.io --log /b/log.json --log-format json \
             --systemd-cgroup create --bundle /b --pid-file /b/init.pid --console-socket /s c1",
            "/b",
            "/b/init.pid",
        ),
        // conmon, under podman and CRI-O
        (
            Crun,
            "--systemd-cgroup --root=/r create --bundle /b --pid-file /p c1",
            "/b",
            "/p",
        ),
        (
            Youki,
            "--root=/r create --bundle /b --pid-file /p --no-pivot c1",
            "/b",
            "/p",
        ),
    ] {
        let Ok(Scanned::Handled(line)) = scan(runtime, &words(line)).result else {
            panic!("{line}");
        };
        assert_eq!(
            (line.subcommand, line.id.as_str()),
            (Subcommand::Create, "c1")
        );
        assert_eq!(line.option("bundle"), Some(OsStr::new(bundle)));
        assert_eq!(line.option("pid-file"), Some(OsStr::new(pid_file)));
        assert!(line.global("root").is_some() && line.option("root").is_none());
    }
}

#[test]
fn runc_is_parsed_as_by_gos_flag_package() {
    check(
        Runc,
        &[
            ("create c", "create c"),
            ("create -b /b c", "create --bundle=/b c"),
            ("create -b=/b c", "create --bundle=/b c"),
            ("create --b /b c", "create --bundle=/b c"),
            ("create -bundle /b c", "create --bundle=/b c"),
            ("create -bundle=a=b c", "create --bundle=a=b c"),
            ("create --bundle -- c", "create --bundle=-- c"),
            ("-root /r create c", "--root=/r create c"),
            ("--criu /c create c", "--criu=/c create c"),
            // After the id, and repeated.
            ("create c --bundle /b", "create --bundle=/b c"),
            (
                "create --bundle /a c -b /b",
                "create --bundle=/a --bundle=/b c",
            ),
            ("create -- c", "create c"),
            ("create --bundle /b -- c", "create --bundle=/b c"),
            // Booleans with values that Go accepts.
            ("run --detach=false c", "run --detach=false c"),
            ("run -d=T c", "run --detach=T c"),
            ("--debug=1 run c", "--debug=1 run c"),
            ("run --detach=no c", "refused"),
            ("run --detach false c", "refused"),
            // Spellings that only other parsers accept.
            ("create -b/b c", "refused"),
            ("create --bund /b c", "refused"),
            ("run -db /b c", "refused"),
            ("create ---bundle /b c", "refused"),
            ("create --=/b c", "refused"),
            ("create --config /f c", "refused"),
            ("create --root /r c", "refused"),
            ("create c c2", "refused"),
            ("create c -- --bundle", "refused"),
            // exec: everything after the id is the command.
            ("exec -t -p /p c", "exec --tty --process=/p c"),
            ("exec c sh -p /p --process x", "exec c sh -p /p --process x"),
            ("exec -- c -- sh", "exec c -- sh"),
            ("exec -e A=b --env=C=d c e", "exec --env=A=b --env=C=d c e"),
            (
                "restore --image-path /i -b /b c",
                "restore --image-path=/i --bundle=/b c",
            ),
            ("start c", "start c"),
            ("delete -f c", "delete --force c"),
            ("delete c --force", "delete --force c"),
        ],
    );
}

#[test]
fn crun_is_parsed_as_by_getopt() {
    check(
        Crun,
        &[
            ("create -b /b c", "create --bundle=/b c"),
            ("create -b/b c", "create --bundle=/b c"),
            // The equals sign belongs to the value: the directory "=/b".
            ("create -b=/b c", "create --bundle==/b c"),
            ("create --bun /b c", "create --bundle=/b c"),
            ("create --bun=/b c", "create --bundle=/b c"),
            ("--cgroup-man=x create c", "--cgroup-manager=x create c"),
            ("create --config /f c", "create --config=/f c"),
            ("create -f/f c", "create --config=/f c"),
            ("run -db /b c", "run --detach --bundle=/b c"),
            ("run -db/b c", "run --detach --bundle=/b c"),
            ("run -bd c", "run --bundle=d c"),
            // A prefix of two names, of none, and a long name with one dash.
            ("create --con /f c", "refused"),
            ("create --x /f c", "refused"),
            ("create -bundle /b c", "refused"),
            ("create -x c", "refused"),
            ("create --=x c", "refused"),
            ("run --detach=true c", "refused"),
            // Options end at the first other word.
            ("create c --bundle /b", "refused"),
            ("create -- c", "create c"),
            ("exec c -p /p", "exec c -p /p"),
            // An optional value must be in the same word.
            ("exec --tty c", "exec --tty c"),
            ("exec --tty no c", "exec --tty no c"),
            ("exec --tty=no c", "exec --tty=no c"),
            ("exec -t c", "exec --tty c"),
            ("exec -tno c", "exec --tty=no c"),
            ("exec -dtp/p c", "exec --detach --tty=p/p c"),
            ("exec -dp /p c sh", "exec --detach --process=/p c sh"),
            // Declared without a value, but consumes one.
            ("restore --network-lock x -b /b c", "refused"),
            ("restore --tcp-close c", "restore --tcp-close c"),
            ("restore --tcp c", "refused"),
            ("delete --force c", "delete --force c"),
            ("delete --regex c.*", "passed on"),
        ],
    );
}

#[test]
fn youki_is_parsed_as_by_clap() {
    check(
        Youki,
        &[
            ("create -b /b c", "create --bundle=/b c"),
            ("create -b/b c", "create --bundle=/b c"),
            ("create -b=/b c", "create --bundle=/b c"),
            ("create -b==/b c", "create --bundle==/b c"),
            ("create --bundle=/b c", "create --bundle=/b c"),
            ("create c -b /b", "create --bundle=/b c"),
            ("create -- c", "create c"),
            ("run -db /b c", "run --detach --bundle=/b c"),
            ("-s -r/r create c", "--systemd-cgroup --root=/r create c"),
            // -p is another option in each subcommand.
            ("create -p /p c", "create --pid-file=/p c"),
            ("exec -p /p c sh", "exec --process=/p c sh"),
            ("create --bun /b c", "refused"),
            ("create -bundle /b -b /c c", "refused"),
            ("create -b /b -b /b c", "refused"),
            ("create --bundle /b c -b /b", "refused"),
            ("run --detach=true c", "refused"),
            ("exec -e A=b -e C=d c sh", "exec --env=A=b --env=C=d c sh"),
            ("exec c -t sh", "refused"),
            ("exec c -- sh -t", "exec c -- sh -t"),
            ("exec c sh -t", "exec c sh -t"),
            ("restore c", "refused"),
        ],
    );
}

#[test]
fn lines_that_start_nothing_are_passed_on() {
    for runtime in RuntimeKind::ALL {
        check(
            runtime,
            &[
                ("", "passed on"),
                ("--root", "passed on"),
                ("--root /r", "passed on"),
                ("--debug", "passed on"),
                ("--help", "passed on"),
                ("--version", "passed on"),
                ("-v", "passed on"),
                ("--root /r --help create c", "passed on"),
                // Other subcommands, with any words.
                ("state c", "passed on"),
                ("--root /r kill c 9", "passed on"),
                ("list --unknown -xyz= ∅ -", "passed on"),
                ("help create", "passed on"),
                ("checkpoint --help", "passed on"),
                ("createx c", "passed on"),
                ("Create c", "passed on"),
                ("∅", "passed on"),
                // Help, or a missing value.
                ("create --help", "passed on"),
                ("create --bundle /b --help", "passed on"),
                ("exec --help c", "passed on"),
                ("create --bundle", "passed on"),
                ("create -b", "passed on"),
                ("run --pid-file", "passed on"),
                ("exec --process", "passed on"),
                // No container id.
                ("create", "passed on"),
                ("create --bundle /b", "passed on"),
                ("exec --", "passed on"),
                // Lines that cannot be parsed and start nothing.
                ("delete --unknown c", "passed on"),
                ("delete c d", "passed on"),
                ("--root= delete c", "passed on"),
            ],
        );
    }
    // podman asks like this which options restore has.
    check(
        Runc,
        &[
            ("restore --lsm-mount-context", "passed on"),
            ("create -h", "passed on"),
        ],
    );
    check(
        Crun,
        &[
            ("restore --lsm-mount-context", "passed on"),
            ("create -?", "passed on"),
        ],
    );
    check(
        Crun,
        &[("create --usage", "passed on"), ("create -V", "passed on")],
    );
    check(Crun, &[("run -d?b", "passed on"), ("--vers", "passed on")]);
}

/// Otherwise a container would start without the checks of `start`.
#[test]
fn a_start_that_cannot_be_parsed_is_refused() {
    for runtime in RuntimeKind::ALL {
        check(
            runtime,
            &[
                ("start", "passed on"),
                ("start --help", "passed on"),
                ("start --unknown c", "refused"),
                ("start a:b", "refused"),
                ("start c d", "refused"),
            ],
        );
    }
    check(Crun, &[("--roo=/r start c", "--root=/r start c")]);
}

#[test]
fn cruns_other_name_of_root_is_refused() {
    check(
        Crun,
        &[
            ("--rootless=false create c", "refused"),
            ("--root=/r --rootless true exec c sh", "refused"),
            ("--rootless=/r start c", "refused"),
            ("--rootless=/r delete c", "passed on"),
        ],
    );
    check(Runc, &[("--rootless=true run c", "--rootless=true run c")]);
}

#[test]
fn a_root_that_crun_resolves_from_the_bundle_is_refused() {
    check(
        Crun,
        &[
            ("--root r create c", "refused"),
            ("--root=./r run -b /b c", "refused"),
            ("--root=/r --root=r restore c", "refused"),
            ("--root=r --root=/r create c", "--root=r --root=/r create c"),
            // These runtimes do not change directory first.
            ("--root r exec c sh", "--root=r exec c sh"),
            ("--root r start c", "--root=r start c"),
        ],
    );
    check(Runc, &[("--root r create c", "--root=r create c")]);
}

#[test]
fn an_unknown_word_before_the_subcommand_is_refused_if_a_process_may_start() {
    for runtime in RuntimeKind::ALL {
        for subcommand in [
            "create",
            "run",
            "exec",
            "restore",
            "start",
            "␣create",
            "exec␣",
        ] {
            check(
                runtime,
                &[
                    (&format!("--unknown {subcommand} c"), "refused"),
                    (&format!("--unknown x y {subcommand}"), "refused"),
                    (&format!("-- {subcommand} c"), "refused"),
                    (&format!("--root=/r -- {subcommand} c"), "refused"),
                    (&format!("--debug=maybe {subcommand} c"), "refused"),
                    (&format!("--help=x {subcommand} c"), "refused"),
                ],
            );
        }
        for line in ["--unknown state c", "-- list", "--unknown", "--debug=x"] {
            check(runtime, &[(line, "passed on")]);
        }
    }
}

#[test]
fn padded_words_are_refused() {
    // urfave/cli v3 trims every word; earlier versions do not.
    for runtime in [Runc, Crun] {
        for line in [
            "␣create c",
            "create␣ c",
            "␣run c",
            "exec␣ c",
            "␣restore c",
            "create ␣c",
            "create c␣",
            "create ␣--bundle=/b c",
            "exec ␣--process=/p c",
            "create --bundle ␣/b c",
            "create --bundle=/b␣ c",
            "create --bundle= c",
            "create --bundle ∅ c",
            "--root= create c",
            "--root ␣/r create c",
            "exec --process= c",
            "exec --apparmor= c",
            "restore --lsm-profile= c",
            "create --pid-file= c",
        ] {
            check(runtime, &[(line, "refused")]);
        }
    }
    check(
        Crun,
        &[
            ("create --config= c", "refused"),
            ("create -f ∅ c", "refused"),
        ],
    );
    // Other options may be empty.
    check(
        Runc,
        &[(
            "--log= create --console-socket ∅ c",
            "--log= create --console-socket= c",
        )],
    );
    check(Runc, &[("␣start c", "refused"), ("␣delete c", "passed on")]);
}

#[test]
fn ids_are_file_names_and_not_options() {
    let (longest, longer) = ("x".repeat(255), "x".repeat(256));
    for runtime in RuntimeKind::ALL {
        for id in ["c", "C_1+2.3-4", "...", "_", &longest] {
            check(runtime, &[(&format!("run {id}"), &format!("run {id}"))]);
        }
        for id in [".", "..", "a/b", "a:b", "a*", "ä", "∅", "-", &longer] {
            check(runtime, &[(&format!("run {id}"), "refused")]);
            check(runtime, &[(&format!("run -- {id}"), "refused")]);
            check(runtime, &[(&format!("exec {id} sh"), "refused")]);
        }
        check(runtime, &[("run -- -c", "refused")]);
    }
}

#[test]
fn words_need_not_be_utf_8() {
    let word = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    for runtime in RuntimeKind::ALL {
        let line = ["create".into(), word(b"--bundle=/\xff=\xfe"), "c".into()];
        let Ok(Scanned::Handled(read)) = scan(runtime, &line).result else {
            panic!("{runtime:?}");
        };
        assert_eq!(
            read.option("bundle"),
            Some(OsStr::from_bytes(b"/\xff=\xfe"))
        );
        assert_eq!(read.words(), line);
        for odd in [&b"--\xff"[..], b"-\xff", b"--bundle\xff=/b", b"\xff"] {
            assert!(scan(runtime, &["create".into(), word(odd)]).result.is_err());
            assert!(
                scan(runtime, &[word(odd), "create".into()]).result.is_err() == (odd != b"\xff")
            );
        }
    }
}

#[test]
fn the_last_value_is_used_and_can_be_replaced() {
    let line = words("--root /a --root /b exec --apparmor a -e X=y --apparmor b c sh");
    let Ok(Scanned::Handled(mut line)) = scan(Runc, &line).result else {
        panic!()
    };
    assert_eq!(line.global("root"), Some(OsStr::new("/b")));
    assert_eq!(line.option("apparmor"), Some(OsStr::new("b")));
    line.set_option("apparmor", "p".into());
    assert_eq!(
        line.words(),
        words("--root=/a --root=/b exec --env=X=y --apparmor=p c sh")
    );
}

#[test]
fn a_flag_that_is_set_to_false_is_not_given() {
    for (runtime, line, stands) in [
        (Runc, "run -d c", true),
        (Runc, "run --detach=true c", true),
        (Runc, "run --detach=0 c", false),
        (Runc, "run --detach=false --detach c", true),
        (Runc, "run --detach --detach=F c", false),
        (Runc, "run --keep c", false),
        (Crun, "run --det c", true),
        (Crun, "run c", false),
    ] {
        let line = handled(runtime, &words(line)).unwrap();
        assert_eq!(line.has("detach"), stands, "{line:?}");
    }
}

#[test]
fn the_deletion_has_the_same_global_options() {
    let line = handled(Crun, &words("--debug --root /r run -d -b /b c")).unwrap();
    assert_eq!(line.deletion(), words("--debug --root=/r delete --force c"));
}

#[test]
fn the_log_is_known_even_if_the_line_is_refused() {
    for line in [
        "--log /l --log-format json create --unknown c",
        "--log /l --log-format=json --unknown create c",
        "--log=/x --log /l --log-format json create a:b",
        "--log /l --log-format json -- run c",
    ] {
        let scan = scan(Runc, &words(line));
        assert!(scan.result.is_err(), "{line}");
        assert_eq!(scan.log.log.as_deref(), Some(OsStr::new("/l")), "{line}");
        assert_eq!(
            scan.log.format.as_deref(),
            Some(OsStr::new("json")),
            "{line}"
        );
    }
}

/// A word of a line; most mean something to some runtime.
fn any_word() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "create",
        "run",
        "exec",
        "restore",
        "start",
        "state",
        " run",
        "c",
        "c2",
        "sh",
        "/b",
        "",
        "-",
        "--",
        "--root",
        "--root=/r",
        "-r",
        "--log=l",
        "--debug",
        "--debug=1",
        "-b",
        "-b=x",
        "-bx",
        "--bundle",
        "--bundle=",
        "--bundle==",
        "--bun",
        "-bundle",
        "-db",
        "-d",
        "-dt",
        "-t",
        "-tx",
        "--tty",
        "--tty=no",
        "--detach=false",
        "-p",
        "-p=x",
        "--process=p",
        "-f",
        "--config",
        "-e",
        "A=b",
        "--env=A=b",
        "--apparmor",
        "--lsm-profile=x",
        "--help",
        "-h",
        "-?",
        "--pre",
        "--no-pivot",
        "--force",
    ]);
    prop_oneof![6 => known.prop_map(str::to_owned), 1 => "[-=a-fpt /:\u{e9}]{0,6}"]
}

fn line() -> impl Strategy<Value = Vec<OsString>> {
    let some = || prop::collection::vec(any_word(), 0..4);
    let subcommand = prop::sample::select(vec!["create", "run", "exec", "restore", "delete"]);
    let likely = (some(), subcommand, some(), some()).prop_map(|(globals, name, options, rest)| {
        [
            globals,
            vec![name.to_owned()],
            options,
            vec!["c".to_owned()],
            rest,
        ]
        .concat()
    });
    prop_oneof![3 => likely, 1 => prop::collection::vec(any_word(), 0..10)]
        .prop_map(|words| words.into_iter().map(OsString::from).collect())
}

fn runtime() -> impl Strategy<Value = RuntimeKind> {
    prop::sample::select(RuntimeKind::ALL.to_vec())
}

fn handled(runtime: RuntimeKind, words: &[OsString]) -> Option<RuntimeCommand> {
    match scan(runtime, words).result {
        Ok(Scanned::Handled(line)) => Some(line),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// The canonical spelling is parsed as the line was.
    #[test]
    fn the_canonical_spelling_is_parsed_as_the_line_was(runtime in runtime(), words in line()) {
        if let Some(line) = handled(runtime, &words) {
            let canonical = line.words();
            prop_assert_eq!(handled(runtime, &canonical), Some(line.clone()));
            // Every option is one word with two dashes.
            let id = canonical.iter().position(|w| *w == *line.id).unwrap();
            for word in &canonical[..id] {
                let is_option = word.as_bytes().starts_with(b"--") && word != "--";
                prop_assert!(is_option || word == line.subcommand.name(), "{:?}", word);
            }
        }
    }

    #[test]
    fn no_words_cause_a_panic(
        runtime in runtime(),
        words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 0..6),
        name in prop::sample::select(vec!["create", "exec", "delete", "--root"]),
        at in 0usize..6,
    ) {
        let mut words: Vec<_> = words.into_iter().map(OsString::from_vec).collect();
        words.insert(at.min(words.len()), name.into());
        let _ = scan(runtime, &words);
    }

    /// A line whose subcommand starts a process is never passed on unchanged.
    #[test]
    fn a_line_that_starts_a_process_is_parsed_or_refused(
        runtime in runtime(),
        options in prop::collection::vec(any_word(), 0..4),
    ) {
        let printed = |word: &str| {
            let help = ["help", "usage", "version"].iter().any(|h| word.contains(h));
            help || word.starts_with('-') && word.contains(['h', '?', 'V', 'v'])
        };
        prop_assume!(!options.iter().any(|word| printed(word)));
        // Two words at the end, so that no value is missing and there is an id.
        let words = ["create"].into_iter().chain(options.iter().map(String::as_str));
        let words: Vec<_> = words.chain(["c", "c"]).map(OsString::from).collect();
        prop_assert!(!matches!(scan(runtime, &words).result, Ok(Scanned::PassThrough)));
    }
}
