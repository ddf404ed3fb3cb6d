//! `suggest PROFILE`: the rules that a profile lacks, from its events.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, ValueHint};

use crate::engine::diff::unified;
use crate::learning::events::ProfileEvents;
use crate::learning::replacement::{Replaced, SourceTarget};
use crate::learning::source_text::{SourceText, as_manifest};
use crate::learning::suggestion::{Evidence, SourceChange, cannot_ask};
use crate::learning::suggestion_json::SuggestionJson;
use crate::learning::told;
use crate::log::{Entry, EventLog, LogOptions, Since, SourceKind};
use crate::policy::trial::Trial;
use crate::report::output::Output;
use crate::report::progress::Progress;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::Result;
use oci_apparmor::node::Node;
use oci_apparmor::profiles::{Reload, Source, Store};
use oci_apparmor::wanted::missing;
use oci_apparmor_audit::suggestion::{Generalise, SuggestionOptions};

/// Suggest the rules that a profile lacks, from what was denied
///
/// Reads the events of the profile, and prints its source with the rules that allow them, as a
/// unified diff. What is known about each rule goes to standard error: how many events need it, which
/// names became a pattern, and what else could be chosen for a program that is executed.
///
/// Before it is shown, the new source is compiled, loaded under a name that no process can have, and
/// the kernel is asked whether it allows every access that was learnt, and whether it allows accesses
/// that no container should have. That needs root; without it, the suggestion is not proven.
///
/// Rules that give away what the profile is for (mounts, sys_admin, writing below /proc/sys, sockets
/// of engines) are written as comments with the reason. Checks whether a process has a capability,
/// open files that the engine passes on, and what the runtime does before the program of the
/// container runs make no rules.
///
/// If no container ran under the profile in complain mode, there is usually an event only for the
/// first access that failed; see oci-apparmor-learn(8).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oci-apparmor suggest web
  oci-apparmor suggest web --since 10m --apply
  # From a log of another node; prints the whole profile.
  oci-apparmor suggest web --from audit.log --output profile")]
pub(crate) struct SuggestArguments {
    /// The name of the profile
    profile: String,
    /// Only events since then: 10m, 2h, boot, 2026-11-26T16:00:00Z
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    since: Option<Since>,
    /// Logs to read instead of this node's; - is standard input
    #[arg(
        long,
        value_name = "FILE",
        num_args = 1..,
        value_hint = ValueHint::FilePath,
        conflicts_with = "source"
    )]
    from: Vec<PathBuf>,
    /// Where events are read from: auto, audit-log, kmsg, journal, a file, or -
    #[arg(
        long,
        value_name = "SOURCE",
        default_value = "auto",
        hide_default_value = true
    )]
    source: String,
    #[command(flatten)]
    how: SuggestionArguments,
}

