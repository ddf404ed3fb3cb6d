//! The first text of a profile, from the configuration of a container. Pure.
//!
//! It allows what `config.json` says that the container has (mounts, devices, capabilities, a
//! network, the program), and what every container under runc and crun needs. It has no `deny`
//! rules: what it does not allow is not known yet, and is learnt.
//!
//! The text is valid for apparmor_parser 3.0 and later, and `lint` finds nothing in it. Values from
//! the configuration are hostile: [`pattern`] writes them, so that none becomes syntax.

mod danger;
mod mounts;
mod observed;
mod pattern;
mod section;
mod spec;
#[cfg(test)]
mod tests;
mod text;
mod workload;

pub(crate) use observed::{Observed, Point};
pub(crate) use spec::{ContainerSpec, SpecMount, StartedBy};
pub(crate) use text::StartingProfile;
pub(crate) use workload::Workload;
