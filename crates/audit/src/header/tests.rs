use super::*;
use proptest::prelude::*;

const PAIRS: &str = "apparmor=\"DENIED\" operation=\"open\"";

fn found(line: &str) -> Result<(Option<String>, bool), Unread> {
    let record = read(line.as_bytes())?;
    assert!(record.pairs.starts_with(FIRST));
    Ok((record.stamp.map(|at| at.to_string()), record.from_program))
}

#[test]
fn the_prefix_of_each_log() {
    for prefix in [
        "audit(1795342738.894:7): ",
        "audit: type=1400 audit(1795342738.894:7): ",
        "<5>audit: type=1400 audit(1795342738.894:7): ",
        "<5>[   12.345678] audit: type=1400 audit(1795342738.894:7): ",
        "[   12.345678] audit: type=1400 audit(1795342738.894:7): ",
        "[Tue Aug 20 09:14:16 2024] audit: type=1400 audit(1795342738.894:7): ",
        "[  12.3][ T1] audit: type=1400 audit(1795342738.894:7): ",
        "kern  :notice: [   12.3] audit: type=1400 audit(1795342738.894:7): ",
        "Nov 23 00:00:00 node kernel: audit: type=1400 audit(1795342738.894:7): ",
        "Nov 23 00:00:00 node kernel: [  107.215750] audit: type=1400 audit(1795342738.894:7): ",
        "2026-11-23T00:00:00.123456+00:00 node kernel: audit: type=1400 audit(1795342738.894:7): ",
        "Nov 23 00:00:00 node kernel: [  107.215750] type=1400 audit(1795342738.894:7): ",
        "2026-11-23T00:00:00.12345 kern.notice: [  1.2] audit: type=1400 audit(1795342738.894:7): ",
        "type=AVC msg=audit(1795342738.894:7): ",
        "type=1400 msg=audit(1795342738.894:7): ",
        "node=a.example type=AVC msg=audit(1795342738.894:7): ",
        "Nov 23 00:00:00 node audisp-syslog[7]: type=AVC msg=audit(1795342738.894:7): ",
    ] {
        let stamp = Some("1795342738.894:7".to_owned());
        assert_eq!(
            found(&format!("{prefix}{PAIRS}")),
            Ok((stamp, false)),
            "{prefix}"
        );
    }
    for prefix in [
        "Nov 23 00:00:00 node audit[103]: AVC ",
        "Nov 23 00:00:00 node kernel: AVC ",
    ] {
        assert_eq!(
            found(&format!("{prefix}{PAIRS}")),
            Ok((None, false)),
            "{prefix}"
        );
    }
}

#[test]
fn what_programs_report() {
    let common = "pid=613 uid=100 auid=4294967295 ses=4294967295 subj=? msg='";
    for prefix in [
        "audit: type=1107 audit(1795342738.894:7): ",
        "type=USER_AVC msg=audit(1795342738.894:7): ",
        "Nov 23 00:00:00 node audit[613]: USER_AVC ",
    ] {
        for end in [
            "",
            "\n exe=\"/usr/bin/dbus-daemon\" addr=? terminal=?'",
            "'\u{1d}UID=\"m\"",
        ] {
            let line = format!("{prefix}{common}{PAIRS}{end}");
            assert!(found(&line).unwrap().1, "{line}");
        }
    }
    assert_eq!(
        found(&format!("Nov 23 00:00:00 node dbus-daemon[9]: {PAIRS}")),
        Ok((None, true))
    );
}

#[test]
fn netlink_has_the_type_in_its_header() {
    let text = format!("audit(1795342738.894:7): {PAIRS}");
    let kernel = read_netlink(1400, text.as_bytes()).unwrap();
    assert!(!kernel.from_program);
    let sent = format!("audit(1795342738.894:7): pid=613 uid=100 auid=1 ses=1 msg='{PAIRS}'");
    assert!(read_netlink(1107, sent.as_bytes()).unwrap().from_program);
    for (kind, text) in [(1400, &sent), (1107, &text), (1112, &sent), (1300, &text)] {
        assert_eq!(read_netlink(kind, text.as_bytes()), Err(Unread::Other));
    }
}

