//! Children and hats of a profile that its source does not declare, or not any more.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use serde_json::Value;

use crate::loaded_profiles::*;
use crate::support::containers::*;

const A: &str = "/probe/a";
const B: &str = "/probe/b";
const PATHS: [&str; 2] = [A, B];

/// A profile that may read `A` and change to its children, which may do all that matters here.
fn family(name: &str, children: &[&str]) -> String {
    let child = |child: &&str| format!("  {child} {{ file, signal, }}\n");
    let children: String = children.iter().map(child).collect();
    format!("profile {name} {{\n  {A} r,\n  change_profile,\n{children}}}\n")
}

fn status(name: &str) -> Value {
    let done = run(CLI, ["status", "--json", name]);
    serde_json::from_str::<Value>(&done.ok()).unwrap()[0].take()
}

/// A process under a label.
struct Process(Child);

impl Process {
    fn under(label: &str) -> Self {
        let script = format!("echo 'exec {label}' >/proc/self/attr/exec && exec sleep 300");
        let child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
        let process = Self(child);
        wait_for(|| process.label().starts_with(label));
        process
    }

    fn label(&self) -> String {
        let path = format!("/proc/{}/attr/apparmor/current", self.0.id());
        fs::read_to_string(path).unwrap().trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_child_that_is_no_longer_declared_allows_nothing() {
    let _world = world();
    fresh("");
    let name = "closing";
    unload(name);
    let children = [
        "profile helper",
        "^hat",
        "profile \"with blank\"",
        "profile /bin/x",
    ];
    let named = ["helper", "hat", "with blank", "/bin/x"].map(|c| format!("{name}//{c}"));
    source(name, &family(name, &children));
    let asking = Asking::for_profile(name);
    asking.created();
    let open = |labels: &[String]| {
        let open = labels.iter().filter(|label| may_read(label, B));
        open.cloned().collect::<Vec<_>>()
    };
    assert_eq!(open(&named), named);
    let process = Process::under(&named[0]);

    write(source_of(name), &family(name, &[]));
    let drift = status(name);
    assert_eq!(drift["drift"], "children");
    let said = asking.created();
    for label in &named {
        assert!(said.contains(label), "{said}");
        assert!(drift["why"].as_str().unwrap().contains(label), "{drift}");
    }
    assert_eq!(open(&named), [""; 0]);
    for label in &named {
        // Removed, it would leave its processes unconfined.
        assert_eq!(loaded(label), Some(format!("{label} (enforce)")));
    }
    assert_eq!(process.label(), format!("{} (enforce)", named[0]));
    assert_eq!(readable(name, &PATHS), [A]);
    assert_eq!(status(name)["drift"], Value::Null);

    // Nothing is left to do: whether it is remembered, or others load something, or all is
    // forgotten.
    remembered(&asking);
    let compiled = compilations();
    let before = revision();
    assert_eq!(asking.created(), "");
    assert_eq!(revision(), before);
    others_load(&reads("stranger", A));
    let before = revision();
    assert_eq!(asking.created(), "");
    fs::remove_dir_all(STATE).unwrap();
    assert_eq!(asking.created(), "");
    assert_eq!((revision(), compilations()), (before, compiled));

    // Declared again, it is what the source says.
    write(source_of(name), &family(name, &children[..2]));
    asking.created();
    assert_eq!(open(&named), named[..2]);
    unload(name);
    unload("stranger");
}

#[test]
fn a_child_that_others_add_is_drift() {
    let _world = world();
    fresh("");
    let name = "adopting";
    unload(name);
    source(name, &family(name, &["profile own"]));
    let asking = Asking::for_profile(name);
    remembered(&asking);
    let add = |child: &str| others_load(&format!("profile {name}//{child} {{ file, }}"));
    let closed = |child: &str| {
        let label = format!("{name}//{child}");
        loaded(&label).is_some() && !may_read(&label, A)
    };
    assert_eq!(status(name)["drift"], Value::Null);
    add("more");
    let drift = status(name);
    assert_eq!(drift["drift"], "children");
    let why = drift["why"].as_str().unwrap();
    assert!(why.ends_with(": adopting//more"), "{why}");
    assert!(!closed("more"), "status changes nothing");
    let said = asking.created();
    assert!(said.contains("adopting//more"), "{said}");
    assert!(closed("more") && may_read("adopting//own", B));
    // One that is open again is noticed, too.
    add("more");
    asking.created();
    assert!(closed("more"));

    settle_for("on_drift = \"refuse\"");
    add("third");
    asking.refused(&["does not declare", "adopting//third", "oci-apparmor load"]);
    assert!(!closed("third"));
    run(CLI, ["load", name]).ok();
    assert!(closed("third"));
    asking.created();

    // It is none of the profiles that a container may ask for.
    for child in ["more", "third"] {
        let child = Asking::for_profile(&format!("{name}//{child}"));
        child.refused(&["does not declare the profile adopting//"]);
    }
    settle_for("");
    add("third");
    Asking::for_profile("adopting//third").refused(&["does not declare the profile"]);
    Asking::for_profile("adopting//own").created();
    assert!(closed("third"));
    unload(name);
}

#[test]
fn children_of_profiles_that_are_not_ours_are_left_alone() {
    let _world = world();
    fresh("allow = ['distributed']");
    let name = "distributed";
    unload(name);
    let path = Path::new("/etc/apparmor.d").join(name);
    write(&path, &family(name, &[]));
    let asking = Asking::for_profile(name);
    asking.created();
    others_load(&format!("profile {name}//theirs {{ file, }}"));
    asking.created();
    assert!(may_read("distributed//theirs", A));
    assert_eq!(status(name)["drift"], Value::Null);
    fs::remove_file(path).unwrap();
    unload(name);
}

#[test]
fn a_child_whose_name_cannot_be_written_down_stops_the_container() {
    let _world = world();
    fresh("");
    let name = "unwritable";
    unload(name);
    source(name, &family(name, &[]));
    let asking = Asking::for_profile(name);
    asking.created();
    // As compiled policy it can have any name.
    let mut blob = compiled(&format!("profile {name}//odd {{ file, }}"), &[]);
    let at = blob.windows(5).position(|w| w == b"//odd").unwrap();
    blob[at + 3] = b'"';
    replace(&blob);
    asking.refused(&[
        "its child \"unwritable//o\\\"d\"",
        "cannot be replaced by an empty profile",
        "unload",
    ]);
    assert_eq!(status(name)["drift"], "unknown");
    unload(name);
    asking.created();
    unload(name);
}
