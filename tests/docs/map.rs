//! The map of the source: `docs/architecture.md` and `lib.rs`, compared with what files import.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::rust::{self, Code, File, is_word};
use crate::{root, section, text};

const PAGE: &str = "docs/architecture.md";

/// No file is longer, without its tests.
const LONGEST: usize = 350;

/// Half of the files are not longer.
const MEDIAN: usize = 180;

/// One file that another one imports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    from: String,
    to: String,
    /// Whether it only hands on a name (`pub use`).
    reexport: bool,
}

/// The modules of a file: `src/profiles/store/load.rs` is `profiles`, `store`, `load`.
fn module(file: &File) -> Vec<String> {
    let inside = file.name.strip_prefix(&file.base).unwrap();
    let path = inside.trim_matches('/').trim_end_matches(".rs");
    let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
    if ["mod", "lib", "main"].contains(&parts.last().unwrap().as_str()) {
        parts.pop();
    }
    parts
}

/// The paths that a file imports, each as modules from the root of its crate, and whether it only
/// hands the name on.
fn paths(file: &File) -> Vec<(Vec<String>, bool)> {
    let code = Code::new(&file.text);
    let text = code.text();
    let mut paths: Vec<(String, bool)> = Vec::new();
    let mut uses: Vec<(usize, usize)> = Vec::new();
    for at in code.all("use ") {
        let line = text[..at].rfind('\n').map_or(0, |n| n + 1);
        let before = text[line..at].trim();
        if !before.is_empty() && !before.starts_with("pub") {
            continue;
        }
        let end = at + text[at..].find(';').unwrap_or(0);
        uses.push((at, end));
        for path in tree(&text[at + 4..end]) {
            paths.push((path, !before.is_empty()));
        }
    }
    let children: Vec<String> = code
        .all("mod ")
        .into_iter()
        .filter_map(|at| {
            text[at + 4..]
                .split_once(';')
                .map(|(name, _)| name.to_owned())
        })
        .filter(|name| name.chars().all(is_word))
        .collect();
    let starts = ["crate", "super", "self"].into_iter().map(str::to_owned);
    for start in starts.chain(children.iter().cloned()) {
        for at in code.all(&format!("{start}::")) {
            let inside = uses.iter().any(|(begin, end)| (begin..end).contains(&&at));
            // `a::start::b` is told by its beginning.
            if !inside && !text[..at].ends_with("::") {
                let end = text[at..].find(|c| !is_word(c) && c != ':');
                paths.push((text[at..at + end.unwrap_or(0)].to_owned(), false));
            }
        }
    }
    let own = module(file);
    let mut found = Vec::new();
    for (path, reexport) in paths {
        let mut at: Vec<String> = own.clone();
        let mut parts = path.split("::").peekable();
        match parts.peek().copied() {
            Some("crate") => at.clear(),
            Some("self" | "super") => {}
            Some(first) if children.iter().any(|c| c == first) => {}
            _ => continue,
        }
        for part in parts {
            match part {
                "crate" | "self" => {}
                "super" => drop(at.pop()),
                part => at.push(part.to_owned()),
            }
        }
        found.push((at, reexport));
    }
    found
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn tree(text: &str) -> Vec<String> {
    let text = text.trim();
    let Some(open) = text.find('{') else {
        let path = text.split(" as ").next().unwrap();
        return vec![path.split_whitespace().collect()];
    };
    let prefix: String = text[..open].split_whitespace().collect();
    let code = Code::new(text);
    let inner = code.arguments(open).into_iter();
    inner
        .flat_map(|part| tree(&part))
        .map(|path| format!("{prefix}{path}"))
        .collect()
}

/// Which file a path leads to, through the names that files hand on.
struct Names {
    files: BTreeSet<String>,
    /// A file and a name that it hands on, with the path that this name means.
    handed_on: BTreeMap<(String, String), Vec<String>>,
}

impl Names {
    fn of(files: &[File]) -> Self {
        let mut names = Self {
            files: files.iter().map(|file| file.name.clone()).collect(),
            handed_on: BTreeMap::new(),
        };
        for file in files {
            for (path, reexport) in paths(file) {
                if let Some(name) = path.last().filter(|_| reexport) {
                    let name = (file.name.clone(), name.clone());
                    names.handed_on.insert(name, path);
                }
            }
        }
        names
    }

    fn resolve(&self, base: &str, path: &[String]) -> Option<String> {
        for length in (1..=path.len()).rev() {
            let at = format!("{base}/{}", path[..length].join("/"));
            let files = [format!("{at}.rs"), format!("{at}/mod.rs")];
            let Some(file) = files.into_iter().find(|file| self.files.contains(file)) else {
                continue;
            };
            let name = path.get(length).cloned().unwrap_or_default();
            return match self.handed_on.get(&(file.clone(), name)) {
                Some(path) => self.resolve(base, path),
                None => Some(file),
            };
        }
        None
    }
}

fn all_imports(files: &[File]) -> Vec<Import> {
    let names = Names::of(files);
    let mut found = BTreeSet::new();
    for file in files.iter().filter(|file| !file.name.contains("/bin/")) {
        for (path, reexport) in paths(file) {
            match names.resolve(&file.base, &path) {
                Some(to) if to != file.name => found.insert(Import {
                    from: file.name.clone(),
                    to,
                    reexport,
                }),
                _ => continue,
            };
        }
    }
    found.into_iter().collect()
}

/// The rooms of a table in the page, from above to below: `runtime/`, `hook.rs`.
fn rooms(page: &str, base: &str) -> Vec<String> {
    let mut rooms: Vec<String> = Vec::new();
    let table = section(page, &format!("## The map of {base}"));
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        for entry in row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2) {
            let room = match entry.rsplit_once('/') {
                Some((directory, _)) => format!("{directory}/"),
                // Files of one directory share a row, and the first has its name.
                None if rooms
                    .last()
                    .is_some_and(|last| root().join(base).join(last).join(entry).exists()) =>
                {
                    continue;
                }
                None => entry.to_owned(),
            };
            if rooms.last() != Some(&room) {
                assert!(!rooms.contains(&room), "the rows of {room} are apart");
                rooms.push(room);
            }
        }
    }
    assert!(!rooms.is_empty(), "{PAGE} has no map of {base}");
    rooms
}