#[test]
fn the_same_text_elsewhere_is_no_event() {
    for line in [
        "apparmor=\"DENIED\"",
        PAIRS,
        "sshd[1]: user said: apparmor=\"DENIED\"",
        "Nov 1 00:00:00 node sshd[1]: user: audit: type=1400 audit(1795342738.894:7): apparmor=\"DENIED\"",
        "Nov 1 00:00:00 node sshd[1]: audit: type=1400 audit(1795342738.894:7): apparmor=\"DENIED\"",
        "Nov 1 00:00:00 node kernel: usb 1: name audit: type=1400 audit(1.894:7): apparmor=\"DENIED\"",
        "[ 12.3] usb 1-1: audit: type=1400 audit(1.894:7): apparmor=\"DENIED\"",
        "type=USER_CMD msg=audit(1.894:7): pid=1 uid=0 msg='apparmor=\"DENIED\" operation=\"dbus\"'",
        "type=USER_CMD msg=audit(1.894:7): pid=1 msg='x type=AVC msg=audit(1.894:8): apparmor=\"DENIED\"'",
        "type=PATH msg=audit(1.894:7): name=\"type=AVC msg=audit(1.894:8): apparmor=\"",
        // Records of /dev/kmsg are unescaped first.
        "13,339,5140900,-;audit: type=1400 audit(1.894:7): apparmor=\"DENIED\"",
        "audit(x): apparmor=\"DENIED\"",
        "audit(1.89:7): apparmor=\"DENIED\"",
        "audit(1.894:-7): apparmor=\"DENIED\"",
    ] {
        assert!(found(line).is_err(), "{line}");
        let is_mentioned = line.contains("apparmor=\"");
        let expected = if is_mentioned {
            Unread::Malformed
        } else {
            Unread::Other
        };
        assert_eq!(found(line), Err(expected), "{line}");
    }
}

#[test]
fn other_records() {
    for line in [
        "",
        "usb 1-1: new device",
        "type=SYSCALL msg=audit(1.894:7): arch=c000003e syscall=257 success=no exit=-13",
        "type=AVC msg=audit(1.894:7): avc:  denied  { read } for pid=1 comm=\"x\"",
    ] {
        assert_eq!(found(line), Err(Unread::Other), "{line}");
    }
    let without = "type=AVC msg=audit(1.894:7):  operation=\"open\" profile=\"p\" pid=1";
    assert_eq!(found(without), Err(Unread::UnknownVerdict));
}

#[test]
fn digits_that_printk_may_have_cut_are_not_read() {
    let line = |digits: usize| {
        format!(
            "audit: type=1400 audit(1.894:7): {PAIRS} profile=\"p\" pid=7 target={}",
            "41".repeat(digits)
        )
    };
    assert!(found(&line(100)).is_ok());
    assert_eq!(found(&line(440)), Err(Unread::Malformed));
    // auditd writes the whole record.
    let whole = line(440).replace("audit: type=1400 ", "type=AVC msg=");
    assert!(found(&whole).is_ok());
}

proptest! {
    #[test]
    fn no_line_is_an_event_unless_the_record_begins_it(
        before in "[ -~]{0,20}", tag in "[a-z]{1,8}\\[[0-9]{1,3}\\]", text in "[ -~]{0,30}",
    ) {
        prop_assume!(!tag.starts_with("audi") && !tag.starts_with("dbus"));
        prop_assume!(!before.contains(": ") && !before.ends_with(':'));
        prop_assume!(!text.starts_with("AVC ") && !text.starts_with("USER_AVC "));
        let line = format!("{before} {tag}: {text} audit: type=1400 audit(1.894:7): {PAIRS}");
        prop_assert_eq!(found(&line), Err(Unread::Malformed));
    }
}
