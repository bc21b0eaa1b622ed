//! A cursor over a line. Each step takes what it expects, or returns `None`.

use crate::number::hex;
use pmem_core::AddrRange;

/// The rest of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan<'t>(pub(crate) &'t str);

impl<'t> Scan<'t> {
    /// Starts at the beginning of a text, after blanks.
    pub(crate) fn new(text: &'t str) -> Self {
        Self(text.trim_start())
    }

    /// Takes a word, and blanks after it.
    pub(crate) fn lit(&mut self, word: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(word)?.trim_start();
        Some(())
    }

    /// Takes one or more bytes of a kind.
    pub(crate) fn many(&mut self, kind: impl Fn(u8) -> bool) -> Option<&'t str> {
        let len = self.0.bytes().take_while(|b| kind(*b)).count();
        let (taken, rest) = self.0.split_at_checked(len).filter(|(taken, _)| !taken.is_empty())?;
        self.0 = rest;
        Some(taken)
    }

    /// Takes hexadecimal digits, with or without `0x`, and blanks after them.
    pub(crate) fn hex(&mut self) -> Option<u64> {
        self.0 = self.0.strip_prefix("0x").or_else(|| self.0.strip_prefix("0X")).unwrap_or(self.0);
        let number = hex(self.many(|b| b.is_ascii_hexdigit())?)?;
        self.blanks();
        Some(number)
    }

    /// Takes decimal digits, and blanks after them.
    pub(crate) fn decimal(&mut self) -> Option<u64> {
        let number = self.many(|b| b.is_ascii_digit())?.parse().ok()?;
        self.blanks();
        Some(number)
    }

    /// Takes everything up to a text, and the text itself; returns what came before it.
    pub(crate) fn until(&mut self, end: &str) -> Option<&'t str> {
        let (before, after) = self.0.split_once(end)?;
        self.0 = after.trim_start();
        Some(before)
    }

    /// Skips blanks.
    pub(crate) fn blanks(&mut self) {
        self.0 = self.0.trim_start();
    }

    /// Whether nothing is left.
    pub(crate) fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}

/// A resource in brackets, as kernels log it: `[mem 0x80000000-0xdfffffff 64bit pref]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bracketed {
    /// It is I/O ports rather than memory.
    pub(crate) io: bool,
    /// Its addresses; `None` if it has no place.
    pub(crate) range: Option<AddrRange>,
    /// Its size in bytes, if it has no place.
    pub(crate) size: Option<u64>,
    /// It is prefetchable: reads have no side effects.
    pub(crate) prefetchable: bool,
    /// It decodes 64 bits.
    pub(crate) wide: bool,
}

impl<'t> Scan<'t> {
    /// Takes a resource in brackets (`%pR` of Linux's `printk`).
    pub(crate) fn resource(&mut self) -> Option<Bracketed> {
        let mut inside = *self;
        inside.lit("[")?;
        let mut inside = Scan(inside.until("]")?);
        let io = match inside.many(|b| b.is_ascii_lowercase())? {
            "io" => true,
            "mem" => false,
            _ => return None,
        };
        inside.blanks();
        let (range, size) = if inside.lit("size ").is_some() {
            (None, Some(inside.hex()?))
        } else {
            let start = inside.hex()?;
            // `%pR` prints no end for an empty resource, and an end before the start for a closed
            // window: both are no range.
            let last = if inside.lit("-").is_some() { Some(inside.hex()?) } else { None };
            (last.and_then(|last| AddrRange::inclusive(start, last).ok()), None)
        };
        let flags = inside.0;
        self.until("]")?;
        Some(Bracketed {
            io,
            range,
            size,
            prefetchable: flags.contains("pref"),
            wide: flags.contains("64bit"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_read_with_a_place_or_a_size() {
        let mut scan = Scan("[mem 0x6000000000-0x601bffffff 64bit pref] to [bus 03-2c]");
        let found = scan.resource().unwrap();
        assert_eq!(found.range.unwrap().len(), 0x1c00_0000);
        assert!(found.prefetchable && found.wide && !found.io);
        assert_eq!(scan.0, "to [bus 03-2c]");
        let found = Scan("[mem size 0x10000000 64bit pref]: failed").resource().unwrap();
        assert_eq!((found.range, found.size), (None, Some(0x1000_0000)));
        let found = Scan("[io  0x2000-0x2fff]").resource().unwrap();
        assert!(found.io && found.range.unwrap().start() == 0x2000);
        assert_eq!(Scan("[mem 0x00100000-0x000fffff] disabled").resource().unwrap().range, None);
        assert_eq!(Scan("[8086:1234]").resource(), None);
    }
}
