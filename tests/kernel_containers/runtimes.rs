//! The main job with the low-level runtimes themselves: runc and crun, called as an engine does.

use std::fs;

use crate::support::containers::*;

const FOREVER: [&str; 2] = ["/bin/sleep", "1000"];
const CURRENT: [&str; 2] = ["/bin/cat", "/proc/self/attr/current"];

#[test]
fn a_profile_that_is_only_a_file_confines_the_container_and_every_exec() {
    let _world = world();
    for runtime in RUNTIMES {
        source("jit", &full_profile_text("jit"));
        assert_eq!(loaded("jit"), None);
        let bundle = Bundle::annotated("jit", &FOREVER, &[("oci-apparmor/profile", "jit")]);
        let container = Container::started(runtime, &bundle, "jit");
        assert_eq!(container.label(), shown(runtime, "jit"));
        assert_eq!(loaded("jit").as_deref(), Some("jit (enforce)"));
        assert_eq!(bundle.profile_on_disk().as_deref(), Some("jit"));
        assert_eq!(container.exec(&CURRENT).ok(), "jit (enforce)\n");
        let write = container.exec(&["/bin/touch", "/data/x"]);
        assert!(
            write.code != 0 && write.err.contains("Permission denied"),
            "{write:?}"
        );
        container.exec(&["/bin/touch", "/tmp/x"]).ok();
        // The engine's own idea of the profile, as docker, podman and containerd send it.
        for foreign in [None, Some("unconfined"), Some("docker-default"), Some("")] {
            let file = process_file("exec.json", &CURRENT, foreign);
            let words = ["exec", "--process", file.to_str().unwrap(), &container.id];
            assert_eq!(
                run(&container.runtime, words).ok(),
                "jit (enforce)\n",
                "{foreign:?}"
            );
        }
        container.call("kill").ok();
        run(&container.runtime, ["kill", &container.id, "KILL"]);
        wait_for(|| container.state()["status"] == "stopped");
        assert!(record_of("jit").is_some());
        container.call("delete").ok();
        assert_eq!(record_of("jit"), None);
    }
}

#[test]
fn run_in_the_foreground_leaves_no_record() {
    let _world = world();
    for runtime in RUNTIMES {
        profile("fore");
        let bundle = Bundle::annotated(
            "fore",
            &CURRENT,
            &[("oci-apparmor/profile", "localhost/fore")],
        );
        let words = ["run", "--bundle", bundle.path.to_str().unwrap(), "fore"];
        assert_eq!(
            run(wrapper(runtime), words).ok().trim_end(),
            shown(runtime, "fore")
        );
        wait_for(|| record_of("fore").is_none());
    }
}

#[test]
fn a_detached_run_keeps_its_record_until_delete() {
    let _world = world();
    for runtime in RUNTIMES {
        profile("back");
        let bundle = Bundle::annotated("back", &FOREVER, &[("oci-apparmor/profile", "back")]);
        let words = [
            "run",
            "-d",
            "--bundle",
            bundle.path.to_str().unwrap(),
            "back",
        ];
        run_detached(&wrapper(runtime), words).ok();
        let container = Container {
            runtime: wrapper(runtime),
            id: "back".into(),
        };
        assert_eq!(container.label(), shown(runtime, "back"));
        // The watcher has seen the end of `run` by now, or will: either way it must stay.
        assert_eq!(container.exec(&CURRENT).ok(), "back (enforce)\n");
        assert!(record_of("back").is_some());
        run(&container.runtime, ["delete", "--force", "back"]).ok();
        assert_eq!(record_of("back"), None);
    }
}

#[test]
fn exec_follows_the_container_even_if_its_record_is_lost() {
    let _world = world();
    for runtime in RUNTIMES {
        profile("lost");
        let bundle = Bundle::annotated("lost", &FOREVER, &[("oci-apparmor/profile", "lost")]);
        let container = Container::started(runtime, &bundle, "lost");
        fs::remove_dir_all("/run/oci-apparmor").unwrap();
        let file = process_file("exec.json", &CURRENT, Some("unconfined"));
        let words = ["exec", "--process", file.to_str().unwrap(), "lost"];
        assert_eq!(run(&container.runtime, words).ok(), "lost (enforce)\n");
        assert!(record_of("lost").is_some());
        fs::remove_dir_all("/run/oci-apparmor").unwrap();
        assert_eq!(container.exec(&CURRENT).ok(), "lost (enforce)\n");
    }
}

