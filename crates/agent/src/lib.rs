//! `oci-apparmor-agent`: AppArmor profiles of a Kubernetes cluster as files of this node.
//!
//! It watches `AppArmorProfile` objects and labelled ConfigMaps, and keeps one file for each
//! profile in the spool. It has no privileges: `oci-apparmor sync`, which root runs, decides what
//! of the spool becomes a profile of the node.
//!
//! | module | what | touches |
//! |---|---|---|
//! | `command_line` | options, and what the program prints | |
//! | [`confirm`](mod@confirm) | the node's label, for `oci-apparmor node install` | network, files |
//! | `logging` | log lines on standard error | standard error |
//! | `connection` | the client of the API server, which never asks too often | network |
//! | [`run`](mod@run) | the loop | |
//! | [`publish`](mod@publish) | tells the API about this node | network |
//! | [`node_file`] | what the node says about itself | files |
//! | [`publisher`] | when what is told. Pure | |
//! | [`node_report`] | what is told. Pure | |
//! | [`api_object`] | as objects of the API. Pure | |
//! | [`token`] | on which node the agent runs. Pure | |
//! | `follow` | one kind of objects, for ever: discovery, lists, watches, errors | network |
//! | `pace` | how long to wait, so that many nodes do not ask at the same time | |
//! | `api` | which versions are served, what is asked for; objects as kube has them | network |
//! | `answers` | requests and the bytes of their answers, within limits | network |
//! | `event` | what a line of a watch or an object of a list says. Pure | |
//! | [`label`] | from what is wanted and the node's object to its label. Pure | |
//! | [`backoff`] | waiting | |
//! | [`spool`] | the directory | files |
//! | [`plan`] | from the API's state and the spool's files to steps. Pure | |
//! | [`state`] | events of the API, folded. Pure | |
//! | [`object`] | objects, reduced to files. Pure | |
//! | [`pieces`] | single objects out of the bytes of an answer, in bounded memory. Pure | |
//! | [`file`] | names of files. Pure | |

mod answers;
mod api;
pub mod api_object;
pub mod backoff;
mod command_line;
pub mod confirm;
pub mod connection;
mod event;
pub mod file;
mod follow;
pub mod label;
mod logging;
pub mod node_file;
pub mod node_report;
pub mod object;
mod pace;
pub mod pieces;
pub mod plan;
pub mod publish;
pub mod publisher;
pub mod run;
pub mod spool;
pub mod state;
pub mod token;

pub use command_line::main;
