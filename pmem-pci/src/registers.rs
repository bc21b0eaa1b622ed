//! The three registers of a bridge window, and the shortest write sequences between their values.

use crate::BusRange;
use crate::tree::{Window, WindowKind};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// The registers of a bridge window. A CardBus bridge has no pair: its base and limit are whole registers, kept
/// in `base_upper` and `limit_upper`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Registers {
    /// The 32-bit register (16-bit for I/O) that holds the base in its lower half and the limit in its upper
    /// half.
    pair: u32,
    base_upper: u32,
    limit_upper: u32,
}

/// The offsets of a window's registers in configuration space.
pub(crate) struct Place {
    /// The offset of the pair.
    pub(crate) pair: u16,
    /// The upper halves of base and limit, for I/O and prefetchable windows; the whole registers of a CardBus
    /// bridge.
    pub(crate) upper: Option<(u16, u16)>,
    /// The width of the pair in bytes; 0 if there is no pair.
    pub(crate) width: u8,
    /// The width of an upper half in bytes.
    pub(crate) upper_width: u8,
}

pub(crate) fn place(window: &Window) -> Place {
    if let Some(set) = window.card_bus {
        let at = if window.kind == WindowKind::Io { 0x2c } else { 0x1c } + 8 * u16::from(set);
        return Place { pair: at, upper: Some((at, at + 4)), width: 0, upper_width: 4 };
    }
    match window.kind {
        WindowKind::Io => {
            let upper = (window.top > 0xffff).then_some((0x30, 0x32));
            Place { pair: 0x1c, upper, width: 2, upper_width: 2 }
        }
        WindowKind::Memory => Place { pair: 0x20, upper: None, width: 4, upper_width: 4 },
        WindowKind::Prefetchable => {
            let upper = (window.top > 0xffff_ffff).then_some((0x28, 0x2c));
            Place { pair: 0x24, upper, width: 4, upper_width: 4 }
        }
    }
}

impl Registers {
    /// Encodes a range, or a closed window, as register values.
    pub(crate) fn of(window: &Window, span: Option<BusRange>) -> Self {
        if window.card_bus.is_some() {
            let (base, limit) = span.map_or((u64::from(u32::MAX), 0), |span| (span.first, span.last));
            let whole = |address: u64| (address & !(window.granule - 1)) as u32;
            return Self { pair: 0, base_upper: whole(base), limit_upper: whole(limit) };
        }
        match (window.kind, span) {
            (WindowKind::Io, None) => Self { pair: 0x00f0, base_upper: 0, limit_upper: 0 }.typed(window),
            (_, None) => Self { pair: 0x0000_fff0, base_upper: 0, limit_upper: 0 }.typed(window),
            (WindowKind::Io, Some(span)) => Self {
                pair: ((span.first >> 8) as u32 & 0xf0) | (span.last & 0xf000) as u32,
                base_upper: (span.first >> 16) as u32 & 0xffff,
                limit_upper: (span.last >> 16) as u32 & 0xffff,
            }
            .typed(window),
            (_, Some(span)) => Self {
                pair: ((span.first >> 16) as u32 & 0xfff0) | (span.last as u32 & 0xfff0_0000),
                base_upper: (span.first >> 32) as u32,
                limit_upper: (span.last >> 32) as u32,
            }
            .typed(window),
        }
    }

    /// Sets the read-only type bits, which tell the number of address bits.
    fn typed(self, window: &Window) -> Self {
        let wide = match window.kind {
            WindowKind::Io if window.top > 0xffff => 0x0101,
            WindowKind::Prefetchable if window.top > 0xffff_ffff => 0x0001_0001,
            _ => 0,
        };
        Self { pair: self.pair | wide, ..self }
    }

    /// Decodes the range that a window with these register values forwards; `None` if it is closed.
    pub(crate) fn span(self, window: &Window) -> Option<BusRange> {
        if window.card_bus.is_some() {
            let step = window.granule - 1;
            return BusRange::new(u64::from(self.base_upper) & !step, u64::from(self.limit_upper) | step);
        }
        let upper = place(window).upper.is_some();
        let (base_upper, limit_upper) =
            if upper { (u64::from(self.base_upper), u64::from(self.limit_upper)) } else { (0, 0) };
        let pair = u64::from(self.pair);
        match window.kind {
            WindowKind::Io => BusRange::new(
                (pair & 0xf0) << 8 | base_upper << 16,
                pair & 0xf000 | limit_upper << 16 | 0xfff,
            ),
            _ => BusRange::new(
                (pair & 0xfff0) << 16 | base_upper << 32,
                (pair & 0xfff0_0000) | limit_upper << 32 | 0xf_ffff,
            ),
        }
    }
}

