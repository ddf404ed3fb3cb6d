//! The program `oci-apparmor-agent` as a pod has it: its account, with the token in a volume, and a
//! spool. What of a pod is missing is the container.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde_json::Value;

use crate::cluster::{Cluster, NAMESPACE, until};
use crate::node_reports::status;
use crate::proxy::Proxy;

/// Mounts the account where a pod has it, for one program.
const IN_A_POD: &str = r#"
mount -t tmpfs none /run && mkdir -p /run/secrets/kubernetes.io &&
    ln -s "$0" /run/secrets/kubernetes.io/serviceaccount && exec "$@""#;

pub(crate) struct Agent {
    pub network: Proxy,
    pub pod: Value,
    /// In the user agent of its requests.
    pub node: String,
    directory: tempfile::TempDir,
    process: Child,
}

impl Agent {
    /// Starts one on a node, with a pod and a token of its own.
    pub(crate) async fn start(cluster: &Cluster, node: &str) -> Self {
        let pod = cluster.agent_pod(node).await;
        let token = cluster.token(Some(&pod)).await;
        let directory = tempfile::tempdir().unwrap();
        let account = directory.path().join("account");
        fs::create_dir_all(account.join("..1")).unwrap();
        fs::create_dir(directory.path().join("spool")).unwrap();
        fs::create_dir(directory.path().join("status")).unwrap();
        fs::copy(cluster.server.certificate(), account.join("..1/ca.crt")).unwrap();
        fs::write(account.join("..1/namespace"), NAMESPACE).unwrap();
        fs::write(account.join("..1/token"), token).unwrap();
        symlink("..1", account.join("..data")).unwrap();
        for name in ["ca.crt", "namespace", "token"] {
            symlink(format!("..data/{name}"), account.join(name)).unwrap();
        }
        let network = Proxy::new(cluster.server.port);
        // Tests on one node have a name of their own in the audit log.
        let node = pod["metadata"]["name"].as_str().unwrap().to_owned();
        // It also ends if the test program is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount"]);
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        set_status(directory.path(), &status(1));
        let process = command
            .args(["sh", "-c", IN_A_POD])
            .arg(&account)
            .arg(env!("CARGO_BIN_EXE_oci-apparmor-agent"))
            .args(["--node", &node, "--spool"])
            .arg(directory.path().join("spool"))
            .arg("--status")
            .arg(directory.path().join("status"))
            .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            .env("KUBERNETES_SERVICE_PORT", network.port.to_string())
            .env_remove("KUBECONFIG")
            .stderr(File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self {
            network,
            pod,
            node,
            directory,
            process,
        }
    }

    fn spool(&self) -> PathBuf {
        self.directory.path().join("spool")
    }

    /// What root says about the node from now on.
    pub(crate) fn set_status(&self, status: &Value) {
        set_status(self.directory.path(), status);
    }

    /// The kubelet's way to replace the files of a volume: all of them at once.
    pub(crate) fn replace_token(&self, token: &str) {
        let account = self.directory.path().join("account");
        let (old, new) = (account.join("..1"), account.join("..2"));
        fs::create_dir(&new).unwrap();
        for name in ["ca.crt", "namespace"] {
            fs::copy(old.join(name), new.join(name)).unwrap();
        }
        fs::write(new.join("token"), token).unwrap();
        symlink("..2", account.join("..next")).unwrap();
        fs::rename(account.join("..next"), account.join("..data")).unwrap();
        fs::remove_dir_all(old).unwrap();
    }

    /// Its messages so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// The files of the spool whose names begin so, and what is in them.
    pub(crate) fn files(&self, prefix: &str) -> BTreeMap<String, String> {
        let read = |path: PathBuf| {
            let name = path.file_name()?.to_str()?.to_owned();
            name.starts_with(prefix)
                .then(|| (name, fs::read_to_string(&path).unwrap_or_default()))
        };
        let entries = fs::read_dir(self.spool()).unwrap();
        entries
            .filter_map(|entry| read(entry.unwrap().path()))
            .collect()
    }

    /// Waits until the spool is complete and has these files among those with the prefix, and no
    /// others.
    pub(crate) async fn has(&self, prefix: &str, names: &[&str]) {
        until(|| async {
            let files: Vec<String> = self.files(prefix).into_keys().collect();
            match files == names && self.spool().join(".complete").exists() {
                true => Ok(()),
                false => Err(format!("{files:?}, not {names:?}; {}", self.log())),
            }
        })
        .await;
    }

    /// Waits for a message.
    pub(crate) async fn says(&self, text: &str) {
        until(|| async {
            let log = self.log();
            log.contains(text)
                .then_some(())
                .ok_or(format!("no {text:?}: {log}"))
        })
        .await;
    }

    /// A line of `/proc/PID/status`, in KiB.
    pub(crate) fn memory(&self, key: &str) -> usize {
        let status = Path::new("/proc").join(self.process.id().to_string());
        let status = fs::read_to_string(status.join("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

fn set_status(directory: &Path, status: &Value) {
    let file = directory.join("status/node.json");
    let temporary = directory.join("node.json");
    fs::write(&temporary, status.to_string()).unwrap();
    fs::rename(temporary, file).unwrap();
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
