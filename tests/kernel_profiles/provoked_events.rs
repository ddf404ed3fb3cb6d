//! Every event that a kernel writes about an access becomes a rule that allows the access.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::rule::Reason;
use oci_apparmor_audit::rule::pattern::{NamePattern, PatternPart};
use oci_apparmor_audit::suggestion::{Suggestion, SuggestionOptions};
use oci_apparmor_audit::text::OutsideText;

use crate::support::containers::*;

const AREA: &str = "/var/lib/oci-apparmor-tests/provoked";
const ACTS: &str = include_str!("acts.pl");
const APPARMOR: &str = "/sys/kernel/security/apparmor";

/// What the script needs to run at all.
const PERL: &str = "/usr/{,**} mr, /etc/{,**} r, /dev/{null,urandom} rw, /var/lib/oci-apparmor-tests/provoked/acts.pl r,";

/// Compiles for this kernel and loads.
fn load_text(text: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("source"), text).unwrap();
    let features = format!("{APPARMOR}/features");
    let done = run(
        "apparmor_parser",
        [
            "--config-file=/dev/null",
            "-QK",
            "--kernel-features",
            &features,
            "--policy-features",
            &features,
            "-o",
            &path("blob"),
            &path("source"),
        ],
    );
    assert_eq!(done.code, 0, "{}\n{text}", done.err);
    fs::write(
        format!("{APPARMOR}/.replace"),
        fs::read(path("blob")).unwrap(),
    )
    .unwrap();
}

/// The files that the script works on.
fn prepare() -> String {
    let area = format!("{AREA}/files");
    let _ = fs::remove_dir_all(AREA);
    fs::create_dir_all(&area).unwrap();
    let at = |name: &str| Path::new(&area).join(name);
    for name in [
        "read",
        "write",
        "read-write",
        "append",
        "truncate",
        "unlink",
        "old",
        "source",
        "chmod",
        "chown",
        "utime",
        "stat",
        "lock",
        "of-another-user",
    ] {
        fs::write(at(name), "x\n").unwrap();
    }
    chown(at("of-another-user"), Some(1000), Some(1000)).unwrap();
    for name in [
        "list", "rmdir", "mount", "mount-ro", "bind", "bind-all", "moved", "detached", "root",
    ] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::copy("/bin/true", at("true")).unwrap();
    fs::write(format!("{AREA}/acts.pl"), ACTS).unwrap();
    area
}

/// What came of each act, and what the kernel wrote about them.
#[derive(Debug)]
struct Provoked {
    results: BTreeMap<String, String>,
    events: Vec<Event>,
}