/// The configuration and the rules may have changed meanwhile: what counts is what runs.
#[test]
fn exec_follows_the_container_where_only_its_processes_tell() {
    let _world = world();
    for runtime in RUNTIMES {
        profile("told");
        let mut bundle = Bundle::annotated("told", &FOREVER, &[("oci-apparmor/profile", "told")]);
        let container = Container::started(runtime, &bundle, "told");
        // No annotation may name it any more, and the bundle does not show that one did.
        fs::remove_file(format!("{PROFILES}/told")).unwrap();
        bundle.config["process"]["apparmorProfile"] = "other".into();
        bundle.write();
        if runtime == "crun" {
            // Its own copy.
            fs::copy(bundle.config_json(), "/run/crun/told/config.json").unwrap();
        }
        fs::remove_dir_all("/run/oci-apparmor").unwrap();
        assert_eq!(container.exec(&CURRENT).ok(), "told (enforce)\n");
    }
}

#[test]
fn exec_reloads_a_profile_that_was_removed() {
    let _world = world();
    for runtime in RUNTIMES {
        profile("gone");
        let bundle = Bundle::annotated("gone", &FOREVER, &[("oci-apparmor/profile", "gone")]);
        let container = Container::started(runtime, &bundle, "gone");
        unload("gone");
        // In a stack, too, what is removed turns into `unconfined`.
        let without = match shown(runtime, "gone").contains("//&") {
            true => "crun//&unconfined (unconfined)",
            false => "unconfined",
        };
        assert_eq!(container.label(), without);
        assert_eq!(container.exec(&CURRENT).ok(), "gone (enforce)\n");
        unload("gone");
        fs::remove_file(format!("{PROFILES}/gone")).unwrap();
        container
            .exec(&CURRENT)
            .refused(&["gone", "exec of container"]);
    }
}

#[test]
fn start_refuses_when_the_profile_was_removed_or_relaxed_meanwhile() {
    let _world = world();
    for runtime in RUNTIMES {
        for reload in ["", ",complain"] {
            profile("pend");
            let bundle = Bundle::annotated("pend", &FOREVER, &[("oci-apparmor/profile", "pend")]);
            let (container, created) = Container::create(runtime, &bundle, "pend");
            created.ok();
            if reload.is_empty() {
                // Removed and loaded again: the waiting label is unconfined all the same.
                unload("pend");
            }
            load(&profile_text("pend", reload));
            container
                .call("start")
                .refused(&["pend", "start of container"]);
            assert_eq!(container.state()["status"], "created");
        }
    }
}

#[test]
fn start_refuses_a_profile_that_was_removed_and_loaded_again() {
    let _world = world();
    for runtime in RUNTIMES {
        for lost in [false, true] {
            profile("came");
            let bundle = Bundle::annotated("came", &FOREVER, &[("oci-apparmor/profile", "came")]);
            let (container, created) = Container::create(runtime, &bundle, "came");
            created.ok();
            unload("came");
            if lost {
                fs::remove_dir_all("/run/oci-apparmor").unwrap();
            }
            // An exec brings the profile back, under its own label; the waiting one is lost.
            let exec = container.exec(&CURRENT);
            if exec.code == 0 {
                assert_eq!(exec.out, "came (enforce)\n");
            }
            load(&profile_text("came", ""));
            container
                .call("start")
                .refused(&["start of container", "create the container again"]);
            assert_eq!(container.state()["status"], "created");
        }
        // What asked for nothing has no record, and starts.
        let bundle = Bundle::new("plain", &FOREVER);
        let container = Container::started(runtime, &bundle, "plain");
        assert_eq!(container.label(), unconfined(runtime));
    }
}

#[test]
fn the_spelling_of_the_root_does_not_matter() {
    let _world = world();
    for runtime in RUNTIMES {
        profile("root");
        let bundle = Bundle::annotated("root", &FOREVER, &[("oci-apparmor/profile", "root")]);
        let wrapper = wrapper(runtime);
        let create = [
            "--root",
            "/run/there",
            "create",
            "--bundle",
            bundle.path.to_str().unwrap(),
            "root",
        ];
        run_detached(&wrapper, create).ok();
        let there = |words: &[&str]| run(&wrapper, [&["--root=/run/./there/"], words].concat());
        there(&["start", "root"]).ok();
        assert_eq!(
            there(&[&["exec", "root"], &CURRENT[..]].concat()).ok(),
            "root (enforce)\n"
        );
        there(&["delete", "--force", "root"]).ok();
        assert_eq!(record_of("root"), None);
    }
}

