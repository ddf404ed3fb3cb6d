//! Runtimes that have a label of their own: AppArmor 4 gives runc and crun one that allows
//! everything. It is seen in what a container inherits, in the stacks that crun makes, and in which
//! sends the signal that stops a container.

use std::fs;

use serde_json::{Value, json};

use crate::support::containers::*;

const FOREVER: [&str; 2] = ["/bin/sleep", "1000"];
const CURRENT: [&str; 2] = ["/bin/cat", "/proc/self/attr/current"];

/// A profile for a sleeping container, not loaded; signals are received as this rule says.
fn strict(name: &str, rule: &str) {
    unload(name);
    strict_in_place(name, rule);
}

fn strict_in_place(name: &str, rule: &str) {
    let text = format!(
        "abi <abi/4.0>,\ninclude <tunables/global>\n\
         profile {name} flags=(attach_disconnected,mediate_deleted) {{\n\
           include <abstractions/base>\n  file,\n  {rule}\n}}\n"
    );
    fs::write(format!("{PROFILES}/{name}"), text).unwrap();
}

/// What `lint` says about the signals of a profile: what is the matter, and what helps.
fn signal_finding(name: &str) -> Option<(String, String)> {
    let path = format!("{PROFILES}/{name}");
    let done = run(CLI, ["lint", "--json", &path]);
    let all: Vec<Value> = serde_json::from_str(&done.out).unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    all.iter()
        .find(|finding| finding["rule"] == "signal")
        .map(|finding| (text(finding, "text"), text(finding, "remedy")))
}

#[test]
fn a_container_without_a_profile_inherits_the_runtimes_label_from_every_caller() {
    let _world = world();
    for runtime in RUNTIMES {
        let bundle = Bundle::new("bare", &CURRENT);
        let path = bundle.path.to_str().unwrap();
        let words = ["run", "--bundle", path, "bare"];
        let label = format!("{runtime} (unconfined)\n");
        assert_eq!(run(runtime, words).ok(), label);
        assert_eq!(run(wrapper(runtime), words).ok(), label);
        // An engine may be labelled itself, and we are then, too.
        let wrapper = wrapper(runtime);
        let engine = ["-p", "buildah", "--", wrapper.to_str().unwrap()];
        assert_eq!(run("aa-exec", [&engine, &words[..]].concat()).ok(), label);
    }
}

#[test]
fn the_profile_decides_what_may_stop_a_container_and_lint_says_so() {
    let _world = world();
    for runtime in RUNTIMES {
        // That much is in <abstractions/base>, and was enough before AppArmor 4.
        strict("stop", "");
        let (message, hint) = signal_finding("stop").unwrap();
        assert!(message.contains(runtime), "{message}");
        let asks = [("oci-apparmor/profile", "stop")];
        let bundle = Bundle::annotated("stop", &FOREVER, &asks);
        let container = Container::started(runtime, &bundle, "stop");
        let kill = || run(&container.runtime, ["kill", "stop", "KILL"]);
        assert_ne!(kill().code, 0);
        assert_ne!(run(runtime, ["kill", "stop", "KILL"]).code, 0);
        assert_eq!(container.state()["status"], "running");
        assert_eq!(container.label(), shown(runtime, "stop"));

        // What lint tells to add helps at once, and the next container.
        let rule = hint.strip_prefix("add: ").unwrap();
        strict_in_place("stop", rule);
        assert_eq!(signal_finding("stop"), None);
        run(CLI, ["load", "stop"]).ok();
        kill().ok();
        wait_for(|| container.state()["status"] == "stopped");
        container.call("delete").ok();
        assert_eq!(record_of("stop"), None);

        let container = Container::started(runtime, &bundle, "stop");
        run(&container.runtime, ["delete", "--force", "stop"]).ok();
        assert_ne!(run(runtime, ["state", "stop"]).code, 0);
        assert_eq!(record_of("stop"), None);
    }
}

#[test]
fn the_stacks_of_crun_hold_what_they_must() {
    let _world = world();
    fs::write(CONFIG, "floor = \"zfloor\"\n").unwrap();
    profile("zfloor");
    // One name that is printed before crun's, and one after.
    for name in ["afore", "past"] {
        profile(name);
        let bundle = Bundle::annotated("stack", &FOREVER, &[("oci-apparmor/profile", name)]);
        let container = Container::started("crun", &bundle, "stack");
        let mut parts = ["crun", name, "zfloor"];
        parts.sort_unstable();
        let stack = format!("{} (mixed)", parts.join("//&"));
        assert_eq!(container.label(), stack);
        for no_new_privileges in [false, true] {
            let file = process_file("stack.json", &CURRENT, Some("unconfined"));
            let mut process: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            process["noNewPrivileges"] = json!(no_new_privileges);
            fs::write(&file, process.to_string()).unwrap();
            let words = ["exec", "--process", file.to_str().unwrap(), "stack"];
            let label = run(&container.runtime, words).ok();
            match no_new_privileges {
                true => assert_eq!(label.trim_end(), stack),
                false => assert_eq!(label, format!("{name}//&zfloor (enforce)\n")),
            }
        }
        assert_ne!(container.exec(&["/bin/touch", "/data/x"]).code, 0);

        let rows: Value = serde_json::from_str(&run(CLI, ["ps", "--json"]).ok()).unwrap();
        let rows = rows.as_array().unwrap();
        let row = rows.iter().find(|row| row["id"] == "stack").unwrap();
        assert_eq!(row["label"], format!("{name}//&zfloor"));
        assert_eq!(row["processes"][0]["label"], stack);
        assert_eq!(row["processes"][0]["holds"], true);
        // A profile of a stack is in use like any other, and is not taken from under it.
        let unload = run(CLI, ["unload", name]);
        assert_ne!(unload.code, 0, "{unload:?}");
        assert!(loaded(name).is_some());
        run(&container.runtime, ["delete", "--force", "stack"]).ok();
        assert_eq!(record_of("stack"), None);
    }
}
