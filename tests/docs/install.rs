//! `install.sh`, with the programs of this build, into a directory of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::{files_below, help, programs, text};

fn install(destdir: &Path, words: &[&str]) -> Output {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh"))
        .args(["--prefix", "/opt/oa", "--bindir"])
        .arg(programs())
        .arg("--destdir")
        .arg(destdir)
        .args(words)
        .current_dir("/")
        .output()
        .unwrap()
}

/// What it printed, where it succeeded.
fn installed(destdir: &Path, words: &[&str]) -> String {
    let output = install(destdir, words);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_dry_run_tells_all_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let told = installed(dir.path(), &["--dry-run"]);
    assert_eq!(files_below(dir.path()), Vec::<PathBuf>::new());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    installed(dir.path(), &[]);
    let all = files_below(dir.path());
    for file in &all {
        assert!(told.contains(file.to_str().unwrap()), "{}", file.display());
    }
    let told = installed(dir.path(), &["--uninstall", "--dry-run"]);
    assert_eq!(files_below(dir.path()), all);
    assert!(
        told.contains(
            dir.path()
                .join("opt/oa/bin/oci-apparmor-runtime")
                .to_str()
                .unwrap()
        )
    );
}

/// A checkout with what `install.sh` reads before it installs anything, and no source.
fn checkout() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("src")).unwrap();
    fs::create_dir(dir.path().join(".cargo")).unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wanted = ["install.sh", "Cargo.toml", "Cargo.lock"]
        .map(|name| from.join(name))
        .to_vec();
    wanted.extend(files_below(&from.join("hooks")));
    wanted.extend(files_below(&from.join("config")));
    for file in wanted {
        let to = dir.path().join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(file, to).unwrap();
    }
    dir
}

