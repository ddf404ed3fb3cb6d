//! `docs/configuration.md` and `oci-apparmor.toml(5)` are made from `config/config.toml`, by
//! `OCI_APPARMOR_BLESS=1`.

use std::fmt::Write;

use crate::{generated, text};

const FILE: &str = "config/config.toml";

/// A key, or a section, with what the file says of it.
#[derive(Debug, Default, PartialEq)]
struct Entry {
    /// `[runtimes]`, or nothing for a key.
    section: Option<String>,
    key: String,
    /// `boolean`, `list of patterns`, …
    kind: String,
    /// Its default; what is shown is an example where `example` is set.
    value: String,
    example: bool,
    /// Each paragraph is one line; lines that are indented stand alone.
    about: Vec<String>,
}

/// What the head of the file says, and its entries.
fn entries() -> (Vec<String>, Vec<Entry>) {
    let file = text(FILE);
    let mut blocks = file
        .split("\n\n")
        .map(|block| block.lines().collect::<Vec<_>>());
    let head = paragraphs(&blocks.next().unwrap());
    let entries = blocks.map(|block: Vec<&str>| {
        let mut entry = Entry::default();
        let mut comment = Vec::new();
        for line in block {
            let bare = line.strip_prefix('#').unwrap();
            if let Some(kind) = bare.strip_prefix(" Type: ") {
                entry.kind = kind.trim_end_matches('.').to_owned();
            } else if bare == " Example:" {
                entry.example = true;
            } else if bare.is_empty() || bare.starts_with(' ') {
                comment.push(line);
            } else if bare.starts_with('[') {
                entry.section = Some(bare.to_owned());
            } else {
                let (key, value) = bare.split_once(" = ").unwrap();
                assert_eq!(entry.key, "", "{FILE}: two keys in one block: {key}");
                entry.key = key.to_owned();
                entry.value = value.to_owned();
            }
        }
        assert_ne!(
            entry.section.is_some(),
            !entry.key.is_empty(),
            "{comment:?}"
        );
        assert_ne!(
            entry.kind.is_empty(),
            entry.section.is_none(),
            "{}",
            entry.key
        );
        entry.about = paragraphs(&comment);
        assert!(!entry.about.is_empty(), "{FILE}: {} has no text", entry.key);
        entry
    });
    (head, entries.collect())
}

/// The paragraphs of a comment.
fn paragraphs(comment: &[&str]) -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    for line in comment {
        let line = line.strip_prefix('#').unwrap();
        match line.strip_prefix(' ').unwrap_or(line) {
            "" => paragraphs.push(String::new()),
            line if line.starts_with(' ') => paragraphs.push(line.to_owned()),
            line => {
                let last = paragraphs.last_mut().unwrap();
                if !last.is_empty() {
                    last.push(' ');
                }
                last.push_str(line);
            }
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    paragraphs
}

/// The words of a text that are code: keys of the file, what is quoted, paths, and programs.
fn is_code(word: &str, keys: &[String]) -> bool {
    // A key such as `default` or `directories` is mostly an ordinary word.
    let key = word.contains('_') || ["allow", "deny", "floor"].contains(&word);
    key && keys.iter().any(|known| known == word)
        || word.len() > 1 && word.starts_with(['/', '$', '[', '-'])
        || word.starts_with("...")
        || word.ends_with("-default")
        || word.starts_with("containers-default-")
        || word == "cri-containerd.apparmor.d"
        || word == "oci-apparmor-runtime"
        || word == "apparmor_parser"
}

/// A text in pieces, each with whether it is code. What is in double quotes is, with the quotes
/// where these are a part of what is written.
fn pieces(text: &str, keys: &[String]) -> Vec<(String, bool)> {
    let mut pieces: Vec<(String, bool)> = Vec::new();
    let mut listed = false;
    for (n, part) in text.split('"').enumerate() {
        let part = part.strip_prefix(']').filter(|_| listed).unwrap_or(part);
        listed = false;
        if n % 2 == 1 {
            if let Some((before, false)) = pieces.last_mut()
                && before.ends_with('[')
            {
                before.pop();
                pieces.push((format!("[\"{part}\"]"), true));
                listed = true;
                continue;
            }
            let command = part.contains(' ') || part.chars().all(|c| c.is_ascii_lowercase());
            let plain = part.contains(' ') && !part.starts_with("oci-apparmor ");
            match (command, plain) {
                (_, true) => pieces.push((format!("\u{201c}{part}\u{201d}"), false)),
                (true, _) => pieces.push((part.to_owned(), true)),
                (false, _) => pieces.push((format!("\"{part}\""), true)),
            }
            continue;
        }
        for word in part.split_inclusive([' ', '(', ',']) {
            let core = word.trim_end_matches([' ', '.', ',', ';', ':', ')', '(']);
            let (core, rest) = word.split_at(core.len());
            if is_code(core, keys) {
                pieces.push((core.to_owned(), true));
                pieces.push((rest.to_owned(), false));
            } else {
                pieces.push((word.to_owned(), false));
            }
        }
    }
    pieces
}

fn markdown(text: &str, keys: &[String]) -> String {
    if text.starts_with(' ') {
        return format!("    {}", text.trim());
    }
    let pieces = pieces(text, keys).into_iter();
    pieces
        .map(|(piece, code)| match code {
            true => format!("`{piece}`"),
            false => piece.replace('*', "\\*"),
        })
        .collect()
}

fn keys(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.key.clone()).collect()
}

