//! The container that a person names, if it has a record.

use oci_apparmor::containers::record::Record;
use oci_apparmor::containers::records;
use oci_apparmor::error::{Error, Kind, Result, quoted};

use super::description::owner_of;

/// The record of the container that [`Owner::is`](super::Owner::is) is true of.
///
/// # Errors
/// [`Kind::NotFound`] if there is none, [`Kind::Usage`] if there are several.
pub(crate) fn recorded(word: &str) -> Result<Record> {
    one(records::all()?, word)
}

fn one(mut all: Vec<Record>, word: &str) -> Result<Record> {
    // An exact id is meant, even if it is the name of another one.
    if let Some(exact) = all.iter().position(|record| record.id == word) {
        return Ok(all.swap_remove(exact));
    }
    all.retain(|record| owner_of(record).is(word));
    match (all.pop(), all.len()) {
        (Some(record), 0) => Ok(record),
        (None, _) => Err(Error::new(
            Kind::NotFound,
            format!("no container {} was made through the wrapper", quoted(word)),
        )
        .with_remedy("run: oci-apparmor ps")),
        (Some(_), more) => Err(Error::new(
            Kind::Usage,
            format!(
                "{} containers match {}",
                more.saturating_add(1),
                quoted(word)
            ),
        )
        .with_remedy("give the id of one; run: oci-apparmor ps")),
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
        let made = "cafe".to_owned() + &"0".repeat(60);
        let all = || {
            vec![
                record("abc", Some("one")),
                record("abcd", Some("web")),
                record("f00", Some("web")),
                record("web-2", Some("two")),
                record(&made, Some("abc")),
            ]
        };
        for (word, id) in [
            ("abc", "abc"),
            ("abcd", "abcd"),
            ("one", "abc"),
            ("cafe", &made),
            ("cafe00", &made),
            (&made, &made),
        ] {
            assert_eq!(one(all(), word).unwrap().id, id);
        }
        for (word, kind) in [
            ("web", Kind::Usage),
            ("web-", Kind::NotFound),
            ("caf", Kind::NotFound),
            ("", Kind::NotFound),
            ("x", Kind::NotFound),
        ] {
            assert_eq!(one(all(), word).unwrap_err().kind(), kind, "{word}");
        }
    }
}
