//! Without root nothing is loaded; what is loaded is used.

use crate::support::*;

/// crun through the wrapper, as uid 1000.
fn crun(words: &[&str]) -> Done {
    let wrapper = wrapper("crun");
    let before = [
        "--reuid=1000",
        "--regid=1000",
        "--clear-groups",
        "env",
        "XDG_RUNTIME_DIR=/run/user/1000",
        wrapper.to_str().unwrap(),
        "--cgroup-manager=disabled",
    ];
    run_detached("setpriv".as_ref(), [&before, words].concat())
}

#[test]
fn a_loaded_profile_is_used_and_a_missing_one_is_asked_for() {
    let _world = world();
    profile("user");
    let mut bundle = Bundle::annotated(
        "user",
        &["/bin/sleep", "1000"],
        &[("oci-apparmor/profile", "user")],
    );
    let rootless = run("crun", ["spec", "--rootless", "--bundle", "/run"]);
    rootless.ok();
    let spec = std::fs::read("/run/config.json").unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&spec).unwrap();
    for key in ["process", "root", "annotations"] {
        config[key] = bundle.config[key].clone();
    }
    bundle.config = config;
    bundle.write();
    run("chown", ["-R", "1000:1000", bundle.path.to_str().unwrap()]).ok();
    run(
        "install",
        [
            "-d",
            "-o",
            "1000",
            "-g",
            "1000",
            "-m",
            "0700",
            "/run/user/1000",
        ],
    )
    .ok();

    let path = bundle.path.to_str().unwrap();
    let start = ["run", "-d", "-b", path, "user"];
    crun(&start).refused(&["not loaded", "only root", "oci-apparmor load user"]);
    load(&profile_text("user", ""));
    crun(&start).ok();
    let label = crun(&["exec", "user", "/bin/cat", "/proc/self/attr/current"]).ok();
    assert_eq!(label, "user (enforce)\n");
    crun(&["delete", "--force", "user"]).ok();
    assert_eq!(
        run(
            "find",
            ["/run/user/1000/oci-apparmor/containers", "-type", "f"]
        )
        .ok(),
        ""
    );
}
