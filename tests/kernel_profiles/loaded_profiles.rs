//! What the kernel holds of a profile, and what it took to bring it there.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::support::containers::*;

pub(crate) const CACHE: &str = "/var/cache/oci-apparmor";
pub(crate) const STATE: &str = "/run/oci-apparmor";
/// Besides the rest of these tests: only root can write here.
pub(crate) const AREA: &str = "/var/lib/oci-apparmor-tests/policy";
const PARSER: &str = "/var/lib/oci-apparmor-tests/policy/apparmor_parser";
const CALLS: &str = "/var/lib/oci-apparmor-tests/policy/calls";
const SECURITYFS: &str = "/sys/kernel/security/apparmor";

/// A node that remembers nothing, whose compiler counts its runs. With `settings` in its
/// configuration; containers are made by `/bin/true`, where only the profile matters.
pub(crate) fn fresh(settings: &str) {
    for directory in [CACHE, STATE, AREA] {
        let _ = fs::remove_dir_all(directory);
    }
    fs::create_dir_all(AREA).unwrap();
    fs::set_permissions(AREA, fs::Permissions::from_mode(0o755)).unwrap();
    compiler("exec /sbin/apparmor_parser \"$@\"");
    settle_for(settings);
}

/// Other settings, and nothing else.
pub(crate) fn settle_for(settings: &str) {
    let low_level = "[runtimes]\nrunc = \"/bin/true\"\n";
    let text = format!("parser = \"{PARSER}\"\n{settings}\n{low_level}");
    fs::write(CONFIG, text).unwrap();
}

/// The same, but with containers.
pub(crate) fn real_containers(settings: &str) {
    fs::write(CONFIG, format!("parser = \"{PARSER}\"\n{settings}\n")).unwrap();
}

/// Another compiler: a script that notes how it was called, and does this.
pub(crate) fn compiler(script: &str) {
    let text = format!("#!/bin/sh\necho \"$*\" >>{CALLS}\n{script}\n");
    // In one piece: other processes may be about to run it.
    let new = format!("{PARSER}.new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, PARSER).unwrap();
}

/// How many policies were compiled since [`fresh`].
pub(crate) fn compilations() -> usize {
    let calls = fs::read_to_string(CALLS).unwrap_or_default();
    calls.lines().filter(|l| l.contains(" -S")).count()
}

/// The text of a profile that allows to read one path.
pub(crate) fn reads(name: &str, path: &str) -> String {
    format!("profile {name} {{\n  {path} r,\n}}\n")
}

/// A profile's source, left loaded as it may be.
pub(crate) fn write(path: impl AsRef<Path>, text: &str) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
}

pub(crate) fn source_of(name: &str) -> PathBuf {
    Path::new(PROFILES).join(name)
}

/// A bundle for each of them, which asks for the profile.
pub(crate) fn bundles(name: &str, count: usize, args: &[&str]) -> Vec<PathBuf> {
    let first = Bundle::annotated(
        &format!("{name}-of"),
        args,
        &[("oci-apparmor/profile", name)],
    );
    let text = fs::read(first.config_json()).unwrap();
    let paths = (0..count).map(|n| first.path.with_file_name(format!("{name}-{n}")));
    paths
        .inspect(|path| {
            let _ = fs::remove_dir_all(path);
            fs::create_dir_all(path).unwrap();
            fs::write(path.join("config.json"), &text).unwrap();
        })
        .collect()
}

/// A bundle that asks for a profile; its containers are never really made.
#[derive(Debug)]
pub(crate) struct Asking(pub(crate) PathBuf);

impl Asking {
    pub(crate) fn for_profile(name: &str) -> Self {
        let path = Path::new(AREA).join("bundles").join(name.replace('/', "."));
        fs::create_dir_all(&path).unwrap();
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {"cwd": "/", "args": ["/bin/true"]},
            "annotations": {"oci-apparmor/profile": name},
        });
        fs::write(path.join("config.json"), config.to_string()).unwrap();
        Self(path)
    }

    pub(crate) fn create(&self) -> Done {
        let words = ["create", "--bundle", self.0.to_str().unwrap(), "asking"];
        run(wrapper("runc"), words)
    }

    /// Creates a container; what administrators hear of it.
    #[track_caller]
    pub(crate) fn created(&self) -> String {
        let (done, said) = noticed(|| self.create());
        assert_eq!((done.code, &*done.err), (0, ""), "{done:?}");
        said
    }

    #[track_caller]
    pub(crate) fn refused(&self, words: &[&str]) {
        self.create().refused(words);
    }
}

/// Does something; what the system's log hears meanwhile.
pub(crate) fn noticed<T>(work: impl FnOnce() -> T) -> (T, String) {
    const LOG: &str = "/dev/log";
    let _ = fs::remove_file(LOG);
    let socket = UnixDatagram::bind(LOG).unwrap();
    socket.set_nonblocking(true).unwrap();
    let done = work();
    let mut said = String::new();
    let mut line = [0; 4096];
    while let Ok(length) = socket.recv(&mut line) {
        said += &String::from_utf8_lossy(&line[..length]);
        said.push('\n');
    }
    fs::remove_file(LOG).unwrap();
    (done, said)
}

