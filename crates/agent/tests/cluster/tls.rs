//! A real connection: TLS on the loopback interface, with tokens and certificates that are replaced
//! while the agent runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use kube::Config;
use kube::client::Body;
use oci_apparmor_agent::connection::client;
use oci_apparmor_agent::object::Feed;
use oci_apparmor_agent::run::{Task, run};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tower::Service;

use crate::api_server::ApiServer;

const SECOND: Duration = Duration::from_secs(1);

/// What a connection gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// TLS with the server's certificate of this authority.
    Tls(u8),
    /// The connection is accepted, and no byte is sent.
    Silent,
}

#[derive(Debug)]
struct Listener {
    manner: Manner,
    token: String,
    /// The token and the path of each request.
    asked: Vec<(String, String)>,
    connections: JoinSet<()>,
    accepted: usize,
}

/// A node, and an API server that it reaches by TLS.
struct Cluster {
    api: ApiServer,
    listener: Arc<Mutex<Listener>>,
    directory: tempfile::TempDir,
    config: Config,
}

fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cluster/certificates")
        .join(name)
}

fn server_config(authority: u8) -> Arc<ServerConfig> {
    let chain = CertificateDer::from_pem_file(certificate(&format!("server-{authority}.pem")));
    let key = PrivateKeyDer::from_pem_file(certificate(&format!("server-{authority}.key")));
    let config = ServerConfig::builder().with_no_client_auth();
    Arc::new(
        config
            .with_single_cert(vec![chain.unwrap()], key.unwrap())
            .unwrap(),
    )
}

/// One request, and the bytes of the answer until its end.
async fn serve(
    stream: TcpStream,
    mut api: ApiServer,
    listener: Arc<Mutex<Listener>>,
) -> std::io::Result<()> {
    let manner = listener.lock().unwrap().manner;
    let Manner::Tls(authority) = manner else {
        return std::future::pending().await;
    };
    let mut stream = TlsAcceptor::from(server_config(authority))
        .accept(stream)
        .await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    assert!(
        header("user-agent").starts_with("oci-apparmor-agent/"),
        "{head}"
    );
    let token = header("authorization")
        .trim_start_matches("Bearer ")
        .to_owned();
    let welcome = {
        let mut listener = listener.lock().unwrap();
        listener.asked.push((token.clone(), path.clone()));
        listener.token == token
    };
    if !welcome {
        let answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(answer).await?;
        return stream.shutdown().await;
    }
    let request = Request::get(path).body(Body::empty()).unwrap();
    let answer = api.call(request).await.unwrap();
    let head = format!(
        "HTTP/1.1 {} -\r\nConnection: close\r\n\r\n",
        answer.status().as_u16()
    );
    stream.write_all(head.as_bytes()).await?;
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        stream.write_all(&frame?.into_data().unwrap()).await?;
        stream.flush().await?;
    }
    stream.shutdown().await
}

