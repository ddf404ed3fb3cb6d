use super::*;
use proptest::prelude::*;

#[track_caller]
fn event(pairs: &str) -> Event {
    let line = format!("type=AVC msg=audit(1795342738.894:7): apparmor=\"DENIED\" {pairs}");
    Event::parse(line.as_bytes()).unwrap()
}

#[track_caller]
fn malformed(line: &str) {
    assert_eq!(
        Event::parse(line.as_bytes()),
        Err(Unread::Malformed),
        "{line}"
    );
}

/// One record of each class, as the kernels write them, with what is read of it.
#[test]
fn each_class() {
    for (class, pairs, object, denied) in [
        (
            EventClass::File,
            "operation=\"open\" class=\"file\" profile=\"web\" name=\"/etc/shadow\" \
         pid=103 comm=\"cat\" requested_mask=\"r\" denied_mask=\"r\" fsuid=0 ouid=0",
            "/etc/shadow",
            "r",
        ),
        (
            EventClass::File,
            "operation=\"open\" profile=\"p\" name=2F6574632F612062 pid=1 comm=\"c\" \
         requested_mask=\"wc\" denied_mask=\"wc\" fsuid=-1 ouid=0",
            "/etc/a b",
            "wc",
        ),
        (
            EventClass::File,
            "operation=\"link\" class=\"file\" info=\"target restricted\" error=-13 \
         profile=\"p\" name=\"/b\" pid=1 comm=\"ln\" requested_mask=\"l\" denied_mask=\"l\" fsuid=0 \
         ouid=0 target=\"/a\"",
            "/b target=/a",
            "l",
        ),
        (
            EventClass::File,
            "operation=\"exec\" class=\"file\" info=\"no new privs\" error=-1 \
         profile=\"p\" name=\"/bin/x\" pid=1 comm=\"sh\" requested_mask=\"x\" denied_mask=\"x\" fsuid=0 \
         ouid=0 target=\"p//&q\"",
            "/bin/x target=p//&q",
            "x",
        ),
        (
            EventClass::File,
            "operation=\"change_onexec\" class=\"file\" info=\"label not found\" error=-2 \
         profile=\"p\" name=\"q\" pid=1 comm=\"runc\"",
            "q",
            "",
        ),
        (
            EventClass::File,
            "operation=\"change_hat\" info=\"unconfined can not change_hat\" error=-1 \
         profile=\"unconfined\" pid=1 comm=\"httpd\"",
            "",
            "",
        ),
        (
            EventClass::Mount,
            "operation=\"mount\" class=\"mount\" info=\"failed mntpnt match\" error=-13 \
         profile=\"p\" name=\"/mnt/\" pid=1 comm=\"mount\" fstype=\"tmpfs\" srcname=\"tmpfs\" \
         flags=\"rw, bind\"",
            "/mnt/ srcname=tmpfs fstype=tmpfs flags=rw, bind",
            "",
        ),
        (
            EventClass::Mount,
            "operation=\"umount\" profile=\"p\" name=\"/mnt/\" pid=1 comm=\"umount\"",
            "/mnt/",
            "",
        ),
        (
            EventClass::Mount,
            "operation=\"pivotroot\" class=\"mount\" profile=\"p\" name=\"/n/\" pid=1 \
         comm=\"x\" srcname=\"/n/old/\"",
            "/n/ srcname=/n/old/",
            "",
        ),
        (
            EventClass::Signal,
            "operation=\"signal\" class=\"signal\" profile=\"p\" pid=1 comm=\"kill\" \
         requested_mask=\"send\" denied_mask=\"send\" signal=term peer=\"unconfined\"",
            "term peer=unconfined",
            "send",
        ),
        // `audit_signal_cb()` writes no blank before an unknown signal.
        (
            EventClass::Signal,
            "operation=\"signal\" profile=\"p\" pid=1 comm=\"kill\" \
         requested_mask=\"send\" denied_mask=\"send\"signal=unknown(64) peer=\"q\"",
            "unknown(64) peer=q",
            "send",
        ),
        (
            EventClass::Ptrace,
            "operation=\"ptrace\" class=\"ptrace\" label=\"a//&b\" pid=1 comm=\"gdb\" \
         requested_mask=\"trace\" denied_mask=\"trace\" peer=\"unconfined\"",
            "peer=unconfined",
            "trace",
        ),
        (
            EventClass::Network,
            "operation=\"create\" class=\"net\" profile=\"p\" pid=1 comm=\"c\" \
         family=\"inet\" sock_type=\"stream\" protocol=6 requested_mask=\"create\" \
         denied_mask=\"create\"",
            "inet sock_type=stream",
            "create",
        ),
        (
            EventClass::Network,
            "operation=\"sendmsg\" profile=\"p\" pid=1 comm=\"c\" laddr=10.0.0.1 \
         lport=80 faddr=10.0.0.2 fport=4242 family=\"inet\" sock_type=\"raw\" protocol=1 \
         requested_mask=\"send\" denied_mask=\"send\"",
            "inet sock_type=raw laddr=10.0.0.1 lport=80 faddr=10.0.0.2 fport=4242",
            "send",
        ),
        (
            EventClass::Network,
            "operation=\"connect\" class=\"net\" info=\"failed af match\" error=-13 \
         profile=\"p\" pid=1 comm=\"c\" family=\"unix\" sock_type=\"stream\" protocol=0 \
         requested_mask=\"send receive connect\" denied_mask=\"send connect\" addr=none \
         peer_addr=\"@6162\" peer=\"q\"",
            "unix sock_type=stream addr=none peer_addr=@6162 peer=q",
            "send connect",
        ),
        (
            EventClass::Capability,
            "operation=\"capable\" class=\"cap\" profile=\"p\" pid=1 comm=\"c\" \
         capability=21  capname=\"sys_admin\"",
            "sys_admin",
            "",
        ),
        (
            EventClass::Namespace,
            "operation=\"userns_create\" class=\"namespace\" info=\"x\" error=-13 \
         profile=\"p\" pid=1 comm=\"unshare\" requested=\"userns_create\" denied=\"userns_create\"",
            "",
            "userns_create",
        ),
        (
            EventClass::IoUring,
            "operation=\"uring_override\" class=\"io_uring\" profile=\"p\" pid=1 \
         comm=\"c\" requested=\"override_creds\" denied=\"override_creds\" tcontext=\"q\"",
            "tcontext=q",
            "override_creds",
        ),
        (
            EventClass::MessageQueue,
            "operation=\"open\" class=\"posix_mqueue\" profile=\"p\" name=\"/q\" \
         pid=1 comm=\"c\" requested=\"create\" denied=\"create\"class=\"posix_mqueue\" fsuid=0 ouid=0",
            "/q",
            "create",
        ),
        (
            EventClass::ResourceLimit,
            "operation=\"setrlimit\" class=\"rlimits\" profile=\"p\" pid=1 \
         comm=\"c\" rlimit=nofile value=18446744073709551615",
            "nofile value=18446744073709551615",
            "",
        ),
    ] {
        let event = event(pairs);
        assert_eq!(event.class(), class, "{pairs}");
        assert_eq!(event.object(), object);
        assert_eq!(
            event.denied().map_or(String::new(), |d| d.to_string()),
            denied,
            "{pairs}"
        );
        assert!(event.fields.others.is_empty(), "{:?}", event.fields.others);
    }
}

