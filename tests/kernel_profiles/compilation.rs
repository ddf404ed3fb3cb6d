//! What a profile was compiled with counts as its text does, and so does what came of it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::loaded_profiles::*;
use crate::support::containers::*;

const A: &str = "/probe/a";
const B: &str = "/probe/b";
const PATHS: [&str; 2] = [A, B];

#[test]
fn the_compiler_and_its_configuration_count() {
    let _world = world();
    fresh("on_drift = \"refuse\"");
    let name = "tools";
    source(name, &reads(name, A));
    let asking = Asking::for_profile(name);
    remembered(&asking);
    assert_eq!((compilations(), readable(name, &PATHS)), (1, vec![A]));

    // An upgrade that compiles the same text to something else. That is no drift: nothing is refused.
    let mends = format!("sed 's,{A},{B},' | /sbin/apparmor_parser \"$@\"");
    compiler(&mends);
    let said = asking.created();
    assert!(
        said.contains("its configuration or the kernel has changed"),
        "{said}"
    );
    assert_eq!((compilations(), readable(name, &PATHS)), (2, vec![B]));
    // And back: what the first one made is still there, and still its own.
    compiler("exec /sbin/apparmor_parser \"$@\"");
    asking.created();
    assert_eq!((compilations(), readable(name, &PATHS)), (2, vec![A]));

    // Its configuration, and what that names.
    let configuration = Path::new("/etc/apparmor/parser.conf");
    let was = fs::read_to_string(configuration).unwrap();
    let features = Path::new(AREA).join("features");
    fs::copy("/etc/apparmor.d/abi/3.0", &features).unwrap();
    remembered(&asking);
    write(
        configuration,
        &format!("policy-features={}\n", features.display()),
    );
    asking.created();
    assert_eq!(compilations(), 3);
    remembered(&asking);
    let other = fs::read_to_string("/etc/apparmor.d/abi/kernel-5.4-vanilla").unwrap();
    write(&features, &other);
    ages(&features);
    asking.created();
    assert_eq!(compilations(), 4);
    write(configuration, &was);
    asking.created();
    assert_eq!((compilations(), readable(name, &PATHS)), (4, vec![A]));
}

/// Compiled policy is kept by what it was compiled with, not by what was there before.
#[test]
fn a_compiler_that_is_upgraded_while_it_runs_is_noticed() {
    let _world = world();
    fresh("");
    let name = "upgrade";
    source(name, &reads(name, A));
    let configuration = "/etc/apparmor/parser.conf";
    let was = fs::read_to_string(configuration).unwrap();
    // An upgrade writes the configuration first, while a compilation runs.
    compiler(&format!(
        "[ -e {AREA}/done ] || {{ : >{AREA}/done; echo '# new' >>{configuration}; \
         sed 's,{A},{B},' | /sbin/apparmor_parser \"$@\"; exit; }}\n\
         exec /sbin/apparmor_parser \"$@\""
    ));
    let asking = Asking::for_profile(name);
    asking.created();
    assert_eq!(readable(name, &PATHS), [A]);
    unload(name);
    write(configuration, &was);
    asking.created();
    assert_eq!(readable(name, &PATHS), [A]);
}

#[test]
fn another_kernel_gets_another_policy() {
    let _world = world();
    fresh("");
    let name = "kernels";
    source(name, &reads(name, A));
    let asking = Asking::for_profile(name);
    asking.created();
    assert_eq!(compilations(), 1);
    // As after a boot into another kernel: one that cannot tell signals apart.
    unload(name);
    let features = "/sys/kernel/security/apparmor/features";
    let copy = Path::new(AREA).join("features");
    run("cp", ["-r", features, copy.to_str().unwrap()]).ok();
    fs::remove_dir_all(copy.join("signal")).unwrap();
    {
        let _other = Mounted::bind(&copy, features);
        asking.created();
        assert_eq!((compilations(), readable(name, &PATHS)), (2, vec![A]));
    }
    // And back: both are kept.
    unload(name);
    asking.created();
    assert_eq!((compilations(), readable(name, &PATHS)), (2, vec![A]));
    assert_eq!(fs::read_dir(CACHE).unwrap().count(), 2);
}

