//! What is known of this node, for `report`, `metrics`, `ps` and `status`.

pub(crate) mod assessment;
pub(crate) mod containers;
pub(crate) mod denial_totals;
mod log_reader;
pub(crate) mod log_summary;
mod node_facts;
pub(crate) mod node_report;
pub(crate) mod output_file;
pub(crate) mod page;
pub(crate) mod profiles;
pub(crate) mod report_json;
pub(crate) mod report_text;
