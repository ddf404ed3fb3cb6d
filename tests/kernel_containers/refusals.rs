//! Everything that must not start, does not: one line, and no process.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::Value;

use crate::support::containers::*;

const ID: &str = "refused";

/// Tries to run a bundle; there must be no container afterwards.
#[track_caller]
fn refused(runtime: &str, bundle: &Bundle, words: &[&str]) {
    let log = bundle.path.join("log.json");
    let _ = fs::remove_file(&log);
    for subcommand in ["run", "create"] {
        let line = [
            "--log",
            log.to_str().unwrap(),
            "--log-format",
            "json",
            subcommand,
            "--bundle",
            bundle.path.to_str().unwrap(),
            ID,
        ];
        let done = run_detached(&wrapper(runtime), line);
        done.refused(&[words, &[&format!("{subcommand} of container {ID}")]].concat());
        assert_eq!(done.err.lines().count(), 1, "{done:?}");
        assert_eq!(done.out, "");
        assert_ne!(run(runtime, ["state", ID]).code, 0, "there is a container");
        assert_eq!(record_of(ID), None);
        let entry: Value = serde_json::from_slice(&fs::read(&log).unwrap()).unwrap();
        assert_eq!(entry["msg"].as_str(), Some(done.err.trim_end()));
        assert_eq!(entry["level"], "error");
        fs::remove_file(&log).unwrap();
    }
}

fn asking(value: &str) -> Bundle {
    Bundle::annotated(
        ID,
        &["/bin/sleep", "1000"],
        &[("oci-apparmor/profile", value)],
    )
}

#[test]
fn names_that_mean_something_else() {
    let _world = world();
    for runtime in RUNTIMES {
        for name in [
            "u",
            "un",
            "unconfine",
            "",
            "&x",
            ":ns:x",
            "a//&b",
            "a b",
            "localhost/",
            "x//",
        ] {
            refused(runtime, &asking(name), &["profile name"]);
            let mut bundle = Bundle::new(ID, &["/bin/sleep", "1000"]);
            bundle.config["process"]["apparmorProfile"] = name.into();
            bundle.write();
            if name != "a//&b" && name != "localhost/" {
                refused(
                    runtime,
                    &bundle,
                    &["profile name", "process.apparmorProfile"],
                );
            }
        }
    }
}

#[test]
fn sources_that_are_not_what_they_should_be() {
    let _world = world();
    for runtime in RUNTIMES {
        let bundle = asking("bad");
        let path = Path::new(PROFILES).join("bad");
        let is = |text: &str, words: &[&str]| {
            source("bad", text);
            refused(runtime, &bundle, words);
            assert_eq!(loaded("bad"), None);
        };
        is(
            "profile bad { this is no rule, }\n",
            &["apparmor_parser", "syntax error"],
        );
        is(&profile_text("not-bad", ""), &["not-bad", "not only bad"]);
        assert_eq!(loaded("not-bad"), None);
        is(
            &[profile_text("bad", ""), profile_text("bad-too", "")].concat(),
            &["bad-too"],
        );
        assert_eq!(loaded("bad-too"), None);
        is("# nothing\n", &["declares no profile"]);
        is("profile bad /bin/bad { file, }\n", &["attaches"]);
        is("profile bad flags=(unconfined) { file, }\n", &["bad"]);
        is("profile :ns:bad { file, }\n", &["ns"]);
        is(
            &profile_text("bad", ",complain"),
            &["complain mode", "must enforce"],
        );
        unload("bad");

        source("bad", &profile_text("bad", ""));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        refused(runtime, &bundle, &["not trusted", "writable"]);
        fs::remove_file(&path).unwrap();
        symlink("/tmp/bad", &path).unwrap();
        fs::write("/tmp/bad", profile_text("bad", "")).unwrap();
        refused(runtime, &bundle, &["not trusted"]);
        fs::remove_file(&path).unwrap();
        refused(
            runtime,
            &bundle,
            &["is not loaded, and there is no file", "/etc/apparmor.d"],
        );
        assert_eq!(loaded("bad"), None);
    }
}

