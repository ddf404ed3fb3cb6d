//! Compiled policy, reduced to what is looked at.

/// Compiled policy of one profile, reduced to what is looked at.
pub(crate) fn blob(name: &str) -> Vec<u8> {
    blob_with(name, 0, b"")
}

/// Compiled policy of one profile in this mode, with these bytes before its flags.
pub(crate) fn blob_with(name: &str, mode: u32, before_flags: &[u8]) -> Vec<u8> {
    [
        tagged(4, "version"),
        number(7),
        tagged(4, "profile"),
        vec![7],
        tagged(5, name),
        before_flags.to_vec(),
        tagged(4, "flags"),
        vec![7],
        number(0),
        number(mode),
        number(0),
        vec![8, 8],
    ]
    .concat()
}

/// A name (4) or a text (5) in compiled policy.
pub(crate) fn tagged(code: u8, text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len() + 1).unwrap().to_le_bytes();
    [&[code], &length[..], text.as_bytes(), b"\0"].concat()
}

fn number(n: u32) -> Vec<u8> {
    [&[2][..], &n.to_le_bytes()].concat()
}
