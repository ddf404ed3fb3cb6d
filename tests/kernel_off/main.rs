//! A kernel in which AppArmor is off: crun would silently run without the profile; we refuse.

// Tests may fail by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::print_stdout
)]
#![allow(missing_docs)]

#[path = "../support/mod.rs"]
mod support;

use support::containers::*;

#[test]
fn a_container_that_asks_for_a_profile_is_refused() {
    let _world = world();
    assert!(
        !std::fs::read_to_string("/sys/module/apparmor/parameters/enabled")
            .unwrap()
            .starts_with('Y'),
        "this suite needs a kernel booted with apparmor=0"
    );
    for runtime in RUNTIMES {
        profile("off");
        let mut bundle =
            Bundle::annotated("off", &["/bin/true"], &[("oci-apparmor/profile", "off")]);
        let words = ["run", "--bundle", bundle.path.to_str().unwrap(), "off"];
        run(wrapper(runtime), words)
            .refused(&["must run under the profile off", "AppArmor is off"]);
        bundle.config["annotations"] = serde_json::json!({});
        bundle.config["process"]["apparmorProfile"] = "docker-default".into();
        bundle.write();
        run(wrapper(runtime), words).refused(&[
            "must run under the profile docker-default",
            "AppArmor is off",
        ]);
    }
}

#[test]
fn a_container_that_asks_for_nothing_runs_unchanged() {
    let _world = world();
    for runtime in RUNTIMES {
        let bundle = Bundle::new("off", &["/bin/echo", "here"]);
        let words = ["run", "--bundle", bundle.path.to_str().unwrap(), "off"];
        assert_eq!(run(wrapper(runtime), words).ok(), "here\n");
    }
}

#[test]
fn check_says_that_apparmor_is_off() {
    let _world = world();
    let done = run(CLI, ["check"]);
    assert!(
        done.code == 6 && done.out.contains("1 check failed"),
        "{done:?}"
    );
}
