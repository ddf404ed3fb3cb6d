//! Without root nothing is loaded; what is loaded is used.

use crate::support::containers::*;

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

/// A bundle of uid 1000 that runs without root.
fn bundle(annotations: &[(&str, &str)]) -> Bundle {
    let mut bundle = Bundle::annotated("user", &["/bin/sleep", "1000"], annotations);
    let rootless = run("crun", ["spec", "--rootless", "--bundle", "/run"]);
    rootless.ok();
    let spec = std::fs::read("/run/config.json").unwrap();
    std::fs::remove_file("/run/config.json").unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&spec).unwrap();
    for key in ["process", "root", "annotations"] {
        config[key] = bundle.config[key].clone();
    }
    bundle.config = config;
    bundle.write();
    run("chown", ["-R", "1000:1000", bundle.path.to_str().unwrap()]).ok();
    bundle
}

#[test]
fn a_loaded_profile_is_used_and_a_missing_one_is_asked_for() {
    let _world = world();
    profile("user");
    let bundle = bundle(&[("oci-apparmor/profile", "user")]);
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

/// As in an unprivileged container of LXC: the root of a user namespace, with a /run of its own.
fn system(script: &str) -> Done {
    let crun = wrapper("crun");
    let crun = crun.to_str().unwrap();
    let script = format!(
        "mount -t tmpfs -o mode=755 tmpfs /run && crun() {{ {crun} --cgroup-manager=disabled \"$@\"; }}; {script}"
    );
    let words = [
        "--reuid=1000",
        "--regid=1000",
        "--clear-groups",
        "env",
        "-i",
    ];
    let path = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"];
    let unshare = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
    ];
    let all = [&words[..], &path, &unshare, &[&script]].concat();
    run_detached("setpriv".as_ref(), all)
}

#[test]
fn a_system_in_a_user_namespace_keeps_its_records_in_its_own_run() {
    let _world = world();
    profile("user");
    load(&profile_text("user", ""));
    let asks = bundle(&[("oci-apparmor/profile", "user")]);
    let path = asks.path.to_str().unwrap();
    let done = system(&format!(
        "crun run -d -b {path} user && ls /run/oci-apparmor/containers/*/user && \
         crun exec user /bin/cat /proc/self/attr/current && \
         crun delete --force user && find /run/oci-apparmor/containers -type f"
    ));
    let out = done.ok();
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        matches!(lines[..], [record, "user (enforce)"] if record.ends_with("/user")),
        "{out}"
    );
    // Without a /run of its own there is no place: what asks for nothing goes on.
    let asks_nothing = bundle(&[]);
    let path = asks_nothing.path.to_str().unwrap();
    let elsewhere = "umount /run; root=$(mktemp -d); oci() { crun --root=$root \"$@\"; }";
    let done = system(&format!(
        "{elsewhere}; oci run -d -b {path} user && oci exec user /bin/cat /proc/self/attr/current \
         && oci delete --force user && ls $root"
    ));
    assert!(done.ok().starts_with("unconfined"));
    let asks = bundle(&[("oci-apparmor/profile", "user")]);
    let path = asks.path.to_str().unwrap();
    system(&format!("{elsewhere}; oci run -d -b {path} user")).refused(&[
        "there is no directory for container records",
        "export XDG_RUNTIME_DIR=/run/user/1000",
    ]);
    unload("user");
}
