//! Texts that are not the source of the profile that they are compiled to: one that may become the
//! source, and the source under another name.

use crate::apparmor::blob;
use crate::apparmor::name::ProfileName;
use crate::apparmor::text::ProfileText;
use crate::error::{Error, Kind, Result, quoted};
use crate::profiles::source::Source;
use crate::profiles::store::view::Store;
use crate::wanted::{Component, Wanted, missing};

impl Store<'_> {
    /// Checks that a text may take the place of the text of a source. Nothing is written or loaded.
    ///
    /// # Errors
    /// If it does not compile, or if its policy may not be loaded.
    pub fn check_text(&self, name: &ProfileName, source: &Source, text: &[u8]) -> Result<()> {
        let component = Component {
            name: name.root(),
            wanted: Wanted::Any,
        };
        self.compiler().check_text(&component, source, text)
    }

    /// Loads the policy of a profile once more, under the name of a profile that the kernel has
    /// created below it.
    ///
    /// # Errors
    /// If it cannot be compiled under that name, or if the kernel refuses.
    pub fn load_copy(&self, name: &ProfileName, copy: &str, complain: bool) -> Result<()> {
        let root = name.root();
        let source = Source::of(&root, self.settings)?
            .ok_or_else(|| missing(&root, "the command line", self.settings))?;
        let text = String::from_utf8_lossy(&source.text()?).into_owned();
        let text = renamed(&text, &root, copy)?;
        let parser = self.compiler().parser()?;
        let policy = parser.compile(text.as_bytes(), complain)?.policy;
        match blob::compressed(&policy) {
            true => Ok(parser.replace(text.as_bytes(), complain)?),
            false => self.kernel.replace(blob::plain(&policy).unwrap_or(&policy)),
        }
    }
}

/// The text with another name for its profile.
fn renamed(text: &str, name: &ProfileName, copy: &str) -> Result<String> {
    let refused = |why: &str| {
        let why = format!("cannot give {name} the name {}: {why}", quoted(copy));
        Err(Error::new(Kind::Policy, why))
    };
    // What the parser gives a meaning in quotes (`processquoted()`, `@{variable}`).
    let special = |c: char| matches!(c, '"' | '\\' | '@') || c.is_control();
    if copy.contains(special) {
        return refused("no source can have that name");
    }
    let scanned = ProfileText::scan(text);
    let is_it =
        |written: &str| written == name.as_str() || scanned.expand(written) == [name.as_str()];
    let mut found = scanned.profiles.iter().filter(|p| is_it(&p.name));
    let (Some(profile), None) = (found.next(), found.next()) else {
        return refused("its text does not declare it by that name");
    };
    let place = &profile.name_place;
    let parts = (text.get(..place.start), text.get(place.end..));
    let (Some(before), Some(after)) = parts else {
        return refused("its text does not declare it by that name");
    };
    // `profile` may be missing before a name.
    let keyword = match text.get(profile.header.start..place.start) {
        Some("") => "profile ",
        _ => "",
    };
    Ok(format!("{before}{keyword}\"{copy}\"{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_gets_another_name() {
        let name = ProfileName::parse("web").unwrap();
        let copy = "web//null-/usr/bin/a b";
        for (text, with) in [
            (
                "#\nprofile web flags=(audit) {\n  /web r,\n}\n",
                "#\nprofile \"web//null-/usr/bin/a b\" flags=(audit) {\n  /web r,\n}\n",
            ),
            (
                "@{n} = web\nprofile \"@{n}\" {}",
                "@{n} = web\nprofile \"web//null-/usr/bin/a b\" {}",
            ),
            ("web {}", "profile \"web//null-/usr/bin/a b\" {}"),
        ] {
            assert_eq!(renamed(text, &name, copy).unwrap(), with);
        }
        assert!(renamed("profile other {}", &name, copy).is_err());
        for name_of_copy in [
            "web//null-/a\"b",
            "web//null-/a\\b",
            "web//null-/@{x}",
            "a\nb",
        ] {
            assert!(renamed("profile web {}", &name, name_of_copy).is_err());
        }
    }
}