#[test]
fn damaged_entries_of_the_cache_are_made_anew() {
    let _world = world();
    fresh("");
    for name in ["entry", "another"] {
        source(name, &reads(name, A));
        Asking::for_profile(name).created();
        if name == "another" {
            break;
        }
        let entry = entries().remove(0);
        let whole = fs::read(&entry).unwrap();
        let half = whole.len() / 2;
        let mut flipped = whole.clone();
        flipped[half] ^= 1;
        let foreign = compiled(&reads(name, B), &[]);
        let damaged = [
            &[][..],
            &whole[..half],
            &flipped,
            &foreign,
            &[&whole[..], b"x"].concat(),
        ];
        for (n, bytes) in damaged.into_iter().enumerate() {
            fs::write(&entry, bytes).unwrap();
            unload(name);
            Asking::for_profile(name).created();
            assert_eq!((compilations(), readable(name, &PATHS)), (n + 2, vec![A]));
            assert_eq!(fs::read(&entry).unwrap(), whole);
        }
    }
    // Each in the other's place.
    let [one, two] = entries().try_into().unwrap();
    let aside = Path::new(AREA).join("aside");
    fs::rename(&one, &aside).unwrap();
    fs::rename(&two, &one).unwrap();
    fs::rename(&aside, &two).unwrap();
    for name in ["entry", "another"] {
        unload(name);
        Asking::for_profile(name).created();
        assert_eq!(readable(name, &PATHS), [A]);
    }
}

fn entries() -> Vec<PathBuf> {
    let entries = fs::read_dir(CACHE).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The compiler exits with 0 on all of these.
#[test]
fn compiled_policy_is_judged_by_what_it_declares() {
    let _world = world();
    fresh("");
    let name = "judged";
    source(name, &reads(name, A));
    let asking = Asking::for_profile(name);
    let good = compiled(&reads(name, A), &[]);
    let with = |field: &str, value: &str| {
        // Behind the profile's name, as the compiler writes it.
        let text = |code: u8, text: &str| {
            let length = u16::try_from(text.len() + 1).unwrap().to_le_bytes();
            [&[code], &length[..], text.as_bytes(), b"\0"].concat()
        };
        let name = text(5, name);
        let at = good.windows(name.len()).position(|w| w == name).unwrap() + name.len();
        [&good[..at], &text(4, field), &text(5, value), &good[at..]].concat()
    };
    // What a compiler makes that knows nothing of the kernel: no network, no mount, no signals.
    let nothing = Path::new(AREA).join("nothing");
    fs::write(&nothing, "file {mask {read write}}\n").unwrap();
    let blind = format!("--features-file={}", nothing.display());
    let cases = [
        ([&good[..], &good].concat(), "twice"),
        (
            [&good[..], &compiled(&reads("second", A), &[])].concat(),
            "second",
        ),
        (compiled(&reads("second", A), &[]), "second"),
        (Vec::new(), "declares no profile"),
        (good[..good.len() / 2].to_vec(), "malformed"),
        ([&good[..], b"\0"].concat(), "malformed"),
        (
            with("rename", "containers"),
            "replace the profile \"containers\"",
        ),
        (with("attach", "/bin/*"), "attaches"),
        (compiled(&reads(":ns:judged", A), &[]), "namespace"),
        (compiled(&reads(name, A), &["-C"]), "complain mode"),
        (compiled(&reads(name, A), &[&blind]), "not this kernel's"),
    ];
    let before = revision();
    for (blob, why) in cases {
        let path = Path::new(AREA).join("output");
        fs::write(&path, blob).unwrap();
        compiler(&format!("cat >/dev/null; cat {}", path.display()));
        asking.refused(&["cannot be loaded", why]);
    }
    assert_eq!(revision(), before, "something reached the kernel");
    assert!(!Path::new(CACHE).exists() || entries().is_empty());
    compiler("exec /sbin/apparmor_parser \"$@\"");
    asking.created();
    assert_eq!(readable(name, &PATHS), [A]);
}
