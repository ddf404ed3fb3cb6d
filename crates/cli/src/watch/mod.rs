//! What `load --all --watch` waits for, and what it tells the service manager.

pub(crate) mod files;
pub(crate) mod notify;
pub(crate) mod revision;
pub(crate) mod wakeup;
