use super::*;
use proptest::prelude::*;

#[track_caller]
fn event(verdict: &str, pairs: &str) -> Event {
    let line = format!("type=AVC msg=audit(1795342738.894:7): apparmor=\"{verdict}\" {pairs}");
    Event::parse(line.as_bytes()).unwrap_or_else(|e| panic!("{e:?}: {pairs}"))
}

/// What an event teaches, as text.
fn learnt(verdict: &str, pairs: &str) -> String {
    match Learnt::of(&event(verdict, pairs)) {
        Learnt::Rule(rule) => rule.to_string(),
        Learnt::Flag(flag, None) => flag.as_str().to_owned(),
        Learnt::Flag(flag, Some(rule)) => format!("{}: {rule}", flag.as_str()),
        Learnt::Nothing(reason) => format!("{reason:?}"),
    }
}

#[track_caller]
fn teaches(cases: &[(&str, &str)]) {
    for (pairs, expected) in cases {
        assert_eq!(&learnt("DENIED", pairs), expected, "{pairs}");
    }
}

#[test]
fn files() {
    const START: &str = "profile=\"p\" pid=1 comm=\"c\"";
    for (pairs, expected) in [
        (
            r#"operation="open" name="/etc/hosts" denied_mask="r" fsuid=0 ouid=0"#,
            "/etc/hosts r,",
        ),
        // Create and delete are a part of `w`, and append is.
        (
            r#"operation="mknod" name="/a" denied_mask="c" fsuid=101 ouid=101"#,
            "owner /a w,",
        ),
        (
            r#"operation="rename_src" name="/a" denied_mask="wrd" fsuid=101 ouid=0"#,
            "/a rw,",
        ),
        (
            r#"operation="open" name="/a" denied_mask="ac" fsuid=101 ouid=0"#,
            "/a w,",
        ),
        (
            r#"operation="open" name="/a" denied_mask="a" fsuid=101 ouid=0"#,
            "/a a,",
        ),
        (
            r#"operation="file_mmap" name="/l.so" denied_mask="rm" fsuid=101 ouid=0"#,
            "/l.so mr,",
        ),
        (
            r#"operation="file_lock" name="/a" denied_mask="k" fsuid=101 ouid=101"#,
            "owner /a k,",
        ),
        // Rules of the owner are not made for root, except for what belongs to a process.
        (
            r#"operation="open" name="/proc/12/limits" denied_mask="r" fsuid=0 ouid=0"#,
            "owner /proc/12/limits r,",
        ),
        (
            r#"operation="open" name="/proc/sys/x" denied_mask="r" fsuid=0 ouid=0"#,
            "/proc/sys/x r,",
        ),
        (
            r#"operation="exec" name="/bin/sh" denied_mask="x" fsuid=101 ouid=101 target="p//null-/bin/sh""#,
            "/bin/sh ix,",
        ),
        (
            r#"operation="link" name="/a" denied_mask="l" fsuid=7 ouid=7 target="/b""#,
            "owner link /a -> /b,",
        ),
        (
            r#"operation="link" info="link not subset of target" error=-13 name="/a" denied_mask="l" fsuid=7 ouid=0 target=2F6220"#,
            r#"link /a -> "/b ","#,
        ),
        (
            r#"operation="getattr" name="/a" denied_mask="r""#,
            "Attributes",
        ),
        (r#"operation="open" name="/a" denied_mask="rz""#, "Unknown"),
        (r#"operation="open" name="/a" denied_mask="""#, "Incomplete"),
        (r#"operation="open" name="/a""#, "Incomplete"),
        (r#"operation="open" denied_mask="r""#, "NoName"),
        (
            r#"operation="open" name="pipe:[7]" denied_mask="r""#,
            "NoName",
        ),
        // A name with a wildcard means itself.
        (
            r#"operation="open" name="/*" denied_mask="r" fsuid=0 ouid=0"#,
            r#""/\*" r,"#,
        ),
    ] {
        assert_eq!(
            learnt("DENIED", &format!("{START} {pairs}")),
            expected,
            "{pairs}"
        );
    }
}

#[test]
fn names_that_the_kernel_does_not_find() {
    teaches(&[
        (
            r#"operation="open" info="Failed name lookup - disconnected path" error=-13 profile="p" name="dev/x" pid=1 comm="c" denied_mask="r""#,
            "attach_disconnected: /dev/x r,",
        ),
        (
            r#"operation="open" info="Failed name lookup - disconnected path" error=-13 profile="p" name="" pid=1 comm="c" denied_mask="w""#,
            "attach_disconnected: / w,",
        ),
        (
            r#"operation="exec" info="Failed name lookup - disconnected path" error=-13 profile="p" pid=1 comm="c" denied_mask="x""#,
            "attach_disconnected",
        ),
        (
            r#"operation="open" info="Failed name lookup - deleted entry" error=-2 profile="p" name="/tmp/x" pid=1 comm="c" denied_mask="r""#,
            "mediate_deleted: /tmp/x r,",
        ),
        (
            r#"operation="open" info="Failed name lookup - name too long" error=-36 profile="p" pid=1 comm="c" denied_mask="r""#,
            "NoName",
        ),
    ]);
}

#[test]
fn what_is_never_learnt() {
    teaches(&[
        (
            r#"operation="exec" info="no new privs" error=-1 profile="p" name="/bin/sh" pid=1 comm="c" denied_mask="x""#,
            "NoNewPrivileges",
        ),
        (
            r#"operation="capable" info="optional: no audit" error=-1 profile="p" pid=1 comm="c" capability=21 capname="sys_admin""#,
            "Probe",
        ),
        (
            r#"operation="file_inherit" profile="p" name="/run/containerd/fifo/1" pid=1 comm="c" denied_mask="w""#,
            "Inherited",
        ),
        (
            r#"operation="file_inherit" profile="p" name="/dev/pts/0" pid=1 comm="c" denied_mask="rw""#,
            "/dev/pts/0 rw,",
        ),
        (
            r#"operation="file_perm" profile="p" name="/proc/9/attr/exec" pid=1 comm="runc:[2:INIT]" denied_mask="w""#,
            "Runtime",
        ),
        (
            r#"operation="open" profile="p" name="/a" pid=1 comm="crunch" denied_mask="w""#,
            "/a w,",
        ),
        (
            r#"operation="change_hat" info="hat not found" error=-2 profile="p" name="h" pid=1 comm="c""#,
            "MissingProfile",
        ),
        (
            r#"operation="change_hat" profile="p" name="h" pid=1 comm="c" target="p//null-h""#,
            "MissingProfile",
        ),
        (
            r#"operation="exec" info="profile transition not found" error=-13 profile="p" name="/bin/x" pid=1 comm="c" denied_mask="x""#,
            "MissingProfile",
        ),
        (
            r#"operation="frobnicate" class="frob" profile="p" pid=1 comm="c""#,
            "Unknown",
        ),
    ]);
    let pairs = r#"operation="open" profile="p" name="/a" pid=1 comm="c" denied_mask="r""#;
    assert_eq!(learnt("AUDIT", pairs), "NotRefused");
    assert_eq!(learnt("ALLOWED", pairs), "/a r,");
    assert_eq!(learnt("KILLED", pairs), "/a r,");
}

#[test]
fn labels_and_namespaces() {
    teaches(&[
        (
            r#"operation="change_profile" profile="p" name="q" pid=1 comm="c" target="q""#,
            "change_profile -> q,",
        ),
        (
            r#"operation="change_onexec" info="label not found" error=-2 profile="p" name="q" pid=1 comm="c""#,
            "MissingProfile",
        ),
        (
            r#"operation="change_onexec" profile="p" name="q r" pid=1 comm="c" target=712072"#,
            r#"change_profile -> "q r","#,
        ),
        (
            r#"operation="stack" profile="p" name="q" pid=1 comm="c" target="q""#,
            r#"change_profile -> "&q","#,
        ),
        (
            r#"operation="stack_onexec" profile="p" name="&q" pid=1 comm="c" target="&q""#,
            r#"change_profile -> "&q","#,
        ),
        (
            r#"operation="userns_create" class="namespace" profile="p" pid=1 comm="c" requested="userns_create" denied="userns_create""#,
            "userns,",
        ),
    ]);
}

#[test]
fn mounts() {
    teaches(&[
        (
            r#"operation="mount" class="mount" info="failed mntpnt match" error=-13 profile="p" name="/mnt/" pid=1 comm="c" fstype="tmpfs" srcname="tmpfs" flags="rw, nosuid""#,
            "mount fstype=tmpfs options=(rw, nosuid) tmpfs -> /mnt/,",
        ),
        (
            r#"operation="mount" profile="p" name="/mnt/" pid=1 comm="c" fstype="tmpfs" srcname="tmpfs""#,
            "mount fstype=tmpfs options=(rw) tmpfs -> /mnt/,",
        ),
        (
            r#"operation="mount" profile="p" name="/b/" pid=1 comm="c" srcname=2F612A2F flags="rw, rbind""#,
            r#"mount options=(rw, rbind) "/a\*/" -> /b/,"#,
        ),
        (
            r#"operation="mount" profile="p" name="/b/" pid=1 comm="c" flags="ro, remount, bind""#,
            "remount options=(ro, bind) /b/,",
        ),
        (
            r#"operation="mount" profile="p" name="/" pid=1 comm="c" flags="rw, rprivate""#,
            "mount options=(rw, rprivate) -> /,",
        ),
        (
            r#"operation="mount" profile="p" name="/" pid=1 comm="c" flags="rw) /** -> /**, mount (x""#,
            "Unknown",
        ),
        (
            r#"operation="umount" profile="p" name="/b/" pid=1 comm="c""#,
            "umount /b/,",
        ),
        (
            r#"operation="pivotroot" profile="p" name="/n/" pid=1 comm="c" srcname="/n/old/""#,
            "pivot_root oldroot=/n/old/ /n/,",
        ),
    ]);
}

#[test]
fn sockets() {
    teaches(&[
        (
            r#"operation="create" class="net" profile="p" pid=1 comm="c" family="inet" sock_type="stream" protocol=6 requested_mask="create" denied_mask="create""#,
            "network inet stream,",
        ),
        (
            r#"operation="create" profile="p" pid=1 comm="c" family="netlink" sock_type="raw" protocol=0 denied_mask="create""#,
            "network netlink raw,",
        ),
        (
            r#"operation="create" profile="p" pid=1 comm="c" family="inet" sock_type="dccp" protocol=0 denied_mask="create""#,
            "Unknown",
        ),
        (
            r#"operation="create" profile="p" pid=1 comm="c" family="inet, file" sock_type="raw" denied_mask="create""#,
            "Unknown",
        ),
        // Kernels before 7.x write no address.
        (
            r#"operation="connect" profile="p" pid=1 comm="c" family="unix" sock_type="stream" protocol=0 denied_mask="send""#,
            "network unix stream,",
        ),
        (
            r#"operation="connect" class="net" profile="p" pid=1 comm="c" family="unix" sock_type="stream" protocol=0 denied_mask="send receive connect" addr=none peer_addr="@/tmp/x" peer="q//null-/bin/sh""#,
            r#"unix (connect, send, receive) type=stream addr=none peer=(label=q addr="@/tmp/x"),"#,
        ),
        (
            r#"operation="bind" class="net" profile="p" pid=1 comm="c" family="unix" sock_type="dgram" denied_mask="bind" addr="@612062" peer_addr=none peer="unconfined""#,
            r#"unix (bind) type=dgram addr="@a b","#,
        ),
        // Digits that stand for a name which needs none are the name.
        (
            r#"operation="bind" class="net" profile="p" pid=1 comm="c" family="unix" sock_type="dgram" denied_mask="bind" addr="@6162""#,
            r#"unix (bind) type=dgram addr="@6162","#,
        ),
        (
            r#"operation="sendmsg" class="net" profile="p" pid=1 comm="c" family="unix" sock_type="dgram" denied_mask="send" addr=none peer_addr="/run/log" peer="unconfined""#,
            "unix (send) type=dgram addr=none peer=(label=unconfined),",
        ),
        (
            r#"operation="sendmsg" class="net" profile="p" pid=1 comm="c" family="unix" sock_type="dgram" denied_mask="fly" addr=none"#,
            "Unknown",
        ),
    ]);
}

#[test]
fn other_processes() {
    teaches(&[
        (
            r#"operation="signal" class="signal" profile="p" pid=1 comm="c" requested_mask="send" denied_mask="send" signal=term peer="unconfined""#,
            "signal (send) set=(term) peer=unconfined,",
        ),
        (
            r#"operation="signal" profile="p" pid=1 comm="c" denied_mask="receive" signal=rtmin+3 peer="p//null-/bin/sh""#,
            "signal (receive) set=(rtmin+3) peer=p,",
        ),
        (
            r#"operation="signal" profile="p" pid=1 comm="c" denied_mask="send"signal=unknown(64) peer="q""#,
            "Unknown",
        ),
        (
            r#"operation="ptrace" class="ptrace" profile="p" pid=1 comm="c" denied_mask="read" peer="a//&b c""#,
            r#"ptrace (read) peer="a//&b c","#,
        ),
        (
            r#"operation="ptrace" profile="p" pid=1 comm="c" denied_mask="tracedby" peer="q""#,
            "ptrace (tracedby) peer=q,",
        ),
        (
            r#"operation="ptrace" profile="p" pid=1 comm="c" denied_mask="read""#,
            "Incomplete",
        ),
    ]);
}

#[test]
fn the_rest() {
    teaches(&[
        (
            r#"operation="capable" class="cap" profile="p" pid=1 comm="c" capability=21  capname="sys_admin""#,
            "capability sys_admin,",
        ),
        (
            r#"operation="capable" profile="p" pid=1 comm="c" capability=63 capname="new one""#,
            "Unknown",
        ),
        (
            r#"operation="uring_sqpoll" class="io_uring" profile="p" pid=1 comm="c" requested="sqpoll" denied="sqpoll""#,
            "io_uring (sqpoll),",
        ),
        (
            r#"operation="uring_override" class="io_uring" profile="p" pid=1 comm="c" requested="override_creds" denied="override_creds" tcontext="q""#,
            "io_uring (override_creds) label=q,",
        ),
        (
            r#"operation="open" class="posix_mqueue" profile="p" name="/q" pid=1 comm="c" requested="create" denied="create"class="posix_mqueue" fsuid=0 ouid=0 olabel="p""#,
            "mqueue (create) type=posix label=p /q,",
        ),
        (
            r#"operation="msgget" class="sysv_mqueue" profile="p" name="42" pid=1 comm="c" requested="create read" denied="create read""#,
            "mqueue (create, read) type=sysv 42,",
        ),
        (
            r#"operation="setrlimit" class="rlimits" profile="p" pid=1 comm="c" rlimit=nofile value=2048"#,
            "set rlimit nofile <= 2048,",
        ),
        (
            r#"operation="setrlimit" profile="p" pid=1 comm="c" rlimit=memlock value=18446744073709551615"#,
            "set rlimit memlock <= infinity,",
        ),
        (
            r#"operation="setrlimit" profile="p" pid=1 comm="c" rlimit=nice value=25"#,
            "set rlimit nice <= -5,",
        ),
        (
            r#"operation="setrlimit" profile="p" pid=1 comm="c" rlimit=cpu value=60"#,
            "set rlimit cpu <= 60seconds,",
        ),
        (
            r#"operation="setrlimit" info="cap_sys_resource" error=-13 profile="p" pid=1 comm="c" rlimit=nofile value=7 peer="q""#,
            "capability sys_resource,",
        ),
    ]);
}

#[test]
fn messages_on_a_bus() {
    let learnt = |pairs: &str| {
        let line = format!(
            "type=USER_AVC msg=audit(1648023635.002:57): pid=613 uid=100 auid=4294967295 \
             ses=4294967295 subj=? msg='apparmor=\"DENIED\" {pairs} pid=2726 label=\"web\" \
             exe=\"/usr/bin/dbus-daemon\" sauid=103 hostname=? addr=? terminal=?'"
        );
        match Learnt::of(&Event::parse(line.as_bytes()).unwrap()) {
            Learnt::Rule(rule) => rule.to_string(),
            other => format!("{other:?}"),
        }
    };
    for (pairs, expected) in [
        (
            r#"operation="dbus_method_call"  bus="system" path="/org/x" interface="org.x.I" member="M" mask="send" name="org.x" peer_pid=1 peer_label="unconfined""#,
            r#"dbus (send) bus=system path=/org/x interface=org.x.I member=M peer=(name=org.x label=unconfined),"#,
        ),
        // A number of a connection says nothing about the next time.
        (
            r#"operation="dbus_signal"  bus="session" path="/org/x" interface="org.x.I" member="S" mask="receive" name=":1.6" peer_pid=1 peer_label="q""#,
            "dbus (receive) bus=session path=/org/x interface=org.x.I member=S peer=(label=q),",
        ),
        (
            r#"operation="dbus_bind"  bus="system" name="org.x" mask="bind""#,
            "dbus (bind) bus=system name=org.x,",
        ),
        (
            r#"operation="dbus_eavesdrop"  bus="session" mask="eavesdrop""#,
            "dbus (eavesdrop) bus=session,",
        ),
        (
            r#"operation="dbus_bind"  bus="my bus, file" name="org.x" mask="bind""#,
            "Nothing(Unknown)",
        ),
    ] {
        assert_eq!(learnt(pairs), expected);
    }
}

/// Values of fields, as the kernel writes them; also ones that it never would.
fn field() -> impl Strategy<Value = String> {
    let key = proptest::sample::select(vec![
        "operation",
        "class",
        "info",
        "name",
        "target",
        "denied_mask",
        "denied",
        "requested_mask",
        "capname",
        "family",
        "sock_type",
        "addr",
        "peer_addr",
        "peer",
        "signal",
        "fstype",
        "srcname",
        "flags",
        "rlimit",
        "tcontext",
        "olabel",
        "namespace",
        "bus",
        "mask",
        "path",
    ]);
    let word = proptest::sample::select(vec![
        "open",
        "exec",
        "link",
        "mount",
        "umount",
        "pivotroot",
        "signal",
        "ptrace",
        "capable",
        "setrlimit",
        "userns_create",
        "uring_override",
        "change_profile",
        "stack",
        "file",
        "net",
        "cap",
        "posix_mqueue",
        "io_uring",
        "r",
        "wx",
        "send",
        "send receive",
        "create",
        "unix",
        "inet",
        "stream",
        "term",
        "rw, bind",
        "/a",
        "@a",
        "/proc/1/mem",
        "nofile",
        "sys_admin",
        "disconnected path",
        "p//null-/bin/sh",
    ]);
    let value = prop_oneof![
        3 => word.prop_map(|word| format!("\"{word}\"")),
        1 => "[ -!#-~]{0,20}".prop_map(|text| format!("\"{text}\"")),
        1 => proptest::collection::vec(any::<u8>(), 1..20)
            .prop_map(|bytes| bytes.iter().map(|b| format!("{b:02X}")).collect()),
    ];
    (key, value).prop_map(|(key, value)| format!("{key}={value}"))
}

proptest! {
    // Whatever a record says, its rule is one line that ends where it should.
    #[test]
    fn a_rule_is_one_line(fields in proptest::collection::vec(field(), 0..12)) {
        let line = format!(
            "audit(1.002:3): apparmor=\"DENIED\" operation=\"open\" profile=\"p\" pid=1 comm=\"c\" {}",
            fields.join(" ")
        );
        if let Ok(event) = Event::parse(line.as_bytes())
            && let Learnt::Rule(rule) | Learnt::Flag(_, Some(rule)) = Learnt::of(&event)
        {
            let text = rule.to_string();
            prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", text);
            prop_assert!(text.ends_with(','));
            // Outside of quotes, there is nothing but words, lists and globs of ours.
            let outside: String = text.split('"').step_by(2).collect();
            prop_assert!(outside.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-=(), +<&>".contains(&b)), "{}", text);
            prop_assert_eq!(text.matches('"').count() % 2, 0);
        }
    }
}
