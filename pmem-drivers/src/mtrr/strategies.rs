//! How other software would set the registers: models of coreboot, EDK2 and Linux, for comparison.
//!
//! The models reproduce the behaviour of that software, not its code. Each gets one type for every range. None of
//! them knows that a range may have one of several types, which is why they need more registers.

use alloc::vec::Vec;
use pmem_mtrr::{Block, MemType, Register, Span, Width};

/// The ranges whose type is known: in ascending order, disjoint, and made of whole pages.
///
/// # Examples
///
/// ```
/// use pmem_drivers::mtrr::{MemType, Span, Width, strategies};
///
/// // 3 GiB of memory below the PCI hole.
/// let ranges = [(Span { start: 0, end: 0xc000_0000 }, MemType::Wb)];
/// let layout = strategies::Layout { width: Width::DEFAULT, ranges: &ranges };
/// let answer = strategies::coreboot(&layout);
/// // One register for the hole is cheaper than two for memory.
/// assert_eq!((answer.default, answer.registers.len()), (MemType::Wb, 1));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Layout<'l> {
    /// The width of physical addresses.
    pub width: Width,
    /// The ranges with their types.
    pub ranges: &'l [(Span, MemType)],
}

/// The registers that a strategy would program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The default type.
    pub default: MemType,
    /// The variable registers.
    pub registers: Vec<Register>,
}

const FOUR_GIB: u64 = 1 << 32;
const ONE_MIB: u64 = 1 << 20;

/// Splits a span into aligned blocks, each as large as its start allows.
fn blocks(span: Span, width: Width) -> impl Iterator<Item = Block> {
    let mut at = span.start;
    core::iter::from_fn(move || {
        let left = span.end.checked_sub(at).filter(|left| *left > 0)?;
        let order = at.trailing_zeros().min(left.ilog2()).min(u32::from(width.bits()) - 1);
        let block = Block::new(at, order as u8)?;
        at += block.size();
        Some(block)
    })
}

fn cost(span: Span, width: Width) -> usize {
    blocks(span, width).count()
}

fn cover(span: Span, kind: MemType, width: Width, out: &mut Vec<Register>) {
    out.extend(blocks(span, width).map(|block| Register { block, kind }));
}

impl Layout<'_> {
    /// Returns the ranges with all gaps up to `end` filled with `kind`. Memory below 1 MiB joins the first range,
    /// because fixed ranges decide its type.
    fn filled(&self, end: u64, kind: MemType) -> Vec<(Span, MemType)> {
        let mut out: Vec<(Span, MemType)> = Vec::new();
        let mut next = 0;
        let mut push = |span: Span, kind: MemType| match out.last_mut() {
            _ if span.is_empty() => {}
            Some((last, had)) if *had == kind && last.end == span.start => last.end = span.end,
            _ => out.push((span, kind)),
        };
        for (span, of) in self.ranges {
            if span.end <= ONE_MIB {
                continue;
            }
            let start = if next == 0 && span.start <= ONE_MIB { 0 } else { span.start.max(next) };
            push(Span { start: next, end: start.min(end.max(next)) }, kind);
            push(Span { start, end: span.end }, *of);
            next = span.end;
        }
        push(Span { start: next, end }, kind);
        out
    }
}

/// Models coreboot. It splits each range into blocks. With default UC it may widen a range of write-back memory and
/// carve the surplus out as uncacheable, once. It picks the better of the defaults UC and WB.
#[must_use]
pub fn coreboot(layout: &Layout<'_>) -> Answer {
    let ranges = layout.filled(FOUR_GIB, MemType::Uc);
    let with = |default: MemType| {
        let mut registers = Vec::new();
        let others: Vec<_> = ranges.iter().filter(|(_, kind)| *kind != default).collect();
        for (i, (span, kind)) in others.iter().enumerate() {
            if default != MemType::Uc || *kind != MemType::Wb {
                cover(*span, *kind, layout.width, &mut registers);
                continue;
            }
            // The last range above 4 GiB is widened without carving.
            let next = others.get(i + 1).map(|(next, _)| next.start);
            let carve = next.is_some() || span.start < FOUR_GIB;
            let limit = next.unwrap_or(layout.width.end());
            let mut best = (cost(*span, layout.width), span.end);
            for order in 12..u32::from(layout.width.bits()) {
                let end = span.end.next_multiple_of(1 << order);
                if end > limit {
                    break;
                }
                let hole = if carve { cost(Span { start: span.end, end }, layout.width) } else { 0 };
                best = best.min((cost(Span { start: span.start, end }, layout.width) + hole, end));
            }
            cover(Span { start: span.start, end: best.1 }, *kind, layout.width, &mut registers);
            if carve {
                cover(Span { start: span.end, end: best.1 }, MemType::Uc, layout.width, &mut registers);
            }
        }
        Answer { default, registers }
    };
    let (uc, wb) = (with(MemType::Uc), with(MemType::Wb));
    if wb.registers.len() < uc.registers.len() { wb } else { uc }
}

