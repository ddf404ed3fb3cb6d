//! Hooks without the wrapper, as CRI-O puts them into a bundle.

use serde_json::json;

use crate::support::containers::*;

fn bundle(stage: &str, annotations: &[(&str, &str)], profile: &str) -> Bundle {
    let mut bundle = Bundle::annotated(
        "hook",
        &["/bin/cat", "/proc/self/attr/current"],
        annotations,
    );
    bundle.config["process"]["apparmorProfile"] = json!(profile);
    let hook = HOOK;
    bundle.config["hooks"] = json!({ stage: [{
        "path": hook, "args": ["oci-apparmor-hook", stage], "env": [], "timeout": 60,
    }]});
    bundle.write();
    bundle
}

fn run_with(runtime: &str, bundle: &Bundle) -> Done {
    run(
        runtime,
        ["run", "--bundle", bundle.path.to_str().unwrap(), "hook"],
    )
}

#[test]
fn a_hook_loads_the_profile_just_in_time() {
    let _world = world();
    for runtime in RUNTIMES {
        for stage in ["createRuntime", "prestart"] {
            for annotations in [&[][..], &[("oci-apparmor/profile", "late")]] {
                profile("late");
                let bundle = bundle(stage, annotations, "late");
                assert_eq!(
                    run_with(runtime, &bundle).ok(),
                    "late (enforce)\n",
                    "{runtime} {stage}"
                );
            }
        }
    }
}

#[test]
fn a_hook_refuses_what_it_cannot_bring_about() {
    let _world = world();
    load(&profile_text("other", ""));
    for runtime in RUNTIMES {
        profile("late");
        // The runtime is about to apply another label than was asked for.
        let wrong = bundle(
            "createRuntime",
            &[("oci-apparmor/profile", "late")],
            "other",
        );
        let done = run_with(runtime, &wrong);
        assert_ne!(done.code, 0);
        assert_eq!(done.out, "");
        if runtime == "runc" {
            assert!(
                done.err.contains("will apply other") && done.err.contains("exit status 5"),
                "{done:?}"
            );
        } else {
            assert!(done.err.contains("exit code: 5"), "{done:?}");
        }
        let missing = run_with(runtime, &bundle("createRuntime", &[], "nosuch"));
        assert!(
            missing.err.contains("exit status 3") || missing.err.contains("exit code: 3"),
            "{missing:?}"
        );
    }
}
