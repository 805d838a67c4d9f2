//! Arrays that arguments and tables take their values from: given by name, or drawn from a seed.
//!
//! What is drawn depends on the seed and the name alone, so that a program and what it was lowered to get the same arrays.

use super::RunError;
use ceria_dialects::poly::interpret::RandomMaterial;
use ceria_runtime::format::arrays::NumericArray;
use ndarray::{ArrayD, IxDyn};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Arrays by name.
pub type Arrays = BTreeMap<String, NumericArray>;

/// Where values come from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What is given.
    pub arrays: &'a Arrays,
    /// The seed of what is not given; without one that is an error.
    pub random: Option<u64>,
}

/// An argument as it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its own name, or `arg0`, `arg1`, ...
    pub name: &'a str,
    /// Its number.
    pub index: usize,
    /// The number of all arguments.
    pub count: usize,
}

impl Wanted<'_> {
    /// An error about the argument.
    pub fn error(&self, problem: impl Into<String>) -> RunError {
        RunError::Input { name: self.name.into(), problem: problem.into() }
    }
}

impl<'a> Inputs<'a> {
    /// A generator for one name.
    fn generator(&self, name: &str) -> Option<ChaCha8Rng> {
        let seed = self.random? ^ RandomMaterial::name_seed(name);
        Some(ChaCha8Rng::seed_from_u64(seed))
    }

    /// The array of an argument: by its name, by its number, or the only one of an `.npy` file for the only argument.
    pub fn given(&self, wanted: &Wanted<'_>) -> Option<&'a NumericArray> {
        let by_name = self.arrays.get(wanted.name);
        let by_number = || self.arrays.get(&format!("arg{}", wanted.index));
        let only = || self.arrays.get("").filter(|_| wanted.count == 1);
        by_name.or_else(by_number).or_else(only)
    }

    fn missing(&self, wanted: &Wanted<'_>) -> RunError {
        let names: Vec<String> = self.arrays.keys().map(|name| format!("'{name}'")).collect();
        let has = if names.is_empty() { "no arrays".into() } else { names.join(", ") };
        wanted.error(format!("is missing: the input has {has}; give it, or draw it with --random"))
    }

    /// Real numbers, finite; without a shape, any number of them. Drawn ones lie in `range`.
    pub fn reals(
        &self,
        wanted: &Wanted<'_>,
        shape: &[usize],
        [low, high]: [f64; 2],
    ) -> Result<ArrayD<f64>, RunError> {
        let Some(array) = self.given(wanted) else {
            let mut random = self.generator(wanted.name).ok_or_else(|| self.missing(wanted))?;
            return Ok(ArrayD::from_shape_simple_fn(IxDyn(shape), || random.random_range(low..=high)));
        };
        let values = array.to_f64();
        match values.iter().find(|value| !value.is_finite()) {
            Some(bad) => Err(wanted.error(format!("contains {bad}"))),
            None => Ok(values),
        }
    }

    /// Words in the order of the array, of this shape. Word i is below `bound(i)`; drawn ones are below `most`.
    pub fn words(
        &self,
        wanted: &Wanted<'_>,
        shape: &[usize],
        bound: impl Fn(usize) -> u32,
        most: u32,
    ) -> Result<Vec<u32>, RunError> {
        let count = shape.iter().product();
        let Some(array) = self.given(wanted) else {
            let mut random = self.generator(wanted.name).ok_or_else(|| self.missing(wanted))?;
            return Ok((0..count).map(|_| random.random_range(0..most.max(1))).collect());
        };
        if array.shape() != shape {
            return Err(wanted.error(format!("has shape {:?}, the function takes {shape:?}", array.shape())));
        }
        let integers =
            array.to_integers().ok_or_else(|| wanted.error("holds floats, the function takes words"))?;
        let word =
            |(place, &value): (usize, &i64)| match u32::try_from(value) {
                Ok(word) if word < bound(place) => Ok(word),
                _ => Err(wanted
                    .error(format!("has {value} at place {place}, where words are below {}", bound(place)))),
            };
        integers.iter().enumerate().map(word).collect()
    }

    /// One integer.
    pub fn integer(&self, wanted: &Wanted<'_>) -> Result<i64, RunError> {
        // What a number means is not known, so none is drawn.
        let array = self.given(wanted).ok_or_else(|| wanted.error("is missing: a number has to be given"))?;
        let integers =
            array.to_integers().ok_or_else(|| wanted.error("holds floats, the function takes an integer"))?;
        let mut all = integers.iter();
        match (all.next(), all.next()) {
            (Some(&value), None) => Ok(value),
            _ => Err(wanted.error(format!("has shape {:?}, the function takes one number", array.shape()))),
        }
    }
}
