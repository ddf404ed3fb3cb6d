//! Ids of containers, as the low-level runtimes accept them.

/// Whether a text is the id of a container: letters, digits, `_`, `+`, `.` and `-`, at most 255 of
/// them; never a path (`.`, `..`), never an option.
#[must_use]
pub fn is_valid(id: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '.' | '-');
    let fits = (1..=255).contains(&id.len()) && id != "." && id != ".." && !id.starts_with('-');
    fits && id.chars().all(legal)
}
