//! Container ids, as runc, crun and youki accept them.

/// Whether a text is a valid container id: 1 to 255 letters, digits, `_`, `+`, `.` and `-`. `.`,
/// `..` and texts that start with `-` are not, since an id is used as a file name and as an argument.
#[must_use]
pub fn is_valid(id: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '.' | '-');
    let fits = (1..=255).contains(&id.len()) && id != "." && id != ".." && !id.starts_with('-');
    fits && id.chars().all(legal)
}
