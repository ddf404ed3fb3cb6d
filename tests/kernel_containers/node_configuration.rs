//! What the node's configuration demands.

use std::fs;

use serde_json::Value;

use crate::support::containers::*;

const CURRENT: [&str; 2] = ["/bin/cat", "/proc/self/attr/current"];

/// The components of the label that a container gets.
fn components(runtime: &str, annotations: &[(&str, &str)]) -> Vec<String> {
    let bundle = Bundle::annotated("node", &CURRENT, annotations);
    let words = ["run", "--bundle", bundle.path.to_str().unwrap(), "node"];
    let label = run(wrapper(runtime), words).ok();
    let label = label
        .trim()
        .rsplit_once(" (")
        .map_or(label.trim(), |(label, _)| label);
    let mut components: Vec<_> = label.split("//&").map(str::to_owned).collect();
    components.sort();
    components
}

#[test]
fn a_floor_is_stacked_under_every_container_and_exec() {
    let _world = world();
    fs::write(CONFIG, "floor = \"floor\"\n").unwrap();
    for runtime in RUNTIMES {
        profile("floor");
        profile("own");
        assert_eq!(components(runtime, &[]), ["floor"]);
        assert_eq!(
            components(runtime, &[("oci-apparmor/profile", "own")]),
            ["floor", "own"]
        );
        assert_eq!(
            components(runtime, &[("oci-apparmor/profile", "floor")]),
            ["floor"]
        );
        let exempt = [
            ("io.kubernetes.cri.container-type", "container"),
            ("io.kubernetes.cri.sandbox-namespace", "kube-system"),
        ];
        // Only containerd's own bundles are believed: docker's users can annotate too.
        assert_eq!(components(runtime, &exempt), ["floor"]);
        let pod = "io.containerd.runtime.v2.task/k8s.io/node";
        let words = Bundle::annotated(pod, &CURRENT, &exempt);
        let words = ["run", "--bundle", words.path.to_str().unwrap(), "node"];
        assert_eq!(run(wrapper(runtime), words).ok(), "unconfined\n");

        let bundle = Bundle::annotated(
            "node",
            &["/bin/sleep", "1000"],
            &[("oci-apparmor/profile", "own")],
        );
        let container = Container::started(runtime, &bundle, "node");
        let label = container.exec(&CURRENT).ok();
        assert!(
            label.contains("own") && label.contains("//&") && label.contains("floor"),
            "{label}"
        );
        assert_eq!(label.trim(), container.label());

        // Each profile of the stack is as much in use as a profile alone.
        let program = CLI;
        for name in ["own", "floor"] {
            let done = run(program, ["unload", name]);
            assert_eq!(done.code, 5, "{done:?}");
            let why = format!("the profile {name} is in use");
            assert!(done.err.contains(&why) && done.err.contains("container node"));
        }
        run(program, ["gc"]).ok();
        assert_eq!(label.trim(), container.label());
        let all: Value = serde_json::from_str(&run(program, ["ps", "--json"]).ok()).unwrap();
        assert_eq!(all[0]["id"], "node");
        assert_eq!(all[0]["processes"][0]["confined"], true, "{all}");
    }
}

#[test]
fn a_default_profile_is_for_those_that_ask_for_nothing() {
    let _world = world();
    fs::write(
        CONFIG,
        "default_profile = \"fallback\"\nallow = [\"own*\"]\ndeny = [\"own2\"]\n",
    )
    .unwrap();
    for runtime in RUNTIMES {
        profile("fallback");
        profile("own");
        profile("own2");
        assert_eq!(components(runtime, &[]), ["fallback"]);
        assert_eq!(
            components(runtime, &[("oci-apparmor/profile", "runtime/default")]),
            ["fallback"]
        );
        assert_eq!(
            components(runtime, &[("oci-apparmor/profile", "own")]),
            ["own"]
        );
        for name in ["own2", "fallback"] {
            let bundle = Bundle::annotated("node", &CURRENT, &[("oci-apparmor/profile", name)]);
            let words = ["run", "--bundle", bundle.path.to_str().unwrap(), "node"];
            run(wrapper(runtime), words).refused(&["may not name the profile", name]);
        }
    }
}

#[test]
fn check_and_explain_agree_with_what_create_does() {
    let _world = world();
    let program = CLI;
    let check = run(program, ["check", "--json"]);
    let parts: Vec<Value> = serde_json::from_str(&check.out).unwrap();
    let status = |part: &str| {
        let found = parts.iter().find(|p| p["part"] == part);
        found.unwrap_or_else(|| panic!("{part} is missing: {check:?}"))["status"].clone()
    };
    for part in [
        "kernel",
        "privilege",
        "parser",
        "configuration",
        "runtimes",
        "records",
        "profiles",
    ] {
        assert_eq!(status(part), "ok", "{part}: {check:?}");
    }
    assert_eq!(check.code, 0);
    fs::write(CONFIG, "floor = \"nosuch\"\n").unwrap();
    assert_eq!(run(program, ["check"]).code, 3);
    fs::write(CONFIG, "x").unwrap();
    assert_eq!(run(program, ["check"]).code, 7);
    fs::remove_file(CONFIG).unwrap();

    profile("own");
    let bundle = Bundle::annotated("node", &CURRENT, &[("oci-apparmor/profile", "own")]);
    let explained = run(program, ["explain", bundle.path.to_str().unwrap()]).ok();
    assert!(
        explained.ends_with("\nlabel       own\n") && explained.contains("not loaded"),
        "{explained}"
    );
    assert_eq!(loaded("own"), None, "explain loads nothing");
    assert_eq!(bundle.profile_on_disk(), None, "explain writes nothing");
}

