//! The register writes that lead from one placement to another, in a safe order.
//!
//! What moves stops decoding first. Windows shrink, innermost first, then grow, outermost first. Then the
//! registers are written, and what was stopped decodes again.
//!
//! A window with something live behind it must never be closed in between, because accesses would be lost: one
//! write changes base and limit together. If the upper halves of a 64-bit window change too, each value on the
//! way covers what is live, and reaches nothing that others decode. A bridge stays on while its own BAR moves,
//! because everything below it depends on it.

use crate::BusRange;
use crate::blocks::{Key, live};
use crate::cost::moved;
use crate::registers::{Part, Registers, apply, path, place};
use crate::tree::{Function, Index, Slot, Space, Tree, Window, WindowKind};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// A write to configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// The function to write to.
    pub function: Index,
    /// The offset in its configuration space.
    pub offset: u16,
    /// The width in bytes: 1, 2 or 4.
    pub width: u8,
    /// The value to write.
    pub value: u32,
    /// The value that it overwrites; `None` if unknown.
    pub before: Option<u32>,
}

/// The error of a window that cannot be changed safely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StuckWindow {
    /// The bridge whose window cannot change while something behind it is live.
    pub bridge: Index,
    /// The kind of window.
    pub window: WindowKind,
}

const COMMAND: u16 = 0x04;
const SECONDARY: u16 = 0x19;
const SUBORDINATE: u16 = 0x1a;
const IO: u16 = 1;
const MEMORY: u16 = 2;

/// Returns the functions that must be stopped although they stay in place. A window above them changes in such
/// a way that both halves of its base or limit differ, and every value on the way would cut them off or reach
/// into addresses of others.
///
/// # Errors
/// Returns a [`StuckWindow`] if something behind the window must not be stopped, or if stopping all of it does not help.
pub fn bystanders(old: &Tree, new: &Tree) -> Result<BTreeSet<Index>, StuckWindow> {
    let mut out = BTreeSet::new();
    // Each round stops what is behind the stuck window, which may free it, or show the next one. The set only
    // grows, so this ends.
    loop {
        match steps(old, new, &out) {
            Ok(_) => return Ok(out),
            Err(stuck) => {
                let behind = old.functions.iter().enumerate().filter(|(index, function)| {
                    let is_bridge = function.bridge.is_some();
                    old.is_below(*index, stuck.bridge) && !is_bridge && !function.resources.is_empty()
                });
                let all: Vec<Index> = behind.map(|(index, _)| index).collect();
                let pinned = |index: &Index| {
                    old.functions.get(*index).is_none_or(|f| !f.absent && f.mobility.weight().is_none())
                };
                let had = out.len();
                if all.iter().any(pinned) {
                    return Err(stuck);
                }
                out.extend(all);
                if out.len() == had {
                    return Err(stuck);
                }
            }
        }
    }
}

/// Lists the writes that lead from one placement of a hierarchy to another. `bystanders` are stopped in
/// addition to what moves.
///
/// # Errors
/// Returns a [`StuckWindow`] if a window cannot change without losing what is live behind it: see
/// [`bystanders`].
///
/// # Examples
/// A running NIC moves its BAR: it stops decoding memory, gets the new address, and decodes again.
/// ```
/// use pmem_pci::steps::{steps, undo};
/// use pmem_pci::tree::{Function, Resource, Root, Slot, Space, Tree};
/// use std::collections::BTreeSet;
///
/// let mut nic = Function::new("00:02.0".parse()?, None, 0);
/// nic.command = Some(0x0006); // memory space enable, bus master enable
/// nic.resources.push(Resource {
///     slot: Slot::Bar(0), space: Space::Memory, prefetchable: false, top: 0xffff_ffff,
///     size: 64 << 10, align: 64 << 10, at: Some(0xe000_0000), fixed: false, optional: false,
/// });
/// let old = Tree { roots: vec![Root::default()], functions: vec![nic], avoid: vec![] };
/// let mut new = old.clone();
/// new.functions[0].resources[0].at = Some(0xe800_0000);
///
/// let writes = steps(&old, &new, &BTreeSet::new()).map_err(|stuck| format!("{stuck:?}"))?;
/// let shown: Vec<_> = writes.iter().map(|step| (step.offset, step.value)).collect();
/// assert_eq!(shown, [(0x04, 0x0004), (0x10, 0xe800_0000), (0x04, 0x0006)]);
/// assert_eq!(undo(&writes).map(|back| back[1].value), Some(0xe000_0000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn steps(old: &Tree, new: &Tree, bystanders: &BTreeSet<Index>) -> Result<Vec<Step>, StuckWindow> {
    let Stages { mut withdraw, install } = stages(old, new, bystanders)?;
    withdraw.extend(install);
    Ok(withdraw)
}

