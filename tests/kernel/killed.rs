//! The wrapper killed at any of its system calls leaves a configuration that is old or new.

use std::fs;

use crate::support::*;

#[test]
fn the_configuration_is_never_torn() {
    let _world = world();
    profile("kill");
    load(&profile_text("kill", ""));
    let bundle = Bundle::annotated("kill", &["/bin/true"], &[("oci-apparmor/profile", "kill")]);
    let old = fs::read(bundle.config_json()).unwrap();
    let path = bundle.path.to_str().unwrap();
    // Those that change or move files, and the exec itself.
    let calls = "openat,write,rename,renameat,unlink,fchmod,fchown,ftruncate,close,mkdir,execve";
    let wrapper = wrapper("crun");
    let attempt = |when: usize| {
        let inject = format!("inject={calls}:signal=KILL:when={when}");
        let words = [
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={calls}"),
            "-e",
            &inject,
            wrapper.to_str().unwrap(),
            "create",
            "--bundle",
            path,
            "kill",
        ];
        run("strace", words)
    };
    let mut seen_new = false;
    for when in 2.. {
        fs::write(bundle.config_json(), &old).unwrap();
        attempt(when);
        let now = fs::read(bundle.config_json()).unwrap();
        if now != old {
            assert_eq!(
                bundle.profile_on_disk().as_deref(),
                Some("kill"),
                "call {when}"
            );
            seen_new = true;
        }
        // Killed late, crun itself has been reached.
        let reached = run("crun", ["state", "kill"]).code == 0 || when > 400;
        run("crun", ["delete", "--force", "kill"]);
        if reached || (seen_new && now != old && record_of("kill").is_some()) {
            break;
        }
    }
    assert!(seen_new, "the configuration was never written");
    let left: Vec<_> = fs::read_dir(&bundle.path)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(left.len() < 60, "{left:?}");
    run(&wrapper, ["delete", "--force", "kill"]);
}
