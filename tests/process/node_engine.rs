//! `node install` on a node whose containerd runs: it is restarted only if that is asked for, the
//! handler counts only when containerd serves it, and a failure is taken back. The node is a mount
//! namespace with a real containerd and something that starts it again.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::node::programs;

/// Prepares the namespace; `$T` is a directory for the test, `$B` the programs.
const NODE: &str = r#"
set -eu
mount -t tmpfs -o mode=755 tmpfs "$T"
mkdir "$T/etc" "$T/local" "$T/state" "$T/run" "$T/bin"
cp -a /etc/passwd /etc/group /etc/ld.so.cache "$T/etc/"
mount --bind "$T/etc" /etc
mount --bind "$T/local" /usr/local
mkdir -p /var/lib/oci-apparmor 2>/dev/null || :
mount -t tmpfs -o mode=755 tmpfs /var/lib
mount --bind "$T/run" /run
cp "$B"/oci-apparmor "$B"/oci-apparmor-runtime "$B"/oci-apparmor-hook "$T/bin/"
mkdir /etc/containerd
printf 'version = 2\n' >/etc/containerd/config.toml
cp /etc/containerd/config.toml "$T/original"
oa=$T/bin/oci-apparmor
starts() { wc -l <"$T/starts"; }
supervise() {
    while [ ! -e "$T/stop" ]; do
        echo x >>"$T/starts"
        containerd --root "$T/containerd" --state /run/containerd >>"$T/log" 2>&1 || :
        sleep 0.1
    done
}
: >"$T/starts"
supervise &
supervisor=$!
until [ -S /run/containerd/containerd.sock ]; do sleep 0.1; done
finish() { : >"$T/stop"; pkill -TERM -P "$supervisor" containerd || :; wait "$supervisor"; }
trap finish EXIT
"#;

/// Runs the script on such a node; nothing where this machine cannot.
fn on_node(script: &str) -> Option<Output> {
    let root = nix::unistd::geteuid().is_root();
    let containerd = Command::new("containerd").arg("--version").output();
    if !root || containerd.is_err() {
        let must = std::env::var_os("OCI_APPARMOR_MUST_RUN").is_some_and(|v| v == "1");
        assert!(
            !must,
            "OCI_APPARMOR_MUST_RUN=1, but it needs root and containerd"
        );
        eprintln!("not run: it needs root and containerd");
        return None;
    }
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let output = Command::new("unshare")
        // A process namespace as well: process 1 is the node's.
        .args(["-m", "-p", "--fork", "--kill-child", "--mount-proc"])
        .args(["timeout", "120", "sh", "-c"])
        .arg(format!("{NODE}{script}"))
        .env("T", directory.path())
        .env("B", programs())
        .output()
        .unwrap();
    Some(output)
}

#[track_caller]
fn passes(script: &str) {
    if let Some(output) = on_node(script) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{said}\n{errors}");
        assert!(said.ends_with("passed\n"), "{said}\n{errors}");
    }
}

#[test]
fn containerd_is_restarted_only_if_that_is_asked_for() {
    passes(
        r#"
$oa node install | grep 'now run: systemctl restart containerd'
$oa node install | grep 'now run: systemctl restart containerd'
[ "$(starts)" = 1 ]
# By others.
pkill -TERM -P "$supervisor" containerd
until $oa node install | grep 'serves the handler'; do sleep 0.2; done
[ "$(starts)" = 2 ]
# Nothing is left to do.
$oa node install --restart=signal | grep 'serves the handler'
[ "$(starts)" = 2 ]
code=0
$oa node uninstall || code=$?
[ "$code" = 75 ] && [ "$(starts)" = 2 ]
cmp /etc/containerd/config.toml "$T/original"
# The programs stay until containerd does not serve the handler any more.
[ -x /usr/local/bin/oci-apparmor-runtime ]
$oa node uninstall --restart=signal
[ "$(starts)" = 3 ] && [ -z "$(ls -A /usr/local)" ] && [ ! -e /etc/oci-apparmor ]
echo passed
"#,
    );
}

