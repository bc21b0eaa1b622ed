//! Explains why memory cannot be hot-plugged or removed, and why the memory window of a non-transparent bridge (NTB)
//! cannot be set.

use crate::units;
use crate::units::size;
use pmem_import::plug::{Plug, PlugLine};
use serde::Serialize;

/// What a text says about memory hot-plug, each statement explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlugReport {
    /// The explanations, in order of line.
    pub notes: Vec<PlugNote>,
}

/// One explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlugNote {
    /// The line in the text, counted from 1. If several lines together make the case, the first of them.
    pub line: u32,
    /// What the explanation is about.
    pub what: String,
    /// The cause, what helps, and what the text leaves open.
    pub says: Vec<String>,
}

/// The memory block size that Linux uses on x86-64 machines with much memory.
const LARGE: u64 = 2 << 30;
const USUAL: u64 = 128 << 20;

impl PlugReport {
    /// Explains the lines of a text.
    #[must_use]
    pub fn of(all: &[PlugLine]) -> Self {
        let mut notes: Vec<PlugNote> = all.iter().filter_map(|line| one(line, all)).collect();
        notes.extend(window(all));
        notes.extend(requesters(all));
        notes.sort_by_key(|note| note.line);
        Self { notes }
    }
}

fn note(line: u32, what: String, says: impl IntoIterator<Item = String>) -> PlugNote {
    PlugNote { line, what, says: says.into_iter().collect() }
}

/// Returns the part of a range that consists of whole blocks, end exclusive; `None` if there is none. `last` is
/// inclusive.
fn blocks(first: u64, last: u64, block: u64) -> Option<(u64, u64)> {
    let start = first.checked_next_multiple_of(block)?;
    let end = last.checked_add(1)? / block * block;
    (start < end).then_some((start, end))
}

/// Explains a single line; `None` if the line only supports the explanation of others.
fn one(line: &PlugLine, all: &[PlugLine]) -> Option<PlugNote> {
    let at = line.line;
    match &line.what {
        Plug::Unaligned { block, start, size: bytes } => {
            let over = start % block;
            let right = start.checked_next_multiple_of(*block)?;
            let mut says = Vec::new();
            if over != 0 {
                says.push(format!(
                    "{start:#x} is {} past a multiple of {}: something in front took the rest of that block",
                    size(over),
                    size(*block)
                ));
                says.push(format!("the first start that does is {right:#x}"));
            }
            let count = bytes / block;
            says.push(if bytes.is_multiple_of(*block) {
                format!("the size is right: {count} blocks")
            } else {
                format!("the size is {count} blocks and {} more", size(bytes % block))
            });
            Some(note(
                at,
                format!("{start:#x}, {}: blocks of {} are plugged whole", size(*bytes), size(*block)),
                says,
            ))
        }
        Plug::NotOffline { first, last, by_signal } => Some(offline(at, *first, *last, *by_signal, all)),
        Plug::BlockStays(number) => Some(block_stays(at, *number, all)),
        Plug::NotReserved { device, first, last } => Some(not_reserved(at, device, *first, *last, all)),
        Plug::Grow { base, more, page: (page, each) } => {
            let needed = (more / page.max(&1)).saturating_mul(*each);
            let what = format!(
                "{} more need {} for what is kept of each page ({each} bytes of {page})",
                size(*more),
                size(needed)
            );
            let share = needed.saturating_mul(100) / base.max(&1);
            Some(note(at, what, [
                format!("that is taken from the {} that there are, of which it is {share} %: it must be free there, beside all that runs", size(*base)),
                "in steps, each of which brings room for the next; or memmap_on_memory=1, by which memory keeps its own (whole blocks of ACPI modules only)".to_owned(),
            ]))
        }
        Plug::Movable { base, piece } => Some(movable(at, *base, *piece, all)),
        _ => None,
    }
}

/// Explains why a range did not go offline. A line nearby may tell the reason.
fn offline(at: u32, first: u64, last: u64, by_signal: bool, all: &[PlugLine]) -> PlugNote {
    let bytes = (last - first).saturating_add(1);
    let what = format!("{}, {}, did not go offline", units::range(first, last), size(bytes));
    if by_signal {
        return note(
            at,
            what,
            ["somebody stopped it (a signal, such as ^C): nothing is said of the memory".to_owned()],
        );
    }
    let mut says = Vec::new();
    let near = |line: &&PlugLine| line.line.abs_diff(at) <= 6;
    let other_between = |from: u32, to: u32| {
        let is_other = |line: &PlugLine| {
            (from + 1..to).contains(&line.line) && matches!(line.what, Plug::NotOffline { .. })
        };
        all.iter().any(is_other)
    };
    for line in all.iter().filter(near) {
        match line.what {
            // The line belongs to the next failure, unless another failure is in between.
            Plug::NotIsolated { maps } if line.line < at && !other_between(line.line, at) => {
                says.push(format!("line {}: a page that {maps} mappings use at that moment: it is movable, and another try may do (kernels from 4.15 on try without end)", line.line));
                says.push(
                    "which page it is the line does not say: the base of the page array is not in the text"
                        .to_owned(),
                );
            }
            Plug::Frames { start, end } if start != 0 && first.is_multiple_of(start) => {
                let page = first / start;
                says.push(format!(
                    "line {}: page frames {start:#x}..{end:#x} are pages of {}: {} of them",
                    line.line,
                    size(page),
                    end - start
                ));
            }
            _ => {}
        }
    }
    if says.is_empty() {
        says.push(
            "why the text does not say: a page in it that cannot move, or one in use at that moment"
                .to_owned(),
        );
    }
    note(at, what, says)
}