#[test]
fn a_record_of_dbus() {
    let line = "type=USER_AVC msg=audit(1648023635.002:57): pid=613 uid=100 auid=4294967295 \
        ses=4294967295 subj=? msg='apparmor=\"DENIED\" operation=\"dbus_method_call\"  bus=\"system\" \
        path=\"/org/freedesktop/resolve1\" interface=\"org.freedesktop.resolve1.Manager\" \
        member=\"ResolveAddress\" mask=\"send\" name=\":1.6\" pid=2726 label=\"web\" peer_pid=522 \
        peer_label=\"unconfined\" exe=\"/usr/bin/dbus-daemon\" sauid=103 hostname=? addr=? \
        terminal=?'\u{1d}UID=\"messagebus\"";
    let event = Event::parse(line.as_bytes()).unwrap();
    assert_eq!(
        (event.class(), event.from_program),
        (EventClass::Dbus, true)
    );
    assert_eq!(
        (event.fields.pid, event.fields.peer_pid),
        (Some(2726), Some(522))
    );
    assert_eq!(event.fields.addr, None);
    assert_eq!(event.profile().unwrap(), "web");
    assert_eq!(event.denied().unwrap(), "send");
    assert_eq!(
        event.object(),
        "system path=/org/freedesktop/resolve1 interface=org.freedesktop.resolve1.Manager \
         member=ResolveAddress name=:1.6 peer_label=unconfined"
    );
    // A program can send such a record, but it does not pass for the kernel's.
    malformed(&line.replace("dbus_method_call", "open"));
}

#[test]
fn a_record_of_kmsg() {
    let record = |priority: u8| {
        format!(
            "{priority},339,5140900,-;audit: type=1400 audit(1795342738.894:7): apparmor=\"DENIED\" \
             operation=\"open\" profile=\"p\" name=\"/a\\x5cx41\" pid=7 comm=\"c\"\n SUBSYSTEM=x\n"
        )
    };
    let event = Event::parse(record(5).as_bytes()).unwrap();
    assert_eq!(event.fields.name.unwrap(), *r"/a\x41");
    // A program wrote it.
    malformed(&record(13));
}

