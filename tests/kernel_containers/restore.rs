//! Checkpoint and restore: CRIU restores the label that was dumped, or another in its place; what
//! was dumped without any stays without.

use std::path::Path;

use crate::support::containers::*;

const RESTORED: &str = "/var/lib/oci-apparmor-tests/image";

/// A sleeping container in the host's network: CRIU locks another one with iptables. It goes on
/// sleeping when it is restored, which ends the sleep that was dumped.
fn sleeping(annotations: &[(&str, &str)]) -> Bundle {
    let args = ["/bin/sh", "-c", "while :; do sleep 1000; done"];
    let mut bundle = Bundle::annotated("again", &args, annotations);
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "network");
    bundle.write();
    bundle
}

/// Calls the wrapper, by way of another program, with pipes for standard input, output and error,
/// which CRIU can dump.
pub(crate) fn piped_through(before: &str, words: &[&str]) -> Done {
    let words = words.join(" ");
    let script = format!(
        "rm -f /run/code; \
         (sleep 300 | ( {before} {} {words}; echo $? >/run/code.new; mv /run/code.new /run/code ) 2>&1 \
         | cat >/run/said) </dev/null >/dev/null 2>&1 &",
        wrapper("runc").display()
    );
    run("sh", ["-c", &script]).ok();
    wait_for(|| Path::new("/run/code").exists());
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    Done {
        code: read("/run/code").trim().parse().unwrap(),
        out: String::new(),
        err: read("/run/said"),
    }
}

pub(crate) fn piped(words: &[&str]) -> Done {
    piped_through("", words)
}

fn restore(bundle: &Bundle, more: &[&str]) -> Done {
    let path = bundle.path.to_str().unwrap();
    let words = [
        "restore",
        "--image-path",
        RESTORED,
        "--work-path",
        "/run",
        "--bundle",
        path,
    ];
    piped(&[&words, more, &["again"]].concat())
}

#[test]
fn a_confined_image_is_restored_confined_and_an_unconfined_one_not_at_all() {
    let _world = world();
    let detached = ["--detach", "--pid-file", "/run/again.pid"];
    for confined in [true, false] {
        profile("criu");
        let _ = std::fs::remove_dir_all(RESTORED);
        std::fs::create_dir_all(RESTORED).unwrap();
        let asks = [("oci-apparmor/profile", "criu")];
        let bundle = sleeping(&asks[..usize::from(confined)]);
        piped(&["create", "--bundle", bundle.path.to_str().unwrap(), "again"]).ok();
        let container = Container {
            runtime: wrapper("runc"),
            id: "again".into(),
        };
        container.call("start").ok();
        assert_eq!(
            container.label(),
            if confined {
                shown("runc", "criu")
            } else {
                unconfined("runc")
            }
        );
        let dump = run(
            "runc",
            [
                "checkpoint",
                "--image-path",
                RESTORED,
                "--work-path",
                "/run",
                "again",
            ],
        );
        if dump.code != 0 {
            println!(
                "{}",
                std::fs::read_to_string("/run/dump.log").unwrap_or_default()
            );
        }
        dump.ok();
        run(wrapper("runc"), ["delete", "--force", "again"]).ok();
        assert_eq!(record_of("again"), None);
        unload("criu");

        let bundle = sleeping(&asks);
        restore(&bundle, &[]).refused(&["--detach", "restore of container"]);
        let done = restore(&bundle, &detached);
        // CRIU takes a label of mode `unconfined` for one that can be replaced by another.
        if confined || loaded("runc").is_some() {
            if done.code != 0 {
                println!(
                    "{}",
                    std::fs::read_to_string("/run/restore.log").unwrap_or_default()
                );
            }
            done.ok();
            assert_eq!(container.label(), "criu (enforce)");
            let exec = container.exec(&["/bin/cat", "/proc/self/attr/current"]);
            assert_eq!(exec.ok(), "criu (enforce)\n");
        } else {
            done.refused(&["unconfined", "criu", "killed"]);
            assert_ne!(run("runc", ["state", "again"]).code, 0);
            assert!(!Path::new("/run/runc/again").exists());
            assert_eq!(record_of("again"), None);
        }
    }
}
