//! A netlink socket: messages of the kernel, and only of the kernel.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::{io::Errno, net, net::sockopt};

/// The length of the header of a message (`struct nlmsghdr`, include/uapi/linux/netlink.h).
pub(super) const HEADER: usize = 16;

/// More than a message of the audit system (`MAX_AUDIT_MESSAGE_LENGTH` is 8970).
const LONGEST: usize = 16 << 10;

/// A netlink socket that never blocks.
#[derive(Debug)]
pub(super) struct NetlinkSocket {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// A message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'b> {
    pub(super) kind: u16,
    pub(super) payload: &'b [u8],
}

impl NetlinkSocket {
    /// Opens a socket that hears these multicast groups.
    pub(super) fn open(protocol: Protocol, groups: u32) -> rustix::io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            flags,
            Some(protocol),
        )?;
        net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self {
            socket,
            buffer: vec![0; LONGEST],
        })
    }

    /// How much may wait to be read. It is memory of the kernel, which takes it when it is needed.
    pub(super) fn set_buffer(&self, bytes: usize) {
        // Without CAP_NET_ADMIN, up to /proc/sys/net/core/rmem_max.
        if sockopt::set_socket_recv_buffer_size_force(&self.socket, bytes).is_err() {
            let _ = sockopt::set_socket_recv_buffer_size(&self.socket, bytes);
        }
    }

    /// Sends a message to the kernel.
    pub(super) fn send(&self, kind: u16, payload: &[u8]) -> rustix::io::Result<()> {
        let length = HEADER.saturating_add(payload.len());
        let mut message = Vec::with_capacity(length);
        message.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        // NLM_F_REQUEST; sequence number and port are 0.
        message.extend(1u16.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(payload);
        net::send(&self.socket, &message, SendFlags::empty()).map(drop)
    }

    /// The next message; `None` if there is none now.
    ///
    /// # Errors
    /// `ENOBUFS`: messages were lost.
    pub(super) fn receive(&mut self) -> rustix::io::Result<Option<Message<'_>>> {
        let length = loop {
            let received = net::recvfrom(&self.socket, &mut *self.buffer, RecvFlags::TRUNC);
            let (length, sender) = match received {
                Ok((_, length, sender)) => (length, sender),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Ok(None),
                Err(e) => return Err(e),
            };
            // A process with CAP_NET_ADMIN can send to the group, too; port 0 is the kernel.
            let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
            if sender.is_some_and(|sender| sender.pid() == 0) {
                break length;
            }
        };
        let message = self.buffer.get(..length).unwrap_or(&self.buffer);
        let kind = number(message, 4).map(u16::from_ne_bytes);
        Ok(Some(Message {
            kind: kind.unwrap_or_default(),
            payload: message.get(HEADER..).unwrap_or_default(),
        }))
    }
}

impl AsFd for NetlinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The bytes of a number in a message.
pub(super) fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Whether this process is in the initial network namespace: the only one in which audit records are
/// sent, and processes reported. A setting of the whole host is shown only there
/// (`net_core_table`, net/core/sysctl_net_core.c).
pub(super) fn is_initial_network() -> io::Result<bool> {
    std::path::Path::new("/proc/sys/net/core/netdev_max_backlog").try_exists()
}
