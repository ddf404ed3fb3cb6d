//! Adds rules to a manifest in a text. Everything else stays as it is, byte for byte.
//!
//! Only YAML in block style is edited: keys and items on lines of their own. What comes out is read
//! again, and must be the manifest that was asked for; so no layout that is not understood here leads
//! to another manifest.

use crate::error::{Error, Result, quoted};
use crate::file::read;
use crate::lines::{YamlBlock, YamlLines, scalar};
use crate::{Manifest, Rendered};

/// What a manifest is to allow in addition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Additions {
    /// Programs that it may execute, under the same profile.
    pub executables: Vec<String>,
    /// Files that it may map into memory and execute.
    pub libraries: Vec<String>,
    /// Files that it may read. In enforce mode the operator forbids to write them.
    pub read_only: Vec<String>,
    /// Files that it may read and write.
    pub read_write: Vec<String>,
    /// Capabilities, as AppArmor spells them.
    pub capabilities: Vec<String>,
    /// TCP, UDP, and raw sockets.
    pub network: [bool; 3],
}

/// Where a list of [`Additions`] is below `spec.abstract`.
type ListPath = [&'static str; 2];

impl Additions {
    fn lists(&self) -> [(ListPath, &[String]); 5] {
        [
            (["executable", "allowedExecutables"], &self.executables),
            (["executable", "allowedLibraries"], &self.libraries),
            (["filesystem", "readOnlyPaths"], &self.read_only),
            (["filesystem", "readWritePaths"], &self.read_write),
            (["capability", "allowedCapabilities"], &self.capabilities),
        ]
    }

    fn switches(&self) -> impl Iterator<Item = &'static [&'static str]> {
        const PATHS: [&[&str]; 3] = [
            &["network", "allowedProtocols", "allowTcp"],
            &["network", "allowedProtocols", "allowUdp"],
            &["network", "allowRaw"],
        ];
        let wanted = PATHS.into_iter().zip(self.network);
        wanted.filter_map(|(path, wanted)| wanted.then_some(path))
    }
}

/// The text with these additions to `spec.abstract` of the manifest of this name. Items that a list
/// has already are not added again.
///
/// # Errors
/// If the text has no such manifest, or not in block style.
pub fn add(text: &str, name: &str, additions: &Additions) -> Result<String> {
    let before = rendered(text, name)?;
    if before.has_policy {
        return Err(Error::new("has its rules in spec.policy").at("spec"));
    }
    let mut lines = YamlLines::of(text);
    let root = manifest(&lines, name)?;
    for (path, items) in additions.lists() {
        let path = [&["spec", "abstract"], &path[..]].concat();
        for item in items {
            lines.add_item(root, &path, item).ok_or_else(not_block)?;
        }
    }
    for path in additions.switches() {
        let path = [&["spec", "abstract"], path].concat();
        lines.set(root, &path, "true").ok_or_else(not_block)?;
    }
    let edited = lines.text();
    let after = rendered(&edited, name)?;
    // A network field that was missing makes a rule against raw sockets.
    let kept = before.text.lines().all(|rule| {
        after.text.lines().any(|l| l == rule)
            || (rule.contains("network raw") && additions.network[2])
    });
    match kept && has_all(&edited, name, additions) {
        true => Ok(edited),
        false => Err(not_block()),
    }
}

/// The text with another `spec.policy` in the manifest of this name.
///
/// # Errors
/// As for [`add`].
pub fn replace_policy(text: &str, name: &str, policy: &str) -> Result<String> {
    rendered(text, name)?;
    let mut lines = YamlLines::of(text);
    let root = manifest(&lines, name)?;
    let path = ["spec", "policy"];
    lines
        .set_literal(root, &path, policy)
        .ok_or_else(not_block)?;
    let edited = lines.text();
    match rendered(&edited, name)?.text == policy {
        true => Ok(edited),
        false => Err(not_block()),
    }
}

/// A manifest with this text as its `spec.policy`. Operators with `v1` do not know that field.
///
/// # Errors
/// If the name or the text cannot be in a manifest.
pub fn with_policy(name: &str, policy: &str) -> Result<String> {
    let mut text = format!(
        "apiVersion: security-profiles-operator.x-k8s.io/v1alpha1\nkind: AppArmorProfile\n\
         metadata:\n  name: {}\nspec:\n  policy: |\n",
        scalar(name)
    );
    for line in policy.split_inclusive('\n') {
        let indent = if line.trim().is_empty() { "" } else { "    " };
        text.push_str(indent);
        text.push_str(line);
    }
    match rendered(&text, name)?.text == policy {
        true => Ok(text),
        false => Err(Error::new("cannot be written as YAML").at("spec.policy")),
    }
}

fn not_block() -> Error {
    Error::new("is not YAML in block style, with each key and item on a line of its own, so it cannot be edited")
        .with_remedy("edit the manifest by hand")
}

/// The manifest of this name.
fn rendered(text: &str, name: &str) -> Result<Rendered> {
    let all = read(text.as_bytes())?;
    let of = |m: &Manifest| m.name.as_deref() == Some(name);
    match all.into_iter().find(of) {
        Some(manifest) => manifest.rendered,
        None => Err(Error::new(format!("no manifest is named {}", quoted(name)))),
    }
}

