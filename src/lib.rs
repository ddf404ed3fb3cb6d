//! A container names an AppArmor profile; this crate sees to it that the container, and
//! everything exec'ed into it later, runs under exactly that profile, or does not run.
//!
//! It works at the one place that every container start on a node passes: the call of the OCI
//! runtime. No daemon, no Kubernetes API, no network.
//!
//! # The rooms
//!
//! | module | what | touches the system |
//! |---|---|---|
//! | [`request`] | which profile a container asks for, and who says so | no |
//! | [`decision`] | what the node makes of it | no |
//! | [`settings`] | `/etc/oci-apparmor/config.toml` | reads it |
//! | [`spec`] | `config.json`, `process.json`, hook state: locate, splice, write back | yes |
//! | [`apparmor`] | the kernel and the compiler; knows nothing of containers | yes |
//! | [`profiles`] | from a name to a profile in the kernel; knows nothing of runtimes | yes |
//! | [`runtime`] | the wrapper: command lines, records, hand-off | yes |
//! | [`hook`] | the OCI hook | yes |
//! | [`audit`] | what the kernel's log says of refusals | no |
//! | [`engine`] | configuration files of containerd, CRI-O, podman and docker | yes |
//! | [`cli`] | the command line for people, one file per command | yes |
//! | [`trusted`], [`rundir`], [`temporary`], [`child`], [`report`], [`error`] | checked opens, `/run`, other programs, messages | yes |
//!
//! `docs/architecture.md` says what was decided and why.

pub mod admission;
pub mod apparmor;
pub mod bundle;
pub mod child;
pub mod containers;
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
