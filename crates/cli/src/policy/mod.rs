//! What a loaded profile allows, asked from the kernel.

pub(crate) mod access;
pub(crate) mod bits;
pub(crate) mod canaries;
pub(crate) mod explanation;
mod lines;
mod masks;
pub(crate) mod numbers;
pub(crate) mod of_event;
mod query;
pub(crate) mod question;
mod rules;
pub(crate) mod trial;