/// Models EDK2's MtrrLib, for a given default type and a given type for gaps. It finds the cheapest path through
/// the boundaries of blocks, where a block of two types costs one register plus others on top of it.
#[must_use]
pub fn edk2(layout: &Layout<'_>, default: MemType, gaps: MemType) -> Answer {
    let map = layout.filled(layout.width.end(), gaps);
    let mut borders: Vec<u64> = Vec::from([0]);
    for (span, _) in &map {
        borders.extend(blocks(*span, layout.width).map(|block| block.span().end));
    }
    borders.dedup();
    // For each boundary, the cheapest path to it: its cost, the boundary before it, and the step between them.
    // Steps only lead upwards, so when the loop reaches a boundary its path is final.
    let mut ways: Vec<Option<(usize, usize, Step)>> = Vec::from_iter(borders.iter().map(|_| None));
    if let Some(first) = ways.first_mut() {
        *first = Some((0, 0, Step::Default));
    }
    for (from, start) in borders.iter().enumerate() {
        let Some(Some((so_far, _, _))) = ways.get(from).cloned() else { continue };
        for (to, end) in borders.iter().enumerate().skip(from + 1) {
            let len = end - start;
            if len > *start & start.wrapping_neg() && *start != 0 {
                break;
            }
            let span = Span { start: *start, end: *end };
            let Some((cost, step)) = step(&map, span, default, layout.width) else { continue };
            if let Some(way) = ways.get_mut(to)
                && way.as_ref().is_none_or(|(had, _, _)| so_far + cost < *had)
            {
                *way = Some((so_far + cost, from, step));
            }
        }
    }
    let mut registers = Vec::new();
    let mut at = borders.len().saturating_sub(1);
    while at > 0 {
        let Some(Some((_, from, step))) = ways.get(at) else { break };
        let (Some(start), Some(end)) = (borders.get(*from), borders.get(at)) else { break };
        let span = Span { start: *start, end: *end };
        if let Step::Block(kind) = step {
            cover(span, *kind, layout.width, &mut registers);
            for (part, other) in parts(&map, span).filter(|(_, other)| other != kind) {
                cover(part, other, layout.width, &mut registers);
            }
        }
        at = *from;
    }
    Answer { default, registers }
}

/// Returns the best result of [`edk2`] over the default types UC and WB, and the gap types UC and WB.
#[must_use]
pub fn edk2_best(layout: &Layout<'_>) -> Answer {
    let (uc, wb) = (MemType::Uc, MemType::Wb);
    let all = [(uc, uc), (wb, wb), (uc, wb), (wb, uc)].map(|(default, gaps)| edk2(layout, default, gaps));
    let [first, rest @ ..] = all;
    rest.into_iter().fold(
        first,
        |best, next| {
            if next.registers.len() < best.registers.len() { next } else { best }
        },
    )
}

#[derive(Clone)]
enum Step {
    /// The whole step has the default type.
    Default,
    /// One register of this type, with others on top.
    Block(MemType),
}

fn parts(map: &[(Span, MemType)], span: Span) -> impl Iterator<Item = (Span, MemType)> + '_ {
    let first = map.partition_point(|(part, _)| part.end <= span.start);
    map.get(first..)
        .unwrap_or(&[])
        .iter()
        .map(move |(part, kind)| (part.and(span), *kind))
        .take_while(move |(part, _)| !part.is_empty())
}

