//! Asking the kernel what a loaded profile allows: the file `.access`.
//!
//! The kernel looks up the permissions in the profile's automaton, exactly as for a real access, but
//! changes nothing and logs nothing (`query_label()`, security/apparmor/apparmorfs.c).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread;

use nix::unistd::{Uid, geteuid, setfsuid};

use crate::apparmor::kernel::securityfs::Kernel;
use crate::error::{Error, Kind, Result};
use crate::user_namespace;

/// A user that owns no file that is asked about; the usual id of the user `nobody`.
const OTHER_USER: u32 = 65534;

/// More than the kernel's answer, which has 67 bytes.
const LONGEST: usize = 256;

/// What the kernel says about one state of a profile's automaton.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions {
    /// The permissions that the profile grants. All bits are set if the profile says nothing about
    /// this class of accesses.
    pub allow: u32,
    /// The permissions whose use is logged.
    pub audit: u32,
    /// The permissions that are refused without a log entry, because of an explicit `deny` rule. The
    /// parameter `audit` and the flag `audit` of a profile change it
    /// (`aa_apply_modes_to_perms()`, security/apparmor/lib.c).
    pub quiet: u32,
}

/// The process that the kernel is asked for: it decides which half of an `owner` rule is looked at.
///
/// The kernel compares the user of the asking thread with user 0, as if that owned the file
/// (`profile_query_cb()` and `aa_lookup_condperms()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedFor {
    /// A process whose user owns the file.
    Owner,
    /// A process of another user.
    Other,
}

/// The open file `.access`.
#[derive(Debug)]
pub struct AccessFile {
    path: PathBuf,
    file: File,
}

impl Kernel {
    /// Opens `.access`. Every user may.
    ///
    /// # Errors
    /// [`Kind::KernelOff`] if it does not exist, [`Kind::Internal`] if it cannot be opened.
    pub fn access_file(&self) -> Result<AccessFile> {
        let path = self.securityfs.join(".access");
        match File::options().read(true).write(true).open(&path) {
            Ok(file) => Ok(AccessFile { path, file }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::new(
                Kind::KernelOff,
                "AppArmor is off, or securityfs is not mounted, so no profile can be asked",
            )
            .with_remedy("run: oci-apparmor check")),
            Err(e) => Err(Error::io("open", &path, &e)),
        }
    }

    /// Whether this kernel lists a feature, for example `caps/extended` or `network_v9`.
    #[must_use]
    pub fn has_feature(&self, name: &str) -> bool {
        self.features().join(name).exists()
    }
}

impl AccessFile {
    /// What the profiles of `label` grant at the state that `query` leads to: the number of the
    /// class, and what the kernel matches for it. If the label is a stack, only what all of its
    /// profiles grant.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if no such label exists in the kernel; a stack exists only if something has
    /// had it. [`Kind::Policy`] if the owner's half is wanted and this process is not root in the
    /// initial user namespace.
    pub fn ask(&self, label: &str, query: &[u8], asked_for: AskedFor) -> Result<Permissions> {
        let request = [b"label\0", label.as_bytes(), b"\0", query].concat();
        let root = geteuid().is_root() && user_namespace::is_initial();
        match asked_for {
            AskedFor::Owner if !root => Err(Error::new(
                Kind::Policy,
                "only root can ask what the owner of a file may do",
            )
            .with_remedy("run it as root on the host")),
            AskedFor::Other if root => self.as_other_user(label, &request),
            _ => self.transaction(label, &request),
        }
    }

    /// The same, asked by a thread whose user for files is not root. The user for files belongs to a
    /// thread (setfsuid(2)), and the file is open already.
    fn as_other_user(&self, label: &str, request: &[u8]) -> Result<Permissions> {
        let asking = || {
            let other = Uid::from_raw(OTHER_USER);
            setfsuid(other);
            // It returns the user from before, so a second call tells whether the first succeeded.
            if setfsuid(other) != other {
                let why = "the kernel refused to change the user for files of a thread";
                return Err(Error::new(Kind::Internal, why));
            }
            self.transaction(label, request)
        };
        thread::scope(|scope| scope.spawn(asking).join()).unwrap_or_else(|_| {
            let why = "the thread that asks the kernel ended early";
            Err(Error::new(Kind::Internal, why))
        })
    }

    /// Writes a request and reads the answer. The kernel keeps one answer for each open file.
    fn transaction(&self, label: &str, request: &[u8]) -> Result<Permissions> {
        let failed = |e: &io::Error| match e.raw_os_error() {
            Some(libc::ENOENT) => Error::new(
                Kind::NotFound,
                format!("no profile {label} is loaded in the kernel"),
            )
            .with_remedy(format!("run: oci-apparmor load {label}")),
            Some(libc::EFBIG) => Error::new(
                Kind::Usage,
                "the kernel cannot be asked about a name as long as this",
            ),
            _ => Error::io("ask", &self.path, e),
        };
        self.file.write_at(request, 0).map_err(|e| failed(&e))?;
        let mut answer = [0; LONGEST];
        let length = self
            .file
            .read_at(&mut answer, 0)
            .map_err(|e| Error::io("read", &self.path, &e))?;
        let text = std::str::from_utf8(answer.get(..length).unwrap_or_default()).ok();
        text.and_then(parsed).ok_or_else(|| {
            let why = format!("the answer of {} is malformed", self.path.display());
            Error::new(Kind::Internal, why)
        })
    }
}

/// The permissions in the kernel's answer: `allow 0x…`, `deny 0x…`, `audit 0x…`, `quiet 0x…`.
fn parsed(text: &str) -> Option<Permissions> {
    let word = |name: &str| {
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(" 0x"))?;
        u32::from_str_radix(value, 16).ok()
    };
    // The kernel has taken denied permissions from `allow` already (`aa_perms_accum_raw()`).
    Some(Permissions {
        allow: word("allow")? & !word("deny")?,
        audit: word("audit")?,
        quiet: word("quiet")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apparmor::kernel::securityfs::tests::sys;

    #[test]
    fn the_answer_is_read() {
        // docker-default and /proc/kcore on kernel 6.12.
        let text = "allow 0x00050200\ndeny 0x00000000\naudit 0x00000000\nquiet 0x0000b17f\n";
        let permissions = Permissions {
            allow: 0x50200,
            audit: 0,
            quiet: 0xb17f,
        };
        assert_eq!(parsed(text), Some(permissions));
        let denied = "allow 0x00000006\ndeny 0x00000002\naudit 0x0\nquiet 0x0\n";
        assert_eq!(parsed(denied).unwrap().allow, 4);
        for broken in ["", "allow 0x1", "allow 1\ndeny 0x0\naudit 0x0\nquiet 0x0"] {
            assert_eq!(parsed(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_kernel_without_apparmor_cannot_be_asked() {
        let (_d, kernel) = sys(&[]);
        assert_eq!(kernel.access_file().unwrap_err().kind(), Kind::KernelOff);
        assert!(!kernel.has_feature("caps/extended"));
    }
}
