//! All times that were taken, kept in a file: a run that is interrupted goes on where it was.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Rounds after which the file is written.
const SAVED_AFTER: usize = 5;

/// What was measured so far, by name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Samples {
    /// The kernel and the programs: those of others are not continued.
    of: String,
    all: BTreeMap<String, Vec<f64>>,
    #[serde(skip)]
    file: Option<PathBuf>,
}

/// One thing to measure, and its name.
pub(crate) type Thing<'t> = (String, Box<dyn Fn() -> Duration + 't>);

impl Samples {
    /// Those of the file, if they are of this kernel and of this program.
    pub(crate) fn open(file: Option<PathBuf>, linux: &str, program: &Path) -> Self {
        let mut hasher = DefaultHasher::new();
        fs::read(program).unwrap().hash(&mut hasher);
        let of = format!("{linux} {:016x}", hasher.finish());
        let known = file.as_ref().and_then(|file| fs::read(file).ok());
        let known: Option<Self> = known.and_then(|json| serde_json::from_slice(&json).ok());
        let known = known.filter(|known| known.of == of).unwrap_or_default();
        Self { of, file, ..known }
    }

    pub(crate) fn save(&self) {
        if let Some(file) = &self.file {
            let new = file.with_extension("new");
            fs::write(&new, serde_json::to_vec(self).unwrap()).unwrap();
            fs::rename(new, file).unwrap();
        }
    }

    pub(crate) fn add(&mut self, name: &str, number: f64) {
        // To 10 microseconds, which is below the noise.
        let number = (number * 100.0).round() / 100.0;
        self.all.entry(name.to_owned()).or_default().push(number);
    }

    /// How many there are by this name.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.all.get(name).map_or(0, Vec::len)
    }

    /// In their order by size.
    pub(crate) fn sorted(&self, name: &str) -> Vec<f64> {
        let mut all = self.all.get(name).cloned().unwrap_or_default();
        all.sort_by(f64::total_cmp);
        all
    }

    /// Does these things in turns until there are as many rounds: what else the machine does is shared
    /// by all. The first round, in which caches are filled, does not count.
    pub(crate) fn in_turns(&mut self, rounds: usize, things: &[Thing<'_>]) {
        let done = things.iter().map(|(name, _)| self.count(name)).min();
        let done = done.unwrap_or(rounds);
        if done >= rounds {
            return;
        }
        for (_, thing) in things {
            thing();
        }
        for round in done..rounds {
            for (name, thing) in things {
                let time = thing();
                self.add(name, time.as_secs_f64() * 1e3);
            }
            if round % SAVED_AFTER == 0 {
                self.save();
            }
        }
        self.save();
    }
}
