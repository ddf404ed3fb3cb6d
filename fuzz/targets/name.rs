//! Names: one that is accepted means to the kernel what it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_apparmor::apparmor::name::{Label, ProfileName};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(name) = ProfileName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert!(text.len() <= 255 && text.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!text.starts_with(['&', ':', '.']) && !text.contains("//&"));
        assert!(!"unconfined".starts_with(text));
        let file = name.file_name();
        assert!(!file.is_empty() && !file.contains('/') && file != "." && file != "..");
        assert!(name.root().covers(text));
    }
    if let Ok(label) = Label::parse(text) {
        let again = Label::parse(&label.to_string()).unwrap();
        assert!(again.same(&label));
        for name in label.components() {
            assert_eq!(&ProfileName::parse(name.as_str()).unwrap(), name);
        }
    }
});
