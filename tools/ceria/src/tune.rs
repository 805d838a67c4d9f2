//! `ceria tune`: how much of a kernel each thread and block of a GPU does, by what takes least time.

use super::{
    bench::{Prepared, Program, Writer, parameters},
    inspect::device,
    progress,
};
use anyhow::{Context as _, Result, bail, ensure};
use ceria_lowering::{
    bundle::{self, BundleError},
    kernel_to_nvvm::{
        report::Report,
        schedule::Schedule,
        tools::Tool,
        tune::{Outcome, Store, Subject},
    },
};
use ceria_passes::cost::Device;
use ceria_runtime::device::{Bundle, CudaOptions, LoadOptions, Trial, devices, measure, median_and_least};
use std::path::{Path, PathBuf};

/// Find the schedule of kernels that is fastest on a GPU, and keep it for `ceria compile --tuned-for`.
///
/// Times are predicted from machine code, which takes NVIDIA's assembler and no GPU, or with --measure taken on a GPU of this
/// machine. What was tried is kept, so that a second search goes on where the first one ended.
#[derive(clap::Args)]
pub struct Arguments {
    /// The device, as `ceria inspect --kernels --device` knows it; with --measure any name to keep the schedule under.
    device: String,
    /// log2 of the ring degree.
    #[arg(long, default_value_t = 16, value_name = "LOG_N")]
    log_n: u32,
    /// An operation of `ceria bench ops`; those of several are added.
    #[arg(long = "program", default_values_t = PROGRAMS.map(String::from), value_name = "NAME")]
    programs: Vec<String>,
    /// Measure on this GPU of this machine, from 0.
    #[arg(long, value_name = "NUMBER")]
    measure: Option<u32>,
    /// With --measure: how often each operation is run.
    #[arg(long, default_value_t = 20, requires = "measure")]
    runs: usize,
    #[command(flatten)]
    place: Place,
    /// Say nothing but errors.
    #[arg(short, long)]
    quiet: bool,
}

/// What takes most of the time of networks and bootstraps.
const PROGRAMS: [&str; 2] = ["multiply, relinearise and rescale", "rotate"];

/// Where outcomes are kept.
#[derive(clap::Args)]
struct Place {
    /// The folder of tuned schedules; by default one of the user's cache.
    #[arg(long, value_name = "DIR")]
    schedules: Option<PathBuf>,
}

impl Place {
    fn store(&self) -> Result<Store> {
        let usual = || dirs::cache_dir().map(|folder| folder.join("ceria/schedules"));
        let folder = self.schedules.clone().or_else(usual);
        Ok(Store::new(&folder.context("there is no home folder to keep schedules in; use --schedules")?))
    }
}

/// How kernels are mapped to a GPU.
#[derive(clap::Args)]
pub struct ScheduleArguments {
    /// For GPUs: numbers that say how much threads and blocks do, such as ntt-words=5,threads=256; those of the passes.
    #[arg(long, value_name = "NUMBERS", value_parser = Schedule::from_text)]
    schedule: Option<Schedule>,
    /// For GPUs: the schedule that `ceria tune` found for this device.
    #[arg(long, value_name = "DEVICE", conflicts_with = "schedule")]
    tuned_for: Option<String>,
    #[command(flatten)]
    place: Place,
}

impl ScheduleArguments {
    /// The schedule for a ring.
    pub fn get(&self, log_n: u32) -> Result<Schedule> {
        match (&self.schedule, &self.tuned_for) {
            (Some(schedule), _) => Ok(schedule.clone()),
            (None, Some(device)) => Ok(self.place.store()?.schedule(device, log_n)?),
            (None, None) => Ok(Schedule::default()),
        }
    }

    /// Whether something else than the default is asked for.
    pub fn is_set(&self) -> bool {
        self.schedule.is_some() || self.tuned_for.is_some()
    }
}

/// By what times are found.
enum Clock {
    Predicted(&'static Device),
    Measured { options: LoadOptions, runs: usize },
}

impl Clock {
    fn new(arguments: &Arguments) -> Result<(Self, String)> {
        let ceria = env!("CARGO_PKG_VERSION");
        let Some(number) = arguments.measure else {
            let device = device(&arguments.device)?;
            let versions = format!("ceria {ceria}, ptxas {}, predicted", Tool::Ptxas.version()?);
            return Ok((Self::Predicted(device), versions));
        };
        ensure!(arguments.runs > 0, "--runs has to be at least 1");
        let found = devices()?;
        let name = found.get(number as usize).with_context(|| format!("there is no GPU {number}"))?;
        let cuda = CudaOptions { device: number, graph: true, times: false, check: false };
        let options = LoadOptions { threads: None, cuda, table_cache: None };
        let versions = format!("ceria {ceria}, {name}, measured");
        Ok((Self::Measured { options, runs: arguments.runs }, versions))
    }

