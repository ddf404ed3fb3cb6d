//! What the documentation and the files that are installed say, compared with the code.

// What a test cannot do must end it, and its numbers are small.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use oci_apparmor::error::Kind;
use oci_apparmor::request::{BETA_KEY, CONTAINER_KEY, PLAIN_KEY};
use oci_apparmor::runtime::record::{self, Place, Recorded};
use serde_json::Value;

// Each suite uses a part of it.
#[allow(dead_code)]
#[path = "support/kubernetes.rs"]
mod kubernetes;
#[path = "docs/kubernetes.rs"]
mod of_kubernetes;

type Words = BTreeSet<String>;

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A manual page as people read it: without fonts, escapes and macros, one line per input line.
fn manual(page: &str) -> String {
    let mut plain = text(&format!("docs/man/{page}"));
    for (escape, is) in [
        ("\\-", "-"),
        ("\\(dq", "\""),
        ("\\fB", ""),
        ("\\fI", ""),
        ("\\fR", ""),
        ("\\e", "\\"),
    ] {
        plain = plain.replace(escape, is);
    }
    plain
}

/// The part of a page from its heading `macro name` to the next one of that kind or higher.
fn part<'t>(page: &'t str, heading: &str) -> &'t str {
    let start = page
        .find(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no {heading}"))
        + 1;
    let rest = &page[start + heading.len()..];
    let ends = ["\n.SH ", "\n.SS "].iter().filter_map(|end| rest.find(end));
    &rest[..ends.min().unwrap_or(rest.len())]
}

/// The keys of `config/config.toml` with their defaults; `None` where only an example is given.
fn keys() -> Vec<(String, Option<String>)> {
    let mut section = String::new();
    let mut example = false;
    let mut keys = Vec::new();
    for line in text("config/config.toml").lines() {
        let Some(line) = line.strip_prefix('#') else {
            example = false;
            continue;
        };
        if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_matches(['[', ']']));
        } else if line.starts_with(" Example") {
            example = true;
        } else if let Some((key, default)) = line.split_once(" = ")
            && line.starts_with(|c: char| c.is_ascii_lowercase())
        {
            keys.push((
                format!("{section}{key}"),
                (!example).then(|| default.to_owned()),
            ));
        }
    }
    assert!(keys.len() >= 15, "{keys:?}");
    keys
}

#[test]
fn each_key_of_the_configuration_is_described_with_its_default() {
    let page = manual("oci-apparmor.toml.5");
    let formats = text("docs/formats.md");
    let table = section(&formats, "## Configuration");
    for (key, default) in &keys() {
        let row = format!("| `{key}` | ");
        let row = table
            .lines()
            .find(|l| l.starts_with(&row))
            .unwrap_or_else(|| panic!("{row}"));
        let shown = row.split(" | ").nth(2).unwrap();
        let expected = default
            .as_ref()
            .map_or("unset".to_owned(), |d| format!("`{d}`"));
        assert_eq!(shown, expected, "{key} in docs/formats.md");

        let (place, short) = match key.split_once('.') {
            Some(("rule", short)) => (part(&page, ".SS [[rule]]"), short),
            Some((section, short)) => (part(&page, &format!(".SS [{section}]")), short),
            None => (part(&page, ".SH KEYS"), key.as_str()),
        };
        let described = place.lines().any(|line| match default {
            Some(default) => line == format!("{short} = {default}"),
            None => line.starts_with(&format!("{short} = ")) && line.ends_with(" (unset)"),
        });
        assert!(described, "{key} in oci-apparmor.toml.5");
    }
    let rows = table.lines().filter(|l| l.starts_with("| `")).count();
    assert_eq!(rows, keys().len(), "docs/formats.md describes other keys");
    let entries = page
        .lines()
        .filter(|l| l.contains(" = ") && !l.starts_with('.'))
        .count();
    let examples = 3;
    assert_eq!(
        entries,
        keys().len() + examples,
        "oci-apparmor.toml.5 describes other keys"
    );
}

