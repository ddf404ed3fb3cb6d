//! Lines of logs: an access has a profile, a line is one event at most, and any name is read back when
//! it is written as the kernel writes it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::tally::Tally;

fuzz_target!(|data: &[u8]| {
    let mut tally = Tally::default();
    let mut events = 0;
    for line in data.split(|byte| *byte == b'\n') {
        tally.add(line);
        let Ok(event) = Event::parse(line) else {
            continue;
        };
        events += u64::from(event.verdict.is_access());
        assert!(event.profile().is_some() || !event.verdict.is_access());
        assert!(!event.object().contains(char::is_control));
    }
    let counted: u64 = tally.iter().map(|(_, seen)| seen.count).sum();
    assert_eq!(counted + tally.all_left_out(), events);

    let name = &data[..data.len().min(4096)];
    let plain = |byte: &u8| (0x21..=0x7e).contains(byte) && *byte != b'"';
    let written = match name.iter().all(plain) {
        true => [b"\"", name, b"\""].concat(),
        false => name.iter().flat_map(|b| format!("{b:02X}").into_bytes()).collect(),
    };
    let start = "audit(1.002:3): apparmor=\"DENIED\" operation=\"x\" profile=\"p\" name=";
    let line = [start.as_bytes(), &written, b" pid=7 comm=\"c\""].concat();
    let event = Event::parse(&line).unwrap();
    assert_eq!(event.fields.name.unwrap().bytes(), name);
});