/// `default` where the file shows the default, and the example where it does not.
fn page() -> String {
    let (head, entries) = entries();
    let keys = keys(&entries);
    let mut page = "# Configuration\n\n\
        <!-- Made from config/config.toml: OCI_APPARMOR_BLESS=1 cargo test --test docs -->\n\n\
        The file `/etc/oci-apparmor/config.toml`, in TOML. [policy.md](policy.md) says how a node \
        decides with it.\n"
        .to_owned();
    for paragraph in &head[1..] {
        write!(page, "\n{}\n", markdown(paragraph, &keys)).unwrap();
    }
    let mut table = String::new();
    let mut prefix = String::new();
    let mut sections = "\n## Keys\n".to_owned();
    for entry in &entries {
        if let Some(section) = &entry.section {
            prefix = format!("{}.", section.trim_matches(['[', ']']));
            write!(sections, "\n## Section `{section}`\n").unwrap();
        } else {
            let name = format!("{prefix}{}", entry.key);
            let default = match entry.example {
                true => "unset".to_owned(),
                false => format!("`{}`", entry.value),
            };
            writeln!(
                table,
                "| [`{name}`](#{}) | {} | {default} |",
                anchor(&name),
                kind(entry)
            )
            .unwrap();
            write!(sections, "\n### {name}\n\n").unwrap();
            let unset = match entry.example {
                true => format!(
                    "Unset by default. Example: `{} = {}`",
                    entry.key, entry.value
                ),
                false => format!("Default: `{}`", entry.value),
            };
            writeln!(sections, "Type: {}. {unset}", kind(entry)).unwrap();
        }
        for paragraph in &entry.about {
            write!(sections, "\n{}\n", markdown(paragraph, &keys)).unwrap();
        }
    }
    write!(
        page,
        "\n| key | type | default |\n|---|---|---|\n{table}{sections}"
    )
    .unwrap();
    page
}

/// A type as a page shows it.
fn kind(entry: &Entry) -> String {
    let pieces = entry.kind.split('"').enumerate();
    pieces
        .map(|(n, part)| match n % 2 {
            1 => format!("`\"{part}\"`"),
            _ => part.to_owned(),
        })
        .collect()
}

fn anchor(heading: &str) -> String {
    crate::links::anchor(heading)
}

/// Text for troff: a line does not begin with its macros.
fn troff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

fn manual_text(text: &str, keys: &[String]) -> String {
    if text.starts_with(' ') {
        return format!(".RS 4\n.EX\n{}\n.EE\n.RE\n", troff(text.trim()));
    }
    let pieces = pieces(text, keys).into_iter();
    let line: String = pieces
        .map(|(piece, code)| match code {
            true => format!("\\fB{}\\fR", troff(&piece)),
            false => piece.replace('\\', "\\e").replace('-', "\\-"),
        })
        .collect();
    // One sentence on each line, as man-pages(7) asks for.
    line.replace(". ", ".\n") + "\n"
}

fn manual() -> String {
    let (head, entries) = entries();
    let keys = keys(&entries);
    let mut page = format!(
        ".\\\" Made from config/config.toml: OCI_APPARMOR_BLESS=1 cargo test --test docs\n\
         .TH OCI\\-APPARMOR.TOML 5 \"\" \"oci\\-apparmor {}\" \"File Formats\"\n\
         .SH NAME\n\
         oci\\-apparmor.toml \\- the AppArmor policy of a node for its containers\n\
         .SH SYNOPSIS\n\
         .I /etc/oci\\-apparmor/config.toml\n\
         .SH DESCRIPTION\n\
         .BR oci\\-apparmor\\-runtime (8)\n\
         and\n\
         .BR oci\\-apparmor\\-hook (8)\n\
         read this file at each container start.\n\
         Its format is TOML.\n",
        env!("CARGO_PKG_VERSION")
    );
    for paragraph in &head[1..] {
        write!(page, ".PP\n{}", manual_text(paragraph, &keys)).unwrap();
    }
    page += ".SH KEYS\n";
    for entry in &entries {
        if let Some(section) = &entry.section {
            writeln!(page, ".SS {}", troff(section)).unwrap();
        } else {
            let value = troff(&entry.value);
            writeln!(page, ".TP\n\\fB{}\\fR = {value}", troff(&entry.key)).unwrap();
            let unset = match entry.example {
                true => " Unset by default; the value above is an example.",
                false => "",
            };
            writeln!(page, "Type: {}.{unset}", troff(&entry.kind)).unwrap();
        }
        for (n, paragraph) in entry.about.iter().enumerate() {
            let begin = match (n, &entry.section) {
                (0, Some(_)) => "",
                (0, None) => ".br\n",
                _ => ".IP\n",
            };
            write!(page, "{begin}{}", manual_text(paragraph, &keys)).unwrap();
        }
    }
    page + ".SH SEE ALSO\n\
            .BR oci\\-apparmor (8),\n\
            .BR oci\\-apparmor\\-runtime (8),\n\
            .BR oci\\-apparmor\\-hook (8)\n"
}

#[test]
fn the_page_is_made_from_the_file() {
    generated("docs/configuration.md", &page());
}

#[test]
fn the_manual_page_is_made_from_the_file() {
    generated("docs/man/oci-apparmor.toml.5", &manual());
}
