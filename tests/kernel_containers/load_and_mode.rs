//! `load`, `status`, `mode` and the watch, on the profiles of a real kernel.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::support::containers::*;

const LINKS: &str = "/etc/apparmor.d/force-complain";

/// The node without the sources and the links of other tests.
fn clean() -> std::sync::MutexGuard<'static, ()> {
    let world = world();
    for directory in [PROFILES, LINKS] {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    world
}

fn cli(words: &[&str]) -> Done {
    run(CLI, words)
}

fn status(name: &str) -> Value {
    let text = cli(&["status", "--json", name]).ok();
    serde_json::from_str::<Value>(&text).unwrap()[0].take()
}

#[track_caller]
fn mode_and_drift(name: &str) -> (String, String) {
    let row = status(name);
    let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
    (text("mode"), text("drift"))
}

#[track_caller]
fn is(name: &str, mode: &str, drift: &str) {
    assert_eq!(
        mode_and_drift(name),
        (mode.to_owned(), drift.to_owned()),
        "{name}"
    );
}

fn path(name: &str) -> PathBuf {
    Path::new(PROFILES).join(name)
}

#[test]
fn load_brings_the_kernel_to_what_the_sources_say() {
    let _world = clean();
    for name in ["one", "slash/ed", "dot.ted"] {
        unload(name);
    }
    source("slash.ed", &profile_text("slash/ed", ""));
    source("dot.ted", &profile_text("dot.ted", ""));
    source("one", &profile_text("one", ""));
    source("broken", "profile broken { this is no rule, }\n");
    let all = cli(&["load", "--all"]);
    assert_eq!(all.code, 4, "{all:?}");
    for row in [
        "dot.ted loaded enforce",
        "one loaded enforce",
        "slash/ed loaded enforce",
        "3 loaded, 0 unchanged, 1 failed",
    ] {
        assert!(rows(&all.out).iter().any(|r| r == row), "{row}: {all:?}");
    }
    let rows = rows(&all.out);
    assert!(
        rows.iter().any(|r| r.starts_with("broken failed - ")),
        "{all:?}"
    );
    for name in ["one", "slash/ed", "dot.ted"] {
        assert_eq!(loaded(name).unwrap(), format!("{name} (enforce)"));
        is(name, "enforce", "-");
    }
    fs::remove_file(path("broken")).unwrap();
    let all = cli(&["load", "--all"]);
    assert_eq!(all.code, 0, "{all:?}");
    assert!(
        all.out.ends_with("0 loaded, 3 unchanged, 0 failed\n"),
        "{all:?}"
    );

    // Another program loads another text.
    load(&profile_text("one", ",complain"));
    is("one", "complain", "mode");
    load("profile one { file, }\n");
    is("one", "enforce", "content");
    // Looking has changed nothing.
    is("one", "enforce", "content");
    let one = cli(&["load", "one"]).ok();
    assert!(
        one.contains("\none      reloaded  enforce  another program has loaded it"),
        "{one}"
    );
    is("one", "enforce", "-");
    fs::write(path("one"), profile_text("one", ",complain")).unwrap();
    is("one", "enforce", "mode");
    let one = cli(&["load", "one"]).ok();
    assert!(
        one.contains("\none      reloaded  complain  the file has changed since it was loaded"),
        "{one}"
    );
    is("one", "complain", "-");
    unload("one");
    is("one", "-", "not loaded");
    let table = cli(&["status"]).ok();
    assert!(
        table.contains("slash/ed") && table.contains("not loaded"),
        "{table}"
    );
    load("profile stranger { file, }\n");
    assert!(!cli(&["status"]).ok().contains("stranger"));
    assert!(cli(&["status", "--all"]).ok().contains("stranger"));
    unload("stranger");
}

