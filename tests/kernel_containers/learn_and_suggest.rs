//! `learn` and `suggest`: from a profile that allows too little to one that allows what a container
//! does, and no more.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::containers::*;

const LINKS: &str = "/etc/apparmor.d/force-complain";

/// What every container of these tests may do.
const LITTLE: &str = "abi <abi/3.0>,\ninclude <tunables/global>\n\
    profile learnt flags=(attach_disconnected,mediate_deleted) {\n\
    \x20 include <abstractions/base>\n  signal (receive) peer={unconfined,runc,crun},\n  / r,\n\
    \x20 /bin/busybox mrix,\n}\n";

fn denials() -> Vec<String> {
    let log = run("dmesg", [""; 0]).ok();
    let denied = |line: &&str| line.contains("apparmor=\"DENIED\"") && line.contains("\"learnt");
    log.lines().filter(denied).map(str::to_owned).collect()
}

fn source_text() -> String {
    fs::read_to_string(Path::new(PROFILES).join("learnt")).unwrap()
}

/// Runs a shell script in a container under the profile.
fn job(script: &str) -> Vec<String> {
    let annotation = [("oci-apparmor/profile", "learnt")];
    let bundle = Bundle::annotated("learnt", &["/bin/sh", "-c", script], &annotation);
    let words = ["run", "--bundle", bundle.path.to_str().unwrap(), "learnt"];
    let program = wrapper("runc");
    [program.to_str().unwrap()]
        .into_iter()
        .chain(words)
        .map(str::to_owned)
        .collect()
}

/// The node, once the guard of a test before has done its work.
fn quiet() -> std::sync::MutexGuard<'static, ()> {
    let world = world();
    wait_for(|| !Path::new(LINKS).join("learnt").exists());
    unload("learnt");
    world
}

#[test]
fn what_a_job_does_is_learnt_and_nothing_else() {
    let _world = quiet();
    source("learnt", LITTLE);
    let names = ["a\" profile=\"victim", "b*[c]{d,e}", "@{x}", "new\nline"];
    let touched: String = names
        .iter()
        .map(|name| format!("touch '/data/{name}'; "))
        .collect();
    let script = format!("{touched}echo x >/tmp/out; cat /etc/learnt /tmp/out; echo done");
    fs::write(rootfs().join("etc/learnt"), "y\n").unwrap();
    let command = job(&script);
    let words: Vec<String> = ["learn", "learnt", "--apply", "--"]
        .map(str::to_owned)
        .into();
    let learnt = run(CLI, words.into_iter().chain(command.clone()));
    assert_eq!(learnt.code, 0, "{learnt:?}");
    assert!(
        learnt.out.starts_with("y\nx\ndone\n--- /etc/"),
        "{learnt:?}"
    );
    for said in [
        "learnt refuses nothing",
        "learnt enforces again",
        "proven by the kernel: the suggestion allows all",
    ] {
        assert!(learnt.err.contains(said), "{said}: {learnt:?}");
    }
    assert_eq!(loaded("learnt").unwrap(), "learnt (enforce)");
    assert!(!Path::new(LINKS).join("learnt").exists());
    // Each name is a rule for that name alone.
    let text = source_text();
    for rule in [
        r#"  "/data/a\042 profile=\042victim" rw,"#,
        r#"  "/data/b\*\[c\]\{d\054e\}" rw,"#,
        r#"  "/data/@\{x\}" rw,"#,
        r#"  "/data/new\012line" rw,"#,
        "  /etc/learnt r,",
        "  /tmp/out rw,",
    ] {
        let owner = rule.replacen("  ", "  owner ", 1);
        assert!(
            text.lines().any(|l| l == rule || l == owner),
            "{rule}: {text}"
        );
    }

    // The job works in enforce mode, and other jobs do not.
    run("dmesg", ["-C"]).ok();
    let (program, words) = command.split_first().unwrap();
    assert_eq!(run(program, words).ok(), "y\nx\ndone\n");
    assert_eq!(denials(), [""; 0]);
    fs::write(rootfs().join("etc/shadow"), "secret\n").unwrap();
    let others = [
        "echo x >/data/b1",
        "echo x >/data/xx",
        "echo x >/etc/learnt",
        "cat /etc/shadow",
        "cat /proc/version",
    ];
    let script: String = others
        .iter()
        .map(|other| format!("({other}) && echo reached; "))
        .collect();
    let command = job(&script);
    let (program, words) = command.split_first().unwrap();
    let done = run(program, words);
    assert!(!done.out.contains("reached"), "{done:?}");
    assert_eq!(denials().len(), others.len(), "{:?}", denials());

    // Why, with the line of the source that decides.
    let line = text.lines().position(|l| l == "  /etc/learnt r,").unwrap() + 1;
    let asked = ["--path", "/etc/learnt", "--path", "/etc/shadow"];
    let why = run(CLI, [&["why", "--profile", "learnt"], &asked[..]].concat());
    assert_eq!(why.code, 5, "{why:?}");
    for said in [
        "/etc/learnt r: allowed by learnt".to_owned(),
        format!("/etc/oci-apparmor/profiles/learnt:{line}: /etc/learnt r,"),
        "/etc/shadow r: denied: no rule of learnt allows it".to_owned(),
    ] {
        assert!(why.out.contains(&said), "{said}: {why:?}");
    }
    let denied = denials();
    let event = denied.iter().find(|l| l.contains("/etc/shadow")).unwrap();
    let why = run(CLI, ["why", "--profile", "learnt", "--event", event]);
    assert_eq!(why.code, 5, "{why:?}");
    assert!(why.out.contains("/etc/shadow r: denied"), "{why:?}");

    // From the log, what was just denied; nothing of it is put into force.
    let suggested = run(CLI, ["suggest", "learnt", "--source", "kmsg"]);
    assert_eq!(suggested.code, 0, "{suggested:?}");
    assert!(suggested.out.contains("/etc/learnt w,"), "{suggested:?}");
    assert!(
        suggested
            .err
            .contains("warning: the suggestion allows: /etc/shadow r ("),
        "{suggested:?}"
    );
    assert_eq!(source_text(), text);
    let trial = fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap();
    assert!(!trial.contains("oci-apparmor.trial."), "{trial}");
}