/// How a suggestion is made and shown.
#[derive(Debug, Args)]
pub(crate) struct SuggestionArguments {
    /// When several names become one pattern
    #[arg(long, value_name = "HOW", default_value = "some")]
    generalise: GeneraliseArgument,
    /// What is printed
    #[arg(long, value_name = "FORM", default_value = "diff")]
    output: OutputForm,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Replace the source, and load the profile. The old source is kept
    #[arg(long)]
    pub(crate) apply: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum GeneraliseArgument {
    /// Never
    None,
    /// For process ids, UUIDs, hashes, long numbers and random names
    Some,
    /// Also for fewer names that differ in numbers, and for files of one kind in a directory
    More,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputForm {
    /// The changes, as diff -u prints them
    Diff,
    /// The whole source
    Profile,
    /// An AppArmorProfile manifest
    Manifest,
}

/// A profile that a suggestion is for.
pub(crate) struct Subject<'n> {
    pub node: &'n Node,
    pub name: ProfileName,
    pub source: Source,
    pub text: SourceText,
}

impl<'n> Subject<'n> {
    /// A profile that has a source.
    ///
    /// # Errors
    /// If it has none, or if its source cannot be edited.
    pub(crate) fn of(node: &'n Node, name: ProfileName) -> Result<Self> {
        let source = Source::of(&name, &node.settings)?
            .ok_or_else(|| missing(&name, "the command line", &node.settings))?;
        let text = SourceText::read(&source, &name)?;
        Ok(Self {
            node,
            name,
            source,
            text,
        })
    }
}

pub(crate) fn run(arguments: &SuggestArguments, output: Output) -> Result<u8> {
    let node = Node::load()?;
    let name = ProfileName::parse(&arguments.profile)?.root();
    let subject = Subject::of(&node, name)?;
    let progress = Progress::new();
    progress.show("reading events");
    // What the source allows by now is not suggested again.
    let trial = match cannot_ask(&Store::new(&node)) {
        Some(_) => None,
        None => Trial::load(&node, subject.text.policy.as_bytes(), &subject.name).ok(),
    };
    let mut events = ProfileEvents::new(&subject.name, trial.as_ref());
    let since = arguments.since.map(|since| since.0);
    let sources: Vec<SourceKind> = match arguments.from.is_empty() {
        true => vec![SourceKind::named(&arguments.source)],
        false => arguments
            .from
            .iter()
            .cloned()
            .map(SourceKind::file)
            .collect(),
    };
    let mut log = EventLog::open(&LogOptions {
        sources,
        follow: false,
        since,
    })?;
    while let Some(entry) = log.next(None)? {
        if let Entry::Event(event) = entry {
            events.add(&event);
        }
    }
    let evidence = Evidence {
        events,
        gaps: log.gaps(),
        coverage: log.coverage(),
        since,
    };
    drop(progress);
    finish(
        &arguments.how,
        subject,
        &evidence,
        trial.as_ref(),
        None,
        output,
    )?;
    Ok(0)
}

/// Prints what was learnt about a profile, and applies it if that is wanted.
///
/// # Errors
/// If the source cannot be changed as suggested.
pub(crate) fn finish(
    how: &SuggestionArguments,
    subject: Subject<'_>,
    evidence: &Evidence<'_>,
    before: Option<&Trial<'_>>,
    exit_code: Option<u8>,
    output: Output,
) -> Result<()> {
    let Subject {
        node,
        name,
        source,
        text,
    } = subject;
    let options = SuggestionOptions {
        generalise: match how.generalise {
            GeneraliseArgument::None => Generalise::None,
            GeneraliseArgument::Some => Generalise::Some,
            GeneraliseArgument::More => Generalise::More,
        },
    };
    let progress = Progress::new();
    progress.show("proving the suggestion");
    let target = SourceTarget::of(
        &name,
        &source,
        text.file.clone().into_bytes(),
        &node.settings,
    )?;
    let change = SourceChange::of(node, (&name, &source), text, evidence, &options, before)?;
    drop(progress);
    if !how.json {
        notes(&name, &change, evidence, output)?;
        artefact(
            how.output,
            (&source.path, &target.path),
            &name,
            &change,
            output,
        )?;
    }
    let applied = match how.apply && change.is_change() {
        true => Some(apply(node, &name, &target, &change)?),
        false => None,
    };
    if how.json {
        let paths = (source.path.as_path(), target.path.as_path());
        let applied = applied.as_ref().map(|(replaced, _)| replaced);
        return output.json(&SuggestionJson::of(
            &name, paths, &change, evidence, applied, exit_code,
        ));
    }
    match applied {
        Some((replaced, mode)) => applied_notes(&name, &target, &replaced, &mode, output),
        None if change.is_change() => {
            let since = match evidence.since {
                Some(since) => format!(" --since {}", humantime::format_rfc3339_seconds(since)),
                None => String::new(),
            };
            output.note(format!(
                "to put it into force, run: oci-apparmor suggest {name}{since} --apply"
            ));
        }
        None => {}
    }
    Ok(())
}

fn notes(
    name: &ProfileName,
    change: &SourceChange,
    evidence: &Evidence<'_>,
    output: Output,
) -> Result<()> {
    if let Some(table) = told::rules(change) {
        output.note_table(&table);
    }
    for line in told::lines(name, change, evidence) {
        output.note(line);
    }
    if !change.is_change() {
        output.note(match (change.draft.is_empty(), evidence.is_complete()) {
            (false, _) => format!("nothing to add to {name}: its source has these rules"),
            (true, true) => {
                format!("nothing to add to {name}: nothing was denied that a rule allows")
            }
            (true, false) => format!("nothing to add to {name}, as far as the log has its events"),
        });
    }
    Ok(())
}

/// Prints what `--output` asks for.
fn artefact(
    form: OutputForm,
    (source, target): (&Path, &Path),
    name: &ProfileName,
    change: &SourceChange,
    output: Output,
) -> Result<()> {
    let (old, new) = (&change.old.file, &change.new.file);
    match form {
        OutputForm::Diff => {
            let names = (source.display().to_string(), target.display().to_string());
            output.text(&unified(&names.0, &names.1, old, new))
        }
        OutputForm::Manifest if !change.old.is_manifest() => {
            output.text(&as_manifest(&change.new, name)?)
        }
        OutputForm::Profile if change.old.is_manifest() => output.text(&change.new.policy),
        OutputForm::Profile | OutputForm::Manifest => output.text(new),
    }
}

/// Replaces the source, and loads the profile. If it cannot be loaded, the old source comes back.
fn apply(
    node: &Node,
    name: &ProfileName,
    target: &SourceTarget,
    change: &SourceChange,
) -> Result<(Replaced, String)> {
    let store = Store::new(node);
    let replaced = target.replace(name, change.new.file.as_bytes())?;
    if let Some(off) = store.unavailable() {
        return Ok((replaced, format!("is not loaded now: {off}")));
    }
    match store.load(name, Reload::Always) {
        Ok((loaded, _)) => Ok((replaced, format!("is loaded, in {} mode", loaded.mode))),
        Err(e) => {
            target.restore();
            // The source from before was loaded, or could not be loaded either.
            let _ = store.load(name, Reload::Always);
            Err(e.about("nothing was changed"))
        }
    }
}

fn applied_notes(
    name: &ProfileName,
    target: &SourceTarget,
    replaced: &Replaced,
    state: &str,
    output: Output,
) {
    output.note(target.said());
    if let Some(kept) = &replaced.kept {
        output.note(format!("kept the old source as {}", kept.display()));
    }
    output.note(format!("{name} {state}"));
    output.note(format!("to undo it, run: {}", replaced.undo));
}