#[test]
fn the_default_root_is_the_runtimes_own() {
    let _world = world();
    // crun takes XDG_RUNTIME_DIR even as root, runc does not; the record must be found either way.
    for runtime in RUNTIMES {
        profile("xdg");
        let bundle = Bundle::annotated("xdg", &FOREVER, &[("oci-apparmor/profile", "xdg")]);
        fs::create_dir_all("/run/xdg").unwrap();
        let call = |words: &[&str]| {
            let with = [
                "XDG_RUNTIME_DIR=/run/xdg",
                wrapper(runtime).to_str().unwrap(),
            ]
            .map(str::to_owned);
            run_detached(
                std::path::Path::new("env"),
                with.iter().map(String::as_str).chain(words.iter().copied()),
            )
        };
        call(&["create", "--bundle", bundle.path.to_str().unwrap(), "xdg"]).ok();
        assert!(record_of("xdg").is_some());
        call(&["start", "xdg"]).ok();
        // With the record lost, exec only works if the container is looked for where it is.
        fs::remove_dir_all("/run/oci-apparmor").unwrap();
        let file = process_file("exec.json", &CURRENT, Some("unconfined"));
        let words = ["exec", "--process", file.to_str().unwrap(), "xdg"];
        assert_eq!(call(&words).ok(), "xdg (enforce)\n", "{runtime}");
        call(&["delete", "--force", "xdg"]).ok();
        assert_eq!(record_of("xdg"), None, "{runtime}");
    }
}

#[test]
fn the_labels_of_conflicting_options_are_refused() {
    let _world = world();
    for runtime in RUNTIMES {
        profile("conf");
        let bundle = Bundle::annotated("conf", &FOREVER, &[("oci-apparmor/profile", "conf")]);
        let container = Container::started(runtime, &bundle, "conf");
        let exec = |profile: &str| {
            let words = [&["exec", "--apparmor", profile, "conf"], &CURRENT[..]].concat();
            run(&container.runtime, words)
        };
        assert_eq!(exec("conf").ok(), "conf (enforce)\n");
        exec("unconfined").refused(&["--apparmor=unconfined", "conf"]);
        let words = [
            "restore",
            "--detach",
            "--pid-file=/run/conf.pid",
            "--image-path",
            "/nowhere",
            "--lsm-profile",
            "apparmor:other",
            "--bundle",
            bundle.path.to_str().unwrap(),
            "conf2",
        ];
        run(&container.runtime, words).refused(&["--lsm-profile=apparmor:other", "conf"]);
        assert_eq!(record_of("conf2"), None);
    }
}

#[test]
fn crun_reads_the_configuration_that_its_option_names() {
    let _world = world();
    profile("other");
    let bundle = Bundle::annotated("other", &CURRENT, &[("oci-apparmor/profile", "other")]);
    let other = bundle.path.join("other.json");
    fs::rename(bundle.config_json(), &other).unwrap();
    let bundle = bundle.path.to_str().unwrap();
    let words = ["run", "-b", bundle, "-f", other.to_str().unwrap(), "other"];
    assert_eq!(
        run(wrapper("crun"), words).ok().trim_end(),
        shown("crun", "other")
    );
    // A relative one is looked for from where crun is called, as crun does.
    unload("other");
    let script = format!(
        "cd {bundle} && exec {} run -b / -fother.json other",
        wrapper("crun").display()
    );
    assert_eq!(
        run("sh", ["-c", &script]).ok().trim_end(),
        shown("crun", "other")
    );
}

#[test]
fn a_second_create_and_a_refused_delete_leave_the_first_container_alone() {
    let _world = world();
    for runtime in RUNTIMES {
        profile("twice");
        let bundle = Bundle::annotated("twice", &FOREVER, &[("oci-apparmor/profile", "twice")]);
        let container = Container::started(runtime, &bundle, "twice");
        let before = fs::read(record_of("twice").unwrap()).unwrap();
        let other = Bundle::annotated("twice2", &FOREVER, &[("oci-apparmor/profile", "nosuch")]);
        let words = ["create", "--bundle", other.path.to_str().unwrap(), "twice"];
        let second = run_detached(&container.runtime, words);
        let words = match runtime {
            "crun" => "container `twice` already exists",
            _ => "container with given ID already exists",
        };
        second.refused(&[words]);
        assert!(
            container.call("delete").code != 0,
            "a running container is not deleted"
        );
        assert_eq!(fs::read(record_of("twice").unwrap()).unwrap(), before);
        assert_eq!(container.exec(&CURRENT).ok(), "twice (enforce)\n");
    }
}
