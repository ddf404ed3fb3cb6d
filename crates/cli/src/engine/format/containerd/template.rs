//! A runtime in a template of k3s or RKE2. The template is no TOML: containerd's main file is
//! rendered from it at each start.

use std::path::Path;

use super::drop_in::runtime_alone;
use super::new_runtime::{NewRuntime, check_unused};
use super::parsed::{EXISTING_PODS, parse, section};
use crate::engine::config_kind::template_version;
use crate::engine::distribution::Distribution;
use crate::engine::edit::{Edit, HEADER, TextFile};
use crate::engine::inspection::{Handler, Inspection};
use crate::engine::requested::Requested;
use oci_apparmor::error::{Error, Kind, Result, quoted};

/// The line after what `configure` adds to a template. `unconfigure` recognises it.
const END: &str = "# The end of what `oci-apparmor configure` made.\n";

/// Includes the built-in template, which k3s and RKE2 use where there is no other (they know this
/// name since September 2023).
const BASE: &str = "{{ template \"base\" . }}";

/// Adds the runtime to the template at `path`, whose text is `text` now. `rendered` are the files
/// that were rendered from it, with their imports.
pub(crate) fn template(
    path: &Path,
    text: Option<&str>,
    rendered: &[TextFile],
    requested: &Requested,
) -> Result<Edit> {
    let before = match text {
        Some(text) if !text.trim().is_empty() => text.to_owned(),
        _ => format!("{BASE}\n"),
    };
    let version = template_version(path, text);
    if defines(&before, &requested.name) {
        return Err(refused(
            format!(
                "{} already has a runtime {}",
                path.display(),
                quoted(&requested.name)
            ),
            "give another --runtime-name, or remove that runtime",
        ));
    }
    let (_, all) = parse(rendered)?;
    let mut new = NewRuntime::of(&all, requested)?;
    let existing = all
        .iter()
        .rev()
        .find_map(|file| file.runtime(&requested.name));
    check_unused(requested, existing, path)?;
    // Only k3s and RKE2 know, when they render the template, whether the node uses systemd's
    // cgroup driver.
    if rendered.is_empty() || new.inherited.has_option("SystemdCgroup") {
        new.inherited.set("SystemdCgroup", true);
    }
    let document = runtime_alone(path, version, new.inherited, &new.program, &requested.name)?;
    let runtime = document.to_string().replace(
        "SystemdCgroup = true",
        "SystemdCgroup = {{ .SystemdCgroup }}",
    );
    let mut added = format!("{HEADER}{}", runtime.trim_start());
    if requested.default {
        check_default(path, version, &before, &new.default, requested)?;
        added.push_str(&default_section(version, &requested.name));
    }
    let gap = match before.ends_with('\n') {
        true => "\n",
        false => "\n\n",
    };
    Ok(Edit {
        file: TextFile {
            path: path.to_owned(),
            text: format!("{before}{gap}{added}{END}"),
        },
        program: new.program,
        replaces: new.replaces,
        former_default: None,
        notes: vec![EXISTING_PODS.to_owned()],
    })
}

fn refused(why: String, remedy: &str) -> Error {
    Error::new(Kind::Policy, why).with_remedy(format!("{remedy}; nothing was changed"))
}

/// Refuses to set the default runtime where the rendered file would have its section twice, which
/// is no TOML, or where another default is configured.
fn check_default(
    path: &Path,
    version: i64,
    before: &str,
    default: &str,
    requested: &Requested,
) -> Result<()> {
    if !before.contains(BASE) {
        return Err(refused(
            format!(
                "{} cannot set the default runtime: it does not include the built-in template",
                path.display()
            ),
            "leave out --set-default, and set default_runtime_name in it by hand",
        ));
    }
    if version < 3 {
        return Err(refused(
            format!(
                "{} cannot set the default runtime: the built-in template of version 2 has that \
                 section already",
                path.display()
            ),
            "leave out --set-default, and name the wrapper's runtime in a RuntimeClass",
        ));
    }
    if !["runc", &*requested.name].contains(&default) {
        let distribution = Distribution::of(path, None).title();
        return Err(refused(
            format!(
                "{distribution} is configured with another default runtime, {}",
                quoted(default)
            ),
            &format!(
                "remove default-runtime from /etc/rancher/{}/config.yaml, or leave out \
                 --set-default",
                distribution.to_lowercase()
            ),
        ));
    }
    Ok(())
}

/// The section that sets the default runtime. k3s writes this section itself if its own
/// configuration names a default runtime, and TOML allows it only once.
fn default_section(version: i64, name: &str) -> String {
    format!(
        "\n{{{{ if not .NodeConfig.DefaultRuntime }}}}\n[plugins.\"{}\".containerd]\n\
         default_runtime_name = \"{name}\"\n{{{{ end }}}}\n",
        section(version)
    )
}

