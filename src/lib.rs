//! A container names an AppArmor profile; this crate makes sure that the container, and every
//! process that is exec'ed into it, runs under exactly that profile, or does not run.
//!
//! It has what runs on every container start: the OCI runtime wrapper and the OCI hook. There is no
//! daemon, no Kubernetes API and no network. The command line is `crates/cli`.
//!
//! # The map
//!
//! A module imports only modules below it in this table. `tests/docs` checks that.
//!
//! | module | what | touches the system |
//! |---|---|---|
//! | [`hook`] | the OCI hook: its stages | yes |
//! | [`runtime`] | the OCI runtime wrapper: command lines, `create`, `start`, `exec`, …, hand-off | yes |
//! | [`admission`] | from a bundle to profiles in the kernel: request, decision, load | yes |
//! | [`containers`] | containers that exist: records, processes and their labels, profiles in use | yes |
//! | [`profiles`] | from the name of a profile to that profile in the kernel | yes |
//! | [`decision`] | whether the node allows a request, and which label the container gets | no |
//! | [`request`] | which profile a container requests, and by which key | no |
//! | [`bundle`] | `config.json`, the process of `exec`, the state for hooks: read, splice, write back | yes |
//! | [`wanted`] | which mode a profile must have, and the refusals of profiles that do not fit | no |
//! | [`node`] | settings and kernel, read once and passed down | reads |
//! | [`settings`] | `/etc/oci-apparmor/config.toml` | reads |
//! | [`report`] | refusals and notices: to the engine's log, standard error and syslog | yes |
//! | [`counters`] | how often something happened since boot | writes |
//! | [`apparmor`] | the kernel's AppArmor and its compiler; knows nothing of containers | yes |
//! | [`child`] | other programs, run under limits | yes |
//! | [`fs`] | checked opens, atomic replacement, `/run/oci-apparmor` | yes |
//! | [`user_namespace`] | the user namespace of this process | reads |
//! | [`error`] | errors: kind, what, why, remedy, source | no |
//!
//! `docs/architecture.md` says what was decided, and why.

pub mod admission;
pub mod apparmor;
pub mod bundle;
pub mod child;
pub mod containers;
pub mod counters;
pub mod decision;
pub mod error;
pub mod fs;
pub mod hook;
pub mod node;
pub mod profiles;
pub mod report;
pub mod request;
pub mod runtime;
pub mod settings;
pub mod user_namespace;
pub mod wanted;