#[test]
fn links_in_disable_and_force_complain_count() {
    let _world = world();
    let (disable, complain) = ("/etc/apparmor.d/disable", "/etc/apparmor.d/force-complain");
    for runtime in RUNTIMES {
        profile("word");
        fs::create_dir_all(disable).unwrap();
        symlink(format!("{PROFILES}/word"), format!("{disable}/word")).unwrap();
        let bundle = asking("word");
        refused(runtime, &bundle, &["disabled"]);
        fs::remove_file(format!("{disable}/word")).unwrap();

        fs::create_dir_all(complain).unwrap();
        symlink(format!("{PROFILES}/word"), format!("{complain}/word")).unwrap();
        let bundle = Bundle::annotated(
            ID,
            &["/bin/cat", "/proc/self/attr/current"],
            &[("oci-apparmor/profile", "word")],
        );
        let done = run(
            wrapper(runtime),
            ["run", "--bundle", bundle.path.to_str().unwrap(), ID],
        );
        fs::remove_file(format!("{complain}/word")).unwrap();
        assert_eq!(done.ok(), "word (complain)\n");
        unload("word");
    }
}

#[test]
fn a_loaded_profile_that_does_not_enforce() {
    let _world = world();
    fs::write(CONFIG, "allow = [\"soft\"]\n").unwrap();
    for runtime in RUNTIMES {
        let _ = fs::remove_file(format!("{PROFILES}/soft"));
        for (flags, mode) in [(",complain", "complain"), (",unconfined", "unconfined")] {
            unload("soft");
            load(&profile_text("soft", flags).replace("attach_disconnected,mediate_deleted,", ""));
            assert_eq!(loaded("soft"), Some(format!("soft ({mode})")));
            refused(runtime, &asking("soft"), &["soft", mode, "must enforce"]);
        }
        unload("soft");
    }
}

#[test]
fn configurations_that_cannot_be_trusted() {
    let _world = world();
    profile("conf");
    for runtime in RUNTIMES {
        for (text, mode, words) in [
            ("allow = [", 0o644, ["config.toml line 1", "check --config"]),
            ("\nflor = \"x\"\n", 0o644, ["config.toml line 2", "flor"]),
            (
                "floor = \"un\"\n",
                0o644,
                ["config.toml line 1", "unconfined"],
            ),
            ("", 0o666, ["config.toml", "writable"]),
        ] {
            fs::write(CONFIG, text).unwrap();
            fs::set_permissions(CONFIG, fs::Permissions::from_mode(mode)).unwrap();
            refused(runtime, &asking("conf"), &words);
            // What asks for nothing may be subject to a floor that cannot be read.
            refused(runtime, &Bundle::new(ID, &["/bin/true"]), &words);
            assert_eq!(
                run(wrapper(runtime), ["list"]).code,
                run(runtime, ["list"]).code
            );
            fs::remove_file(CONFIG).unwrap();
        }
    }
}

#[test]
fn a_broken_configuration_does_not_block_what_runs() {
    let _world = world();
    for runtime in RUNTIMES {
        profile("live");
        let bundle = Bundle::annotated(
            "live",
            &["/bin/sleep", "1000"],
            &[("oci-apparmor/profile", "live")],
        );
        let container = Container::started(runtime, &bundle, "live");
        fs::write(CONFIG, "broken").unwrap();
        assert_eq!(
            container
                .exec(&["/bin/cat", "/proc/self/attr/current"])
                .ok(),
            "live (enforce)\n"
        );
        assert_eq!(container.state()["status"], "running");
        run(&container.runtime, ["kill", "live", "KILL"]).ok();
        wait_for(|| container.state()["status"] == "stopped");
        container.call("delete").ok();
        fs::remove_file(CONFIG).unwrap();
    }
}