#[test]
fn policy_that_is_loaded() {
    let line = "audit: type=1400 audit(1795342738.894:7): apparmor=\"STATUS\" \
        operation=\"profile_load\" profile=\"unconfined\" name=\"web\" pid=1 comm=\"apparmor_parser\"";
    let event = Event::parse(line.as_bytes()).unwrap();
    assert_eq!(
        (event.verdict, event.class()),
        (Verdict::Status, EventClass::Policy)
    );
    // `audit_iface()` writes no operation, and the name twice.
    let line = line.replace(
        "operation=\"profile_load\"",
        "info=\"failed to unpack\" error=-71",
    ) + " name=\"web\" offset=151";
    let fields = Event::parse(line.as_bytes()).unwrap().fields;
    assert_eq!((fields.error, fields.offset), (Some(-71), Some(151)));
    let itself = "type=AVC msg=audit(1795342738.894:4): apparmor=\"STATUS\" \
        info=\"AppArmor Filesystem Enabled\" pid=1 comm=\"swapper/0\"";
    assert_eq!(Event::parse(itself.as_bytes()).unwrap().profile(), None);
}

#[test]
fn a_message_of_the_journal() {
    let pairs = "apparmor=\"DENIED\" operation=\"open\" profile=\"p\" pid=7 comm=\"c\"";
    let event = Event::parse_journal(format!("AVC {pairs}").as_bytes()).unwrap();
    assert_eq!((event.stamp, event.fields.pid), (None, Some(7)));
    assert_eq!(Event::parse_journal(pairs.as_bytes()), Err(Unread::Other));
    let sent = format!("USER_AVC pid=1 uid=1 auid=1 ses=1 msg='{pairs}'");
    assert_eq!(
        Event::parse_journal(sent.as_bytes()),
        Err(Unread::Malformed)
    );
    let sent = sent.replace("\"open\"", "\"dbus_signal\"");
    assert!(Event::parse_journal(sent.as_bytes()).unwrap().from_program);
}

#[test]
fn numbers_and_addresses_are_values() {
    let users = event("operation=\"x\" profile=\"p\" pid=7 fsuid=-1 ouid=4294967294").fields;
    assert_eq!(
        (users.fsuid, users.ouid),
        (Some(u32::MAX), Some(u32::MAX - 1))
    );
    let address = |text: &str| {
        let pairs = format!("operation=\"x\" profile=\"p\" pid=7 family=\"unix\" addr={text}");
        event(&pairs).fields.addr
    };
    let text = |bytes: &str| OutsideText::new(bytes.as_bytes());
    assert_eq!(address("none"), Some(SocketAddress::Unnamed));
    assert_eq!(address("\"@a\""), Some(SocketAddress::Abstract(text("a"))));
    assert_eq!(
        address("\"/run/a\""),
        Some(SocketAddress::Path(text("/run/a")))
    );
    assert_eq!(address("2F6120"), Some(SocketAddress::Path(text("/a "))));
}

#[test]
fn two_objects_never_look_alike() {
    let one =
        event("operation=\"link\" profile=\"p\" name=2F61207461726765743D2F62 pid=1").object();
    let two = event("operation=\"link\" profile=\"p\" name=\"/a\" pid=1 target=\"/b\"").object();
    assert_eq!((&*one, &*two), (r"/a\x20target=/b", "/a target=/b"));
}

#[test]
fn what_is_cut_or_changed_is_counted() {
    let whole = "audit: type=1400 audit(1795342738.894:7): apparmor=\"DENIED\" operation=\"open\" \
        profile=\"p\" name=2F6120 pid=7 comm=\"c\" denied_mask=\"r\"";
    assert!(Event::parse(whole.as_bytes()).is_ok());
    malformed(whole.split_once(" pid").unwrap().0);
    malformed(whole.strip_suffix('"').unwrap());
    malformed(&whole.replace("2F6120", "2F612"));
    malformed(&whole.replace("2F6120", "/a"));
    malformed(&whole.replace("pid=7", "pid=x"));
    malformed(&whole.replace("operation=\"open\" ", ""));
    malformed(&whole.replace("profile=\"p\" ", ""));
    malformed(&whole.replace("comm=\"c\"", "rest"));
    malformed(&whole.replace("comm=\"c\"", "=\"c\""));
    malformed(&format!("{whole} name={}", "A".repeat(LONGEST_LINE)));
    assert_eq!(Event::parse(&[b'"'; LONGEST_LINE + 1]), Err(Unread::Other));
}

/// As `audit_log_n_untrustedstring()` writes a text.
fn written(bytes: &[u8]) -> Vec<u8> {
    match bytes
        .iter()
        .all(|b| (0x21..=0x7e).contains(b) && *b != b'"')
    {
        true => [b"\"", bytes, b"\""].concat(),
        false => bytes
            .iter()
            .flat_map(|b| format!("{b:02X}").into_bytes())
            .collect(),
    }
}

