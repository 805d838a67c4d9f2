//! Kernels that are broken on purpose are caught: by a fault, or by a result that is not the interpreter's.
//!
//! Each mutant is the device code of a right kernel with one change to its text. All mutants of a kernel are compiled
//! together, under names of their own.

use super::{
    super::{EmulatorError, FaultKind, Mode},
    kernels::Suite,
};
use crate::{
    kernel_to_nvvm::schedule::Schedule,
    random_kernels::{Case, Random, interpreted},
};
use ceria_dialects::kernel::model::{ArgumentKind, Kernel, Limbs, TileOp};
use ceria_runtime::format::{manifest::Launch, primes::ntt_primes_below};
use std::collections::{BTreeMap, BTreeSet};

/// A changed kernel.
struct Mutant {
    /// The line that was changed.
    line: String,
    text: String,
}

/// How many mutants of a kind are made of a kernel at most, spread over its text.
const MOST: usize = 12;

/// Texts in which one line is changed, among the lines that `change` changes.
fn mutants(text: &str, mut change: impl FnMut(&str) -> Option<String>) -> Vec<Mutant> {
    let lines: Vec<&str> = text.lines().collect();
    let changes = lines.iter().enumerate().filter_map(|(at, line)| Some((at, *line, change(line)?)));
    let changes: Vec<(usize, &str, String)> = changes.collect();
    let mutant = |(at, line, changed): &(usize, &str, String)| {
        let at = *at;
        let all =
            lines[..at].iter().copied().chain([changed.as_str()]).chain(lines[at + 1..].iter().copied());
        let text = all.map(|line| format!("{line}\n")).collect();
        Mutant { line: line.trim().into(), text }
    };
    changes.iter().step_by(changes.len().div_ceil(MOST).max(1)).map(mutant).collect()
}

/// Without one of the barriers.
fn without_barrier(text: &str) -> Vec<Mutant> {
    mutants(text, |line| line.trim().starts_with("gpu.barrier").then(String::new))
}

/// With one constant offset of an address larger by one word.
fn off_by_one(text: &str) -> Vec<Mutant> {
    mutants(text, |line| {
        let (before, rest) = line.split_once('[').filter(|_| line.contains("llvm.getelementptr"))?;
        let (index, after) = rest.split_once(']')?;
        let index: i64 = index.parse().ok()?;
        Some(format!("{before}[{}]{after}", index + 1))
    })
}

/// With one twiddle that is the next one of the table. `tables` says which of a function's arguments is its address.
fn other_twiddle(text: &str, tables: &BTreeMap<&str, usize>) -> Vec<Mutant> {
    let mut pointers = BTreeSet::new();
    mutants(text, |line| {
        if let Some((name, arguments)) =
            line.trim().strip_prefix("gpu.func @").and_then(|rest| rest.split_once('('))
        {
            let names = arguments.split('%').skip(1).filter_map(|rest| rest.split(':').next());
            pointers = names.map(|name| format!("%{name}")).skip(tables[name]).take(1).collect();
            return None;
        }
        let (result, op) = line.trim().split_once(" = ")?;
        let from = op.split(['[', ' ', ',', '{']).find(|word| word.starts_with('%'))?;
        if !pointers.contains(from) {
            return None;
        }
        if op.starts_with("llvm.getelementptr") {
            pointers.insert(result.into());
            return None;
        }
        let next = format!("llvm.getelementptr {from}[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32");
        op.starts_with("llvm.load")
            .then(|| format!("%next = {next}\n{}", line.replacen(&format!("load {from}"), "load %next", 1)))
    })
}

/// A kernel that loads a limb for each of two primes, does something with it, and stores it. It loads other rows than it
/// stores, so that no two of its constants are equal side by side.
struct Right {
    suite: Suite,
    expected: Vec<Vec<u32>>,
}

impl Right {
    fn new(n: usize, body: Vec<TileOp>, schedule: &Schedule) -> Self {
        let mut random = Random(9);
        let moduli: Vec<u32> = ntt_primes_below(1 << 30, n.ilog2()).take(2).collect();
        let rows = [moduli[0], moduli[0], moduli[1]].into_iter().flat_map(|q| vec![q; n]);
        let input: Vec<u32> = rows.map(|q| random.below(q as usize) as u32).collect();
        let tiles = body.iter().flat_map(TileOp::results).count();
        let arguments = vec![ArgumentKind::Buffer(vec![3, n]); 2];
        let kernel = Kernel { name: "k".into(), batch: 1, moduli, n, arguments, body, tiles };
        let case = Case { kernel, operands: vec![input, vec![0; 3 * n]] };
        let expected = interpreted(&case);
        Self { suite: Suite::new(vec![case], n, schedule), expected }
    }

