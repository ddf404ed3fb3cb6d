//! Runtimes with a label of their own, as AppArmor 4 gives them: a profile must let them signal.

use super::*;

/// A profile with this rule about signals beside those of `abstractions/base`.
fn with_rule(rule: &str) -> String {
    format!(
        "abi <abi/3.0>,\n#include <tunables/global>\n\
         profile mute flags=(attach_disconnected) {{\n\
           #include <abstractions/base>\n\
           network,\n capability,\n file,\n umount,\n mount,\n ptrace,\n{rule}}}\n"
    )
}

#[test]
fn a_container_is_stopped_if_its_profile_lets_the_runtime_signal() {
    let _node = node();
    let names = named("mute");
    let _cleanup = Cleanup::of(&names);
    let annotation = ["--annotation", "oci-apparmor/profile=mute"];
    let lint = || run(cli(), ["lint", &format!("{PROFILES}/mute")]);
    let start = |text: &str| {
        source("mute", text);
        for (runtime, name) in RUNTIMES.iter().zip(&names) {
            serve(&wrapper(runtime), &["run", "--detach"], name, &annotation).ok();
            assert_eq!(label_of(name), "mute (enforce)");
        }
    };
    let labelled = Release::current() == Release::Trixie;

    start(&with_rule(""));
    let said = lint();
    assert!(said.out.contains("signal (receive) peer="), "{said:?}");
    for (runtime, name) in RUNTIMES.iter().zip(&names) {
        let pid = pid_of(name);
        let done = podman(&["kill", "--signal", "USR1", name]);
        if labelled {
            assert!(
                done.code != 0 && done.err.contains("ermission denied"),
                "{done:?}"
            );
            assert!(Path::new("/proc").join(&pid).exists());
            let log = run("dmesg", [""; 0]).ok();
            let denied = format!(
                "requested_mask=\"receive\" denied_mask=\"receive\" signal=usr1 peer=\"{runtime}\""
            );
            assert!(log.contains(&denied), "{denied} is not in {log}");
            run("kill", ["-KILL", &pid]).ok();
        } else {
            done.ok();
        }
    }
    all(&["wait"], &names).ok();
    all(&["rm", "--force", "--time", "0"], &names).ok();

    start(&with_rule("  signal (receive) peer={runc,crun,podman},\n"));
    assert!(!lint().out.contains("signal (receive) peer="));
    all(&["stop", "--time", "5"], &names).ok();
    let [one, other] = names.each_ref().map(String::as_str);
    assert_eq!(inspect("{{.State.ExitCode}}", &[one, other]), ["4", "4"]);
}