/// Programs that were built for other machines are left alone, and ours are taken.
#[test]
fn programs_of_another_architecture_are_not_installed() {
    let dir = checkout();
    let built = programs().join("oci-apparmor");
    let told = || {
        let output = Command::new(dir.path().join("install.sh"))
            .args(["--dry-run", "--destdir"])
            .arg(dir.path().join("root"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let put = |triple: &str, machine: Option<u8>| {
        let release = dir.path().join("target").join(triple).join("release");
        fs::create_dir_all(&release).unwrap();
        for name in ["oci-apparmor", "oci-apparmor-runtime", "oci-apparmor-hook"] {
            let mut program = fs::read(&built).unwrap();
            // `e_machine` of the ELF header.
            program[18] = machine.unwrap_or(program[18]);
            fs::write(release.join(name), program).unwrap();
            fs::set_permissions(release.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
    };
    // The first in the order of names; 0xf3 is RISC-V.
    put("a-foreign", Some(0xf3));
    assert!(told().contains(" cargo build "), "{}", told());
    put("z-own", None);
    assert!(!told().contains(" cargo build "), "{}", told());
}

/// What `install.sh` refuses, `configure` and `check` would refuse in the same words
/// (`trusted::tests::a_sticky_directory_of_a_group_may_be_on_the_path`).
#[test]
fn a_prefix_that_others_can_change_is_refused_before_anything_is_changed() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not run: only root can install into a machine itself");
        return;
    }
    let base = tempfile::Builder::new()
        .prefix("oci-apparmor-test")
        .tempdir_in("/var/lib")
        .unwrap();
    let local = base.path().join("local");
    fs::create_dir(&local).unwrap();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(base.path(), 0o755);
    let linked = base.path().join("linked");
    std::os::unix::fs::symlink("local", &linked).unwrap();
    let run = |prefix: &Path| {
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh"))
            .args(["--dry-run", "--bindir"])
            .arg(programs())
            .arg("--prefix")
            .arg(prefix)
            .output()
            .unwrap()
    };
    for prefix in [&local, &linked] {
        for (bits, fine) in [
            (0o755, true),
            (0o2755, true),
            // Debian's /usr/local, in the group staff.
            (0o2775, false),
            (0o777, false),
            (0o1777, false),
            (0o1775, true),
        ] {
            mode(&local, bits);
            std::os::unix::fs::chown(&local, None, Some(50)).unwrap();
            mode(&local, bits);
            let output = run(prefix);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.success(), fine, "{bits:o} {said}");
            let why = format!(
                "{} is writable by group or others (mode {bits:o}, group 50)",
                local.display()
            );
            assert!(fine || said.contains(&why), "{said}");
            let remedy = format!("run: chmod go-w {};", local.display());
            // One that is sticky for all is meant to be so.
            assert_eq!(said.contains(&remedy), !fine && bits != 0o1777, "{said}");
            assert_eq!(output.stdout.is_empty(), !fine);
        }
    }
    mode(&local, 0o755);
    std::os::unix::fs::chown(&local, Some(1000), None).unwrap();
    let said = String::from_utf8(run(&local).stderr).unwrap();
    assert!(said.contains("belongs to uid 1000"), "{said}");
}

#[test]
fn what_is_installed_has_its_place_and_mode() {
    let base = tempfile::tempdir().unwrap();
    // It need not be there yet.
    let dir = base.path().join("package/root");
    installed(&dir, &[]);
    let at = |path: &str| dir.join(path);
    for program in [
        "opt/oa/bin/oci-apparmor",
        "opt/oa/bin/oci-apparmor-runtime",
        "opt/oa/libexec/oci-apparmor/oci-apparmor-hook",
    ] {
        assert_eq!(mode(&at(program)), 0o755, "{program}");
    }
    for name in ["runc", "crun", "youki"] {
        let link = at("opt/oa/libexec/oci-apparmor").join(name);
        assert_eq!(
            fs::read_link(&link).unwrap(),
            Path::new("../../bin/oci-apparmor-runtime")
        );
        assert!(link.exists());
    }
    for file in [
        "opt/oa/share/man/man8/oci-apparmor.8",
        "opt/oa/share/man/man8/oci-apparmor-runtime.8",
        "opt/oa/share/man/man8/oci-apparmor-hook.8",
        "opt/oa/share/man/man5/oci-apparmor.toml.5",
        "opt/oa/share/oci-apparmor/profiles/oci-apparmor-agent",
        "opt/oa/lib/tmpfiles.d/oci-apparmor.conf",
        "opt/oa/share/doc/oci-apparmor/LICENSE",
        "opt/oa/share/doc/oci-apparmor/docs/formats.md",
        "etc/oci-apparmor/config.toml",
    ] {
        assert_eq!(mode(&at(file)), 0o644, "{file}");
    }
    let pages = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap();
    for name in pages.map(|page| page.unwrap().file_name()) {
        let name = name.to_str().unwrap();
        let installed = at("opt/oa/share/doc/oci-apparmor/docs").join(name);
        // The checklist for releases is of use in a checkout only.
        let wanted = name != "release.md" && (name.ends_with(".md") || name.ends_with(".svg"));
        assert_eq!(installed.is_file(), wanted, "{name}");
    }
    assert_eq!(mode(&at("etc/oci-apparmor/profiles")), 0o755);
    for hook in [
        "hooks.d/oci-apparmor.json",
        "podman-hooks.d/oci-apparmor-precreate.json",
    ] {
        let hook = fs::read_to_string(at("opt/oa/share/oci-apparmor").join(hook)).unwrap();
        let hook: Value = serde_json::from_str(&hook).unwrap();
        assert_eq!(
            hook["hook"]["path"],
            "/opt/oa/libexec/oci-apparmor/oci-apparmor-hook"
        );
    }
    for (unit, command) in [
        ("preload", "load"),
        ("gc", "gc"),
        ("metrics", "metrics"),
        ("sync", "sync"),
    ] {
        let unit = format!("opt/oa/lib/systemd/system/oci-apparmor-{unit}.service");
        let unit = fs::read_to_string(at(&unit)).unwrap();
        assert!(!unit.contains("@BINDIR@"), "{unit}");
        let start = unit.lines().find_map(|l| l.strip_prefix("ExecStart="));
        let words: Vec<&str> = start.unwrap().split(' ').collect();
        assert_eq!(words[..2], ["/opt/oa/bin/oci-apparmor", command]);
        let options = help(&[command]);
        assert!(words[2..].iter().all(|option| options.contains(option)));
    }
    // A timer starts the service of its name (systemd.timer(5)).
    for (name, time) in [
        ("gc", "OnCalendar=daily"),
        ("metrics", "OnUnitActiveSec=1min"),
    ] {
        let timer = format!("opt/oa/lib/systemd/system/oci-apparmor-{name}.timer");
        let timer = fs::read_to_string(at(&timer)).unwrap();
        assert!(
            timer.contains(&format!("\n{time}\n")) && !timer.contains("Unit="),
            "{timer}"
        );
    }
    // So does a path. It watches the spool of the default configuration.
    let path = at("opt/oa/lib/systemd/system/oci-apparmor-sync.path");
    let path = fs::read_to_string(path).unwrap();
    let spool = text("config/config.toml");
    let spool = spool.lines().find_map(|l| l.strip_prefix("#spool = "));
    let watched = format!("\nPathChanged={}\n", spool.unwrap().trim_matches('"'));
    assert!(path.contains(&watched) && !path.contains("Unit="), "{path}");
    // Which belongs to the user of the agent's pod.
    let made = fs::read_to_string(at("opt/oa/lib/tmpfiles.d/oci-apparmor.conf")).unwrap();
    let spool = format!(
        "\nd {} 0750 65532 65532 -\n",
        spool.unwrap().trim_matches('"')
    );
    assert!(made.replace("  ", " ").contains(&spool), "{made}");
    let pod = text("deploy/base/daemonset.yaml");
    assert!(pod.contains("runAsUser: 65532") && pod.contains("runAsGroup: 65532"));
    // Nothing is active, and nothing half-done is left.
    let all = files_below(&dir);
    assert!(
        all.iter().all(|f| !f.to_string_lossy().contains(".new")),
        "{all:?}"
    );
    assert!(!at("usr").exists());
}

#[test]
fn a_second_run_changes_nothing_and_keeps_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    installed(dir.path(), &[]);
    let changed = |told: &str| {
        told.lines()
            .filter(|l| !l.starts_with("unchanged "))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(changed(&installed(dir.path(), &[])), Vec::<String>::new());
    let config = dir.path().join("etc/oci-apparmor/config.toml");
    fs::write(&config, "floor = \"mine\"\n").unwrap();
    assert_eq!(changed(&installed(dir.path(), &[])).len(), 2);
    assert_eq!(fs::read_to_string(&config).unwrap(), "floor = \"mine\"\n");
    let new = dir.path().join("etc/oci-apparmor/config.toml.new");
    assert_eq!(
        fs::read_to_string(&new).unwrap(),
        text("config/config.toml")
    );

    // A damaged program is replaced by rename: a process that runs the old one keeps it.
    let program = dir.path().join("opt/oa/bin/oci-apparmor");
    fs::write(&program, "old").unwrap();
    fs::hard_link(&program, dir.path().join("running")).unwrap();
    installed(dir.path(), &[]);
    assert_eq!(fs::read(dir.path().join("running")).unwrap(), b"old");
    assert!(fs::metadata(&program).unwrap().len() > 1000);
}

#[test]
fn uninstalling_keeps_configuration_and_what_others_put_there() {
    let dir = tempfile::tempdir().unwrap();
    installed(dir.path(), &[]);
    let profile = dir.path().join("etc/oci-apparmor/profiles/mine");
    fs::write(&profile, "profile mine { }\n").unwrap();
    let theirs = dir.path().join("opt/oa/libexec/oci-apparmor/theirs");
    symlink("/bin/true", &theirs).unwrap();
    let told = installed(dir.path(), &["--uninstall"]);
    assert!(told.contains("kept "), "{told}");
    let kept = [
        dir.path().join("etc/oci-apparmor/config.toml"),
        profile,
        theirs,
    ];
    assert_eq!(files_below(dir.path()), kept);
    assert!(!dir.path().join("opt/oa/share/oci-apparmor").exists());
    // Nothing is left to do.
    installed(dir.path(), &["--uninstall"]);
}

#[test]
fn uninstalling_refuses_while_containers_or_engines_need_us() {
    let dir = tempfile::tempdir().unwrap();
    installed(dir.path(), &[]);
    let all = files_below(dir.path());
    let refused = |expected: &str| {
        let output = install(dir.path(), &["--uninstall"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let line = String::from_utf8(output.stderr).unwrap();
        assert!(
            line.contains(expected) && line.lines().count() == 1,
            "{line}"
        );
    };
    let records = dir.path().join("run/oci-apparmor/containers/0123");
    fs::create_dir_all(&records).unwrap();
    fs::write(records.join("web-1"), "{}").unwrap();
    refused("web-1");
    fs::remove_file(records.join("web-1")).unwrap();

    let engines = dir.path().join("etc/containers");
    fs::create_dir_all(&engines).unwrap();
    let file = engines.join("containers.conf");
    fs::write(&file, "crun = [\"/opt/oa/libexec/oci-apparmor/crun\"]\n").unwrap();
    refused(file.to_str().unwrap());
    fs::write(&file, "").unwrap();
    let wants = dir
        .path()
        .join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants).unwrap();
    for unit in [
        "oci-apparmor-gc.timer",
        "oci-apparmor-metrics.timer",
        "oci-apparmor-preload.service",
    ] {
        for other in ["gc", "metrics"] {
            let _ = fs::remove_file(wants.join(format!("oci-apparmor-{other}.timer")));
        }
        let unit_file = Path::new("/opt/oa/lib/systemd/system").join(unit);
        symlink(unit_file, wants.join(unit)).unwrap();
        refused(&format!("run: systemctl disable --now {unit}, or"));
    }
    let link = wants.join("oci-apparmor-preload.service");
    assert!(all.iter().all(|f| f.exists()));
    installed(dir.path(), &["--uninstall", "--force"]);
    fs::remove_file(link).unwrap();
    assert!(!dir.path().join("opt/oa/bin/oci-apparmor-runtime").exists());
    // What is commented out is not in force.
    fs::write(&file, "# crun = [\"/opt/oa/libexec/oci-apparmor/crun\"]\n").unwrap();
    installed(dir.path(), &["--uninstall"]);
}

/// As an image of a node is made: nothing runs, nothing but the directory is touched.
#[test]
fn engines_are_configured_in_one_go_and_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let docker = dir.path().join("etc/docker/daemon.json");
    fs::create_dir_all(docker.parent().unwrap()).unwrap();
    fs::write(&docker, "{\"debug\": true}\n").unwrap();
    let words = ["--engine", "containerd", "--engine=docker", "--set-default"];
    let told = installed(dir.path(), &[&words[..], &["--dry-run"]].concat());
    assert!(told.contains("would configure docker"), "{told}");
    assert_eq!(files_below(dir.path()), std::slice::from_ref(&docker));

    let told = installed(dir.path(), &words);
    let containerd = dir.path().join("etc/containerd/config.toml");
    for (file, default) in [
        (&containerd, "default_runtime_name = \"oci-apparmor\""),
        (&docker, "\"default-runtime\": \"oci-apparmor\""),
    ] {
        let text = fs::read_to_string(file).unwrap();
        // The path is the one that the node will see.
        assert!(
            text.contains("\"/opt/oa/libexec/oci-apparmor/runc\""),
            "{text}"
        );
        assert!(text.contains(default), "{text}");
        assert!(told.contains(file.to_str().unwrap()), "{told}");
    }
    let all = files_below(dir.path());
    assert!(all.contains(&dir.path().join("etc/oci-apparmor/engines/containerd.json")));
    let told = installed(dir.path(), &words);
    assert!(told.contains("docker needs no change"), "{told}");
    assert_eq!(files_below(dir.path()), all);

    installed(dir.path(), &["--uninstall"]);
    assert_eq!(fs::read_to_string(&docker).unwrap(), "{\"debug\": true}\n");
    assert!(!containerd.exists());
    assert_eq!(
        files_below(dir.path()),
        [docker, dir.path().join("etc/oci-apparmor/config.toml")]
    );
    assert!(!dir.path().join("etc/oci-apparmor/engines").exists());
}

#[test]
fn a_call_that_makes_no_sense_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    for words in [
        &["--prefix"][..],
        &["--prefix", "relative"],
        &["--prefix", "/with space"],
        &["--no-such-option"],
        &["--bindir", "/nonexistent"],
        &["--demo"],
        &["--engine"],
        &["--engine", "rkt"],
        &["--set-default"],
        &["--uninstall", "--engine", "docker"],
    ] {
        let output = install(dir.path(), words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        let line = String::from_utf8(output.stderr).unwrap();
        assert!(
            line.starts_with("install.sh: ") && line.lines().count() == 1,
            "{line}"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
