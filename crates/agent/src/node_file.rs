//! The status of the node, in the file that `oci-apparmor node status --write` writes as root.
//!
//! The agent only reads it. It is root's, but it is checked all the same: a file that is not whole, or
//! is from another version, must not stop what else the agent does.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci_apparmor_node_status::{MAX_BYTES, NodeStatus, READY};

/// The name of the file in its directory.
const NAME: &str = "node.json";

/// What a file is told from others by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileMark {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl FileMark {
    fn of(meta: &Metadata) -> Self {
        Self {
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        }
    }
}

/// What the file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeFileContent {
    /// What the node said last, and when it was last looked at.
    Known(Box<NodeStatus>, SystemTime),
    /// Nothing, and why.
    Unknown(String),
}

/// The file, and what was last read of it.
#[derive(Debug)]
pub struct NodeFile {
    path: PathBuf,
    mark: Option<FileMark>,
    facts: NodeFileContent,
}

impl NodeFile {
    /// The file in this directory. It is read by [`NodeFile::look`].
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self {
            path: directory.join(NAME),
            mark: None,
            facts: NodeFileContent::Unknown("it was not read yet".to_owned()),
        }
    }

    /// What it has now. It is only read if it is another one than before, or has changed.
    pub fn look(&mut self) -> &NodeFileContent {
        match self.try_look() {
            Ok(()) => {}
            Err(e) => {
                self.mark = None;
                self.facts = NodeFileContent::Unknown(e.to_string());
            }
        }
        &self.facts
    }

    fn try_look(&mut self) -> io::Result<()> {
        let there = std::fs::symlink_metadata(&self.path)?;
        if self.mark == Some(FileMark::of(&there)) {
            return Ok(());
        }
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(&self.path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let modified = meta.modified()?;
        let status: NodeStatus = serde_json::from_slice(&bounded(&file)?).map_err(|e| {
            let line = e.line();
            io::Error::other(format!(
                "it is not a status that this agent knows (line {line})"
            ))
        })?;
        let status = status.fit();
        if status.condition(READY).is_none() {
            return Err(io::Error::other("it has no condition Ready"));
        }
        self.facts = NodeFileContent::Known(Box::new(status), modified);
        self.mark = Some(FileMark::of(&meta));
        Ok(())
    }
}

fn bounded(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES.saturating_add(1))
        .read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        true => Err(io::Error::other(format!(
            "it is larger than {MAX_BYTES} bytes"
        ))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn known(file: &mut NodeFile) -> Option<String> {
        match file.look() {
            NodeFileContent::Known(status, _) => {
                Some(status.versions.wrapper.clone().unwrap_or_default())
            }
            NodeFileContent::Unknown(_) => None,
        }
    }

    #[test]
    fn the_file_is_read_when_it_changes_and_whatever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let mut file = NodeFile::new(dir.path());
        assert_eq!(known(&mut file), None);
        let ready = r#"{"type":"Ready","status":"True","reason":"r","lastTransitionTime":"1970-01-01T00:00:00Z"}"#;
        let text = format!(
            r#"{{"versions":{{"wrapper":"1"}},"new":{{"field":1}},"conditions":[{ready}]}}"#
        );
        fs::write(&path, text).unwrap();
        assert_eq!(known(&mut file).as_deref(), Some("1"));
        // The node was looked at, and nothing has changed.
        let at = UNIX_EPOCH + Duration::from_secs(1_000);
        fs::File::open(&path).unwrap().set_modified(at).unwrap();
        assert!(matches!(file.look(), NodeFileContent::Known(_, time) if *time == at));
        let long = "x".repeat(2_000_000);
        for wrong in [
            "",
            "{",
            "[]",
            "{}",
            "[1]",
            r#"{"engines":[{"name":"a","calls":"Never"}]}"#,
            &long,
        ] {
            fs::write(&path, wrong).unwrap();
            assert_eq!(known(&mut file), None);
        }
        fs::remove_file(&path).unwrap();
        symlink("/etc/hostname", &path).unwrap();
        assert_eq!(known(&mut file), None);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(known(&mut file), None);
    }
}
