//! The configuration: refused with a line, or accepted; nothing else.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oci_apparmor::settings::Settings;

fuzz_target!(|data: &[u8]| {
    match Settings::parse(Path::new("/c"), data) {
        Ok(settings) => {
            for namespace in [None, Some("kube-system"), Some("team")] {
                let there = settings.in_namespace(namespace);
                assert_eq!(there.exempt_namespaces, settings.exempt_namespaces);
            }
        }
        Err(e) => assert!(e.to_string().starts_with("/c line "), "{e}"),
    }
});
