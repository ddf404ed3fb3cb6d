//! The tables of what was measured on a real kernel.

use serde_json::Value;

pub(super) fn tables(_results: &Value) -> String {
    String::new()
}
