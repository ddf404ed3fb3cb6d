//! The exchange with `oci-apparmor-agent confirm`, which has the API's token and nothing of the node,
//! through a directory that both containers of a pod have. Each writes one file of its own, and
//! `docs/formats.md` has both.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::node::wiring::HANDLER;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::fs::bounded;
use oci_apparmor::fs::replace::{self, Options};

/// The largest file of the other side, in bytes.
const MAX: u64 = 64 << 10;

const QUESTION: &str = "node.json";
const ANSWER: &str = "api.json";

/// What this side wants from the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Want {
    /// The node's label, once the API shows the handler.
    Served,
    /// No label.
    Unserved,
    /// Nothing yet.
    Nothing,
}

#[derive(Debug, Serialize, Deserialize)]
struct HandedQuestion {
    id: String,
    want: Want,
    handler: String,
    /// Why nothing more happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
}

/// What the other side says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct HandedAnswer {
    id: String,
    /// Whether it is as wanted.
    pub(crate) done: bool,
    /// Why it is not.
    #[serde(default)]
    pub(crate) reason: String,
}

/// The directory. It stays open, because this process leaves the container's root directory.
#[derive(Debug)]
pub(crate) struct Handover {
    directory: File,
}

impl Handover {
    /// Opens it.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if it is no directory.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let directory = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
            true => Ok(file),
            false => Err(io::ErrorKind::NotADirectory.into()),
        });
        let directory = directory.map_err(|e| {
            Error::io("open", path, &e)
                .of(Kind::NotFound)
                .with_remedy("give --handover a directory that the container api has, too")
        })?;
        Ok(Self { directory })
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!(
            "/proc/self/fd/{}/{name}",
            self.directory.as_raw_fd()
        ))
    }

    /// Asks; returns the number of the question.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn ask(&self, want: Want) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let id = format!(
            "{}-{}",
            std::process::id(),
            now.unwrap_or_default().as_nanos()
        );
        self.write(&HandedQuestion {
            id: id.clone(),
            want,
            handler: HANDLER.to_owned(),
            failed: None,
        })?;
        Ok(id)
    }

    /// Notes that nothing more is tried in this pod: a container that starts again must not restart
    /// the engine again.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn give_up(&self, why: &str) -> Result<()> {
        let id = self.ask(Want::Unserved)?;
        self.write(&HandedQuestion {
            id,
            want: Want::Unserved,
            handler: HANDLER.to_owned(),
            failed: Some(why.to_owned()),
        })
    }

    /// Why nothing more is tried in this pod.
    pub(crate) fn given_up(&self) -> Option<String> {
        let text = self.read(QUESTION)?;
        serde_json::from_slice::<HandedQuestion>(&text).ok()?.failed
    }

    fn write(&self, question: &HandedQuestion) -> Result<()> {
        let path = self.file(QUESTION);
        let text = serde_json::to_string(question);
        let text = text.map_err(|e| Error::io("write", &path, &e.into()))? + "\n";
        let temporary = self.file(".node.json.new");
        let options = Options::with_mode(0o644);
        replace::replace(&path, &temporary, text.as_bytes(), options)
            .map_err(|e| Error::io("write", &path, &e))
    }

    /// The answer to a question, if there is one yet. The other side is not trusted: what it says is
    /// shown, and decides about nothing but the engine's configuration that this side has written.
    pub(crate) fn answer(&self, id: &str) -> Option<HandedAnswer> {
        let answer: HandedAnswer = serde_json::from_slice(&self.read(ANSWER)?).ok()?;
        (answer.id == id).then_some(answer)
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(self.file(name))
            .ok()?;
        let regular = file.metadata().is_ok_and(|meta| meta.is_file());
        bounded::read(&file, MAX).ok().flatten().filter(|_| regular)
    }
}