#[test]
fn the_mode_of_a_running_container_is_changed_in_place() {
    let _world = clean();
    for runtime in RUNTIMES {
        profile("moody");
        let bundle = Bundle::annotated(
            "moody",
            &["/bin/sleep", "1000"],
            &[("oci-apparmor/profile", "moody")],
        );
        let container = Container::started(runtime, &bundle, "moody");
        assert_eq!(container.label(), "moody (enforce)");
        let row = status("moody");
        assert_eq!(row["containers"], serde_json::json!(["moody"]));
        assert_eq!(row["processes"], 1);
        let touch = ["/bin/touch", "/tmp/x"];
        let denied = ["/bin/touch", "/data/x"];
        container.exec(&touch).ok();

        let said = cli(&["mode", "moody", "complain"]).ok();
        assert!(
            said.contains("made /etc/apparmor.d/force-complain/moody\n"),
            "{said}"
        );
        assert!(
            said.contains("moody is now in complain mode\n1 running process "),
            "{said}"
        );
        assert!(said.contains("deny rule"), "{said}");
        assert_eq!(container.label(), "moody (complain)");
        // exec still works; it is what the node wants now. And a deny rule still bites.
        let label = container
            .exec(&["/bin/cat", "/proc/self/attr/current"])
            .ok();
        assert_eq!(label, "moody (complain)\n");
        assert_ne!(container.exec(&denied).code, 0);
        let row = status("moody");
        assert_eq!(
            (&row["force_complain"], &row["drift"]),
            (&true.into(), &Value::Null)
        );
        // A new one may as well.
        let other = Bundle::annotated(
            "moody2",
            &["/bin/cat", "/proc/self/attr/current"],
            &[("oci-apparmor/profile", "moody")],
        );
        let words = ["run", "--bundle", other.path.to_str().unwrap(), "moody2"];
        assert_eq!(run(wrapper(runtime), words).ok(), "moody (complain)\n");

        let said = cli(&["mode", "moody", "enforce"]).ok();
        assert!(
            said.starts_with("removed /etc/apparmor.d/force-complain/moody\n"),
            "{said}"
        );
        assert_eq!(container.label(), "moody (enforce)");
        let label = container
            .exec(&["/bin/cat", "/proc/self/attr/current"])
            .ok();
        assert_eq!(label, "moody (enforce)\n");
        is("moody", "enforce", "-");
    }
}

#[test]
fn a_mode_that_cannot_be_set_leaves_the_profile_as_it_is() {
    let _world = clean();
    source("own", &profile_text("own", ",complain"));
    let refused = cli(&["mode", "own", "enforce"]);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(
        refused
            .err
            .contains(&format!("{PROFILES}/own itself sets flags=(complain)")),
        "{refused:?}"
    );
    assert_eq!(loaded("own"), None);
    source("bad", "profile bad { this is no rule, }\n");
    assert_eq!(cli(&["mode", "bad", "complain"]).code, 4);
    assert!(!Path::new(LINKS).join("bad").exists());
    assert_eq!(cli(&["mode", "nowhere", "complain"]).code, 3);
}

/// The rows of a table with single blanks between the cells, without the remedies below them.
fn rows(table: &str) -> Vec<String> {
    let rows = table.lines().filter(|line| !line.starts_with(' '));
    rows.map(|row| Vec::from_iter(row.split_whitespace()).join(" "))
        .collect()
}

/// A watch, and what it says line by line.
pub(crate) struct Watch {
    child: Child,
    lines: Receiver<String>,
}

impl Watch {
    pub(crate) fn start(through: &[&str]) -> Self {
        let words = [through, &[CLI, "load", "--all", "--watch"]].concat();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let out = child.stdout.take().unwrap();
        let err = child.stderr.take().unwrap();
        let also = sender.clone();
        std::thread::spawn(move || {
            BufReader::new(out)
                .lines()
                .for_each(|l| drop(sender.send(l.unwrap())))
        });
        std::thread::spawn(move || {
            BufReader::new(err)
                .lines()
                .for_each(|l| drop(also.send(l.unwrap())))
        });
        Self { child, lines }
    }

