//! Each way to name a profile, and what podman's caller sees of its refusal.

use super::*;

#[test]
fn each_way_to_name_a_profile_confines() {
    let _node = node();
    let beta = "container.apparmor.security.beta.kubernetes.io/any=localhost/pod";
    for runtime in RUNTIMES {
        for annotation in ["container.oci-apparmor/any=pod", beta] {
            profile("pod");
            let done = run_rm(runtime, &["--annotation", annotation], &CURRENT);
            assert_eq!(done.ok(), "pod (enforce)\n", "{runtime} {annotation}");
        }
    }
    // podman itself looks whether a profile that it knows of is loaded, and comes first.
    unload("pod");
    let option = ["--security-opt", "apparmor=pod"];
    let both = [&option[..], &["--annotation", "oci-apparmor/profile=pod"]].concat();
    let done = run_rm("crun", &both, &CURRENT);
    let why = "AppArmor profile \"pod\" specified but not loaded";
    assert!(done.code == 126 && done.err.contains(why), "{done:?}");
    // What the preload unit does at boot.
    run(cli(), ["load", "--all"]).ok();
    for runtime in RUNTIMES {
        let done = run_rm(runtime, &option, &CURRENT);
        assert_eq!(done.ok(), "pod (enforce)\n");
    }
    assert_eq!(records(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn what_the_node_demands_holds_for_containers_and_their_execs() {
    let _node = node();
    let names = named("node");
    let _cleanup = Cleanup::of(&names);
    profile("node-default");
    profile("node-floor");
    let config = |text: &str| std::fs::write(CONFIG, text).unwrap();
    for (runtime, name) in RUNTIMES.iter().zip(&names) {
        // podman names no profile for a privileged container.
        config("default_profile = \"node-default\"\n");
        let done = run_rm(runtime, &["--privileged"], &CURRENT);
        assert_eq!(done.ok(), "node-default (enforce)\n");
        config("floor = \"node-floor\"\n");
        serve(&wrapper(runtime), &["run", "--detach"], name, &[]).ok();
        let own = label_of(name);
        assert!(own.starts_with("containers-default-"), "{own}");
        assert!(own.ends_with("//&node-floor (enforce)"), "{own}");
        assert_eq!(exec_label(name), own);
    }
}

#[test]
fn a_refusal_reaches_the_user_and_leaves_nothing() {
    let _node = node();
    let names = named("refused");
    let _cleanup = Cleanup::of(&names);
    for (runtime, name) in RUNTIMES.iter().zip(&names) {
        let missing = ["--annotation", "oci-apparmor/profile=nosuch"];
        let why = [
            "nosuch",
            "is not loaded, and there is no file",
            "create of container",
        ];
        let done = run_rm(
            runtime,
            &[&missing[..], &["--name", name]].concat(),
            &CURRENT,
        );
        done.refused(&why);
        assert_eq!((done.code, done.out.as_str()), (126, ""), "{done:?}");
        // With create, the runtime is only called by start.
        serve(&wrapper(runtime), &["create"], name, &missing).ok();
        let done = podman(&["start", name]);
        done.refused(&why);
        assert_eq!((done.code, done.out.as_str()), (125, ""), "{done:?}");
        assert_eq!(inspect("{{.State.Running}}", &[name]), ["false"]);
        profile("nosuch");
        podman(&["start", name]).ok();
        assert_eq!(label_of(name), "nosuch (enforce)");

        // Gone from the kernel and from the disk: nothing is exec'ed any more.
        std::fs::remove_file(Path::new(PROFILES).join("nosuch")).unwrap();
        unload("nosuch");
        let done = podman(&["exec", name, "true"]);
        done.refused(&[
            "nosuch",
            "is not loaded, and there is no file",
            "exec of container",
        ]);
        // What podman ends with when a runtime fails to exec, but for what it knows by name.
        assert_eq!((done.code, done.out.as_str()), (255, ""), "{done:?}");
        // podman can still get rid of it.
        podman(&["rm", "--force", "--time", "0", name]).ok();
    }
    assert_eq!(records(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn hooks_alone_load_and_set_the_profile() {
    let _node = node();
    let hooks = "/var/lib/oci-apparmor-tests/hooks";
    let _ = std::fs::remove_dir_all(hooks);
    std::fs::create_dir_all(hooks).unwrap();
    for (file, stage) in [
        ("hooks/oci-apparmor.json", "runtime"),
        ("hooks/podman/oci-apparmor-precreate.json", "pre"),
    ] {
        let text =
            std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let hook = Path::new(HOOK);
        let text = text.replace("@LIBEXECDIR@", super::text(hook.parent().unwrap()));
        std::fs::write(format!("{hooks}/{stage}.json"), text).unwrap();
    }
    let annotation = ["--annotation", "oci-apparmor/profile=hooked"];
    let hooked = |runtime: &str, options: &[&str]| {
        let before = ["--runtime", runtime, "--hooks-dir", hooks, "run", "--rm"];
        let words = [
            &before[..],
            &["--network=none"],
            options,
            &[IMAGE],
            &CURRENT,
        ];
        podman(&words.concat())
    };
    for runtime in RUNTIMES {
        profile("hooked");
        assert_eq!(hooked(runtime, &annotation).ok(), "hooked (enforce)\n");
        // Beside the wrapper they do no harm.
        if runtime == one_runtime() {
            let both = hooked(text(&wrapper(runtime)), &annotation);
            assert_eq!(both.ok(), "hooked (enforce)\n");
        }
        unload("hooked");
        std::fs::remove_file(format!("{PROFILES}/hooked")).unwrap();
        let refused = hooked(runtime, &annotation);
        // podman drops what this hook prints; the exit code is its only word.
        assert!(
            refused.code == 126 && refused.err.contains("exit status 3"),
            "{refused:?}"
        );
    }
    // The other hook alone: podman has the profile in mind, and has to find it loaded.
    std::fs::remove_file(format!("{hooks}/pre.json")).unwrap();
    let refused = hooked("runc", &annotation);
    assert_ne!(refused.code, 0);
    // runc passes on what a hook says.
    assert!(refused.err.contains("hooked"), "{refused:?}");
    // One whose program is gone is ignored without a word: that is podman's doing, and what `check`
    // is for.
    let (file, gone) = (
        format!("{hooks}/runtime.json"),
        format!("{hooks}/gone.json"),
    );
    let sound = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&gone, sound.replace("/oci-apparmor-hook\"", "/gone\"")).unwrap();
    std::fs::remove_file(&file).unwrap();
    let done = hooked("runc", &annotation);
    assert!(done.out.starts_with("containers-default-"), "{done:?}");
    assert_eq!(done.err, "", "{done:?}");
    let conf = "/etc/containers/containers.conf";
    std::fs::write(conf, format!("[engine]\nhooks_dir = [\"{hooks}\"]\n")).unwrap();
    let said = run(cli(), ["check"]).out;
    std::fs::remove_file(conf).unwrap();
    let finding = said.lines().find(|line| line.contains(&gone));
    let words = "does not exist: podman ignores the hook";
    assert!(
        finding.is_some_and(|line| line.starts_with("failure") && line.contains(words)),
        "{said}"
    );
    std::fs::rename(&gone, &file).unwrap();
    std::fs::write(&file, sound).unwrap();
    // The shared directory's hook is accepted by podman build, and so is the wrapper.
    let context = "/var/lib/oci-apparmor-tests/build";
    std::fs::create_dir_all(context).unwrap();
    std::fs::write(
        format!("{context}/Containerfile"),
        format!("FROM {IMAGE}\nRUN cat /proc/self/attr/current\n"),
    )
    .unwrap();
    let build = |runtime: &str| {
        let words = ["--hooks-dir", hooks, "--runtime", runtime, "build"];
        let more = ["--network=none", "--no-cache", "--quiet=false", context];
        let done = podman(&[&words[..], &more].concat());
        let out = done.ok();
        let last = out
            .lines()
            .find(|line| line.contains("COMMIT") || line.len() == 64);
        assert!(last.is_some(), "{out}");
        out.lines().take(3).map(str::to_owned).collect::<Vec<_>>()
    };
    let runtime = one_runtime();
    assert_eq!(build(text(&wrapper(runtime))), build(runtime));
}
