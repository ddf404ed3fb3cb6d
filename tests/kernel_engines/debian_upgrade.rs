//! The Debian package while a container lives: an upgrade changes nothing for it, and a removal is
//! refused.

use crate::containerd::{Containerd, WIRING, install, label_runtimes, without_new_privileges};
use crate::support::containers::*;
use crate::support::made_packages::made_package;

/// The wrapper as the package installs it.
const WRAPPER: &str = "/usr/libexec/oci-apparmor/runc";

fn dpkg(words: &[&str]) -> Done {
    run("dpkg", words)
}

#[test]
fn a_container_outlives_an_upgrade_of_the_package_and_stops_its_removal() {
    let _world = world();
    let packages = ["light-1.deb", "light-2.deb"].map(made_package);
    let [Some(first), Some(second)] = packages else {
        return;
    };
    install();
    label_runtimes();
    let _containerd = Containerd::start_with(WIRING);
    dpkg(&["--install", first.to_str().unwrap()]).ok();
    profile("packaged");
    let rootfs = rootfs();
    let words = [
        "run",
        "-d",
        "--runc-binary",
        WRAPPER,
        "--annotation",
        "oci-apparmor/profile=packaged",
        "--rootfs",
        rootfs.to_str().unwrap(),
        "packaged",
        "/bin/sleep",
        "1000",
    ];
    run("ctr", words).ok();
    let label = format!("{}\n", without_new_privileges("runc", "packaged"));
    let exec = || {
        let cat = [
            "/bin/cat",
            "/proc/1/attr/current",
            "/proc/self/attr/current",
        ];
        run(
            "ctr",
            [&["task", "exec", "--exec-id", "e", "packaged"][..], &cat].concat(),
        )
        .ok()
    };
    assert_eq!(exec(), label.repeat(2));

    let refused = dpkg(&["--remove", "oci-apparmor"]);
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(
        refused.err.contains("oci-apparmor: not removed: these containers were made through it and are not deleted yet: packaged; delete them"),
        "{refused:?}"
    );
    dpkg(&["--install", second.to_str().unwrap()]).ok();
    let version = run(
        "dpkg-query",
        ["--show", "--showformat=${Version}", "oci-apparmor"],
    )
    .ok();
    assert!(version.ends_with("-2"), "{version}");
    assert_eq!(exec(), label.repeat(2));

    run("ctr", ["task", "kill", "-s", "KILL", "packaged"]).ok();
    wait_for(|| run("ctr", ["task", "ls"]).out.contains("STOPPED"));
    run("ctr", ["task", "rm", "packaged"]).ok();
    run("ctr", ["container", "rm", "packaged"]).ok();
    assert_eq!(record_of("packaged"), None);

    // It takes back what `configure` wrote, and containerd has to know before the programs go.
    let refused = dpkg(&["--remove", "oci-apparmor"]);
    assert!(
        refused
            .out
            .contains("now run: systemctl restart containerd")
            && refused.err.contains("not removed: restart the engines"),
        "{refused:?}"
    );
    dpkg(&["--remove", "oci-apparmor"]).ok();
    assert!(!std::path::Path::new(WRAPPER).exists());
    // What runs under it, would run unconfined for ever.
    assert_eq!(loaded("packaged").as_deref(), Some("packaged (enforce)"));
}
