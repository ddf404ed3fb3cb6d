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
pub(crate) fn read_sized(mut file: &File, length: u64, max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    if length > 0 && length <= max {
        bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        let read = filled(file, &mut bytes)?;
        if read as u64 == length {
            // One more read would only tell whether the file has grown since stat(2).
            return Ok(Some(bytes));
        }
        bytes.truncate(read);
    }
    let rest = max.saturating_add(1).saturating_sub(bytes.len() as u64);
    file.by_ref().take(rest).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max).then_some(bytes))
}

/// Reads until `buffer` is full or the file ends, in one read(2) for a file on disk. Returns the
/// number of bytes.
fn filled(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut total: usize = 0;
    while let Some(rest) = buffer.get_mut(total..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => total = total.saturating_add(read),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(total)
}
