//! What the code relies on in the kernel's files, on every kernel that the suite runs on.

use std::fs;
use std::path::{Path, PathBuf};

use crate::policy_files::*;
use crate::support::containers::{profile_text, run, unload, wait_for, world};

const HASH_POLICY: &str = "/sys/module/apparmor/parameters/hash_policy";

fn tiny(name: &str, rule: &str) -> Vec<u8> {
    compile(&format!("profile {name} {{ {rule} }}"), &[])
}

/// Loads a profile that was not loaded before.
fn loaded(name: &str, blob: &[u8]) -> PathBuf {
    unload(name);
    write(".replace", blob).unwrap();
    directory(name)
}

#[test]
fn a_hash_covers_the_version_word_and_the_profile() {
    let _world = world();
    let alone = compile(&profile_text("hash-alone", ""), &[]);
    let complain = compile("profile hash-complain { /etc/hostname r, }", &["-C"]);
    let (first, second) = (
        "profile hash-first { /etc/hostname r, profile child { /etc/hosts r, } }",
        "profile hash-second { /etc/hostname w, network, capability chown, }",
    );
    let several = [
        tiny("hash-zero", ""),
        compile(&format!("{first}\n{second}"), &[]),
    ]
    .concat();
    let directories = || {
        let first = directory("hash-first");
        let child = fs::read_dir(first.join("profiles")).unwrap().next();
        [
            vec![directory("hash-alone")],
            vec![directory("hash-complain")],
            vec![
                directory("hash-zero"),
                first,
                child.unwrap().unwrap().path(),
                directory("hash-second"),
            ],
        ]
    };
    for blob in [&alone, &complain, &several] {
        write(".replace", blob).unwrap();
    }
    let other = ["sha1", "sha256"].map(|name| name != hash_name());
    for (blob, directories) in [&alone, &complain, &several].into_iter().zip(directories()) {
        let hashed = hashed(blob);
        assert_eq!(hashed.len(), directories.len());
        for (bytes, directory) in hashed.iter().zip(directories) {
            assert_eq!(
                text(directory.join(hash_name())),
                hash(bytes),
                "{directory:?}"
            );
            // The raw data are what was written, whatever else stood in it.
            let raw = directory.join(format!("raw_{}", hash_name()));
            assert_eq!(text(raw), hash(blob), "{directory:?}");
            assert_eq!(&fs::read(directory.join("raw_data")).unwrap(), blob);
            for (name, absent) in ["sha1", "sha256"].iter().zip(other) {
                assert_eq!(directory.join(name).exists(), !absent, "{directory:?}");
            }
        }
    }
    for name in [
        "hash-alone",
        "hash-complain",
        "hash-zero",
        "hash-first",
        "hash-second",
    ] {
        unload(name);
    }
}

#[test]
fn every_change_of_the_policy_has_a_revision() {
    let _world = world();
    let blob = tiny("revision", "/etc/hostname r,");
    unload("revision");
    let mut open = Revision::open();
    open.read();
    let mut last = Revision::now();
    let mut step = |changes: bool, what: &str| {
        let now = Revision::now();
        if changes {
            assert!(now > last, "{what}: {last}, {now}");
            assert_eq!(open.read(), Some(now), "{what}");
        } else {
            assert_eq!(now, last, "{what}");
        }
        // Without a change there is nothing more to read.
        assert_eq!(open.read(), None, "{what}");
        last = now;
    };
    step(false, "nothing");
    write(".load", &blob).unwrap();
    step(true, "a load");
    write(".replace", &blob).unwrap();
    step(true, "an identical replace");
    write(".replace", &tiny("revision", "/etc/hostname w,")).unwrap();
    step(true, "a replace");
    assert_eq!(
        write(".load", &blob).unwrap_err().raw_os_error(),
        Some(libc::EEXIST)
    );
    step(false, "a load of what is loaded");
    let broken = [&tiny("revision-other", ""), &blob[..blob.len() / 2]].concat();
    assert_eq!(
        write(".replace", &broken).unwrap_err().raw_os_error(),
        Some(libc::EPROTO)
    );
    step(false, "a load that failed");
    assert!(directories("revision-other").is_empty());
    assert_eq!(
        write(".remove", b"revision-other")
            .unwrap_err()
            .raw_os_error(),
        Some(libc::ENOENT)
    );
    step(false, "a removal of what is not loaded");
    write(".remove", b"revision").unwrap();
    step(true, "a removal");
}

#[test]
fn a_directory_lasts_until_its_profile_is_removed() {
    let _world = world();
    let blob = tiny("lasting", "/etc/hostname r,");
    let first = loaded("lasting", &blob);
    for replacement in [
        blob.clone(),
        tiny("lasting", "/etc/hostname w,"),
        compile("profile lasting { }", &["-C"]),
        compile(&profile_text("lasting", ""), &[]),
    ] {
        write(".replace", &replacement).unwrap();
        assert_eq!(directory("lasting"), first);
        assert_eq!(
            text(first.join(hash_name())),
            hash(&hashed(&replacement)[0])
        );
    }
    write(".remove", b"lasting").unwrap();
    assert!(!first.exists());
    let second = loaded("lasting", &blob);
    let number = |path: &Path| -> u64 {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.rsplit_once('.').unwrap().1.parse().unwrap()
    };
    assert!(number(&second) > number(&first));
    unload("lasting");
}

