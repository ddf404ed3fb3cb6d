//! A profile is what its source says now, whatever times, names, caches and other programs say.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::loaded_profiles::*;
use crate::support::containers::*;

const A: &str = "/probe/a";
const B: &str = "/probe/b";
const C: &str = "/probe/c";
const PATHS: [&str; 3] = [A, B, C];

#[test]
fn the_text_of_a_source_counts_and_not_its_times() {
    let _world = world();
    fresh("");
    let (path, name) = (source_of("times"), "times");
    source(name, &reads(name, A));
    ages(&path);
    let asking = Asking::for_profile(name);
    remembered(&asking);
    assert_eq!(readable(name, &PATHS), [A]);

    // The same size and mtime.
    write(&path, &reads(name, B));
    ages(&path);
    let said = asking.created();
    assert!(
        said.contains("was reloaded") && said.contains("file has changed"),
        "{said}"
    );
    assert_eq!(readable(name, &PATHS), [B]);

    // Another file, which was there before.
    let other = Path::new(AREA).join("older");
    write(&other, &reads(name, C));
    ages(&other);
    remembered(&asking);
    fs::rename(&other, &path).unwrap();
    asking.created();
    assert_eq!(readable(name, &PATHS), [C]);

    // A link that leads elsewhere, to what is older still.
    for (file, what) in [("one", A), ("two", B)] {
        write(Path::new(AREA).join(file), &reads(name, what));
        ages(Path::new(AREA).join(file));
    }
    for (file, what) in [("one", A), ("two", B)] {
        remembered(&asking);
        fs::remove_file(&path).unwrap();
        symlink(Path::new(AREA).join(file), &path).unwrap();
        asking.created();
        assert_eq!(readable(name, &PATHS), [what]);
    }
    fs::remove_file(&path).unwrap();
}

#[test]
fn the_same_file_name_elsewhere_is_another_file() {
    let _world = world();
    fresh("");
    let name = "same";
    let (ours, other) = (source_of(name), Path::new(AREA).join("profiles").join(name));
    // What the compiler's own cache would hand out.
    write(&other, &reads(name, B));
    run("apparmor_parser", ["-rW", other.to_str().unwrap()]).ok();
    ages(&other);
    source(name, &reads(name, A));
    ages(&ours);
    let asking = Asking::for_profile(name);
    asking.created();
    assert_eq!(readable(name, &PATHS), [A]);

    let elsewhere = format!("profile_directories = [\"{AREA}/profiles\"]");
    for _ in 0..2 {
        settle_for(&elsewhere);
        let said = asking.created();
        assert!(
            said.contains(&format!("loaded from {}", ours.display())),
            "{said}"
        );
        assert_eq!(readable(name, &PATHS), [B]);
        settle_for("");
        asking.created();
        assert_eq!(readable(name, &PATHS), [A]);
    }
    assert_eq!(compilations(), 2);

    // Ours first, then the distribution's, then what is loaded; the last two may be named only
    // where the node lists them.
    let distribution = Path::new("/etc/apparmor.d").join(name);
    write(&distribution, &reads(name, C));
    settle_for(&format!("allow = [\"{name}\"]"));
    asking.created();
    fs::remove_file(&ours).unwrap();
    asking.created();
    assert_eq!(readable(name, &PATHS), [A], "it is not ours to replace");
    unload(name);
    asking.created();
    assert_eq!(readable(name, &PATHS), [C]);
    write(&distribution, &reads(name, B));
    asking.created();
    assert_eq!(readable(name, &PATHS), [C], "it is not ours to reload");
    others_load(&reads(name, A));
    fs::remove_file(&distribution).unwrap();
    asking.created();
    assert_eq!(readable(name, &PATHS), [A]);
    unload(name);
    asking.refused(&["is not loaded, and there is no file"]);
}

