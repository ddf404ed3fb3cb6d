//! Reading a file up to a limit, so that no file can exhaust the memory.

use std::fs::File;
use std::io::{self, Read};

/// At most `max` bytes of `file`; `None` if it has more.
///
/// # Errors
/// Those of read(2).
pub fn read(file: &File, max: u64) -> io::Result<Option<Vec<u8>>> {
    read_sized(file, file.metadata().map_or(0, |meta| meta.len()), max)
}

/// Like [`read`], with the length from stat(2). Files of procfs and securityfs report 0.
pub(super) fn read_sized(mut file: &File, length: u64, max: u64) -> io::Result<Option<Vec<u8>>> {
    let capacity = length.clamp(4096, max.max(4096)).saturating_add(1);
    let mut bytes = Vec::with_capacity(usize::try_from(capacity).unwrap_or_default());
    if length > 0 && length <= max {
        file.take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == length {
            // One more read would only tell whether the file has grown since stat(2).
            return Ok(Some(bytes));
        }
    }
    let rest = max.saturating_add(1).saturating_sub(bytes.len() as u64);
    file.by_ref().take(rest).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max).then_some(bytes))
}
