//! Which profiles a policy may declare: the wanted one and its children. A source can also declare
//! any other profile of the node, or attach to programs by their path.

use crate::apparmor::blob::Declared;
use crate::apparmor::name::ProfileName;
use crate::error::{Error, Kind, Result, quoted};
use crate::wanted::{Component, not_enforcing};

/// The longest name of a profile, or last part of the name of a child, that the kernel always
/// accepts, in bytes. Its directory is called `NAME.NUMBER` and has at most 255 bytes
/// (`__aafs_profile_mkdir()`, security/apparmor/apparmorfs.c); the number grows with every load.
/// If the name does not fit, the load fails halfway, and kernel 6.1 then refuses later loads, also
/// of other profiles, with EEXIST.
const LONGEST: usize = 244;

/// Checks that compiled policy declares the wanted profile in an acceptable mode, its children,
/// and nothing else.
///
/// # Errors
/// [`Kind::Policy`], with what it declares.
pub fn check(component: &Component, declared: &[Declared]) -> Result<()> {
    let name = &component.name;
    check_names(name, declared.iter().map(|d| d.name.as_str()))?;
    for profile in declared {
        if let Some(namespace) = &profile.namespace {
            return Err(Error::new(
                Kind::Policy,
                format!("it loads into the policy namespace {}", quoted(namespace)),
            )
            .with_remedy("remove the namespace from the source"));
        }
        if let Some(other) = &profile.rename {
            return Err(Error::new(
                Kind::Policy,
                format!("it would replace the profile {} as well", quoted(other)),
            )
            .with_remedy("give the profile a file and a name of its own"));
        }
        if profile.attaches && profile.name == name.root().as_str() {
            return Err(Error::new(
                Kind::Policy,
                format!(
                    "the profile {} attaches to programs by path, and would also confine programs \
                     of the host",
                    profile.name
                ),
            )
            .with_remedy("use a name that is not a path, and remove the path after the name"));
        }
        // Checked before it is loaded: if it is loaded already, processes that run under it would
        // no longer be confined.
        if profile.name == name.as_str() && !component.wanted.met_by(profile.mode) {
            return Err(not_enforcing(name, profile.mode, "the container"));
        }
    }
    Ok(())
}

/// Checks that the declared names are `wanted` and its children. A name must not be declared
/// twice: two profiles of one name in one blob can hang the kernel.
pub(super) fn check_names<'a>(
    wanted: &ProfileName,
    names: impl Iterator<Item = &'a str>,
) -> Result<()> {
    let refused = |why: String| {
        Err(Error::new(Kind::Policy, why)
            .with_remedy("put each profile into its own file, named after the profile"))
    };
    let root = wanted.root();
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if !root.covers(name) {
            return refused(format!(
                "it declares the profile {}, not only {root}",
                quoted(name)
            ));
        }
        if seen.contains(&name) {
            return refused(format!("it declares the profile {name} twice"));
        }
        if name.split("//").any(|part| part.len() > LONGEST) {
            let why = format!("it declares the profile {name}, whose name is too long");
            return Err(Error::new(Kind::Policy, why).with_remedy(format!(
                "use a name of at most {LONGEST} bytes: the kernel adds a number to it"
            )));
        }
        seen.push(name);
    }
    if seen.is_empty() {
        return refused("it declares no profile".to_owned());
    }
    if !seen.contains(&root.as_str()) || !seen.contains(&wanted.as_str()) {
        return refused(format!("it does not declare the profile {wanted}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apparmor::blob::CapabilityMasks;
    use crate::apparmor::loaded::Mode;
    use crate::wanted::Wanted;

    fn declared(names: &[&str]) -> Vec<Declared> {
        names
            .iter()
            .map(|name| Declared {
                name: (*name).to_owned(),
                mode: Mode::Enforce,
                version: 7,
                hashed: Vec::new(),
                namespace: None,
                rename: None,
                attaches: false,
                capabilities: CapabilityMasks::default(),
                audits: false,
            })
            .collect()
    }

    fn wanted(name: &str) -> Component {
        let name = ProfileName::parse(name).unwrap();
        Component {
            name,
            wanted: Wanted::Enforcing,
        }
    }

    fn checked(names: &[&str]) -> bool {
        check(&wanted("p"), &declared(names)).is_ok()
    }

    #[test]
    fn only_the_profile_and_its_children_may_be_declared() {
        assert!(checked(&["p"]) && checked(&["p", "p//a", "p//a//b"]));
        for names in [
            &[][..],
            &["q"],
            &["p", "q"],
            &["p//a"],
            &["p", "p"],
            &["p", "pp"],
            &["p", "p/a"],
        ] {
            assert!(!checked(names), "{names:?}");
        }
        let (fits, long) = ("a".repeat(LONGEST), "a".repeat(LONGEST + 1));
        for name in [&fits, &format!("p//{fits}"), &format!("p//{fits}//{fits}")] {
            let root = name.split("//").next().unwrap();
            let both = [root, name];
            let names = &both[usize::from(root == name)..];
            assert!(check(&wanted(root), &declared(names)).is_ok(), "{name}");
        }
        let why = |names: &[&str]| {
            let e = check(&wanted(names[0]), &declared(names)).unwrap_err();
            assert!(e.to_string().contains("whose name is too long"), "{e}");
        };
        why(&[&long]);
        why(&["p", &format!("p//{long}")]);
        assert!(check(&wanted("p//a"), &declared(&["p", "p//a"])).is_ok());
        assert!(check(&wanted("p//a"), &declared(&["p"])).is_err());
    }

    #[test]
    fn attachments_renames_namespaces_and_weak_modes_are_refused() {
        let bad: [fn(&mut Declared); 5] = [
            |d| d.attaches = true,
            |d| d.rename = Some("docker-default".into()),
            |d| d.namespace = Some("ns".into()),
            |d| d.mode = Mode::Unconfined,
            |d| d.mode = Mode::Complain,
        ];
        for change in bad {
            let mut profiles = declared(&["p"]);
            change(&mut profiles[0]);
            assert!(check(&wanted("p"), &profiles).is_err());
        }
        let mut profiles = declared(&["p"]);
        profiles[0].mode = Mode::Complain;
        let any = Component {
            wanted: Wanted::Any,
            ..wanted("p")
        };
        assert!(check(&any, &profiles).is_ok());
    }
}
