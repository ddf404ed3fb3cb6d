//! Command lines: what is handed on is read again as the same line.
#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use libfuzzer_sys::fuzz_target;
use oci_apparmor::runtime::argv::{Scanned, scan};
use oci_apparmor::settings::RuntimeKind;

// The first byte chooses the runtime, NUL ends a word.
fuzz_target!(|data: &[u8]| {
    let Some((which, rest)) = data.split_first() else {
        return;
    };
    let runtime = RuntimeKind::ALL[usize::from(*which) % RuntimeKind::ALL.len()];
    let words: Vec<OsString> = rest
        .split(|byte| *byte == 0)
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect();
    let Ok(Scanned::Handled(line)) = scan(runtime, &words).result else {
        return;
    };
    let again = match scan(runtime, &line.words()).result {
        Ok(Scanned::Handled(again)) => again,
        other => panic!(
            "{words:?} became {:?}, which is read as {other:?}",
            line.words()
        ),
    };
    assert_eq!(again.words(), line.words());
    assert_eq!((again.subcommand, &again.id), (line.subcommand, &line.id));
    for name in ["bundle", "config", "process", "apparmor", "pid-file"] {
        assert_eq!(again.option(name), line.option(name), "{name}");
    }
    assert_eq!(again.global("root"), line.global("root"));
});
