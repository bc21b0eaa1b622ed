//! The words of a command: its name, positional words, and `key=value` options.

use pmem_core::{AddrRange, Policy};
use pmem_import::parse_addr;

/// The words of one command.
#[derive(Clone, Debug)]
pub(super) struct Words<'l> {
    /// The command's name; empty for an empty line.
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

    /// Returns the number of positional words.
    pub(super) fn count(&self) -> usize {
        self.plain.len()
    }

    /// Returns the positional word at `index`; `what` names it in the error if it is missing.
    pub(super) fn word(&self, index: usize, what: &str) -> Result<&'l str, String> {
        self.plain.get(index).copied().ok_or_else(|| format!("{}: missing {what}", self.name))
    }

    pub(super) fn addr(&self, index: usize, what: &str) -> Result<u64, String> {
        parse_addr(self.word(index, what)?)
    }

    /// Parses the half-open range of two positional words, start and end.
    pub(super) fn range(&self, index: usize) -> Result<AddrRange, String> {
        range_of(self.word(index, "START")?, self.word(index + 1, "END")?)
    }

    /// Returns the value of an option; `None` if it is not given.
    pub(super) fn option(&self, key: &str) -> Option<&'l str> {
        self.options.iter().find(|(k, _)| *k == key).map(|(_, value)| *value)
    }

    /// Iterates over the values of an option that may be given more than once.
    pub(super) fn options(&self, key: &str) -> impl Iterator<Item = &'l str> {
        self.options.iter().filter(move |(k, _)| *k == key).map(|(_, value)| *value)
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, String> {
        self.option(key).map(|text| self.numeral(key, text)).transpose()
    }

    /// Parses the positional word at `index` as a number.
    pub(super) fn count_at(&self, index: usize, what: &str) -> Result<u64, String> {
        self.numeral(what, self.word(index, what)?)
    }

    fn numeral(&self, what: &str, text: &str) -> Result<u64, String> {
        parse_addr(text).map_err(|_| format!("{}: {what} {text:?} is not a number", self.name))
    }

    /// Returns `true` if a bare word occurs anywhere after the first `skip` positional words.
    pub(super) fn flag(&self, flag: &str, skip: usize) -> bool {
        self.plain.iter().skip(skip).any(|word| *word == flag)
    }

    /// Refuses options that the command does not have.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.options.iter().find(|(key, _)| !known.contains(key)) {
            Some((key, _)) => {
                Err(format!("{}: unknown option {key:?}; expected one of: {}", self.name, known.join(", ")))
            }
            None => Ok(()),
        }
    }

    /// Refuses more positional words than the command takes.
    pub(super) fn at_most(&self, count: usize) -> Result<(), String> {
        match self.plain.get(count) {
            Some(word) => Err(format!("{}: unexpected {word:?}: too many words", self.name)),
            None => Ok(()),
        }
    }
}

/// Parses a half-open range. An end of `2^64` or `0` stands for the end of the address space.
pub(super) fn range_of(start: &str, end: &str) -> Result<AddrRange, String> {
    let start = parse_addr(start)?;
    let range = if end == "2^64" || end == "0" {
        AddrRange::inclusive(start, u64::MAX)
    } else {
        AddrRange::new(start, parse_addr(end)?)
    };
    range.map_err(|error| error.to_string())
}

/// Parses `START-END` or `START..END`, end exclusive.
pub(super) fn dashed(text: &str) -> Result<AddrRange, String> {
    let (start, end) = text
        .split_once("..")
        .or_else(|| text.split_once('-'))
        .ok_or_else(|| format!("{text:?} is not a range: expected START..END"))?;
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
