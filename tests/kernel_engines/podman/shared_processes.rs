//! A pod whose containers share a process namespace.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// The real program behind a wrapper that takes the label away from `create`, which is found out
/// when the container runs.
fn sabotage(runtime: &str) {
    let program = wrapper("sabotage");
    let real = run("sh", ["-c", &format!("command -v {runtime}")]).ok();
    let text = format!(
        "#!/bin/sh\nbundle= call=\nfor word; do\n case $word in\n create) call=create ;;\n \
         --bundle=*) bundle=${{word#*=}} ;;\n esac\ndone\n\
         [ -z \"$call\" ] || {{ jq 'del(.process.apparmorProfile)' \"$bundle/config.json\" \
         >/run/edited && cat /run/edited >\"$bundle/config.json\"; }}\nexec {} \"$@\"\n",
        real.trim()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!("[runtimes]\n{runtime} = {program:?}\n");
    fs::write(CONFIG, config).unwrap();
}

#[test]
fn containers_that_share_processes_are_verified_separately() {
    let _node = node();
    // podman 4.3 without systemd forbids all devices to a pod of root's, /dev/null too.
    if Release::current() == Release::Bookworm {
        eprintln!("NOT RUN with podman 4.3, which starts no such pod without systemd");
        return;
    }
    let runtime = one_runtime();
    let names = ["near-1", "near-2", "near-3"].map(str::to_owned);
    profile("near");
    profile("far");
    with(
        runtime,
        &[
            "pod",
            "create",
            "--name=near",
            "--share=pid",
            "--network=none",
        ],
    )
    .ok();
    let serve = |name: &str, profile: &str| {
        let annotation = format!("oci-apparmor/profile={profile}");
        let options = ["--pod=near", "--annotation", &annotation];
        let before = ["run", "--detach", "--name", name];
        let pid = format!("--pidfile={}", pid_file(name));
        let words = [&before[..], &[&pid], &options, &[IMAGE], &SERVER].concat();
        with(runtime, &words)
    };
    serve(&names[0], "near").ok();
    serve(&names[1], "far").ok();
    // Each has its own label, and none is taken for an escaped process of another.
    let ps = run(cli(), ["ps"]);
    assert_eq!(ps.code, 0, "{ps:?}");
    assert!(
        ps.out.contains("running") && !ps.out.contains("! process"),
        "{ps:?}"
    );
    // One is put down; the pod and the others live on.
    sabotage(runtime);
    let third = serve(&names[2], "far");
    fs::remove_file(CONFIG).unwrap();
    third.refused(&["start of container", "far", "killed and deleted"]);
    assert_eq!(label_of(&names[0]), "near (enforce)");
    assert_eq!(label_of(&names[1]), "far (enforce)");
    let running = inspect("{{.State.Running}}", &[&names[0], &names[1]]);
    assert_eq!(running, ["true", "true"]);
    podman(&["pod", "rm", "--force", "--time=0", "near"]).ok();
}
