//! The agent under the profile of `deploy/node`, as the pod of `deploy/base` has it: a user without
//! capabilities, a root that is read-only, and nothing but its program and the spool.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::containers::*;
use crate::support::programs::program;

const NAME: &str = "oci-apparmor-agent";
const AGENT: u32 = 65532;

/// The certificate of an authority, which the agent reads at its start. Its key is gone.
const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBcTCCARegAwIBAgIUOMJ83hUH6mPXDeUMUt1pVb+TQRQwCgYIKoZIzj0EAwIw
DTELMAkGA1UEAwwCY2EwIBcNMjYxMTI2MjEyMDI5WhgPMjEyNjExMDIyMTIwMjla
MA0xCzAJBgNVBAMMAmNhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEn0QGqt71
blwURUOW8kbtL1vpYKMNvXTsn1tTzv5iaYIu01EclJeOLmZz1DJ/1B/eesyF4MhS
9UGH2pkGKD6+IKNTMFEwHQYDVR0OBBYEFH1IkJSp3z6I3biZb1P4wLyzmIAVMB8G
A1UdIwQYMBaAFH1IkJSp3z6I3biZb1P4wLyzmIAVMA8GA1UdEwEB/wQFMAMBAf8w
CgYIKoZIzj0EAwIDSAAwRQIhAIYy7bzMHcyUYIe9KXhNcvTqVZ5z62GzCoQ/OveX
bTUzAiBygnskbXoQdQtZJCIICCmtPiZplub62ZknOrG57HtdrQ==
-----END CERTIFICATE-----
";

/// The objects that the stand-in for an API server streams, and then nothing more.
fn stream(path: &str) -> Option<String> {
    const GROUP: &str = "security-profiles-operator.x-k8s.io/v1";
    let profile = json!({
        "apiVersion": GROUP, "kind": "AppArmorProfile",
        "metadata": {"name": "cluster-api", "resourceVersion": "5", "uid": "u"},
        "spec": {"abstract": {"filesystem": {"readOnlyPaths": ["/etc/**"]}}},
    });
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "m", "namespace": "ours", "resourceVersion": "5", "uid": "v",
            "labels": {"oci-apparmor/profile": "true"}},
        "data": {"cluster-raw": "profile cluster-raw { file, }\n"},
    });
    let object = match path {
        path if path.contains("/apparmorprofiles?") => profile,
        path if path.contains("/configmaps?") => map,
        _ => return None,
    };
    let end = json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"],
        "metadata": {"resourceVersion": "6", "annotations": {"k8s.io/initial-events-end": "true"}},
    });
    let added = json!({"type": "ADDED", "object": object});
    let end = json!({"type": "BOOKMARK", "object": end});
    Some(format!("{added}\n{end}\n"))
}

fn answer(mut connection: TcpStream) -> Option<()> {
    let mut lines = BufReader::new(connection.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    let path = first.split(' ').nth(1)?;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    match stream(path) {
        Some(text) => {
            let size = text.len();
            let head = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
            write!(connection, "{head}{size:x}\r\n{text}\r\n").ok()?;
            // A watch in which nothing happens, until the agent ends it.
            lines.next()?.ok().map(drop)
        }
        None => {
            let text = json!({
                "kind": "APIResourceList", "apiVersion": "v1",
                "groupVersion": "security-profiles-operator.x-k8s.io/v1",
                "resources": [{"name": "apparmorprofiles", "singularName": "apparmorprofile",
                    "namespaced": false, "kind": "AppArmorProfile", "verbs": ["list", "watch"]}],
            });
            let text = text.to_string();
            let size = text.len();
            let head = format!("{head}Connection: close\r\nContent-Length: {size}\r\n\r\n");
            write!(connection, "{head}{text}").ok()
        }
    }
}

/// Serves until the test program ends; returns the port.
fn api_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for connection in listener.incoming() {
            thread::spawn(move || answer(connection.unwrap()));
        }
    });
    port
}