/// Whether the profile of the manifest has the rules of all additions.
fn has_all(text: &str, name: &str, additions: &Additions) -> bool {
    let Ok(after) = rendered(text, name) else {
        return false;
    };
    let has = |rule: String| {
        after
            .text
            .lines()
            .any(|l| l.trim().trim_end_matches(',') == rule)
    };
    let paths = |paths: &[String], mode: &str| {
        paths
            .iter()
            .all(|path| has(format!("{path} {mode}")) || has(format!("\"{path}\" {mode}")))
    };
    paths(&additions.executables, "ixr")
        && paths(&additions.libraries, "mr")
        && paths(&additions.read_only, "r")
        && paths(&additions.read_write, "rwlk")
        && additions
            .capabilities
            .iter()
            .all(|c| has(format!("capability {c}")))
        && ["tcp", "udp", "raw"]
            .iter()
            .zip(additions.network)
            .all(|(what, wanted)| !wanted || has(format!("network {what}")))
}

/// The lines of the manifest of this name.
fn manifest(lines: &YamlLines, name: &str) -> Result<YamlBlock> {
    let named = |block: &YamlBlock| {
        let value = lines.value(*block, &["metadata", "name"]);
        value.is_some_and(|value| value.trim_matches(['"', '\'']) == name)
    };
    let mut named = lines.documents().into_iter().filter(named);
    match (named.next(), named.next()) {
        (Some(block), None) => Ok(block),
        _ => Err(not_block()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "\
# a comment
apiVersion: security-profiles-operator.x-k8s.io/v1
kind: AppArmorProfile
metadata:
  name: web   # its name
spec:
  abstract:
    filesystem:
      readOnlyPaths:
      - /etc/a   # first
      # more

      - \"/etc/{b,c}\"
    capability:
      allowedCapabilities: []
---
kind: Pod
metadata: {name: web}
";

    fn additions() -> Additions {
        Additions {
            executables: vec!["/bin/sh".to_owned()],
            read_only: vec!["/etc/a".to_owned(), "/etc/d".to_owned()],
            read_write: vec!["/tmp/a b".to_owned()],
            capabilities: vec!["chown".to_owned()],
            network: [true, false, true],
            ..Additions::default()
        }
    }

    #[test]
    fn items_are_added_and_the_rest_stays() {
        let expected = MANIFEST
            .replace(
                "      - \"/etc/{b,c}\"\n",
                "      - \"/etc/{b,c}\"\n      - /etc/d\n      readWritePaths:\n        - \"/tmp/a b\"\n",
            )
            .replace(
                "allowedCapabilities: []\n",
                "allowedCapabilities:\n        - chown\n    executable:\n      allowedExecutables:\n\
                 \x20       - /bin/sh\n    network:\n      allowedProtocols:\n        allowTcp: true\n\
                 \x20     allowRaw: true\n",
            );
        let edited = add(MANIFEST, "web", &additions()).unwrap();
        // Executables come first in the order of the lists.
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&edited), sorted(&expected), "{edited}");
        assert_eq!(add(&edited, "web", &additions()).unwrap(), edited);
    }

    #[test]
    fn without_a_spec_it_is_made() {
        let text = "apiVersion: security-profiles-operator.x-k8s.io/v1alpha1\nkind: AppArmorProfile\n\
                    metadata:\n    name: \"web\"\nspec: {}";
        let edited = add(text, "web", &additions()).unwrap();
        assert!(
            edited.starts_with(&text.replace(" {}", "\n  abstract:\n    executable:\n")),
            "{edited}"
        );
    }

    #[test]
    fn other_layouts_are_refused() {
        for text in [
            MANIFEST.replace(
                "      readOnlyPaths:\n      - /etc/a   # first\n      # more\n\n      - \"/etc/{b,c}\"\n",
                "      readOnlyPaths: [/etc/a]\n",
            ),
            MANIFEST.replace("  name: web   # its name", "  {name: web}"),
            MANIFEST.replace("---\nkind: Pod", "---\nkind: Other"),
        ] {
            let done = add(&text, "web", &additions());
            match text.contains("Other") {
                true => assert!(done.is_ok()),
                false => assert!(done.unwrap_err().to_string().contains("block style"), "{text}"),
            }
        }
        assert!(add(MANIFEST, "other", &additions()).is_err());
        let bad = Additions {
            read_only: vec!["relative".to_owned()],
            ..Additions::default()
        };
        assert!(add(MANIFEST, "web", &bad).is_err());
    }

    #[test]
    fn a_policy_is_replaced_or_written_anew() {
        let policy = "#include <tunables/global>\n\nprofile web {\n  /a r, # \"x\"\n}\n";
        let text = with_policy("web", policy).unwrap();
        assert_eq!(rendered(&text, "web").unwrap().text, policy);
        let text =
            text.replace("spec:\n", "# kept\nspec:\n  # kept\n  mode: Enforce\n") + "status: {}\n";
        let longer = policy.replace("}\n", "  /b r,\n}\n");
        let edited = replace_policy(&text, "web", &longer).unwrap();
        assert_eq!(edited, text.replace("    }\n", "      /b r,\n    }\n"));
        assert!(add(&text, "web", &additions()).is_err());
        assert!(replace_policy(MANIFEST, "web", policy).is_err());
    }
}
