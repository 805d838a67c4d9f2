//! The search for a schedule: one setting after the other, each time the value by which something takes least time, until
//! none is left that helps.
//!
//! What takes time is the caller's: code whose time is predicted, or measured on a device. Every schedule that was tried is
//! kept with its time ([`Outcome`]), and outcomes are kept in files ([`Store`]), one for each device and ring
//! ([`Subject`]); a search that is run again, or goes on after it was interrupted, tries nothing twice.

use super::schedule::{SETTINGS, Schedule};
use ceria_runtime::format::arrays::write_atomically;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What a schedule is tuned for, and by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The device, by the name with which it is asked for.
    pub device: String,
    /// log2 of the ring degree.
    pub log_n: u32,
    /// The programs whose times are added.
    pub programs: Vec<String>,
    /// Versions of what makes the code and says how long it takes.
    pub versions: String,
}

/// A schedule and what it leads to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// The schedule.
    pub schedule: Schedule,
    /// Milliseconds; none if there is no code with this schedule.
    pub milliseconds: Option<f64>,
}

/// What was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// For what.
    pub subject: Subject,
    /// All schedules that were tried, the default one first.
    pub trials: Vec<Trial>,
}

impl Outcome {
    /// Before anything is tried.
    pub fn new(subject: Subject) -> Self {
        Self { subject, trials: Vec::new() }
    }