/// Loads a profile with these rules, and does everything under it.
fn provoke(flags: &str, rules: &str) -> Provoked {
    let area = prepare();
    load_text(&format!(
        "profile provoked-other {{ file, }}\n\
         profile provoked {flags} {{\n  set rlimit memlock <= 1024M,\n{rules}\n}}\n"
    ));
    let mut outside = Command::new("sleep").arg("300").spawn().unwrap();
    run("dmesg", ["-C"]).ok();
    let script = format!(
        "printf 'exec provoked' >/proc/self/attr/apparmor/exec &&
         exec perl {AREA}/acts.pl {area} {} provoked-other",
        outside.id()
    );
    let mut child = Command::new("unshare")
        // The dynamic loader looks for libraries where cargo says.
        .env_remove("LD_LIBRARY_PATH")
        .args(["--mount", "--uts", "--ipc", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let pid = Pid::from_raw(child.id().cast_signed());
    let signal = match kill(pid, Signal::SIGWINCH) {
        Ok(()) => "ok".to_owned(),
        Err(error) => (error as i32).to_string(),
    };
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    outside.kill().unwrap();
    outside.wait().unwrap();
    let log = Command::new("dmesg").output().unwrap().stdout;
    let lines = log.split(|byte| *byte == b'\n');
    let mut events = Vec::new();
    for line in lines.filter(|line| line.windows(9).any(|part| part == b"apparmor=")) {
        let event = Event::parse(line);
        let event = event.unwrap_or_else(|e| panic!("{e:?}: {}", String::from_utf8_lossy(line)));
        assert!(event.fields.others.is_empty(), "{event:?}");
        events.push(event);
    }
    events.retain(|event| event.verdict.is_access());
    let results = text.lines().map(|line| line.split_once(' ').unwrap());
    Provoked {
        results: results
            .map(|(act, result)| (act.to_owned(), result.to_owned()))
            .chain([("signal-from-outside".to_owned(), signal)])
            .collect(),
        events,
    }
}

fn suggested(events: &[Event]) -> Suggestion {
    Suggestion::of(events, &SuggestionOptions::default())
}

/// What no kernel refuses, or only with rules that the parser knows.
fn is_mediated(act: &str) -> bool {
    match act {
        // Only above what the profile sets.
        "lower-limit" => false,
        "stat" | "utime" | "system-v-queue" => false,
        "userns" | "uring-poll" => knows_userns(),
        _ => true,
    }
}

/// Whether the parser and the kernel know user namespaces and io_uring: AppArmor 4 and Linux 6.12.
fn knows_userns() -> bool {
    let version = run("apparmor_parser", ["--version"]).ok();
    let is_old = version.contains("version 2.") || version.contains("version 3.");
    !is_old && Path::new(APPARMOR).join("features/io_uring").exists()
}

/// The rules for all acts, with `D` for the directory, and without the files that perl itself reads.
const RULES: &str = r#"
capability chown,
capability mknod,
capability net_raw,
capability setgid,
capability setuid,
capability sys_admin,
capability sys_chroot,
capability sys_nice,
capability sys_resource,
network inet dgram,
network inet raw,
network inet stream,
network inet6 dgram,
network inet6 raw,
network inet6 stream,
network netlink raw,
network packet dgram,
network packet raw,
network unix dgram,
network unix seqpacket,
network unix stream,
signal (send) set=(cont, exists, winch) peer=unconfined,
signal (send) set=(winch) peer=provoked,
signal (receive) set=(winch) peer=provoked,
signal (receive) set=(winch) peer=unconfined,
ptrace (read, trace) peer=unconfined,
ptrace (trace, tracedby) peer=provoked,
mount options=(rw, bind) D/list/ -> D/bind/,
mount options=(rw, move) D/bind-all/ -> D/moved/,
mount options=(rw, private) -> D/mount/,
mount options=(rw, rbind) D/list/ -> D/bind-all/,
mount options=(rw, rslave) -> D/mount/,
mount options=(rw, shared) -> D/mount-ro/,
mount options=(rw, unbindable) -> D/mount/,
mount fstype=tmpfs options=(ro) none -> D/mount-ro/,
mount fstype=tmpfs options=(rw) none -> D/root/,
mount fstype=tmpfs options=(rw, nosuid, nodev) "none at all" -> D/mount/,
remount options=(ro) D/mount/,
remount options=(ro, bind) D/bind/,
umount D/bind/,
umount D/mount-ro/,
pivot_root oldroot=D/root/old/ D/root/,
change_profile -> "&provoked-other",
change_profile -> provoked-other,
set rlimit memlock <= 2147483648,
owner /proc/[0-9]*/environ r,
owner /proc/[0-9]*/limits r,
owner /proc/[0-9]*/task/[0-9]*/attr/apparmor/current w,
owner /proc/[0-9]*/task/[0-9]*/attr/apparmor/exec w,
/proc/sys/kernel/domainname w,
/proc/sys/kernel/ngroups_max r,
/provoked rw,
"D/a b\042\*\[\^x\]\{1\0542\}@\{PROC\}\134\012\351#\054\?'$(|)" rw,
D/append a,
D/chmod w,
D/chown w,
D/create w,
D/device w,
D/fifo w,
D/list/ r,
D/lock rwk,
D/mkdir/ w,
D/new w,
D/of-another-user rw,
D/old rw,
D/read r,
D/read-write rw,
D/rmdir/ w,
D/root/old/ w,
D/socket w,
D/symlink w,
D/true rix,
D/truncate w,
D/unlink w,
D/write w,
link "D/hard link" -> D/source,
"#;

/// Those rules that are not for the files that perl itself reads.
fn rules_of_acts(rules: &[String]) -> BTreeSet<String> {
    let of_perl = ["/usr/", "/etc/", "/dev/", AREA];
    let rules = rules
        .iter()
        .map(|rule| rule.replace(&format!("{AREA}/files"), "D"));
    rules
        .filter(|rule| !of_perl.iter().any(|start| rule.starts_with(start)))
        .collect()
}

fn expected_rules() -> BTreeSet<String> {
    let mut expected: BTreeSet<String> = RULES.lines().map(str::to_owned).collect();
    expected.remove("");
    if knows_userns() {
        expected.extend(["io_uring (sqpoll),", "userns,"].map(str::to_owned));
    }
    // Older kernels do not look at it.
    if Path::new(APPARMOR)
        .join("features/mount/move_mount")
        .exists()
    {
        expected.insert("mount options=(rw, move) -> D/detached/,".to_owned());
    }
    expected
}

#[test]
fn each_access_becomes_a_rule_that_allows_it() {
    let _world = world();
    // It is refused.
    let refused = provoke("", PERL);
    for (act, result) in &refused.results {
        assert_eq!(result != "ok", is_mediated(act), "{act}: {result}");
    }
    let of_refused = suggested(&refused.events);
    assert_eq!(of_refused.not_learnt, BTreeMap::new());
    // In complain mode it is done, except where the kernel finds no name of a file.
    let learnt = provoke("flags=(complain)", "");
    for (act, result) in &learnt.results {
        let expected = if act == "posix-queue" { "13" } else { "ok" };
        assert_eq!(result, expected, "{act}");
    }
    let suggestion = suggested(&learnt.events);
    let flags: Vec<_> = suggestion.flags.keys().map(|flag| flag.as_str()).collect();
    assert_eq!(flags, ["attach_disconnected"], "for the queue");
    let mut not_learnt: Vec<_> = suggestion.not_learnt.keys().copied().collect();
    not_learnt.retain(|reason| *reason != Reason::Attributes);
    assert_eq!(not_learnt, [Reason::Probe, Reason::MissingProfile]);
    let rules = suggestion.rules.iter().map(|rule| rule.rule.to_string());
    let rules: Vec<String> = rules.collect();
    assert_eq!(rules_of_acts(&rules), expected_rules());
    // With the rules, it is done in enforce mode, too, and the kernel has nothing to report. A hat is no
    // rule.
    let flags = format!("flags=({})", flags.join(", "));
    let allowed = provoke(&flags, &rules.join("\n"));
    for (act, result) in &allowed.results {
        let expected = if act == "change-hat" { "2" } else { "ok" };
        assert_eq!(result, expected, "{act}");
    }
    assert_eq!(suggested(&allowed.events), Suggestion::default());
    for name in ["provoked", "provoked-other"] {
        unload(name);
    }
}

/// Whether the kernel lets a profile read a file (apparmorfs.c, `query_label()`). The file need not
/// exist.
fn may_read(access: &mut File, profile: &str, path: &[u8]) -> bool {
    access.rewind().unwrap();
    let question = [format!("label\0{profile}\0\x02").as_bytes(), path].concat();
    assert_eq!(access.write(&question).unwrap(), question.len());
    let mut answer = [0; 128];
    access.rewind().unwrap();
    let length = access.read(&mut answer).unwrap();
    let text = std::str::from_utf8(&answer[..length]).unwrap();
    let allowed = text.lines().find_map(|line| line.strip_prefix("allow 0x"));
    u32::from_str_radix(allowed.unwrap(), 16).unwrap() & 4 != 0
}

/// Names of bytes that have a meaning somewhere, and of any others.
fn hostile_names() -> BTreeSet<Vec<u8>> {
    const BYTES: &[u8] = b"*?[]{}^\\\",#@$()<>|+.! \n\t\r'~:;=&%-_ax0n\x01\x7f\x80\xc3\xa9\xff";
    let mut names: BTreeSet<Vec<u8>> = (1..=255)
        .filter(|byte| *byte != b'/')
        .map(|byte| vec![b'/', byte, b'b', byte])
        .collect();
    let mut state = 7_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as usize
    };
    for _ in 0..100 {
        let length = random() % 30;
        let bytes = (0..=length).map(|_| BYTES[random() % BYTES.len()]);
        names.insert([b"/".to_vec(), bytes.collect()].concat());
    }
    names
}

#[test]
fn a_rule_for_a_name_allows_this_name_and_no_other() {
    let _world = world();
    let names = hostile_names();
    let text = |bytes: &[u8]| PatternPart::Text(OutsideText::new(bytes));
    let patterns = [
        vec![text(b"/pattern [a]/"), PatternPart::Number, text(b".x")],
        vec![text(b"/pattern/"), PatternPart::Bytes(3), text(b"*")],
        vec![
            text(b"/pattern/"),
            PatternPart::Any,
            text(b"?y"),
            PatternPart::Any,
        ],
    ]
    .map(NamePattern::of);
    let rules = names.iter().map(|name| NamePattern::exactly(name));
    let rules = rules
        .chain(patterns.clone())
        .map(|name| format!("  {name} r,\n"));
    load_text(&format!(
        "profile hostile-names {{\n{}}}\n",
        rules.collect::<String>()
    ));
    let mut access = File::options()
        .read(true)
        .write(true)
        .open(format!("{APPARMOR}/.access"))
        .unwrap();
    let mut may_read = |path: &[u8]| may_read(&mut access, "hostile-names", path);
    for name in &names {
        assert!(may_read(name), "{}", NamePattern::exactly(name));
        for at in 1..name.len() {
            let mut others: Vec<_> = [b'a', b'/', b'\n', b'\\', b'*']
                .map(|byte| [&name[..at], &[byte], &name[at + 1..]].concat())
                .into();
            others.push([&name[..at], &name[at + 1..]].concat());
            others.push(name[..at].to_vec());
            for other in others {
                let known = names.contains(&other);
                assert_eq!(
                    may_read(&other),
                    known,
                    "{} as {other:?}",
                    NamePattern::exactly(name)
                );
            }
        }
    }
    for name in [
        "/pattern [a]/1.x",
        "/pattern [a]/12ab.x",
        "/pattern [a]/.x",
        "/pattern [a]/a1.x",
        "/pattern a/1.x",
        "/pattern [a]/1/2.x",
        "/pattern/abc*",
        "/pattern/ab*",
        "/pattern/abcd*",
        "/pattern/abc",
        "/pattern/a/c*",
        "/pattern/?y",
        "/pattern/a?y",
        "/pattern/?yb/",
        "/pattern/?yb",
        "/pattern/xy",
        "/pattern/",
    ] {
        let matches = patterns
            .iter()
            .any(|pattern| pattern.matches(name.as_bytes()));
        assert_eq!(may_read(name.as_bytes()), matches, "{name}");
    }
    unload("hostile-names");
}
