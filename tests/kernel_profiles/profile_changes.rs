//! Containers that run, or wait to be started, when something happens to their profile.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::loaded_profiles::*;
use crate::support::containers::*;

/// The first process of a container says, over and over, what it may read.
struct Asked(Container, PathBuf);

impl Asked {
    const SAYS: &'static str = "while :; do for f in a b; do \
         if cat /probe/$f; then echo $f; fi; done >/tmp/now 2>/dev/null; mv /tmp/now /tmp/said; \
         sleep 0.1; done";

    fn of(runtime: &str, name: &str) -> (Self, Done) {
        for file in ["a", "b"] {
            fs::create_dir_all(rootfs().join("probe")).unwrap();
            fs::write(rootfs().join("probe").join(file), "").unwrap();
        }
        let _ = symlink("busybox", rootfs().join("bin/mv"));
        let args = ["/bin/sh", "-c", Self::SAYS];
        let bundle = Bundle::annotated(name, &args, &[("oci-apparmor/profile", name)]);
        let (container, done) = Container::create(runtime, &bundle, name);
        (Self(container, rootfs().join("tmp/said")), done)
    }

    #[track_caller]
    fn says(&self, expected: &str) {
        let _ = fs::remove_file(&self.1);
        // What it said when it was asked may be of before.
        wait_for(|| self.1.exists());
        let _ = fs::remove_file(&self.1);
        wait_for(|| self.1.exists());
        let said = fs::read_to_string(&self.1).unwrap();
        assert_eq!(said.split_whitespace().collect::<String>(), expected);
    }
}

fn probing(name: &str, denied: &str) -> String {
    let rules = format!("deny /probe/{denied} r,\n}}\n");
    profile_text(name, "").replace("deny /data/** w,\n}\n", &rules)
}

#[test]
fn running_containers_follow_their_profile_and_outlive_its_source() {
    let _world = world();
    fresh("");
    real_containers("");
    for runtime in RUNTIMES {
        let name = "living";
        source(name, &probing(name, "a"));
        let (asked, done) = Asked::of(runtime, name);
        done.ok();
        asked.0.call("start").ok();
        asked.says("b");
        // The next container brings the edited source to this one as well.
        fs::write(source_of(name), probing(name, "b")).unwrap();
        assert_eq!(asked.0.exec(&["/bin/true"]).ok(), "");
        asked.says("b");
        let ((next, done), said) = noticed(|| Container::create(runtime, &asking(name), "next"));
        assert!(
            done.code == 0 && said.contains("was reloaded"),
            "{done:?} {said}"
        );
        asked.says("a");
        // What does not compile any more is the next container's failure alone.
        drop(next);
        fs::write(source_of(name), "profile living { this is no rule, }\n").unwrap();
        let (_next, done) = Container::create(runtime, &asking(name), "next");
        done.refused(&["apparmor_parser", "syntax error"]);
        asked.says("a");
        let label = ["/bin/cat", "/proc/self/attr/current"];
        assert_eq!(asked.0.exec(&label).ok(), "living (enforce)\n");
        assert_eq!(asked.0.label(), "living (enforce)");
        // Others may replace it under the running container; exec judges the mode alone.
        others_load(&probing(name, "a"));
        asked.says("b");
        assert_eq!(asked.0.exec(&label).ok(), "living (enforce)\n");
        others_load(&profile_text(name, ",complain"));
        asked.0.exec(&label).refused(&["cannot be loaded"]);
    }
}

fn asking(name: &str) -> Bundle {
    let key = [("oci-apparmor/profile", name)];
    Bundle::annotated("next", &["/bin/sleep", "1000"], &key)
}

/// Something that happens, and what the container says afterwards, if it may start.
type Change<'a> = (&'a str, Option<&'a str>, &'a dyn Fn(&str));

#[test]
fn what_happens_between_create_and_start_is_noticed() {
    let _world = world();
    fresh("");
    real_containers("");
    let name = "between";
    let gone = ["between", "was removed, replaced or set to another mode"];
    source(name, &probing(name, "a"));
    let next_is_created = |runtime: &str| {
        let (_next, done) = Container::create(runtime, &asking(name), "next");
        done.ok();
    };
    let changes: [Change<'_>; 7] = [
        ("removed", None, &|_| unload(name)),
        ("removed and loaded", None, &|_| {
            unload(name);
            others_load(&probing(name, "a"));
        }),
        ("removed and loaded by us", None, &|runtime| {
            unload(name);
            next_is_created(runtime);
        }),
        ("complaining", None, &|_| {
            others_load(&profile_text(name, ",complain"))
        }),
        ("unconfined", None, &|_| {
            others_load(&format!("profile {name} flags=(unconfined) {{ file, }}\n"))
        }),
        ("replaced by others", Some("a"), &|_| {
            others_load(&probing(name, "b"))
        }),
        ("replaced by us", Some("a"), &|runtime| {
            fs::write(source_of(name), probing(name, "b")).unwrap();
            next_is_created(runtime);
        }),
    ];
    // What notices it is the same for both.
    for ((what, says, change), runtime) in changes.into_iter().zip(RUNTIMES.iter().cycle()) {
        let (asked, done) = Asked::of(runtime, name);
        assert_eq!(done.code, 0, "{what}: {done:?}");
        change(runtime);
        let started = asked.0.call("start");
        match says {
            None => {
                started.refused(&gone);
                assert_eq!(asked.0.state()["status"], "created", "{what}");
            }
            Some(says) => {
                started.ok();
                asked.says(says);
                assert_eq!(asked.0.label(), "between (enforce)");
            }
        }
    }
}

#[test]
fn a_kernel_that_only_complains_starts_nothing() {
    let _world = world();
    fresh("");
    real_containers("");
    profile("global");
    for runtime in RUNTIMES {
        let (waiting, done) = Container::create(runtime, &asking("global"), "waiting");
        done.ok();
        let running = Container::started(runtime, &asking("global"), "running");
        let mode = Parameter::set("mode", "complain", "enforce");
        let (_next, done) = Container::create(runtime, &asking("global"), "next");
        done.refused(&["global mode", "complain"]);
        waiting.call("start").refused(&["global mode"]);
        running.exec(&["/bin/true"]).refused(&["global mode"]);
        assert_eq!(running.state()["status"], "running");
        // Its label looks as ever, and an auditor is told what it is worth.
        assert_eq!(running.label(), "global (enforce)");
        let ps = || run(CLI, ["ps"]);
        let told = ps();
        assert!(
            told.code == 6 && told.err.contains("global mode"),
            "{told:?}"
        );
        drop(mode);
        ps().ok();
        running.exec(&["/bin/true"]).ok();
        waiting.call("start").ok();
        assert_eq!(waiting.label(), "global (enforce)");
    }
}
