//! The container that a person names.

use oci_apparmor::containers::record::Record;
use oci_apparmor::containers::records;
use oci_apparmor::error::{Error, Kind, Result, quoted};

/// The container with this id, an id that begins so, or this name in its pod.
///
/// # Errors
/// [`Kind::NotFound`] if there is none, [`Kind::Usage`] if there are several.
pub(crate) fn named(wanted: &str) -> Result<Record> {
    one(records::all()?, wanted)
}

fn one(all: Vec<Record>, wanted: &str) -> Result<Record> {
    let exact = all.iter().position(|record| record.id == wanted);
    let mut matching: Vec<Record> = match exact {
        Some(place) => all.into_iter().skip(place).take(1).collect(),
        None => {
            let fits =
                |r: &Record| r.id.starts_with(wanted) || r.container.as_deref() == Some(wanted);
            all.into_iter().filter(fits).collect()
        }
    };
    match (matching.pop(), matching.len()) {
        (Some(record), 0) => Ok(record),
        (None, _) => Err(Error::new(
            Kind::NotFound,
            format!(
                "no container {} was made through the wrapper",
                quoted(wanted)
            ),
        )
        .with_remedy("run: oci-apparmor ps")),
        (Some(_), more) => Err(Error::new(
            Kind::Usage,
            format!(
                "{} containers match {}",
                more.saturating_add(1),
                quoted(wanted)
            ),
        )
        .with_remedy("give more of the id; run: oci-apparmor ps")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, container: Option<&str>) -> Record {
        let text = serde_json::json!({
            "version": 2, "runtime": "runc", "root": "/run/runc", "id": id, "bundle": "/b",
            "label": "web", "components": [], "key": null, "namespace": null, "pod": null,
            "container": container, "sandbox": null, "pid_file": null, "annotations": {},
            "writer": 1, "time": "",
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn a_container_is_found_by_its_id_or_name() {
        let all = || {
            vec![
                record("abc", Some("one")),
                record("abcd", Some("web")),
                record("f00", Some("web")),
            ]
        };
        for (wanted, id) in [
            ("abc", "abc"),
            ("abcd", "abcd"),
            ("f", "f00"),
            ("one", "abc"),
        ] {
            assert_eq!(one(all(), wanted).unwrap().id, id);
        }
        for (wanted, kind) in [
            ("ab", Kind::Usage),
            ("web", Kind::Usage),
            ("x", Kind::NotFound),
        ] {
            assert_eq!(one(all(), wanted).unwrap_err().kind(), kind, "{wanted}");
        }
    }
}