/// The writes in two stages. After the first, nothing is decoded or forwarded that should not be any more;
/// after the second, everything is that should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// Functions stop decoding, and windows shrink.
    pub withdraw: Vec<Step>,
    /// Windows grow, registers are written, and functions decode again.
    pub install: Vec<Step>,
}

/// Lists the writes that lead from one placement to another, in two stages.
///
/// # Errors
/// As for [`steps`].
pub fn stages(old: &Tree, new: &Tree, bystanders: &BTreeSet<Index>) -> Result<Stages, StuckWindow> {
    let mut out = Vec::new();
    let keys: BTreeSet<Key> = moved(old, new).collect();
    let mut off = stopped(old, new, &keys);
    // Bystanders keep their place, so `stopped` does not know them: turn off whatever they decode.
    for index in bystanders {
        let Some(function) = old.functions.get(*index) else { continue };
        let on = function.command.unwrap_or_else(|| usual(function)) & (IO | MEMORY);
        if on != 0 && !function.absent {
            *off.entry(*index).or_insert(0) |= on;
        }
    }
    for (index, bits) in &off {
        out.extend(command(new, *index, *bits, false));
    }
    out.extend(switched(old, &keys, false));
    let mut lives: BTreeMap<(Index, usize), BusRange> = BTreeMap::new();
    for root in 0..old.roots.len() {
        for space in [Space::Io, Space::Memory] {
            lives.extend(live_hulls(old, root, space, &keys, bystanders));
        }
    }
    let mut walk = Walk { old, new, lives, held: BTreeMap::new(), out };
    let mut windows: Vec<(u32, Index, usize)> = Vec::new();
    let mut bridges: Vec<(u32, Index)> = Vec::new();
    for (index, function) in new.functions.iter().enumerate().filter(|(_, f)| !f.absent) {
        let depth = new.above(index).count() as u32;
        let own = function.bridge.iter().flat_map(|bridge| 0..bridge.windows.len());
        windows.extend(own.map(|n| (depth, index, n)));
        bridges.extend(function.bridge.is_some().then_some((depth, index)));
    }
    windows.sort_by_key(|(depth, index, n)| (core::cmp::Reverse(*depth), *index, *n));
    bridges.sort_by_key(|(depth, index)| (core::cmp::Reverse(*depth), *index));
    // Innermost first. Shrinking follows this order, growing its reverse, so that no window ever sticks out of
    // the one above.
    for (_, index, n) in &windows {
        walk.shrink(*index, *n)?;
    }
    for (_, index) in &bridges {
        numbers(old, new, *index, false, &mut walk.out);
    }
    let withdraw = core::mem::take(&mut walk.out);
    for (_, index) in bridges.iter().rev() {
        numbers(old, new, *index, true, &mut walk.out);
    }
    for (_, index, n) in windows.iter().rev() {
        walk.grow(*index, *n)?;
    }
    let Walk { out: mut install, .. } = walk;
    for (index, slot) in &keys {
        // The size first: it determines which address bits can be written.
        install.extend(resize(old, new, *index, *slot));
        registers(old, new, *index, *slot, &mut install);
    }
    install.extend(switched(old, &keys, true));
    for (index, bits) in &off {
        install.extend(command(new, *index, *bits, true));
    }
    Ok(Stages { withdraw, install })
}

/// Writes a bridge's bus numbers (PCI-to-PCI Bridge Architecture 1.2, 3.2.5.2 to 3.2.5.4). Ranges shrink first,
/// innermost first, then grow, outermost first, so that two bridges never lead to the same bus.
fn numbers(old: &Tree, new: &Tree, index: Index, grow: bool, out: &mut Vec<Step>) {
    let buses =
        |tree: &Tree| tree.functions.get(index).and_then(|f| f.bridge.as_ref()?.buses).unwrap_or((0, 0));
    let ((first, last), (to_first, to_last)) = (buses(old), buses(new));
    if (first, last) == (to_first, to_last) {
        return;
    }
    let mut write = |offset: u16, value: u8, before: u8| {
        if value != before {
            let (value, before) = (u32::from(value), Some(u32::from(before)));
            out.push(Step { function: index, offset, width: 1, value, before });
        }
    };
    // A bridge that will lead to other buses leads to none in the meantime.
    let (kept_first, kept_last) = if first == to_first { (first, last.min(to_last)) } else { (0, 0) };
    // With a subordinate bus of 0, below the secondary bus, the range is empty: 0 goes in first and comes out last.
    if grow {
        write(SECONDARY, to_first, kept_first);
        write(SUBORDINATE, to_last, kept_last);
    } else {
        write(SUBORDINATE, kept_last, last);
        write(SECONDARY, kept_first, first);
    }
}

