//! The name of a file in the spool. Pure.

/// The most bytes in the name of a profile's file.
pub const MAX_NAME: usize = 200;

/// What is in a file of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// `NAME.yaml`: an `AppArmorProfile` manifest, as JSON.
    Manifest,
    /// `NAME.profile`: text of AppArmor's language.
    ProfileText,
}

impl Content {
    fn extension(self) -> &'static str {
        match self {
            Self::Manifest => "yaml",
            Self::ProfileText => "profile",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Manifest => Self::ProfileText,
            Self::ProfileText => Self::Manifest,
        }
    }
}

/// A file of the spool: `web.yaml` or `web.profile`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpoolFile {
    name: String,
    content: Content,
}

impl SpoolFile {
    /// The file of the profile `name`; nothing if a file of the spool cannot have that name.
    #[must_use]
    pub fn new(name: &str, content: Content) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.+-".contains(&b);
        let valid = (1..=MAX_NAME).contains(&name.len())
            && !name.starts_with('.')
            && name.bytes().all(allowed);
        valid.then(|| Self {
            name: name.to_owned(),
            content,
        })
    }

    /// Reads the name of a file; nothing if it is not one of a profile.
    #[must_use]
    pub fn parse(file_name: &str) -> Option<Self> {
        let (name, extension) = file_name.rsplit_once('.')?;
        let content = [Content::Manifest, Content::ProfileText]
            .into_iter()
            .find(|content| content.extension() == extension)?;
        Self::new(name, content)
    }

    /// The name without its extension.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is in it.
    #[must_use]
    pub fn content(&self) -> Content {
        self.content
    }

    /// The name of the file.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}.{}", self.name, self.content.extension())
    }

    /// The file that the same profile has with the other content.
    #[must_use]
    pub fn counterpart(&self) -> Self {
        Self {
            name: self.name.clone(),
            content: self.content.other(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_that_of_one_file_in_the_directory() {
        let valid = |name: &str| SpoolFile::new(name, Content::ProfileText).is_some();
        assert!(valid("usr.bin.man") && valid("a") && valid(&"a".repeat(MAX_NAME)));
        for name in [
            "", ".a", "..", "a/b", "../a", "a b", "a\n", "ä", "a\0", "@a",
        ] {
            assert!(!valid(name), "{name:?}");
        }
        assert!(!valid(&"a".repeat(MAX_NAME + 1)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(name in "[a-z.+-]{1,20}", manifest: bool) {
            let content = if manifest { Content::Manifest } else { Content::ProfileText };
            if let Some(file) = SpoolFile::new(&name, content) {
                prop_assert_eq!(SpoolFile::parse(&file.file_name()), Some(file));
            }
        }

        #[test]
        fn any_file_name_is_read_or_left_alone(name in "\\PC{0,30}") {
            if let Some(file) = SpoolFile::parse(&name) {
                prop_assert_eq!(file.file_name(), name);
            }
        }
    }
}