#[test]
fn bundles_that_runtimes_may_read_differently() {
    let _world = world();
    profile("p");
    for runtime in RUNTIMES {
        let bundle = asking("p");
        let good = fs::read_to_string(bundle.config_json()).unwrap();
        let path = bundle.config_json();
        for (text, words) in [
            (
                good.replace("\"process\": {", "\"process\": {\"ApparmorProfile\": \"\","),
                "ApparmorProfile",
            ),
            (
                good.replace("\"process\": {", "\"proceſſ\": {}, \"process\": {"),
                "proce",
            ),
            (
                good.replace("\"process\": {", "\"process\": {}, \"process\": {"),
                "twice",
            ),
            (good.replace("\"process\": {", "\"no\": {"), "process"),
            (good[..good.len() / 2].to_owned(), "JSON"),
            (String::new(), "JSON"),
            (" ".repeat((16 << 20) + 1), "16 MiB"),
        ] {
            fs::write(&path, text).unwrap();
            refused(runtime, &bundle, &[words]);
        }
        fs::remove_file(&path).unwrap();
        refused(runtime, &bundle, &["does not exist"]);
        fs::write(bundle.path.join("real.json"), &good).unwrap();
        symlink("real.json", &path).unwrap();
        refused(runtime, &bundle, &["symbolic link"]);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        refused(runtime, &bundle, &["regular file"]);
    }
}

#[test]
fn process_files_that_others_can_change() {
    let _world = world();
    profile("p");
    let containers = RUNTIMES.map(|runtime| {
        let asks = [("oci-apparmor/profile", "p")];
        let id = format!("files-{runtime}");
        let bundle = Bundle::annotated(&id, &["/bin/sleep", "1000"], &asks);
        Container::started(runtime, &bundle, &id)
    });
    let check = |container: &Container| {
        let id = &*container.id;
        let exec = |path: &str| run(&container.runtime, ["exec", "--process", path, id]);
        let file = process_file(&format!("{id}.json"), &["/bin/true"], None);
        let second = file.with_extension("second");
        let _ = fs::remove_file(&second);
        fs::hard_link(&file, &second).unwrap();
        exec(file.to_str().unwrap()).refused(&["hard link", "exec of container"]);
        let _ = fs::remove_file(&second);
        symlink(&file, &second).unwrap();
        std::os::unix::fs::chown(&file, Some(1000), None).unwrap();
        exec(second.to_str().unwrap()).refused(&["belongs to uid 1000"]);
        std::os::unix::fs::chown(&file, Some(0), None).unwrap();
        fs::remove_file(&second).unwrap();
        run("mkfifo", [&second]).ok();
        exec(second.to_str().unwrap()).refused(&["it did not end"]);
        exec(file.to_str().unwrap()).ok();
    };
    // Both at once: a pipe is given ten seconds to end.
    std::thread::scope(|scope| {
        for container in &containers {
            scope.spawn(|| check(container));
        }
    });
}

