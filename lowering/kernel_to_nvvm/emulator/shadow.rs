//! Who accessed which word of a memory, to find races.
//!
//! Two accesses of a word race when two threads make them, at least one writes, and no barrier orders them: in one block
//! if they fall between the same two barriers, in different blocks of a launch always. For each word the last write
//! and two reads by different threads are kept, which is enough to find a partner for any access that races with
//! some other since the last barrier.

/// An access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The block, counted over a launch.
    pub block: u32,
    /// The thread in its block.
    pub thread: u32,
    /// How many barriers the block has passed.
    pub epoch: u32,
    /// The number of the operation.
    pub site: u32,
}

impl Mark {
    /// Whether nothing orders two accesses.
    fn unordered(&self, other: &Mark) -> bool {
        if self.block == other.block {
            self.thread != other.thread && self.epoch == other.epoch
        } else {
            true
        }
    }

    /// Whether a read can race with a write that a later read does not race with.
    fn matters_beside(&self, later: &Mark) -> bool {
        self.block != later.block || (self.thread != later.thread && self.epoch == later.epoch)
    }
}

/// What is known of a word.
#[derive(Clone, Copy, Default)]
struct Cell {
    /// The era that the rest is of.
    era: u64,
    writer: Option<Mark>,
    readers: [Option<Mark>; 2],
}

/// The record of a memory. Its words are accessed in eras, which share nothing: launches for global memory, blocks for
/// shared memory.
#[derive(Default)]
pub struct Shadow {
    cells: Vec<Cell>,
}

impl Shadow {
    fn cell(&mut self, word: usize, era: u64) -> &mut Cell {
        if self.cells.len() <= word {
            let grown = (word + 1).next_multiple_of(1024).max(2 * self.cells.len());
            self.cells.resize(grown, Cell::default());
        }
        let cell = &mut self.cells[word];
        if cell.era != era {
            *cell = Cell { era, ..Cell::default() };
        }
        cell
    }

    /// Whether the word was written in this era.
    pub fn is_written(&mut self, word: usize, era: u64) -> bool {
        self.cell(word, era).writer.is_some()
    }

    /// Records an access; returns one that it races with.
    pub fn record(&mut self, word: usize, era: u64, mark: Mark, write: bool) -> Option<Mark> {
        let cell = self.cell(word, era);
        let writer = cell.writer.filter(|writer| writer.unordered(&mark));
        if write {
            let reader = cell.readers.iter().flatten().find(|reader| reader.unordered(&mark)).copied();
            cell.writer = Some(mark);
            cell.readers = [None; 2];
            return writer.or(reader);
        }
        let free = |slot: &&mut Option<Mark>| slot.is_none_or(|reader| !reader.matters_beside(&mark));
        if let Some(slot) = cell.readers.iter_mut().find(free) {
            *slot = Some(mark);
        }
        writer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(thread: u32, epoch: u32) -> Mark {
        Mark { block: 0, thread, epoch, site: thread }
    }

    #[test]
    fn what_no_barrier_orders_races() {
        let mut shadow = Shadow::default();
        assert_eq!(shadow.record(3, 1, mark(0, 0), true), None);
        assert_eq!(shadow.record(3, 1, mark(0, 0), false), None);
        assert_eq!(shadow.record(3, 1, mark(1, 1), false), None);
        assert_eq!(shadow.record(3, 1, mark(2, 1), false), None);
        // The first reader writes: the second is in its way.
        assert_eq!(shadow.record(3, 1, mark(1, 1), true), Some(mark(2, 1)));
        assert_eq!(shadow.record(3, 1, mark(2, 1), false), Some(mark(1, 1)));
        assert_eq!(shadow.record(3, 2, mark(2, 1), false), None, "another era");
    }

    #[test]
    fn blocks_of_a_launch_are_never_ordered() {
        let mut shadow = Shadow::default();
        assert_eq!(shadow.record(0, 1, mark(0, 0), true), None);
        let other = Mark { block: 1, ..mark(0, 5) };
        assert_eq!(shadow.record(0, 1, other, false), Some(mark(0, 0)));
    }
}
