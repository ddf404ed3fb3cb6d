//! `config.json` and `process.json`: the label is spliced in, no other byte changes, and what was
//! written is what is read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_apparmor::apparmor::name::Label;
use oci_apparmor::error::Result;
use oci_apparmor::bundle::document::Document;
use oci_apparmor::bundle::preflight;

type Read = for<'a> fn(&'a [u8]) -> Result<Document<'a>>;

fuzz_target!(|data: &[u8]| {
    let _ = Document::process(data).and_then(|process| preflight::process(&process));
    splice(data, |bytes| Document::config(bytes));
    splice(data, |bytes| Document::process(bytes));
});

fn splice(before: &[u8], read: Read) {
    let label = Label::parse("fuzzed//&floor").unwrap();
    let Ok(document) = read(before) else { return };
    let Some(text) = document.with_label(&label) else {
        let same = |has: &str| Label::parse(has).is_ok_and(|has| has.same(&label));
        assert!(document.profile().is_some_and(same));
        return;
    };
    let after = text.as_bytes();
    let again = read(after).unwrap();
    assert_eq!(again.profile(), Some("fuzzed//&floor"));
    assert_eq!(again.annotations(), document.annotations());
    assert_eq!(again.with_label(&label), None);
    // One place differs: the texts agree up to there, and from there on.
    let head = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let tail = before.iter().rev().zip(after.iter().rev());
    let tail = tail.take_while(|(a, b)| a == b).count();
    let changed = after.len().saturating_sub(head + tail);
    assert!(changed <= "\"apparmorProfile\":\"fuzzed//&floor\",".len());
    // It is JSON to other readers, if it was.
    if serde_json::from_slice::<serde_json::Value>(before).is_ok() {
        serde_json::from_slice::<serde_json::Value>(after).unwrap();
    }
}
