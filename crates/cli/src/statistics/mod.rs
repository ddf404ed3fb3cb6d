//! What is known of this node, for `report`, `metrics`, `ps` and `status`.

pub(crate) mod assessment;
pub(crate) mod containers;
mod denial_file;
pub(crate) mod denial_totals;
mod exposition;
mod log_reader;
pub(crate) mod log_summary;
pub(crate) mod metrics;
mod node_facts;
pub(crate) mod node_report;
pub(crate) mod node_status;
pub(crate) mod output_file;
pub(crate) mod page;
pub(crate) mod profiles;
pub(crate) mod report_json;
pub(crate) mod report_text;
