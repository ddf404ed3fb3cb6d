//! The command lines with which systemd starts a service, from its unit and drop-ins.
//!
//! Variables are replaced, with the values that the unit sets or reads from files, as in Debian's
//! docker.service (`$DOCKER_OPTS`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::engine::root::NodeRoot;

/// The directories of units. The first one that has a unit counts (`systemd.unit(5)`).
const DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// One command that a unit starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// The file of the unit or of the drop-in that has it.
    pub(crate) file: PathBuf,
    /// Its arguments, without the program.
    pub(crate) words: Vec<String>,
}

/// The command lines of `ExecStart=` of a service; none if there is no such service.
#[must_use]
pub(crate) fn command_lines(root: &NodeRoot, service: &str) -> Vec<CommandLine> {
    let mut started: Vec<(PathBuf, String)> = Vec::new();
    let mut variables = BTreeMap::new();
    for file in files(root, service) {
        let Ok(Some(text)) = root.read(&file) else {
            continue;
        };
        for (key, value) in service_section(&text.text) {
            match key.as_str() {
                "ExecStart" if value.is_empty() => started.clear(),
                "ExecStart" => started.push((file.clone(), value)),
                "Environment" => words(&value).iter().for_each(|w| assign(w, &mut variables)),
                "EnvironmentFile" => read_variables(root, &value, &mut variables),
                _ => {}
            }
        }
    }
    let commands = started.into_iter().map(|(file, line)| CommandLine {
        file,
        words: expanded(words(&line), &variables)
            .into_iter()
            .skip(1)
            .collect(),
    });
    commands.collect()
}

/// The unit's file, and then its drop-ins, in the order in which they are read.
fn files(root: &NodeRoot, service: &str) -> Vec<PathBuf> {
    let directories = DIRECTORIES.map(Path::new);
    let mut dropins = BTreeMap::new();
    for directory in directories.iter().rev() {
        for file in root.list(&directory.join(format!("{service}.d"))) {
            if file.extension().is_some_and(|e| e == "conf") {
                dropins.insert(file.file_name().map(ToOwned::to_owned), file);
            }
        }
    }
    let mut units = directories.iter().map(|d| d.join(service));
    let unit = units.find(|path| root.has(path));
    unit.into_iter().chain(dropins.into_values()).collect()
}

/// The assignments in the section `[Service]`. Continued lines are joined.
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

fn read_variables(root: &NodeRoot, path: &str, variables: &mut BTreeMap<String, String>) {
    let path = Path::new(path.trim_start_matches('-'));
    if let Ok(Some(file)) = root.read(path) {
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

/// The words of a line, with quotes as systemd reads them.
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

/// Replaces variables: `$NAME` as a whole word is split into words, `${NAME}` is not
/// (`systemd.service(5)`).
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
        let root = NodeRoot::new(dir.path()).unwrap();
        let now = || -> Vec<String> {
            let all = command_lines(&root, "docker.service");
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
        // A drop-in of the same name in a directory that counts more, and a file that is no drop-in.
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
        let file = &command_lines(&root, "docker.service")[0].file;
        assert_eq!(
            file,
            Path::new("/etc/systemd/system/docker.service.d/9.conf")
        );
    }
}
