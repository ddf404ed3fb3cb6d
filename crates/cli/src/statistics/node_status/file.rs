//! The file that the agent reads: `/var/lib/oci-apparmor/status/node.json`.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use oci_apparmor_node_status::{MAX_BYTES, NodeProfile, NodeStatus};

use crate::cluster::public_directory;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::fs::replace::{self, Options};
use oci_apparmor::fs::{temporary, trusted};
use oci_apparmor::profiles::lock;

const FILE: &str = "/var/lib/oci-apparmor/status/node.json";

/// The file. Its time says when the node was last looked at, its content what was found.
#[derive(Debug)]
pub(crate) struct StatusFile {
    before: Option<NodeStatus>,
}

impl StatusFile {
    /// What the file has; one that cannot be read, or is not root's, has nothing.
    pub(crate) fn read() -> Self {
        let bytes = trusted::read(Path::new(FILE), MAX_BYTES).ok();
        let before = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { before }
    }

    /// Completes a status: the conditions keep their times, and everything fits the definition.
    pub(crate) fn complete(&self, mut status: NodeStatus, now: SystemTime) -> NodeStatus {
        status.judge(self.before.as_ref(), now);
        status.fit()
    }

    /// Brings the file up to date, and returns what it has now.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn update(status: NodeStatus) -> Result<NodeStatus> {
        let _lock = lock::of_node_status()?;
        let file = Self::read();
        let status = file.complete(status, SystemTime::now());
        file.write(&status)?;
        Ok(status)
    }

    /// Brings the profiles of the file up to date. Does nothing if there is no file: then nothing
    /// keeps the rest of it up to date.
    ///
    /// # Errors
    /// As for [`Self::update`].
    pub(crate) fn update_profiles(
        profiles: impl FnOnce() -> Result<Vec<NodeProfile>>,
    ) -> Result<()> {
        if Self::read().before.is_none() {
            return Ok(());
        }
        let profiles = profiles()?;
        let _lock = lock::of_node_status()?;
        let file = Self::read();
        if let Some(mut status) = file.before.clone() {
            status.set_profiles(profiles);
            let status = file.complete(status, SystemTime::now());
            file.write(&status)?;
        }
        Ok(())
    }

    /// In one step. A file that has this already gets a new time only.
    fn write(&self, status: &NodeStatus) -> Result<()> {
        let path = Path::new(FILE);
        let failed = |e: &io::Error| Error::io("write", path, e);
        if self.before.as_ref() == Some(status) {
            let touched = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
            return touched.map_err(|e| failed(&e));
        }
        let directory = path.parent().unwrap_or(Path::new("/"));
        public_directory(directory)?;
        let text = serde_json::to_vec(status)
            .map_err(|e| Error::new(Kind::Internal, format!("cannot write {FILE}: {e}")))?;
        let temporary = directory.join(format!(".node.{}", temporary::mark()));
        replace::replace(path, &temporary, &text, Options::with_mode(0o644)).map_err(|e| failed(&e))
    }
}
