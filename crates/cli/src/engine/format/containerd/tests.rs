//! For any file of containerd: a change keeps everything that the file says, and can be undone.

use std::path::Path;

use proptest::prelude::*;
use toml_edit::{DocumentMut, Item, Table, TableLike};

use super::parsed::{parse, section};
use super::{configure, inspect, without};
use crate::engine::diff;
use crate::engine::edit::TextFile;
use crate::engine::format::pod_annotations::missing;
use crate::engine::format::tables;
use crate::engine::requested::Requested;
use oci_apparmor::settings::RuntimeKind;

fn requested(default: bool) -> Requested {
    Requested {
        name: "oci-apparmor".to_owned(),
        programs: "/opt/libexec/oci-apparmor".into(),
        low_level: None,
        usual: RuntimeKind::Runc,
        default,
    }
}

/// Sections of a configuration in any order, with comments, indentation and empty lines.
fn texts() -> impl Strategy<Value = (i64, String)> {
    let version = prop_oneof![Just(1_i64), Just(2), Just(3)];
    let section = |name: String, keys: Vec<&str>| {
        let keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
        (
            any::<bool>(),
            "( ){0,2}",
            prop_oneof![
                Just(""),
                Just("\n"),
                Just("# above\n"),
                Just("\n# [not.this]\n")
            ],
            prop_oneof![Just(""), Just(" # beside")],
        )
            .prop_map(move |(there, indent, above, beside)| {
                let mut text = String::new();
                if there {
                    text.push_str(above);
                    text.push_str(&format!("{indent}[{name}]{beside}\n"));
                    for key in &keys {
                        text.push_str(&format!("{indent}  {key}{beside}\n"));
                    }
                }
                text
            })
    };
    version.prop_flat_map(move |version| {
        let plugin = match version {
            1 => "plugins.cri".to_owned(),
            other => format!("plugins.\"{}\"", self::section(other)),
        };
        let runtimes = format!("{plugin}.containerd.runtimes");
        let parts = vec![
            section("plugins".to_owned(), vec![]).boxed(),
            section("timeouts".to_owned(), vec!["x = \"5s\""]).boxed(),
            section(
                "plugins.\"io.containerd.gc.v1.scheduler\"".to_owned(),
                vec!["a = 0.02"],
            )
            .boxed(),
            section(plugin.clone(), vec!["enable_selinux = false"]).boxed(),
            section(format!("{plugin}.cni"), vec!["bin_dir = '/usr/lib/cni'"]).boxed(),
            section(
                format!("{plugin}.containerd"),
                vec!["default_runtime_name = 'plain'", "n = 1"],
            )
            .boxed(),
            section(runtimes.clone(), vec![]).boxed(),
            section(
                format!("{runtimes}.plain"),
                vec![
                    "runtime_type = \"io.containerd.runc.v2\"",
                    "pod_annotations = [ \"a/*\",\n # c\n \"b/*\" ]",
                ],
            )
            .boxed(),
            section(
                format!("{runtimes}.plain.options"),
                vec!["BinaryName = ''", "SystemdCgroup = true"],
            )
            .boxed(),
            section(format!("{runtimes}.runc"), vec!["runtime_type = ''"]).boxed(),
        ];
        let end = prop_oneof![Just(""), Just("# the end"), Just("\n\n")];
        (Just(version), parts.prop_shuffle(), end).prop_map(|(version, parts, end)| {
            let head = if version == 1 {
                String::new()
            } else {
                format!("version = {version}\n")
            };
            (version, format!("{head}{}{end}", parts.concat()))
        })
    })
}

/// All values, one line each.
fn values(table: &dyn TableLike, way: &str, found: &mut Vec<String>) {
    for (key, item) in table.iter() {
        let way = format!("{way}/{key}");
        match item {
            Item::Value(value) => {
                let mut value = value.clone();
                value.decor_mut().clear();
                // The kind of quotes does not matter.
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                found.push(format!("{way}={text}"));
            }
            _ => {
                if let Some(table) = item.as_table_like() {
                    values(table, &way, found);
                }
            }
        }
    }
}

fn all_values(text: &str) -> Vec<String> {
    let document: DocumentMut = text.parse().unwrap();
    let mut found = Vec::new();
    let table: &Table = document.as_table();
    values(table, "", &mut found);
    found.sort();
    found
}

proptest! {
    #[test]
    fn a_change_keeps_what_the_file_says((version, text) in texts(), default: bool) {
        // A shuffled text may define a table after its child with keys of its own: still TOML.
        prop_assume!(text.parse::<DocumentMut>().is_ok());
        let main = Path::new("/etc/containerd/config.toml");
        let file = TextFile { path: main.to_owned(), text: text.clone() };
        let edit = configure(main, std::slice::from_ref(&file), &requested(default)).unwrap();
        let (before, after) = (all_values(&text), all_values(&edit.file.text));
        let lost: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
        let is_default = |line: &&&String| line.contains("/default_runtime_name=");
        prop_assert!(lost.iter().all(|line| default && is_default(&line)), "{lost:?}");
        let added: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
        // An empty text becomes one of version 2.
        let ours = |line: &&&String| {
            line.contains("/runtimes/oci-apparmor/") || line.contains("/runtimes/runc/") || is_default(line) || line.starts_with("/version=")
        };
        prop_assert!(added.iter().all(|line| ours(&line)), "{added:?}");

        let (_, read) = parse(std::slice::from_ref(&edit.file)).unwrap();
        let ours = read[0].runtime("oci-apparmor").unwrap();
        prop_assert!(missing(&tables::texts(ours.get("pod_annotations"))).is_empty());
        let systemd = ours["options"].get("SystemdCgroup").and_then(Item::as_bool);
        let replaced = read[0].runtime(if text.contains("'plain'") { "plain" } else { "runc" });
        let had = replaced.and_then(|item| item.get("options")?.get("SystemdCgroup")?.as_bool());
        prop_assert_eq!(systemd, had);
        prop_assert_eq!(read[0].default() == Some("oci-apparmor"), default);

        // Undone in an unchanged file, and in one that was edited since.
        let hunks = diff::hunks(&text, &edit.file.text);
        prop_assert_eq!(diff::reversed(&edit.file.text, &hunks), Some(text.clone()));
        let edited = TextFile { text: format!("# edited\n{}", edit.file.text), path: file.path.clone() };
        let left = without(&edited, version, "oci-apparmor", edit.former_default.as_deref()).unwrap();
        let left = all_values(&left);
        let gone: Vec<_> = before.iter().filter(|line| !left.contains(line)).collect();
        prop_assert!(gone.is_empty(), "{gone:?}");
        prop_assert!(!left.concat().contains("oci-apparmor"), "{left:?}");
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]{}=.\"'a-c\\n #]{0,60}") {
        let main = Path::new("/etc/containerd/config.toml");
        let file = TextFile { path: main.to_owned(), text };
        let _ = configure(main, std::slice::from_ref(&file), &requested(true));
        let _ = inspect(std::slice::from_ref(&file), &[], &|_| true);
    }
}
