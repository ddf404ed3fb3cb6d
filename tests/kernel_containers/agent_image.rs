//! The image of the agent under podman and containerd, with the agent's own profile.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use crate::containerd_client::Containerd;
use crate::support::containers::*;
use crate::support::made_packages::made_package;

const NAME: &str = "oci-apparmor-agent";
const AGENT: &str = "/usr/bin/oci-apparmor-agent";
const ANNOTATION: &str = "oci-apparmor/profile=oci-apparmor-agent";
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const SPOOL: &str = "/var/lib/oci-apparmor/spool";
/// Where a pod is told that the API server is. None is there.
const HOST: &str = "KUBERNETES_SERVICE_HOST=127.0.0.1";
const PORT: &str = "KUBERNETES_SERVICE_PORT=9";

/// The node of an agent: its profile, its spool, and how it finds the API server. Nothing where the
/// image was not made.
fn node() -> Option<(String, [String; 2])> {
    let tag = format!("localhost/oci-apparmor:{}", env!("CARGO_PKG_VERSION"));
    let name = format!(
        "oci-apparmor-{}-linux-amd64.oci.tar",
        env!("CARGO_PKG_VERSION")
    );
    let archive = made_package(&name)?;
    source(NAME, include_str!("../../deploy/node/oci-apparmor-agent"));
    let base = Path::new("/var/lib/oci-apparmor-tests/agent");
    let [spool, account] = ["spool", "account"].map(|name| base.join(name));
    for directory in [base, &spool, &account] {
        fs::create_dir_all(directory).unwrap();
        fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
    }
    chown(&spool, Some(65532), Some(65532)).unwrap();
    let certificate = include_str!("../data/api_server/ca.crt");
    for (name, text) in [
        ("token", "none"),
        ("namespace", "oci-apparmor"),
        ("ca.crt", certificate),
    ] {
        fs::write(account.join(name), text).unwrap();
    }
    let [spool, account] = [spool, account].map(|path| path.to_str().unwrap().to_owned());
    run(
        "podman",
        ["load", "--quiet", "--input", archive.to_str().unwrap()],
    )
    .ok();
    Some((tag, [spool, account]))
}

/// It is the agent, confined by its own profile, and it waits for the API server.
fn waits_confined(pid: &str, said: impl Fn() -> String) {
    let of = |name: &str| {
        fs::read_to_string(format!("/proc/{}/{name}", pid.trim()))
            .unwrap_or_else(|_| panic!("the agent has ended: {}", said()))
    };
    let label = of("attr/apparmor/current");
    assert_eq!(label.trim(), "oci-apparmor-agent (enforce)");
    let status = of("status");
    for line in [
        "Uid:\t65532\t65532\t65532\t65532",
        "CapEff:\t0000000000000000",
    ] {
        assert!(status.lines().any(|is| is == line), "{status}");
    }
    wait_for(|| {
        let said = said();
        assert!(
            !said.lines().any(|line| line.starts_with("error: ")),
            "{said}"
        );
        said.contains("cannot follow AppArmorProfile objects")
    });
    assert!(
        said().contains("ConfigMaps in namespace oci-apparmor"),
        "{}",
        said()
    );
}

#[test]
fn podman_runs_the_image_under_the_agents_own_profile() {
    let _world = world();
    let Some((tag, [spool, account])) = node() else {
        return;
    };
    let mounts = [
        format!("{spool}:{SPOOL}"),
        format!("{account}:{ACCOUNT}:ro"),
    ];
    let wrapper = wrapper("crun");
    let podman = |words: &[&str]| {
        let first = ["--runtime", wrapper.to_str().unwrap()];
        run("podman", [&first[..], words].concat())
    };
    let options = [
        "run",
        "-d",
        "--name",
        "agent",
        "--network=none",
        "--read-only",
        "--read-only-tmpfs=false",
        "--cap-drop=all",
        "--annotation",
        ANNOTATION,
        "--env",
        HOST,
        "--env",
        PORT,
    ];
    let volumes = ["--volume", &mounts[0], "--volume", &mounts[1], &tag];
    podman(&[&options[..], &volumes].concat()).ok();
    let pid = podman(&["inspect", "--format", "{{.State.Pid}}", "agent"]).ok();
    waits_confined(&pid, || {
        let logs = podman(&["logs", "agent"]);
        logs.out + &logs.err
    });
    let version = podman(&["exec", "agent", AGENT, "--version"]).ok();
    assert_eq!(version, format!("{NAME} {}\n", env!("CARGO_PKG_VERSION")));
    // Other files of the image are out of its reach, which a program without a profile reads.
    let reads = [
        "/usr/bin/oci-apparmor",
        "denials",
        "/usr/share/doc/oci-apparmor/LICENSE",
    ];
    let denied = podman(&[&["exec", "agent"][..], &reads].concat());
    assert_ne!(denied.code, 0, "{denied:?}");
    assert!(denied.err.contains(reads[2]), "{denied:?}");
    let licence = concat!(env!("CARGO_MANIFEST_DIR"), "/LICENSE");
    run(CLI, ["denials", licence]).ok();
    // SIGTERM ends it.
    podman(&["stop", "-t", "20", "agent"]).ok();
    let code = podman(&["inspect", "--format", "{{.State.ExitCode}}", "agent"]).ok();
    assert_eq!(code, "0\n");
    podman(&["rm", "agent"]).ok();
    run("podman", ["rmi", &tag]).ok();
}

#[test]
fn containerd_runs_the_image_under_the_agents_own_profile() {
    let _world = world();
    let Some((tag, [spool, account])) = node() else {
        return;
    };
    let name = format!(
        "oci-apparmor-{}-linux-amd64.oci.tar",
        env!("CARGO_PKG_VERSION")
    );
    let _containerd = Containerd::start();
    let archive = made_package(&name).unwrap();
    run("ctr", ["images", "import", archive.to_str().unwrap()]).ok();
    let listed = run("ctr", ["images", "ls", "-q"]).ok();
    assert_eq!(listed.trim(), tag);
    let mount = |from: &str, to: &str, mode: &str| {
        format!("type=bind,src={from},dst={to},options=rbind:{mode}")
    };
    let mounts = [mount(&spool, SPOOL, "rw"), mount(&account, ACCOUNT, "ro")];
    let wrapper = wrapper("runc");
    let log = "/run/agent.log";
    let logged = format!("file://{log}");
    let words = [
        "run",
        "-d",
        "--runc-binary",
        wrapper.to_str().unwrap(),
        "--annotation",
        ANNOTATION,
        "--read-only",
        "--log-uri",
        &logged,
        "--env",
        HOST,
        "--env",
        PORT,
        "--mount",
        &mounts[0],
        "--mount",
        &mounts[1],
        &tag,
        "agent",
    ];
    run("ctr", words).ok();
    let tasks = run("ctr", ["task", "ls"]).ok();
    let task = tasks
        .lines()
        .find(|line| line.starts_with("agent "))
        .unwrap();
    let pid = task.split_whitespace().nth(1).unwrap();
    waits_confined(pid, || fs::read_to_string(log).unwrap_or_default());
    run("ctr", ["task", "rm", "-f", "agent"]).ok();
    run("ctr", ["container", "rm", "agent"]).ok();
    run("ctr", ["images", "rm", &tag]).ok();
}
