//! Texts that are not the source of the profile that they are compiled to: one that may become the
//! source, and the source under another name.

use crate::apparmor::blob;
use crate::apparmor::name::ProfileName;
use crate::error::{Error, Kind, Result, quoted};
use crate::profiles::compile::Objection;
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

    /// Checks that a text from a cluster may become the source of this profile. It must enforce,
    /// unless this node has set the profile to complain. Nothing is written or loaded.
    ///
    /// # Errors
    /// Why not.
    pub fn check_cluster_text(
        &self,
        name: &ProfileName,
        text: &[u8],
        complain: bool,
    ) -> std::result::Result<(), Objection> {
        let component = Component {
            name: name.clone(),
            wanted: match complain {
                true => Wanted::Any,
                false => Wanted::Enforcing,
            },
        };
        self.compiler().check_foreign(&component, text, complain)
    }

    /// Loads the policy of a profile once more, under the name of a profile that the kernel has
    /// created below it.
    ///
    /// # Errors
    /// If it cannot be compiled, or if the kernel refuses.
    pub fn load_copy(&self, name: &ProfileName, copy: &str, complain: bool) -> Result<()> {
        let root = name.root();
        let source = Source::of(&root, self.settings)?
            .ok_or_else(|| missing(&root, "the command line", self.settings))?;
        let compiler = self.compiler();
        let policy = compiler
            .parser()?
            .compile(&source.text()?, complain)?
            .policy;
        let failed = |why: &str| {
            let why = format!("cannot load {root} as {}: {why}", quoted(copy));
            Error::new(Kind::DoesNotCompile, why)
        };
        let plain = blob::plain(&policy).ok_or_else(|| failed("the parser has compressed it"))?;
        let renamed = blob::renamed(plain, |name| {
            let below = name.strip_prefix(root.as_str())?;
            (below.is_empty() || below.starts_with("//")).then(|| format!("{copy}{below}"))
        });
        let renamed = renamed.map_err(|why| failed(&why))?;
        self.kernel.replace(&renamed)
    }
}