    fn transform(n: usize, inverse: bool, schedule: &Schedule) -> Self {
        let limbs = Limbs { rows: vec![2, 0] };
        let body = vec![
            TileOp::Load { buffer: 0, limbs: Limbs { rows: vec![1, 2] }, result: 0 },
            match inverse {
                true => TileOp::Intt { input: 0, scale: None, result: 1 },
                false => TileOp::Ntt { input: 0, result: 1 },
            },
            TileOp::Store { tile: 1, buffer: 1, limbs },
        ];
        Self::new(n, body, schedule)
    }

    /// Between two sets of two primes.
    fn conversion(n: usize) -> Self {
        let from: Vec<u32> = ntt_primes_below(1 << 30, n.ilog2()).take(4).skip(2).collect();
        let body = vec![
            TileOp::Bconv { buffer: 0, from, rows: vec![1, 2], result: 0 },
            TileOp::Store { tile: 0, buffer: 1, limbs: Limbs { rows: vec![2, 0] } },
        ];
        Self::new(n, body, &Schedule::default())
    }

    fn text(&self) -> &str {
        self.suite.functions()
    }

    /// Runs the kernel as it is, and mutants, of which there must be some; `caught` judges what each does.
    fn check(&self, mutants: &[Mutant], caught: impl Fn(&Result<Vec<Vec<u32>>, EmulatorError>) -> bool) {
        assert!(!mutants.is_empty(), "nothing to break in\n{}", self.text());
        let renamed = |(index, mutant): (usize, &Mutant)| mutant.text.replace('@', &format!("@m{index}_"));
        let all: String = mutants.iter().enumerate().map(renamed).collect();
        let text = Suite::module(&(self.text().to_string() + &all));
        let mut device = Suite::device(&text, Mode::Checked).unwrap_or_else(|e| panic!("{e}"));
        let right = self.suite.run(0, "", &mut device).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(right, self.expected);
        for (index, mutant) in mutants.iter().enumerate() {
            let found = self.suite.run(0, &format!("m{index}_"), &mut device);
            let found = found.map_err(|e| EmulatorError::of(e).unwrap_or_else(|e| panic!("{e}")));
            assert!(caught(&found), "not caught: {}", mutant.line);
        }
    }

    /// Whether a result is a fault or wrong.
    fn is_wrong(&self, found: &Result<Vec<Vec<u32>>, EmulatorError>) -> bool {
        match found {
            Ok(found) => found != &self.expected,
            Err(EmulatorError::Fault(_)) => true,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Kernels that exchange words among threads, of one and of two device functions.
fn transforms() -> Vec<Right> {
    let one = Schedule { ntt_words: 2, threads: 32, ..Schedule::default() };
    let two = Schedule { ntt_single: 4, ntt_words: 2, ntt_split: 3, ntt_threads: 32, ..Schedule::default() };
    [&one, &two]
        .into_iter()
        .flat_map(|schedule| [false, true].map(|inverse| Right::transform(64, inverse, schedule)))
        .collect()
}

#[test]
fn a_missing_barrier_is_a_fault() {
    let is_fault = |found: &Result<_, EmulatorError>| match found {
        Err(EmulatorError::Fault(fault)) => {
            matches!(fault.kind, FaultKind::Race { .. } | FaultKind::Uninitialised { .. })
        }
        _ => false,
    };
    for right in transforms().iter().chain([&Right::conversion(32)]) {
        right.check(&without_barrier(right.text()), is_fault);
    }
}

#[test]
fn an_index_off_by_one_is_caught() {
    for right in transforms().iter().chain([&Right::conversion(32)]) {
        let mutants = off_by_one(right.text());
        right.check(&mutants, |found| right.is_wrong(found));
    }
}

#[test]
fn a_wrong_twiddle_is_caught() {
    for right in transforms() {
        // The table comes after the two buffers.
        let launches = right.suite.launches(0).iter();
        let table = |launch: &Launch| launch.arguments.iter().position(|&argument| argument == 2);
        let tables = launches.filter_map(|launch| Some((launch.symbol.as_str(), table(launch)?))).collect();
        let mutants = other_twiddle(right.text(), &tables);
        right.check(&mutants, |found| right.is_wrong(found));
    }
}