/// A command that ends with the test.
struct Learning(Child);

impl Drop for Learning {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_killed_learn_leaves_no_process_unconfined() {
    let _world = quiet();
    source("learnt", &LITTLE.replace("  /bin/busybox mrix,\n", ""));
    let learn = Command::new(CLI)
        .args(["learn", "learnt", "--for", "5m"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut learn = Learning(learn);
    wait_for(|| loaded("learnt").is_some_and(|line| line == "learnt (complain)"));
    // Of two, the first one that ends would end complain mode for both.
    let second = run(CLI, ["learn", "learnt", "--for", "1s"]);
    assert_eq!(second.code, 5, "{second:?}");
    assert!(
        second
            .err
            .contains("another command learns learnt at this moment"),
        "{second:?}"
    );
    // What the node would have after a crash.
    let check = run(CLI, ["check"]).out;
    assert!(
        check.contains("oci-apparmor mode learnt enforce"),
        "{check}"
    );
    let annotation = [("oci-apparmor/profile", "learnt")];
    let mut bundle = Bundle::annotated(
        "learnt",
        &["/bin/sh", "-c", "/bin/sleep 1000; true"],
        &annotation,
    );
    // With it, no program can be executed that no rule allows.
    bundle.config["process"]["noNewPrivileges"] = false.into();
    bundle.write();
    let container = Container::started("runc", &bundle, "learnt");
    let first = container.state()["pid"].as_i64().unwrap();
    let children = format!("/proc/{first}/task/{first}/children");
    let label = || {
        let child = fs::read_to_string(&children).unwrap_or_default();
        let path = format!("/proc/{}/attr/apparmor/current", child.trim());
        fs::read_to_string(path).unwrap_or_default()
    };
    wait_for(|| label() == "learnt//null-/bin/busybox (complain)\n");
    learn.0.kill().unwrap();
    learn.0.wait().unwrap();
    wait_for(|| loaded("learnt").is_some_and(|line| line == "learnt (enforce)"));
    wait_for(|| label() == "learnt//null-/bin/busybox (enforce)\n");
    assert_eq!(container.label(), "learnt (enforce)");
    assert!(!Path::new(LINKS).join("learnt").exists());
}
