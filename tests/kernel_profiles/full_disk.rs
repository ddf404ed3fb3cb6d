//! Disks that are full, or cannot be written: the profile is enforced all the same, or the
//! container is refused with the reason. Nothing is torn, and nothing has to be mended by hand.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::loaded_profiles::*;
use crate::support::containers::*;

const A: &str = "/probe/a";
const B: &str = "/probe/b";

/// A small file system, and what fills it.
struct Small(Mounted);

impl Small {
    fn on(directory: &str) -> Self {
        Self(Mounted::tmpfs(directory, "size=64k,mode=700"))
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.filler()).unwrap();
        while file.write_all(&[b'x'; 4096]).is_ok() {}
        while file.write_all(b"x").is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.0.join("filler")
    }

    /// Everything that is in it, apart from that and from counts: these may get a file that is empty.
    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut pending = vec![self.0.0.clone()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                match entry.file_type().unwrap().is_dir() {
                    true => pending.push(entry.path()),
                    false => found.push(entry.path()),
                }
            }
        }
        let counters = self.0.0.join("counters");
        found.retain(|path| *path != self.filler() && !path.starts_with(&counters));
        found
    }
}

#[test]
fn a_cache_that_keeps_nothing_costs_time_alone() {
    let _world = world();
    fresh("");
    let name = "cacheless";
    source(name, &reads(name, A));
    let asking = Asking::for_profile(name);
    let cache = Small::on(CACHE);

    cache.fill();
    for n in 1..3 {
        unload(name);
        let said = asking.created();
        assert!(
            said.contains("cannot cache compiled policy") && said.contains("space"),
            "{said}"
        );
        assert_eq!((compilations(), readable(name, &[A, B])), (n, vec![A]));
        assert_eq!(cache.files(), Vec::<PathBuf>::new());
    }
    cache.free();
    unload(name);
    assert_eq!(asking.created(), "");
    assert_eq!(cache.files().len(), 1);

    // What is kept can be used, and what cannot be kept is compiled.
    cache.0.remount("ro");
    unload(name);
    assert_eq!(asking.created(), "");
    assert_eq!(compilations(), 3);
    write(source_of(name), &reads(name, B));
    let said = asking.created();
    assert!(said.contains("cannot cache compiled policy"), "{said}");
    assert_eq!((compilations(), readable(name, &[A, B])), (4, vec![B]));

    // Damaged, and it can be neither mended nor removed.
    cache.0.remount("rw");
    let entry = cache.files().remove(0);
    let whole = fs::read(&entry).unwrap();
    fs::write(&entry, &whole[..whole.len() / 2]).unwrap();
    cache.0.remount("ro");
    write(source_of(name), &reads(name, A));
    asking.created();
    assert_eq!((compilations(), readable(name, &[A, B])), (5, vec![A]));
    cache.0.remount("rw");
    unload(name);
    assert_eq!(asking.created(), "");
    assert_eq!(fs::read(&entry).unwrap(), whole);
}

#[test]
fn without_a_place_for_records_nothing_starts_and_what_runs_goes_on() {
    let _world = world();
    fresh("");
    let name = "stateless";
    source(name, &profile_text(name, ""));
    // It is read through the configuration, which must stay whole.
    let key = [("oci-apparmor/profile", name)];
    for runtime in RUNTIMES {
        real_containers("");
        unload(name);
        let state = Small::on(STATE);
        let bundle = Bundle::annotated(name, &["/bin/sleep", "1000"], &key);
        let running = Container::started(runtime, &bundle, "running");
        let next = Bundle::annotated("next", &["/bin/sleep", "1000"], &key);
        let before = fs::read(next.config_json()).unwrap();
        let refused = |words: &[&str]| {
            let (_next, done) = Container::create(runtime, &next, "next");
            done.refused(&[words, &["create of container next"]].concat());
            assert_ne!(
                run(runtime, ["state", "next"]).code,
                0,
                "there is a container"
            );
            let config: Value =
                serde_json::from_slice(&fs::read(next.config_json()).unwrap()).unwrap();
            let was: Value = serde_json::from_slice(&before).unwrap();
            assert_eq!(config["annotations"], was["annotations"]);
            assert_eq!(fs::read_dir(&next.path).unwrap().count(), 1);
        };
        let goes_on = || {
            let label = ["/bin/cat", "/proc/self/attr/current"];
            assert_eq!(running.exec(&label).ok(), "stateless (enforce)\n");
            assert_eq!(running.state()["status"], "running");
        };
        let files = state.files();

        state.fill();
        refused(&["the record of the container", "space", "/run"]);
        goes_on();
        // It is missing, and is brought back all the same.
        unload(name);
        refused(&["the record of the container", "space"]);
        assert_eq!(loaded(name).unwrap(), "stateless (enforce)");
        assert_eq!(state.files(), files);
        state.free();
        let (waiting, done) = Container::create(runtime, &next, "next");
        done.ok();

        state.0.remount("ro");
        refused_elsewhere(runtime, &key);
        goes_on();
        waiting.call("start").ok();
        assert_eq!(waiting.label(), "stateless (enforce)");
        run(&waiting.runtime, ["kill", "next", "KILL"]).ok();
        wait_for(|| waiting.state()["status"] == "stopped");
        waiting.call("delete").ok();
        assert_ne!(run(runtime, ["state", "next"]).code, 0, "it is still there");
        state.0.remount("rw");
        let (waiting, done) = Container::create(runtime, &next, "next");
        done.ok();
        waiting.call("start").ok();
        assert_eq!(waiting.label(), "stateless (enforce)");
    }
}

fn refused_elsewhere(runtime: &str, key: &[(&str, &str)]) {
    let third = Bundle::annotated("third", &["/bin/sleep", "1000"], key);
    let (_third, done) = Container::create(runtime, &third, "third");
    done.refused(&["Read-only", "/run/oci-apparmor"]);
    assert_ne!(
        run(runtime, ["state", "third"]).code,
        0,
        "there is a container"
    );
}

#[test]
fn a_bundle_that_cannot_be_rewritten_is_left_as_it_is() {
    let _world = world();
    fresh("");
    let name = "bundled";
    source(name, &reads(name, A));
    let asking = Asking::for_profile(name);
    let text = fs::read(asking.0.join("config.json")).unwrap();
    let small = Small::on(asking.0.to_str().unwrap());
    let config = asking.0.join("config.json");
    fs::write(&config, &text).unwrap();
    let refused = |words: &[&str]| {
        asking.refused(&[words, &["config.json", "nothing was changed"]].concat());
        assert_eq!(fs::read(&config).unwrap(), text);
        assert_eq!(small.files(), std::slice::from_ref(&config));
        assert!(records().is_empty());
    };

    small.fill();
    refused(&["space"]);
    small.free();
    small.0.remount("ro");
    refused(&["Read-only"]);
    small.0.remount("rw");
    asking.created();
    let labelled = fs::read_to_string(&config).unwrap();
    assert!(
        labelled.contains("\"apparmorProfile\":\"bundled\""),
        "{labelled}"
    );
    // Once it says what it must, nothing needs to be written.
    small.0.remount("ro");
    asking.created();
    small.0.remount("rw");
    small.fill();
    asking.created();
    assert_eq!(fs::read_to_string(&config).unwrap(), labelled);
    assert_eq!(readable(name, &[A, B]), [A]);
    assert!(
        !Path::new(STATE)
            .join("tmp")
            .read_dir()
            .unwrap()
            .any(|_| true)
    );
}
