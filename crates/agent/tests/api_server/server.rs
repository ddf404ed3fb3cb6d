//! etcd and kube-apiserver, in a temporary directory: one of each for all tests.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const GUARDIAN: &str = include_str!("guardian.sh");

/// What the audit log has: each request once, when it is answered; a watch also when it begins.
const AUDIT: &str = r#"{"apiVersion":"audit.k8s.io/v1","kind":"Policy","omitStages":["RequestReceived"],"rules":[{"level":"Metadata"}]}"#;

pub(crate) struct Server {
    pub directory: PathBuf,
    pub port: u16,
    /// That of an administrator.
    pub token: String,
    etcd: u16,
    /// A shell with [`GUARDIAN`].
    guardian: Mutex<Child>,
}

/// The programs, where `KUBEBUILDER_ASSETS` names a directory that has them, as for envtest.
fn programs() -> Result<[PathBuf; 2], String> {
    let directory = std::env::var_os("KUBEBUILDER_ASSETS").ok_or(
        "KUBEBUILDER_ASSETS names no directory with etcd and kube-apiserver (tests/README.md)",
    )?;
    let programs = ["etcd", "kube-apiserver"].map(|name| Path::new(&directory).join(name));
    for program in &programs {
        // The variable asks for these tests.
        assert!(program.exists(), "KUBEBUILDER_ASSETS has no {program:?}");
    }
    Ok(programs)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn wait_for_port(port: u16, log: &Path) {
    let end = Instant::now() + Duration::from_secs(120);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(Instant::now() < end, "port {port} is closed: {}", tail(log));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(10).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

impl Server {
    /// Starts both. The API server is not ready yet.
    pub(crate) fn start() -> Result<Self, String> {
        let [etcd, kube_apiserver] = programs()?;
        let directory = tempfile::tempdir().unwrap().keep();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        let file = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        let token = random_hex();
        fs::write(
            file("tokens.csv"),
            format!("{token},admin,admin,system:masters\n"),
        )
        .unwrap();
        fs::write(file("audit.json"), AUDIT).unwrap();
        // Its certificate the server makes itself; for this key it has no way.
        let made = Command::new("openssl")
            .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout"])
            .args(["-out", &file("accounts.key")])
            .status();
        assert!(made.is_ok_and(|status| status.success()), "openssl(1)");
        let (client_port, port) = (free_port(), free_port());
        let client_url = format!("http://127.0.0.1:{client_port}");
        let guardian = Command::new("sh")
            .args(["-u", "-c", GUARDIAN, "guardian"])
            .arg(&directory)
            .arg(etcd)
            .arg(kube_apiserver)
            .args([
                format!("--etcd-servers={client_url}"),
                "--bind-address=127.0.0.1".to_owned(),
                "--advertise-address=127.0.0.1".to_owned(),
                format!("--secure-port={port}"),
                format!("--cert-dir={}", directory.display()),
                format!("--token-auth-file={}", file("tokens.csv")),
                "--authorization-mode=Node,RBAC".to_owned(),
                "--enable-admission-plugins=NodeRestriction".to_owned(),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                format!("--service-account-key-file={}", file("accounts.key")),
                format!(
                    "--service-account-signing-key-file={}",
                    file("accounts.key")
                ),
                "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
                "--endpoint-reconciler-type=none".to_owned(),
                "--allow-privileged=true".to_owned(),
                format!("--audit-policy-file={}", file("audit.json")),
                format!("--audit-log-path={}", file("audit.log")),
            ])
            .env("ETCD_DATA_DIR", file("etcd"))
            .env("ETCD_LISTEN_CLIENT_URLS", &client_url)
            .env("ETCD_ADVERTISE_CLIENT_URLS", &client_url)
            .env("ETCD_LISTEN_PEER_URLS", "http://127.0.0.1:0")
            .env("ETCD_UNSAFE_NO_FSYNC", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A signal of the terminal ends the test program; that ends the rest.
            .process_group(0)
            .spawn()
            .unwrap();
        wait_for_port(client_port, &directory.join("etcd.log"));
        let server = Self {
            directory,
            port,
            token,
            etcd: client_port,
            guardian: Mutex::new(guardian),
        };
        server.start_again();
        Ok(server)
    }

    /// Ends the API server; etcd stays.
    pub(crate) fn stop(&self) {
        self.tell("stop");
        let mut guardian = self.guardian.lock().unwrap();
        let mut line = String::new();
        let output = guardian.stdout.as_mut().unwrap();
        // It says nothing else before it is told the next thing.
        BufReader::new(output).read_line(&mut line).unwrap();
        assert_eq!(line, "stopped\n");
    }

    /// Starts the API server after [`Self::stop`]; it is not ready yet.
    pub(crate) fn start_again(&self) {
        self.tell("start");
        wait_for_port(self.port, &self.directory.join("kube-apiserver.log"));
    }

    fn tell(&self, word: &str) {
        let mut guardian = self.guardian.lock().unwrap();
        let input = guardian.stdin.as_mut().unwrap();
        writeln!(input, "{word}").unwrap();
    }

    /// Certificates that clients trust: the server writes its own, with that of its issuer.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.join("apiserver.crt")
    }

    /// The requests that were answered to a client with this in its user agent, as JSON.
    pub(crate) fn asked_by(&self, user_agent: &str) -> Vec<serde_json::Value> {
        let log = fs::read_to_string(self.directory.join("audit.log")).unwrap_or_default();
        let entries = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        entries
            .filter(|entry: &serde_json::Value| {
                let agent = entry["userAgent"].as_str();
                agent.is_some_and(|agent| agent.contains(user_agent))
            })
            .collect()
    }

    /// Makes etcd forget all but the newest state.
    pub(crate) fn compact(&self) {
        let answer = self.ask_etcd("/v3/kv/range", r#"{"key":"AA=="}"#);
        let (_, rest) = answer.split_once(r#""revision":""#).unwrap();
        let revision = rest.split('"').next().unwrap();
        let body = format!(r#"{{"revision":"{revision}","physical":true}}"#);
        let answer = self.ask_etcd("/v3/kv/compaction", &body);
        assert!(answer.contains(" 200 "), "{answer}");
    }

    fn ask_etcd(&self, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.etcd)).unwrap();
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        std::io::read_to_string(stream).unwrap()
    }
}

fn random_hex() -> String {
    let mut bytes = [0; 16];
    let mut random = fs::File::open("/dev/urandom").unwrap();
    std::io::Read::read_exact(&mut random, &mut bytes).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
