//! The manual pages and the completions of `oci-apparmor`, generated from the definition of its
//! command line. `OCI_APPARMOR_BLESS=1` writes them; without it they must be current.

// A test ends by a panic.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use oci_apparmor_cli::definition;

const NAME: &str = "oci-apparmor";

/// How `roff` writes an apostrophe.
const APOSTROPHE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// The checkout, wherever this package is in it.
fn root() -> &'static Path {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.find(|path| path.join("install.sh").exists()).unwrap()
}

/// Every file, by its path in the checkout.
fn files() -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut command = shown();
    command.build();
    files.insert(format!("docs/man/{NAME}.8").into(), page(&command));
    pages(&command, &mut files);
    for (shell, file) in [
        (Shell::Bash, format!("{NAME}.bash")),
        (Shell::Fish, format!("{NAME}.fish")),
        (Shell::Zsh, format!("_{NAME}")),
    ] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut shown(), NAME, &mut text);
        let text = String::from_utf8(text).unwrap();
        // clap_complete 4.6 takes the hyphen of the name for the border of a subcommand, in one of
        // two places, and so completes no options of commands.
        let text = text.replace("oci__subcmd__apparmor", "oci__apparmor");
        // Blanks at the end of a line mean nothing to a shell.
        let lines = text.lines().map(|line| format!("{}\n", line.trim_end()));
        files.insert(Path::new("completions").join(file), lines.collect());
    }
    files
}

/// A page for each command below this one.
fn pages(command: &Command, files: &mut BTreeMap<PathBuf, String>) {
    for sub in command.get_subcommands() {
        let name = sub.get_display_name().unwrap();
        files.insert(format!("docs/man/{name}.8").into(), page(sub));
        pages(sub, files);
    }
}

/// The definition without hidden commands.
fn shown() -> Command {
    let all = definition();
    let about = all.get_about().cloned().unwrap_or_default();
    let long = all.get_long_about().cloned().unwrap_or_default();
    let below = all.get_after_long_help().cloned().unwrap_or_default();
    Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .about(about)
        .long_about(long)
        .after_long_help(below)
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .subcommand_help_heading("COMMANDS")
        .subcommand_value_name("COMMAND")
        .args(all.get_arguments().cloned())
        .subcommands(all.get_subcommands().filter(|c| !c.is_hide_set()).cloned())
}

/// A command's manual page.
fn page(command: &Command) -> String {
    let command = &command.clone().subcommand_help_heading("COMMANDS");
    let man = Man::new(command.clone()).section("8");
    let mut page = Vec::new();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    let mut roff = Roff::new();
    description(&mut roff, command);
    roff.to_writer(&mut page).unwrap();
    man.render_options_section(&mut page).unwrap();
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page).unwrap();
    }
    let mut roff = Roff::new();
    sections(&mut roff, command);
    roff.to_writer(&mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    let name = command.get_display_name().unwrap_or(NAME).to_uppercase();
    let name = name.replace('-', "\\-");
    let source = NAME.replace('-', "\\-");
    // Each part has the definition of the apostrophe; one is enough.
    format!(
        ".TH {name} 8 \"\" \"{source} {}\" \"System Administration\"\n\
         .\\\" Generated from the definition of the command line; see tests/generated.rs.\n\
         {APOSTROPHE}{}",
        env!("CARGO_PKG_VERSION"),
        page.replace(APOSTROPHE, "")
    )
}

/// The long description without its first line, which is in the NAME section.
fn description(roff: &mut Roff, command: &Command) {
    roff.control("SH", ["DESCRIPTION"]);
    let long = command.get_long_about().map(ToString::to_string);
    let about = command.get_about().map(ToString::to_string).unwrap();
    let text = long.as_ref().and_then(|long| long.split_once("\n\n"));
    let text = text.map_or(format!("{about}."), |(_, text)| text.to_owned());
    paragraphs(roff, &text);
}

fn paragraphs(roff: &mut Roff, text: &str) {
    for (number, paragraph) in text.split("\n\n").enumerate() {
        if number > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(paragraph.trim())]);
    }
}

