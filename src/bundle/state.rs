//! The state of a container, which a hook reads on standard input.

use std::io::Read;

use oci_spec::runtime::State;

use crate::error::{Error, Kind, Result, reason};

/// More than any state has: Kubernetes limits annotations to 256 KiB.
const MAX: u64 = 16 << 20;

/// Reads all of standard input.
///
/// # Errors
/// [`Kind::Internal`] where it is too large or cannot be read.
pub fn input() -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(MAX.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|e| {
            Error::new(
                Kind::Internal,
                format!("cannot read standard input: {}", reason(&e)),
            )
        })?;
    if bytes.len() as u64 > MAX {
        return Err(Error::new(
            Kind::Internal,
            "standard input is larger than 16 MiB",
        ));
    }
    Ok(bytes)
}

/// Reads the state of a container (runtime-spec, "State").
///
/// # Errors
/// [`Kind::Internal`] where it is not a state.
pub fn parse(bytes: &[u8]) -> Result<State> {
    serde_json::from_slice(bytes).map_err(|e| {
        Error::new(
            Kind::Internal,
            format!("standard input is not the state of a container: {e}"),
        )
        .with_remedy("this program is an OCI hook: a container runtime calls it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_that_runtimes_write_are_read() {
        // runc 1.1.5 and crun 1.8.1, as they came.
        for text in [
            r#"{"ociVersion":"1.0.2-dev","id":"c1","status":"creating","pid":12,"bundle":"/b","annotations":{"a":"b"}}"#,
            r#"{"ociVersion":"1.0","id":"c1","pid":12,"root":"rootfs","bundle":"/b","status":"created","annotations":{"a":"b"}}"#,
        ] {
            let state = parse(text.as_bytes()).unwrap();
            assert_eq!(
                (state.id().as_str(), state.bundle().to_str()),
                ("c1", Some("/b"))
            );
        }
        assert!(parse(b"").is_err());
        assert!(parse(b"{\"id\":1}").is_err());
    }
}