/// Explains why a memory block stays online.
fn block_stays(at: u32, number: u64, all: &[PlugLine]) -> PlugNote {
    let mut says = Vec::new();
    let of = all.iter().find_map(|line| match &line.what {
        Plug::Blocks { module, numbers } if numbers.contains(&number) => Some((module, numbers)),
        _ => None,
    });
    if let Some((module, numbers)) = of {
        says.push(format!("{module} has {} blocks, and all of them must go before it can", numbers.len()));
    }
    says.push("pages of the kernel's own are in it, which do not move: it was put into use for anything (zone Normal)".to_owned());
    says.push("put all of its blocks into use as movable before anything uses them: online_movable, or auto_online_blocks=online_movable".to_owned());
    says.push(format!(
        "where it is takes the size of a block, which the text does not say (block_size_bytes): {:#x} by blocks of {}",
        number.saturating_mul(USUAL),
        size(USUAL)
    ));
    note(at, format!("block {number} does not go offline"), says)
}

/// Explains why a device's memory cannot be reserved.
fn not_reserved(at: u32, device: &str, first: u64, last: u64, all: &[PlugLine]) -> PlugNote {
    let bytes = (last - first).saturating_add(1);
    let what = format!("{device}: {}, {}, is not to be had", units::range(first, last), size(bytes));
    let mut says = Vec::new();
    let online = all.iter().find_map(|line| match line.what {
        Plug::Online { first: low, last: high } if low <= last && first <= high => {
            Some((line.line, low, high))
        }
        _ => None,
    });
    let truncated = all.iter().find_map(|line| match &line.what {
        Plug::Truncated(by) => Some((line.line, by)),
        _ => None,
    });
    if let Some((line, by)) = truncated
        && let Some((start, end)) = blocks(first, last, LARGE).filter(|(start, end)| end - start < bytes)
    {
        says.push(format!(
            "line {line}: only whole blocks are used: by blocks of {} {start:#x}..{end:#x} ({}) of it, and {} ({by}) is lost; that is a rule, and no fault",
            size(LARGE),
            size(end - start),
            format_args!("{:#x}", bytes - (end - start)),
        ));
    }
    if let Some((line, low, high)) = online {
        says.push(format!(
            "line {line}: {} is still online from before: take what begins at {low:#x} offline first; else it stays until the next boot",
            units::range(low, high)
        ));
    }
    if says.is_empty() {
        says.push("who has it the text does not say: /proc/iomem does".to_owned());
    }
    note(at, what, says)
}

/// Explains why the kernel's own memory runs out if all plugged memory is movable.
fn movable(at: u32, base: u64, piece: u64, all: &[PlugLine]) -> PlugNote {
    let needs = |count: u64| count.saturating_mul(piece) / 64;
    let mut says = vec![format!(
        "what is kept of pages is 1/64 of them, and comes from the {} that are not movable",
        size(base)
    )];
    for line in all {
        if let Plug::Pieces(count, works) = line.what {
            let did = if works { "did" } else { "did not" };
            says.push(format!(
                "{count} of {}: {} of {} for that alone; it {did}",
                size(piece),
                size(needs(count)),
                size(base)
            ));
        }
    }
    says.push("online_policy=auto-movable keeps a ratio (301 % by default); or a base of at least a sixteenth of all; three to four times as much movable as not is safe".to_owned());
    note(
        at,
        "all that is plugged is movable, and the kernel's own memory does not grow with it".to_owned(),
        says,
    )
}

