//! The kernel's reports of processes that fork, execute a program and exit (`CONFIG_PROC_EVENTS`,
//! include/uapi/linux/cn_proc.h).

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::netlink;

use crate::log::netlink::{NetlinkSocket, is_initial_network, number};

/// `CN_IDX_PROC` and `CN_VAL_PROC` (include/uapi/linux/connector.h); as a mask of groups, too.
const PROC: u32 = 1;

/// `PROC_CN_MCAST_LISTEN` and `PROC_CN_MCAST_IGNORE`.
const LISTEN: u32 = 1;
const IGNORE: u32 = 2;

/// `NLMSG_DONE`, the type of all messages.
const DONE: u16 = 3;

/// The length of `struct cn_msg`.
const CONNECTOR: usize = 20;

/// For some ten thousand events.
const BUFFER: usize = 8 << 20;

/// What happened to a process; the ids are those of processes, not of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProcessChange {
    /// It was forked, at this time in nanoseconds since boot.
    Forked { parent: u32, child: u32, time: u64 },
    /// It executed a program.
    Executed { pid: u32, time: u64 },
    /// It has ended.
    Exited { pid: u32 },
    /// Events were lost.
    Lost,
}

/// The socket.
#[derive(Debug)]
pub(super) struct ProcessEvents {
    socket: NetlinkSocket,
}

impl ProcessEvents {
    /// Starts to listen. `None` without CAP_NET_ADMIN in the initial namespaces, or if the kernel does
    /// not report processes.
    pub(super) fn open() -> Option<Self> {
        if !is_initial_network().ok()? {
            return None;
        }
        let socket = NetlinkSocket::open(netlink::CONNECTOR, PROC).ok()?;
        socket.set_buffer(BUFFER);
        socket.send(DONE, &request(LISTEN)).ok()?;
        Some(Self { socket })
    }

    /// The next event; `None` if there is none now.
    pub(super) fn next(&mut self) -> Option<ProcessChange> {
        loop {
            match self.socket.receive() {
                Ok(Some(message)) => {
                    if let Some(change) = parse(message.payload) {
                        return Some(change);
                    }
                }
                Ok(None) => return None,
                Err(Errno::NOBUFS) => return Some(ProcessChange::Lost),
                Err(_) => return None,
            }
        }
    }
}

impl AsFd for ProcessEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for ProcessEvents {
    fn drop(&mut self) {
        // Older kernels count the listeners, and do not notice one that is gone.
        let _ = self.socket.send(DONE, &request(IGNORE));
    }
}

/// `struct cn_msg` with an operation.
fn request(operation: u32) -> Vec<u8> {
    let mut message = Vec::new();
    for word in [PROC, PROC, 0, 0] {
        message.extend(word.to_ne_bytes());
    }
    // Length, and flags.
    message.extend(4u16.to_ne_bytes());
    message.extend(0u16.to_ne_bytes());
    message.extend(operation.to_ne_bytes());
    message
}

/// Reads `struct cn_msg` with a `struct proc_event`.
fn parse(message: &[u8]) -> Option<ProcessChange> {
    let event = message.get(CONNECTOR..)?;
    let word = |at: usize| number(event, at).map(u32::from_ne_bytes);
    let time = number(event, 8).map(u64::from_ne_bytes)?;
    match word(0)? {
        // PROC_EVENT_FORK. A thread that is created is reported as well.
        1 => {
            let (parent, thread, child) = (word(20)?, word(24)?, word(28)?);
            (thread == child).then_some(ProcessChange::Forked {
                parent,
                child,
                time,
            })
        }
        // PROC_EVENT_EXEC.
        2 => Some(ProcessChange::Executed {
            pid: word(20)?,
            time,
        }),
        // PROC_EVENT_EXIT, of a thread or of the process.
        0x8000_0000 => {
            let (thread, pid) = (word(16)?, word(20)?);
            (thread == pid).then_some(ProcessChange::Exited { pid })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(what: u32, data: &[u32]) -> Vec<u8> {
        let mut message = vec![0; CONNECTOR];
        message.extend(what.to_ne_bytes());
        message.extend(0u32.to_ne_bytes());
        message.extend(77u64.to_ne_bytes());
        data.iter()
            .for_each(|word| message.extend(word.to_ne_bytes()));
        message
    }

    #[test]
    fn events_of_processes_and_not_of_threads() {
        let forked = ProcessChange::Forked {
            parent: 11,
            child: 13,
            time: 77,
        };
        for (message, change) in [
            (message(1, &[10, 11, 13, 13]), Some(forked)),
            (message(1, &[10, 11, 12, 11]), None),
            (
                message(2, &[13, 13]),
                Some(ProcessChange::Executed { pid: 13, time: 77 }),
            ),
            (
                message(0x8000_0000, &[13, 13, 0, 0]),
                Some(ProcessChange::Exited { pid: 13 }),
            ),
            (message(0x8000_0000, &[12, 11, 0, 0]), None),
            (message(0, &[0]), None),
            (message(1, &[10, 11]), None),
            (vec![1; 7], None),
        ] {
            assert_eq!(parse(&message), change);
        }
        assert_eq!(request(LISTEN).len(), CONNECTOR + 4);
    }
}