    /// The schedule with the least time, of those with the same the first, and that time.
    pub fn best(&self) -> Option<(&Schedule, f64)> {
        let timed = self.trials.iter().filter_map(|trial| Some((&trial.schedule, trial.milliseconds?)));
        timed.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The time of the default schedule, if it was tried.
    pub fn by_default(&self) -> Option<f64> {
        self.trials.iter().find(|trial| trial.schedule == Schedule::default())?.milliseconds
    }

    /// Goes on until no other value of one setting takes less time by more than [`GAIN`]. `time` says how long a schedule
    /// takes, none if there is no code with it; `keep` is called after each that was tried.
    pub fn search<E>(
        &mut self,
        mut time: impl FnMut(&Schedule) -> Result<Option<f64>, E>,
        mut keep: impl FnMut(&Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut attempt = |outcome: &mut Self, schedule: &Schedule| {
            if let Some(known) = outcome.trials.iter().find(|trial| trial.schedule == *schedule) {
                return Ok(known.milliseconds);
            }
            let milliseconds = time(schedule)?.filter(|time| time.is_finite());
            outcome.trials.push(Trial { schedule: schedule.clone(), milliseconds });
            keep(outcome)?;
            Ok(milliseconds)
        };
        let mut current = Schedule::default();
        let mut least = attempt(self, &current)?.unwrap_or(f64::INFINITY);
        loop {
            let before = current.clone();
            for setting in &SETTINGS {
                let start = current.clone();
                for &value in setting.tried {
                    let mut other = start.clone();
                    *other.setting(setting.name) = value;
                    let found = attempt(self, &other)?.unwrap_or(f64::INFINITY);
                    if found < least * (1.0 - GAIN) {
                        (current, least) = (other, found);
                    }
                }
            }
            if current == before {
                return Ok(());
            }
        }
    }
}

/// The part of the time that another schedule has to save: less is not worth a look at its neighbours.
const GAIN: f64 = 0.005;

/// The folder in which outcomes are kept.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was tuned.
    #[error(
        "no schedule was tuned for {device} at N = 2^{log_n}; do it with `ceria tune {device} --log-n {log_n}`"
    )]
    Missing {
        /// The device.
        device: String,
        /// The ring.
        log_n: u32,
    },
    /// A file is not what it should be.
    #[error("{} is no outcome of `ceria tune`: {reason}; remove it and tune again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("cannot keep schedules in {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Store {
    /// In this folder, which need not be there.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.into() }
    }

    /// The file for a device and ring.
    pub fn file(&self, device: &str, log_n: u32) -> PathBuf {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = device.chars().map(letter).collect();
        self.folder.join(format!("{name}-2-{log_n}.json"))
    }

    /// The outcome for a device and ring.
    pub fn read(&self, device: &str, log_n: u32) -> Result<Outcome, StoreError> {
        let path = self.file(device, log_n);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::Missing { device: device.into(), log_n });
            }
            Err(source) => return Err(StoreError::File { path, source }),
        };
        let damaged = |reason: String| StoreError::Damaged { path: path.clone(), reason };
        let outcome: Outcome = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        outcome.trials.iter().try_for_each(|trial| trial.schedule.check()).map_err(&damaged)?;
        if outcome.subject.log_n != log_n {
            return Err(damaged(format!("it is for N = 2^{}", outcome.subject.log_n)));
        }
        Ok(outcome)
    }

    /// The best schedule for a device and ring.
    pub fn schedule(&self, device: &str, log_n: u32) -> Result<Schedule, StoreError> {
        let outcome = self.read(device, log_n)?;
        let missing = || StoreError::Missing { device: device.into(), log_n };
        outcome.best().map(|best| best.0.clone()).ok_or_else(missing)
    }

    /// What was tried for a subject before; nothing if that was by other versions or with other programs.
    pub fn resume(&self, subject: &Subject) -> Result<Outcome, StoreError> {
        match self.read(&subject.device, subject.log_n) {
            Ok(outcome) if outcome.subject == *subject => Ok(outcome),
            Ok(_) | Err(StoreError::Missing { .. }) => Ok(Outcome::new(subject.clone())),
            Err(error) => Err(error),
        }
    }

    /// Keeps an outcome in place of an earlier one.
    pub fn write(&self, outcome: &Outcome) -> Result<(), StoreError> {
        let path = self.file(&outcome.subject.device, outcome.subject.log_n);
        let failed = |source| StoreError::File { path: path.clone(), source };
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let text = serde_json::to_vec_pretty(outcome).map_err(|error| failed(error.into()))?;
        write_atomically(&path, &text).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn subject() -> Subject {
        Subject { device: "h100".into(), log_n: 13, programs: vec!["rotate".into()], versions: "1".into() }
    }

    /// Least at 256 threads and 8 words; what asks for a split of 7 has no code.
    fn time(schedule: &Schedule) -> Option<f64> {
        let far = |value: usize, from: usize| (value.ilog2() as f64 - from.ilog2() as f64).abs();
        (schedule.ntt_split != 7).then(|| 1.0 + far(schedule.threads, 256) + far(schedule.words, 8))
    }

    #[test]
    fn the_least_time_is_found_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(&folder.path().join("schedules"));
        assert!(matches!(store.schedule("h100", 13), Err(StoreError::Missing { .. })));
        let mut outcome = store.resume(&subject()).unwrap();
        let mut count = 0;
        let counted = |schedule: &Schedule| {
            count += 1;
            Ok::<_, StoreError>(time(schedule))
        };
        outcome.search(counted, |outcome| store.write(outcome)).unwrap();
        let best = Schedule { threads: 256, words: 8, ..Schedule::default() };
        assert_eq!(outcome.best(), Some((&best, 1.0)));
        assert_eq!(outcome.by_default(), Some(3.0));
        assert_eq!(count, outcome.trials.len());
        assert!(outcome.trials.iter().any(|trial| trial.milliseconds.is_none()));
        assert_eq!(store.schedule("h100", 13).unwrap(), best);

        // Again: nothing is left to try, unless something else is asked for.
        let mut again = store.resume(&subject()).unwrap();
        assert_eq!(again, outcome);
        let none = |_: &Schedule| -> Result<Option<f64>, Infallible> { panic!("tried twice") };
        again.search(none, |_| Ok(())).unwrap();
        assert!(store.resume(&Subject { versions: "2".into(), ..subject() }).unwrap().trials.is_empty());
    }

    #[test]
    fn damaged_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let path = store.file("h100", 13);
        let refused = |text: &str| {
            fs::write(&path, text).unwrap();
            store.schedule("h100", 13).unwrap_err().to_string()
        };
        assert!(refused("{}").contains("missing field"));
        let mut outcome = Outcome::new(subject());
        let schedule = Schedule { threads: 48, ..Schedule::default() };
        outcome.trials.push(Trial { schedule, milliseconds: Some(1.0) });
        let text = serde_json::to_string(&outcome).unwrap();
        assert!(refused(&text).contains("threads must be a power of two"));
        outcome.subject.log_n = 14;
        outcome.trials.clear();
        assert!(refused(&serde_json::to_string(&outcome).unwrap()).contains("N = 2^14"));
    }
}
