//! From one placement to another, register by register.
//!
//! What moves stops decoding; windows shrink from the inside out, and grow from the outside in; registers are written; what was stopped decodes
//! again. A window with something live behind it is changed by one write of base and limit together (a window that is closed in between
//! loses accesses); where the upper halves of a 64-bit window change too, each value on the way covers what is live, and reaches nothing that
//! others decode. A bridge stays on while its own register moves, for whatever is below it would be lost.

use crate::BusRange;
use crate::blocks::{Key, live};
use crate::cost::moved;
use crate::registers::{Part, Registers, apply, path, place};
use crate::tree::{Function, Index, Slot, Space, Tree, Window, WindowKind};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// One write to configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// Whose.
    pub function: Index,
    /// Where.
    pub offset: u16,
    /// How many bytes: 1, 2 or 4.
    pub width: u8,
    /// What.
    pub value: u32,
    /// What it held before, as far as is known.
    pub before: Option<u32>,
}

/// Why there is no way from one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StuckWindow {
    /// The bridge whose window cannot be changed while something behind it is live.
    pub bridge: Index,
    /// Which window.
    pub window: WindowKind,
}

const COMMAND: u16 = 0x04;
const SECONDARY: u16 = 0x19;
const SUBORDINATE: u16 = 0x1a;
const IO: u16 = 1;
const MEMORY: u16 = 2;

/// The functions that must be stopped besides those that move, because a window above them cannot be changed while they are live: both
/// halves of its base, or of its limit, change, and no value on the way will do.
///
/// # Errors
/// A window with something behind it that must not be stopped.
pub fn bystanders(old: &Tree, new: &Tree) -> Result<BTreeSet<Index>, StuckWindow> {
    let mut out = BTreeSet::new();
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

/// The writes from one placement to another of the same hierarchy, where more functions than those that move are stopped.
///
/// # Errors
/// A window that cannot be changed without losing what is live behind it: see [`bystanders`].
pub fn steps(old: &Tree, new: &Tree, bystanders: &BTreeSet<Index>) -> Result<Vec<Step>, StuckWindow> {
    let Stages { mut withdraw, install } = stages(old, new, bystanders)?;
    withdraw.extend(install);
    Ok(withdraw)
}

/// The same in two: after the first nothing is decoded or forwarded any more that is not to be; after the second all is that is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// What moves stops; windows shrink.
    pub withdraw: Vec<Step>,
    /// Windows grow; registers are written; what was stopped goes on.
    pub install: Vec<Step>,
}

/// The writes from one placement to another, in two stages.
///
/// # Errors
/// As for [`steps`].
pub fn stages(old: &Tree, new: &Tree, bystanders: &BTreeSet<Index>) -> Result<Stages, StuckWindow> {
    let mut out = Vec::new();
    let keys: BTreeSet<Key> = moved(old, new).collect();
    let mut off = stopped(old, new, &keys);
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
        install.extend(resize(old, new, *index, *slot));
        registers(old, new, *index, *slot, &mut install);
    }
    install.extend(switched(old, &keys, true));
    for (index, bits) in &off {
        install.extend(command(new, *index, *bits, true));
    }
    Ok(Stages { withdraw, install })
}

/// The writes of a bridge's bus numbers (PCI-to-PCI Bridge Architecture 1.2, 3.2.5.2 to 3.2.5.4): fewer first, from the inside out; then more,
/// from the outside in. Two bridges never lead to one bus.
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
    // One that leads elsewhere leads nowhere meanwhile.
    let (kept_first, kept_last) = if first == to_first { (first, last.min(to_last)) } else { (0, 0) };
    if grow {
        write(SUBORDINATE, to_last, kept_last);
        write(SECONDARY, to_first, kept_first);
    } else {
        write(SECONDARY, kept_first, first);
        write(SUBORDINATE, kept_last, last);
    }
}

/// Windows on their way.
struct Walk<'t> {
    old: &'t Tree,
    new: &'t Tree,
    /// What is live in each.
    lives: BTreeMap<(Index, usize), BusRange>,
    /// What each holds that was written.
    held: BTreeMap<(Index, usize), Registers>,
    out: Vec<Step>,
}