#[test]
fn ps_shows_what_every_process_really_has() {
    let _world = world();
    let program = CLI;
    let ps = |code: i32| -> Value {
        let done = run(program, ["ps", "--json"]);
        assert_eq!(done.code, code, "{done:?}");
        serde_json::from_str::<Value>(&done.out).unwrap()[0].take()
    };
    for runtime in RUNTIMES {
        profile("seen");
        let asks = [("oci-apparmor/profile", "seen")];
        let bundle = Bundle::annotated("seen", &["/bin/sleep", "1000"], &asks);
        let (container, created) = Container::create(runtime, &bundle, "seen");
        created.ok();
        let row = ps(0);
        assert_eq!(
            (&row["id"], &row["state"]),
            (&"seen".into(), &"created".into()),
            "{runtime}"
        );
        assert_eq!(row["processes"].as_array().unwrap().len(), 0);
        let formats = include_str!("../../docs/formats.md");
        for key in row.as_object().unwrap().keys() {
            assert!(
                formats.contains(&format!("`{key}`")),
                "{key} is not described"
            );
        }
        container.call("start").ok();
        container.label();
        let words = ["exec", "-d", "seen", "/bin/sleep", "1000"];
        run_detached(&container.runtime, words).ok();
        let row = ps(0);
        assert_eq!(
            (&row["state"], &row["label"]),
            (&"running".into(), &"seen".into())
        );
        let processes = row["processes"].as_array().unwrap();
        assert_eq!(processes.len(), 2, "{row}");
        assert!(
            processes
                .iter()
                .all(|p| p["label"] == "seen (enforce)" && p["confined"] == true)
        );
        // The profile is removed: its processes turn unconfined.
        unload("seen");
        let row = ps(5);
        assert!(
            row["processes"]
                .as_array()
                .unwrap()
                .iter()
                .all(|p| p["confined"] == false)
        );
        let table = run(program, ["ps"]);
        assert!(table.out.contains(" 0/2 ") && table.out.contains("runs as unconfined"));
        assert!(
            table.err.contains("2 processes run without the label"),
            "{table:?}"
        );
        run(runtime, ["kill", "seen", "KILL"]);
        wait_for(|| container.state()["status"] == "stopped");
        assert_eq!(ps(0)["state"], "stopped");
    }
    assert_eq!(run(program, ["ps", "--json"]).ok(), "[]\n");
}

/// CRI-O hands on what a pod's author wrote, for whom containerd leaves the field empty.
#[test]
fn with_require_enforcing_an_engines_unconfined_counts_as_no_request() {
    let _world = world();
    let mut bundle = Bundle::new("word", &CURRENT);
    for runtime in RUNTIMES {
        profile("fallback");
        profile("floor");
        for (config, label) in [
            ("", "unconfined"),
            ("require_enforcing = true\n", "fallback (enforce)"),
            (
                "require_enforcing = true\nallow_unconfined = true\n",
                "unconfined",
            ),
            (
                "require_enforcing = true\n[[rule]]\nnamespaces = [\"x\"]\n",
                "fallback (enforce)",
            ),
        ] {
            let config = format!("default_profile = \"fallback\"\n{config}");
            fs::write(CONFIG, config).unwrap();
            bundle.config["process"]["apparmorProfile"] = "unconfined".into();
            bundle.write();
            let words = ["run", "--bundle", bundle.path.to_str().unwrap(), "word"];
            let unconfined = unconfined(runtime);
            let wanted = match label {
                "unconfined" => &*unconfined,
                label => label,
            };
            assert_eq!(run(wrapper(runtime), words).ok().trim(), wanted, "{label}");
            // The same again: the bundle now carries what was decided.
            assert_eq!(run(wrapper(runtime), words).ok().trim(), wanted, "{label}");
        }
        let both = "require_enforcing = true\ndefault_profile = \"fallback\"\nfloor = \"floor\"\n";
        fs::write(CONFIG, both).unwrap();
        bundle.config["process"]["apparmorProfile"] = "unconfined".into();
        bundle.write();
        let words = ["run", "--bundle", bundle.path.to_str().unwrap(), "word"];
        for _ in 0..2 {
            let label = run(wrapper(runtime), words).ok();
            assert!(
                label.contains("fallback") && label.contains("floor"),
                "{label}"
            );
        }
    }
}
