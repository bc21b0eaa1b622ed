//! Errors in the words of people: with names in place of ids.

use crate::error::Error;
use crate::id::{ArenaId, LinkId, RegionId};
use crate::model::State;
use alloc::string::ToString;
use core::fmt;

/// An error, with what people call its arenas, interconnects and regions.
#[derive(Clone, Copy, Debug)]
pub struct Named<'e> {
    error: &'e Error,
    state: &'e State,
}

impl Error {
    /// The same, to be printed with the names that `state` has: "region NIC BAR 0", not "region 5v1".
    pub const fn named<'e>(&'e self, state: &'e State) -> Named<'e> {
        Named { error: self, state }
    }
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.error.to_string();
        let mut rest = &text[..];
        // Ids are printed as a word and a number with its version; what is like one but names nothing stays.
        while let Some((before, word, id, after)) = next_id(rest) {
            f.write_str(before)?;
            match self.name(word, id) {
                Some(name) => write!(f, "{word} {name}")?,
                None => f.write_str(rest.get(before.len()..rest.len() - after.len()).unwrap_or_default())?,
            }
            rest = after;
        }
        f.write_str(rest)
    }
}

impl Named<'_> {
    fn name(&self, word: &str, id: u64) -> Option<&str> {
        let name = match word {
            "arena" => &*self.state.info(ArenaId::from_raw(id))?.name,
            "interconnect" => &*self.state.link(LinkId::from_raw(id))?.name,
            _ => self.state.region_name(RegionId::from_raw(id))?,
        };
        Some(name).filter(|name| !name.is_empty())
    }
}

/// The next id in a text: what is before it, its word, the id, and what is after it.
fn next_id(text: &str) -> Option<(&str, &str, u64, &str)> {
    let words = ["arena ", "interconnect ", "region "];
    let mut from = 0;
    loop {
        let found = words.iter().filter_map(|word| Some((from + text.get(from..)?.find(word)?, *word)));
        let (start, word) = found.min()?;
        let number = text.get(start + word.len()..)?;
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let index = digits(number);
        let version = number.get(index..).and_then(|rest| rest.strip_prefix('v'));
        let parsed = version.and_then(|version| {
            let end = digits(version);
            let (index, version): (u32, u32) = (number[..index].parse().ok()?, version[..end].parse().ok()?);
            Some((u64::from(version) << 32 | u64::from(index), end))
        });
        if let Some((id, end)) = parsed {
            let after = text.get(start + word.len() + index + 1 + end..)?;
            return Some((&text[..start], word.trim_end(), id, after));
        }
        from = start + word.len();
    }
}
