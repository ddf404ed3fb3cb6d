//! Before, after, and before again.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::programs::program;

/// Where engines will see the wrapper's links.
pub(crate) const PROGRAMS: &str = "/usr/local/libexec/oci-apparmor";

/// What `configure` remembers lies here; it is no file of an engine.
const JOURNAL: &str = "etc/oci-apparmor/engines";

/// A tree: its files with their texts and its directories with none, by their paths in it.
type Tree = BTreeMap<PathBuf, Option<String>>;

/// The tree of a node's image.
pub(crate) struct Image(pub(crate) tempfile::TempDir);

impl Image {
    pub(crate) fn new() -> Self {
        let image = Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        fs::set_permissions(image.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(image.path("/etc")).unwrap();
        image
    }

    /// With these files in it.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let image = Self::new();
        for (path, text) in files {
            image.write(path, text);
        }
        image
    }

    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn text(&self, inside: &str) -> String {
        fs::read_to_string(self.path(inside)).unwrap()
    }

    /// `oci-apparmor COMMAND WORDS…` on it.
    pub(crate) fn run(&self, command: &str, words: &[&str]) -> Output {
        let mut call = Command::new(program("oci-apparmor"));
        call.arg(command)
            .args(words)
            .arg("--root")
            .arg(self.0.path());
        if command == "configure" && !words.contains(&"--programs") {
            call.args(["--programs", PROGRAMS]);
        }
        call.output().unwrap()
    }

    /// The same, which must succeed; what it prints.
    #[track_caller]
    pub(crate) fn done(&self, command: &str, words: &[&str]) -> String {
        let output = self.run(command, words);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Everything in it.
    pub(crate) fn tree(&self) -> Tree {
        let mut tree = tree(self.0.path());
        let ours = |path: &Path| path == Path::new("etc/oci-apparmor") || path.starts_with(JOURNAL);
        tree.retain(|path, _| !ours(path));
        tree
    }
}

pub(crate) fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            let inside = path.strip_prefix(root).unwrap().to_owned();
            if path.is_dir() {
                open.push(path);
                found.insert(inside, None);
            } else {
                found.insert(inside, Some(fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

fn copy(tree: &Tree, to: &Path) {
    for (path, text) in tree {
        match text {
            None => fs::create_dir_all(to.join(path)).unwrap(),
            Some(text) => fs::write(to.join(path), text).unwrap(),
        }
    }
}

/// A case: its name, the words of its call, and its two trees.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) words: Vec<String>,
    directory: PathBuf,
}

impl Case {
    pub(crate) fn all() -> Vec<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/engine_files");
        let mut cases: Vec<Self> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter_map(|directory| {
                let call = fs::read_to_string(directory.join("call")).ok()?;
                let words = call.split_whitespace().map(str::to_owned).collect();
                let name = directory.file_name()?.to_str()?.to_owned();
                Some(Self {
                    name,
                    words,
                    directory,
                })
            })
            .collect();
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        assert!(cases.len() > 15);
        cases
    }

    pub(crate) fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    pub(crate) fn before(&self) -> Image {
        let image = Image::new();
        copy(&tree(&self.directory.join("before")), image.0.path());
        image
    }

    fn after(&self) -> Tree {
        let mut after = tree(&self.directory.join("after"));
        after.insert("etc".into(), None);
        after
    }
}

#[test]
fn configure_writes_the_golden_files_and_unconfigure_restores_every_byte() {
    let bless = std::env::var_os("OCI_APPARMOR_BLESS").is_some();
    let mut wrong = Vec::new();
    for case in Case::all() {
        let image = case.before();
        let before = image.tree();
        let engine = case.words[0].as_str();

        let mut dry = case.words();
        dry.push("--dry-run");
        assert!(
            image.done("configure", &dry).contains("\n+++ "),
            "{}",
            case.name
        );
        assert_eq!(
            image.tree(),
            before,
            "{}: a dry run changes nothing",
            case.name
        );
        assert!(!image.path(JOURNAL).exists());

        let said = image.done("configure", &case.words());
        let after = image.tree();
        if bless {
            let directory = case.directory.join("after");
            let _ = fs::remove_dir_all(&directory);
            fs::create_dir_all(&directory).unwrap();
            copy(&after, &directory);
            fs::write(
                case.directory.join("said"),
                said.replace(image.0.path().to_str().unwrap(), "ROOT"),
            )
            .unwrap();
        }
        if after != case.after() {
            wrong.push(format!("{}: {after:#?}", case.name));
        }
        let expected = fs::read_to_string(case.directory.join("said")).unwrap();
        assert_eq!(
            said.replace(image.0.path().to_str().unwrap(), "ROOT"),
            expected,
            "{}",
            case.name
        );

        let journal = tree(&image.path(JOURNAL));
        let again = image.done("configure", &case.words());
        assert!(again.contains("needs no change"), "{}: {again}", case.name);
        assert_eq!(
            (image.tree(), tree(&image.path(JOURNAL))),
            (after, journal),
            "{}",
            case.name
        );

        image.done("unconfigure", &[engine]);
        assert_eq!(image.tree(), before, "{}", case.name);
        assert!(!image.path(JOURNAL).exists(), "{}", case.name);
        assert!(
            image
                .done("unconfigure", &[engine])
                .contains("needs no change")
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Any way of being configured can follow any other, and the way back is the same.
#[test]
fn a_second_configure_replaces_the_first() {
    let ways = [
        &[][..],
        &["--set-default"],
        &["--runtime-name", "other"],
        &["--low-level", "crun", "--set-default"],
    ];
    for case in Case::all() {
        let engine = case.words[0].as_str();
        let straight: Vec<Tree> = ways
            .iter()
            .filter_map(|way| {
                let image = case.before();
                let output = image.run("configure", &[&[engine], *way].concat());
                output.status.success().then(|| image.tree())
            })
            .collect();
        // A foreign default is refused, and tested elsewhere.
        if straight.len() < ways.len() {
            continue;
        }
        let image = case.before();
        let before = image.tree();
        for (way, straight) in ways.iter().zip(&straight) {
            image.done("configure", &[&[engine], *way].concat());
            assert_eq!(image.tree(), *straight, "{} {way:?}", case.name);
        }
        image.done("unconfigure", &[engine]);
        assert_eq!(image.tree(), before, "{}", case.name);
    }
}

#[test]
fn owner_mode_and_link_of_a_file_stay() {
    let image = Image::of(&[("/data/daemon.json", "{\"debug\": true}\n")]);
    let real = image.path("/data/daemon.json");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(&real, None, Some(12)).unwrap();
    fs::create_dir_all(image.path("/etc/docker")).unwrap();
    // A link of the image stays in the image.
    std::os::unix::fs::symlink("/data/daemon.json", image.path("/etc/docker/daemon.json")).unwrap();
    let look = || {
        let meta = fs::metadata(&real).unwrap();
        (meta.uid(), meta.gid(), meta.mode() & 0o7777)
    };
    let before = look();
    image.done("configure", &["docker"]);
    assert!(fs::read_to_string(&real).unwrap().contains("oci-apparmor"));
    assert_eq!(look(), before);
    assert!(image.path("/etc/docker/daemon.json").is_symlink());
    image.done("unconfigure", &["docker"]);
    assert_eq!(
        (fs::read_to_string(&real).unwrap().as_str(), look()),
        ("{\"debug\": true}\n", before)
    );
    assert_eq!(
        tree(&image.path("/data")).len(),
        1,
        "no temporary file is left"
    );
}