    /// Milliseconds of a run.
    fn time(&self, bundle: &Path) -> Result<f64> {
        match self {
            Self::Predicted(device) => Ok(Report::of(&Bundle::open(bundle)?, device)?.predicted_ms),
            Self::Measured { options, runs } => {
                let trial = Trial {
                    bundle: bundle.into(),
                    seeds: vec![1],
                    runs: *runs,
                    expected: None,
                    options: options.clone(),
                };
                let times = measure(&trial, |_, _| {})?.times;
                Ok(median_and_least(&times).context("nothing was measured")?[0])
            }
        }
    }
}

/// `ceria tune`.
pub fn run(arguments: &Arguments) -> Result<()> {
    ceria_lowering::register()?;
    let store = arguments.place.store()?;
    let (clock, versions) = Clock::new(arguments)?;
    let params = parameters(arguments.log_n)?;
    let mut programs: Vec<Program> = Writer::new(&params)?.programs();
    if let Some(name) = arguments.programs.iter().find(|name| !programs.iter().any(|p| p.name == **name)) {
        let names: Vec<&str> = programs.iter().map(|program| program.name).collect();
        bail!("there is no operation {name:?}; those known are {}", names.join("; "));
    }
    programs.retain(|program| arguments.programs.iter().any(|name| name == program.name));
    let subject = Subject {
        device: arguments.device.clone(),
        log_n: arguments.log_n,
        programs: programs.iter().map(|program| program.name.to_string()).collect(),
        versions,
    };
    let mut outcome = store.resume(&subject)?;
    let spinner = if arguments.quiet {
        indicatif::ProgressBar::hidden()
    } else {
        progress::spinner("lowering operations")
    };
    let context = ceria_dialects::context();
    let prepared =
        programs.iter().map(|program| Prepared::new(&context, program)).collect::<Result<Vec<_>>>()?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let path = folder.path().join("tuned.ceria");
    let time = |schedule: &Schedule| -> Result<Option<f64>> {
        let mut sum = 0.0;
        for program in &prepared {
            // Some schedules have no code: a block would hold more than there is, or a split leaves nothing.
            match bundle::device::write(&path, &program.input(&[]), schedule, &[]) {
                Err(BundleError::Lower(_)) => return Ok(None),
                written => written?,
            };
            sum += clock.time(&path)?;
        }
        Ok(Some(sum))
    };
    outcome.search(time, |outcome| {
        if let Some((best, least)) = outcome.best() {
            let count = outcome.trials.len();
            spinner.set_message(format!("{count} schedules, {least:.4} ms with {}", name(best)));
        }
        Ok::<_, anyhow::Error>(store.write(outcome)?)
    })?;
    spinner.finish_and_clear();
    if !arguments.quiet {
        print(&outcome)?;
    }
    Ok(())
}

fn name(schedule: &Schedule) -> String {
    Some(schedule.to_text()).filter(|text| !text.is_empty()).unwrap_or_else(|| "the default".into())
}

/// How many of the schedules that were tried are printed.
const PRINTED: usize = 8;

/// Prints the fastest of what was tried.
fn print(outcome: &Outcome) -> Result<()> {
    let Subject { device, log_n, programs, versions } = &outcome.subject;
    println!("{device}, N = 2^{log_n}, {}; {versions}", programs.join(" + "));
    let mut trials: Vec<_> = outcome.trials.iter().collect();
    let key = |milliseconds: Option<f64>| milliseconds.unwrap_or(f64::INFINITY);
    trials.sort_by(|a, b| key(a.milliseconds).total_cmp(&key(b.milliseconds)));
    for trial in trials.iter().take(PRINTED) {
        let time = trial.milliseconds.map_or("no code".into(), |time| format!("{time:.4} ms"));
        println!("{time:>12}  {}", name(&trial.schedule));
    }
    let (best, least) = outcome.best().context("no schedule has code")?;
    let usual = outcome.by_default().map(|usual| format!(", {:.3} of the default's time", least / usual));
    let count = outcome.trials.len();
    println!("the best of {count}: {}, {least:.4} ms{}", name(best), usual.unwrap_or_default());
    Ok(())
}
