//! A container that asks for nothing, and every other call, is as without us.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::support::containers::*;

#[test]
fn other_subcommands_answer_as_the_real_runtime() {
    let _world = world();
    for runtime in RUNTIMES {
        let bundle = Bundle::new("plain", &["/bin/sleep", "1000"]);
        let container = Container::started(runtime, &bundle, "plain");
        for words in [
            &["--version"][..],
            &["--help"],
            &["features"],
            &["state", "plain"],
            &["list"],
            &["ps", "--format", "json", "plain"],
            &["state", "nosuch"],
            &["kill", "nosuch"],
            &["nosuch"],
            &[],
            &["create", "--help"],
            &["exec", "--help"],
            &["--log-format=json", "list", "-q"],
            &["pause", "nosuch"],
            &["restore", "--lsm-mount-context"],
            &["create"],
        ] {
            let (ours, theirs) = (run(&container.runtime, words), run(runtime, words));
            // runc's usage names the program by its path in one line.
            assert_eq!(
                (ours.code, &ours.out),
                (theirs.code, &theirs.out),
                "{runtime} {words:?}"
            );
            let times = |text: &str| {
                text.lines()
                    .filter(|l| !l.starts_with("time=") && !l.starts_with("20"))
                    .count()
            };
            assert_eq!(
                times(&ours.err),
                times(&theirs.err),
                "{runtime} {words:?}: {ours:?} {theirs:?}"
            );
        }
        for words in [["pause", "plain"], ["resume", "plain"]] {
            run(&container.runtime, words).ok();
        }
        assert_eq!(record_of("plain"), None);
    }
}

#[test]
fn a_bundle_without_a_request_is_not_touched() {
    let _world = world();
    for runtime in RUNTIMES {
        let bundle = Bundle::new(
            "plain",
            &["/bin/sh", "-c", "cat /proc/self/attr/current; exit 42"],
        );
        let before = (
            fs::read(bundle.config_json()).unwrap(),
            fs::metadata(bundle.config_json()).unwrap().ino(),
        );
        let words = ["run", "--bundle", bundle.path.to_str().unwrap(), "plain"];
        let done = run(wrapper(runtime), words);
        assert_eq!(
            (done.code, done.out.trim_end(), done.err.as_str()),
            (42, unconfined(runtime).as_str(), "")
        );
        let after = (
            fs::read(bundle.config_json()).unwrap(),
            fs::metadata(bundle.config_json()).unwrap().ino(),
        );
        assert_eq!(before, after);
        assert_eq!(record_of("plain"), None);
    }
}