/// A containerd whose CRI plugin is off reads the file, and serves nothing.
#[test]
fn a_handler_that_is_not_served_is_taken_back() {
    passes(
        r#"
$oa node install --restart=signal --wait 20 | grep 'serves the handler'
$oa node uninstall --restart=signal --wait 20
before=$(starts)
# What the kubelet talks to does not come up.
cat >"$T/bin/containerd" <<END
#!/bin/sh
case "\$*" in *dump*) exec /usr/bin/containerd "\$@" ;; esac
END
mkdir -p /run/containerd
pkill -STOP -P "$supervisor" containerd
code=0
$oa node install --restart=signal --wait 2 >"$T/said" 2>&1 || code=$?
pkill -CONT -P "$supervisor" containerd
cat "$T/said"
[ "$code" = 8 ]
grep 'the handler oci-apparmor is not served after 2 s: containerd has not read' "$T/said"
grep 'the configuration of containerd was taken back' "$T/said"
cmp /etc/containerd/config.toml "$T/original"
[ ! -e /etc/oci-apparmor/engines ]
# The programs are there, and a second attempt needs only the engine.
until $oa node install --restart=signal --wait 20 | grep 'serves the handler'; do sleep 0.2; done
echo passed
"#,
    );
}

/// The installer's pod: a process and mount namespace of its own, with the root directory of the node
/// at /host, and the other container's answers.
#[test]
fn from_a_container_the_node_is_entered_and_the_answer_decides() {
    passes(
        r#"
mkdir "$T/pod" "$T/handover"
answer() {
    until grep -qs "\"want\":\"$1\"" "$T/handover/node.json"; do sleep 0.1; done
    id=$(sed 's/.*"id":"\([^"]*\)".*/\1/' "$T/handover/node.json")
    printf '{"id":"%s","done":%s,"reason":"%s"}\n' "$id" "$2" "$3" >"$T/handover/api.json"
}
pod() {
    export oa T
    unshare -m -p --fork --kill-child --propagation private sh -c '
        mount -t tmpfs tmpfs "$T/pod"
        mkdir "$T/pod/host"
        mount --rbind / "$T/pod/host"
        mount -t proc proc /proc
        exec "$oa" node "$@" --root "$T/pod/host" --chroot --handover "$T/handover"' sh "$@" \
        >"$T/said" 2>&1 &
    pod=$!
}
ended() {
    # SIGTERM to the installer itself; it changes nothing.
    before=$(cat /etc/containerd/config.toml)
    pkill -TERM -P "$pod"
    wait "$pod" || :
    [ "$before" = "$(cat /etc/containerd/config.toml)" ]
    cat "$T/said"
}
pod install
until grep -s 'to do that, run: systemctl restart containerd' "$T/said"; do sleep 0.1; done
ended
# The engine is restarted by others, and the API refuses: the change is taken back.
pkill -TERM -P "$supervisor" containerd
pod install --wait 5
answer served false 'status.runtimeHandlers of the node has runc'
until grep -s 'status.runtimeHandlers of the node has runc' "$T/said"; do sleep 0.1; done
cmp /etc/containerd/config.toml "$T/original"
ended
# A container that starts again in the same pod tries nothing.
pod install
until grep -s 'not tried again in this pod' "$T/said"; do sleep 0.1; done
ended
# Another pod.
rm "$T"/handover/*
pod install
until grep -s 'to do that' "$T/said"; do sleep 0.1; done
pkill -TERM -P "$supervisor" containerd
answer served true ''
until grep -s 'the node is labelled' "$T/said"; do sleep 0.1; done
grep '"confirmed": true' /etc/oci-apparmor/install.json
ended
# A signal cannot reach a process of the node from here.
pod install --restart=signal
wait "$pod" && exit 1
grep 'give the pod hostPID' "$T/said"
rm "$T"/handover/*
pod uninstall
answer unserved true ''
until grep -s 'not uninstalled yet: containerd has not read' "$T/said"; do sleep 0.1; done
pkill -TERM -P "$supervisor" containerd
until grep -sx 'uninstalled' "$T/said"; do sleep 0.1; done
ended
[ -z "$(ls -A /usr/local)" ] && cmp /etc/containerd/config.toml "$T/original"
echo passed
"#,
    );
}

#[test]
fn the_programs_of_a_release_lie_together() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let alone = directory.path().join("oci-apparmor");
    fs::copy(programs().join("oci-apparmor"), &alone).unwrap();
    let words = ["node", "install", "--root"];
    let output = Command::new(&alone)
        .args(words)
        .arg(Path::new("/nowhere"))
        .output();
    let line = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(
        line.contains("there is no oci-apparmor-runtime beside"),
        "{line}"
    );
}
