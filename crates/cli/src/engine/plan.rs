//! What has to happen to an engine's files, and doing it.

use std::path::{Path, PathBuf};

use crate::engine::containerd::added;
use crate::engine::files::{Files, inspect};
use crate::engine::layout::{self, Way};
use crate::engine::memory::Memory;
use crate::engine::place::Place;
use crate::engine::{
    Change, Engine, HEAD, Text, Wish, containerd, crio, diff, docker, podman, tables,
};
use oci_apparmor::error::{Error, Kind, Result};

/// One file that is made, changed or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The file, as the engine sees it.
    pub path: PathBuf,
    /// What it is; none where it is not there.
    pub old: Option<String>,
    /// What it is to be; none where it goes.
    pub new: Option<String>,
    /// The directories that were made for it, and go with it if they are empty.
    directories: Vec<PathBuf>,
}

impl Step {
    /// Writes or removes the file; returns the directories that were made for it.
    fn apply(&self, place: &Place) -> Result<Vec<PathBuf>> {
        match &self.new {
            Some(text) => place.write(&self.path, self.old.as_deref(), text, 0o644),
            None => place
                .remove(&self.path, &self.directories)
                .map(|()| Vec::new()),
        }
    }

    /// The change as diff(1) shows it.
    #[must_use]
    pub fn diff(&self, place: &Place) -> String {
        let name = |text: &Option<String>| match text {
            Some(_) => place.here(&self.path).display().to_string(),
            None => "/dev/null".to_owned(),
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (old, new) = (text(&self.old), text(&self.new));
        diff::unified(&name(&self.old), &name(&self.new), &old, &new)
    }
}

/// What is to be done for an engine.
#[derive(Debug)]
pub struct Outcome {
    /// The files that differ; none where all is as it should be.
    pub steps: Vec<Step>,
    /// The program that the engine calls, or called.
    pub program: Option<PathBuf>,
    /// The program that the engine called before, as its configuration names it; none: it looks
    /// for one.
    pub replaces: Option<String>,
    /// What the reader should know.
    pub notes: Vec<String>,
    /// Whether something of ours is taken out of the files.
    pub less: bool,
    engine: Engine,
    main: PathBuf,
    /// What is to be remembered; none: nothing any more.
    memory: Option<Memory>,
}

impl Outcome {
    /// Does it.
    ///
    /// # Errors
    /// Where a file cannot be written; what was not written then is as it was.
    pub fn apply(mut self, place: &Place) -> Result<()> {
        let Some(memory) = self.memory.as_mut().filter(|_| !self.steps.is_empty()) else {
            for step in &self.steps {
                step.apply(place)?;
            }
            // Where nothing had to be done, what is remembered holds.
            return match self.memory {
                Some(_) => Ok(()),
                None => Memory::forget(place, self.engine, &self.main),
            };
        };
        // Remembered before it is done: what we were killed before doing is not found, and is no
        // harm; what is done and not remembered would stay.
        let before = Memory::load(place, self.engine, &self.main)?;
        memory.store(place, self.engine, &self.main)?;
        let mut untouched = true;
        for step in &self.steps {
            let made = match step.apply(place) {
                Ok(made) => made,
                Err(e) if untouched => {
                    let restored = match before {
                        Some(before) => before.store(place, self.engine, &self.main),
                        None => Memory::forget(place, self.engine, &self.main),
                    };
                    log::debug!("put back what is remembered: {restored:?}");
                    return Err(e);
                }
                Err(e) => return Err(e),
            };
            untouched = false;
            if memory.file == step.path && !made.is_empty() {
                memory.directories = made;
                memory.store(place, self.engine, &self.main)?;
            }
        }
        Ok(())
    }
}

/// What has to be done so that an engine calls us.
///
/// # Errors
/// Where its files cannot be read, or what is wished cannot be done to them.
pub fn configure(engine: Engine, place: &Place, main: &Path, wish: &Wish) -> Result<Outcome> {
    let files = Files::gather(engine, place, main)?;
    let memory = Memory::load(place, engine, main)?;
    let dropin = engine.takes_a_drop_in(main);
    let template = engine == Engine::Containerd && Way::of(main) == Way::Template;
    // What was configured before is taken back first, so that the way back always leads to what
    // was there without us.
    let mut base = files.read.clone();
    let mut template_before = files.template.as_ref().map(|file| file.text.clone());
    let mut undone = None;
    if let Some(memory) = &memory {
        let text = files.get(&memory.file).map(|f| f.text.as_str());
        let before = undo(engine, &files, memory, text)?;
        base = files.with(engine, &memory.file, before.as_deref());
        if template {
            template_before.clone_from(&before);
        }
        undone = Some((memory.file.clone(), before, memory.directories.clone()));
    }
    if dropin {
        if let Some(file) = base
            .iter()
            .find(|f| f.path == main && !f.text.starts_with(HEAD))
        {
            return Err(Error::new(
                Kind::Policy,
                format!(
                    "{} is there, and not of our making",
                    place.here(&file.path).display()
                ),
            )
            .with_remedy("name another file with --config; nothing was changed"));
        }
        base.retain(|file| file.path != main);
    }
    let Change {
        file,
        program,
        replaces,
        former_default,
        mut notes,
    } = match engine {
        Engine::Containerd if template => {
            added::template(main, template_before.as_deref(), &base, wish)?
        }
        Engine::Containerd if dropin => added::drop_in(main, &base, wish)?,
        Engine::Containerd => containerd::configure(main, &base, wish)?,
        Engine::Crio => crio::configure(main, &base, wish)?,
        Engine::Podman => podman::configure(main, &base, wish)?,
        Engine::Docker => docker::configure(main, base.first(), wish)?,
    };
    if engine == Engine::Containerd {
        layout::not_generated(place, &file.path)?;
    }
    let now = |path: &Path| files.get(path).map(|f| f.text.clone());
    let mut steps = Vec::new();
    if let Some((path, before, directories)) =
        undone.as_ref().filter(|(path, ..)| *path != file.path)
    {
        steps.push(Step {
            path: path.clone(),
            old: now(path),
            new: before.clone(),
            directories: directories.clone(),
        });
    }
    let before = match template {
        true => template_before.as_deref(),
        false => {
            let before = base.iter().find(|f| f.path == file.path);
            before.map(|f| f.text.as_str())
        }
    };
    let mut remembered = Memory::of(engine, main, before, &file);
    remembered.runtime.clone_from(&wish.name);
    remembered.program.clone_from(&program);
    remembered.former_default = former_default;
    remembered.default = wish.default;
    if let Some(memory) = memory.filter(|memory| memory.file == file.path) {
        remembered.directories = memory.directories;
    }
    let seen = inspect(
        engine,
        &files.with(engine, &file.path, Some(&file.text)),
        &[],
        &super::is_ours,
    )?;
    if wish.default && !template && seen.default.as_deref() != Some(&wish.name) {
        notes.push(format!(
            "a file that is read later sets another default runtime, {}: take that out",
            seen.default.unwrap_or_default()
        ));
    }
    notes.extend(
        seen.mistakes
            .into_iter()
            .filter(|m| m.fails)
            .map(|m| format!("{}; {}", m.text, m.remedy)),
    );
    steps.push(Step {
        old: now(&file.path),
        path: file.path,
        new: Some(file.text),
        directories: Vec::new(),
    });
    steps.retain(|step| step.old != step.new);
    Ok(Outcome {
        steps,
        program: Some(program),
        replaces,
        notes,
        less: undone.is_some(),
        engine,
        main: main.to_owned(),
        memory: Some(remembered),
    })
}

/// What has to be done so that an engine does not call us any more.
///
/// # Errors
/// Where its files cannot be read, or have changed so that ours cannot be told apart.
pub fn unconfigure(engine: Engine, place: &Place, main: &Path, name: &str) -> Result<Outcome> {
    let files = Files::gather(engine, place, main)?;
    let memory = Memory::load(place, engine, main)?;
    let mut steps = Vec::new();
    match &memory {
        Some(memory) => {
            let old = files.get(&memory.file).map(|f| f.text.clone());
            steps.push(Step {
                path: memory.file.clone(),
                new: undo(engine, &files, memory, old.as_deref())?,
                old,
                directories: memory.directories.clone(),
            });
        }
        None => {
            for file in files.read.iter().chain(&files.template) {
                let left = without(engine, &files, file, name, None)?;
                let ours = file.text.starts_with(HEAD) && says_nothing(engine, file, &left)?;
                steps.push(Step {
                    path: file.path.clone(),
                    old: Some(file.text.clone()),
                    new: Some(left).filter(|_| !ours),
                    directories: Vec::new(),
                });
            }
        }
    }
    steps.retain(|step| step.old != step.new);
    Ok(Outcome {
        steps,
        program: memory.map(|memory| memory.program),
        replaces: None,
        notes: Vec::new(),
        less: true,
        engine,
        main: main.to_owned(),
        memory: None,
    })
}

/// A file without our change: as it was, byte for byte; or, where others have changed it since,
/// with their changes.
fn undo(
    engine: Engine,
    files: &Files,
    memory: &Memory,
    now: Option<&str>,
) -> Result<Option<String>> {
    let Some(now) = now else {
        return Ok(None);
    };
    if memory.made_this(now) {
        return match memory.made {
            true => Ok(None),
            false => diff::reversed(now, &memory.hunks).map(Some).ok_or_else(|| {
                Error::new(
                    Kind::Configuration,
                    format!(
                        "what is remembered of {} does not fit it",
                        memory.file.display()
                    ),
                )
                .with_remedy(format!("move {} away", crate::engine::memory::DIRECTORY))
            }),
        };
    }
    let file = |text: &str| Text {
        path: memory.file.clone(),
        text: text.to_owned(),
    };
    let structural = |text: &str| {
        without(
            engine,
            files,
            &file(text),
            &memory.runtime,
            memory.former_default.as_deref(),
        )
    };
    if !memory.made
        && let Some(text) = diff::reversed_elsewhere(now, &memory.hunks)
        && structural(&text).is_ok_and(|left| left == text)
    {
        return Ok(Some(text));
    }
    let left = structural(now)?;
    match memory.made && says_nothing(engine, &file(now), &left)? {
        true => Ok(None),
        false => Ok(Some(left)),
    }
}

/// A file without the runtime of this name, if that calls us.
fn without(
    engine: Engine,
    files: &Files,
    file: &Text,
    name: &str,
    former: Option<&str>,
) -> Result<String> {
    let left = match engine {
        Engine::Containerd if Way::of(&file.path) == Way::Template => {
            Ok(added::without(&file.text))
        }
        Engine::Containerd => {
            containerd::without(file, containerd::main_version(&files.read)?, name, former)
        }
        Engine::Crio => crio::without(file, name),
        Engine::Podman => podman::without(file, name),
        Engine::Docker => docker::without(file, name, former),
    }?;
    // An end of the last line is no change.
    Ok(match left.strip_suffix('\n') == Some(&file.text) {
        true => file.text.clone(),
        false => left,
    })
}

/// Whether a file of ours has nothing to say any more.
fn says_nothing(engine: Engine, file: &Text, left: &str) -> Result<bool> {
    let left = Text {
        path: file.path.clone(),
        text: left.to_owned(),
    };
    match engine {
        Engine::Docker => Ok(docker::is_empty(&left)),
        Engine::Containerd if Way::of(&left.path) == Way::Template => {
            Ok(added::says_nothing(&left.text))
        }
        Engine::Containerd => containerd::is_empty(&left),
        Engine::Crio => Ok(tables::says_nothing(
            tables::parse(&left.path, &left.text)?.as_table(),
        )),
        Engine::Podman => podman::is_empty(&left),
    }
}