impl Walk<'_> {
    /// What a window forwards now.
    fn now(&self, index: Index, n: usize) -> Option<BusRange> {
        let window = window(self.old, index, n)?;
        self.held.get(&(index, n)).map_or(window.span, |held| held.span(&window))
    }

    /// Takes from a window what it is not to have, and closes it where nothing is left.
    fn shrink(&mut self, index: Index, n: usize) -> Result<(), StuckWindow> {
        let (Some(from), Some(to)) = (window(self.old, index, n), window(self.new, index, n)) else {
            return Ok(());
        };
        let both = from.span.zip(to.span).and_then(|(a, b)| a.intersect(b));
        self.change(index, n, both, from.span)
    }

    /// Gives a window all that it is to have.
    fn grow(&mut self, index: Index, n: usize) -> Result<(), StuckWindow> {
        let Some(to) = window(self.new, index, n) else { return Ok(()) };
        self.change(index, n, to.span, to.span)
    }

    /// Writes a window's registers, never beyond a bound. Windows inside of it stay covered, or are closed before if nothing live is in
    /// them.
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
        let keep = inside.iter().map(|(.., span)| *span).chain(live).reduce(BusRange::hull);
        let from = window_as_it_was(self.old, index, n);
        let now = self.held.get(&(index, n)).copied().unwrap_or_else(|| Registers::of(&window, from));
        let stuck = StuckWindow { bridge: index, window: window.kind };
        let found = match path(&window, now, target, keep, bound) {
            Some(found) => found,
            None => {
                for (inner, m, _) in inside {
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

    /// The open windows of bridges on the bus below that lie in one.
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

/// By window: what is live in it, of whole granules.
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

/// What stops decoding while it moves: functions that are there, but for bridges, and which bits of their command register.
fn stopped(old: &Tree, new: &Tree, keys: &BTreeSet<Key>) -> BTreeMap<Index, u16> {
    let mut out = BTreeMap::new();
    for (index, slot) in keys {
        let Some(function) = new.functions.get(*index).filter(|f| !f.absent && f.bridge.is_none()) else {
            continue;
        };
        // The space of virtual functions is switched by their own control register.
        let own = function.resource(*slot).filter(|_| !matches!(slot, Slot::Vf(_)));
        let Some(resource) = own else { continue };
        let bit = if resource.space == Space::Io { IO } else { MEMORY };
        // What decodes already, and what had no place.
        let on = old.functions.get(*index).and_then(|f| f.command).is_none_or(|command| command & bit != 0);
        if on {
            *out.entry(*index).or_insert(0) |= bit;
        }
    }
    out
}

/// The writes that switch virtual functions off whose space moves, or on again.
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

/// The write that stops a function decoding, or has it decode again.
fn command(tree: &Tree, index: Index, bits: u16, on: bool) -> Option<Step> {
    let function = tree.functions.get(index)?;
    let had = function.command.unwrap_or_else(|| usual(function));
    let (value, before) = if on { (had | bits, had & !bits) } else { (had & !bits, had) };
    let known = function.command.is_some();
    let before = known.then_some(u32::from(before));
    Some(Step { function: index, offset: COMMAND, width: 2, value: u32::from(value), before })
}

/// The command register of a function that works, where it is not known: it decodes what it has, and may be master.
fn usual(function: &Function) -> u16 {
    let has = |space| function.resources.iter().any(|r| r.space == space);
    4 | if has(Space::Memory) { MEMORY } else { 0 } | if has(Space::Io) { IO } else { 0 }
}

/// The write that gives a base address register another size (the size is 2^(20 + n), n in bits 8 to 13).
fn resize(old: &Tree, new: &Tree, index: Index, slot: Slot) -> Option<Step> {
    let (had, function) = (old.functions.get(index)?, new.functions.get(index).filter(|f| !f.absent)?);
    let (had, has) = (had.resource(slot)?.size, function.resource(slot)?.size);
    let resizable = function.resizable.iter().find(|r| Slot::Bar(r.bar) == slot).filter(|_| had != has)?;
    let (offset, rest) = resizable.control;
    let value = |size: u64| rest | (size.trailing_zeros().saturating_sub(20) & 0x3f) << 8;
    Some(Step { function: index, offset, width: 4, value: value(has), before: Some(value(had)) })
}

/// The writes of one base address register, or ROM.
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
            // Where the capability is nobody says.
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
    let mut low =
        Step { function: index, offset, width: 4, value: at as u32 | flags, before: before(0, flags) };
    low.before = low.before.filter(|_| had.is_some());
    let high = Step {
        function: index,
        offset: offset + 4,
        width: 4,
        value: (at >> 32) as u32,
        before: before(32, 0),
    };
    match (wide, had) {
        (false, _) => out.push(low),
        // A bridge's register moves while it decodes: through addresses that nothing else has.
        (true, Some(had)) if function.bridge.is_some() && had >> 32 == at >> 32 => out.push(low),
        (true, Some(had)) if function.bridge.is_some() => {
            let through = |at: u64| {
                BusRange::sized(at, resource.size).is_some_and(|span| is_free(old, new, index, span))
            };
            let low_first = at & 0xffff_ffff | had & !0xffff_ffff;
            let high_first = had & 0xffff_ffff | at & !0xffff_ffff;
            if through(high_first) || !through(low_first) {
                out.extend([high, low]);
            } else {
                out.extend([low, high]);
            }
        }
        (true, _) => out.extend([low, high]),
    }
}

/// Whether nothing decodes an address on a function's bus, neither before nor after.
fn is_free(old: &Tree, new: &Tree, index: Index, span: BusRange) -> bool {
    [old, new].iter().all(|tree| {
        let Some(function) = tree.functions.get(index) else { return false };
        crate::check::on_bus(tree, function.root, function.parent)
            .iter()
            .filter(|side| side.space == Space::Memory && side.function != Some(index))
            .all(|side| !side.span.overlaps(span))
    })
}

/// The writes that undo others, in the opposite order; `None` if what one of them overwrote is not known.
#[must_use]
pub fn undo(steps: &[Step]) -> Option<Vec<Step>> {
    let back = |step: &Step| Some(Step { value: step.before?, before: Some(step.value), ..*step });
    steps.iter().rev().map(back).collect()
}
