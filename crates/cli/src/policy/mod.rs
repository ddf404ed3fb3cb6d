//! What a loaded profile allows, asked from the kernel.

pub(crate) mod access;
pub(crate) mod bits;
mod masks;
pub(crate) mod numbers;
pub(crate) mod of_event;
pub(crate) mod question;
pub(crate) mod trial;
