//! The configuration of container engines: what it says now, and how to make an engine call the
//! wrapper.
//!
//! A file imports only files that stand below it in this table.
//!
//! | file | what | touches the system |
//! |---|---|---|
//! | [`change`] | what `configure` would change, or why it refuses | runs the engine |
//! | [`current_runtime`] | the program that an engine calls now, compared with the wrapper's | reads |
//! | [`acceptance`] | whether an engine will start with the changed file | runs the engine |
//! | [`target`] | which file to change, and how to restart the engine | reads |
//! | [`live_containers`] | containers that still need the wrapper | reads `/proc` |
//! | [`validate`] | asks `dockerd` and `containerd` about a file | runs the engine |
//! | [`invocation`], [`daemon`], [`unit`] | how an engine's daemon was started, or will be | reads |
//! | [`plan`] | what to write or remove, and doing it | writes |
//! | [`journal`] | what `configure` changed, for `unconfigure` | writes |
//! | [`inspect`] | what an engine's files say | reads |
//! | [`layout`] | which file of a containerd to change | reads |
//! | `files`, `imports` | which files an engine reads, in which order | reads |
//! | `format` | one file for each engine: the text before and after a change | no |
//! | [`diff`] | a change as lines | no |
//! | [`root`] | the files of this node, or of an image | reads and writes |
//! | [`inspection`], [`requested`], [`edit`] | the values that these files exchange | no |
//! | [`wrapper`] | whether a program is the wrapper | reads |
//! | [`distribution`], [`kind`], [`config_kind`] | engines, Kubernetes distributions, kinds of files | no |

pub(crate) mod acceptance;
pub(crate) mod change;
pub(crate) mod config_kind;
pub(crate) mod current_runtime;
pub(crate) mod daemon;
pub mod diff;
pub(crate) mod distribution;
pub mod edit;
mod files;
mod format;
mod imports;
pub(crate) mod inspect;
pub(crate) mod inspection;
pub(crate) mod invocation;
pub mod journal;
pub mod kind;
pub(crate) mod layout;
pub(crate) mod live_containers;
pub(crate) mod plan;
pub(crate) mod requested;
pub(crate) mod root;
pub(crate) mod target;
pub(crate) mod unit;
pub(crate) mod validate;
pub(crate) mod wrapper;
