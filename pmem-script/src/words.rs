//! Words of a command: a name, positional words, and `key=value` options.

use pmem_core::{AddrRange, Policy};
use pmem_import::parse_addr;

/// The words of one command.
#[derive(Clone, Debug)]
pub(super) struct Words<'l> {
    /// The command's name.
    pub(super) name: &'l str,
    plain: Vec<&'l str>,
    options: Vec<(&'l str, &'l str)>,
}

impl<'l> Words<'l> {
    pub(super) fn of(line: &'l str) -> Self {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or("");
        let (mut plain, mut options) = (Vec::new(), Vec::new());
        for word in words {
            match word.split_once('=') {
                Some(option) => options.push(option),
                None => plain.push(word),
            }
        }
        Self { name, plain, options }
    }

    /// How many positional words there are.
    pub(super) fn count(&self) -> usize {
        self.plain.len()
    }

    /// The positional word at `index`; `what` says what it should be.
    pub(super) fn word(&self, index: usize, what: &str) -> Result<&'l str, String> {
        self.plain.get(index).copied().ok_or_else(|| format!("{}: {what} is missing", self.name))
    }

    pub(super) fn addr(&self, index: usize, what: &str) -> Result<u64, String> {
        parse_addr(self.word(index, what)?)
    }

    /// The range of two positional words, half-open.
    pub(super) fn range(&self, index: usize) -> Result<AddrRange, String> {
        range_of(self.word(index, "START")?, self.word(index + 1, "END")?)
    }

    /// The value of an option.
    pub(super) fn option(&self, key: &str) -> Option<&'l str> {
        self.options.iter().find(|(k, _)| *k == key).map(|(_, value)| *value)
    }

    /// The values of an option that may be given more than once.
    pub(super) fn options(&self, key: &str) -> impl Iterator<Item = &'l str> {
        self.options.iter().filter(move |(k, _)| *k == key).map(|(_, value)| *value)
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, String> {
        self.option(key).map(|text| self.numeral(key, text)).transpose()
    }

    /// The positional word at `index`, as a number.
    pub(super) fn count_at(&self, index: usize, what: &str) -> Result<u64, String> {
        self.numeral(what, self.word(index, what)?)
    }

    fn numeral(&self, what: &str, text: &str) -> Result<u64, String> {
        parse_addr(text).map_err(|_| format!("{}: {what} {text:?} is no number", self.name))
    }

    /// Whether a bare word stands anywhere after the first `skip`.
    pub(super) fn flag(&self, flag: &str, skip: usize) -> bool {
        self.plain.iter().skip(skip).any(|word| *word == flag)
    }

    /// Refuses options that the command does not have.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.options.iter().find(|(key, _)| !known.contains(key)) {
            Some((key, _)) => {
                Err(format!("{}: no option {key:?}; there are {}", self.name, known.join(", ")))
            }
            None => Ok(()),
        }
    }

    /// Refuses more positional words than the command has.
    pub(super) fn at_most(&self, count: usize) -> Result<(), String> {
        match self.plain.get(count) {
            Some(word) => Err(format!("{}: {word:?} is one word too many", self.name)),
            None => Ok(()),
        }
    }
}

/// A half-open range; an end of `2^64` or 0 is the end of the address space.
pub(super) fn range_of(start: &str, end: &str) -> Result<AddrRange, String> {
    let start = parse_addr(start)?;
    let range = if end == "2^64" || end == "0" {
        AddrRange::inclusive(start, u64::MAX)
    } else {
        AddrRange::new(start, parse_addr(end)?)
    };
    range.map_err(|error| error.to_string())
}

/// `START-END`.
pub(super) fn dashed(text: &str) -> Result<AddrRange, String> {
    let (start, end) = text
        .split_once("..")
        .or_else(|| text.split_once('-'))
        .ok_or_else(|| format!("{text:?} is no range (START-END)"))?;
    range_of(start, end)
}

pub(super) fn policy(word: &str) -> Result<Policy, String> {
    match word {
        "first" => Ok(Policy::FirstFit),
        "last" => Ok(Policy::LastFit),
        "instant" => Ok(Policy::InstantFit),
        "good" => Ok(Policy::GoodFit),
        _ => Err(format!("no policy {word:?}: first, last, instant or good")),
    }
}