/// The part of a Markdown text below a heading.
fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let start = text
        .find(&format!("{heading}\n"))
        .unwrap_or_else(|| panic!("no {heading}"));
    let rest = &text[start + heading.len()..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

#[test]
fn each_exit_code_is_described() {
    let kinds = [
        Kind::Usage,
        Kind::NotFound,
        Kind::DoesNotCompile,
        Kind::Policy,
        Kind::KernelOff,
        Kind::Configuration,
        Kind::Internal,
    ];
    // A kind that is added must be added above as well.
    let complete = |kind: Kind| match kind {
        Kind::Usage
        | Kind::NotFound
        | Kind::DoesNotCompile
        | Kind::Policy
        | Kind::KernelOff
        | Kind::Configuration
        | Kind::Internal => kind.exit_code(),
    };
    let formats = text("docs/formats.md");
    let table = section(&formats, "## Exit codes");
    let help = oci_apparmor::cli::definition().render_help().to_string();
    for kind in kinds {
        let code = complete(kind);
        assert!(
            table.contains(&format!("| {code} | {kind:?} | ")),
            "{kind:?}"
        );
        assert!(help.contains(&format!(", {code} ")), "{kind:?}");
    }
    assert_eq!(
        table.lines().filter(|l| l.starts_with("| ")).count(),
        kinds.len() + 2
    );
}

/// The names in the first column of a table, several in one cell apart.
fn names(table: &str) -> Words {
    table
        .lines()
        .filter(|l| l.starts_with("| `"))
        .flat_map(|l| l.split(" | ").next().unwrap().split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

fn fields(value: &Value) -> Words {
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn each_field_of_a_record_is_described() {
    let formats = text("docs/formats.md");
    let place = Place {
        root: Path::new("/run/runc"),
        id: "c",
    };
    let record = record::empty("runc", place, Path::new("/b"));
    let (whole, component) = section(&formats, "## /run/oci-apparmor")
        .split_once("Each of `components`")
        .unwrap();
    let described = names(whole.split_once("one JSON object").unwrap().1);
    assert_eq!(described, fields(&serde_json::to_value(record).unwrap()));
    let recorded: Recorded = serde_json::from_str(
        r#"{"name":"p","wanted":"enforcing","mode":"enforce","directory":"p.1"}"#,
    )
    .unwrap();
    assert_eq!(
        names(component),
        fields(&serde_json::to_value(recorded).unwrap())
    );
}

/// What `configure` remembers.
#[test]
fn each_field_of_what_is_remembered_is_described() {
    use oci_apparmor::engine::{Engine, Text, memory::Memory};
    let file = Text {
        path: "/etc/docker/daemon.json".into(),
        text: "{}".to_owned(),
    };
    let memory = Memory::of(Engine::Docker, &file.path, None, &file);
    let value = serde_json::to_value(memory).unwrap();
    let formats = text("docs/formats.md");
    let described = section(&formats, "## /etc/oci-apparmor/engines");
    assert_eq!(names(described), fields(&value));
    for field in fields(&value["hunks"][0]) {
        assert!(described.contains(&format!("`{field}`")), "{field}");
    }
}

fn command(words: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_oci-apparmor"))
        .args(words)
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

#[test]
fn each_field_that_the_commands_print_is_described() {
    let formats = text("docs/formats.md");
    let bundle = tempfile::tempdir().unwrap();
    fs::write(bundle.path().join("config.json"), r#"{"process":{}}"#).unwrap();
    let explained = command(&["explain", "--json", bundle.path().to_str().unwrap()]);
    assert_eq!(
        names(section(
            &formats,
            "## JSON of `oci-apparmor explain --json`"
        )),
        fields(&explained)
    );
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/manifests/disabled.yaml");
    let rendered = command(&["render", "--json", manifest]);
    let table = section(&formats, "## JSON of `oci-apparmor render --json`");
    assert_eq!(names(table), fields(&rendered[0]));
    let checked = command(&["check", "--json"]);
    let table = section(&formats, "## JSON of `oci-apparmor check --json`");
    for finding in checked.as_array().unwrap() {
        assert_eq!(names(table), fields(finding));
        for key in ["part", "status"] {
            assert!(
                table.contains(&format!("`{}`", finding[key].as_str().unwrap())),
                "{finding}"
            );
        }
    }
}

/// All of `src`, with texts that go on over a line's end in one piece.
fn sources(directory: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &sources(&path);
        } else {
            for line in fs::read_to_string(path).unwrap().lines() {
                match line.trim_start().strip_suffix('\\') {
                    Some(begun) => all += begun,
                    None => all += &format!("{}\n", line.trim_start()),
                }
            }
        }
    }
    all
}

#[test]
fn each_message_in_the_readme_is_one_of_the_code() {
    let readme = text("README.md");
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let messages: Vec<&str> = section(&readme, "## When it refuses")
        .lines()
        .filter_map(|l| l.strip_prefix("| ").filter(|l| l.contains('`')))
        .flat_map(|l| l.split(" | ").next().unwrap().split('`').skip(1).step_by(2))
        .collect();
    assert!(messages.len() > 20, "{messages:?}");
    for piece in messages.iter().flat_map(|m| m.split('…')).map(str::trim) {
        let words = piece.trim_matches([',', ':']);
        let found = words.len() < 6
            || sources.contains(words)
            // An error within another one: each part is in the code.
            || words.split(": ").all(|part| sources.contains(part));
        assert!(found, "no message has {words:?}");
    }
}

#[test]
fn the_version_is_one() {
    let version = env!("CARGO_PKG_VERSION");
    let changelog = text("CHANGELOG.md");
    assert!(
        changelog.contains(&format!("\n## [{version}]"))
            || section(&changelog, "## [Unreleased]").contains(&format!("version {version}")),
        "CHANGELOG.md does not name {version}"
    );
    for page in [
        "oci-apparmor.8",
        "oci-apparmor-runtime.8",
        "oci-apparmor-hook.8",
        "oci-apparmor.toml.5",
    ] {
        let page = manual(page);
        let title = page.lines().next().unwrap();
        assert!(
            title.contains(&format!("\"oci-apparmor {version}\"")),
            "{title}"
        );
    }
}

#[test]
fn each_dependency_has_its_reason() {
    let table = names(&text("CONTRIBUTING.md"));
    let manifest = text("Cargo.toml");
    let dependencies: Words = manifest
        .lines()
        .skip_while(|l| *l != "[dependencies]")
        .take_while(|l| !l.starts_with("[["))
        .filter_map(|l| l.split_once(" = "))
        .map(|(name, _)| name.to_owned())
        .collect();
    assert_eq!(table, dependencies);
}

fn hook(path: &str) -> Value {
    serde_json::from_str(&text(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The keys of the schema 1.0.0 (oci-hooks(5)); the engines refuse a file with others or without.
fn assert_schema(hook: &Value, stage: &str) {
    let known = |value: &Value, keys: &[&str]| {
        fields(value).is_subset(&keys.iter().map(|k| (*k).to_owned()).collect())
    };
    assert!(
        known(hook, &["version", "hook", "when", "stages"]),
        "{hook}"
    );
    assert_eq!(hook["version"], "1.0.0");
    let program = &hook["hook"];
    assert!(
        known(program, &["path", "args", "env", "timeout"]),
        "{hook}"
    );
    assert_eq!(program["path"], "@LIBEXECDIR@/oci-apparmor-hook");
    assert_eq!(
        program["args"],
        serde_json::json!(["oci-apparmor-hook", stage])
    );
    assert!(
        program["env"][0]
            .as_str()
            .unwrap()
            .starts_with("PATH=/usr/sbin:")
    );
    assert!(
        program["timeout"].as_u64().unwrap() > 30,
        "shorter than the compiler may take"
    );
    assert_eq!(hook["stages"], serde_json::json!([stage]));
}

#[test]
fn hook_files_match_our_annotations_and_nothing_else() {
    let escaped = |key: &str| key.replace('.', "\\.");
    let ours = PLAIN_KEY.strip_suffix("profile").unwrap();
    // Every key that the code reads, and its misspellings, which it refuses.
    let pattern = format!(
        "^({}.+|{}.+|{}.+)$",
        escaped(CONTAINER_KEY),
        escaped(ours),
        escaped(BETA_KEY)
    );
    for (path, stage) in [
        ("hooks/oci-apparmor.json", "createRuntime"),
        ("hooks/podman/oci-apparmor-precreate.json", "precreate"),
    ] {
        let hook = hook(path);
        assert_schema(&hook, stage);
        // Several annotations would all have to be there.
        assert_eq!(
            hook["when"],
            serde_json::json!({ "annotations": { pattern.clone(): ".*" } }),
            "{path}"
        );
    }
    let always = hook("hooks/always/oci-apparmor.json");
    assert_schema(&always, "createRuntime");
    assert_eq!(always["when"], serde_json::json!({ "always": true }));
    // An engine that reads these does not start if it finds the stage of podman.
    for path in ["hooks/oci-apparmor.json", "hooks/always/oci-apparmor.json"] {
        assert!(!text(path).contains("precreate"));
    }
}

// --- install.sh, with the programs of this build, into a directory of its own.

fn install(destdir: &Path, words: &[&str]) -> Output {
    let programs = Path::new(env!("CARGO_BIN_EXE_oci-apparmor"))
        .parent()
        .unwrap();
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh"))
        .args(["--prefix", "/opt/oa", "--bindir"])
        .arg(programs)
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

fn files(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() && !path.is_symlink() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_dry_run_tells_all_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let told = installed(dir.path(), &["--dry-run"]);
    assert_eq!(files(dir.path()), Vec::<PathBuf>::new());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    installed(dir.path(), &[]);
    let all = files(dir.path());
    for file in &all {
        assert!(told.contains(file.to_str().unwrap()), "{}", file.display());
    }
    let told = installed(dir.path(), &["--uninstall", "--dry-run"]);
    assert_eq!(files(dir.path()), all);
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
    wanted.extend(files(&from.join("hooks")));
    wanted.extend(files(&from.join("config")));
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
    let built = Path::new(env!("CARGO_BIN_EXE_oci-apparmor"));
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
            let mut program = fs::read(built).unwrap();
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
/// (`trusted::tests::a_directory_that_keeps_what_is_roots_may_be_on_the_way`).
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
        let programs = Path::new(env!("CARGO_BIN_EXE_oci-apparmor"));
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh"))
            .args(["--dry-run", "--bindir"])
            .arg(programs.parent().unwrap())
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
        "opt/oa/share/man/man8/oci-apparmor-load.8",
        "opt/oa/share/bash-completion/completions/oci-apparmor",
        "opt/oa/share/zsh/site-functions/_oci-apparmor",
        "opt/oa/share/fish/vendor_completions.d/oci-apparmor.fish",
        "opt/oa/share/man/man8/oci-apparmor-runtime.8",
        "opt/oa/share/man/man8/oci-apparmor-hook.8",
        "opt/oa/share/man/man5/oci-apparmor.toml.5",
        "opt/oa/share/doc/oci-apparmor/LICENSE",
        "opt/oa/share/doc/oci-apparmor/docs/formats.md",
        "etc/oci-apparmor/config.toml",
    ] {
        assert_eq!(mode(&at(file)), 0o644, "{file}");
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
    for (unit, command) in [("preload", "load"), ("gc", "gc")] {
        let unit = format!("opt/oa/lib/systemd/system/oci-apparmor-{unit}.service");
        let unit = fs::read_to_string(at(&unit)).unwrap();
        assert!(!unit.contains("@BINDIR@"), "{unit}");
        let start = unit.lines().find_map(|l| l.strip_prefix("ExecStart="));
        let mut words = start.unwrap().split(' ');
        assert_eq!(words.next().unwrap(), "/opt/oa/bin/oci-apparmor");
        let call = std::iter::once("oci-apparmor").chain(words);
        let call = oci_apparmor::cli::definition().try_get_matches_from(call);
        assert_eq!(call.unwrap().subcommand_name(), Some(command));
    }
    // A timer starts the service of its name (systemd.timer(5)).
    let timer = fs::read_to_string(at("opt/oa/lib/systemd/system/oci-apparmor-gc.timer"));
    let timer = timer.unwrap();
    assert!(
        timer.contains("OnCalendar=daily\n") && !timer.contains("Unit="),
        "{timer}"
    );
    // Nothing is active, and nothing half-done is left.
    let all = files(&dir);
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

    // A damaged program is replaced by rename: whoever runs the old one keeps it.
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
    assert_eq!(files(dir.path()), kept);
    assert!(!dir.path().join("opt/oa/share/oci-apparmor").exists());
    // Nothing is left to do.
    installed(dir.path(), &["--uninstall"]);
}

#[test]
fn uninstalling_refuses_while_containers_or_engines_need_us() {
    let dir = tempfile::tempdir().unwrap();
    installed(dir.path(), &[]);
    let all = files(dir.path());
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
    for unit in ["oci-apparmor-gc.timer", "oci-apparmor-preload.service"] {
        let _ = fs::remove_file(wants.join("oci-apparmor-gc.timer"));
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
    assert_eq!(files(dir.path()), std::slice::from_ref(&docker));

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
    let all = files(dir.path());
    assert!(all.contains(&dir.path().join("etc/oci-apparmor/engines/containerd.json")));
    let told = installed(dir.path(), &words);
    assert!(told.contains("docker needs no change"), "{told}");
    assert_eq!(files(dir.path()), all);

    installed(dir.path(), &["--uninstall"]);
    assert_eq!(fs::read_to_string(&docker).unwrap(), "{\"debug\": true}\n");
    assert!(!containerd.exists());
    assert_eq!(
        files(dir.path()),
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

/// The test functions of the suites, as `module::function`.
fn tests() -> Vec<String> {
    let mut found = Vec::new();
    for suite in ["tests/process", "tests/kernel", "tests/engines"] {
        for entry in fs::read_dir(suite).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|e| e != "rs") {
                continue;
            }
            let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let source = fs::read_to_string(&path).unwrap();
            let mut lines = source.lines();
            while let Some(line) = lines.next() {
                if line.trim() == "#[test]"
                    && let Some(name) = lines.next().and_then(|l| l.trim().strip_prefix("fn "))
                {
                    found.push(format!("{module}::{}", name.split('(').next().unwrap()));
                }
            }
        }
    }
    found
}

/// Who reads where to report a hole must find it: no key of `Cargo.toml` that is not there.
#[test]
fn security_points_to_nothing_that_is_missing() {
    let page = text("SECURITY.md");
    let keys = text("Cargo.toml");
    for key in ["repository", "homepage", "authors", "documentation"] {
        let there = keys.lines().any(|l| l.starts_with(&format!("{key} =")));
        assert!(
            there || !page.contains(&format!("`{key}`")) && !page.contains("`Cargo.toml`'s"),
            "Cargo.toml has no {key}"
        );
    }
}

/// The map of the source says that a module imports only what stands below it.
#[test]
fn modules_import_only_what_stands_below_them() {
    let page = text("docs/architecture.md");
    let mut order: Vec<String> = Vec::new();
    let rows = section(&page, "## The map of src").lines();
    for row in rows.filter(|line| line.starts_with("| `")) {
        let files = row.split('|').nth(1).unwrap();
        for file in files.split('`').skip(1).step_by(2) {
            let module = file.split('/').next().unwrap().trim_end_matches(".rs");
            // The files of one directory are in one row, after its name.
            if file.contains('/') || Path::new(&format!("src/{file}")).exists() {
                assert!(
                    order.last().is_none_or(|last| last == module)
                        || order.iter().all(|known| known != module),
                    "the rows of {module} are apart"
                );
                order.push(module.to_owned());
            }
        }
    }
    order.dedup();
    let place = |module: &str| order.iter().position(|known| known == module);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for file in files(&root) {
        let inside = file.strip_prefix(&root).unwrap().to_str().unwrap();
        let module = inside.split('/').next().unwrap().trim_end_matches(".rs");
        if ["lib", "bin"].contains(&module) || inside.ends_with("tests.rs") {
            continue;
        }
        let above = place(module).unwrap_or_else(|| panic!("{module} is not on the map"));
        let code = fs::read_to_string(&file).unwrap();
        let code = code.split("#[cfg(test)]").next().unwrap();
        let code = code.lines().filter(|l| !l.trim_start().starts_with("//"));
        let code = code.collect::<Vec<_>>().join("\n");
        for rest in code.split("crate::").skip(1) {
            // `crate::{a, b::c}` or `crate::a::b`.
            let list = rest
                .strip_prefix('{')
                .and_then(|rest| rest.split('}').next());
            let names = list.map_or(vec![rest], |list| list.split(',').collect());
            for name in names {
                let end = |c: char| c != '_' && !c.is_ascii_lowercase();
                let name = name.trim().split(end).next().unwrap();
                let below = place(name).unwrap_or_else(|| panic!("{inside}: {name}"));
                assert!(
                    name == module || below > above,
                    "{inside} imports {name}, which stands above it"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 300, "{seen}");
}

#[test]
fn each_promise_has_a_test() {
    let page = text("SECURITY.md");
    let tests = tests();
    assert!(tests.len() > 100, "{tests:?}");
    let rows: Vec<&str> = section(&page, "## What is promised, and what shows it")
        .lines()
        .filter(|line| line.ends_with("` |"))
        .collect();
    assert!(rows.len() >= 25, "{rows:?}");
    for row in rows {
        let name = row.trim_end_matches("` |").rsplit('`').next().unwrap();
        assert!(tests.iter().any(|test| test == name), "{name} is no test");
    }
}
