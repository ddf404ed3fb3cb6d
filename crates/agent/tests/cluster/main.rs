//! The agent against an API server in this process that replays recorded bytes, with everything
//! that goes wrong between a node and its cluster. Time is tokio's paused clock: days pass in
//! milliseconds.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs
)]

mod api_server;
mod confirms;
mod faults;
mod follows;
mod histories;
mod limits;
mod node;
mod replay;
mod reports;
mod scale;
mod tls;
