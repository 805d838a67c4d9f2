//! Parameters of MLIR types and attributes whose text is parsed and printed by Rust.
//!
//! Each such parameter implements [`TextParam`]. In memory MLIR keeps a parameter as a uniqued array of 64-bit
//! words, so equality of parameters is equality of words: `to_words` must therefore be canonical (equal values
//! give equal words). The text consists of MLIR tokens only, so that the MLIR parser can find where it ends.
//!
//! Invariants tested for every implementor: `parse(x.to_string()) == x` and `from_words(x.to_words()) == x`;
//! `from_words` and `parse` refuse what `to_words` and `Display` cannot produce, and never panic.

use std::fmt::Display;

/// A value with a canonical one-line text and a canonical encoding as 64-bit words.
pub trait TextParam: Sized + Clone + PartialEq + Display {
    /// The name under which dialect definitions refer to this parameter, e.g. `"scale"`.
    const NAME: &'static str;

    /// Parses the whole of `text`; the error is one line fit for a diagnostic.
    fn parse(text: &str) -> Result<Self, String>;

    /// The canonical words: equal values give equal words.
    fn to_words(&self) -> Vec<i64>;

    /// The inverse of [`TextParam::to_words`].
    fn from_words(words: &[i64]) -> Result<Self, String>;
}

/// Appends a string to `words`: its length in bytes, then eight bytes a word.
pub fn push_str(words: &mut Vec<i64>, text: &str) {
    words.push(text.len() as i64);
    for chunk in text.as_bytes().chunks(8) {
        let mut bytes = [0u8; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        words.push(i64::from_le_bytes(bytes));
    }
}

/// Reads back what `to_words` wrote, checking lengths and ranges.
pub struct WordReader<'a> {
    words: &'a [i64],
    what: &'static str,
}

impl<'a> WordReader<'a> {
    /// A reader over `words`; `what` names the parameter in errors.
    pub fn new(what: &'static str, words: &'a [i64]) -> Self {
        Self { words, what }
    }

    /// The next word.
    pub fn word(&mut self) -> Result<i64, String> {
        let (first, rest) =
            self.words.split_first().ok_or_else(|| format!("{}: words end too early", self.what))?;
        self.words = rest;
        Ok(*first)
    }

    /// The next word as an unsigned 32-bit number.
    pub fn u32(&mut self) -> Result<u32, String> {
        let word = self.word()?;
        u32::try_from(word).map_err(|_| format!("{}: word {word} is out of range", self.what))
    }

    /// The next word as a count of things that take at least one word each.
    pub fn count(&mut self) -> Result<usize, String> {
        let word = self.word()?;
        match usize::try_from(word) {
            Ok(count) if count <= self.words.len() => Ok(count),
            _ => Err(format!("{}: count {word} is out of range", self.what)),
        }
    }

    /// The next string, as written by [`push_str`].
    pub fn str(&mut self) -> Result<String, String> {
        let length = self.word()?;
        let length = usize::try_from(length)
            .ok()
            .filter(|length| length.div_ceil(8) <= self.words.len())
            .ok_or_else(|| format!("{}: string length {length} is out of range", self.what))?;
        let (text, rest) = self.words.split_at(length.div_ceil(8));
        self.words = rest;
        let mut bytes: Vec<u8> = text.iter().flat_map(|word| word.to_le_bytes()).collect();
        if bytes[length..].iter().any(|&byte| byte != 0) {
            return Err(format!("{}: string padding is not zero", self.what));
        }
        bytes.truncate(length);
        String::from_utf8(bytes).map_err(|_| format!("{}: string is not UTF-8", self.what))
    }

    /// Fails unless every word has been read.
    pub fn finish(self) -> Result<(), String> {
        match self.words.len() {
            0 => Ok(()),
            extra => Err(format!("{}: {extra} words too many", self.what)),
        }
    }
}

/// A scanner over the tokens that parameter texts are made of: identifiers, integers and punctuation.
/// White space between tokens is ignored.
pub struct Scanner<'a> {
    text: &'a str,
    rest: &'a str,
    what: &'static str,
}

impl<'a> Scanner<'a> {
    /// A scanner over `text`; `what` names the parameter in errors.
    pub fn new(what: &'static str, text: &'a str) -> Self {
        Self { text, rest: text.trim_start(), what }
    }

    /// An error that says what was expected and what is there.
    pub fn expected<T>(&self, expected: &str) -> Result<T, String> {
        let found: String = self.rest.chars().take(12).collect();
        let found = if found.is_empty() { "the end".to_string() } else { format!("`{found}`") };
        Err(format!("{} `{}`: expected {expected}, found {found}", self.what, shorten(self.text)))
    }

