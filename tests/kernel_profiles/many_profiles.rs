//! A node with thousands of profiles.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, iter};

use crate::policy_files::*;
use crate::support::containers::{unload, world};

/// How long something takes, and how long something else that the number of profiles has no
/// part in, in turns: the second tells how busy the machine is.
pub(crate) fn medians(
    count: usize,
    mut what: impl FnMut(),
    mut control: impl FnMut(),
) -> (Duration, Duration) {
    let time = |f: &mut dyn FnMut()| {
        let start = Instant::now();
        f();
        start.elapsed()
    };
    let mut pairs: (Vec<_>, Vec<_>) = iter::repeat_with(|| (time(&mut what), time(&mut control)))
        .take(count)
        .unzip();
    pairs.0.sort();
    pairs.1.sort();
    (pairs.0[count / 2], pairs.1[count / 2])
}

/// Why a profile is looked up by the directory that it was last seen in.
#[test]
fn the_files_of_a_known_directory_are_as_quick_among_thousands() {
    let _world = world();
    unload("known");
    write(".replace", &compile("profile known { }", &[])).unwrap();
    load_many(0..9);
    let known = directory("known");
    let read = || {
        for file in ["name", "mode", hash_name()] {
            black_box(fs::read(known.join(file)).unwrap());
        }
        black_box(Revision::now());
    };
    let control = || {
        for _ in 0..4 {
            black_box(fs::read("/proc/sys/kernel/osrelease").unwrap());
        }
    };
    let list = || fs::read_dir(Path::new(APPARMOR).join("policy/profiles")).unwrap();
    assert!(list().count() >= 10);
    let (few, few_control) = medians(201, read, control);
    load_many(9..4_999);
    assert!(list().count() >= 5_000);
    let (many, many_control) = medians(201, read, control);
    unload_many(0..4_999);
    unload("known");
    assert!(list().count() < 1_000);
    let ratio = many.div_duration_f64(few) / many_control.div_duration_f64(few_control);
    println!("10 profiles: {few:?} ({few_control:?}); 5,000: {many:?} ({many_control:?})");
    assert!(ratio < 1.5, "{ratio}");
}
