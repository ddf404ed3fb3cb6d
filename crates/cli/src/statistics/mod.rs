//! What is known of this node, for `report`, `metrics`, `ps` and `status`.

pub(crate) mod containers;
pub(crate) mod profiles;