    /// Whether everything has been read.
    pub fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Fails unless everything has been read.
    pub fn finish(self) -> Result<(), String> {
        if self.at_end() { Ok(()) } else { self.expected("nothing more") }
    }

    /// Takes `token` if it is next.
    pub fn accept(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    /// Takes `token`, which must be next.
    pub fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.accept(token) { Ok(()) } else { self.expected(&format!("`{token}`")) }
    }

    /// Takes an identifier (`[A-Za-z_][A-Za-z0-9_]*`) if one is next.
    pub fn accept_identifier(&mut self) -> Option<&'a str> {
        if !self.rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return None;
        }
        Some(self.take_while(|c| c.is_ascii_alphanumeric() || c == '_'))
    }

    /// Takes an identifier.
    pub fn identifier(&mut self) -> Result<&'a str, String> {
        match self.accept_identifier() {
            Some(identifier) => Ok(identifier),
            None => self.expected("a name"),
        }
    }

    /// Takes a decimal integer, with a minus sign if it is negative.
    pub fn integer(&mut self) -> Result<i64, String> {
        let start = self.rest;
        let negative = self.accept("-");
        if !self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            self.rest = start;
            return self.expected("an integer");
        }
        let digits = self.take_while(|c| c.is_ascii_digit());
        let signed = if negative { format!("-{digits}") } else { digits.to_string() };
        signed.parse().or_else(|_| {
            self.rest = start;
            self.expected("a 64-bit integer")
        })
    }

    /// Takes an unsigned 32-bit integer.
    pub fn u32(&mut self) -> Result<u32, String> {
        let start = self.rest;
        let value = self.integer()?;
        u32::try_from(value).or_else(|_| {
            self.rest = start;
            self.expected("an unsigned 32-bit integer")
        })
    }

    /// Takes a list in square brackets, its items separated by commas.
    pub fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        self.expect("[")?;
        let mut items = Vec::new();
        if self.accept("]") {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.accept("]") {
                return Ok(items);
            }
            self.expect(",")?;
        }
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c: char| !keep(c)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        token
    }
}

fn shorten(text: &str) -> String {
    const LIMIT: usize = 60;
    if text.chars().count() <= LIMIT {
        return text.to_string();
    }
    let head: String = text.chars().take(LIMIT).collect();
    format!("{head}...")
}

#[cfg(test)]
pub(crate) mod testing {
    use super::TextParam;

    /// Text and words of `value` both give it back.
    pub fn round_trip<T: TextParam + std::fmt::Debug>(value: &T) {
        let text = value.to_string();
        assert_eq!(T::parse(&text).as_ref(), Ok(value), "text {text}");
        let words = value.to_words();
        assert_eq!(T::from_words(&words).as_ref(), Ok(value), "words {words:?}");
    }

    /// Shortened and altered words are refused or give a value with exactly those words.
    pub fn words_are_canonical<T: TextParam + std::fmt::Debug>(value: &T) {
        let words = value.to_words();
        for end in 0..words.len() {
            assert!(T::from_words(&words[..end]).is_err(), "shortened {words:?} to {end}");
        }
        for index in 0..words.len() {
            for delta in [1, -1, 2, 1 << 40, i64::MAX] {
                let mut altered = words.clone();
                altered[index] = altered[index].wrapping_add(delta);
                if let Ok(other) = T::from_words(&altered) {
                    assert_eq!(other.to_words(), altered);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_survive_words() {
        for text in ["", "a", "12345678", "a longer name", "grüße"] {
            let mut words = vec![];
            push_str(&mut words, text);
            let mut reader = WordReader::new("test", &words);
            assert_eq!(reader.str().unwrap(), text);
            reader.finish().unwrap();
        }
    }

    #[test]
    fn scanner_reads_tokens_and_reports_what_is_wrong() {
        let mut scanner = Scanner::new("test", " name = [ 1, -2 ]");
        assert_eq!(scanner.identifier().unwrap(), "name");
        scanner.expect("=").unwrap();
        assert_eq!(scanner.list(|s| s.integer()).unwrap(), [1, -2]);
        scanner.finish().unwrap();
        let mut scanner = Scanner::new("test", "99999999999999999999");
        assert_eq!(
            scanner.integer().unwrap_err(),
            "test `99999999999999999999`: expected a 64-bit integer, found `999999999999`"
        );
    }
}
