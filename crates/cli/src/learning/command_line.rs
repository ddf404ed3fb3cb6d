//! The profile that a command gives to a container: `podman run --security-opt apparmor=web …`. Pure.

use std::ffi::OsString;

use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::request::{BETA_KEY, CONTAINER_KEY, PLAIN_KEY};

/// The profile that the words of a command name, in an option of podman, docker, nerdctl or buildah.
///
/// # Errors
/// [`Kind::Usage`] if they name none, or several.
pub(crate) fn profile(command: &[OsString]) -> Result<ProfileName> {
    let words: Vec<&str> = command.iter().map_while(|word| word.to_str()).collect();
    let mut found: Option<ProfileName> = None;
    for (at, word) in words.iter().enumerate() {
        let next = at.checked_add(1).and_then(|next| words.get(next)).copied();
        let Some(name) = named(word, next) else {
            continue;
        };
        let name = ProfileName::parse(name).map_err(|e| e.of(Kind::Usage))?;
        match &found {
            Some(other) if *other != name => {
                let why = format!("the command names several profiles: {other} and {name}");
                return Err(Error::new(Kind::Usage, why)
                    .with_remedy(format!("name one: oci-apparmor learn {name} -- COMMAND")));
            }
            _ => found = Some(name),
        }
    }
    found.ok_or_else(|| {
        Error::new(
            Kind::Usage,
            "the command names no profile, by --security-opt apparmor=NAME or --annotation \
             oci-apparmor/profile=NAME",
        )
        .with_remedy("name the profile: oci-apparmor learn NAME -- COMMAND")
    })
}

/// The profile in an option and its value.
fn named<'w>(word: &'w str, next: Option<&'w str>) -> Option<&'w str> {
    let value = |option: &str| match word.strip_prefix(option)? {
        "" => next,
        rest => rest.strip_prefix('='),
    };
    if let Some(option) = value("--security-opt") {
        let name = option.strip_prefix("apparmor");
        // docker accepts a colon as well (opts.go, parseSecurityOpts).
        let name = name.and_then(|rest| rest.strip_prefix(['=', ':']))?;
        return (name != "unconfined").then_some(name);
    }
    let (key, name) = value("--annotation")?.split_once('=')?;
    let is_ours = key == PLAIN_KEY || [CONTAINER_KEY, BETA_KEY].iter().any(|p| key.starts_with(p));
    let name = name.strip_prefix("localhost/").unwrap_or(name);
    (is_ours && !matches!(name, "unconfined" | "runtime/default")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<ProfileName> {
        profile(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_of_engines_name_the_profile() {
        for line in [
            "podman run --security-opt apparmor=web image",
            "docker run --rm --security-opt=apparmor:web image",
            "podman run --annotation oci-apparmor/profile=web image",
            "nerdctl run --annotation=container.oci-apparmor/c=localhost/web image",
            "podman run --security-opt seccomp=x --security-opt apparmor=web --annotation a=b \
             --annotation container.apparmor.security.beta.kubernetes.io/c=localhost/web i",
        ] {
            assert_eq!(of(line).unwrap().as_str(), "web", "{line}");
        }
    }

    #[test]
    fn without_one_profile_it_is_a_usage_error() {
        for line in [
            "kubectl apply -f web.yaml",
            "podman run --security-opt",
            "podman run --security-opt apparmor=unconfined i",
            "podman run --security-opt apparmor=a --annotation oci-apparmor/profile=b i",
            "podman run --security-opt apparmor=&a i",
        ] {
            let e = of(line).unwrap_err();
            assert_eq!(e.kind(), Kind::Usage, "{line}");
        }
    }
}
