//! Our runtime in a file of its own, or behind a template, for a containerd whose configuration a
//! distribution makes anew at each start. Pure.

use std::path::Path;

use toml_edit::{DocumentMut, Item};

use super::inherit::Inherited;
use super::{Read, is_name_of_ours, read, section};
use crate::engine::layout::{Owner, template_version};
use crate::engine::seen::{Handler, Seen};
use crate::engine::{Change, HEAD, Text, Wish, free, low_level, tables};
use oci_apparmor::error::{Error, Kind, Result};

/// Behind what we add to a template.
const END: &str = "# The end of what `oci-apparmor configure` made.\n";

/// What k3s and RKE2 take where there is no template (since September 2023 under this name).
pub(in crate::engine) const BASE: &str = "{{ template \"base\" . }}";

/// What ours is made from, and where.
struct Runtime {
    inherited: Inherited,
    default: String,
    program: std::path::PathBuf,
    replaces: Option<String>,
}

fn runtime(main: &Path, all: &[Read<'_>], wish: &Wish) -> Result<Runtime> {
    let default = all.iter().rev().find_map(Read::default).unwrap_or("runc");
    let wrapped = match is_name_of_ours(all, default) {
        true => "runc",
        false => default,
    };
    let inherited = Inherited::of(all, wrapped, wish)?;
    let low_level = low_level(wish, wrapped, inherited.program.as_deref())?;
    let existing = all.iter().rev().find_map(|read| read.runtime(&wish.name));
    let existing = existing.map(|item| item.get("options").and_then(|o| o.get("BinaryName")));
    free(
        wish,
        existing.map(|name| name.and_then(Item::as_str).unwrap_or("a shim of its own")),
        main,
    )?;
    Ok(Runtime {
        replaces: inherited.program.clone().filter(|p| !p.is_empty()),
        inherited,
        default: default.to_owned(),
        program: wish.programs.join(low_level.name()),
    })
}

/// The section of our runtime, and nothing else.
fn document(
    main: &Path,
    version: i64,
    runtime: Inherited,
    ours: &Path,
    name: &str,
) -> Result<DocumentMut> {
    let mut document = DocumentMut::new();
    let way = ["plugins", section(version), "containerd", "runtimes"];
    let table = runtime.with("", &ours.to_string_lossy());
    tables::table(main, &mut document, &way)?.insert(name, Item::Table(table));
    Ok(document)
}

/// A drop-in. `files` are all others, in the order in which they are read.
pub(in crate::engine) fn drop_in(main: &Path, files: &[Text], wish: &Wish) -> Result<Change> {
    if files.is_empty() {
        return Err(Error::new(
            Kind::NotFound,
            format!(
                "{} is not there, so it cannot be told which version of the configuration its \
                 containerd reads",
                crate::engine::layout::read_by_it(main).display()
            ),
        )
        .with_remedy("start the distribution once, or put its first lines there: for k0s since 1.36 `# k0s_managed=true` and `version = 3`, before 1.36 `version = 2`"));
    }
    let (version, all) = read(files)?;
    let runtime = runtime(main, &all, wish)?;
    let mut document = document(
        main,
        version,
        runtime.inherited,
        &runtime.program,
        &wish.name,
    )?;
    if wish.default {
        let way = ["plugins", section(version), "containerd"];
        let containerd = tables::table(main, &mut document, &way)?;
        containerd.set_implicit(false);
        containerd.decor_mut().set_prefix("\n");
        tables::set(containerd, "default_runtime_name", wish.name.as_str());
    }
    Ok(Change {
        file: Text {
            path: main.to_owned(),
            text: format!(
                "{HEAD}version = {version}\n\n{}",
                document.to_string().trim_start()
            ),
        },
        program: runtime.program,
        replaces: runtime.replaces,
        former_default: None,
        notes: vec![super::PODS.to_owned()],
    })
}

/// A template of k3s or RKE2, which is `text` now. `made` is what was made from it.
pub(in crate::engine) fn template(
    main: &Path,
    text: Option<&str>,
    made: &[Text],
    wish: &Wish,
) -> Result<Change> {
    let refused = |why: String, hint: &str| {
        Err(Error::new(Kind::Policy, why).with_remedy(format!("{hint}; nothing was changed")))
    };
    let before = match text {
        Some(text) if !text.trim().is_empty() => text.to_owned(),
        _ => format!("{BASE}\n"),
    };
    let version = template_version(main, text);
    if names(&before, &wish.name) {
        return refused(
            format!("{} has a runtime {:?} already", main.display(), wish.name),
            "choose another --runtime-name, or take that out",
        );
    }
    let (_, all) = read(made)?;
    let Runtime {
        mut inherited,
        default,
        program,
        replaces,
    } = runtime(main, &all, wish)?;
    // Whether the node has systemd's driver is known where it is rendered.
    if made.is_empty() || inherited.says("SystemdCgroup") {
        inherited.set("SystemdCgroup", true);
    }
    let document = document(main, version, inherited, &program, &wish.name)?;
    let section = document.to_string().replace(
        "SystemdCgroup = true",
        "SystemdCgroup = {{ .SystemdCgroup }}",
    );
    let mut added = format!("{HEAD}{}", section.trim_start());
    if wish.default {
        let based = before.contains(BASE);
        let owner = Owner::of(main, None).title();
        if version < 3 || !based {
            return refused(
                format!(
                    "{} cannot choose the default runtime: {}",
                    main.display(),
                    match based {
                        true => "version 2 of what it includes has that section already",
                        false => "it is a whole configuration of its own",
                    }
                ),
                match based {
                    true => "leave out --set-default; pods then name ours by a RuntimeClass",
                    false => "leave out --set-default, and set default_runtime_name in it by hand",
                },
            );
        }
        if !["runc", &*wish.name].contains(&&*default) {
            return refused(
                format!("{owner} is told another default runtime, {default:?}"),
                &format!(
                    "take default-runtime out of /etc/rancher/{}/config.yaml, or leave out --set-default",
                    owner.to_lowercase()
                ),
            );
        }
        // Where k3s is told a default runtime it writes this section itself, and twice is none.
        added.push_str(&format!(
            "\n{{{{ if not .NodeConfig.DefaultRuntime }}}}\n[plugins.\"{}\".containerd]\n\
             default_runtime_name = \"{}\"\n{{{{ end }}}}\n",
            super::section(version),
            wish.name
        ));
    }
    let gap = match before.ends_with('\n') {
        true => "\n",
        false => "\n\n",
    };
    Ok(Change {
        file: Text {
            path: main.to_owned(),
            text: format!("{before}{gap}{added}{END}"),
        },
        program,
        replaces,
        former_default: None,
        notes: vec![super::PODS.to_owned()],
    })
}

/// Whether a template, which is no TOML, has the section of a runtime.
pub(in crate::engine) fn names(template: &str, runtime: &str) -> bool {
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

/// What we added to a template says.
pub(in crate::engine) fn seen(template: &Text) -> Seen {
    let added = template.text.split_once(HEAD).map_or("", |(_, rest)| rest);
    let added = added.split_once(END).map_or(added, |(ours, _)| ours);
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
    Seen {
        handlers: handler.into_iter().collect(),
        default: value("default_runtime_name"),
        ..Seen::default()
    }
}

/// The template without what we added.
pub(in crate::engine) fn without(template: &str) -> String {
    let Some((before, rest)) = template.split_once(HEAD) else {
        return template.to_owned();
    };
    // Without its end it goes on to the end of the file, where we put it.
    let behind = rest.split_once(END).map_or("", |(_, behind)| behind);
    let before = before.strip_suffix('\n').unwrap_or(before);
    format!("{before}{behind}")
}

/// Whether a template says nothing but what holds without it.
pub(in crate::engine) fn says_nothing(template: &str) -> bool {
    template.replace(BASE, "").trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_apparmor::settings::RuntimeKind;

    const TMPL: &str = "/var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.tmpl";

    fn wish(default: bool) -> Wish {
        Wish {
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
        let change = template(Path::new(TMPL), None, &[], &wish(true)).unwrap();
        let text = rendered(&change.file.text, base);
        let files = [Text {
            path: "/c".into(),
            text,
        }];
        let (version, all) = read(&files).unwrap();
        assert_eq!((version, all[0].default()), (3, Some("oci-apparmor")));
        let ours = all[0].runtime("oci-apparmor").unwrap();
        let options = &ours["options"];
        assert_eq!(
            options["BinaryName"].as_str(),
            Some("/opt/libexec/oci-apparmor/runc")
        );
        assert_eq!(options["SystemdCgroup"].as_bool(), Some(true));
        assert!(all[0].runtime("runc").is_some());
        assert!(names(&change.file.text, "oci-apparmor"));
        assert!(says_nothing(&without(&change.file.text)));
    }

    #[test]
    fn what_others_have_put_into_a_template_stays() {
        let own = format!("{BASE}\n[debug]\n  level = \"info\"");
        let change = template(Path::new(TMPL), Some(&own), &[], &wish(false)).unwrap();
        assert!(change.file.text.starts_with(&own));
        let edited = format!("{}# behind\n", change.file.text);
        assert_eq!(without(&edited), format!("{own}\n# behind\n"));
        // A whole configuration, or version 2: nothing that could break what is rendered.
        let whole = "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd]\n";
        for (path, text) in [(TMPL, Some(whole)), ("/d/config.toml.tmpl", None)] {
            let e = template(Path::new(path), text, &[], &wish(true)).unwrap_err();
            assert!(
                e.to_string().contains("cannot choose the default runtime"),
                "{e}"
            );
            assert!(template(Path::new(path), text, &[], &wish(false)).is_ok());
        }
        let taken =
            "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'oci-apparmor'.options]\n";
        assert!(template(Path::new(TMPL), Some(taken), &[], &wish(false)).is_err());
    }
}