/// The room that a file is in: the longest that is a part of its path.
fn room<'r>(rooms: &'r [String], base: &str, file: &str) -> Option<&'r String> {
    let inside = file.strip_prefix(base)?.strip_prefix('/')?;
    let is_in = |room: &&String| match room.strip_suffix(".rs") {
        // Also the files of the directory of that name.
        Some(module) => inside == room.as_str() || inside.starts_with(&format!("{module}/")),
        None => inside.starts_with(room.as_str()),
    };
    rooms.iter().filter(is_in).max_by_key(|room| room.len())
}

fn bases(files: &[File]) -> BTreeSet<String> {
    files.iter().map(|file| file.base.clone()).collect()
}

/// A map is only needed where there are several rooms.
fn has_map(page: &str, base: &str) -> bool {
    page.contains(&format!("\n## The map of {base}\n"))
}

#[test]
fn each_file_is_on_the_map() {
    let files = rust::files();
    let page = text(PAGE);
    assert!(has_map(&page, "src"));
    let mut wrong = Vec::new();
    for base in bases(&files).iter().filter(|base| has_map(&page, base)) {
        let rooms = rooms(&page, base);
        for file in files.iter().filter(|file| file.base == **base) {
            let inside = &file.name[base.len() + 1..];
            let root = ["lib.rs", "main.rs"].contains(&inside);
            if !root && room(&rooms, base, &file.name).is_none() {
                wrong.push(format!("{} is in no room", file.name));
            }
        }
        for room in &rooms {
            if !root().join(base).join(room).exists() {
                wrong.push(format!("{base}/{room} does not exist"));
            }
        }
    }
    assert!(wrong.is_empty(), "{PAGE}:\n{}", wrong.join("\n"));
}