/// One of the three registers.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Pair,
    Base,
    Limit,
}

pub(crate) fn apply(mut registers: Registers, path: &[(Part, u32, u32)]) -> Registers {
    for (part, value, _) in path {
        *field(&mut registers, *part) = *value;
    }
    registers
}

fn field(registers: &mut Registers, part: Part) -> &mut u32 {
    match part {
        Part::Pair => &mut registers.pair,
        Part::Base => &mut registers.base_upper,
        Part::Limit => &mut registers.limit_upper,
    }
}

/// Finds the shortest sequence of writes from `now` to `target` during which the window always covers `keep`
/// and never reaches beyond `bound`. Each entry is a register, its new value, and its old one; `None` if there
/// is no such sequence.
pub(crate) fn path(
    window: &Window,
    now: Registers,
    target: Option<BusRange>,
    keep: Option<BusRange>,
    bound: Option<BusRange>,
) -> Option<Vec<(Part, u32, u32)>> {
    // Closed is fine only if nothing must be kept; open only within the bound.
    let fits = |registers: Registers| match (registers.span(window), bound) {
        (None, _) => keep.is_none(),
        (Some(_), None) => false,
        (Some(span), Some(bound)) => bound.covers(span) && keep.is_none_or(|keep| span.covers(keep)),
    };
    let end = Registers::of(window, target);
    let is_end = |registers: Registers| match target {
        // Any closed value will do.
        None => registers.span(window).is_none(),
        Some(_) => registers == end,
    };
    // The values worth writing: the current one, the final one, and the tightest that covers `keep` (or closed,
    // if there is nothing to keep).
    let kept = keep.map(|keep| Registers::of(window, Some(keep)));
    let closed = Registers::of(window, None);
    let known = [Some(now), Some(end), kept, keep.is_none().then_some(closed)];
    let mut pairs: Vec<u32> = Vec::new();
    // Base and limit change in one write, so any base may be combined with any limit.
    for base in known.iter().flatten() {
        for limit in known.iter().flatten() {
            let mask = if window.kind == WindowKind::Io { 0xff } else { 0xffff };
            pairs.push(base.pair & mask | limit.pair & !mask);
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    let uppers = |get: fn(&Registers) -> u32| known.iter().flatten().map(get).collect::<BTreeSet<u32>>();
    let (bases, limits) = (uppers(|r| r.base_upper), uppers(|r| r.limit_upper));
    let place = place(window);
    // A breadth-first search over register values: the first time it meets the target is by the fewest writes.
    let mut seen: BTreeMap<Registers, Option<(Registers, usize)>> = BTreeMap::from([(now, None)]);
    let parts = [Part::Pair, Part::Base, Part::Limit];
    let mut front = alloc::vec![now];
    while !front.is_empty() {
        if let Some(found) = front.iter().copied().find(|registers| is_end(*registers)) {
            let mut path = Vec::new();
            let mut at = found;
            while let Some(Some((before, part))) = seen.get(&at).copied() {
                let part = *parts.get(part)?;
                let (mut had, mut has) = (before, at);
                path.push((part, *field(&mut has, part), *field(&mut had, part)));
                at = before;
            }
            path.reverse();
            return Some(path);
        }
        let mut next = Vec::new();
        for registers in front {
            let mut try_one = |part: usize, value: u32| {
                let mut new = registers;
                let Some(which) = parts.get(part) else { return };
                *field(&mut new, *which) = value;
                // Every value on the way counts, because hardware decodes between any two writes.
                if !seen.contains_key(&new) && fits(new) {
                    seen.insert(new, Some((registers, part)));
                    next.push(new);
                }
            };
            if place.width > 0 {
                pairs.iter().for_each(|pair| try_one(0, *pair));
            }
            if place.upper.is_some() {
                bases.iter().for_each(|base| try_one(1, *base));
                limits.iter().for_each(|limit| try_one(2, *limit));
            }
        }
        front = next;
    }
    None
}
