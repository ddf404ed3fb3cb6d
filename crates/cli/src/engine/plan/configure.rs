//! The plan of `configure`.

use std::path::Path;

use crate::engine::config_kind::ConfigKind;
use crate::engine::edit::{Edit, HEADER};
use crate::engine::files::ConfigFiles;
use crate::engine::journal::Journal;
use crate::engine::kind::Engine;
use crate::engine::plan::steps::{Plan, Step};
use crate::engine::plan::undo::undo;
use crate::engine::requested::Requested;
use crate::engine::root::NodeRoot;
use crate::engine::{format, layout, wrapper};
use oci_apparmor::error::{Error, Kind, Result, quoted};

/// Plans the change after which an engine calls the wrapper. `main` is the file to change or
/// create.
///
/// # Errors
/// If a file cannot be read or parsed, or if the request contradicts what it says.
pub(crate) fn configure(
    engine: Engine,
    root: &NodeRoot,
    main: &Path,
    requested: &Requested,
) -> Result<Plan> {
    let files = ConfigFiles::gather(engine, root, main)?;
    let journal = Journal::load(root, engine, main)?;
    let is_template = engine == Engine::Containerd && ConfigKind::of(main) == ConfigKind::Template;
    // An earlier change is undone first, so that the journal always leads back to the files without
    // the wrapper.
    let mut base = files.read.clone();
    let mut template = files.template.as_ref().map(|file| file.text.clone());
    let mut undone = None;
    if let Some(journal) = &journal {
        let text = files.get(&journal.file).map(|f| f.text.as_str());
        let before = undo(engine, &files, journal, text)?;
        base = files.with(engine, &journal.file, before.as_deref());
        if is_template {
            template.clone_from(&before);
        }
        undone = Some(Step {
            path: journal.file.clone(),
            old: text.map(str::to_owned),
            new: before,
            directories: journal.directories.clone(),
        });
    }
    if engine.takes_a_drop_in(main) {
        if let Some(file) = base.iter().find(|f| f.path == main)
            && !file.text.starts_with(HEADER)
        {
            return Err(foreign_drop_in(root, main));
        }
        base.retain(|file| file.path != main);
    }
    let edit = format::configure(engine, main, &base, template.as_deref(), requested)?;
    let Edit {
        file,
        program,
        replaces,
        former_default,
        mut notes,
    } = edit;
    if engine == Engine::Containerd {
        layout::not_generated(root, &file.path)?;
    }
    let before = match is_template {
        true => template.as_deref(),
        false => {
            let before = base.iter().find(|f| f.path == file.path);
            before.map(|f| f.text.as_str())
        }
    };
    let mut new_journal = Journal::of(engine, main, before, &file);
    new_journal.runtime.clone_from(&requested.name);
    new_journal.program.clone_from(&program);
    new_journal.former_default = former_default;
    new_journal.default = requested.default;
    if let Some(journal) = journal.filter(|journal| journal.file == file.path) {
        new_journal.directories = journal.directories;
    }
    let after = files.with(engine, &file.path, Some(&file.text));
    let inspection = format::inspect(engine, &after, &[], &wrapper::is_named)?;
    let default = inspection.default.unwrap_or_default();
    if requested.default && !is_template && default != requested.name {
        notes.push(format!(
            "a file that is read later sets another default runtime, {}; remove that setting",
            quoted(&default)
        ));
    }
    let failures = inspection.problems.into_iter().filter(|p| p.fails);
    notes.extend(failures.map(|p| format!("{}; {}", p.text, p.remedy)));
    let removes = undone.is_some();
    let mut steps = Vec::from_iter(undone.filter(|step| step.path != file.path));
    steps.push(Step {
        old: files.get(&file.path).map(|f| f.text.clone()),
        path: file.path,
        new: Some(file.text),
        directories: Vec::new(),
    });
    steps.retain(|step| step.old != step.new);
    Ok(Plan {
        steps,
        program: Some(program),
        replaces,
        notes,
        removes,
        engine,
        main: main.to_owned(),
        journal: Some(new_journal),
    })
}

/// The error for a drop-in of another program.
fn foreign_drop_in(root: &NodeRoot, path: &Path) -> Error {
    Error::new(
        Kind::Policy,
        format!(
            "{} exists, and `oci-apparmor configure` did not create it",
            root.on_host(path).display()
        ),
    )
    .with_remedy("name another file with --config; nothing was changed")
}