/// Asks the kernel: the permissions of a label on a file (apparmorfs.c, `query_label()`).
fn permissions(label: &str, path: &str) -> Option<u32> {
    let file = format!("{SECURITYFS}/.access");
    let mut access = OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let query = format!("label\0{label}\0\x02{path}");
    access.write_all(query.as_bytes()).ok()?;
    let mut answer = String::new();
    access.read_to_string(&mut answer).unwrap();
    let allowed = answer.lines().find_map(|l| l.strip_prefix("allow 0x"));
    Some(u32::from_str_radix(allowed.unwrap(), 16).unwrap())
}

/// Whether a label may read a file; not if it is not loaded.
pub(crate) fn may_read(label: &str, path: &str) -> bool {
    permissions(label, path).is_some_and(|bits| bits & 4 != 0)
}

/// Which of these paths a label may read.
pub(crate) fn readable<'p>(label: &str, paths: &[&'p str]) -> Vec<&'p str> {
    let mut paths = paths.to_vec();
    paths.retain(|path| may_read(label, path));
    paths
}

/// The number that every change of policy raises.
pub(crate) fn revision() -> u64 {
    let mut number = [0; 32];
    let mut file = fs::File::open(format!("{SECURITYFS}/revision")).unwrap();
    let length = file.read(&mut number).unwrap();
    let text = std::str::from_utf8(&number[..length]).unwrap();
    text.trim().parse().unwrap()
}

/// How often the kernel loaded a profile since its log was emptied.
pub(crate) fn loads(name: &str) -> usize {
    let log = run("dmesg", [""; 0]).ok();
    let name = format!("name=\"{name}\"");
    log.lines()
        .filter(|l| l.contains("operation=\"profile_load\"") || l.contains("profile_replace"))
        .filter(|l| l.contains(&name) && !l.contains("skipping"))
        .count()
}

pub(crate) fn empty_log() {
    run("dmesg", ["-C"]).ok();
}

/// Compiles a text, as any user can.
pub(crate) fn compiled(text: &str, options: &[&str]) -> Vec<u8> {
    let path = Path::new(AREA).join("compiled");
    fs::write(&path, text).unwrap();
    let blob = Path::new(AREA).join("blob");
    let words = [
        options,
        &["-QK", "-o", blob.to_str().unwrap(), path.to_str().unwrap()],
    ];
    run("apparmor_parser", words.concat()).ok();
    fs::read(&blob).unwrap()
}

/// Loads compiled policy, as any program of root can.
pub(crate) fn replace(blob: &[u8]) {
    fs::write(format!("{SECURITYFS}/.replace"), blob).unwrap();
}

/// Longer than it takes until a file that was written is known by its fingerprint alone. In a guest
/// (`tests/vm/stage2`), whose clock is its own, that moment comes at once.
pub(crate) fn settle() {
    if Path::new("/run/job/stage2").exists() {
        run("date", ["--set=3 seconds"]).ok();
    } else {
        sleep(Duration::from_millis(2200));
    }
}

/// Creates a container when nothing has changed for a while, so that all is remembered.
#[track_caller]
pub(crate) fn remembered(asking: &Asking) {
    settle();
    asking.created();
}

/// Gives a file the times of long ago, as `cp -p`, `rsync -t`, `tar` and ConfigMaps do.
pub(crate) fn ages(path: impl AsRef<Path>) {
    run(
        "touch",
        ["-d", "2001-01-01", path.as_ref().to_str().unwrap()],
    )
    .ok();
}

/// Loads a text as any other program would.
pub(crate) fn others_load(text: &str) {
    replace(&compiled(text, &[]));
}

/// Sets a parameter of the kernel's AppArmor, and puts it back at the end.
#[derive(Debug)]
pub(crate) struct Parameter(&'static str, &'static str);

impl Parameter {
    pub(crate) fn set(name: &'static str, value: &str, back: &'static str) -> Self {
        Self::write(name, value);
        Self(name, back)
    }

    fn write(name: &str, value: &str) {
        // Without a newline, which some of them refuse.
        fs::write(format!("/sys/module/apparmor/parameters/{name}"), value).unwrap();
    }
}

impl Drop for Parameter {
    fn drop(&mut self) {
        Self::write(self.0, self.1);
    }
}

/// Something mounted over a directory, until the test is done with it.
#[derive(Debug)]
pub(crate) struct Mounted(pub(crate) PathBuf);

impl Mounted {
    pub(crate) fn tmpfs(on: impl AsRef<Path>, options: &str) -> Self {
        fs::create_dir_all(&on).unwrap();
        let mounted = Self(on.as_ref().to_owned());
        run(
            "mount",
            ["-t", "tmpfs", "-o", options, "tmpfs", mounted.path()],
        )
        .ok();
        mounted
    }

    pub(crate) fn bind(what: impl AsRef<Path>, on: impl AsRef<Path>) -> Self {
        let mounted = Self(on.as_ref().to_owned());
        run(
            "mount",
            ["--bind", what.as_ref().to_str().unwrap(), mounted.path()],
        )
        .ok();
        mounted
    }

    pub(crate) fn remount(&self, options: &str) {
        run("mount", ["-o", &format!("remount,{options}"), self.path()]).ok();
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", ["-l", self.path()]);
    }
}
