//! The audit system's own counters (`struct audit_status`, include/uapi/linux/audit.h).

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::netlink;

use super::netlink::{NetlinkSocket, number};

/// `AUDIT_GET`, of requests and of replies.
const GET: u16 = 1000;

/// How long the kernel may take; a thread of its own replies.
const LIMIT: Duration = Duration::from_secs(2);

/// What the audit system says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AuditStatus {
    /// The process id of auditd; 0 if none is registered.
    pub(super) daemon: u32,
    /// How many records were lost since boot.
    pub(super) lost: u64,
}

impl AuditStatus {
    /// Asks the kernel. `None` without CAP_AUDIT_CONTROL in the initial namespaces, or if there is no
    /// audit system.
    pub(super) fn read() -> Option<Self> {
        let mut socket = NetlinkSocket::open(netlink::AUDIT, 0).ok()?;
        socket.send(GET, &[]).ok()?;
        let deadline = Instant::now().checked_add(LIMIT)?;
        loop {
            while let Some(message) = socket.receive().ok()? {
                match message.kind {
                    GET => return Self::parse(message.payload),
                    // NLMSG_ERROR.
                    2 => return None,
                    _ => {}
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = Timespec::try_from(left).ok()?;
            if left.is_zero()
                || poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&limit)) == Ok(0)
            {
                return None;
            }
        }
    }

    fn parse(status: &[u8]) -> Option<Self> {
        // mask, enabled, failure, pid, rate_limit, backlog_limit, lost.
        Some(Self {
            daemon: u32::from_ne_bytes(number(status, 12)?),
            lost: u32::from_ne_bytes(number(status, 24)?).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let words = [0x7f_u32, 1, 1, 613, 0, 64, 42, 0, 0x7f, 60000];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let status = AuditStatus::parse(&bytes);
        assert_eq!(
            status,
            Some(AuditStatus {
                daemon: 613,
                lost: 42
            })
        );
        assert_eq!(AuditStatus::parse(&bytes[..20]), None);
    }
}
