//! Kernel messages about memory hot-plug, and about the windows of non-transparent bridges (NTB).

use crate::number::hex;
use crate::text::lines;
use std::sync::Arc;

/// One message, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlugLine {
    /// The line in the text, counted from 1.
    pub line: u32,
    /// The message.
    pub what: Plug,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plug {
    /// Hot-plugged memory is not a whole number of memory blocks.
    Unaligned {
        /// Size of a memory block, in bytes.
        block: u64,
        /// First address of the memory.
        start: u64,
        /// Size of the memory, in bytes.
        size: u64,
    },
    /// Memory could not be taken offline.
    NotOffline {
        /// First address.
        first: u64,
        /// Last address, inclusive.
        last: u64,
        /// The request was interrupted by a signal.
        by_signal: bool,
    },
    /// A page that could not be isolated.
    NotIsolated {
        /// How many page table mappings the page has.
        maps: u32,
    },
    /// Page frames that were to go offline.
    Frames {
        /// First page frame number.
        start: u64,
        /// End page frame number, exclusive.
        end: u64,
    },
    /// The memory blocks of a module.
    Blocks {
        /// The module's name.
        module: String,
        /// Numbers of its memory blocks.
        numbers: Vec<u64>,
    },
    /// Number of a memory block that could not be taken offline.
    BlockStays(u64),
    /// A device's memory was truncated to whole memory blocks; the text says by how much.
    Truncated(String),
    /// A range could not be reserved: something else owns it.
    NotReserved {
        /// The device that asked for it.
        device: String,
        /// First address.
        first: u64,
        /// Last address, inclusive.
        last: u64,
    },
    /// A range cannot be removed, because it is online.
    Online {
        /// First address.
        first: u64,
        /// Last address, inclusive.
        last: u64,
    },
    /// A guest's memory, and how much is to be hot-plugged.
    Grow {
        /// Bytes present at boot.
        base: u64,
        /// Bytes to be hot-plugged.
        more: u64,
        /// Bytes of a page, and of the kernel's `struct page` for it.
        page: (u64, u64),
    },
    /// Hot-plugged memory goes into `ZONE_MOVABLE`, in slots of one size.
    Movable {
        /// Bytes of base memory, which is not movable.
        base: u64,
        /// Bytes of a slot.
        piece: u64,
    },
    /// A number of slots, and whether that number works.
    Pieces(u64, bool),
    /// A memory window whose translation could not be set; the window's name.
    NoTranslation(String),
    /// 64-bit BARs are split into two 32-bit BARs each.
    Split,
    /// The size of a memory window.
    WindowSize {
        /// The BAR, as the message names it: `2/3`.
        bar: String,
        /// The size as a power of two: 20 is 1 MiB.
        bits: u32,
    },
    /// The DMA address that a window is to lead to.
    WindowTo(u64),
    /// A requester id is translated by the link.
    Requester {
        /// The requester id on this side.
        own: String,
        /// The requester id on the other side.
        other: String,
    },
    /// Bytes of memory that the machine at the other end has.
    Peer(u64),
    /// An address from a line about the link itself: `B2B XLAT` (translation) or `LMT` (limit).
    Link(u64),
}

/// Reads the hot-plug and NTB messages of a text, in order. Other lines are skipped.
#[must_use]
pub fn plugs(text: &[u8]) -> Vec<PlugLine> {
    let source: Arc<str> = "the text".into();
    let mut out = Vec::new();
    lines(&source, text, |line| {
        out.extend(one(line.words()).into_iter().map(|what| PlugLine { line: line.number, what }));
    });
    out
}

/// The hexadecimal number after a word.
fn after(words: &str, word: &str) -> Option<u64> {
    let rest = words.split_once(word)?.1.trim_start();
    hex(rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?)
}