fn step(map: &[(Span, MemType)], span: Span, default: MemType, width: Width) -> Option<(usize, Step)> {
    if parts(map, span).all(|(_, kind)| kind == default) {
        return Some((0, Step::Default));
    }
    if !span.len().is_power_of_two() || span.len() == width.end() {
        return None;
    }
    let beneath = |under: MemType, kind: MemType| kind == under || (under.over(kind) == Some(kind));
    let mut best: Option<(usize, Step)> = None;
    for under in MemType::ALL {
        if !parts(map, span).any(|(_, kind)| kind == under)
            || !parts(map, span).all(|(_, k)| beneath(under, k))
        {
            continue;
        }
        let on_top: usize =
            parts(map, span).filter(|(_, kind)| *kind != under).map(|(part, _)| cost(part, width)).sum();
        if best.as_ref().is_none_or(|(had, _)| 1 + on_top < *had) {
            best = Some((1 + on_top, Step::Block(under)));
        }
    }
    best
}

/// Models Linux's `mtrr_cleanup`. It sets write-back memory over the default UC and carves out holes, for each
/// chunk and grain size from 64 KiB to 2 GiB, and never loses memory. Returns `None` if no result fits in
/// `registers`, or if the layout has other types.
#[must_use]
pub fn linux(layout: &Layout<'_>, registers: usize) -> Option<Answer> {
    if layout
        .ranges
        .iter()
        .any(|(span, kind)| span.end > ONE_MIB && !matches!(kind, MemType::Wb | MemType::Uc))
    {
        return None;
    }
    let memory: Vec<Span> = layout
        .filled(FOUR_GIB, MemType::Uc)
        .iter()
        .filter(|(_, k)| *k == MemType::Wb)
        .map(|(s, _)| *s)
        .collect();
    let sizes = (16..=31).map(|order| 1u64 << order);
    let mut best: Option<Vec<Register>> = None;
    for grain in sizes.clone() {
        for chunk in sizes.clone().filter(|chunk| *chunk >= grain) {
            let found = clean_up(&memory, chunk, grain, layout.width);
            if found.len() <= registers
                && covers(&found, &memory)
                && best.as_ref().is_none_or(|best| found.len() < best.len())
            {
                best = Some(found);
            }
        }
    }
    best.map(|registers| Answer { default: MemType::Uc, registers })
}

fn clean_up(memory: &[Span], chunk: u64, grain: u64, width: Width) -> Vec<Register> {
    let mut out = Vec::new();
    let mut now = Span { start: 0, end: 0 };
    for span in memory {
        if !now.is_empty() {
            let taken = with_hole(now, *span, chunk, grain, width, &mut out);
            now = Span { start: span.start + taken, end: span.end };
        } else {
            now = *span;
        }
    }
    with_hole(now, Span { start: 0, end: 0 }, chunk, grain, width, &mut out);
    out
}

/// Programs a range, rounded up to whole chunks with the surplus carved out. Returns how many bytes of the next
/// range that covers as well.
fn with_hole(range: Span, next: Span, chunk: u64, grain: u64, width: Width, out: &mut Vec<Register>) -> u64 {
    let start = range.start.next_multiple_of(grain);
    let len = range.end.saturating_sub(start) / grain * grain;
    if len == 0 {
        return 0;
    }
    let mut wide = len.next_multiple_of(chunk);
    if wide == len {
        cover(Span { start, end: start + len }, MemType::Wb, width, out);
        return 0;
    }
    // Never widen beyond the end of the next range.
    if !next.is_empty() {
        while wide > 0 && start + wide > next.end {
            wide -= chunk.min(wide);
        }
    }
    // Give up a chunk whenever the hole would take half of the widened range.
    let (second, hole) = loop {
        let end = start + wide;
        let second = if end > next.start && end <= next.end { end - next.start } else { 0 };
        let hole = wide.saturating_sub(len + second);
        if wide > len && hole >= wide / 2 && wide >= chunk {
            wide -= chunk;
            continue;
        }
        break (second, hole);
    };
    cover(Span { start, end: start + wide }, MemType::Wb, width, out);
    let end = start + wide.max(len);
    if wide < len {
        cover(Span { start: start + wide, end }, MemType::Wb, width, out);
    }
    let hole_end = end - second;
    cover(Span { start: hole_end - hole, end: hole_end }, MemType::Uc, width, out);
    second
}

