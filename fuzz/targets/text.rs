//! Profile texts as `lint` takes them apart.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_apparmor::apparmor::text::ProfileText;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let scanned = ProfileText::scan(&text);
    for pattern in text.lines().take(8) {
        assert!(scanned.expand(pattern).len() <= 4096);
    }
});