#[test]
fn names_that_look_alike_have_directories_of_their_own() {
    let _world = world();
    let names = ["alike.a", "/alike/a", "alike.a+"];
    for name in names {
        unload(name);
        let text = format!("profile \"{name}\" {{ }}");
        write(".replace", &compile(&text, &[])).unwrap();
    }
    let mut found: Vec<_> = directories("alike.a")
        .into_iter()
        .map(|path| text(path.join("name")))
        .collect();
    found.sort();
    assert_eq!(found, ["/alike/a", "alike.a", "alike.a+"]);
    for name in names {
        unload(name);
    }
}

#[test]
fn a_mode_comes_with_a_replace_and_anyone_may_read_it() {
    let _world = world();
    let path = loaded("modes", &tiny("modes", ""));
    let read = |file: &str| {
        let path = path.join(file);
        let words = ["--reuid=65534", "--regid=65534", "--clear-groups", "cat"];
        let done = run("setpriv", [&words[..], &[path.to_str().unwrap()]].concat());
        done.ok().trim_end().to_owned()
    };
    for (flags, option, mode) in [
        ("", "-C", "complain"),
        ("", "", "enforce"),
        ("flags=(complain)", "", "complain"),
        ("flags=(kill)", "", "kill"),
        ("flags=(unconfined)", "", "unconfined"),
        ("", "", "enforce"),
    ] {
        let options: &[&str] = if option.is_empty() { &[] } else { &[option] };
        // The parser of 3.0 knows neither of two of them.
        let Ok(blob) = try_compile(&format!("profile modes {flags} {{ }}"), options) else {
            println!("skipped: this parser does not know {flags}");
            continue;
        };
        write(".replace", &blob).unwrap();
        assert_eq!(read("mode"), mode, "{flags} {option}");
        assert_eq!(read("name"), "modes");
        assert_eq!(read(hash_name()), hash(&hashed(&blob)[0]));
    }
    unload("modes");
}

#[test]
fn what_is_loaded_already_may_be_loaded_again() {
    let _world = world();
    let blob = tiny("again", "/etc/hostname r,");
    let path = loaded("again", &blob);
    let state = || {
        let raw = fs::read_link(path.join("raw_data")).unwrap();
        (directory("again"), raw, text(path.join(hash_name())))
    };
    let before = state();
    for _ in 0..3 {
        write(".replace", &blob).unwrap();
        assert_eq!(state(), before);
    }
    unload("again");
}

/// While the kernel makes no hashes. They may come back only when nothing is loaded that has
/// none: the kernel (seen: 6.12) takes a hash that is not there for one when it compares raw data
/// of the same length, and crashes (security/apparmor/policy_unpack.c: `aa_rawdata_eq()`).
struct NoHashes(Vec<&'static str>);

impl NoHashes {
    fn new(names: &[&'static str]) -> Self {
        fs::write(HASH_POLICY, "0").unwrap();
        Self(names.to_vec())
    }
}

impl Drop for NoHashes {
    fn drop(&mut self) {
        for name in &self.0 {
            unload(name);
        }
        let raw = Path::new(APPARMOR).join("policy/raw_data");
        wait_for(|| {
            let mut entries = fs::read_dir(&raw).unwrap().map(|e| e.unwrap().path());
            entries.all(|path| path.join(hash_name()).exists())
        });
        fs::write(HASH_POLICY, "1").unwrap();
    }
}

#[test]
fn a_hash_may_be_absent_or_empty() {
    let _world = world();
    let old = loaded("unhashed-old", &tiny("unhashed-old", ""));
    assert!(old.join(hash_name()).exists());
    let no_hashes = NoHashes::new(&["unhashed-old", "unhashed-new"]);
    assert_eq!(text(HASH_POLICY.into()), "N");
    let new = loaded("unhashed-new", &tiny("unhashed-new", ""));
    assert!(!new.join(hash_name()).exists());
    assert!(!new.join(format!("raw_{}", hash_name())).exists());
    assert_eq!(text(new.join("name")), "unhashed-new");
    assert_eq!(text(new.join("mode")), "enforce");
    // The file stays where the profile is replaced, and then says nothing.
    write(".replace", &tiny("unhashed-old", "/etc/hostname r,")).unwrap();
    assert_eq!(text(old.join(hash_name())), "");
    drop(no_hashes);
    assert_eq!(text(HASH_POLICY.into()), "Y");
    let new = loaded("unhashed-new", &tiny("unhashed-new", ""));
    assert!(new.join(hash_name()).exists());
    unload("unhashed-new");
}
