//! Schedules: how much of a kernel a thread and a block do. Data that code generation follows.
//!
//! A [`Schedule`] has the numbers that a user may set, zero where the cost function is to choose. From it and a ring
//! degree follow the [`Phase`]s of a transform, each one device function: which stages it does, on which words of a
//! limb a block works, and in which *layouts* its threads hold them. A block's words are numbered by as many bits as it
//! takes; a layout says which of these bits number the registers of a thread. The others, in order, number the threads.
//! Butterflies of a stage pair words that differ in one bit, which has to be a register bit; between layouts the words
//! are exchanged through shared memory.

use ceria_dialects::bridge::pass::{OptionValues, PassError, PassOption};
use serde::{Deserialize, Serialize};

/// The numbers that a schedule consists of. Zero leaves the choice to the cost function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Schedule {
    /// Log2 of the words of a limb that a thread holds in a transform.
    pub ntt_words: usize,
    /// Stages of a transform's strided function; the others are done by the contiguous one.
    pub ntt_split: usize,
    /// Stages of a transform that are done between exchanges, at most.
    pub ntt_radix: usize,
    /// Transforms of up to this log2 N are one function.
    pub ntt_single: usize,
    /// Threads of a block of a transform.
    pub ntt_threads: usize,
    /// Threads of a block elsewhere.
    pub threads: usize,
    /// Words that a thread does in word-by-word code, in groups of four.
    pub words: usize,
    /// Primes whose limbs a block converts to.
    pub bconv_group: usize,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            ntt_words: 0,
            ntt_split: 0,
            ntt_radix: 5,
            ntt_single: 11,
            ntt_threads: 128,
            threads: 128,
            words: 4,
            bconv_group: 12,
        }
    }
}

/// The options of passes that take a schedule.
pub const OPTIONS: &[PassOption] = &[
    PassOption::text("entry", "main", "the function to export"),
    PassOption::int("ntt-words", 0, "log2 of the words that a thread holds in a transform; 0 chooses"),
    PassOption::int("ntt-split", 0, "stages of the strided function of a transform; 0 chooses"),
    PassOption::int("ntt-radix", 5, "stages between exchanges at most"),
    PassOption::int("ntt-single", 11, "transforms up to this log2 N are one function"),
    PassOption::int("ntt-threads", 128, "threads of a block of a transform"),
    PassOption::int("threads", 128, "threads of a block elsewhere"),
    PassOption::int("words", 4, "words a thread in word-by-word code"),
    PassOption::int("bconv-group", 12, "primes whose limbs a block converts to"),
];

/// What a number of a schedule can be.
pub struct Setting {
    /// Its name, that of a pass's option.
    pub name: &'static str,
    /// The least and the largest value.
    range: (usize, usize),
    /// Whether it is a power of two.
    power: bool,
    /// The values among which a search looks for the best.
    pub tried: &'static [usize],
}

const fn number(name: &'static str, range: (usize, usize), tried: &'static [usize]) -> Setting {
    Setting { name, range, power: false, tried }
}

const fn power(name: &'static str, range: (usize, usize), tried: &'static [usize]) -> Setting {
    Setting { name, range, power: true, tried }
}

/// All numbers of a schedule, those first that transforms, where most time is spent, depend on.
pub const SETTINGS: [Setting; 8] = [
    number("ntt-words", (0, 6), &[4, 5]),
    number("ntt-split", (0, 12), &[6, 7, 8, 9]),
    power("ntt-threads", (32, 1024), &[64, 128, 256]),
    number("ntt-radix", (1, 6), &[3, 4, 5]),
    number("ntt-single", (1, 13), &[]),
    number("bconv-group", (1, 64), &[4, 6, 8, 12, 16, 24]),
    power("threads", (32, 1024), &[64, 128, 256]),
    power("words", (4, 64), &[4, 8, 16]),
];

impl Schedule {
    /// From the options of a pass.
    pub fn from_options(options: &OptionValues) -> Result<Self, PassError> {
        let mut schedule = Self::default();
        for setting in &SETTINGS {
            // What is negative is more than any number may be.
            let value = usize::try_from(options.int(setting.name)).unwrap_or(usize::MAX);
            *schedule.setting(setting.name) = value;
        }
        schedule.check().map_err(PassError::new)?;
        Ok(schedule)
    }