/// Names that try to be something else.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let text = |text: &'static str| Just(text.as_bytes().to_vec());
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        text("/x\" profile=\"victim"),
        text("/x\"\naudit: type=1400 audit(1.002:3): apparmor=\"DENIED\" operation=\"open\""),
        text("audit(1.002:3): apparmor=\"DENIED\""),
        text("\u{1d}NAME=\"x\""),
        text("6162"),
        text("@a"),
        text("(null)"),
        text("' msg='apparmor="),
        "[/a-z \"=']{0,40}".prop_map(String::into_bytes),
    ]
}

prop_compose! {
    /// A record as the kernel writes it, with its verdict, the texts and the numbers.
    fn record()(
        texts in proptest::collection::vec(proptest::option::of(hostile()), 9),
        pid: u32, error in -4095i32..0, fsuid: u32, value: u64, has_info: bool, class in 0usize..5,
    ) -> (Vec<u8>, EventFields) {
        const CLASSES: [&str; 5] = ["file", "mount", "net", "signal", "rlimits"];
        let text = |index: usize| texts[index].clone().map(OutsideText::new);
        let plain = |text: &str| Some(OutsideText::new(text.as_bytes()));
        let mut fields = EventFields {
            operation: plain("open"),
            class: plain(CLASSES[class]),
            profile: Some(text(0).unwrap_or_default()),
            name: text(1),
            pid: Some(pid),
            comm: Some(text(2).unwrap_or_default()),
            ..EventFields::default()
        };
        let mut line = format!("operation=\"open\" class=\"{}\"", CLASSES[class]).into_bytes();
        if has_info {
            (fields.info, fields.error) = (plain("a b"), Some(error));
            line.extend(format!(" info=\"a b\" error={error}").bytes());
        }
        let put = |line: &mut Vec<u8>, key: &str, text: &Option<OutsideText>| if let Some(text) = text {
            line.extend([format!(" {key}=").as_bytes(), &written(text.bytes())].concat());
        };
        put(&mut line, "profile", &fields.profile);
        put(&mut line, "name", &fields.name);
        line.extend(format!(" pid={pid}").bytes());
        put(&mut line, "comm", &fields.comm);
        match class {
            0 => {
                fields.denied_mask = plain("wc");
                (fields.fsuid, fields.target) = (Some(fsuid), text(3));
                let fsuid = fsuid.cast_signed();
                line.extend(format!(" denied_mask=\"wc\" fsuid={fsuid}").bytes());
                put(&mut line, "target", &fields.target);
            }
            1 => {
                (fields.fstype, fields.srcname, fields.options) = (text(4), text(5), text(6));
                put(&mut line, "fstype", &fields.fstype);
                put(&mut line, "srcname", &fields.srcname);
                put(&mut line, "options", &fields.options);
            }
            2 => {
                // A path that begins with `@` looks like an abstract name.
                let path = text(7).filter(|path| !path.bytes().starts_with(b"@"));
                (fields.family, fields.peer) = (plain("unix"), text(8));
                line.extend(b" family=\"unix\"");
                put(&mut line, "addr", &path);
                fields.addr = path.map(SocketAddress::Path);
                put(&mut line, "peer", &fields.peer);
            }
            3 => {
                (fields.signal, fields.peer) = (plain("unknown(64)"), text(8));
                fields.denied_mask = plain("send");
                line.extend(b" denied_mask=\"send\"signal=unknown(64)");
                put(&mut line, "peer", &fields.peer);
            }
            _ => {
                (fields.rlimit, fields.value) = (plain("nofile"), Some(value));
                line.extend(format!(" rlimit=nofile value={value}").bytes());
            }
        }
        (line, fields)
    }
}

proptest! {
    // What the kernel writes is read back exactly, and it is one event whatever the names are.
    #[test]
    fn events_are_read_back((pairs, fields) in record(), enriched: bool) {
        let mut line = b"type=AVC msg=audit(1795342738.894:7): apparmor=\"DENIED\" ".to_vec();
        line.extend(&pairs);
        prop_assert!(!line.contains(&b'\n'), "one line");
        if enriched {
            line.extend(b"\x1dFSUID=\"root\" OUID=\"root\" PROFILE=\"x\"");
        }
        let event = Event::parse(&line);
        prop_assert_eq!(event.map(|event| event.fields), Ok(fields));
    }

    #[test]
    fn no_line_is_too_odd(line: Vec<u8>, pairs in "[a-z]{0,5}(=|=\"| )[ -~]{0,60}") {
        let _ = Event::parse(&line);
        let _ = Event::parse(format!("audit(1.002:3): apparmor=\"DENIED\" {pairs}").as_bytes());
    }
}
