//! Parameter sets as text and as words.
//!
//! Text (the body of the MLIR attribute): `log_n = 13, q = [..], p = [..], levels = [q[0:2], q[0:3]], digit = 1,
//! scale = 1073741824, secret = ternary`, then `, bootstrap = (level = 3, scale = 288230376151711744, weight = 32,
//! special = 2)` if the set has room for bootstrapping, and `, insecure` at the end if toy sizes are permitted.

use super::{Bootstrap, Params, Secret};
use crate::format::{
    basis::Basis,
    text::{Scanner, TextParam, WordReader},
};
use std::fmt;

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log_n, q, p, levels, digit, scale0, secret, bootstrap, test_only_insecure } = self;
        let join = |primes: &[u32]| primes.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let levels = levels.iter().map(Basis::to_string).collect::<Vec<_>>().join(", ");
        write!(f, "log_n = {log_n}, q = [{}], p = [{}], levels = [{levels}], ", join(q), join(p))?;
        write!(f, "digit = {digit}, scale = {scale0}, secret = ")?;
        match secret {
            Secret::Ternary => f.write_str("ternary")?,
            Secret::Sparse(weight) => write!(f, "sparse({weight})")?,
        }
        if let Some(Bootstrap { level, scale, weight, special }) = bootstrap {
            write!(
                f,
                ", bootstrap = (level = {level}, scale = {scale}, weight = {weight}, special = {special})"
            )?;
        }
        if *test_only_insecure {
            f.write_str(", insecure")?;
        }
        Ok(())
    }
}

impl TextParam for Params {
    const NAME: &'static str = "params";

    fn parse(text: &str) -> Result<Self, String> {
        let mut scanner = Scanner::new(Self::NAME, text);
        let s = &mut scanner;
        let log_n = field(s, "log_n", Scanner::u32)?;
        let q = next_field(s, "q", |s| s.list(Scanner::u32))?;
        let p = next_field(s, "p", |s| s.list(Scanner::u32))?;
        let levels = next_field(s, "levels", |s| s.list(Basis::scan))?;
        let digit = next_field(s, "digit", Scanner::u32)?;
        let scale0 = next_field(s, "scale", Scanner::integer)? as u64;
        let secret = next_field(s, "secret", |s| match s.identifier()? {
            "ternary" => Ok(Secret::Ternary),
            "sparse" => {
                s.expect("(")?;
                let weight = s.u32()?;
                s.expect(")")?;
                Ok(Secret::Sparse(weight))
            }
            other => Err(format!("params: expected `ternary` or `sparse`, found `{other}`")),
        })?;
        let mut more = s.accept(",");
        let mut bootstrap = None;
        if more && s.accept("bootstrap") {
            s.expect("=")?;
            s.expect("(")?;
            let level = field(s, "level", Scanner::u32)?;
            let scale = next_field(s, "scale", Scanner::integer)? as u64;
            let weight = next_field(s, "weight", Scanner::u32)?;
            let special = next_field(s, "special", Scanner::u32)?;
            s.expect(")")?;
            bootstrap = Some(Bootstrap { level, scale, weight, special });
            more = s.accept(",");
        }
        if more {
            s.expect("insecure")?;
        }
        scanner.finish()?;
        let params = Self { log_n, q, p, levels, digit, scale0, secret, bootstrap, test_only_insecure: more };
        params.check_structure().map_err(|error| error.to_string())?;
        Ok(params)
    }

    fn to_words(&self) -> Vec<i64> {
        let mut words = vec![i64::from(self.log_n)];
        for primes in [&self.q, &self.p] {
            words.push(primes.len() as i64);
            words.extend(primes.iter().map(|&q| i64::from(q)));
        }
        words.push(self.levels.len() as i64);
        self.levels.iter().for_each(|basis| basis.push_words(&mut words));
        words.extend([i64::from(self.digit), self.scale0 as i64]);
        match self.secret {
            Secret::Ternary => words.push(0),
            Secret::Sparse(weight) => words.push(i64::from(weight)),
        }
        match self.bootstrap {
            Some(Bootstrap { level, scale, weight, special }) => {
                words.extend([1, i64::from(level), scale as i64, i64::from(weight), i64::from(special)]);
            }
            None => words.push(0),
        }
        words.push(i64::from(self.test_only_insecure));
        words
    }

    fn from_words(words: &[i64]) -> Result<Self, String> {
        let mut reader = WordReader::new(Self::NAME, words);
        let log_n = reader.u32()?;
        let mut primes = || -> Result<Vec<u32>, String> {
            let count = reader.count()?;
            (0..count).map(|_| reader.u32()).collect()
        };
        let (q, p) = (primes()?, primes()?);
        let count = reader.count()?;
        let levels = (0..count).map(|_| Basis::read_words(&mut reader)).collect::<Result<_, _>>()?;
        let digit = reader.u32()?;
        let scale0 = reader.word()? as u64;
        let secret = match reader.u32()? {
            0 => Secret::Ternary,
            weight => Secret::Sparse(weight),
        };
        let bootstrap = if flag(&mut reader)? {
            let (level, scale) = (reader.u32()?, reader.word()? as u64);
            Some(Bootstrap { level, scale, weight: reader.u32()?, special: reader.u32()? })
        } else {
            None
        };
        let test_only_insecure = flag(&mut reader)?;
        reader.finish()?;
        let params = Self { log_n, q, p, levels, digit, scale0, secret, bootstrap, test_only_insecure };
        params.check_structure().map_err(|error| error.to_string())?;
        Ok(params)
    }
}

fn flag(reader: &mut WordReader<'_>) -> Result<bool, String> {
    match reader.word()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(format!("params: flag {other} is neither 0 nor 1")),
    }
}

fn field<'a, T>(
    scanner: &mut Scanner<'a>,
    name: &str,
    value: impl FnOnce(&mut Scanner<'a>) -> Result<T, String>,
) -> Result<T, String> {
    scanner.expect(name)?;
    scanner.expect("=")?;
    value(scanner)
}

fn next_field<'a, T>(
    scanner: &mut Scanner<'a>,
    name: &str,
    value: impl FnOnce(&mut Scanner<'a>) -> Result<T, String>,
) -> Result<T, String> {
    scanner.expect(",")?;
    field(scanner, name, value)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::format::text::testing::{round_trip, words_are_canonical};

    #[test]
    fn text_and_words_give_it_back() {
        for params in [testing::tiny(), Params::toy(13, 4, 2), Params::toy(12, 0, 1)] {
            round_trip(&params);
            words_are_canonical(&params);
            let sparse = Params { secret: Secret::Sparse(3), test_only_insecure: false, ..params.clone() };
            round_trip(&sparse);
            let bootstrap = Some(Bootstrap { level: 0, scale: 1 << 40, weight: 4, special: 1 });
            let bootstrap = Params { bootstrap, ..params };
            round_trip(&bootstrap);
            words_are_canonical(&bootstrap);
        }
        let params = testing::tiny();
        assert_eq!(
            params.to_string(),
            format!(
                "log_n = 4, q = [{}], p = [{}, {}], levels = [q[0:1], q[0:2], q[0:3], q[0:2]+q[3:5], \
                 q[0:2]+q[3:7]], digit = 2, scale = 524288, secret = ternary, insecure",
                params.q.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
                params.p[0],
                params.p[1]
            )
        );
    }
}