    /// From a list such as `ntt-words=5,threads=256`; what is not in it is as by default.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let mut schedule = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("{part} is not NAME=NUMBER"))?;
            if !SETTINGS.iter().any(|setting| setting.name == name) {
                let names = SETTINGS.each_ref().map(|setting| setting.name).join(", ");
                return Err(format!("there is no setting {name}, only {names}"));
            }
            *schedule.setting(name) = value.parse().map_err(|_| format!("{value} is no number"))?;
        }
        schedule.check().map(|()| schedule)
    }

    /// The number of this name, one of [`SETTINGS`].
    pub fn setting(&mut self, name: &str) -> &mut usize {
        match name {
            "ntt-words" => &mut self.ntt_words,
            "ntt-split" => &mut self.ntt_split,
            "ntt-threads" => &mut self.ntt_threads,
            "ntt-radix" => &mut self.ntt_radix,
            "ntt-single" => &mut self.ntt_single,
            "bconv-group" => &mut self.bconv_group,
            "threads" => &mut self.threads,
            "words" => &mut self.words,
            other => unreachable!("{other} is no setting"),
        }
    }

    /// Whether all numbers are in their ranges.
    pub fn check(&self) -> Result<(), String> {
        let mut copy = self.clone();
        for Setting { name, range: (from, to), power, .. } in &SETTINGS {
            let value = *copy.setting(name);
            if !(*from..=*to).contains(&value) {
                return Err(format!("{name} must be from {from} to {to}"));
            }
            if *power && !value.is_power_of_two() {
                return Err(format!("{name} must be a power of two"));
            }
        }
        Ok(())
    }

    /// The numbers that are not as by default, as [`from_text`](Self::from_text) reads them.
    pub fn to_text(&self) -> String {
        let (mut own, mut usual) = (self.clone(), Self::default());
        let name = |setting: &Setting| setting.name;
        let differs = |name: &&'static str| *own.setting(name) != *usual.setting(name);
        let names: Vec<&str> = SETTINGS.iter().map(name).filter(differs).collect();
        let part = |name: &str| format!("{name}={}", self.clone().setting(name));
        names.into_iter().map(part).collect::<Vec<_>>().join(",")
    }

    /// The phases of the forward transform of 2^log_n words, in order. The inverse transform does them backwards.
    pub fn phases(&self, log_n: usize) -> Vec<Phase> {
        let mut best: Option<(f64, Vec<Phase>)> = None;
        let words = if self.ntt_words > 0 { self.ntt_words..=self.ntt_words } else { 4..=5 };
        for words in words {
            let words = words.min(log_n);
            let splits = match self.ntt_split {
                _ if log_n <= self.ntt_single => 0..=0,
                0 => 4..=log_n - 4,
                split => split..=split,
            };
            for split in splits {
                let phases = if split == 0 || split >= log_n {
                    self.whole(log_n, words).map(|phase| vec![phase])
                } else {
                    let strided = self.strided(log_n, split, words);
                    strided.zip(self.contiguous(log_n, split, words)).map(|(a, b)| vec![a, b])
                };
                let Some(phases) = phases else { continue };
                let cost = phases.iter().map(Phase::cost).sum();
                if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    best = Some((cost, phases));
                }
            }
        }
        best.map(|(_, phases)| phases).unwrap_or_default()
    }

    /// The only phase of a small transform.
    fn whole(&self, log_n: usize, words: usize) -> Option<Phase> {
        // A block holds the whole limb; its threads take more words each where there would be too many of them.
        let words = words.max(log_n.saturating_sub(10));
        self.best(Phase {
            log_n,
            first: 0,
            stages: log_n,
            columns: 0,
            bits: log_n,
            words,
            layouts: Vec::new(),
        })
    }

    fn strided(&self, log_n: usize, split: usize, words: usize) -> Option<Phase> {
        let bits = (words + self.ntt_threads.ilog2() as usize).min(MOST_BITS);
        // At least four columns: sixteen bytes in a row.
        let columns = bits.saturating_sub(split).clamp(2, (log_n - split).max(2));
        let bits = columns + split;
        (bits <= MOST_BITS && columns <= log_n - split).then_some(())?;
        self.best(Phase { log_n, first: 0, stages: split, columns, bits, words, layouts: Vec::new() })
    }

    fn contiguous(&self, log_n: usize, split: usize, words: usize) -> Option<Phase> {
        let stages = log_n - split;
        let bits = (words + self.ntt_threads.ilog2() as usize).clamp(stages, log_n);
        (bits <= MOST_BITS).then_some(())?;
        self.best(Phase { log_n, first: split, stages, columns: 0, bits, words, layouts: Vec::new() })
    }

    /// The phase with the layouts that cost least.
    fn best(&self, phase: Phase) -> Option<Phase> {
        (phase.bits >= phase.words && phase.bits - phase.words <= 10).then_some(())?;
        let mut all = Vec::new();
        let most = self.ntt_radix.min(phase.words);
        // Each group costs an exchange: one more than needed at most.
        let groups = phase.stages.div_ceil(most) + 1;
        compositions(phase.stages, (most, groups), &mut Vec::new(), &mut all);
        let candidates = all.into_iter().map(|parts| phase.with_groups(&parts));
        candidates.min_by(|a, b| a.cost().total_cmp(&b.cost()))
    }
}

