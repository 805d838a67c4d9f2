//! Runs a bundle on test data: for comparing devices, and for times.
//!
//! Keys are those of one seed, so that a bundle is loaded once; inputs are those of each seed in turn. Two devices agree
//! if the hashes of their results do. Times are by the device's clock where it has one, and by this machine's with the
//! way of inputs and outputs.

use super::{Bundle, DeviceError, LoadOptions, Program, TestData, hash_of};
use crate::client::Context;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

/// The seed of all keys.
const KEYS: TestData = TestData { seed: 0 };

/// What to run and how often.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The bundle, a folder.
    pub bundle: PathBuf,
    /// Seeds of inputs.
    pub seeds: Vec<u64>,
    /// How often each input is run for its time, after runs that are not timed.
    pub runs: usize,
    /// Another measurement, as JSON, whose results these have to be.
    pub expected: Option<Value>,
    /// How to load the bundle.
    pub options: LoadOptions,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// The model's name.
    pub name: String,
    /// What it ran on.
    pub device: String,
    /// The hash of the results of each seed.
    pub results: BTreeMap<u64, String>,
    /// Times of launches by the device's clock, or of the program where it has none.
    pub times: Vec<Duration>,
    /// Times with the way of inputs and outputs.
    pub whole: Vec<Duration>,
    /// Launches of a run.
    pub launches: usize,
    /// The time to build tables and to load code.
    pub load: Duration,
    /// Bytes of tables that did not fit on the device.
    pub host_bytes: u64,
}

/// Loads a bundle with test data and runs it. Fails if results are not those expected, or differ from run to run.
pub fn measure(trial: &Trial, progress: impl FnMut(usize, usize)) -> Result<Measurement, DeviceError> {
    let bundle = Bundle::open(&trial.bundle)?;
    let started = Instant::now();
    let context = Context::new(bundle.manifest.params.clone())?;
    let mut program = Program::load_with_test_data(&bundle, context, KEYS, &trial.options, progress)?;
    let mut found = Measurement {
        name: bundle.manifest.name.clone(),
        device: program.device(),
        results: BTreeMap::new(),
        times: Vec::new(),
        whole: Vec::new(),
        launches: 0,
        load: started.elapsed(),
        host_bytes: program.host_bytes(),
    };
    // Results come first: times of a device that computes something else are worth nothing.
    for &seed in &trial.seeds {
        let inputs = TestData { seed }.inputs(program.context(), &bundle.manifest)?;
        let (outputs, report) = program.run(&inputs)?;
        found.launches = report.launches;
        found.results.insert(seed, hash_of(&outputs));
    }
    if let Some(expected) = &trial.expected {
        found.expect(expected)?;
    }
    for &seed in trial.seeds.iter().filter(|_| trial.runs > 0) {
        let inputs = TestData { seed }.inputs(program.context(), &bundle.manifest)?;
        let mut last = program.run(&inputs)?.0;
        for _ in 0..trial.runs {
            let (outputs, report) = program.run(&inputs)?;
            found.times.push(report.device_time.unwrap_or(report.duration));
            found.whole.push(report.duration);
            last = outputs;
        }
        if found.results.get(&seed) != Some(&hash_of(&last)) {
            return Err(DeviceError::Differs(format!("two runs on inputs of seed {seed}")));
        }
    }
    Ok(found)
}

/// The middle and the least of some times, in milliseconds.
pub fn median_and_least(times: &[Duration]) -> Option<[f64; 2]> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let milliseconds = |time: &Duration| time.as_secs_f64() * 1e3;
    Some([milliseconds(sorted.get(sorted.len() / 2)?), milliseconds(sorted.first()?)])
}

impl Measurement {
    /// Everything, for programs.
    pub fn to_json(&self) -> Value {
        let results: BTreeMap<String, &String> =
            self.results.iter().map(|(seed, hash)| (seed.to_string(), hash)).collect();
        let mut value = json!({
            "name": self.name, "device": self.device, "results": results, "runs": self.times.len(),
            "launches": self.launches, "load_s": self.load.as_secs_f64(), "host_bytes": self.host_bytes,
        });
        if let (Some([median, least]), Some([whole, _])) =
            (median_and_least(&self.times), median_and_least(&self.whole))
        {
            value["median_ms"] = json!(median);
            value["least_ms"] = json!(least);
            value["with_transfers_ms"] = json!(whole);
        }
        value
    }

    /// Fails unless the results are those of another measurement, as JSON.
    pub fn expect(&self, other: &Value) -> Result<(), DeviceError> {
        for (seed, hash) in &self.results {
            let expected = other.get("results").and_then(|results| results.get(seed.to_string()));
            match expected.and_then(Value::as_str) {
                Some(expected) if expected == hash => {}
                Some(_) => {
                    return Err(DeviceError::Differs(format!(
                        "the results of {} for inputs of seed {seed} and those expected",
                        self.name
                    )));
                }
                None => {
                    return Err(DeviceError::Input(format!("no results of seed {seed} are expected")));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_compared_seed_by_seed() {
        let found = Measurement {
            name: "m".into(),
            device: "CPU".into(),
            results: BTreeMap::from([(1, "aa".into()), (2, "bb".into())]),
            times: [3, 1, 2].map(Duration::from_millis).to_vec(),
            whole: [5, 4, 6].map(Duration::from_millis).to_vec(),
            launches: 1,
            load: Duration::ZERO,
            host_bytes: 0,
        };
        let same = found.to_json();
        assert_eq!((same["median_ms"].as_f64(), same["least_ms"].as_f64()), (Some(2.0), Some(1.0)));
        assert!(found.expect(&same).is_ok());
        let mut other = same.clone();
        other["results"]["2"] = json!("bc");
        assert!(found.expect(&other).is_err_and(|e| e.to_string().contains("seed 2")));
        assert!(found.expect(&json!({ "results": { "1": "aa" } })).is_err());
    }
}