/// Whether a template has the section of a runtime.
fn defines(template: &str, runtime: &str) -> bool {
    template
        .lines()
        .filter(|l| !l.trim_start().starts_with('#'))
        .any(|line| {
            ["", "\"", "'"].iter().any(|q| {
                let name = format!(".runtimes.{q}{runtime}{q}");
                line.split_once(&name)
                    .is_some_and(|(_, behind)| behind.starts_with([']', '.']))
            })
        })
}

/// What the section says that `configure` added to a template.
pub(crate) fn inspect(template: &TextFile) -> Inspection {
    let added = template
        .text
        .split_once(HEADER)
        .map_or("", |(_, rest)| rest);
    let added = added.split_once(END).map_or(added, |(added, _)| added);
    let value = |key: &str| {
        let mut lines = added.lines().filter_map(|line| line.split_once('='));
        let found = lines.find(|(name, _)| name.trim() == key);
        found.map(|(_, value)| value.trim().trim_matches('"').to_owned())
    };
    let name = added.lines().find_map(|line| {
        let (_, name) = line.strip_suffix(']')?.split_once(".runtimes.")?;
        Some(name.trim_matches('"').to_owned()).filter(|name| !name.contains('.'))
    });
    let handler = name.map(|name| Handler {
        name,
        program: value("BinaryName"),
        file: template.path.clone(),
    });
    Inspection {
        handlers: handler.into_iter().collect(),
        default: value("default_runtime_name"),
        ..Inspection::default()
    }
}

/// The template without what `configure` added.
pub(crate) fn without(template: &str) -> String {
    let Some((before, rest)) = template.split_once(HEADER) else {
        return template.to_owned();
    };
    // If the end marker was removed, what we added reaches to the end of the file.
    let behind = rest.split_once(END).map_or("", |(_, behind)| behind);
    let before = before.strip_suffix('\n').unwrap_or(before);
    format!("{before}{behind}")
}

/// Whether a template only includes the built-in one, as it is without a template.
pub(crate) fn is_empty(template: &str) -> bool {
    template.replace(BASE, "").trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_apparmor::settings::RuntimeKind;

    const TMPL: &str = "/var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.tmpl";

    fn requested(default: bool) -> Requested {
        Requested {
            name: "oci-apparmor".to_owned(),
            programs: "/opt/libexec/oci-apparmor".into(),
            low_level: None,
            usual: RuntimeKind::Runc,
            default,
        }
    }

    /// What Go's text/template makes of it where the base is `base`, and no default is set.
    fn rendered(template: &str, base: &str) -> String {
        let text = template.replace(BASE, base);
        let text = text.replace("{{ .SystemdCgroup }}", "true");
        let text = text.replace("{{ if not .NodeConfig.DefaultRuntime }}", "");
        let text = text.replace("{{ end }}", "");
        assert!(!text.contains("{{"), "{text}");
        text
    }

    #[test]
    fn what_is_rendered_has_our_runtime_as_the_default() {
        let base = "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\n  runtime_type = \"io.containerd.runc.v2\"\n";
        let edit = template(Path::new(TMPL), None, &[], &requested(true)).unwrap();
        let text = rendered(&edit.file.text, base);
        let files = [TextFile {
            path: "/c".into(),
            text,
        }];
        let (version, all) = parse(&files).unwrap();
        assert_eq!((version, all[0].default()), (3, Some("oci-apparmor")));
        let ours = all[0].runtime("oci-apparmor").unwrap();
        let options = &ours["options"];
        assert_eq!(
            options["BinaryName"].as_str(),
            Some("/opt/libexec/oci-apparmor/runc")
        );
        assert_eq!(options["SystemdCgroup"].as_bool(), Some(true));
        assert!(all[0].runtime("runc").is_some());
        assert!(defines(&edit.file.text, "oci-apparmor"));
        assert!(is_empty(&without(&edit.file.text)));
    }

    #[test]
    fn what_others_have_put_into_a_template_stays() {
        let own = format!("{BASE}\n[debug]\n  level = \"info\"");
        let edit = template(Path::new(TMPL), Some(&own), &[], &requested(false)).unwrap();
        assert!(edit.file.text.starts_with(&own));
        let edited = format!("{}# behind\n", edit.file.text);
        assert_eq!(without(&edited), format!("{own}\n# behind\n"));
        // A whole configuration, or version 2: nothing that could break what is rendered.
        let whole = "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd]\n";
        for (path, text) in [(TMPL, Some(whole)), ("/d/config.toml.tmpl", None)] {
            let e = template(Path::new(path), text, &[], &requested(true)).unwrap_err();
            assert!(
                e.to_string().contains("cannot set the default runtime"),
                "{e}"
            );
            assert!(template(Path::new(path), text, &[], &requested(false)).is_ok());
        }
        let taken =
            "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'oci-apparmor'.options]\n";
        assert!(template(Path::new(TMPL), Some(taken), &[], &requested(false)).is_err());
    }
}