/// Bits of the words of a block at most: shared memory without asking for more holds 2^13 words and their padding.
const MOST_BITS: usize = 13;

/// All ways to write a number as a sum of so many parts at most, each up to a largest.
fn compositions(
    left: usize,
    (most, groups): (usize, usize),
    so_far: &mut Vec<usize>,
    all: &mut Vec<Vec<usize>>,
) {
    if left == 0 {
        all.push(so_far.clone());
    }
    if left > most * groups {
        return;
    }
    for part in 1..=left.min(most) {
        so_far.push(part);
        compositions(left - part, (most, groups - 1), so_far, all);
        so_far.pop();
    }
}

/// The words that each thread holds, and the stages that it does on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The bits of a word's number that number registers, lowest first.
    pub registers: Vec<usize>,
    /// The first stage that is done in this layout, and the one past the last.
    pub stages: (usize, usize),
}

impl Layout {
    /// Neighbouring words that a thread holds and can move at once: 1, 2 or 4.
    pub fn vector(&self) -> usize {
        let low = self.registers.iter().enumerate().take_while(|(i, bit)| i == *bit).count();
        1 << low.min(2)
    }

    /// Words in a row that neighbouring threads access at the same time.
    fn run(&self, bits: usize) -> usize {
        let vector = self.vector().ilog2() as usize;
        let lanes = (vector..bits).take_while(|bit| !self.registers.contains(bit)).count();
        1 << (vector + lanes)
    }
}

/// One device function of a transform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Log2 of the ring degree.
    pub log_n: usize,
    /// The number of the first stage.
    pub first: usize,
    /// How many stages.
    pub stages: usize,
    /// Log2 of the neighbouring words that a strided phase takes from each row; of a contiguous phase 0.
    pub columns: usize,
    /// Log2 of the words of a block.
    pub bits: usize,
    /// Log2 of the words of a thread.
    pub words: usize,
    /// The layouts in the order of the forward transform.
    pub layouts: Vec<Layout>,
}

impl Phase {
    /// Whether the words of a block are rows of columns.
    pub fn is_strided(&self) -> bool {
        self.first == 0 && self.stages < self.log_n
    }

    /// Threads of a block.
    pub fn threads(&self) -> usize {
        1 << (self.bits - self.words)
    }

    /// Blocks of a limb.
    pub fn blocks(&self) -> usize {
        1 << (self.log_n - self.bits)
    }

    /// The bit of a block's word number that tells the two words of a butterfly apart.
    pub fn butterfly_bit(&self, stage: usize) -> usize {
        self.columns + self.stages - 1 - (stage - self.first)
    }

    /// The bit of a limb's word number that a bit of a block's is.
    pub fn limb_bit(&self, bit: usize) -> usize {
        if self.is_strided() && bit >= self.columns {
            bit - self.columns + self.log_n - self.stages
        } else {
            bit
        }
    }

    /// Log2 of the distance of the blocks' first words.
    pub fn block_bit(&self) -> usize {
        if self.is_strided() { self.columns } else { self.bits }
    }

    /// Words of shared memory.
    pub fn shared_words(&self) -> usize {
        if self.layouts.len() < 2 { 0 } else { padded((1 << self.bits) - 1) + 1 }
    }

    fn with_groups(&self, groups: &[usize]) -> Phase {
        let mut layouts = Vec::new();
        let mut first = self.first;
        for &size in groups {
            let low = self.butterfly_bit(first + size - 1);
            let registers = self.fill((low..low + size).collect());
            layouts.push(Layout { registers, stages: (first, first + size) });
            first += size;
        }
        // Limbs are written, and by the inverse transform read, in long runs.
        let wanted = 16.min(1 << self.bits);
        if layouts.last().is_none_or(|last| last.run(self.bits) < wanted) {
            layouts.push(Layout { registers: self.fill(Vec::new()), stages: (first, first) });
        }
        if layouts.first().is_none_or(|layout| layout.run(self.bits) < wanted.min(8)) {
            let start = self.first;
            layouts.insert(0, Layout { registers: self.fill(Vec::new()), stages: (start, start) });
        }
        Phase { layouts, ..self.clone() }
    }

    /// Adds bits until there are as many as a thread has words: the lowest two first, then from the top.
    fn fill(&self, mut registers: Vec<usize>) -> Vec<usize> {
        for bit in (0..2.min(self.bits)).chain((0..self.bits).rev()) {
            if registers.len() < self.words && !registers.contains(&bit) {
                registers.push(bit);
            }
        }
        registers.sort_unstable();
        registers
    }