#[test]
fn whatever_is_included_counts() {
    let _world = world();
    fresh("");
    let name = "includes";
    let base = Path::new("/etc/apparmor.d");
    let area = base.join("oci-apparmor-tests");
    let _ = fs::remove_dir_all(&area);
    let rule = |path: &str| format!("{path} r,\n");
    write(area.join("plain"), &rule(A));
    write(area.join("nested"), "#include <oci-apparmor-tests/inner>\n");
    write(area.join("inner"), &rule("/nested/a"));
    write(area.join("dir/one"), &rule("/dir/a"));
    write(area.join("quoted"), &rule("/quoted/a"));
    fs::copy("/etc/apparmor.d/abi/3.0", area.join("abi")).unwrap();
    let text = format!(
        "abi <oci-apparmor-tests/abi>,\n\
         profile {name} {{\n  #include <oci-apparmor-tests/plain>\n  \
         include <oci-apparmor-tests/nested>\n  include if exists <oci-apparmor-tests/later>\n  \
         include <oci-apparmor-tests/dir>\n  include \"{}\"\n}}\n",
        area.join("quoted").display()
    );
    source(name, &text);
    let asking = Asking::for_profile(name);
    asking.created();
    let all = [
        "/nested/a",
        "/later/a",
        "/later/b",
        "/dir/a",
        "/dir/b",
        "/quoted/a",
        "/quoted/b",
    ];
    let holds = |expected: &[&str]| {
        assert_eq!(readable(name, &[&PATHS[..], &all].concat()), expected);
    };
    holds(&[A, "/nested/a", "/dir/a", "/quoted/a"]);

    let change = |file: &str, rules: &str| {
        remembered(&asking);
        write(area.join(file), rules);
        ages(area.join(file));
        asking.created();
    };
    change("plain", &rule(B));
    holds(&[B, "/nested/a", "/dir/a", "/quoted/a"]);
    change("inner", "# nothing\n");
    holds(&[B, "/dir/a", "/quoted/a"]);
    change("later", &rule("/later/a"));
    holds(&[B, "/later/a", "/dir/a", "/quoted/a"]);
    change("dir/two", &rule("/dir/b"));
    holds(&[B, "/later/a", "/dir/a", "/dir/b", "/quoted/a"]);
    change("quoted", &rule("/quoted/b"));
    holds(&[B, "/later/a", "/dir/a", "/dir/b", "/quoted/b"]);
    remembered(&asking);
    fs::remove_file(area.join("later")).unwrap();
    fs::remove_file(area.join("dir/one")).unwrap();
    asking.created();
    holds(&[B, "/dir/b", "/quoted/b"]);
    // What an abi says decides what is enforced at all.
    let before = compilations();
    let other = fs::read_to_string("/etc/apparmor.d/abi/kernel-5.4-vanilla").unwrap();
    change("abi", &other);
    assert_eq!(compilations(), before + 1);
    // One that is gone fails the next container only.
    fs::remove_file(area.join("plain")).unwrap();
    asking.refused(&["apparmor_parser", "oci-apparmor-tests/plain"]);
    holds(&[B, "/dir/b", "/quoted/b"]);
    fs::remove_dir_all(&area).unwrap();
}

#[test]
fn a_later_link_in_disable_or_force_complain_counts_for_the_next_container() {
    let _world = world();
    fresh("");
    let name = "said";
    source(name, &reads(name, A));
    let asking = Asking::for_profile(name);
    let (complain, disable) = ("/etc/apparmor.d/force-complain", "/etc/apparmor.d/disable");
    for directory in [complain, disable] {
        fs::create_dir_all(directory).unwrap();
    }
    remembered(&asking);
    for _ in 0..2 {
        symlink("/nowhere", format!("{complain}/{name}")).unwrap();
        asking.created();
        assert_eq!(loaded(name).unwrap(), "said (complain)");
        fs::remove_file(format!("{complain}/{name}")).unwrap();
        let said = asking.created();
        assert!(said.contains("must enforce"), "{said}");
        assert_eq!(loaded(name).unwrap(), "said (enforce)");
    }
    assert_eq!(compilations(), 2);
    // A disabled file is not loaded; what is there stays there.
    symlink("/nowhere", format!("{disable}/{name}")).unwrap();
    write(source_of(name), &reads(name, B));
    asking.created();
    assert_eq!(readable(name, &PATHS), [A]);
    unload(name);
    asking.refused(&["disabled"]);
    fs::remove_file(format!("{disable}/{name}")).unwrap();
    asking.created();
    assert_eq!(readable(name, &PATHS), [B]);
}

#[test]
fn a_profile_that_others_replaced_is_loaded_again() {
    let _world = world();
    fresh("");
    let name = "theirs";
    let family = |path: &str| {
        format!("profile {name} {{\n  {A} r,\n  profile child {{\n    {path} r,\n  }}\n}}\n")
    };
    source(name, &family(A));
    let asking = Asking::for_profile(name);
    let child = "theirs//child";
    let is_right = || (readable(name, &PATHS), readable(child, &PATHS)) == (vec![A], vec![A]);
    remembered(&asking);
    assert!(is_right());

    let only_child = |path: &str| {
        let whole = compiled(&family(path), &[]);
        let version = b"\x04\x08\0version\0";
        let second = whole.windows(11).rposition(|w| w == version).unwrap();
        let (first, second) = whole.split_at(second);
        match second.windows(child.len()).any(|w| w == child.as_bytes()) {
            true => second.to_vec(),
            false => first.to_vec(),
        }
    };
    let by_the_tool = |text: &str, options: &[&str]| {
        let path = Path::new(AREA).join("theirs-by-tool");
        fs::write(&path, text).unwrap();
        run(
            "apparmor_parser",
            [options, &["-K", path.to_str().unwrap()]].concat(),
        )
        .ok();
    };
    let tampering: [(&str, &dyn Fn()); 6] = [
        ("other content", &|| others_load(&reads(name, B))),
        ("by the tool", &|| by_the_tool(&family(B), &["-r"])),
        ("complaining", &|| by_the_tool(&family(A), &["-rC"])),
        ("another child", &|| replace(&only_child(B))),
        ("no child", &|| unload(child)),
        ("removed", &|| unload(name)),
    ];
    for (what, tamper) in &tampering {
        tamper();
        assert!(!is_right() || *what == "complaining", "{what}");
        let said = asking.created();
        assert!(is_right(), "{what}: {said}");
        assert_eq!(loaded(name).unwrap(), "theirs (enforce)");
        assert_eq!(
            said.contains("another program has loaded it"),
            *what != "removed",
            "{what}"
        );
    }
    assert_eq!(compilations(), 1);
    // The same by another way is nothing to be put right.
    by_the_tool(&family(A), &["-r"]);
    assert_eq!(asking.created(), "");
    unload(name);
    by_the_tool(&family(A), &["-r"]);
    assert_eq!(asking.created(), "");

    settle_for("on_drift = \"refuse\"");
    for (what, tamper) in &tampering[1..4] {
        tamper();
        asking.refused(&["another program has loaded it", "on_drift"]);
        asking.refused(&["another program has loaded it", "on_drift"]);
        assert!(!is_right() || *what == "complaining", "{what}");
        by_the_tool(&family(A), &["-r"]);
        asking.created();
    }
    write(source_of(name), &family(B));
    asking.refused(&["file has changed", "on_drift"]);
    assert!(is_right());
    write(source_of(name), &family(A));
    asking.created();
}

