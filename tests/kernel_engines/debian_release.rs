//! The release of Debian that a test runs on, and that it is the one that it says.

use crate::support::containers::*;

/// A release of Debian, by its code name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    Bookworm,
    Trixie,
}

impl Release {
    /// The one whose root tree and kernel were booted.
    pub(crate) fn current() -> Self {
        match std::env::var("OCI_APPARMOR_VM_RELEASE").as_deref() {
            Ok("bookworm") => Self::Bookworm,
            Ok("trixie") => Self::Trixie,
            other => panic!("tests/vm/cargo-runner says which release this is, not {other:?}"),
        }
    }
}

/// A node of this release as it is after its boot.
pub(crate) use crate::support::containers::world as node;

/// The first line that a program prints.
fn first_line(program: &str, words: &[&str]) -> String {
    let out = run(program, words).ok();
    out.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn the_release_has_its_own_kernel_and_engines() {
    let _node = node();
    let versions = match Release::current() {
        Release::Bookworm => [
            ("uname", "-r", "6.1."),
            (
                "apparmor_parser",
                "--version",
                "AppArmor parser version 3.0.",
            ),
            ("runc", "--version", "runc version 1.1.5"),
            ("crun", "--version", "crun version 1.8."),
            ("podman", "--version", "podman version 4.3."),
            ("conmon", "--version", "conmon version 2.1.6"),
            (
                "containerd",
                "--version",
                "containerd github.com/containerd/containerd 1.6.",
            ),
            ("dockerd", "--version", "Docker version 20.10."),
            ("criu", "--version", "Version: 3.17"),
        ],
        Release::Trixie => [
            ("uname", "-r", "6.12."),
            (
                "apparmor_parser",
                "--version",
                "AppArmor parser version 4.1.",
            ),
            ("runc", "--version", "runc version 1.1.15"),
            ("crun", "--version", "crun version 1.21"),
            ("podman", "--version", "podman version 5.4."),
            ("conmon", "--version", "conmon version 2.1.12"),
            (
                "containerd",
                "--version",
                "containerd github.com/containerd/containerd 1.7.",
            ),
            ("dockerd", "--version", "Docker version 26."),
            ("criu", "--version", "Version: 4."),
        ],
    };
    for (program, option, expected) in versions {
        let line = first_line(program, &[option]);
        println!("{program}: {line}");
        assert!(
            line.starts_with(expected),
            "{program}: {line:?}, not {expected:?}"
        );
    } // What makes the runtimes' labels differ: `peer=runc` in a profile's signal rules, and stacks.
    let label = match Release::current() {
        Release::Bookworm => None,
        Release::Trixie => Some("(unconfined)"),
    };
    for runtime in RUNTIMES {
        assert_eq!(
            loaded(runtime),
            label.map(|mode| format!("{runtime} {mode}"))
        );
    }
}
