use super::*;

const OLD: Dialect = Dialect { network_v9: false };
const NEW: Dialect = Dialect { network_v9: true };

fn text(text: &str) -> OutsideText {
    OutsideText::new(text.as_bytes())
}

fn allow(allow: u32) -> Permissions {
    Permissions {
        allow,
        ..Permissions::default()
    }
}

/// What a question asks, and its ruling, where these queries are answered so and others with nothing.
fn asked(
    question: &Question,
    dialect: Dialect,
    answers: &[(&[u8], Permissions)],
) -> (Vec<Vec<u8>>, Ruling) {
    let mut queries = Vec::new();
    let mut ask = |query: &[u8]| {
        queries.push(query.to_vec());
        let known = answers.iter().find(|(known, _)| *known == query);
        Ok(known.map_or_else(Permissions::default, |(_, answer)| *answer))
    };
    let ruling = question.ruling(dialect, &mut ask).unwrap();
    (queries, ruling)
}

/// The only query of a question.
fn bytes(question: &Question) -> Vec<u8> {
    let (mut queries, _) = asked(question, OLD, &[]);
    assert_eq!(queries.len(), 1, "{question:?}");
    queries.remove(0)
}

fn network(permissions: u32) -> Question {
    Question::Network {
        family: 2,
        kind: 1,
        protocol: 6,
        permissions,
    }
}

#[test]
fn the_bytes_are_those_that_the_kernel_matches() {
    let signal = Question::Signal {
        signal: 15,
        permissions: bits::SEND,
        peer: text("web"),
    };
    let trace = Question::Ptrace {
        permissions: bits::TRACE,
        peer: text("web"),
    };
    let change = |on_exec, stacked| Question::ChangeProfile {
        label: text("web"),
        on_exec,
        stacked,
    };
    let file = Question::File {
        path: OutsideText::new(&b"/a \xff"[..]),
        permissions: bits::READ,
    };
    let mount = Question::Mount(MountCall {
        target: text("/mnt/"),
        source: Some(text("/dev/sda")),
        fstype: Some(text("ext4")),
        flags: 0x1003,
        data: None,
    });
    let pivot = Question::PivotRoot {
        new: text("/new/"),
        old: text("/new/old/"),
    };
    let message = |permissions| {
        Question::Dbus(BusMessage {
            permissions,
            bus: text("system"),
            name: text("org.x"),
            peer: text("unconfined"),
            path: text("/x"),
            interface: text("org.i"),
            member: text("M"),
        })
    };
    for (question, expected) in [
        (file, &b"\x02/a \xff"[..]),
        (change(false, false), b"\x02web"),
        (change(true, true), b"\x02&web"),
        (network(bits::CREATE), b"\x0e\x00\x02\x00\x01"),
        (signal, b"\x0a\x0fweb"),
        (trace, b"\x10\x09web"),
        (mount, b"\x07/mnt/\0/dev/sda\0ext4\0\x01\x02\x0d"),
        (Question::Umount(text("/mnt/")), b"\x07/mnt/"),
        (pivot, b"\x07/new/\0/new/old/"),
        (Question::UserNamespace, b"\x15"),
        (Question::UringPoll, b"\x16"),
        (Question::UringCredentials(text("web")), b"\x16web"),
        // The capability 40 is the ninth of its word.
        (Question::Capability(40), b"\x03\x01"),
        (message(2), b"\x20system\0org.x\0unconfined\0/x\0org.i\0M"),
        (message(0x40), b"\x20system\0org.x"),
        (message(0x20), b"\x20system"),
    ] {
        assert_eq!(bytes(&question), expected, "{question}");
    }
}

#[test]
fn a_denial_is_quiet_if_all_that_is_missing_is() {
    let file = Question::File {
        path: text("/a"),
        permissions: bits::READ | bits::WRITE,
    };
    let granted = |allow, quiet| Permissions {
        allow,
        audit: 0,
        quiet,
    };
    let denied = |missing, quiet| Ruling::Denied { missing, quiet };
    for (permissions, ruling) in [
        (granted(6, 0), Ruling::Allowed),
        (granted(4, 0), denied(2, false)),
        (granted(4, 2), denied(2, true)),
        (granted(0, 2), denied(6, false)),
        (granted(0, 6), denied(6, true)),
    ] {
        let (_, found) = asked(&file, OLD, &[(b"\x02/a", permissions)]);
        assert_eq!(found, ruling);
    }
}

#[test]
fn a_capability_is_a_bit_of_its_word() {
    let (_, ruling) = asked(
        &Question::Capability(40),
        NEW,
        &[(b"\x03\x01", allow(1 << 8))],
    );
    assert_eq!(ruling, Ruling::Allowed);
    let (_, ruling) = asked(
        &Question::Capability(8),
        NEW,
        &[(b"\x03\x01", allow(1 << 8))],
    );
    assert_ne!(ruling, Ruling::Allowed);
}