    /// Waits for a line that contains this.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        self.says_all(&[text]);
    }

    /// Waits until each of these stood in a line, in whatever order.
    #[track_caller]
    pub(crate) fn says_all(&self, texts: &[&str]) {
        let mut missing = texts.to_vec();
        while !missing.is_empty() {
            let line = self.lines.recv_timeout(Duration::from_secs(30));
            let line = line.unwrap_or_else(|_| panic!("nothing says {missing:?}"));
            missing.retain(|text| !line.contains(text));
        }
    }

    /// What was said since.
    pub(crate) fn said(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_watch_loads_what_changes_with_one_capability_and_ends_when_told() {
    let _world = clean();
    profile("first");
    unload("second");
    // As its unit restricts it.
    let mut watch = Watch::start(&[
        "setpriv",
        "--bounding-set=-all,+mac_admin",
        "--inh-caps=-all",
        "--no-new-privs",
    ]);
    watch.says("first: loaded");
    assert_eq!(loaded("first").unwrap(), "first (enforce)");
    fs::write(path("second"), profile_text("second", "")).unwrap();
    watch.says("second: loaded");
    fs::write(path("first"), "profile first { nonsense }\n").unwrap();
    watch.says("first: failed: ");
    assert_eq!(
        loaded("first").unwrap(),
        "first (enforce)",
        "what was there stays"
    );
    // As an editor writes, and as a mode is set.
    fs::write(path(".first.swp"), profile_text("first", ",complain")).unwrap();
    fs::rename(path(".first.swp"), path("first")).unwrap();
    watch.says("first: reloaded: ");
    assert_eq!(loaded("first").unwrap(), "first (complain)");
    fs::create_dir_all(LINKS).unwrap();
    symlink(path("second"), Path::new(LINKS).join("second")).unwrap();
    watch.says("second: reloaded: it enforces and must be in complain mode");
    assert_eq!(loaded("second").unwrap(), "second (complain)");
    // With on_drift = "refuse" only a person's command replaces a profile.
    fs::write(CONFIG, "on_drift = \"refuse\"\n").unwrap();
    fs::write(path("first"), profile_text("first", "")).unwrap();
    watch.says("first: failed: ");
    assert_eq!(loaded("first").unwrap(), "first (complain)");
    run(CLI, ["load", "first"]).ok();
    assert_eq!(loaded("first").unwrap(), "first (enforce)");
    fs::remove_file(CONFIG).unwrap();
    watch.says("0 loaded, 2 unchanged, 0 failed");
    // What has no source any more stays in the kernel.
    fs::remove_file(path("second")).unwrap();
    watch.says("0 loaded, 1 unchanged, 0 failed");
    assert!(loaded("second").is_some());
    run("kill", ["-TERM", &watch.child.id().to_string()]).ok();
    assert_eq!(watch.child.wait().unwrap().code(), Some(0));
    fs::remove_file(Path::new(LINKS).join("second")).unwrap();
}

#[test]
fn denials_tells_what_was_refused_and_to_whom() {
    let _world = clean();
    let rules = |flags: &str| {
        profile_text("denied", flags).replace("\n}", "\n  audit deny /etc/hostname r,\n}")
    };
    let listed = || {
        let text = cli(&["denials", "--json"]).ok();
        let events = text
            .lines()
            .map(|l| serde_json::from_str::<Value>(l).unwrap());
        let mut events = events.collect::<Vec<_>>();
        events.reverse();
        let of = |e: &Value| e["profile"] == "denied" && e["object"] == "/etc/hostname";
        events.into_iter().find(of)
    };
    source("denied", &rules(""));
    let bundle = Bundle::annotated(
        "denied",
        &["/bin/sleep", "1000"],
        &[("oci-apparmor/profile", "denied")],
    );
    fs::create_dir_all(rootfs().join("etc")).unwrap();
    fs::write(rootfs().join("etc/hostname"), "h\n").unwrap();
    let container = Container::started("runc", &bundle, "denied");
    assert_ne!(container.exec(&["/bin/cat", "/etc/hostname"]).code, 0);
    wait_for(|| listed().is_some());
    let event = listed().unwrap();
    assert_eq!(event["verdict"], "denied");
    assert_eq!(
        (&event["operation"], &event["denied"]),
        (&"open".into(), &"r".into())
    );
    assert_eq!(event["container"]["id"], "denied");
    let table = cli(&["denials"]).ok();
    assert!(table.contains("/etc/hostname"), "{table}");
    assert!(table.contains("container denied"), "{table}");
    // The same from a log in a file.
    let kept = run("sh", ["-c", "dmesg >/run/dmesg"]);
    assert_eq!(kept.code, 0);
    assert!(
        cli(&["denials", "/run/dmesg"])
            .ok()
            .contains("/etc/hostname")
    );
}
