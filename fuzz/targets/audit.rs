//! Lines of logs: an event has a profile and an operation, and says the same when it is written
//! again as the kernel writes it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::tally::Tally;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut tally = Tally::default();
    for line in text.lines() {
        tally.add(line);
        let Some(event) = Event::parse(line) else {
            continue;
        };
        let profile = event.profile().unwrap();
        let hex = |s: &str| s.bytes().map(|b| format!("{b:02X}")).collect::<String>();
        let again = format!(
            "audit(1.2:3): apparmor=\"DENIED\" operation=\"x\" profile=\"{}\" name={}",
            if profile.contains(['"', '\n']) {
                "p"
            } else {
                profile
            },
            if line.is_empty() {
                String::new()
            } else {
                hex(line)
            },
        );
        if let Some(again) = Event::parse(&again) {
            assert_eq!(again.field("name"), Some(line));
        }
    }
    assert!(tally.iter().all(|(_, seen)| seen.count > 0));
});
