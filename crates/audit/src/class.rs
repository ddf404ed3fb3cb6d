//! What kind of rule an event is about.

use crate::fields::EventFields;

/// The class of a rule (`aa_class_names`, security/apparmor/audit.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventClass {
    /// Files, links, programs, and changes of the label.
    File,
    /// Capabilities.
    Capability,
    /// Sockets.
    Network,
    /// Mounts, umounts and pivot_root(2).
    Mount,
    /// Signals.
    Signal,
    /// Tracing of processes.
    Ptrace,
    /// User namespaces.
    Namespace,
    /// Message queues of POSIX and System V.
    MessageQueue,
    /// io_uring.
    IoUring,
    /// Resource limits.
    ResourceLimit,
    /// Messages on a bus.
    Dbus,
    /// Policy is loaded, replaced or removed.
    Policy,
    /// Anything else.
    Unknown,
}

impl EventClass {
    /// The class of an event; of its operation, where kernels before 6.2 do not write the class.
    pub(crate) fn of(fields: &EventFields) -> Self {
        if let Some(class) = &fields.class {
            return Self::named(class.bytes());
        }
        let operation = fields.operation.as_ref().map(|text| text.bytes());
        match operation.unwrap_or_default() {
            b"capable" => Self::Capability,
            b"mount" | b"umount" | b"pivotroot" => Self::Mount,
            b"signal" => Self::Signal,
            b"ptrace" => Self::Ptrace,
            b"userns_create" => Self::Namespace,
            b"uring_override" | b"uring_sqpoll" => Self::IoUring,
            b"setrlimit" => Self::ResourceLimit,
            b"profile_load" | b"profile_replace" | b"profile_remove" => Self::Policy,
            operation if operation.starts_with(b"dbus") => Self::Dbus,
            _ if fields.family.is_some() => Self::Network,
            b"" => Self::Unknown,
            _ => Self::File,
        }
    }

    fn named(class: &[u8]) -> Self {
        match class {
            b"file" | b"domain" | b"label" => Self::File,
            b"cap" => Self::Capability,
            b"net" => Self::Network,
            b"mount" => Self::Mount,
            b"signal" => Self::Signal,
            b"ptrace" => Self::Ptrace,
            b"namespace" => Self::Namespace,
            b"posix_mqueue" | b"sysv_mqueue" => Self::MessageQueue,
            b"io_uring" => Self::IoUring,
            b"rlimits" => Self::ResourceLimit,
            b"dbus" => Self::Dbus,
            _ => Self::Unknown,
        }
    }
}
