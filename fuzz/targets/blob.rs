//! Compiled policy: a walk that succeeds has seen every byte, so anything appended matters.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_apparmor::apparmor::blob;

fuzz_target!(|data: &[u8]| {
    let Ok(declared) = blob::walk(data) else {
        return;
    };
    assert_eq!(declared.is_empty(), data.is_empty());
    let hashed: usize = declared.iter().map(|profile| profile.hashed.len()).sum();
    assert!(hashed <= data.len());
    let twice = blob::walk(&[data, data].concat()).unwrap();
    assert_eq!(twice.len(), declared.len() * 2);
    for rest in [&b"\0"[..], b"\x08", b"x"] {
        assert!(blob::walk(&[data, rest].concat()).is_err());
    }
});