    /// Instructions a word, roughly, weighted by what else the function makes wait.
    fn cost(&self) -> f64 {
        let words = (1 << self.words) as f64;
        let mut cost = 3.5 * self.stages as f64;
        let (first, last) = (self.layouts.first(), self.layouts.last());
        // Reading and writing the limb, with addresses.
        for layout in [first, last].into_iter().flatten() {
            cost += 1.5 / layout.vector() as f64;
            let run = layout.run(self.bits).min(32);
            cost += 8.0 / run as f64;
        }
        for pair in self.layouts.windows(2) {
            for layout in pair {
                cost += 1.0 / layout.vector() as f64 + 0.25;
            }
            // Address arithmetic and the barrier.
            cost += 20.0 / words;
        }
        for layout in &self.layouts {
            for stage in layout.stages.0..layout.stages.1 {
                let twiddles = 1 << (stage - layout.stages.0);
                let copies = 1
                    << layout
                        .registers
                        .iter()
                        .filter(|&&bit| bit > self.butterfly_bit(layout.stages.0))
                        .count();
                let loads = f64::from(twiddles) / f64::from(twiddles.min(4)) * f64::from(copies);
                cost += (loads * 1.3 + 1.5) / words;
            }
        }
        // What is the same for all words of a thread.
        cost += 40.0 / words;
        // Too few words in flight hide less latency, too many take the registers of other threads.
        cost * if self.words > 5 { 1.5 } else { 1.0 }
    }
}

/// The place of a word in shared memory: four words are left free after each thirty-two, so that threads with a power
/// of two between them meet different banks.
pub fn padded(word: usize) -> usize {
    word + (word >> 5) * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every stage is done once, in order, on words that one thread holds.
    fn check(schedule: &Schedule, log_n: usize) {
        let phases = schedule.phases(log_n);
        assert!(!phases.is_empty(), "2^{log_n} has no phases by {schedule:?}");
        let mut next = 0;
        for phase in &phases {
            assert_eq!(phase.first, next);
            for layout in &phase.layouts {
                assert_eq!(layout.stages.0, next);
                assert_eq!(layout.registers.len(), phase.words);
                for stage in layout.stages.0..layout.stages.1 {
                    assert!(layout.registers.contains(&phase.butterfly_bit(stage)));
                }
                next = layout.stages.1;
            }
            assert_eq!(next, phase.first + phase.stages);
            assert!(phase.threads() <= 1024 && phase.shared_words() * 4 <= 48 << 10);
            // The bits of a block's words and those of its number are all bits of a limb's.
            let mut bits: Vec<usize> = (0..phase.bits).map(|bit| phase.limb_bit(bit)).collect();
            bits.extend((0..log_n - phase.bits).map(|bit| phase.block_bit() + bit));
            bits.sort_unstable();
            assert_eq!(bits, (0..log_n).collect::<Vec<_>>());
        }
        assert_eq!(next, log_n);
    }

    #[test]
    fn phases_do_every_stage() {
        for log_n in 2..=17 {
            check(&Schedule::default(), log_n);
        }
        for split in 6..=9 {
            check(&Schedule { ntt_split: split, ntt_words: 5, ..Schedule::default() }, 16);
            check(&Schedule { ntt_split: split, ntt_radix: 3, ntt_threads: 256, ..Schedule::default() }, 16);
        }
    }

    #[test]
    fn settings_are_read_and_checked() {
        let schedule = Schedule::from_text("ntt-words=5,threads=256").unwrap();
        assert_eq!(schedule, Schedule { ntt_words: 5, threads: 256, ..Schedule::default() });
        assert_eq!(schedule.to_text(), "ntt-words=5,threads=256");
        assert_eq!(Schedule::from_text("").unwrap(), Schedule::default());
        let refused = |text: &str| Schedule::from_text(text).unwrap_err();
        assert!(refused("threads").contains("NAME=NUMBER"));
        assert!(refused("blocks=3").contains("no setting blocks"));
        assert!(refused("threads=-1").contains("no number"));
        assert!(refused("threads=100").contains("power of two"));
        assert!(refused("words=128").contains("from 4 to 64"));
    }

    #[test]
    fn large_transforms_are_two_functions() {
        let schedule = Schedule::default();
        for log_n in 12..=17 {
            let phases = schedule.phases(log_n);
            assert_eq!(phases.len(), 2);
            // Limbs are read and written in runs of at least a sector of the second-level cache.
            let ends = [phases[0].layouts.first(), phases[1].layouts.last()];
            for (layout, phase) in ends.into_iter().flatten().zip(&phases) {
                assert!(layout.run(phase.bits) >= 8);
            }
        }
        assert_eq!(schedule.phases(11).len(), 1);
    }
}
