//! A node made of files: its /etc, /run, /sys and /usr/local, the programs, one profile that the kernel
//! has loaded, and containers as containerd creates them for Kubernetes.

mod containers;
mod kernel;
mod tree;

use std::path::{Path, PathBuf};

pub(crate) use containers::{
    Containers, fresh_beside, fresh_bundle, fresh_process, state_and_record,
};
pub(crate) use kernel::{hide_digest, load, settle, show_digest};
pub(crate) use tree::prepare;

/// The name of the profile.
pub(crate) const PROFILE: &str = "bench-web";

/// What containerd gives runc as `--root`, and where its bundles are.
pub(crate) const ROOT: &str = "/run/containerd/runc/k8s.io";
pub(crate) const TASKS: &str = "/run/containerd/io.containerd.runtime.v2.task/k8s.io";

/// The low-level runtime: a program that does nothing.
pub(crate) const RUNTIME: &str = "/usr/local/sbin/runc";
pub(crate) const NULL_WRAPPER: &str = "/usr/local/libexec/null/runc";
pub(crate) const PROGRAM: &str = "/usr/local/bin/oci-apparmor-runtime";
/// Links to it: the runtime of the first is named in `config.toml`, that of the second is found
/// in a directory.
pub(crate) const WRAPPER: &str = "/usr/local/libexec/oci-apparmor/runc";
pub(crate) const CRUN_WRAPPER: &str = "/usr/local/libexec/oci-apparmor/crun";
pub(crate) const HOOK: &str = "/usr/local/libexec/oci-apparmor/oci-apparmor-hook";
pub(crate) const CLI: &str = "/usr/local/bin/oci-apparmor";

/// `sh -c ENTER sh NODE CHECKOUT PROGRAM [WORD...]`: puts the directories of the node in the place of
/// the machine's, and becomes the program. The checkout stays in reach, wherever it is.
pub(crate) const ENTER: &str = r#"
set -e
node=$1 checkout=$2
shift 2
for directory in etc sys usr/local; do
    mount --bind "$node/$directory" "/$directory"
done
# As on a node, /run is in memory.
mount -t tmpfs -o mode=755 run /run
cp -a "$node/run/." /run
cd /run
CHECKOUT=$checkout exec "$@"
"#;

/// A container's id, as long as those of containerd.
pub(crate) fn id(name: &str) -> String {
    let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex:0<64}")
}

/// The bundle of a container.
pub(crate) fn bundle(name: &str) -> String {
    format!("{TASKS}/{}", id(name))
}

/// Where results go: relative to the checkout.
pub(crate) fn in_checkout(path: &Path) -> PathBuf {
    PathBuf::from(std::env::var_os("CHECKOUT").unwrap()).join(path)
}