/// The state of a walk over all windows that change.
struct Walk<'t> {
    old: &'t Tree,
    new: &'t Tree,
    /// The hull of what is live in each window; nothing if nothing is.
    lives: BTreeMap<(Index, usize), BusRange>,
    /// The register values of the windows written so far.
    held: BTreeMap<(Index, usize), Registers>,
    out: Vec<Step>,
}

impl Walk<'_> {
    /// Returns what a window forwards at this point.
    fn now(&self, index: Index, n: usize) -> Option<BusRange> {
        let window = window(self.old, index, n)?;
        self.held.get(&(index, n)).map_or(window.span, |held| held.span(&window))
    }

    /// Cuts a window to what it has before and after, and closes it if that is nothing.
    fn shrink(&mut self, index: Index, n: usize) -> Result<(), StuckWindow> {
        let (Some(from), Some(to)) = (window(self.old, index, n), window(self.new, index, n)) else {
            return Ok(());
        };
        // What the old and the new range share can stay open throughout.
        let both = from.span.zip(to.span).and_then(|(a, b)| a.intersect(b));
        self.change(index, n, both, from.span)
    }

    /// Extends a window to its new range.
    fn grow(&mut self, index: Index, n: usize) -> Result<(), StuckWindow> {
        let Some(to) = window(self.new, index, n) else { return Ok(()) };
        self.change(index, n, to.span, to.span)
    }

    /// Writes a window's registers on a path that never reaches beyond `bound`. Windows inside stay covered if
    /// possible; otherwise those with nothing live in them are closed first.
    fn change(
        &mut self,
        index: Index,
        n: usize,
        target: Option<BusRange>,
        bound: Option<BusRange>,
    ) -> Result<(), StuckWindow> {
        let Some(window) = window(self.new, index, n) else { return Ok(()) };
        if self.now(index, n) == target {
            return Ok(());
        }
        let live = self.lives.get(&(index, n)).copied();
        let inside: Vec<(Index, usize, BusRange)> = self.inside(index, n);
        // Open windows inside must stay covered, or what is behind them would be cut off.
        let keep = inside.iter().map(|(.., span)| *span).chain(live).reduce(BusRange::hull);
        let from = window_as_it_was(self.old, index, n);
        let now = self.held.get(&(index, n)).copied().unwrap_or_else(|| Registers::of(&window, from));
        let stuck = StuckWindow { bridge: index, window: window.kind };
        let found = match path(&window, now, target, keep, bound) {
            Some(found) => found,
            // No path covers all inner windows. Those without anything live can be closed, which leaves only
            // live addresses to cover.
            None => {
                for (inner, m, _) in inside {
                    // Closing this one would cut off what is live in it.
                    if self.lives.contains_key(&(inner, m)) {
                        return Err(stuck);
                    }
                    self.change(inner, m, None, self.now(inner, m))?;
                }
                path(&window, now, target, live, bound).ok_or(stuck)?
            }
        };
        let place = place(&window);
        for (part, value, before) in found.iter().copied() {
            let (offset, width) = match (part, place.upper) {
                (Part::Pair, _) => (place.pair, place.width),
                (Part::Base, Some((base, _))) => (base, place.upper_width),
                (Part::Limit, Some((_, limit))) => (limit, place.upper_width),
                (_, None) => continue,
            };
            self.out.push(Step { function: index, offset, width, value, before: Some(before) });
        }
        self.held.insert((index, n), apply(now, &found));
        Ok(())
    }

    /// Lists the open windows on the bus below that lie in this window.
    fn inside(&self, index: Index, n: usize) -> Vec<(Index, usize, BusRange)> {
        let (Some(own), Some(function)) = (self.now(index, n), self.old.functions.get(index)) else {
            return Vec::new();
        };
        let space = window(self.old, index, n).map(|window| window.kind.space());
        let mut out = Vec::new();
        for (inner, below) in self.old.on_bus(function.root, Some(index)) {
            let windows = below.bridge.iter().flat_map(|bridge| bridge.windows.iter().enumerate());
            for (m, _) in windows.filter(|(_, window)| Some(window.kind.space()) == space) {
                out.extend(self.now(inner, m).filter(|span| own.covers(*span)).map(|span| (inner, m, span)));
            }
        }
        out
    }
}