/// Two programs that both insist must not keep a container waiting for ever.
#[test]
fn a_container_does_not_wait_for_ever_while_two_programs_replace_a_profile() {
    let _world = world();
    fresh("");
    source("fight", &reads("fight", A));
    let asking = Asking::for_profile("fight");
    asking.created();
    let other = compiled(&reads("fight", B), &[]);
    let over = std::sync::atomic::AtomicBool::new(false);
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                replace(&other);
            }
        });
        for _ in 0..5 {
            let done = asking.create();
            assert!(
                done.code == 0 || done.err.contains("has not loaded it"),
                "{done:?}"
            );
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(start.elapsed() < Duration::from_secs(30));
    asking.created();
    assert_eq!(readable("fight", &PATHS), [A]);
}

#[test]
fn edits_during_a_create_are_seen_by_the_next() {
    let _world = world();
    fresh("");
    let name = "racy";
    source(name, &reads(name, C));
    let path = source_of(name);
    let asking = Asking::for_profile(name);
    asking.created();
    let mut rounds = 0;
    let mut racing = Vec::new();
    let start = Instant::now();
    // Emulated, 200 rounds take two minutes.
    while rounds < 200 && start.elapsed() < Duration::from_secs(15) {
        let [first, last] = if rounds % 2 == 0 { [A, B] } else { [B, A] };
        fs::write(&path, reads(name, first)).unwrap();
        // One that may read the first or the last text, or something in between.
        let racer = Command::new(wrapper("runc"))
            .args(["create", "--bundle", asking.0.to_str().unwrap(), "racer"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        racing.push(racer.unwrap());
        sleep(Duration::from_millis(rounds % 50));
        fs::write(&path, reads(name, last)).unwrap();
        let done = asking.create();
        let now = readable(name, &PATHS);
        assert!(
            done.code == 0 && now == [last],
            "round {rounds}: {now:?} {done:?}"
        );
        for mut racer in racing.drain(..) {
            racer.wait().unwrap();
        }
        assert_eq!(readable(name, &PATHS), [last], "round {rounds}, afterwards");
        rounds += 1;
    }
    println!("{rounds} rounds");
    assert!(rounds >= 10);
    assert!(compilations() < 10);
    settle();
    asking.created();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        reads(name, readable(name, &PATHS)[0])
    );
}

#[test]
fn a_kernel_without_hashes_is_supported() {
    let _world = world();
    fresh("");
    let name = "hashless";
    unload(name);
    let _none = Parameter::set("hash_policy", "N", "Y");
    source(name, &reads(name, A));
    let asking = Asking::for_profile(name);
    remembered(&asking);
    assert_eq!(readable(name, &PATHS), [A]);
    let before = revision();
    asking.created();
    assert_eq!(revision(), before, "what is remembered holds");
    // Anything at all may have changed it.
    others_load(&reads("stranger", A));
    asking.created();
    assert_eq!(readable(name, &PATHS), [A]);
    others_load(&reads(name, B));
    asking.created();
    assert_eq!(readable(name, &PATHS), [A]);
    write(source_of(name), &reads(name, C));
    ages(source_of(name));
    asking.created();
    assert_eq!(readable(name, &PATHS), [C]);
    unload(name);
    asking.created();
    assert_eq!(readable(name, &PATHS), [C]);

    settle_for("on_drift = \"refuse\"");
    remembered(&asking);
    write(source_of(name), &reads(name, B));
    asking.refused(&["file has changed", "on_drift"]);
    assert_eq!(readable(name, &PATHS), [C]);
    write(source_of(name), &reads(name, C));
    asking.created();
    unload(name);
    unload("stranger");
}
