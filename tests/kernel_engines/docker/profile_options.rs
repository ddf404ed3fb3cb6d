//! Each way that docker has to name a profile, and what its user hears of a refusal.

use super::*;

/// The container's first process and every exec run under the profile, which was only a file.
#[track_caller]
fn is_confined(name: &str, profile: &str, shown: &str) {
    assert_eq!(loaded(profile), Some(format!("{profile} (enforce)")));
    assert_eq!(label_of(&inspect(name)), shown);
    // docker sends what it knows itself: the profile that it was told, or docker-default.
    assert_eq!(exec(name, &CURRENT).ok().trim_end(), shown);
    let write = exec(name, &["touch", "/data/x"]);
    assert!(
        write.code == 1 && write.err.contains("Permission denied"),
        "{write:?}"
    );
}

#[test]
fn a_profile_is_named_by_security_opt() {
    let _node = docker_node();
    profile("web");
    let options = ["-d", "--name=web", "--security-opt=apparmor=web"];
    docker_run(&options, &FOREVER).ok();
    is_confined("web", "web", "web (enforce)");
    // In a terminal, too.
    let words = [&["exec", "-t", "web"], &CURRENT[..]].concat();
    assert_eq!(docker(&words).ok(), "web (enforce)\r\n");
    // The profile goes and comes back with the next exec; with its file gone, there is none.
    unload("web");
    assert_eq!(exec("web", &CURRENT).ok(), "web (enforce)\n");
    unload("web");
    fs::remove_file(Path::new(PROFILES).join("web")).unwrap();
    let refused = exec("web", &CURRENT);
    // Newer ones print it where the output of the command would be.
    let said = refused.out + &refused.err;
    Done {
        err: said,
        out: String::new(),
        ..refused
    }
    .refused(&["exec of container", "web"]);
    remove("web");

    // crun gains no privileges, and stacks where it has a label.
    profile("web");
    let options = [
        "-d",
        "--name=web",
        "--runtime=with-crun",
        "--security-opt=apparmor=web",
        "--security-opt=no-new-privileges",
    ];
    docker_run(&options, &FOREVER).ok();
    is_confined("web", "web", &shown("crun", "web"));
    remove("web");
}

#[test]
fn a_profile_is_named_by_an_annotation() {
    let _node = docker_node();
    profile("noted");
    let options = [
        "-d",
        "--name=noted",
        "--annotation=oci-apparmor/profile=noted",
    ];
    let done = docker_run(&options, &FOREVER);
    if Release::current() == Release::Bookworm {
        // docker has this option since version 24.
        assert!(done.err.contains("unknown flag: --annotation"), "{done:?}");
        return;
    }
    done.ok();
    is_confined("noted", "noted", "noted (enforce)");
    remove("noted");
    let options = ["--rm", "--annotation=oci-apparmor/profile=nosuch"];
    docker_run(&options, &["true"]).refused(&["nosuch", "create of container"]);
    let options = ["--rm", "--annotation=oci-apparmor/profile=unconfined"];
    docker_run(&options, &["true"]).refused(&["unconfined", "create of container"]);
    nothing_is_left();
}

#[test]
fn a_profile_is_named_by_the_node() {
    let _node = docker_node();
    profile("below");
    fs::write(CONFIG, "floor = \"below\"\ndefault_profile = \"below\"\n").unwrap();
    docker_run(&["-d", "--name=node"], &FOREVER).ok();
    // docker always chooses a profile, so `default_profile` has no say; the floor has.
    let both = "below//&docker-default (enforce)";
    is_confined("node", "below", both);
    remove("node");
    let options = ["--rm", "--security-opt=apparmor=unconfined"];
    assert_eq!(docker_run(&options, &CURRENT).ok(), "below (enforce)\n");
    nothing_is_left();
}

#[test]
fn a_refusal_reaches_the_user_and_leaves_nothing() {
    let _node = docker_node();
    let options = ["--rm", "--name=none", "--security-opt=apparmor=nosuch"];
    let done = docker_run(&options, &["true"]);
    done.refused(&[
        "nosuch",
        "is not loaded, and there is no file",
        "create of container",
    ]);
    assert!(done.err.contains("OCI runtime create failed"), "{done:?}");
    assert_eq!(done.code, 125);
    assert_eq!(docker(&["ps", "-aq", "--filter=name=none"]).ok(), "");
    nothing_is_left();
}

#[test]
fn a_profile_that_the_runtime_may_not_signal_is_not_stopped() {
    let _node = docker_node();
    // What <abstractions/base> has is enough for a runtime without a label.
    let text = full_profile_text("stay").replace(" signal,", "");
    source("stay", &text);
    let options = ["-d", "--name=stay", "--security-opt=apparmor=stay"];
    docker_run(&options, &FOREVER).ok();
    let signal = || docker(&["kill", "-s", "TERM", "stay"]);
    if Release::current() == Release::Trixie {
        let refused = signal();
        assert!(
            refused.code != 0 && refused.err.contains("permission denied"),
            "{refused:?}"
        );
        let path = format!("{PROFILES}/stay");
        let lint = run(CLI, ["lint", &path]);
        assert!(
            lint.out.contains("SIGTERM and SIGKILL from runc"),
            "{lint:?}"
        );
        fs::write(&path, full_profile_text("stay")).unwrap();
        run(CLI, ["load", "stay"]).ok();
    }
    signal().ok();
    wait_long(|| inspect("stay")["State"]["Running"] == false);
    remove("stay");
}