/// `aa_match_to_prot()` looks at the protocol only if more can follow.
#[test]
fn the_protocol_is_asked_about_where_more_can_follow() {
    let question = network(bits::CREATE);
    let short: &[u8] = b"\x0f\x00\x02\x00\x01";
    let long: &[u8] = b"\x0f\x00\x02\x00\x01\x00\x06";
    let (queries, ruling) = asked(&question, NEW, &[(short, allow(bits::CREATE))]);
    assert_eq!((queries.len(), ruling), (1, Ruling::Allowed));
    let (queries, ruling) = asked(
        &question,
        NEW,
        &[(short, allow(0)), (long, allow(bits::CREATE))],
    );
    assert_eq!(queries, [short]);
    assert_ne!(ruling, Ruling::Allowed);
    let answers = [(short, allow(bits::CONTINUES)), (long, allow(bits::CREATE))];
    let (queries, ruling) = asked(&question, NEW, &answers);
    assert_eq!(
        (queries, ruling),
        (vec![short.to_vec(), long.to_vec()], Ruling::Allowed)
    );
}

#[test]
fn a_unix_socket_has_addresses_and_a_peer_on_new_kernels() {
    let socket = |permissions, name: Option<&str>, peer: Option<(Option<&str>, &str)>| {
        Question::Unix(UnixSocket {
            kind: 1,
            protocol: 0,
            permissions,
            name: name.map(text),
            peer: peer.map(|(name, label)| (name.map(text), text(label))),
        })
    };
    let create = socket(bits::CREATE, None, None);
    let bind = socket(0x20_0000, Some("x"), None);
    let send = socket(bits::SEND, None, Some((Some("y"), "web")));
    for (question, dialect, expected) in [
        (&create, OLD, &b"\x0e\0\x01\0\x01"[..]),
        (&create, NEW, b"\x0f\0\x01\0\x01\0\0"),
        (&bind, NEW, b"\x0f\0\x01\0\x01\0\0\0x\0\0"),
        (&send, NEW, b"\x0f\0\x01\0\x01\0\0\x01\0\0\x01\0y\0web"),
    ] {
        let (queries, _) = asked(question, dialect, &[]);
        assert_eq!(queries, [expected], "{question}");
    }
}

/// `profile_path_link()`: link, pair, and the target if the pair says so.
#[test]
fn a_link_may_not_allow_more_than_its_target() {
    let question = Question::Link {
        link: text("/l"),
        target: text("/t"),
    };
    let (link, pair, target): (&[u8], &[u8], &[u8]) = (b"\x02/l", b"\x02/l\0/t", b"\x02/t");
    let both = bits::LINK | bits::LINK_SUBSET;
    let ruling = |answers: &[(&[u8], Permissions)]| asked(&question, OLD, answers).1;
    let is_denied = |ruling| matches!(ruling, Ruling::Denied { .. });
    assert!(is_denied(ruling(&[(pair, allow(bits::LINK))])));
    assert!(is_denied(ruling(&[(link, allow(bits::LINK))])));
    let pairs = [
        (link, allow(bits::LINK | bits::READ)),
        (pair, allow(bits::LINK)),
    ];
    assert_eq!(ruling(&pairs), Ruling::Allowed);
    let with_target = |of_target| {
        ruling(&[
            (link, allow(bits::LINK | bits::READ)),
            (pair, allow(both)),
            (target, allow(of_target)),
        ])
    };
    assert!(is_denied(with_target(bits::WRITE)));
    assert_eq!(with_target(bits::READ), Ruling::Allowed);
    let executable = [
        (link, allow(bits::LINK | bits::EXECUTE)),
        (pair, allow(both)),
        (target, allow(bits::EXECUTE)),
    ];
    assert!(matches!(ruling(&executable), Ruling::Unclear(_)));
}

#[test]
fn a_stack_is_asked_about_as_a_whole_and_by_its_components() {
    let question = |peer: &str| Question::Signal {
        signal: 9,
        permissions: bits::SEND,
        peer: text(peer),
    };
    let send = || allow(bits::SEND);
    let (queries, ruling) = asked(&question("a//&b"), OLD, &[(b"\x0a\x09a//&b", send())]);
    assert_eq!((queries.len(), ruling), (1, Ruling::Allowed));
    let parts: [(&[u8], _); 2] = [(b"\x0a\x09a", send()), (b"\x0a\x09b", send())];
    assert_eq!(asked(&question("a//&b"), OLD, &parts).1, Ruling::Allowed);
    assert_ne!(asked(&question("a//&c"), OLD, &parts).1, Ruling::Allowed);
    for other in [":ns:a", "a//&:ns:b"] {
        let ruling = asked(&question(other), OLD, &parts).1;
        assert!(matches!(ruling, Ruling::Unclear(_)), "{other}");
    }
}

#[test]
fn options_of_a_mount_are_asked_about_where_the_profile_has_some() {
    let question = Question::Mount(MountCall {
        target: text("/m/"),
        data: Some(text("size=1")),
        ..MountCall::default()
    });
    let (short, long): (&[u8], &[u8]) = (b"\x07/m/\0\0\0", b"\x07/m/\0\0\0\0size=1");
    let answers = [(short, allow(0x40)), (long, allow(bits::MOUNT))];
    assert_eq!(asked(&question, OLD, &answers).1, Ruling::Allowed);
    assert_ne!(asked(&question, OLD, &answers[1..]).1, Ruling::Allowed);
    assert_eq!(
        asked(&question, OLD, &[(short, allow(0x42))]).1,
        Ruling::Allowed
    );
}
