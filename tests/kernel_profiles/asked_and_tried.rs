//! `why` and the kernel: what it answers about an access is what happens to a thread under that
//! profile that tries it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Pid, Uid, chroot, setfsuid};
use serde_json::Value;

use crate::policy_files::{compile, write};
use crate::support::containers::{CLI, run, unload, wait_for, world};

/// Only root can write here, so nobody else can change what is asked about.
const PLACE: &str = "/var/lib/oci-apparmor-tests/asked";

/// The user of half of the accesses to files, and the owner of some files.
const OTHER: u32 = 65534;

const PEER: &str = "asked-peer";

/// Files, by their path below the place. Those below `own` belong to the other user.
const FILES: [&str; 13] = [
    "a.txt",
    "b.log",
    "c.conf",
    "d.conf",
    "with blank.txt",
    "[x].txt",
    "\u{fc}n\u{ef}.txt",
    "sub/a.txt",
    "sub/deep/b",
    "sub/secret",
    "own/a.txt",
    "own/deep/b",
    "tool",
];

/// Everything that can be done to a path.
const ACCESSES: [&str; 7] = ["r", "w", "a", "rk", "wc", "d", "x"];

/// The profiles. `@D` is the place.
const PROFILES: [(&str, &str, &str); 5] = [
    (
        "asked-globs",
        "",
        "@D/*.txt r, @D/{b.log,c.conf} w, @D/[d-f].conf rwk, \"@D/with blank.txt\" rw,
         @D/\\[x\\].txt a, @D/sub/** rw, @D/*/deep/? rk, @D/tool ix, @D/ r,
         @D/l-* l, @D/b.log l, link @D/pair -> @D/a.txt,
         capability sys_chroot, capability mknod, @D/node w,
         network inet stream, network inet6, network netlink raw,
         signal (send) set=(cont, urg) peer=asked-peer, signal (send) set=exists peer=unconfined,
         ptrace (read) peer=asked-peer, change_profile -> asked-peer,",
    ),
    (
        "asked-denies",
        "",
        "file, capability, network, signal, ptrace, mount, umount,
         deny @D/sub/** w, deny @D/*.txt r, audit deny @D/c.conf rw, deny @D/tool x,
         deny @D/own/** wk, deny link @D/l-a -> @D/a.txt,
         deny capability sys_admin, audit deny capability chown, deny network inet raw,
         audit deny network unix, deny signal (send) set=cont, deny ptrace (read) peer=unconfined,
         change_profile -> unconfined,",
    ),
    (
        "asked-owner",
        "",
        "owner @D/** rw, @D/b.log r, owner @D/d.conf k, deny owner @D/sub/** w,
         @D/sub/** rw, owner @D/tool ix, deny owner @D/own/deep/* r,
         capability dac_override, capability dac_read_search,
         network unix, network netlink, network packet,
         signal (send), ptrace (trace, read) peer=unconfined,",
    ),
    (
        "asked-mounts",
        "",
        "file, capability sys_admin, mount fstype=tmpfs options=(rw, nosuid) -> @D/mnt/,
         mount options=(rw, bind) @D/sub/ -> @D/mnt/, umount @D/mnt/, signal, ptrace,
         network inet dgram, network inet raw, capability net_raw, change_profile,",
    ),
    (
        "asked-complain",
        "flags=(complain)",
        "@D/*.txt r, deny @D/sub/** r, deny capability sys_chroot, deny network inet,",
    ),
];

/// One access, as `why` is asked about it and as it is done.
#[derive(Debug, Clone)]
struct Access {
    /// Words of the command line that questions can share.
    shared: Vec<String>,
    /// Those of this question.
    own: Vec<String>,
    /// The user for files.
    user: u32,
    /// Who owns what is accessed.
    owner: u32,
    done: Done,
}

#[derive(Debug, Clone)]
enum Done {
    File(&'static str, String),
    Link(String, String),
    Capability(&'static str),
    Socket(AddressFamily, SockType),
    Signal(Option<Signal>, i32),
    ReadProcess(i32),
    Mount(&'static str, String),
    Umount(String),
    ChangeProfile(&'static str),
    /// Only asked, because another access needs it.
    Asked,
}

fn at(path: &str) -> String {
    format!("{PLACE}/{path}")
}

/// A process that signals do not end, under a label.
struct Peer(Child);

impl Peer {
    fn under(label: &str) -> Self {
        let script = format!("echo 'exec {label}' >/proc/self/attr/exec && exec sleep 600");
        let mut command = Command::new("sh");
        let child = command.args(["-c", &script]).stdin(Stdio::null()).spawn();
        let peer = Self(child.unwrap());
        let path = format!("/proc/{}/attr/apparmor/current", peer.0.id());
        wait_for(|| fs::read_to_string(&path).is_ok_and(|now| now.starts_with(label)));
        peer
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The path below the place.
fn below(path: &str) -> &str {
    path.strip_prefix(PLACE).unwrap().trim_matches('/')
}

fn make_files() {
    let _ = fs::remove_dir_all(PLACE);
    for directory in ["sub/deep", "own/deep", "mnt"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    for directory in ["", "sub", "sub/deep", "own", "own/deep"] {
        fs::set_permissions(at(directory), Permissions::from_mode(0o777)).unwrap();
    }
    for file in FILES {
        make(file);
    }
    // For the capability to pass over permissions: of another user, and for no one else.
    fs::write(at("closed"), "").unwrap();
    fs::set_permissions(at("closed"), Permissions::from_mode(0o000)).unwrap();
    chown(at("closed"), Some(1), Some(1)).unwrap();
}

fn owner(file: &str) -> u32 {
    if file.starts_with("own/") { OTHER } else { 0 }
}

fn make(file: &str) {
    let path = at(file);
    let _ = fs::remove_file(&path);
    if file == "tool" {
        fs::copy("/bin/busybox", &path).unwrap();
    } else {
        fs::write(&path, "x").unwrap();
    }
    fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    chown(&path, Some(owner(file)), Some(0)).unwrap();
}

/// All accesses, in an order in which one does not change what another one needs.
fn accesses(peer: i32, unconfined: i32) -> Vec<Access> {
    let mut all = Vec::new();
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    for user in [0, OTHER] {
        for access in ACCESSES {
            for file in FILES {
                // Once for each kind of path is enough.
                let rare = matches!(access, "x" | "rk" | "d" | "wc");
                let known = user == OTHER && matches!(access, "a" | "rk" | "d");
                if (access == "x") != (file == "tool") || (rare && file.ends_with("conf")) || known
                {
                    continue;
                }
                all.push(Access {
                    shared: words(&["--access", access]),
                    own: words(&["--path", &at(file)]),
                    user,
                    // A new file belongs to the process that creates it.
                    owner: if access == "wc" { user } else { owner(file) },
                    done: Done::File(access, at(file)),
                });
            }
        }
    }
    let mut add = |shared: &[&str], own: &[&str], done: Done| {
        all.push(Access {
            shared: words(shared),
            own: words(own),
            user: 0,
            owner: 0,
            done,
        });
    };
    for (link, target) in [
        ("l-a", "a.txt"),
        ("l-b", "b.log"),
        ("pair", "a.txt"),
        ("pair", "b.log"),
    ] {
        let (link, target) = (at(link), at(target));
        add(
            &["--link-to", &target],
            &["--path", &link],
            Done::Link(link.clone(), target.clone()),
        );
    }
    for name in ["sys_chroot", "sys_admin", "mknod", "chown", "dac_override"] {
        add(&[], &["--capability", name], Done::Capability(name));
    }
    for (name, family, kind) in [
        ("inet,stream", AddressFamily::Inet, SockType::Stream),
        ("inet,dgram", AddressFamily::Inet, SockType::Datagram),
        ("inet,raw", AddressFamily::Inet, SockType::Raw),
        ("inet6,stream", AddressFamily::Inet6, SockType::Stream),
        ("unix,stream", AddressFamily::Unix, SockType::Stream),
        ("unix,dgram", AddressFamily::Unix, SockType::Datagram),
        ("netlink,raw", AddressFamily::Netlink, SockType::Raw),
        ("packet,dgram", AddressFamily::Packet, SockType::Datagram),
    ] {
        add(&[], &["--network", name], Done::Socket(family, kind));
    }
    for (label, pid) in [(PEER, peer), ("unconfined", unconfined)] {
        for (name, signal) in [
            ("exists", None),
            ("cont", Some(Signal::SIGCONT)),
            ("urg", Some(Signal::SIGURG)),
        ] {
            add(
                &["--peer", label],
                &["--signal", name],
                Done::Signal(signal, pid),
            );
        }
        add(
            &["--peer", label, "--access", "read"],
            &["--ptrace"],
            Done::ReadProcess(pid),
        );
    }
    let mnt = at("mnt/");
    for (flags, fstype, source) in [("rw,nosuid", "tmpfs", "tmpfs"), ("rw", "tmpfs", "tmpfs")] {
        add(
            &["--flags", flags, "--fstype", fstype, "--device", source],
            &["--mount", &mnt],
            Done::Mount(flags, "tmpfs".to_owned()),
        );
    }
    for source in [at("sub/"), at("own/")] {
        add(
            &["--flags", "rw,bind", "--device", &source],
            &["--mount", &mnt],
            Done::Mount("rw,bind", source.clone()),
        );
    }
    add(&[], &["--umount", &mnt], Done::Umount(at("mnt")));
    for label in [PEER, "unconfined", "asked-globs"] {
        add(
            &["--change-profile", label],
            &[],
            Done::ChangeProfile(label),
        );
    }
    all
}

/// Whether an access succeeds, or else fails for another reason than a profile.
fn passes<T>(result: io::Result<T>) -> bool {
    match result {
        Ok(_) => true,
        Err(e) => match e.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => false,
            // AppArmor is asked before the family.
            Some(libc::EPROTONOSUPPORT) => true,
            other => panic!("{other:?}: {e}"),
        },
    }
}

impl Done {
    /// Does it. The thread has the profile and the user already.
    fn happens(&self) -> bool {
        let os = |result: Result<(), Errno>| passes(result.map_err(io::Error::from));
        match self {
            Self::File("r", path) => passes(File::open(path)),
            Self::File("w", path) => passes(OpenOptions::new().write(true).open(path)),
            Self::File("a", path) => passes(OpenOptions::new().append(true).open(path)),
            Self::File("rk", path) => passes(File::open(path).and_then(|file| file.lock_shared())),
            Self::File("d", path) => passes(fs::remove_file(path)),
            Self::File("wc", path) => {
                let mut options = OpenOptions::new();
                let created = options.write(true).create_new(true).mode(0o666).open(path);
                passes(created)
            }
            Self::File("x", path) => {
                let mut command = Command::new(path);
                // Nothing else is opened: /dev/null would need a rule.
                command.arg0("true");
                passes(command.status())
            }
            Self::File(other, _) => panic!("{other}"),
            Self::Link(link, target) => passes(fs::hard_link(target, link)),
            Self::Capability("sys_chroot") => os(chroot("/")),
            Self::Capability("sys_admin") => os(unshare(CloneFlags::CLONE_NEWUTS)),
            Self::Capability("mknod") => os(mknod(
                Path::new(&at("node")),
                SFlag::S_IFCHR,
                Mode::S_IRUSR,
                makedev(1, 3),
            )),
            Self::Capability("chown") => passes(chown(at("d.conf"), Some(1), None)),
            Self::Capability(_) => passes(OpenOptions::new().write(true).open(at("closed"))),
            Self::Socket(family, kind) => {
                os(socket(*family, *kind, SockFlag::SOCK_CLOEXEC, None).map(drop))
            }
            Self::Signal(signal, pid) => os(kill(Pid::from_raw(*pid), *signal)),
            Self::ReadProcess(pid) => passes(fs::read_link(format!("/proc/{pid}/cwd"))),
            Self::Mount(flags, source) => {
                let bits = match *flags {
                    "rw,nosuid" => MsFlags::MS_NOSUID,
                    "rw,bind" => MsFlags::MS_BIND,
                    _ => MsFlags::empty(),
                };
                let fstype = (source == "tmpfs").then_some("tmpfs");
                let target = at("mnt");
                os(mount(
                    Some(source.as_str()),
                    target.as_str(),
                    fstype,
                    bits,
                    None::<&str>,
                ))
            }
            Self::Umount(target) => os(umount(target.as_str())),
            Self::Asked => panic!("it is not to be done"),
            // A test of the change, which changes nothing.
            Self::ChangeProfile(label) => passes(written("permprofile", label)),
        }
    }

    /// What else of the profile the access needs, as words of `why`.
    fn also_needs(&self) -> Option<([&'static str; 2], &'static str)> {
        let write = ["--access", "w"];
        let nothing = ["--capability", "sys_admin"];
        match self {
            Self::Capability("mknod") => Some((write, "node")),
            Self::Capability("chown") => Some((write, "d.conf")),
            Self::Capability("dac_override") => Some((write, "closed")),
            Self::Mount(..) | Self::Umount(_) => Some((nothing, "")),
            Self::Socket(AddressFamily::Packet, _) => Some((["--capability", "net_raw"], "")),
            _ => None,
        }
    }
}

/// The question about what an access also needs.
fn need(done: &Done) -> Option<Access> {
    let ([option, value], file) = done.also_needs()?;
    let words = |words: [&str; 2]| words.map(str::to_owned).to_vec();
    let (shared, own) = match file {
        "" => (Vec::new(), words([option, value])),
        file => (words([option, value]), words(["--path", &at(file)])),
    };
    let done = Done::Asked;
    Some(Access {
        shared,
        own,
        user: 0,
        // That file belongs to another user.
        owner: u32::from(file == "closed"),
        done,
    })
}

/// Writes a command to this thread's label.
fn written(verb: &str, label: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .open("/proc/thread-self/attr/apparmor/current")?;
    file.write_all(format!("{verb} {label}").as_bytes())
}

/// Gives this thread mounts of its own, with one to be removed.
fn own_mounts(done: &Done) {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).unwrap();
    if let Done::Umount(target) = done {
        let empty = MsFlags::empty();
        mount(Some("tmpfs"), target.as_str(), Some("tmpfs"), empty, none).unwrap();
    }
}

/// What happens under a label, in threads that end with it.
fn tried(label: &str, accesses: &[Access]) -> Vec<bool> {
    let mut happened = Vec::new();
    for access in accesses {
        // Each begins with the same files.
        match &access.done {
            Done::File("wc", path) => drop(fs::remove_file(path)),
            Done::File(_, path) => make(below(path)),
            Done::Link(link, target) => {
                let _ = fs::remove_file(link);
                make(below(target));
            }
            Done::Capability("mknod") => drop(fs::remove_file(at("node"))),
            Done::Capability("chown") => make("d.conf"),
            _ => {}
        }
        let thread = std::thread::scope(|scope| {
            let one = || {
                // Of this thread alone.
                unshare(CloneFlags::CLONE_FS).unwrap();
                if matches!(access.done, Done::Mount(..) | Done::Umount(_)) {
                    own_mounts(&access.done);
                }
                setfsuid(Uid::from_raw(access.user));
                assert_eq!(setfsuid(Uid::from_raw(access.user)).as_raw(), access.user);
                written("changeprofile", label).unwrap();
                access.done.happens()
            };
            scope.spawn(one).join()
        });
        happened.push(thread.unwrap_or_else(|_| panic!("{label}: {access:?}")));
    }
    happened
}

/// What `why` says, once for each group of questions with the same words.
fn asked(label: &str, accesses: &[Access]) -> Vec<String> {
    let mut groups: BTreeMap<&[String], Vec<usize>> = BTreeMap::new();
    for (index, access) in accesses.iter().enumerate() {
        groups.entry(&access.shared).or_default().push(index);
    }
    let mut answers = vec![String::new(); accesses.len()];
    for (shared, mut members) in groups {
        // In the order of the answers.
        let kind = |i: &usize| {
            let first = accesses[*i].own.first().map_or("", String::as_str);
            [
                "--path",
                "--capability",
                "--network",
                "--signal",
                "--ptrace",
                "--mount",
                "--umount",
            ]
            .iter()
            .position(|k| *k == first)
        };
        members.sort_by_key(kind);
        let words = ["why", "--no-lines", "--json", "--profile", label];
        let mut words: Vec<String> = words.map(str::to_owned).to_vec();
        words.extend(shared.iter().cloned());
        // Both users ask the same.
        let mut own: Vec<&[String]> = members
            .iter()
            .map(|i| accesses[*i].own.as_slice())
            .collect();
        own.dedup();
        let mut seen: Vec<&[String]> = Vec::new();
        for question in own {
            if !seen.contains(&question) {
                seen.push(question);
                words.extend(question.iter().cloned());
            }
        }
        let done = run(CLI, &words);
        assert!(matches!(done.code, 0 | 5 | 8), "{words:?}: {done:?}");
        let json: Value = serde_json::from_str(&done.out).unwrap();
        let said = json["answers"].as_array().unwrap();
        assert_eq!(said.len(), seen.len(), "{words:?}: {json}");
        for member in members {
            let place = seen.iter().position(|q| *q == accesses[member].own);
            let answer = said[place.unwrap()]["answer"].as_str().unwrap();
            answers[member] = answer.to_owned();
        }
    }
    answers
}

fn allows(answer: &str, is_owner: bool) -> bool {
    match answer {
        "allowed" | "complains" | "not-mediated" => true,
        "allowed-for-owner" => is_owner,
        "allowed-for-others" => !is_owner,
        "denied" => false,
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_answered_is_what_happens() {
    let _world = world();
    make_files();
    let load = |name: &str, flags: &str, rules: &str| {
        unload(name);
        let rules = rules.replace("@D", PLACE);
        // What the thread itself needs to ask for a change of its label.
        let text = format!("profile {name} {flags} {{ {rules} /proc/*/task/*/attr/** rw, }}");
        write(".replace", &compile(&text, &[])).unwrap();
    };
    load(
        PEER,
        "",
        "file, signal, ptrace, capability, network, mount,",
    );
    for (name, flags, rules) in PROFILES {
        load(name, flags, rules);
    }
    let (peer, unconfined) = (Peer::under(PEER), Peer::under("unconfined"));
    let all = accesses(peer.pid(), unconfined.pid());
    let stack = "asked-denies//&asked-globs";
    let labels: Vec<&str> = PROFILES.iter().map(|(n, _, _)| *n).chain([stack]).collect();
    let needs: Vec<Access> = all.iter().filter_map(|access| need(&access.done)).collect();
    let (mut compared, mut unknown) = (0, 0);
    let mut wrong = Vec::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for label in labels {
        let answers = asked(label, &[&all[..], &needs].concat());
        let happened = tried(label, &all);
        for ((access, answer), happened) in all.iter().zip(&answers).zip(happened) {
            if answer == "unknown" {
                unknown += 1;
                continue;
            }
            let needed = need(&access.done).is_none_or(|need| {
                let same = |n: &Access| n.shared == need.shared && n.own == need.own;
                let place = needs.iter().position(same).unwrap();
                allows(&answers[all.len() + place], need.user == need.owner)
            });
            let expected = allows(answer, access.user == access.owner) && needed;
            compared += 1;
            *kinds.entry(answer.clone()).or_default() += 1;
            if expected != happened {
                wrong.push(format!("{label}: {access:?}: {answer}, but {happened}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {compared}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    println!("{compared} accesses asked and tried: {kinds:?}");
    // Every answer occurs, and often enough.
    assert!(compared >= 200 && unknown * 50 < compared, "{unknown}");
    for answer in [
        "allowed",
        "denied",
        "allowed-for-owner",
        "allowed-for-others",
        "complains",
    ] {
        assert!(kinds.contains_key(answer), "{answer}: {kinds:?}");
    }
    drop((peer, unconfined));
    for name in PROFILES.iter().map(|(name, _, _)| *name).chain([PEER]) {
        unload(name);
    }
    fs::remove_dir_all(PLACE).unwrap();
}
