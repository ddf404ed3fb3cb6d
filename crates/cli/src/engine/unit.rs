//! How systemd starts a service: the command lines that its unit and drop-ins come to.
//!
//! What a unit is told by variables is filled in from the files that it names, as Debian's
//! docker.service has it (`$DOCKER_OPTS`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::engine::place::Place;

/// Where units lie; the first directory that has one wins (`systemd.unit(5)`).
const DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// One command that a unit starts, and the file that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The file.
    pub file: PathBuf,
    /// Its words, without the program.
    pub words: Vec<String>,
}

/// The commands of `ExecStart=` of a service; none where it is not there.
#[must_use]
pub fn commands(place: &Place, service: &str) -> Vec<Command> {
    let mut started: Vec<(PathBuf, String)> = Vec::new();
    let mut variables = BTreeMap::new();
    for file in files(place, service) {
        let Ok(Some(text)) = place.read(&file) else {
            continue;
        };
        for (key, value) in service_section(&text.text) {
            match key.as_str() {
                "ExecStart" if value.is_empty() => started.clear(),
                "ExecStart" => started.push((file.clone(), value)),
                "Environment" => words(&value).iter().for_each(|w| assign(w, &mut variables)),
                "EnvironmentFile" => read_variables(place, &value, &mut variables),
                _ => {}
            }
        }
    }
    let commands = started.into_iter().map(|(file, line)| Command {
        file,
        words: expanded(words(&line), &variables)
            .into_iter()
            .skip(1)
            .collect(),
    });
    commands.collect()
}

/// The unit's file, and then its drop-ins in the order in which they are read.
fn files(place: &Place, service: &str) -> Vec<PathBuf> {
    let directories = DIRECTORIES.map(Path::new);
    let mut dropins = BTreeMap::new();
    for directory in directories.iter().rev() {
        for file in place.list(&directory.join(format!("{service}.d"))) {
            if file.extension().is_some_and(|e| e == "conf") {
                dropins.insert(file.file_name().map(ToOwned::to_owned), file);
            }
        }
    }
    let mut units = directories.iter().map(|d| d.join(service));
    let unit = units.find(|path| place.has(path));
    unit.into_iter().chain(dropins.into_values()).collect()
}

/// The assignments in the section `[Service]`, lines that go on joined.
fn service_section(text: &str) -> Vec<(String, String)> {
    let text = text.replace("\\\n", " ");
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[Service]";
        } else if let Some((key, value)) = line.split_once('=')
            && inside
            && !line.starts_with(['#', ';'])
        {
            found.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    found
}

fn read_variables(place: &Place, path: &str, variables: &mut BTreeMap<String, String>) {
    let path = Path::new(path.trim_start_matches('-'));
    if let Ok(Some(file)) = place.read(path) {
        let lines = file.text.lines().map(str::trim);
        for line in lines.filter(|line| !line.starts_with(['#', ';'])) {
            let line = line.strip_prefix("export ").unwrap_or(line);
            if let Some((name, value)) = line.split_once('=') {
                let value = value.trim().trim_matches(['"', '\'']);
                variables.insert(name.trim().to_owned(), value.to_owned());
            }
        }
    }
}

fn assign(word: &str, variables: &mut BTreeMap<String, String>) {
    if let Some((name, value)) = word.split_once('=') {
        variables.insert(name.to_owned(), value.to_owned());
    }
}

/// The words of a line, with quotes as systemd takes them.
fn words(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => found.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    found.extend(word);
    found
}

/// `$NAME` alone is split into words, `${NAME}` anywhere is one (`systemd.service(5)`).
fn expanded(words: Vec<String>, variables: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    for word in words {
        if let Some(value) = word
            .strip_prefix('$')
            .filter(|n| !n.starts_with(['{', '$']))
        {
            found.extend(self::words(variables.get(value).map_or("", String::as_str)));
            continue;
        }
        let mut word = word;
        for (name, value) in variables {
            word = word.replace(&format!("${{{name}}}"), value);
        }
        found.push(word);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_unit_with_drop_ins_and_variables() {
        let dir = tempfile::tempdir_in("/run").unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let place = Place::new(dir.path()).unwrap();
        let now = || -> Vec<String> {
            let all = commands(&place, "docker.service");
            all.into_iter().flat_map(|c| c.words).collect()
        };
        assert!(now().is_empty());
        put(
            "usr/lib/systemd/system/docker.service",
            "[Unit]\nExecStart=/no\n[Service]\nEnvironmentFile=-/etc/default/docker\nExecStart=/usr/sbin/dockerd -H fd:// \\\n  $DOCKER_OPTS\n",
        );
        assert_eq!(now(), ["-H", "fd://"]);
        put(
            "etc/default/docker",
            "# c\nDOCKER_OPTS=\"--add-runtime a=/b\"\n",
        );
        assert_eq!(now(), ["-H", "fd://", "--add-runtime", "a=/b"]);
        // The same name in a directory that counts more, and one that is no drop-in.
        put(
            "usr/lib/systemd/system/docker.service.d/9.conf",
            "[Service]\nExecStart=/no --x\n",
        );
        put(
            "etc/systemd/system/docker.service.d/9.conf",
            "[Service]\nEnvironment=\"A=b c\"\nExecStart=\nExecStart=/usr/bin/dockerd '--default-runtime=${A}'\n",
        );
        put(
            "etc/systemd/system/docker.service.d/x.txt",
            "[Service]\nExecStart=/no\n",
        );
        assert_eq!(now(), ["--default-runtime=b c"]);
        let file = &commands(&place, "docker.service")[0].file;
        assert_eq!(
            file,
            Path::new("/etc/systemd/system/docker.service.d/9.conf")
        );
    }
}