#[test]
fn modules_import_only_what_stands_below_them() {
    let files = rust::files();
    let page = text(PAGE);
    let imports = all_imports(&files);
    assert!(imports.len() > 200, "{}", imports.len());
    let mut wrong = Vec::new();
    for base in bases(&files).iter().filter(|base| has_map(&page, base)) {
        let rooms = rooms(&page, base);
        let place = |file: &str| {
            let room = room(&rooms, base, file)?;
            rooms.iter().position(|known| known == room)
        };
        for import in imports.iter().filter(|i| i.from.starts_with(base.as_str())) {
            // `mod.rs` hands on what is in its directory.
            let directory = import
                .from
                .trim_end_matches("mod.rs")
                .trim_end_matches(".rs");
            let own = import.reexport && import.to.starts_with(directory);
            if let (Some(from), Some(to)) = (place(&import.from), place(&import.to))
                && to < from
                && !own
            {
                wrong.push(format!("{} imports {}", import.from, import.to));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} imports go up the map:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn no_modules_import_each_other() {
    let files = rust::files();
    let imports = all_imports(&files);
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for import in imports.iter().filter(|import| !import.reexport) {
        next.entry(&import.from).or_default().push(&import.to);
    }
    let reached = |start: &str| {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = next.get(start).cloned().unwrap_or_default();
        while let Some(file) = open.pop() {
            if seen.insert(file) {
                open.extend(next.get(file).into_iter().flatten());
            }
        }
        seen
    };
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        next.keys().map(|file| (*file, reached(file))).collect();
    let mut circles: BTreeSet<Vec<&str>> = BTreeSet::new();
    for (file, to) in &reach {
        let both: Vec<&str> = to
            .iter()
            .filter(|other| reach.get(**other).is_some_and(|back| back.contains(file)))
            .copied()
            .collect();
        if !both.is_empty() {
            circles.insert(both);
        }
    }
    let shown: Vec<String> = circles
        .iter()
        .map(|circle| {
            let inside = |import: &&Import| {
                let is_in = |file: &str| circle.contains(&file);
                !import.reexport && is_in(&import.from) && is_in(&import.to)
            };
            let edges = imports.iter().filter(inside);
            let edges: Vec<_> = edges
                .map(|i| format!("    {} -> {}", i.from, i.to))
                .collect();
            format!("  {} files:\n{}", circle.len(), edges.join("\n"))
        })
        .collect();
    assert!(circles.is_empty(), "circles:\n{}", shown.join("\n"));
}

#[test]
fn files_are_short() {
    let files = rust::files();
    let mut lines: Vec<(usize, &str)> = files
        .iter()
        .map(|file| (file.text.lines().count(), file.name.as_str()))
        .collect();
    lines.sort_unstable();
    let long: Vec<String> = lines
        .iter()
        .filter(|(lines, _)| *lines > LONGEST)
        .map(|(lines, name)| format!("{name}: {lines} lines"))
        .collect();
    let median = lines[lines.len() / 2].0;
    assert!(
        long.is_empty() && median <= MEDIAN,
        "median {median} of at most {MEDIAN}; more than {LONGEST}:\n{}",
        long.join("\n")
    );
}

/// The table in `lib.rs` has the same modules in the same order.
#[test]
fn the_two_maps_are_one() {
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let rows = library.lines().filter(|line| line.starts_with("//! | [`"));
    let listed: Vec<String> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect();
    let modules: BTreeSet<&str> = library
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let listed_once: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    assert_eq!(listed_once, modules, "the table in src/lib.rs");
    let mut order: Vec<String> = Vec::new();
    for room in rooms(&text(PAGE), "src") {
        let name = room.split(['/', '.']).next().unwrap().to_owned();
        if !order.contains(&name) && name != "bin" {
            order.push(name);
        }
    }
    assert_eq!(listed, order, "the order of src/lib.rs and {PAGE}");
}

#[test]
fn imports_are_found_however_they_are_written() {
    let file = |name: &str, text: &str| File {
        name: name.to_owned(),
        base: "src".to_owned(),
        text: text.to_owned(),
    };
    let files = [
        file(
            "src/a/mod.rs",
            "mod b;\npub use b::B;\nfn f() { b::g(); \"crate::d\"; } // crate::d\n",
        ),
        file("src/f.rs", "use crate::a::B;\n"),
        file(
            "src/a/b.rs",
            "use crate::{c::{self, C}, d::D};\nuse super::A;\nfn g() { crate::e::h() }\n",
        ),
        file("src/c.rs", ""),
        file("src/d.rs", "use std::fmt;\nuse crate::a::b::B as Other;\n"),
        file("src/e.rs", ""),
    ];
    let shown: Vec<String> = all_imports(&files)
        .iter()
        .map(|i| format!("{} {} {}", i.from, i.to, i.reexport))
        .collect();
    assert_eq!(
        shown,
        [
            "src/a/b.rs src/a/mod.rs false",
            "src/a/b.rs src/c.rs false",
            "src/a/b.rs src/d.rs false",
            "src/a/b.rs src/e.rs false",
            "src/a/mod.rs src/a/b.rs false",
            "src/a/mod.rs src/a/b.rs true",
            "src/d.rs src/a/b.rs false",
            "src/f.rs src/a/b.rs false",
        ]
    );
}

/// Types that are the same thing in two versions of a manifest.
const OF_TWO_VERSIONS: [&str; 4] = ["Abstract", "NetworkRules", "Protocols", "Spec"];

#[test]
fn each_type_name_means_one_thing() {
    let mut types: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in rust::files() {
        for line in file.text.lines() {
            let item = line.strip_prefix("pub(crate) ").unwrap_or(line);
            let item = item.strip_prefix("pub(super) ").unwrap_or(item);
            let item = item.strip_prefix("pub ").unwrap_or(item);
            let Some((kind, rest)) = item.split_once(' ') else {
                continue;
            };
            let name = rest.split(|c: char| !is_word(c)).next().unwrap_or_default();
            // Each crate has an `Error` and a `Result` of its own, as Rust's crates do.
            let is_type = ["struct", "enum", "trait", "type"].contains(&kind);
            if is_type && !OF_TWO_VERSIONS.contains(&name) && !["Error", "Result"].contains(&name) {
                let files = types.entry(name.to_owned()).or_default();
                files.insert(file.name.clone());
            }
        }
    }
    assert!(types.len() > 100, "{}", types.len());
    types.retain(|_, files| files.len() > 1);
    assert!(types.is_empty(), "{types:#?}");
}