/// Explains why an NTB's memory window could not be set.
fn window(all: &[PlugLine]) -> Option<PlugNote> {
    let split = all.iter().find(|line| line.what == Plug::Split)?;
    let refused = all.iter().find_map(|line| match &line.what {
        Plug::NoTranslation(name) => Some((line.line, name.clone())),
        _ => None,
    });
    let to = all.iter().find_map(|line| match line.what {
        Plug::WindowTo(to) => Some(to),
        _ => None,
    });
    let sizes: Vec<(&str, u32)> = all
        .iter()
        .filter_map(|line| match &line.what {
            Plug::WindowSize { bar, bits } => Some((bar.as_str(), *bits)),
            _ => None,
        })
        .collect();
    let mut says = vec!["split registers translate to addresses of 32 bits".to_owned()];
    if let Some(to) = to {
        let bits = sizes.iter().find(|(bar, _)| *bar == "4").map_or(20, |(_, bits)| *bits);
        if to >> 32 != 0 {
            says.push(format!("{to:#x} ({}) is above 4 GiB: that is why", size(to)));
        }
        if bits < 64 && to.is_multiple_of(1 << bits) {
            says.push(format!("its alignment is right: a multiple of {}", size(1 << bits)));
        }
        says.push(
            "a buffer below 4 GiB (a mask of 32 bits for DMA), or registers that are not split".to_owned(),
        );
    }
    let wide: Vec<&(&str, u32)> = sizes.iter().filter(|(bar, bits)| *bar != "2/3" && *bits >= 32).collect();
    if !wide.is_empty() {
        let names: Vec<String> =
            wide.iter().map(|(bar, bits)| format!("BAR {bar} of 2^{bits} bytes")).collect();
        says.push(format!(
            "{}: no register of 32 bits has such a size: the settings contradict one another",
            names.join(", ")
        ));
    }
    let peer = all.iter().find_map(|line| match line.what {
        Plug::Peer(bytes) => Some(bytes),
        _ => None,
    });
    if let Some((peer, (bar, bits))) = peer.zip(sizes.iter().find(|(bar, _)| *bar == "2/3")) {
        let fits = if *bits < 64 && peer <= 1 << bits { "fits" } else { "does not fit" };
        says.push(format!("the other machine's {} {fits} into BAR {bar} (2^{bits} bytes)", size(peer)));
    }
    let links: Vec<String> = all
        .iter()
        .filter_map(|line| match line.what {
            Plug::Link(at) => Some(format!("{at:#x}")),
            _ => None,
        })
        .collect();
    if !links.is_empty() {
        says.push(format!("{} are addresses of the link's own, and no memory", links.join(", ")));
    }
    if refused.is_none() && wide.is_empty() {
        return None;
    }
    let (line, what) = refused
        .map_or((split.line, "windows of a link whose registers are split".to_owned()), |(line, name)| {
            (line, format!("the window {name} could not be set"))
        });
    Some(note(line, what, says))
}

/// Explains requester ids that change when they cross an NTB.
fn requesters(all: &[PlugLine]) -> Option<PlugNote> {
    let pairs: Vec<(u32, String)> = all
        .iter()
        .filter_map(|line| match &line.what {
            Plug::Requester { own, other } => Some((line.line, format!("{own} is {other}"))),
            _ => None,
        })
        .collect();
    let (line, _) = pairs.first()?;
    let names: Vec<String> = pairs.iter().map(|(_, pair)| pair.clone()).collect();
    Some(note(*line, format!("beyond the link requesters have other ids: {}", names.join(", ")), [
        "BB is the bus of the link's function on the other side, and no number: no list of functions there has these ids".to_owned(),
        "faults there name them, and the IOMMU there needs all of them as aliases of the link's function".to_owned(),
        "a window's size is a power of two, and its buffer aligned to that".to_owned(),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmem_import::plug::plugs;
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![
            Just(0),
            Just(u64::MAX),
            any::<u64>(),
            0..0x10_0000u64,
            (0..64u32).prop_map(|bits| 1 << bits)
        ]
    }

    proptest! {
        /// Lines as kernels write them, with numbers that no kernel has.
        #[test]
        fn whatever_the_numbers_are_nothing_panics(lines in prop::collection::vec((0..10usize, number(), number(), number()), 1..6)) {
            let text: String = lines
                .into_iter()
                .map(|(form, a, b, c)| match form {
                    0 => format!("Block size [{a:#x}] unaligned hotplug range: start {b:#x}, size {c:#x}\n"),
                    1 => format!("memory offlining [mem {a:#x}-{b:#x}] failed due to signal backoff\n"),
                    2 => format!("start_pfn:{a} end_pfn:{b}\n"),
                    3 => format!("memory memory{a}: Offline failed.\n"),
                    4 => format!("dax dax1.0: mapping0: {a:#x}-{b:#x} could not reserve range\nDAX region truncated by 1.00 GiB due\n"),
                    5 => format!("dax: {a:#x}-{b:#x} cannot be hotremoved until the next reboot\n"),
                    6 => format!("guest memory {a} GiB, hot-plug {b} GiB, page {c}, struct page {a}\n"),
                    7 => format!("base memory {a} GiB, slots of {b} GiB ZONE_MOVABLE\n{c} slots: works\n"),
                    8 => format!("split BARs enabled\nPrimary BAR4 Size : {}\nunable to set mw0 translation\ndma_addr {b:#x}\n", a % 80),
                    _ => format!("split BARs enabled\nPrimary BAR2/3 Size : {}\nMemTotal {b} GiB\n", a % 80),
                })
                .collect();
            let report = PlugReport::of(&plugs(text.as_bytes()));
            prop_assert!(report.notes.iter().all(|note| !note.what.is_empty()));
        }
    }
}