/// As runc reads them (its own test "runc exec [tty consolesize]" gives `<(…)`).
#[test]
fn a_process_from_a_pipe_or_through_a_link_runs_under_its_containers_profile() {
    let _world = world();
    for runtime in RUNTIMES {
        profile("p");
        let bundle = Bundle::annotated(
            ID,
            &["/bin/sleep", "1000"],
            &[("oci-apparmor/profile", "p")],
        );
        let container = Container::started(runtime, &bundle, ID);
        let label = ["/bin/cat", "/proc/self/attr/current"];
        let label = process_file("label.json", &label, Some("unconfined"));
        // The one that `ls` itself reads by is gone when it looks at it.
        let fds = [
            "/bin/sh",
            "-c",
            "/bin/busybox ls -l /proc/self/fd 2>/dev/null; true",
        ];
        let fds = process_file("fds.json", &fds, None);
        let link = label.with_extension("link");
        let _ = fs::remove_file(&link);
        symlink(&label, &link).unwrap();
        let exec = |words: &str, file: &Path| {
            let line = format!("exec \"$0\" exec {words} {ID}");
            let words = [
                "-c",
                &line,
                text(&container.runtime),
                text(file),
                text(&link),
            ];
            run("bash", words).ok()
        };
        for way in [
            "--process <(cat \"$1\")",
            "--process=\"$2\"",
            "--process /dev/stdin <\"$1\"",
            "--process /dev/stdin < <(cat \"$1\")",
        ] {
            // The shell puts a redirection wherever it stands.
            assert_eq!(exec(way, &label), "p (enforce)\n", "{runtime} {way}");
            if way.contains("$1") {
                let open = exec(way, &fds);
                assert_eq!(open.matches(" -> ").count(), 3, "{runtime} {way}: {open}");
                assert!(!open.contains("memfd"), "{open}");
            }
        }
        // A descriptor that is handed on is the caller's, and not ours in its place.
        let way = "--preserve-fds 1 --process <(cat \"$1\") 3</bin/busybox";
        let open = exec(way, &fds);
        assert!(
            open.contains("busybox") && !open.contains("memfd"),
            "{open}"
        );
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn command_lines_that_cannot_be_read() {
    let _world = world();
    profile("p");
    let bundle = asking("p");
    let path = bundle.path.to_str().unwrap();
    let glued = format!("-b{path}");
    for (runtime, words) in [
        ("runc", &["create", &glued, ID][..]),
        ("runc", &["create", "--bun", path, ID]),
        ("runc", &["--unknown", "create", "--bundle", path, ID]),
        ("crun", &["create", "-bundle", path, ID]),
        ("crun", &["create", "--con", "x", "--bundle", path, ID]),
    ] {
        run_detached(&wrapper(runtime), words).refused(&["cannot parse the command line"]);
        assert_ne!(run(runtime, ["state", ID]).code, 0, "{words:?}");
    }
}

#[test]
fn a_low_level_runtime_that_is_missing_or_ourselves() {
    let _world = world();
    profile("p");
    let bundle = asking("p");
    for (config, word) in [
        (
            "[runtimes]\nrunc = \"/nonexistent/runc\"\n".to_owned(),
            "does not exist",
        ),
        (
            format!("[runtimes]\nrunc = \"{}\"\n", wrapper("runc").display()),
            "oci-apparmor itself",
        ),
        (
            "[runtimes]\ndirectories = [\"/nonexistent\"]\n".to_owned(),
            "no root-owned runc",
        ),
    ] {
        fs::write(CONFIG, config).unwrap();
        let words = ["create", "--bundle", bundle.path.to_str().unwrap(), ID];
        let done = run_detached(&wrapper("runc"), words);
        assert!(
            done.code == 1 && done.err.contains(word) && done.err.contains("oci-apparmor: "),
            "{done:?}"
        );
        assert_eq!(done.err.lines().count(), 1);
    }
    fs::remove_file(CONFIG).unwrap();
}

#[test]
fn a_kernel_whose_global_mode_does_not_enforce() {
    let _world = world();
    let mode = "/sys/module/apparmor/parameters/mode";
    for runtime in RUNTIMES {
        profile("p");
        fs::write(mode, "complain").unwrap();
        let bundle = asking("p");
        let tried = std::panic::catch_unwind(|| {
            refused(runtime, &bundle, &["global mode", "printf enforce >"])
        });
        fs::write(mode, "enforce").unwrap();
        tried.unwrap();
    }
}

/// The kernel adds a number to the name of each profile, and takes 255 bytes together.
#[test]
fn names_that_are_too_long_for_the_kernel() {
    let _world = world();
    let current = ["/bin/cat", "/proc/self/attr/current"];
    let (fits, long) = ("f".repeat(244), "l".repeat(255));
    for runtime in RUNTIMES {
        for name in [&fits, &long] {
            profile(name);
        }
        let keys = [("oci-apparmor/profile", &*fits)];
        let bundle = Bundle::annotated(ID, &["/bin/sleep", "1000"], &keys);
        let container = Container::started(runtime, &bundle, ID);
        assert_eq!(container.label(), format!("{fits} (enforce)"));
        assert_eq!(container.exec(&current).ok(), format!("{fits} (enforce)\n"));
        drop(container);
        for (mode, now) in [("complain", "complain"), ("enforce", "enforce")] {
            run(CLI, ["mode", &fits, mode]).ok();
            assert_eq!(loaded(&fits), Some(format!("{fits} ({now})")));
        }
        run(CLI, ["unload", &fits]).ok();
        assert_eq!(loaded(&fits), None);

        let too_long = ["whose name is too long", "at most 244 bytes"];
        refused(runtime, &asking(&long), &too_long);
        refused(
            runtime,
            &asking(&"l".repeat(256)),
            &["longer than 255 bytes"],
        );
        // A child's name counts by itself.
        let child = format!("profile {long} {{ file, }}\n}}\n");
        source("short", &profile_text("short", "").replace("}\n", &child));
        refused(runtime, &asking("short"), &too_long);
        assert_eq!(loaded("short"), None);
        for name in [&*fits, &long, "short"] {
            fs::remove_file(format!("{PROFILES}/{name}")).unwrap();
        }
    }
}

/// What an option makes a bind mount is one for runc and crun, too, whatever its type says.
#[test]
fn a_proc_that_is_bound_from_elsewhere() {
    let _world = world();
    profile("bound");
    let fake = rootfs().with_file_name("fake-proc");
    fs::create_dir_all(&fake).unwrap();
    fs::write(fake.join("fake"), "").unwrap();
    for runtime in RUNTIMES {
        let bound = |bundle: &mut Bundle, option: &str| {
            bundle.config["mounts"][0] = serde_json::json!({
                "destination": "/proc", "type": "proc", "source": fake, "options": [option],
            });
            for key in ["maskedPaths", "readonlyPaths"] {
                bundle.config["linux"][key] = serde_json::json!([]);
            }
            bundle.write();
        };
        for option in ["bind", "rbind"] {
            let mut bundle = asking("bound");
            bound(&mut bundle, option);
            let why = "a mount other than procfs hides";
            refused(runtime, &bundle, &["could evade its profile", why]);
        }
        // What the runtime itself makes of it.
        let mut bundle = Bundle::new("bound", &["/bin/sh", "-c", "echo /proc/*"]);
        bound(&mut bundle, "bind");
        let words = ["run", "--bundle", bundle.path.to_str().unwrap(), "bound"];
        let done = run(runtime, words);
        match runtime {
            "crun" => assert_eq!(done.ok(), "/proc/fake\n"),
            _ => assert!(done.err.contains("is not of type proc"), "{done:?}"),
        }
    }
    fs::remove_file(format!("{PROFILES}/bound")).unwrap();
}

/// The profile is loaded, and the next directory has another one of its name.
#[test]
fn a_source_that_cannot_be_looked_at() {
    let _world = world();
    let ours = Path::new(PROFILES).join("looped");
    let other = Path::new("/etc/apparmor.d/looped");
    profile("looped");
    fs::write(other, profile_text("looped", ",complain")).unwrap();
    for runtime in RUNTIMES {
        let bundle = asking("looped");
        drop(Container::started(runtime, &bundle, ID));
        let text = fs::read(&ours).unwrap();
        fs::remove_file(&ours).unwrap();
        symlink("looped", &ours).unwrap();
        let told = format!("cannot look at {}: ", ours.display());
        refused(runtime, &bundle, &[&told, "; repair or remove that file"]);
        fs::remove_file(&ours).unwrap();
        fs::write(&ours, text).unwrap();
        drop(Container::started(runtime, &bundle, ID));
    }
    fs::remove_file(other).unwrap();
}