/// Returns whether these registers over the default UC make exactly this memory write-back, above 1 MiB.
fn covers(registers: &[Register], memory: &[Span]) -> bool {
    let of = |kind: MemType| -> Vec<Span> {
        let mut spans: Vec<Span> =
            registers.iter().filter(|r| r.kind == kind).map(|r| r.block.span()).collect();
        spans.sort_unstable();
        spans
    };
    let (back, holes) = (of(MemType::Wb), of(MemType::Uc));
    let mut cuts: Vec<u64> =
        back.iter().chain(&holes).chain(memory).flat_map(|span| [span.start, span.end]).collect();
    cuts.push(ONE_MIB);
    cuts.sort_unstable();
    cuts.dedup();
    let at = |spans: &[Span], addr: u64| spans.iter().any(|span| span.contains(addr));
    cuts.iter()
        .filter(|cut| **cut >= ONE_MIB)
        .all(|cut| (at(&back, *cut) && !at(&holes, *cut)) == at(memory, *cut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmem_mtrr::{Cap, DefType, Requirement, Setting, TypeSet, Variable};
    use proptest::prelude::*;

    fn check(layout: &Layout<'_>, answer: &Answer) -> Result<(), TestCaseError> {
        let mut setting = Setting::new(layout.width, Cap::new(40, true, true));
        setting.def = DefType::new(answer.default, true, true);
        prop_assume!(answer.registers.len() <= 40);
        for (slot, register) in setting.variable_mut().iter_mut().zip(&answer.registers) {
            *slot = Variable::new(*register, layout.width);
        }
        let above = Span { start: ONE_MIB, end: u64::MAX };
        let wants: Vec<Requirement> = layout
            .ranges
            .iter()
            .map(|(span, kind)| Requirement { span: span.and(above), allowed: TypeSet::only(*kind) })
            .filter(|want| !want.span.is_empty())
            .collect();
        let mut wrong = None;
        setting.unmet(&wants, |span, allowed, got| wrong = Some((span, allowed, got)));
        prop_assert_eq!(wrong, None);
        Ok(())
    }

    proptest! {
        /// A model that programs something else than what is asked would win or lose for nothing.
        #[test]
        fn every_strategy_makes_every_range_what_it_is(
            cuts in prop::collection::btree_set(1u64..1 << 12, 1..8), kinds in prop::collection::vec(0usize..4, 8),
            plain in any::<bool>(),
        ) {
            let kinds = kinds.into_iter().map(|kind| match kind {
                0 | 1 => MemType::Wb,
                2 => MemType::Uc,
                _ if plain => MemType::Uc,
                _ => MemType::Wc,
            });
            let starts: Vec<u64> = [0].into_iter().chain(cuts).collect();
            let ranges: Vec<_> = starts.windows(2).zip(kinds)
                .map(|(pair, kind)| (Span { start: pair[0] << 20, end: pair[1] << 20 }, kind))
                .collect();
            let layout = Layout { width: Width::DEFAULT, ranges: &ranges };
            check(&layout, &coreboot(&layout))?;
            for (default, gaps) in [(MemType::Uc, MemType::Uc), (MemType::Wb, MemType::Uc), (MemType::Wb, MemType::Wb)] {
                check(&layout, &edk2(&layout, default, gaps))?;
            }
            if let Some(answer) = linux(&layout, 40) {
                check(&layout, &answer)?;
            }
        }
    }

    #[test]
    fn linux_finds_nothing_for_a_machine_that_it_is_known_to_fail_on() {
        // Supermicro X8ST3 with 24 GiB: memory below 0xdf800000, and from 4 GiB to 0x620000000; eight registers, of which one must
        // be left for graphics.
        let ranges = [
            (Span { start: 0, end: 0xdf80_0000 }, MemType::Wb),
            (Span { start: FOUR_GIB, end: 0x6_2000_0000 }, MemType::Wb),
        ];
        let layout = Layout { width: Width::DEFAULT, ranges: &ranges };
        assert_eq!(linux(&layout, 7), None);
        assert_eq!(linux(&layout, 8).map(|answer| answer.registers.len()), Some(8));
    }
}