impl Cluster {
    async fn new(manner: Manner) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", socket.local_addr().unwrap());
        let listener = Arc::new(Mutex::new(Listener {
            manner,
            token: "one".to_owned(),
            asked: Vec::new(),
            connections: JoinSet::new(),
            accepted: 0,
        }));
        let api = ApiServer::new();
        let (served, shared) = (api.clone(), listener.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                let connection = serve(stream, served.clone(), shared.clone());
                let mut shared = shared.lock().unwrap();
                shared.accepted += 1;
                shared
                    .connections
                    .spawn(async move { drop(connection.await) });
            }
        });
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("spool")).unwrap();
        let mut config = Config::new(url.parse().unwrap());
        config.root_cert_file = Some(directory.path().join("ca.crt"));
        config.root_cert = Some(Vec::new());
        config.auth_info.token_file = Some(directory.path().join("token").display().to_string());
        config.default_namespace = "ours".to_owned();
        let cluster = Self {
            api,
            listener,
            directory,
            config,
        };
        cluster.set_token("one");
        cluster.trust(1);
        cluster
    }

    fn start(&self) {
        let task = Task {
            spool: self.directory.path().join("spool"),
            feeds: vec![Feed::Profiles, Feed::ConfigMaps],
            namespace: "ours".to_owned(),
            start_delay: Duration::ZERO,
        };
        tokio::spawn(run(
            client(self.config.clone(), Some("node")).unwrap(),
            task,
        ));
    }

    /// As the kubelet does it: the new file is renamed into its place.
    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.directory.path().join(name);
        fs::write(path.with_extension("new"), bytes).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }

    fn set_token(&self, token: &str) {
        self.write("token", token.as_bytes());
    }

    fn trust(&self, authority: u8) {
        let path = certificate(&format!("authority-{authority}.pem"));
        self.write("ca.crt", &fs::read(path).unwrap());
    }

    /// The API server is restarted: all connections are gone.
    fn restart(&self, manner: Manner, token: &str) {
        let mut listener = self.listener.lock().unwrap();
        (listener.manner, listener.token) = (manner, token.to_owned());
        listener.connections.abort_all();
        listener.asked.clear();
        listener.accepted = 0;
    }

    fn asked(&self) -> Vec<(String, String)> {
        self.listener.lock().unwrap().asked.clone()
    }

    fn names(&self) -> Vec<String> {
        let files = fs::read_dir(self.directory.path().join("spool")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    async fn has(&self, names: &[&str]) {
        for _ in 0..2_000 {
            if self.names() == names {
                return;
            }
            sleep(SECOND).await;
        }
        panic!("{:?}; asked: {:#?}", self.names(), self.asked());
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_token_is_used_from_the_next_request_on() {
    let cluster = Cluster::new(Manner::Tls(1)).await;
    cluster.api.put(Feed::Profiles, "a", "x");
    cluster.start();
    cluster.has(&[".complete", "a.yaml"]).await;
    assert!(cluster.asked().iter().all(|(token, _)| token == "one"));
    // The old one expires later than it is replaced.
    cluster.set_token("two");
    cluster.restart(Manner::Tls(1), "two");
    cluster.api.put(Feed::Profiles, "b", "x");
    cluster.has(&[".complete", "a.yaml", "b.yaml"]).await;
    let asked = cluster.asked();
    assert!(asked.iter().all(|(token, _)| token == "two"), "{asked:#?}");
    assert!(
        asked
            .iter()
            .all(|(_, path)| !path.contains("sendInitialEvents")),
        "{asked:#?}"
    );
    // A token that is not accepted any more removes nothing, and the next one helps.
    cluster.restart(Manner::Tls(1), "three");
    cluster.api.delete(Feed::Profiles, "a");
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(cluster.names(), [".complete", "a.yaml", "b.yaml"]);
    // For a moment, there is no file.
    fs::remove_file(cluster.directory.path().join("token")).unwrap();
    sleep(Duration::from_secs(300)).await;
    assert!(cluster.asked().iter().all(|(token, _)| token == "two"));
    cluster.set_token("three");
    cluster.has(&[".complete", "b.yaml"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_authority_is_trusted_when_its_file_is_there() {
    let cluster = Cluster::new(Manner::Tls(1)).await;
    cluster.api.put(Feed::ConfigMaps, "a", "x");
    cluster.start();
    cluster.has(&[".complete", "a.profile"]).await;
    cluster.restart(Manner::Tls(2), "one");
    cluster.api.delete(Feed::ConfigMaps, "a");
    cluster.api.put(Feed::ConfigMaps, "b", "x");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(cluster.names(), [".complete", "a.profile"]);
    assert_eq!(
        cluster.asked(),
        [],
        "the token was sent to a server that is not trusted"
    );
    assert!(cluster.listener.lock().unwrap().accepted > 2);
    cluster.trust(2);
    cluster.has(&[".complete", "b.profile"]).await;
    let asked = cluster.asked();
    assert!(
        asked.iter().all(|(_, path)| path.contains("watch=true")),
        "{asked:#?}"
    );
    assert!(
        asked
            .iter()
            .all(|(_, path)| !path.contains("sendInitialEvents")),
        "{asked:#?}"
    );
    // And the old one is not trusted any more.
    cluster.restart(Manner::Tls(1), "one");
    cluster.api.put(Feed::ConfigMaps, "c", "x");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(cluster.names(), [".complete", "b.profile"]);
    assert_eq!(cluster.asked(), []);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_byte_is_given_up() {
    let cluster = Cluster::new(Manner::Silent).await;
    cluster.api.put(Feed::Profiles, "a", "x");
    cluster.start();
    sleep(Duration::from_secs(600)).await;
    assert_eq!(cluster.names(), [] as [&str; 0]);
    let accepted = cluster.listener.lock().unwrap().accepted;
    assert!((4..40).contains(&accepted), "{accepted}");
    cluster.restart(Manner::Tls(1), "one");
    cluster.has(&[".complete", "a.yaml"]).await;
    // The same while it watches.
    cluster.restart(Manner::Silent, "one");
    cluster.api.put(Feed::Profiles, "b", "x");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(cluster.names(), [".complete", "a.yaml"]);
    cluster.restart(Manner::Tls(1), "one");
    cluster.has(&[".complete", "a.yaml", "b.yaml"]).await;
}