/// The sections below the help: a line without indentation that ends in a colon begins one.
fn sections(roff: &mut Roff, command: &Command) {
    let below = command.get_after_long_help();
    let below = below.or(command.get_after_help()).unwrap().to_string();
    for section in below.split("\n\n") {
        let (title, body) = section.split_once(':').unwrap();
        let title = match title {
            "Exit codes" => "EXIT STATUS".to_owned(),
            other => other.to_uppercase(),
        };
        roff.control("SH", [title.as_str()]);
        match title.as_str() {
            "EXAMPLES" => examples(roff, body),
            _ => entries(roff, body),
        }
    }
    if command.get_after_long_help().is_none() {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold(NAME), roman("(8)")]);
    }
}

/// Commands, each below its comment.
fn examples(roff: &mut Roff, body: &str) {
    for line in body.trim().lines().map(str::trim) {
        match line.strip_prefix("# ") {
            Some(comment) => {
                roff.control("PP", []);
                roff.text([roman(comment)]);
            }
            None => {
                roff.control("PP", []);
                roff.control("RS", ["4"]);
                roff.control("EX", []);
                roff.text([roman(line)]);
                roff.control("EE", []);
                roff.control("RE", []);
            }
        }
    }
}

/// `key  text` on a line, or a key with its text on the more indented lines below; else a paragraph.
fn entries(roff: &mut Roff, body: &str) {
    let mut lines = body.lines().filter(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        let deep = |line: &&str| line.starts_with("      ");
        let mut below = Vec::new();
        while let Some(more) = lines.next_if(deep) {
            below.push(more.trim());
        }
        let line = line.trim();
        let entry = match line.split_once("  ") {
            Some((key, text)) => Some((key, text.trim().to_owned())),
            None if !below.is_empty() => Some((line, below.join("\n"))),
            None => None,
        };
        match entry {
            Some((key, text)) => {
                roff.control("TP", []);
                roff.text([bold(key)]);
                roff.text([roman(text)]);
            }
            None => {
                roff.text([roman(line)]);
            }
        }
    }
}

#[test]
fn manual_pages_and_completions_are_current() {
    let bless = env::var_os("OCI_APPARMOR_BLESS").is_some();
    let files = files();
    for (path, text) in &files {
        let path = root().join(path);
        if bless {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == *text,
            "{} is not current; run: OCI_APPARMOR_BLESS=1 cargo test -p oci-apparmor-cli --test generated",
            path.display()
        );
    }
    // Nor is there one of a command that is gone.
    for (directory, generated) in [("completions", ""), ("docs/man", "oci-apparmor-")] {
        for entry in fs::read_dir(root().join(directory)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let by_hand = [
                "oci-apparmor-agent.8",
                "oci-apparmor-hook.8",
                "oci-apparmor-runtime.8",
            ];
            assert!(
                !name.starts_with(generated)
                    || by_hand.contains(&name.as_str())
                    || files.contains_key(&Path::new(directory).join(&name)),
                "{directory}/{name} is of no command"
            );
        }
    }
}

/// What `install.sh` installs, so that no page and no completion is forgotten.
#[test]
fn every_generated_file_is_installed() {
    let script = fs::read_to_string(root().join("install.sh")).unwrap();
    for path in files().keys() {
        let line = format!("0644 {} ", path.display());
        assert!(
            script.contains(&line),
            "install.sh does not install {}",
            path.display()
        );
    }
}

/// bash completes commands, their options and the values of these.
#[test]
fn bash_completes() {
    let files = files();
    let completion = &files[Path::new("completions/oci-apparmor.bash")];
    let complete = |words: &[&str]| {
        let ask = r#"
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
            _oci__apparmor "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            echo "${COMPREPLY[*]}""#;
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", &format!("{completion}{ask}"), "bash", NAME]);
        let output = bash.args(words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete(&["lo"]), "load");
    assert_eq!(complete(&["load", "--a"]), "--all");
    assert_eq!(complete(&["configure", "con"]), "containerd");
    assert_eq!(complete(&["mode", "web", "com"]), "complain");
    assert_eq!(complete(&["--color", "n"]), "never");
    assert_eq!(complete(&["liv"]), "");
}