/// The image of the agent. The program of a release is static; this one needs libraries.
fn image(base: &Path) -> PathBuf {
    let root = base.join("root");
    for directory in [
        "usr/bin",
        "usr/lib",
        "usr/lib64",
        "proc",
        "dev",
        "sys",
        "elsewhere",
        "var/lib/oci-apparmor/spool",
        "run/secrets/kubernetes.io/serviceaccount",
    ] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy(program(NAME), root.join("usr/bin").join(NAME)).unwrap();
    for name in ["lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    root
}

/// The bundle of the pod.
fn bundle(base: &Path, root: &Path, port: u16, options: &[&str]) -> Bundle {
    let secrets = base.join("secrets");
    let spool = base.join("spool");
    for directory in [&secrets, &spool] {
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory).unwrap();
        chown(directory, Some(AGENT), Some(AGENT)).unwrap();
    }
    let account = "/run/secrets/kubernetes.io/serviceaccount";
    fs::write(secrets.join("ca.crt"), AUTHORITY).unwrap();
    fs::write(secrets.join("token"), "t").unwrap();
    let server = format!("http://127.0.0.1:{port}");
    let authority = format!("{account}/ca.crt");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c",
            "cluster": {"server": server, "certificate-authority": authority}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "ours"}}],
        "users": [{"name": "u", "user": {"tokenFile": format!("{account}/token")}}],
    });
    fs::write(secrets.join("kubeconfig"), config.to_string()).unwrap();
    let path = format!("/usr/bin/{NAME}");
    let words = [&[path.as_str()][..], options].concat();
    let mut bundle = Bundle::annotated(NAME, &words, &[("oci-apparmor/profile", NAME)]);
    let config = &mut bundle.config;
    config["root"] = json!({"path": root, "readonly": true});
    config["process"]["user"] = json!({"uid": AGENT, "gid": AGENT});
    config["process"]["capabilities"] = json!({});
    config["process"]["noNewPrivileges"] = json!(true);
    config["process"]["env"] = json!([format!("KUBECONFIG={account}/kubeconfig")]);
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "network");
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts
        .retain(|mount| mount["destination"] != "/sys" && mount["destination"] != "/sys/fs/cgroup");
    for (from, to, option) in [
        ("/usr/lib", "/usr/lib", "ro"),
        ("/usr/lib64", "/usr/lib64", "ro"),
        (secrets.to_str().unwrap(), account, "ro"),
        (spool.to_str().unwrap(), "/var/lib/oci-apparmor/spool", "rw"),
        (spool.to_str().unwrap(), "/elsewhere", "rw"),
    ] {
        mounts.push(json!({
            "destination": to, "source": from, "type": "bind", "options": ["rbind", option],
        }));
    }
    bundle.write();
    bundle
}

/// The agent, and what it prints.
struct RunningAgent {
    child: Child,
    log: PathBuf,
}

impl RunningAgent {
    fn start(base: &Path, bundle: &Bundle) -> Self {
        let log = base.join("log");
        let out = File::create(&log).unwrap();
        let child = Command::new(wrapper("runc"))
            .args(["run", "--bundle", bundle.path.to_str().unwrap(), NAME])
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits for something that it does, for a minute at most.
    #[track_caller]
    fn until(&self, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !done() {
            let seen = || format!("{}\n{:#?}", self.log(), denials());
            assert!(Instant::now() < end, "{}", seen());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it by SIGTERM; it must exit with 0.
    #[track_caller]
    fn end(mut self) {
        run(wrapper("runc"), ["kill", NAME, "TERM"]).ok();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
    }
}

impl Drop for RunningAgent {
    fn drop(&mut self) {
        run(wrapper("runc"), ["delete", "--force", NAME]);
        let _ = self.child.wait();
    }
}

fn denials() -> Vec<String> {
    let log = run("dmesg", [""; 0]).ok();
    let denied = |line: &&str| line.contains("apparmor=\"DENIED\"") && line.contains(NAME);
    log.lines().filter(denied).map(str::to_owned).collect()
}

#[test]
fn the_agent_works_under_its_profile_and_writes_nothing_but_the_spool() {
    let _world = world();
    let text = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy/node")
        .join(NAME);
    let text = fs::read_to_string(text).unwrap();
    let libraries = "  /usr/lib{,64}/** mr,\n  /etc/ld.so.cache r,\n}";
    let end = text.trim_end().strip_suffix('}').unwrap();
    source(NAME, &format!("{end}{libraries}\n"));
    let base = Path::new("/var/lib/oci-apparmor-tests/agent");
    let _ = fs::remove_dir_all(base);
    fs::create_dir_all(base).unwrap();
    fs::set_permissions(base, fs::Permissions::from_mode(0o755)).unwrap();
    let (root, port) = (image(base), api_server());

    run("dmesg", ["-C"]).ok();
    let spool = base.join("spool");
    let agent = RunningAgent::start(base, &bundle(base, &root, port, &[]));
    let names = [".complete", "cluster-api.yaml", "cluster-raw.profile"];
    agent.until(|| names.iter().all(|name| spool.join(name).exists()));
    assert_eq!(loaded(NAME).unwrap(), format!("{NAME} (enforce)"));
    println!("{}", agent.log());
    agent.end();
    assert_eq!(denials(), [""; 0]);

    // Where it may write by its user and its mounts, the profile does not let it.
    let elsewhere = bundle(base, &root, port, &["--spool", "/elsewhere"]);
    let agent = RunningAgent::start(base, &elsewhere);
    agent.until(|| !denials().is_empty());
    println!("{:?}\n{}", denials(), agent.log());
    agent.end();
    assert_eq!(fs::read_dir(&spool).unwrap().count(), 0);
    assert!(
        denials()[0].contains("name=\"/elsewhere"),
        "{:?}",
        denials()
    );
    unload(NAME);
    fs::remove_file(Path::new(PROFILES).join(NAME)).unwrap();
}