fn decimal(words: &str, word: &str) -> Option<u64> {
    let rest = words.split_once(word)?.1.trim_start_matches([' ', ':', '-', '\t']);
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Parses `0x2080000000-0x20ffffffff`; `None` if the end is before the start.
fn range(words: &str) -> Option<(u64, u64)> {
    words.split([' ', '[', ']', ',']).find_map(|word| {
        let (first, last) = word.split_once('-')?;
        (first.starts_with("0x") && last.starts_with("0x")).then_some(())?;
        let (first, last) = (hex(first)?, hex(last)?);
        (first <= last).then_some((first, last))
    })
}

fn amount(words: &str, word: &str) -> Option<u64> {
    let mut rest = words.split_once(word)?.1.split_whitespace();
    let number: u64 = rest.next()?.parse().ok()?;
    let shift = match rest.next()?.trim_end_matches([',', '.', ':']) {
        "KiB" | "kB" => 10,
        "MiB" | "MB" => 20,
        "GiB" | "GB" => 30,
        "TiB" | "TB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

fn one(words: &str) -> Option<Plug> {
    if words.contains("unaligned hotplug range") {
        let (block, start) = (after(words, "Block size [")?, after(words, "start ")?);
        let size = after(words, ", size ")?;
        return (block > 0).then_some(Plug::Unaligned { block, start, size });
    }
    if words.contains("memory offlining [mem ") {
        let (first, last) = range(words)?;
        let failed = words.split_once("] ")?.1;
        return failed.starts_with("failed").then(|| Plug::NotOffline {
            first,
            last,
            by_signal: failed.contains("signal"),
        });
    }
    if words.starts_with("page:") && words.contains("mapcount:") {
        return Some(Plug::NotIsolated { maps: u32::try_from(decimal(words, "mapcount:")?).ok()? });
    }
    if words.contains("start_pfn:") {
        let (start, end) = (decimal(words, "start_pfn:")?, decimal(words, "end_pfn:")?);
        return (start < end).then_some(Plug::Frames { start, end });
    }
    if let Some(rest) = words.strip_prefix("memory memory")
        && rest.contains("Offline failed")
    {
        return Some(Plug::BlockStays(rest.split(':').next()?.parse().ok()?));
    }
    if let Some((module, rest)) = words.split_once(": memory")
        && !module.contains('/')
        && !module.contains(' ')
    {
        let numbers = format!("memory{rest}");
        let numbers: Option<Vec<u64>> =
            numbers.split_whitespace().map(|word| word.strip_prefix("memory")?.parse().ok()).collect();
        return Some(Plug::Blocks { module: module.to_owned(), numbers: numbers? });
    }
    if words.contains("DAX region truncated by") {
        return Some(Plug::Truncated(words.split("truncated by ").nth(1)?.split(" due").next()?.to_owned()));
    }
    if words.contains("could not reserve") {
        let (first, last) = range(words)?;
        let device = words.split(':').next()?.split_whitespace().next_back()?.to_owned();
        return Some(Plug::NotReserved { device, first, last });
    }
    if words.contains("is onlined") || words.contains("cannot be hotremoved") {
        let (first, last) = range(words)?;
        return Some(Plug::Online { first, last });
    }
    if words.contains("guest memory ") && words.contains("hot-plug ") {
        let page = (decimal(words, ", page ")?, decimal(words, "struct page ")?);
        return Some(Plug::Grow {
            base: amount(words, "guest memory ")?,
            more: amount(words, "hot-plug ")?,
            page,
        });
    }
    if words.starts_with("base memory ") && words.contains("ZONE_MOVABLE") {
        return Some(Plug::Movable {
            base: amount(words, "base memory ")?,
            piece: amount(words, "slots of ")?,
        });
    }
    if let Some((count, rest)) = words.split_once(" slots:") {
        return Some(Plug::Pieces(count.trim().parse().ok()?, rest.trim().starts_with("works")));
    }
    link(words)
}

fn link(words: &str) -> Option<Plug> {
    let lower = words.to_ascii_lowercase();
    if lower.contains("unable to set mw") && lower.contains("translation") {
        let name = lower.split("unable to set ").nth(1)?.split_whitespace().next()?.to_owned();
        return Some(Plug::NoTranslation(name));
    }
    if (lower.contains("split bars") && lower.ends_with("enabled"))
        || (lower.contains("split -") && lower.ends_with("yes"))
    {
        return Some(Plug::Split);
    }
    if let Some(rest) = words.strip_prefix("Primary BAR") {
        let bar = rest.split_whitespace().next()?.to_owned();
        return Some(Plug::WindowSize { bar, bits: u32::try_from(decimal(words, "Size")?).ok()? });
    }
    if let Some(rest) = words.strip_prefix("PBAR") {
        let (bar, bits) = rest.split_once("SZ ")?;
        let bar = if bar == "23" { "2/3".to_owned() } else { bar.to_owned() };
        return Some(Plug::WindowSize { bar, bits: bits.trim().parse().ok()? });
    }
    if words.contains("dma_addr 0x") {
        return Some(Plug::WindowTo(after(words, "dma_addr ")?));
    }
    if let Some((_, rest)) = words.split_once("Requester ID ") {
        let (own, other) = rest.split_once(" -> ")?;
        return Some(Plug::Requester { own: own.trim().to_owned(), other: other.trim().to_owned() });
    }
    if words.starts_with("MemTotal ") && words.contains("GiB") {
        return Some(Plug::Peer(amount(words, "MemTotal ")?));
    }
    if words.starts_with("B2B XLAT") || words.starts_with("LMT") {
        return Some(Plug::Link(hex(words.split_whitespace().next_back()?)?));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_kernels_say_is_read() {
        let one = |text: &str| plugs(text.as_bytes()).into_iter().map(|line| line.what).next();
        assert_eq!(
            one(
                "[  676.541766] Block size [0x8000000] unaligned hotplug range: start 0x100200000, size 0x40000000"
            ),
            Some(Plug::Unaligned { block: 0x800_0000, start: 0x1_0020_0000, size: 0x4000_0000 })
        );
        assert_eq!(
            one("memory offlining [mem 0x82600000000-0x8267fffffff] failed due to signal backoff"),
            Some(Plug::NotOffline { first: 0x826_0000_0000, last: 0x826_7fff_ffff, by_signal: true })
        );
        assert_eq!(
            one("device_dax dax1.0: mapping0: 0x2074200000-0x216fffffff could not reserve range"),
            Some(Plug::NotReserved {
                device: "dax1.0".to_owned(),
                first: 0x20_7420_0000,
                last: 0x21_6fff_ffff
            })
        );
        assert_eq!(
            one("Primary BAR2/3 Size : 22"),
            Some(Plug::WindowSize { bar: "2/3".to_owned(), bits: 22 })
        );
        assert_eq!(one("nothing of the kind"), None);
    }

    proptest! {
        #[test]
        fn whatever_a_text_says_nothing_panics(text in r"([ -~]{0,50}(memory[0-9]{0,30}|: memory|PBAR|SZ |Size : [0-9]{0,20}|GiB|0x[0-9a-f]{0,20}-0x)?\n?){0,10}") {
            let _ = plugs(text.as_bytes());
        }
    }
}
