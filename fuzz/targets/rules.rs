//! Events as rules: a rule is one line that no name gets out of, a pattern matches the names that it was
//! made of, and each event is counted once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::rule::{Learnt, PolicyRule};
use oci_apparmor_audit::suggestion::{Generalise, Suggestion, SuggestionOptions};

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let generalise = match choice % 3 {
        0 => Generalise::None,
        1 => Generalise::Some,
        _ => Generalise::More,
    };
    let mut events = Vec::new();
    for line in data.split(|byte| *byte == b'\n') {
        // A line of a log, or the name of a file.
        let hex: String = line.iter().map(|byte| format!("{byte:02X}")).collect();
        let open = format!(
            "audit(1.002:3): apparmor=\"DENIED\" operation=\"open\" profile=\"p\" name={hex} pid=7 \
             comm=\"c\" denied_mask=\"r\" fsuid=0 ouid=0"
        );
        events.extend([Event::parse(line), Event::parse(open.as_bytes())].into_iter().flatten());
    }
    events.retain(|event| event.verdict.is_access());
    for event in &events {
        if let Learnt::Rule(rule) | Learnt::Flag(_, Some(rule)) = Learnt::of(event) {
            let text = rule.to_string();
            assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
            let outside: String = text.split('"').step_by(2).collect();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-=(), +<&>".contains(&byte);
            assert!(outside.bytes().all(plain) && text.ends_with(','), "{text}");
        }
    }
    let suggestion = Suggestion::of(&events, &SuggestionOptions { generalise });
    for rule in &suggestion.rules {
        if let PolicyRule::File(file) = &rule.rule {
            for name in &rule.witnesses {
                assert!(file.path.matches(name.bytes()), "{}: {name}", file.path);
            }
        }
        let is_comment = rule.to_string().lines().all(|line| line.starts_with("# "));
        assert_eq!(is_comment, rule.danger.is_some());
    }
});
