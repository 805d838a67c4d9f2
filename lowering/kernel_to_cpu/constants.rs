//! Numbers that differ from tile to tile: one read-only array a kernel; and lists that shared functions are given.
//!
//! Row `r` of the array has one 32-bit word for each prime of the kernel. Equal rows are stored once, and a row that
//! counts 0, 1, 2 .. is the number of the prime itself.

use super::code::{Code, Type, Value};

/// The constants of one kernel under construction.
pub struct TileConstants {
    name: String,
    primes: usize,
    rows: Vec<Vec<u32>>,
    lists: Vec<Vec<u32>>,
}

impl TileConstants {
    /// For a kernel of this name with so many primes.
    pub fn new(kernel: &str, primes: usize) -> Self {
        Self { name: format!("{kernel}_constants"), primes, rows: Vec::new(), lists: Vec::new() }
    }

    /// The word of a row for the running tile, whose prime has this number.
    pub fn word(&mut self, code: &mut Code, prime: Value, row: &[u32]) -> Value {
        debug_assert_eq!(row.len(), self.primes);
        if row.iter().all(|&word| word == row[0]) {
            return code.constant(Type::Word, i64::from(row[0] as i32));
        }
        let index = self.rows.iter().position(|known| known == row).unwrap_or_else(|| {
            self.rows.push(row.to_vec());
            self.rows.len() - 1
        });
        let base = code.global(&self.name, Type::Pointer);
        let start = code.constant(Type::Long, (index * self.primes) as i64);
        let at = code.add(start, prime);
        let at = code.word_at(base, at);
        code.load(at, Type::Word)
    }

    /// The same as a 64-bit index.
    pub fn index(&mut self, code: &mut Code, prime: Value, row: &[usize]) -> Value {
        if row.iter().enumerate().all(|(i, &r)| i == r) {
            return prime;
        }
        let row: Vec<u32> = row.iter().map(|&r| r as u32).collect();
        let word = self.word(code, prime, &row);
        code.extend(word)
    }

    /// The address of a list of words.
    pub fn list(&mut self, code: &mut Code, words: Vec<u32>) -> Value {
        let number = self.lists.iter().position(|known| *known == words).unwrap_or_else(|| {
            self.lists.push(words);
            self.lists.len() - 1
        });
        code.global(&self.list_name(number), Type::Pointer)
    }

    fn list_name(&self, number: usize) -> String {
        format!("{}_{number}", self.name)
    }

    /// The definitions of the array and the lists, as far as anything is in them.
    pub fn definition(&self) -> String {
        let lists = self.lists.iter().enumerate().map(|(i, list)| array(&self.list_name(i), list));
        let lists: String = lists.collect();
        if self.rows.is_empty() { lists } else { array(&self.name, &self.rows.concat()) + &lists }
    }
}

/// A read-only array of words.
fn array(name: &str, words: &[u32]) -> String {
    let count = words.len();
    let words: Vec<String> = words.iter().map(|&word| (word as i32).to_string()).collect();
    format!(
        "llvm.mlir.global internal constant @{name}(dense<[{}]> : tensor<{count}xi32>) : !llvm.array<{count} x i32>\n",
        words.join(", ")
    )
}