fn window_as_it_was(tree: &Tree, index: Index, n: usize) -> Option<BusRange> {
    window(tree, index, n)?.span
}

fn window(tree: &Tree, index: Index, n: usize) -> Option<Window> {
    tree.functions.get(index)?.bridge.as_ref()?.windows.get(n).copied()
}

/// Returns the hull of what is live in each window, rounded to whole granules.
fn live_hulls(
    tree: &Tree,
    root: usize,
    space: Space,
    moved: &BTreeSet<Key>,
    bystanders: &BTreeSet<Index>,
) -> BTreeMap<(Index, usize), BusRange> {
    let mut out: BTreeMap<(Index, usize), BusRange> = BTreeMap::new();
    let live = live(tree, root, space, moved);
    for (index, function) in tree.functions.iter().enumerate().filter(|(_, f)| f.root == root && !f.absent) {
        // Functions that are stopped anyway have nothing live.
        if function.mobility.weight() == Some(0) || bystanders.contains(&index) {
            continue;
        }
        for resource in function.resources.iter().filter(|r| r.space == space) {
            if moved.contains(&(index, resource.slot)) {
                continue;
            }
            let Some(span) = resource.span() else { continue };
            for above in tree.above(index) {
                let Some(bridge) = tree.functions.get(above).and_then(|f| f.bridge.as_ref()) else {
                    continue;
                };
                for (n, window) in bridge.windows.iter().enumerate() {
                    let inside =
                        window.kind.space() == space && window.span.is_some_and(|own| own.covers(span));
                    if inside && live.contains(&(above, n)) {
                        let span = span.rounded(window.granule);
                        out.entry((above, n)).and_modify(|had| *had = had.hull(span)).or_insert(span);
                    }
                }
            }
        }
    }
    out
}

/// Returns the functions that must stop decoding while their resources move, with the command register bits to
/// clear. Bridges are left out: they stay on.
fn stopped(old: &Tree, new: &Tree, keys: &BTreeSet<Key>) -> BTreeMap<Index, u16> {
    let mut out = BTreeMap::new();
    for (index, slot) in keys {
        let Some(function) = new.functions.get(*index).filter(|f| !f.absent && f.bridge.is_none()) else {
            continue;
        };
        // Virtual functions have their own switch, in the SR-IOV control register.
        let own = function.resource(*slot).filter(|_| !matches!(slot, Slot::Vf(_)));
        let Some(resource) = own else { continue };
        let bit = if resource.space == Space::Io { IO } else { MEMORY };
        // Only what decodes now. A register that is off may be written at any time.
        let on = old.functions.get(*index).and_then(|f| f.command).is_none_or(|command| command & bit != 0);
        if on {
            *out.entry(*index).or_insert(0) |= bit;
        }
    }
    out
}

/// Lists the writes that turn off virtual functions whose space moves, or turn them on again.
fn switched(tree: &Tree, keys: &BTreeSet<Key>, on: bool) -> Vec<Step> {
    let of_virtual = keys.iter().filter(|(_, slot)| matches!(slot, Slot::Vf(_))).map(|(index, _)| *index);
    let functions: BTreeSet<Index> = of_virtual.collect();
    let step = |index: &Index| {
        let own = tree.functions.get(*index)?.virtual_functions.filter(|own| own.are_on())?;
        let (is, off) = (u32::from(own.control), u32::from(own.control & !9));
        let (value, before) = if on { (is, off) } else { (off, is) };
        Some(Step { function: *index, offset: own.capability + 8, width: 2, value, before: Some(before) })
    };
    functions.iter().filter_map(step).collect()
}

/// Returns the write that makes a function stop decoding, or decode again.
fn command(tree: &Tree, index: Index, bits: u16, on: bool) -> Option<Step> {
    let function = tree.functions.get(index)?;
    let had = function.command.unwrap_or_else(|| usual(function));
    let (value, before) = if on { (had | bits, had & !bits) } else { (had & !bits, had) };
    let known = function.command.is_some();
    let before = known.then_some(u32::from(before));
    Some(Step { function: index, offset: COMMAND, width: 2, value: u32::from(value), before })
}

