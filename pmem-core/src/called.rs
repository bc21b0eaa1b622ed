//! Error messages with names instead of ids.

use crate::error::Error;
use crate::id::{ArenaId, LinkId, RegionId};
use crate::model::State;
use alloc::string::ToString;
use core::fmt;

/// An [`Error`] that prints the names of arenas, interconnects and regions. Made by [`Error::named`].
#[derive(Clone, Copy, Debug)]
pub struct Named<'e> {
    error: &'e Error,
    state: &'e State,
}

impl Error {
    /// Returns this error in a form that prints the names found in `state`: "region NIC BAR 0" instead of "region
    /// 5v1". An id that has no name in `state` is printed as it is.
    ///
    /// # Examples
    /// ```
    /// use pmem_core::{ArenaType, Manager, Request};
    ///
    /// let mut pmem = Manager::new();
    /// let bus = pmem.create_arena("PCI 0000:00", ArenaType::PCI)?;
    /// // Nothing is primed yet, so there is nothing to allocate.
    /// let error = pmem.alloc(bus, &Request::new(0x1000)).unwrap_err();
    /// assert!(error.to_string().starts_with("arena 1v1: no space"));
    /// assert!(error.named(pmem.state()).to_string().starts_with("arena PCI 0000:00: no space"));
    /// # Ok::<(), pmem_core::Error>(())
    /// ```
    #[must_use]
    pub const fn named<'e>(&'e self, state: &'e State) -> Named<'e> {
        Named { error: self, state }
    }
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.error.to_string();
        let mut rest = &text[..];
        // An id prints as a word, an index and a version. Text that looks like an id but names nothing is kept.
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

/// Finds the next id in `text`. Returns the text before it, its word, the id, and the text after it.
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
