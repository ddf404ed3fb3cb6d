//! The kernel's multicast of audit records: everything, at once, with and without auditd.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::SystemTime;

use rustix::io::Errno;
use rustix::net::netlink;

use oci_apparmor::error::{Error, Kind, Result, reason};
use oci_apparmor_audit::event::Event;

use super::gaps::Gaps;
use super::netlink::{NetlinkSocket, is_initial_network};
use super::reading::{self, LogReader, Reading};
use super::serials::{Serials, serial};

/// `AUDIT_NLGRP_READLOG`, as a mask.
const READLOG: u32 = 1;

/// For about 10,000 records, which take more than 2 KiB each.
const BUFFER: usize = 24 << 20;

/// Reads the multicast group.
#[derive(Debug)]
pub(super) struct MulticastReader {
    socket: NetlinkSocket,
    serials: Serials,
    opened: SystemTime,
}

impl MulticastReader {
    /// # Errors
    /// Why the kernel sends no records to this process.
    pub(super) fn open() -> Result<Self> {
        let refused = |why: &str, remedy: &str| Error::new(Kind::Internal, why).with_remedy(remedy);
        let socket = NetlinkSocket::open(netlink::AUDIT, READLOG).map_err(|e| match e {
            Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => refused(
                "the kernel logs no denials: it has no audit system, or was booted with audit=0",
                "boot without the kernel parameter audit=0",
            ),
            Errno::PERM | Errno::ACCESS => refused(
                "the kernel sends audit records only to processes with CAP_AUDIT_READ in the initial \
                 user namespace",
                "run this command as root on the host",
            ),
            other => refused(
                &format!("cannot receive audit records: {}", reason(&other.into())),
                "run: oci-apparmor denials --source kmsg",
            ),
        })?;
        if !is_initial_network().unwrap_or(true) {
            return Err(refused(
                "the kernel sends audit records only in the host's network namespace, and this process \
                 is in another one",
                "run it on the host, with hostNetwork: true, or with: nsenter --net=/proc/1/ns/net",
            ));
        }
        socket.set_buffer(BUFFER);
        Ok(Self {
            socket,
            serials: Serials::default(),
            opened: SystemTime::now(),
        })
    }
}

impl LogReader for MulticastReader {
    fn read(&mut self, gaps: &mut Gaps) -> Result<Reading> {
        loop {
            let message = match self.socket.receive() {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(Reading::Nothing),
                Err(Errno::NOBUFS) => {
                    gaps.overruns = gaps.overruns.saturating_add(1);
                    continue;
                }
                Err(e) => {
                    let why = format!("cannot receive audit records: {}", reason(&e.into()));
                    return Err(Error::new(Kind::Internal, why));
                }
            };
            if let Some(serial) = serial(message.payload) {
                self.serials.see(serial);
                gaps.missing_serials = self.serials.missing();
            }
            let end = message.payload.iter().rposition(|byte| *byte != 0);
            let end = end.map_or(0, |end| end.saturating_add(1));
            let text = message.payload.get(..end).unwrap_or_default();
            let event = Event::parse_netlink(message.kind, text);
            if let Some(entry) = reading::entry(event, gaps) {
                return Ok(Reading::Entry(entry));
            }
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn complete_since(&self) -> Option<SystemTime> {
        Some(self.opened)
    }
}