/// Guesses the command register of a working function if it is unknown: bus master, and decoding what it has.
fn usual(function: &Function) -> u16 {
    let has = |space| function.resources.iter().any(|r| r.space == space);
    4 | if has(Space::Memory) { MEMORY } else { 0 } | if has(Space::Io) { IO } else { 0 }
}

/// Returns the write that changes the size of a BAR: n in bits 8 to 13, for 2^(20 + n) bytes.
fn resize(old: &Tree, new: &Tree, index: Index, slot: Slot) -> Option<Step> {
    let (had, function) = (old.functions.get(index)?, new.functions.get(index).filter(|f| !f.absent)?);
    let (had, has) = (had.resource(slot)?.size, function.resource(slot)?.size);
    let resizable = function.resizable.iter().find(|r| Slot::Bar(r.bar) == slot).filter(|_| had != has)?;
    let (offset, rest) = resizable.control;
    let value = |size: u64| rest | (size.trailing_zeros().saturating_sub(20) & 0x3f) << 8;
    Some(Step { function: index, offset, width: 4, value: value(has), before: Some(value(had)) })
}

/// Adds the writes of one base address register or ROM.
fn registers(old: &Tree, new: &Tree, index: Index, slot: Slot, out: &mut Vec<Step>) {
    let Some(function) = new.functions.get(index).filter(|f| !f.absent) else { return };
    let Some(resource) = function.resource(slot) else { return };
    let Some(at) = resource.at else { return };
    let had = old.functions.get(index).and_then(|f| f.resource(slot)).and_then(|r| r.at);
    if had == Some(at) {
        return;
    }
    let offset = match (slot, function.bridge.is_some()) {
        (Slot::Bar(n), _) => 0x10 + 4 * u16::from(n),
        (Slot::Rom, false) => 0x30,
        (Slot::Rom, true) => 0x38,
        (Slot::Vf(n), _) => match function.virtual_functions {
            Some(own) => own.capability + 0x24 + 4 * u16::from(n),
            // Without the capability's offset there is nothing to write to.
            None => return,
        },
    };
    let wide = resource.is_wide() && resource.space == Space::Memory && slot != Slot::Rom;
    let flags = match (slot, resource.space) {
        (Slot::Rom, _) => 0,
        (_, Space::Io) => 1,
        (_, Space::Memory) => u32::from(resource.prefetchable) << 3 | u32::from(wide) << 2,
    };
    let before = |shift: u32, flags: u32| had.map(|had| (had >> shift) as u32 | flags);
    let low = Step { function: index, offset, width: 4, value: at as u32 | flags, before: before(0, flags) };
    let high = Step {
        function: index,
        offset: offset + 4,
        width: 4,
        value: (at >> 32) as u32,
        before: before(32, 0),
    };
    match (wide, had) {
        (false, _) => out.push(low),
        // A bridge's own BAR decodes while it moves, so between the writes of its halves it must not hit
        // addresses of others.
        (true, Some(had)) if function.bridge.is_some() && had >> 32 == at >> 32 => out.push(low),
        (true, Some(had)) if function.bridge.is_some() => {
            let through = |at: u64| {
                BusRange::sized(at, resource.size).is_some_and(|span| is_free(old, new, index, span))
            };
            // The address after the first of two writes has one old and one new half: take the order in which
            // nothing else decodes there.
            let low_first = at & 0xffff_ffff | had & !0xffff_ffff;
            let high_first = had & 0xffff_ffff | at & !0xffff_ffff;
            if through(high_first) || !through(low_first) {
                out.extend([high, low]);
            } else {
                out.extend([low, high]);
            }
        }
        // The function does not decode at this point, so the order does not matter.
        (true, _) => out.extend([low, high]),
    }
}

/// Returns `true` if nothing else on a function's bus decodes addresses in `span`, before or after.
fn is_free(old: &Tree, new: &Tree, index: Index, span: BusRange) -> bool {
    [old, new].iter().all(|tree| {
        let Some(function) = tree.functions.get(index) else { return false };
        crate::check::on_bus(tree, function.root, function.parent)
            .iter()
            .filter(|side| side.space == Space::Memory && side.function != Some(index))
            .all(|side| !side.span.overlaps(span))
    })
}

/// Returns the writes that undo `steps`, last one first; `None` if one of them overwrites an unknown value.
#[must_use]
pub fn undo(steps: &[Step]) -> Option<Vec<Step>> {
    let back = |step: &Step| Some(Step { value: step.before?, before: Some(step.value), ..*step });
    steps.iter().rev().map(back).collect()
}
